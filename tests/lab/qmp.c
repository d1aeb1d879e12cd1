/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's machine monitor; see qmp.h. */
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include "qmp.h"

struct Qmp {
    int fd;
    GString *partial;
    GPtrArray *events;      /* lines, since the mark */
    char *answer;           /* the last line that was no event */
};

/* @line becomes ours. */
static void take_line(Qmp *q, char *line)
{
    if (strstr(line, "\"event\": \"")) {
        g_ptr_array_add(q->events, line);
        return;
    }
    g_free(q->answer);
    q->answer = line;
}

static bool read_some(Qmp *q, int flags)
{
    char buf[4096];
    ssize_t n = recv(q->fd, buf, sizeof(buf), flags);
    char *end;

    if (n <= 0) {
        return false;
    }
    g_string_append_len(q->partial, buf, n);
    while ((end = strchr(q->partial->str, '\n'))) {
        size_t length = end - q->partial->str;

        take_line(q, g_strndup(q->partial->str, length));
        g_string_erase(q->partial, 0, length + 1);
    }
    return true;
}

void qmp_read(Qmp *q)
{
    while (read_some(q, MSG_DONTWAIT)) {
    }
}

char *qmp_execute(Qmp *q, const char *command, int ms)
{
    g_autofree char *line = g_strdup_printf("{\"execute\": \"%s\"}\n", command);
    gint64 end = g_get_monotonic_time() + (gint64)ms * 1000;

    qmp_read(q);
    g_clear_pointer(&q->answer, g_free);
    if (send(q->fd, line, strlen(line), MSG_NOSIGNAL) < 0) {
        return NULL;
    }
    while (!q->answer) {
        struct pollfd p = { q->fd, POLLIN, 0 };
        gint64 left = (end - g_get_monotonic_time()) / 1000;

        if (left < 0 || poll(&p, 1, left) <= 0 || !read_some(q, 0)) {
            return NULL;
        }
        /* The greeting came on its own accord. */
        if (q->answer && strstr(q->answer, "\"QMP\": {")) {
            g_clear_pointer(&q->answer, g_free);
        }
    }
    return g_steal_pointer(&q->answer);
}

Qmp *qmp_new(int fd)
{
    Qmp *q = g_new0(Qmp, 1);

    q->fd = fd;
    q->partial = g_string_new(NULL);
    q->events = g_ptr_array_new_with_free_func(g_free);
    g_free(qmp_execute(q, "qmp_capabilities", 5000));
    return q;
}

void qmp_free(Qmp *q)
{
    if (q) {
        g_string_free(q->partial, TRUE);
        g_ptr_array_unref(q->events);
        g_free(q->answer);
        g_free(q);
    }
}

/* The members from @p on, which is behind a "{", as words. */
static char *words(const char *p)
{
    g_autoptr(GString) out = g_string_new(NULL);
    const char *end = strchr(p, '}');

    while (end && (p = memchr(p, '"', end - p))) {
        size_t name = strcspn(++p, "\"");
        const char *value = p + name + strlen("\": ");
        size_t length;

        if (*value == '"') {
            length = strcspn(++value, "\"");
        } else {
            length = strcspn(value, ",}");
        }
        g_string_append_printf(out, "%s%.*s=%.*s", out->len ? " " : "",
                               (int)name, p, (int)length, value);
        p = value + length + (value[-1] == '"');
        end = strchr(p, '}');
    }
    return g_string_free(g_steal_pointer(&out), FALSE);
}

char *qmp_words(const char *json, const char *name, const char *value)
{
    g_autofree char *member = g_strdup_printf("\"%s\": \"%s\"", name, value);
    const char *p = strstr(json, member);

    while (p && p > json && *p != '{') {
        p--;
    }
    return p ? words(p + 1) : NULL;
}

void qmp_mark(Qmp *q)
{
    qmp_read(q);
    g_ptr_array_set_size(q->events, 0);
}

char *qmp_event(Qmp *q, const char *name, unsigned n)
{
    g_autofree char *member = g_strdup_printf("\"event\": \"%s\"", name);

    qmp_read(q);
    for (guint i = 0; i < q->events->len; i++) {
        const char *line = q->events->pdata[i];
        const char *data = strstr(line, "\"data\": {");

        if (data && strstr(line, member) && n-- == 0) {
            return words(data + strlen("\"data\": {"));
        }
    }
    return NULL;
}
