/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What conversions cost, for "./run bench".  Times are in cycles of the TSC,
 * which the guest and the emulated host count at the same speed; they are
 * printed as "# bench kind=... name=value ...", for bench/kernel.py.
 *
 * A step fails only if a conversion does: how long it may take is not asked.
 */
#include "payload.h"

#define BASE        (64 * MIB)
#define UNTOUCHED   (32 * MIB)
#define ROUNDS_MAX  500

static uint32_t ticks[2][ROUNDS_MAX];

static uint64_t tsc(void)
{
    uint32_t a, d;

    asm volatile("rdtsc" : "=a"(a), "=d"(d) : : "memory");
    return (uint64_t)d << 32 | a;
}

static void touch(uint64_t gpa, uint64_t npages)
{
    for (uint64_t i = 0; i < npages; i++) {
        store(gpa + i * PAGE, i);
    }
}

/* The median, without the first two: these did the warming up. */
static uint32_t median(uint32_t *t, unsigned n)
{
    unsigned from = n > 2 ? 2 : 0;

    for (unsigned i = from + 1; i < n; i++) {
        uint32_t v = t[i];
        unsigned j = i;

        for (; j > from && t[j - 1] > v; j--) {
            t[j] = t[j - 1];
        }
        t[j] = v;
    }
    return t[(from + n) / 2];
}

/* Does the guest write to each page, and is that part of the time? */
typedef enum Touch {
    TOUCH_NEVER,
    TOUCH_BEFORE,           /* no part */
    TOUCH_AFTER,            /* until it has all pages again */
} Touch;

/*
 * The same as kernel_vm_loop() of bench/.  @change: false: the pages are shared,
 * and shall be; QEMU answers without a call to the kernel.  @npages 0: CPUID
 * instead, which KVM handles on its own.
 */
static void loop(const char *kind, uint64_t gpa, uint64_t npages, Touch when,
                 unsigned rounds, bool change)
{
    long ret = 0;

    step_begin();
    for (unsigned i = 0; i < rounds; i++) {
        for (unsigned to_private = 2; to_private--;) {
            uint64_t begin;

            if (when == TOUCH_BEFORE) {
                touch(gpa, npages);
            }
            begin = tsc();
            if (npages) {
                ret |= convert(gpa, npages, change && to_private);
            } else {
                relax();
            }
            if (when == TOUCH_AFTER) {
                touch(gpa, npages);
            }
            ticks[to_private][i] = tsc() - begin;
        }
    }
    check(ret == 0, "a conversion failed");
    note("bench kind=%s who=qemu pages=%lu touch=%u private=%u shared=%u", kind,
         npages, when, median(ticks[1], rounds), median(ticks[0], rounds));
    step_end("%s: %u times %lu pages", kind, rounds, npages);
}

/*
 * alone=1: without the mapping in advance that QEMU adds to a conversion of more
 * than one page; the scenario hides it from QEMU.
 */
static void bench_loop(void)
{
    bool quick = param("quick", 0);
    unsigned many = quick ? 50 : ROUNDS_MAX, few = quick ? 10 : 60;

    if (param("alone", 0)) {
        loop("loop", UNTOUCHED, 512, TOUCH_NEVER, many, true);
        loop("loop", BASE, 512, TOUCH_BEFORE, few, true);
        return;
    }
    loop("exit", 0, 0, TOUCH_NEVER, many, false);
    loop("floor", UNTOUCHED, 1, TOUCH_NEVER, many, false);
    loop("loop", UNTOUCHED, 1, TOUCH_NEVER, many, true);
    loop("loop", BASE, 1, TOUCH_BEFORE, many, true);
    loop("mapped", BASE, 1, TOUCH_AFTER, many, true);
    loop("mapped", BASE, 512, TOUCH_AFTER, few, true);
}

/* One page, in a guest of any size; the scenario is run with several. */
static void bench_size(void)
{
    uint64_t mib = param("mib", 0);

    step_begin();
    for (unsigned b = 0; b < 8; b++) {
        for (unsigned i = 0; i < 100; i++) {
            for (unsigned to_private = 2; to_private--;) {
                uint64_t begin, gpa = BASE + b * 2 * MIB;

                store(gpa, i);
                begin = tsc();
                check_convert(gpa, 1, to_private, 0);
                ticks[to_private][i] = tsc() - begin;
            }
        }
        note("bench kind=size who=qemu mib=%lu private=%u shared=%u", mib,
             median(ticks[1], 100), median(ticks[0], 100));
    }
    step_end("single pages in a guest of %lu MiB", mib);
}

/* There and back, until everybody has the memory mapped again. */
static void trip(uint64_t npages, unsigned rounds)
{
    step_begin();
    touch(BASE, npages);
    ask("touch 0x%lx %lu", BASE, npages);
    /* The first round: the guest's pages for the other state are new. */
    for (unsigned i = 0; i <= rounds; i++) {
        uint64_t t[5], host;

        t[0] = tsc();
        check_convert(BASE, npages, true, 0);
        t[1] = tsc();
        touch(BASE, npages);
        t[2] = tsc();
        check_convert(BASE, npages, false, 0);
        t[3] = tsc();
        touch(BASE, npages);
        t[4] = tsc();
        host = word_number(ask("touch 0x%lx %lu", BASE, npages), "ticks", 0);
        check(host != 0, "no time from the host");
        if (i) {
            note("bench kind=%s pages=%lu private=%lu guest1=%lu shared=%lu "
                 "guest2=%lu host=%lu", param("alone", 0) ? "alone" : "trip",
                 npages, t[1] - t[0], t[2] - t[1],
                 t[3] - t[2], t[4] - t[3], host);
        }
    }
    step_end("%u round trips of %lu pages", rounds, npages);
}

/*
 * What the host has for guest memory: in the files of guest_memfd, which only
 * its page cache tells of a file that cannot be mapped, and of QEMU's own.
 */
static uint64_t host_memory(void)
{
    uint64_t cached = word_number(ask("usage"), "cached-kib", 0);

    return cached + word_number(ask("memory"), "other", 0);
}

/* Without what QEMU itself needs; memory that the guest has from the start. */
static uint64_t memory_base(void)
{
    bool in_place = str_contains(ask("gmem"), "mode=in-place");
    uint64_t base = host_memory();

    return in_place ? base - word_number(ask("memory"), "gmem", 0) : base;
}

static void note_memory(const char *when, uint64_t base)
{
    note("bench kind=memory when=%s peak=%lu guest=%lu", when,
         host_memory() - base, param("top", 256 * MIB) / 1024);
}

/*
 * All of the memory in use, then private where it can be, then every other page
 * of 16 MiB shared again, then all of it.
 */
static void memory(uint64_t base)
{
    uint64_t top = param("top", 256 * MIB), from = 16 * MIB;
    uint64_t npages = (top - from) / PAGE;

    step_begin();
    touch(1 * MIB, (top - 1 * MIB) / PAGE);
    ask("touch 0x%lx %lu", 1 * MIB, (top - 1 * MIB) / PAGE);
    note_memory("shared", base);
    check_convert(from, npages, true, 0);
    touch(from, npages);
    note_memory("private", base);
    for (uint64_t gpa = from; gpa < from + 16 * MIB; gpa += 2 * PAGE) {
        check_convert(gpa, 1, false, 0);
    }
    touch(from, npages);
    note_memory("mixed", base);
    check_convert(from, npages, false, 0);
    touch(from, npages);
    ask("touch 0x%lx %lu", from, npages);
    note_memory("shared-again", base);
    step_end("memory of the host, guest memory %lu MiB", top / MIB);
}

static void bench_trip(void)
{
    uint64_t base = memory_base();

    trip(512, param("rounds", 20));
    trip(16384, param("rounds64", 5));
    if (!param("alone", 0)) {
        memory(base);
    }
}

const PayloadTest tests_bench[] = {
    { "bench-loop", bench_loop },
    { "bench-size", bench_size },
    { "bench-trip", bench_trip },
    { }
};
