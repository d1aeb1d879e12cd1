/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Steps, checks and exceptions, reported as TAP; see payload.h. */
#include "payload.h"

static unsigned steps;
static unsigned failures;
static bool step_failed;
static char step_reason[400];

void step_begin(void)
{
    step_failed = false;
}

bool check_at(const char *where, bool ok, const char *f, ...)
{
    const char *file = where;
    const char *p;
    char text[300];
    va_list ap;

    if (ok) {
        return true;
    }
    va_start(ap, f);
    fmt_v(text, sizeof(text), f, ap);
    va_end(ap);
    for (p = where; *p; p++) {
        if (*p == '/') {
            file = p + 1;
        }
    }
    if (!step_failed) {
        step_failed = true;
        fmt(step_reason, sizeof(step_reason), "%s (%s)", text, file);
    } else {
        note("also: %s (%s)", text, file);
    }
    return false;
}

bool step_end(const char *f, ...)
{
    char text[300];
    char line[800];
    va_list ap;

    va_start(ap, f);
    fmt_v(text, sizeof(text), f, ap);
    va_end(ap);
    steps++;
    if (step_failed) {
        failures++;
        fmt(line, sizeof(line), "not ok %u - %s: %s\n", steps, text,
            step_reason);
    } else {
        fmt(line, sizeof(line), "ok %u - %s\n", steps, text);
    }
    debug_puts(line);
    return !step_failed;
}

void note(const char *f, ...)
{
    char text[400];
    va_list ap;

    va_start(ap, f);
    fmt_v(text, sizeof(text), f, ap);
    va_end(ap);
    debug_puts("# ");
    debug_puts(text);
    debug_puts("\n");
}

bool test_summary(void)
{
    char line[40];

    fmt(line, sizeof(line), "1..%u\n", steps);
    debug_puts(line);
    return steps && !failures;
}

void exception_report(uint64_t vector, uint64_t error, uint64_t rip,
                      uint64_t cr2);

void exception_report(uint64_t vector, uint64_t error, uint64_t rip,
                      uint64_t cr2)
{
    char line[160];

    fmt(line, sizeof(line),
        "Bail out! exception %lu, error code 0x%lx, rip 0x%lx, cr2 0x%lx\n",
        vector, error, rip, cr2);
    debug_puts(line);
    quit(false);
}
