/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's machine monitor: one command at a time, and the events that come.
 *
 * What is asked for is flat: an object of the answer that has no other objects
 * in it becomes words, "name=value name=value", as the payload can read them.
 */
#ifndef LAB_QMP_H
#define LAB_QMP_H

#include <glib.h>
#include <stdbool.h>

typedef struct Qmp Qmp;

/* qmp_new: talk over the connected socket @fd, which stays the caller's. */
Qmp *qmp_new(int fd);
void qmp_free(Qmp *q);

/* qmp_read: take what has come; never blocks. */
void qmp_read(Qmp *q);

/*
 * qmp_execute: send a command without arguments and wait at most @ms.
 *
 * Returns the line with the answer, or NULL (none in time, or QEMU ended);
 * free with g_free.
 */
char *qmp_execute(Qmp *q, const char *command, int ms);

/*
 * qmp_words: the flat object in @json that has "@name": "@value", as words.
 * Returns NULL if there is none; free with g_free.
 */
char *qmp_words(const char *json, const char *name, const char *value);

/* qmp_mark: forget the events so far. */
void qmp_mark(Qmp *q);

/*
 * qmp_event: the data of the @n-th event @name since the mark, from 0, as
 * words.  Returns NULL if there is none (yet); free with g_free.
 */
char *qmp_event(Qmp *q, const char *name, unsigned n);

#endif
