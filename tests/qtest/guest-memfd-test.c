/*
 * QTest testcase for private memory of confidential guests (guest_memfd)
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: what management software and people see of it: schema,
 * properties, options and the text of their errors, query and HMP.  Most of
 * it needs no KVM.  What does is skipped, with the reason, where this host's
 * KVM cannot do it.
 *
 *   guest-memfd-test.c     what the tests share; the query without KVM
 *   guest-memfd-schema.c   the QAPI schema
 *   guest-memfd-options.c  options and properties, without KVM
 *   guest-memfd-kvm.c      with KVM
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "guest-memfd-test.h"

void assert_refused(const char *args, const char *message)
{
    g_autofree char *command =
        g_strdup_printf("timeout 60 %s -display none %s",
                        qtest_qemu_binary(NULL), args);
    g_autofree char *errors = NULL;
    g_auto(GStrv) lines = NULL;
    g_autoptr(GError) err = NULL;
    const char *found = NULL;
    int status;

    g_spawn_command_line_sync(command, NULL, &errors, &status, &err);
    g_assert_no_error(err);
    lines = g_strsplit(g_strchomp(errors), "\n", -1);
    for (int i = 0; lines[i]; i++) {
        if (!strstr(lines[i], ": warning: ")) {
            if (found) {
                g_test_message("unexpected second line: %s", lines[i]);
                g_test_fail();
            }
            found = found ?: lines[i];
        }
    }
    if (!found || !g_str_has_suffix(found, message)) {
        g_test_message("wanted: %s", message);
        g_test_message("got:    %s", found ?: "nothing");
        g_test_fail();
    }
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 1);
}

QDict *assert_return(QDict *response)
{
    g_assert_nonnull(response);
    g_assert_true(qdict_haskey(response, "return"));
    return response;
}

QDict *find_entry(QDict *from, const char *list, const char *key,
                  const char *name)
{
    QListEntry *e;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(from, list), e) {
        QDict *d = qobject_to(QDict, qlist_entry_obj(e));

        if (g_str_equal(qdict_get_str(d, key), name)) {
            return d;
        }
    }
    return NULL;
}

/* An object type exists if KVM was compiled in. */
static bool has_type(QTestState *qts, const char *type)
{
    g_autoptr(QDict) rsp =
        assert_return(qtest_qmp(qts, "{ 'execute': 'qom-list-types' }"));
    QListEntry *e;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(rsp, "return"), e) {
        if (g_str_equal(qdict_get_str(qobject_to(QDict, qlist_entry_obj(e)),
                                      "name"), type)) {
            return true;
        }
    }
    return false;
}

bool need_type(QTestState *qts, const char *type)
{
    if (!has_type(qts, type)) {
        g_autofree char *reason =
            g_strdup_printf("%s is not part of this QEMU", type);

        g_test_skip(reason);
        return false;
    }
    return true;
}

/* --- properties ----------------------------------------------------------- */

/* The answer; the value is its member "return" */
static QDict *qom_get(QTestState *qts, const char *path, const char *name)
{
    return assert_return(
        qtest_qmp(qts, "{ 'execute': 'qom-get', 'arguments': { 'path': %s, "
                  "'property': %s } }", path, name));
}

bool qom_get_bool(QTestState *qts, const char *path, const char *name)
{
    g_autoptr(QDict) rsp = qom_get(qts, path, name);

    return qdict_get_bool(rsp, "return");
}

int64_t qom_get_int(QTestState *qts, const char *path, const char *name)
{
    g_autoptr(QDict) rsp = qom_get(qts, path, name);

    return qdict_get_int(rsp, "return");
}

char *qom_get_str(QTestState *qts, const char *path, const char *name)
{
    g_autoptr(QDict) rsp = qom_get(qts, path, name);

    return g_strdup(qdict_get_str(rsp, "return"));
}

/* --- query ---------------------------------------------------------------- */

QDict *query_guest_memfd(QTestState *qts)
{
    return qtest_qmp_assert_success_ref(qts,
                                        "{ 'execute': 'query-guest-memfd' }");
}

static void append_block(GString *text, QDict *b)
{
    uint64_t withdrawn = qdict_get_try_int(b, "withdrawn", 0);

    g_string_append_printf(text, "%s: %s, %" PRIu64 " bytes, %" PRIu64
                           " shared, %" PRIu64 " private",
                           qdict_get_str(b, "id"),
                           qdict_get_bool(b, "in-place") ? "in-place" :
                                                           "dual-backed",
                           qdict_get_int(b, "size"),
                           qdict_get_int(b, "shared"),
                           qdict_get_int(b, "private"));
    if (withdrawn) {
        g_string_append_printf(text, ", %" PRIu64 " withdrawn from devices",
                               withdrawn);
    }
    g_string_append(text, "\r\n");
    if (qdict_haskey(b, "conversions")) {
        g_string_append_printf(text, "  conversions %" PRIu64
                               ", busy pages %" PRIu64 ", retries %" PRIu64
                               ", given up %" PRIu64 ", failures %" PRIu64
                               ", longest wait %" PRIu64 " us\r\n",
                               qdict_get_int(b, "conversions"),
                               qdict_get_int(b, "busy-pages"),
                               qdict_get_int(b, "retries"),
                               qdict_get_int(b, "given-up"),
                               qdict_get_int(b, "failures"),
                               qdict_get_int(b, "longest-wait-us"));
    }
}

void assert_hmp(QTestState *qts, QDict *info)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autofree char *hmp = qtest_hmp(qts, "info guest-memfd");
    QListEntry *e;

    g_string_append_printf(text, "mode: %s\r\nwhy: %s\r\n",
                           qdict_get_str(info, "mode"),
                           qdict_get_str(info, "why"));
    QLIST_FOREACH_ENTRY(qdict_get_qlist(info, "blocks"), e) {
        append_block(text, qobject_to(QDict, qlist_entry_obj(e)));
    }
    g_assert_cmpstr(hmp, ==, text->str);
}

void assert_no_private_memory(QTestState *qts, const char *why)
{
    g_autoptr(QDict) info = query_guest_memfd(qts);

    g_assert_cmpstr(qdict_get_str(info, "mode"), ==, "none");
    g_assert_cmpstr(qdict_get_str(info, "why"), ==, why);
    g_assert_true(qlist_empty(qdict_get_qlist(info, "blocks")));
    assert_hmp(qts, info);
}

/* Was it built with KVM?  The machine that it runs on may have none. */
static bool has_kvm(QTestState *qts)
{
    g_autoptr(QDict) info =
        qtest_qmp_assert_success_ref(qts, "{ 'execute': 'query-kvm' }");

    return qdict_get_bool(info, "present");
}

static void test_query_none(void)
{
    QTestState *qts = qtest_init("-machine none");

    assert_no_private_memory(qts, has_kvm(qts) ?
                             "KVM is not in use" : "this QEMU has no KVM");
    qtest_quit(qts);
}

void assert_cpr_exec_blocked(QTestState *qts, const char *reason)
{
    g_autoptr(QDict) rsp = NULL;
    const char *error;

    qtest_qmp_assert_success(
        qts, "{ 'execute': 'migrate-set-parameters', 'arguments': { "
        "'mode': 'cpr-exec', 'cpr-exec-command': [ '/bin/false' ] } }");
    rsp = qtest_qmp(qts, "{ 'execute': 'migrate', 'arguments': { "
                    "'uri': 'file:/dev/null' } }");
    g_assert_true(qdict_haskey(rsp, "error"));
    error = qdict_get_str(qdict_get_qdict(rsp, "error"), "desc");
    g_test_message("%s", error);
    g_assert_nonnull(strstr(error, reason));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    add_schema_tests();
    add_option_tests();
    qtest_add_func("guest-memfd/query/none", test_query_none);
    add_kvm_tests();
    return g_test_run();
}
