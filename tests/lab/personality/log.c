/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log of calls, and complaints; see personality.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "personality.h"

/* One write() per line: threads of the VMM do not cut each other short. */
static void write_line(int fd, const char *line, size_t length)
{
    ssize_t n = write(fd, line, length);

    (void)n;
}

static void write_log(const char *line, size_t length)
{
    static int fd = -1;

    if (!options.log[0]) {
        return;
    }
    if (fd < 0) {
        fd = open(options.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    }
    write_line(fd, line, length);
}

static size_t add_text(char *line, size_t size, size_t at, const char *f,
                       va_list ap)
{
    int n = vsnprintf(line + at, size - at - 1, f, ap);

    at += (size_t)n < size - at - 1 ? (size_t)n : size - at - 2;
    line[at++] = '\n';
    return at;
}

void log_call(const char *f, ...)
{
    int saved = errno;
    char line[300];
    va_list ap;

    va_start(ap, f);
    write_log(line, add_text(line, sizeof(line), 0, f, ap));
    va_end(ap);
    errno = saved;
}

long complain(int error, const char *f, ...)
{
    int saved = errno;
    char line[400] = "personality: ";
    size_t n;
    va_list ap;

    va_start(ap, f);
    n = add_text(line, sizeof(line), strlen(line), f, ap);
    va_end(ap);
    write_line(2, line, n);
    write_log(line, n);
    errno = saved;
    return -error;
}
