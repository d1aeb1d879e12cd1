/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What "./run demo" shows: one line per promise, each one checked. */
#include "payload.h"

#define BASE    (32 * MIB)
#define NPAGES  16384ul         /* 64 MiB */

/* To private, back to shared and to private again; both sides write. */
static void there_and_back(uint64_t gpa, uint64_t npages, uint64_t seed)
{
    char want[24];

    host_fill(gpa, npages, seed);
    fmt(want, sizeof(want), "P%lu", npages);
    check_convert(gpa, npages, true, 0);
    check_state(gpa, npages, want);
    verify(gpa, npages, seed);
    fill(gpa, npages, seed + 1);
    want[0] = 'S';
    check_convert(gpa, npages, false, 0);
    check_state(gpa, npages, want);
    host_verify(gpa, npages, seed + 1);
    host_fill(gpa, npages, seed + 2);
    want[0] = 'P';
    check_convert(gpa, npages, true, 0);
    check_state(gpa, npages, want);
    verify(gpa, npages, seed + 2);
}

static void demo_busy(void)
{
    uint64_t gpa = 48 * MIB;
    uint64_t held = gpa + 9001 * PAGE;
    uint64_t hold = param("hold", 200);
    uint64_t offset, named, calls, eagain, rest, took;
    const char *a;

    step_begin();
    fill_every(gpa, NPAGES, 20, 16);
    offset = number(ask("offset 0x%lx", held));
    ask("pin 0x%lx 1 %lu", held, hold);
    ask("after busy state 0x%lx 3 1 P1S1P1", held - PAGE);
    ask("mark");
    check_convert(gpa, NPAGES, true, 0);
    a = ask("since");
    calls = word_number(a, "calls", 0);
    eagain = word_number(a, "eagain", 0);
    named = word_number(a, "first-offset", -1ul);
    rest = word_number(a, "rest-ms", -1ul);
    took = word_number(a, "ms", 0);
    check(eagain, "the kernel never answered EAGAIN: %s", a);
    check(named == offset, "the kernel named another offset than 0x%lx",
          offset);
    step_end("64 MiB with one page held %lu ms: the kernel named offset 0x%lx",
             hold, named);

    step_begin();
    a = ask("result");
    check(word_number(a, "pinned", 0) && word_number(a, "same", 0),
          "while it was held the host saw: %s", a);
    check(rest < hold, "the rest took %lu ms", rest);
    check(took >= hold, "all was done after %lu ms", took);
    check_state(gpa, NPAGES, "P16384");
    verify_every(gpa, NPAGES, 20, 16);
    step_end("  its 16383 neighbours private after %lu ms, the page itself "
             "after %lu ms", rest, took);

    step_begin();
    check(calls <= 100, "more than 100 calls");
    check_convert(gpa, NPAGES, false, 0);
    host_verify_every(gpa, NPAGES, 20, 16);
    step_end("  %lu calls to the kernel, %lu of them answered EAGAIN", calls,
             eagain);
}

static void demo(void)
{
    uint64_t border = param("border", 128 * MIB);
    uint64_t top = param("top", 256 * MIB);
    const char *a;

    ask("memory");              /* what QEMU itself needs: the base line */

    step_begin();
    for (unsigned i = 0; i < 8; i++) {
        there_and_back(BASE + 3 * i * PAGE, 1, 1 + i);
    }
    step_end("single pages: private, shared, private; data checked on both "
             "sides");

    step_begin();
    there_and_back(BASE + 2 * MIB, 512, 10);
    step_end("2 MiB: the same");

    step_begin();
    there_and_back(border - 256 * PAGE, 512, 12);
    step_end("a range across two RAM blocks: the same");

    step_begin();
    check_convert(top - 8 * PAGE, 8, true, 0);
    check_convert(top - 8 * PAGE, 64, false, 0);
    check_state(top - 8 * PAGE, 8, "S8");
    step_end("shared over a memory hole: accepted, the RAM in it is shared");

    step_begin();
    store(BASE, 0x5ec4e7);
    check_convert(BASE, 1, true, 0);
    a = ask("access 0x%lx", BASE);
    check(str_equal(a, "load=SIGBUS process_vm_readv=EFAULT "
                       "vmsplice=EFAULT write=EFAULT"), "wrong answers");
    check(load(BASE) == 0x5ec4e7, "the guest lost its data");
    step_end("host, private page: %s", a);

    demo_busy();

    step_begin();
    check_convert(top, 1, true, EINVAL);
    check_convert(top - PAGE, 2, true, EINVAL);
    check_convert(BASE, 1ul << 52, true, EINVAL);
    there_and_back(BASE + 8 * MIB, 16, 30);
    step_end("beyond RAM, private over a hole, count overflow: EINVAL; the VM "
             "goes on");

    step_begin();
    fill(1 * MIB, (top - 1 * MIB) / PAGE, 40);
    {
        uint64_t used, total = top / 1024;

        a = ask("memory");
        used = word_number(a, "peak", 0);
        check(used && used * 100 <= total * 102, "more than 1.02 times: %s", a);
        step_end("host memory at its peak %lu KiB, guest memory %lu KiB "
                 "(%lu %%)", used, total, used * 100 / total);
    }
}

const PayloadTest tests_demo[] = {
    { "demo", demo },
    { }
};
