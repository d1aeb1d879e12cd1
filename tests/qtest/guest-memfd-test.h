/*
 * What the parts of guest-memfd-test share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_GUEST_MEMFD_TEST_H
#define TESTS_GUEST_MEMFD_TEST_H

#include "libqtest.h"

/**
 * assert_refused: QEMU must refuse to start
 * @args: its command line
 * @message: the end of the one line that it is to say
 *
 * It must end with code 1 and print one line on standard error, warnings left
 * out.  A QEMU that starts all the same is ended after a minute by timeout(1),
 * and fails the test.
 */
void assert_refused(const char *args, const char *message);

/**
 * assert_return: @response must be no error
 *
 * Returns @response.  qtest_qmp_assert_success_ref() is for commands that
 * return objects only.
 */
QDict *assert_return(QDict *response);

/**
 * find_entry: find a dictionary in a list of them
 * @from: has the list
 * @list: its name in @from
 * @key, @name: the member to look at, and its value, a string
 *
 * Returns NULL if there is none; the result belongs to @from.
 */
QDict *find_entry(QDict *from, const char *list, const char *key,
                  const char *name);

/**
 * need_type: skip the test if this QEMU has no such object type
 *
 * Returns whether it has it.
 */
bool need_type(QTestState *qts, const char *type);

/**
 * qom_get_bool, qom_get_int, qom_get_str: read a property of an object; a
 * string is to be freed by the caller
 */
bool qom_get_bool(QTestState *qts, const char *path, const char *name);
int64_t qom_get_int(QTestState *qts, const char *path, const char *name);
char *qom_get_str(QTestState *qts, const char *path, const char *name);

/**
 * query_guest_memfd: what query-guest-memfd returns; to be freed by the caller
 */
QDict *query_guest_memfd(QTestState *qts);

/**
 * assert_hmp: "info guest-memfd" must tell what @info tells
 */
void assert_hmp(QTestState *qts, QDict *info);

/**
 * assert_no_private_memory: there must be no private memory, because of @why
 */
void assert_no_private_memory(QTestState *qts, const char *why);

/**
 * assert_cpr_exec_blocked: a migration in the mode cpr-exec must be refused
 *
 * @reason: a part of the error
 */
void assert_cpr_exec_blocked(QTestState *qts, const char *reason);

/* Each file of tests adds its own. */
void add_schema_tests(void);
void add_option_tests(void);
void add_kvm_tests(void);

#endif /* TESTS_GUEST_MEMFD_TEST_H */
