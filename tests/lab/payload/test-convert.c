/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Conversions that nobody disturbs: sizes, borders, holes, bad requests. */
#include "payload.h"

#define BASE    (32 * MIB)      /* where the tests convert, if not told */

/* One range there and back; the data must survive and both sides agree. */
static void round_trip(uint64_t gpa, uint64_t npages, const char *what)
{
    uint64_t seed = gpa >> 12;
    char priv[24], shared[24];

    fmt(priv, sizeof(priv), "P%lu", npages);
    fmt(shared, sizeof(shared), "S%lu", npages);
    step_begin();
    host_fill(gpa, npages, seed);
    verify(gpa, npages, seed);
    check_convert(gpa, npages, true, 0);
    carry(gpa, npages, seed);
    check_state(gpa, npages, priv);
    verify(gpa, npages, seed);
    fill(gpa, npages, seed + 1);
    check_convert(gpa, npages, false, 0);
    carry(gpa, npages, seed + 1);
    check_state(gpa, npages, shared);
    host_verify(gpa, npages, seed + 1);
    verify(gpa, npages, seed + 1);
    step_end("%s (%lu pages at gpa 0x%lx): shared, private, shared; data %s",
             what, npages, gpa, dual() ? "new each time" : "kept");
}

static void basic(void)
{
    uint64_t gpa = BASE;

    step_begin();
    check_state(gpa, 512, "S512");
    step_end("memory starts shared");

    round_trip(gpa + 5 * PAGE, 1, "one page");
    round_trip(gpa + 4 * MIB, 512, "2 MiB");
    round_trip(gpa + 8 * MIB - 3 * PAGE, 7, "an odd range");

    step_begin();
    for (unsigned i = 0; i < 64; i += 2) {
        check_convert(gpa + i * PAGE, 1, true, 0);
    }
    check_state(gpa, 4, "P1S1P1S1");
    check_convert(gpa, 64, true, 0);
    check_state(gpa, 66, "P64S2");
    check_convert(gpa, 64, true, 0);
    check_state(gpa, 66, "P64S2");
    check_convert(gpa + PAGE, 62, false, 0);
    check_state(gpa, 66, "P1S62P1S2");
    check_convert(gpa, 64, false, 0);
    check_state(gpa, 66, "S66");
    step_end("mixed and repeated ranges end in the state that was asked for");

    step_begin();
    check_convert(gpa, 1, true, 0);
    {
        const char *a = ask("access 0x%lx", gpa);

        check(str_equal(a, "load=SIGBUS process_vm_readv=EFAULT "
                           "vmsplice=EFAULT write=EFAULT"),
              "the host's access gave %s", a);
        check_convert(gpa, 1, false, 0);
        a = ask("access 0x%lx", gpa);
        check(str_equal(a, "load=ok process_vm_readv=ok vmsplice=ok write=ok"),
              "after to-shared the host's access gave %s", a);
    }
    step_end("the host cannot read a private page, and can read it again "
             "when it is shared");

    step_begin();
    ask("mark");
    check_convert(gpa, 16, false, 0);
    {
        uint64_t calls = word_number(ask("since"), "calls", 99);

        check(calls == 0, "%lu kernel calls", calls);
    }
    step_end("a conversion that changes nothing makes no kernel call");
}

/* Parameter border: gpa of the border between two RAM blocks. */
static void border(void)
{
    uint64_t gpa = param("border", 128 * MIB);

    step_begin();
    if (!dual()) {
        uint64_t low = number(ask("inode 0x%lx", gpa - PAGE));
        uint64_t high = number(ask("inode 0x%lx", gpa));

        check(low && high && low != high,
              "one file (inode %lu) on both sides of gpa 0x%lx", low, gpa);
    }
    step_end("two RAM blocks meet at gpa 0x%lx", gpa);
    round_trip(gpa - 16 * PAGE, 32, "a range across two RAM blocks");
    round_trip(gpa - PAGE, 513, "an unequal range across two RAM blocks");
    round_trip(gpa - PAGE, 1, "the last page of the first block");
    round_trip(gpa, 1, "the first page of the second block");
}

/*
 * Parameter top: first gpa behind RAM.  Parameter high: gpa at which the same
 * RAM block goes on behind the hole; nothing asked for here is meant for it.
 */
static void hole(void)
{
    uint64_t top = param("top", 256 * MIB);
    uint64_t high = param("high", 0);
    uint64_t gpa = top - 8 * PAGE;

    if (high) {
        step_begin();
        check_convert(high, 8, true, 0);
        check_state(high, 16, "P8S8");
        step_end("RAM goes on at gpa 0x%lx", high);
    }

    step_begin();
    check_convert(top + 16 * PAGE, 4, false, 0);
    step_end("to shared over a memory hole is accepted");

    step_begin();
    check_convert(top + 16 * PAGE, 4, true, EINVAL);
    step_end("to private over a memory hole is EINVAL");

    step_begin();
    fill(gpa, 8, 7);
    check_convert(gpa, 16, true, EINVAL);
    check_state(gpa, 8, "S8");
    host_verify(gpa, 8, 7);
    step_end("to private over RAM and a hole is EINVAL and changes nothing");

    step_begin();
    check_convert(gpa, 8, true, 0);
    check_state(gpa, 8, "P8");
    check_convert(gpa, 16, false, 0);
    carry(gpa, 8, 7);
    check_state(gpa, 8, "S8");
    host_verify(gpa, 8, 7);
    if (high) {
        check_state(high, 16, "P8S8");
    }
    step_end("to shared over RAM and a hole converts the RAM");
}

/*
 * One request over the end of one RAM block, the hole with all MMIO in front of
 * 4 GiB, and the beginning of another block.  Parameters top, high: where RAM
 * ends, and goes on.
 */
static void all_kinds(void)
{
    uint64_t top = param("top", 128 * MIB), high = param("high", 4096 * MIB);
    uint64_t gpa = top - 8 * PAGE;
    uint64_t npages = (high + 8 * PAGE - gpa) / PAGE;

    step_begin();
    if (!dual()) {
        uint64_t low = number(ask("inode 0x%lx", gpa));
        uint64_t other = number(ask("inode 0x%lx", high));

        check(low && other && low != other,
              "one file (inode %lu) on both sides of the hole", low);
    }
    fill(gpa, 8, 7);
    fill(high, 8, 8);
    check_convert(gpa, npages, true, EINVAL);
    check_state(gpa, 8, "S8");
    check_state(high, 16, "S16");
    host_verify(gpa, 8, 7);
    host_verify(high, 8, 8);
    step_end("to private over RAM, a hole, MMIO and RAM of another block is "
             "EINVAL and changes nothing");

    step_begin();
    check_convert(gpa, 8, true, 0);
    check_convert(high, 16, true, 0);
    check_convert(gpa, npages, false, 0);
    carry(gpa, 8, 7);
    carry(high, 8, 8);
    check_state(gpa, 8, "S8");
    check_state(high, 16, "S8P8");
    host_verify(gpa, 8, 7);
    host_verify(high, 8, 8);
    step_end("to shared over all of them (%lu pages) converts the RAM of both "
             "blocks", npages);
}

static void bad_requests(void)
{
    uint64_t top = param("top", 256 * MIB);
    long ret;

    step_begin();
    check_convert(top, 1, true, EINVAL);
    check_convert(4096 * MIB, 512, true, EINVAL);
    check_convert(1ul << 45, 1, true, EINVAL);
    step_end("private beyond the end of RAM is EINVAL");

    step_begin();
    check_convert(BASE, 1ul << 52, true, EINVAL);
    check_convert(BASE, (1ul << 52) + 1, true, EINVAL);
    check_convert(BASE, 1ul << 51, true, EINVAL);
    check_convert(BASE, (1ul << 52) - 1, true, EINVAL);
    check_convert(BASE, 1ul << 52, false, EINVAL);
    check_state(BASE, 16, "S16");
    step_end("a page count that overflows is EINVAL and changes nothing");

    step_begin();
    ret = convert(-PAGE, 2, true);
    check(ret == EINVAL || ret == -EINVAL, "the last page answered %ld", ret);
    ret = convert(-PAGE, -1ul, true);
    check(ret == EINVAL || ret == -EINVAL, "a wrapped range answered %ld", ret);
    check_convert(BASE + 1, 1, true, -EINVAL);
    check_convert(BASE, 0, true, -EINVAL);
    step_end("wrapped, unaligned and empty requests are EINVAL");

    step_begin();
    check_convert(0xfee00000, 1, true, EINVAL);     /* local APIC */
    check_convert(0xfec00000, 1, true, EINVAL);     /* IOAPIC */
    check_convert(0xfed00000, 1, true, EINVAL);     /* HPET */
    step_end("MMIO cannot be made private");

    step_begin();
    check_convert(IMAGE_ROM, 1, true, EINVAL);
    step_end("ROM cannot be made private");

    round_trip(BASE, 16, "after all that the VM goes on");
}

const PayloadTest tests_convert[] = {
    { "basic", basic },
    { "border", border },
    { "hole", hole },
    { "all-kinds", all_kinds },
    { "bad-requests", bad_requests },
    { }
};
