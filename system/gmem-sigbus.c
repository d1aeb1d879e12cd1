/*
 * guest_memfd in-place conversion: SIGBUS
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: the last word of a QEMU that touched a private page without a
 * guard, and what becomes of machine checks when SIGBUS is not blocked.  See
 * gmem-access.h.
 */

#include "qemu/osdep.h"
#include <sys/prctl.h>
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "hw/core/cpu.h"
#include "system/gmem-access.h"
#include "system/gmem-access-internal.h"
#include "system/ramblock.h"

/* Machine checks from the handler to the main loop; none before the init. */
static int machine_checks[2] = { -1, -1 };
static char program_name[64] = "qemu";

/* A line that is put together by a signal handler. */
typedef struct Line {
    char text[1024];
    size_t len;
} Line;

static void line_add(Line *line, const char *s)
{
    while (*s && line->len < sizeof(line->text) - 1) {
        line->text[line->len++] = *s++;
    }
}

static void line_add_number(Line *line, uint64_t value, unsigned base)
{
    char digits[21];
    char *p = digits + sizeof(digits) - 1;

    *p = 0;
    do {
        *--p = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    line_add(line, p);
}

/* Threads have names of their own with -name debug-threads=on only. */
static void line_add_thread(Line *line)
{
    char name[16] = "";

    if (current_cpu) {
        line_add(line, "vCPU ");
        line_add_number(line, current_cpu->cpu_index, 10);
    } else if (qemu_get_thread_id() == getpid()) {
        line_add(line, "the main thread");
    } else {
        prctl(PR_GET_NAME, name);
        line_add(line, "thread '");
        line_add(line, name);
        line_add(line, "'");
    }
    line_add(line, " (");
    line_add_number(line, qemu_get_thread_id(), 10);
    line_add(line, ")");
}

/*
 * The block stays what it is: at worst it has been removed from the list a
 * moment ago, and the RCU critical section keeps it.
 */
static void report_private_page(const uint8_t *addr)
{
    RAMBlock *rb;

    RCU_READ_LOCK_GUARD();
    RAMBLOCK_FOREACH(rb) {
        Line line = { .len = 0 };
        ssize_t n;

        if (!ram_block_is_in_place(rb) ||
            (uintptr_t)addr - (uintptr_t)rb->host >= rb->max_length) {
            continue;
        }
        line_add(&line, program_name);
        line_add(&line, ": RAM block '");
        line_add(&line, rb->idstr);
        line_add(&line, "', offset 0x");
        line_add_number(&line, addr - rb->host, 16);
        line_add(&line, ": ");
        line_add_thread(&line);
        line_add(&line, " touched a private page; the guest must stop or reset "
                 "a device before it makes memory private that the device has "
                 "in use\n");
        do {
            n = write(STDERR_FILENO, line.text, line.len);
        } while (n < 0 && errno == EINTR);
        return;
    }
}

/*
 * An "action optional" machine check: the kernel sends it to the main thread,
 * in which QEMU handles it with functions that no signal handler may call.
 */
static bool forward_machine_check(void *addr)
{
    return write(machine_checks[1], &addr, sizeof(addr)) == sizeof(addr);
}

bool gmem_access_sigbus(const siginfo_t *info, const void *ctx)
{
    switch (info->si_code) {
    case BUS_ADRERR:
        gmem_guard_escape(info->si_addr);
        report_private_page(info->si_addr);
        return false;
    case BUS_MCEERR_AO:
        return ctx && !current_cpu && machine_checks[1] >= 0 &&
               forward_machine_check(info->si_addr);
    default:
        return false;
    }
}

/*
 * As sigfd_handler() of the main loop does with what its signalfd delivers; no
 * CFI checks, for the reason given there.
 */
QEMU_DISABLE_CFI
static void machine_check_ready(void *opaque)
{
    siginfo_t info = { .si_signo = SIGBUS, .si_code = BUS_MCEERR_AO };
    struct sigaction action;
    void *addr;

    while (read(machine_checks[0], &addr, sizeof(addr)) == sizeof(addr)) {
        info.si_addr = addr;
        sigaction(SIGBUS, NULL, &action);
        action.sa_sigaction(SIGBUS, &info, NULL);
    }
}

bool gmem_access_init(Error **errp)
{
    g_autoptr(GError) err = NULL;
    sigset_t set;

    if (!g_unix_open_pipe(machine_checks, FD_CLOEXEC, &err) ||
        !qemu_set_blocking(machine_checks[0], false, errp) ||
        !qemu_set_blocking(machine_checks[1], false, errp)) {
        if (err) {
            error_setg(errp, "cannot make a pipe for machine checks: %s",
                       err->message);
        }
        return false;
    }
    g_strlcpy(program_name, g_get_prgname() ?: "qemu", sizeof(program_name));
    qemu_set_fd_handler(machine_checks[0], machine_check_ready, NULL, NULL);

    sigemptyset(&set);
    sigaddset(&set, SIGBUS);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return true;
}
