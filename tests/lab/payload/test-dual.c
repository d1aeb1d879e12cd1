/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dual-backed memory: a page for each state, a conversion drops the content. */
#include "payload.h"

#define BASE    (32 * MIB)

/* Plain QEMU's scheme.  Both states work; nothing is carried over. */
static void dual_backed(void)
{
    uint64_t gpa = BASE;

    step_begin();
    check_convert(gpa, 512, false, 0);
    fill(gpa, 512, 1);
    host_verify(gpa, 512, 1);
    step_end("shared: the host reads what the guest wrote");

    step_begin();
    check_convert(gpa, 512, true, 0);
    check(load(gpa) == 0 && load(gpa + 511 * PAGE) == 0,
          "the guest reads 0x%lx from a page that just became private",
          load(gpa));
    fill(gpa, 512, 2);
    verify(gpa, 512, 2);
    step_end("private: a new zeroed page that keeps what the guest writes");

    step_begin();
    check_convert(gpa, 512, false, 0);
    check(load(gpa) == 0, "the guest reads 0x%lx from a page that just became "
          "shared", load(gpa));
    fill(gpa, 512, 3);
    host_verify(gpa, 512, 3);
    step_end("shared again: again a new zeroed page");
}

static void check_calls(uint64_t want, const char *what)
{
    uint64_t calls = number(ask("count kvm_gmem_set_vm_attributes"));

    check(calls == want, "%s: %lu kernel calls, not %lu", what, calls, want);
    ask("mark");
}

/* The calls of QEMU 10.2.2: one a request, whatever is there already */
static void dual_calls(void)
{
    uint64_t gpa = BASE;

    step_begin();
    check_state(gpa, 64, "S64");
    ask("mark");
    for (unsigned i = 0; i < 32; i += 2) {
        check_convert(gpa + i * PAGE, 1, true, 0);
    }
    check_calls(16, "16 requests");
    check_state(gpa, 34, "P1S1P1S1P1S1P1S1P1S1P1S1P1S1P1S1"
                "P1S1P1S1P1S1P1S1P1S1P1S1P1S1P1S3");
    check_convert(gpa, 32, true, 0);
    check_calls(1, "a mixed range");
    check_state(gpa, 34, "P32S2");
    fill(gpa, 32, 5);
    check_convert(gpa, 32, true, 0);
    check_calls(1, "private already");
    verify(gpa, 32, 5);
    check_convert(gpa + PAGE, 30, false, 0);
    check_state(gpa, 34, "P1S30P1S2");
    fill(gpa, 34, 6);
    check_convert(gpa + PAGE, 30, false, 0);
    verify(gpa, 34, 6);
    check_calls(2, "to shared, and shared already");
    check_convert(gpa, 32, false, 0);
    check_state(gpa, 34, "S34");
    step_end("mixed and repeated requests: one kernel call each, the state "
             "that was asked for, no content lost that is in use");

    step_begin();
    ask("mark");
    check_convert(64 * MIB, 128 * MIB / PAGE, true, 0);
    check_calls(1, "128 MiB to private");
    check_convert(64 * MIB, 128 * MIB / PAGE, false, 0);
    check_calls(1, "128 MiB to shared");
    step_end("128 MiB are one call");
}

/* What the state that is left behind used goes back to the host */
static void dual_memory(void)
{
    const uint64_t npages = 16 * MIB / PAGE, kib = 16 * 1024, slack = 1024;
    uint64_t before, shared, private;

    step_begin();
    before = word_number(ask("memory"), "other", 0);
    fill(BASE, npages, 1);
    shared = word_number(ask("memory"), "other", 0);
    check(shared + slack >= before + kib, "%lu KiB, %lu KiB before 16 MiB of "
          "shared pages were written", shared, before);
    check_convert(BASE, npages, true, 0);
    private = word_number(ask("memory"), "other", 0);
    check(private <= before + slack, "%lu KiB of shared pages are left of %lu",
          private - before, shared - before);
    step_end("to private: the shared pages are given back");

    /* Nobody can look into private pages from outside; old content can tell. */
    step_begin();
    fill(BASE, npages, 2);
    check_convert(BASE, npages, false, 0);
    check_convert(BASE, npages, true, 0);
    carry(BASE, npages, 3);
    verify(BASE, npages, 3);
    step_end("to shared: the private pages are given back");
}

/* initial-state=private there: the host sees another page than the guest. */
static void initial_private_dual(void)
{
    uint64_t gpa = 32 * MIB, low = WINDOW_END - 4 * PAGE;

    step_begin();
    fill(low, 4, 1);
    host_verify(low, 4, 1);
    step_end("the first MiB is shared");

    step_begin();
    fill(MIB, 4, 1);
    fill(gpa, 512, 1);
    check(!str_equal(ask("check 0x%lx 4 1", MIB), "match") &&
          !str_equal(ask("check 0x%lx 512 1", gpa), "match"),
          "the host reads what the guest wrote");
    verify(gpa, 512, 1);
    check_convert(gpa, 512, false, 0);
    fill(gpa, 512, 2);
    host_verify(gpa, 512, 2);
    step_end("memory above it is private, and can be shared");
}

const PayloadTest tests_dual[] = {
    { "dual-backed", dual_backed },
    { "dual-calls", dual_calls },
    { "dual-memory", dual_memory },
    { "initial-private-dual", initial_private_dual },
    { }
};
