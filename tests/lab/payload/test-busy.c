/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Conversions that meet pages held by somebody in the host. */
#include "payload.h"

#define BASE    (64 * MIB)
#define NPAGES  16384ul         /* 64 MiB */
#define STRIDE  64              /* every so many pages' state is sampled */
#define SPARSE  16              /* every so many pages get data */

/*
 * Requests to gmem-lab come in this order: pin, after, mark.  "mark" starts
 * the clock of the pins and of what "since" reports, so that nothing depends
 * on how long the requests themselves take.
 *
 * One conversion of the 64 MiB range with the pages [@first, @first + @count)
 * held for @ms.  While they are held, all others must become private.
 */
static void busy_range(const char *what, uint64_t first, uint64_t count)
{
    uint64_t ms = param("hold", 600);
    uint64_t max_calls = param("max-calls", 200);
    uint64_t held = BASE + first * PAGE;
    uint64_t from = first ? held - PAGE : held;
    uint64_t to = first + count < NPAGES ? held + (count + 1) * PAGE
                                         : held + count * PAGE;
    char around[64], want[24], sampled[24];
    uint64_t calls, eagain, named, rest, offset, took;
    const char *a;
    size_t n;

    n = first ? fmt(around, sizeof(around), "P1S%lu", count)
              : fmt(around, sizeof(around), "S%lu", count);
    if (first + count < NPAGES) {
        fmt(around + n, sizeof(around) - n, "P1");
    }
    fmt(want, sizeof(want), "P%lu", NPAGES);
    fmt(sampled, sizeof(sampled), "P%lu", NPAGES / STRIDE);

    step_begin();
    fill_every(BASE, NPAGES, 3, SPARSE);
    offset = number(ask("offset 0x%lx", held));
    ask("pin 0x%lx %lu %lu", held, count, ms);
    ask("after busy state 0x%lx %lu 1 %s", from, (to - from) / PAGE, around);
    /* The sample steps over held pages: it starts beside them. */
    ask("after busy state 0x%lx %lu %u %s",
        BASE + (first % STRIDE ? 0 : STRIDE / 2 * PAGE), NPAGES - STRIDE / 2,
        STRIDE, sampled);
    ask("mark");
    check_convert(BASE, NPAGES, true, 0);
    a = ask("since %lu", count);
    calls = word_number(a, "calls", 0);
    eagain = word_number(a, "eagain", 0);
    named = word_number(a, "first-offset", -1ul);
    rest = word_number(a, "rest-ms", -1ul);
    took = word_number(a, "ms", 0);
    check(eagain >= 1, "the kernel never answered EAGAIN: %s", a);
    check(named == offset, "the kernel named offset 0x%lx, held is 0x%lx",
          named, offset);
    check(calls <= max_calls, "%lu calls, at most %lu expected", calls,
          max_calls);
    check(took >= ms, "took %lu ms, the page was held %lu ms", took, ms);
    check(took < ms + 3000, "took %lu ms, the page was held %lu ms only", took,
          ms);
    check(rest < ms, "the rest was private after %lu ms only", rest);
    for (unsigned i = 0; i < 2; i++) {
        a = ask("result");
        check(word_number(a, "pinned", 0) == 1 && word_number(a, "same", 0),
              "while the page was held: %s", a);
    }
    check_state(BASE, NPAGES, want);
    verify_every(BASE, NPAGES, 3, SPARSE);
    check_convert(BASE, NPAGES, false, 0);
    host_verify_every(BASE, NPAGES, 3, SPARSE);
    step_end("%s of 16384 held %lu ms: %lu calls, %lu EAGAIN, rest private "
             "after %lu ms, all after %lu ms", what, ms, calls, eagain, rest,
             took);
}

static void busy_one(void)
{
    busy_range("one page", param("page", 9001), 1);
}

static void busy_first(void)
{
    busy_range("the first page", 0, 1);
}

static void busy_last(void)
{
    busy_range("the last page", NPAGES - 1, 1);
}

static void busy_run(void)
{
    busy_range("a run of 48 pages", 8200, 48);
}

static void busy_several(void)
{
    static const uint16_t pages[] = { 100, 101, 4097, 9001, 16000 };
    uint64_t ms = param("hold", 600);
    uint64_t calls, offsets;
    const char *a;

    step_begin();
    fill_every(BASE, NPAGES, 4, SPARSE);
    for (unsigned i = 0; i < 5; i++) {
        ask("pin 0x%lx 1 %lu", BASE + pages[i] * PAGE, ms);
    }
    ask("after busy state 0x%lx 4 1 P1S2P1", BASE + 99 * PAGE);
    ask("after busy state 0x%lx 3 1 P1S1P1", BASE + 4096 * PAGE);
    ask("after busy state 0x%lx 3 1 P1S1P1", BASE + 15999 * PAGE);
    ask("mark");
    check_convert(BASE, NPAGES, true, 0);
    a = ask("since 5");
    calls = word_number(a, "calls", 0);
    offsets = word_number(a, "noffsets", 0);
    check(offsets >= 4 && offsets <= 5, "the kernel named %lu offsets: %s",
          offsets, a);
    check(calls <= param("max-calls", 400), "%lu calls", calls);
    for (unsigned i = 0; i < 3; i++) {
        a = ask("result");
        check(word_number(a, "pinned", 0) == 1 && word_number(a, "same", 0),
              "while the pages were held: %s", a);
    }
    check_state(BASE, NPAGES, "P16384");
    verify_every(BASE, NPAGES, 4, SPARSE);
    step_end("five pages held %lu ms: %lu calls, %lu offsets named, "
             "all others private meanwhile", ms, calls, offsets);
}

/*
 * Parameters: count pages are held, one of every stride; for hold ms, or, if
 * timeout (the scenario's convert-timeout, in ms) is given, for longer.  While
 * they are held all others must become private.
 */
static void busy_many(void)
{
    uint64_t count = param("count", 64), stride = param("stride", 1);
    uint64_t ms = param("hold", 600), timeout = param("timeout", 0);
    uint64_t held = BASE + 19 * SPARSE * PAGE;      /* it has data */
    uint64_t max_calls = param("max-calls", 8 * count + 400);
    uint64_t span = (count - 1) * stride + 1;
    uint64_t behind = held + span * PAGE;
    uint64_t left = (BASE + NPAGES * PAGE - behind) / PAGE;
    uint64_t calls, eagain, took;
    char shared[24], beside[24], sampled[24];
    const char *a;

    fmt(shared, sizeof(shared), "S%lu", count);
    fmt(beside, sizeof(beside), "P%lu", count);
    fmt(sampled, sizeof(sampled), "P%lu", (left + STRIDE - 1) / STRIDE);

    step_begin();
    fill_every(BASE, NPAGES, 4, SPARSE);
    if (timeout) {
        ask("pin 0x%lx %lu hold %lu", held, count, stride);
    } else {
        ask("pin 0x%lx %lu %lu %lu", held, count, ms, stride);
    }
    ask("after busy state 0x%lx %lu %lu %s", held, span, stride, shared);
    /* What is behind each of them, or in front of the run */
    if (stride > 1) {
        ask("after busy state 0x%lx %lu %lu %s", held + PAGE, span, stride,
            beside);
    } else {
        ask("after busy state 0x%lx 16 1 P16", held - 16 * PAGE);
    }
    ask("after busy state 0x%lx %lu %u %s", behind, left, STRIDE, sampled);
    ask("mark");
    check_convert(BASE, NPAGES, true, timeout ? EAGAIN : 0);
    a = ask("since %lu", count);
    calls = word_number(a, "calls", 0);
    eagain = word_number(a, "eagain", 0);
    took = word_number(a, "ms", 0);
    check(calls <= max_calls, "%lu calls, at most %lu expected", calls,
          max_calls);
    check(eagain >= 1, "the kernel never answered EAGAIN: %s", a);
    check(took >= (timeout ? timeout - 100 : ms),
          "answered after %lu ms", took);
    check(took < (timeout ? timeout : ms) + 3000, "answered after %lu ms", took);
    for (unsigned i = 0; i < 3; i++) {
        a = ask("result");
        check(word_number(a, "pinned", 0) == 1 && word_number(a, "same", 0),
              "while the pages were held: %s", a);
    }
    if (timeout) {
        a = ask("state 0x%lx %lu %lu", held, span, stride);
        check(str_equal(a, shared), "what is held is %s", a);
        host_verify_every(held, span, 4, stride * SPARSE);
        ask("unpin");
        ask("mark");
        check_convert(BASE, NPAGES, true, 0);
        a = ask("since");
        /* What is between scattered pages is asked for again: fewer calls */
        check(stride > 1 ? word_number(a, "calls", -1ul) <= count
                         : word_number(a, "pages", 0) == count,
              "asked again for %s", a);
    }
    check_state(BASE, NPAGES, "P16384");
    verify_every(BASE, NPAGES, 4, SPARSE);
    check_convert(BASE, NPAGES, false, 0);
    host_verify_every(BASE, NPAGES, 4, SPARSE);
    step_end("%lu pages held, one of every %lu: %lu calls, %lu EAGAIN, all "
             "others private meanwhile; %s after %lu ms", count, stride, calls,
             eagain, timeout ? "EAGAIN" : "done", took);
}

/* Parameter timeout: the convert-timeout of the scenario, in ms. */
static void busy_deadline(void)
{
    uint64_t held = BASE + 8000 * PAGE;
    uint64_t timeout = param("timeout", 1000);
    uint64_t took;
    const char *a;

    step_begin();
    fill_every(BASE, NPAGES, 5, SPARSE);    /* 8000 is one of these pages */
    ask("pin 0x%lx 1 hold", held);
    ask("mark");
    check_convert(BASE, NPAGES, true, EAGAIN);
    took = word_number(ask("since"), "ms", 0);
    check(took + 100 >= timeout && took < timeout + 1500,
          "the answer came after %lu ms, convert-timeout is %lu ms", took,
          timeout);
    check_state(BASE, NPAGES, "P8000S1P8383");
    verify_every(BASE, NPAGES, 5, SPARSE);
    host_verify(held, 1, 5);
    step_end("held beyond convert-timeout=%lu: EAGAIN after %lu ms, converted "
             "pages stay private, the held page stays shared", timeout, took);

    step_begin();
    ask("unpin");
    ask("mark");
    check_convert(BASE, NPAGES, true, 0);
    a = ask("since");
    check(word_number(a, "eagain", 9) == 0, "after unpin: %s", a);
    check(word_number(a, "pages", 0) == 1, "asked again for %s", a);
    check_state(BASE, NPAGES, "P16384");
    verify_every(BASE, NPAGES, 5, SPARSE);
    step_end("after unpin the same request succeeds and touches only that page");

    step_begin();
    check_convert(BASE, NPAGES, false, 0);
    host_verify_every(BASE, NPAGES, 5, SPARSE);
    ask("pin 0x%lx 1 hold", held);
    check_convert(BASE, NPAGES, false, 0);
    ask("unpin");
    step_end("to shared does not care about a held page");
}

/*
 * A request over two RAM blocks, whose border is parameter border.  The first
 * block's 10 MiB take longer than convert-timeout, as fail-call.so slows that call
 * down, but nobody waits for them; the page that is held is in the second block.
 */
static void timeout_two_blocks(void)
{
    uint64_t first = 10 * MIB / PAGE, second = 512, busy = 77;
    uint64_t border = param("border", 128 * MIB);
    uint64_t gpa = border - first * PAGE, held = border + busy * PAGE;
    uint64_t timeout = param("timeout", 1000), slow = param("slow", 1500);
    uint64_t took;
    const char *a;

    step_begin();
    fill_every(gpa, first, 5, SPARSE);
    fill(border, second, 5);
    ask("pin 0x%lx 1 hold", held);
    ask("mark");
    check_convert(gpa, first + second, true, EAGAIN);
    a = ask("since");
    took = word_number(a, "ms", 0);
    check(took + 100 >= slow + timeout,
          "answered after %lu ms, of which %lu were no wait: convert-timeout is "
          "%lu ms (%s)", took, slow, timeout, a);
    check(took < slow + timeout + 2000, "answered after %lu ms only", took);
    check_state(gpa, first + second, "P2637S1P434");
    ask("unpin");
    check_convert(gpa, first + second, true, 0);
    verify_every(gpa, first, 5, SPARSE);
    verify(border, second, 5);
    step_end("two RAM blocks, the first takes %lu ms more, a page of the second "
             "is held: EAGAIN after %lu ms, convert-timeout is %lu ms", slow,
             took, timeout);
}

static void stop_while_busy(void)
{
    uint64_t held = BASE + 77 * PAGE;
    uint64_t stop_ms, took;
    const char *a;

    step_begin();
    fill(BASE, 512, 6);
    ask("pin 0x%lx 1 8000", held);
    ask("after 200 stop 300");
    ask("mark");
    /* One request, one answer: the guest does not notice the stop. */
    check_convert(BASE, 512, true, 0);
    took = word_number(ask("since"), "ms", 0);
    check(took >= 8000, "the request ended after %lu ms", took);
    check(number(ask("count kvm_gmem_pending")) >= 1,
          "the request did not stay pending over the stop");
    a = ask("result");
    stop_ms = word_number(a, "stop-ms", 99999);
    check(stop_ms < 800 && word_number(a, "paused", 0) &&
          word_number(a, "registers", 0) && word_number(a, "calls", 9) == 0,
          "stop while a page is busy: %s", a);
    check_state(BASE, 512, "P512");
    verify(BASE, 512, 6);
    step_end("stop answered after %lu ms while a page was busy, no call to the "
             "kernel until cont; then the same request ended", stop_ms);
}

/* The scenario expects that QEMU ends while this waits. */
static void quit_while_busy(void)
{
    step_begin();
    fill(BASE, 512, 6);
    ask("pin 0x%lx 1 hold", BASE + 77 * PAGE);
    ask("after 200 quit");
    ask("mark");
    convert(BASE, 512, true);
    check(false, "the conversion ended although the page is held");
    step_end("quit while a page is busy");
}

const PayloadTest tests_busy[] = {
    { "busy-one", busy_one },
    { "busy-first", busy_first },
    { "busy-last", busy_last },
    { "busy-run", busy_run },
    { "busy-several", busy_several },
    { "busy-many", busy_many },
    { "busy-deadline", busy_deadline },
    { "timeout-two-blocks", timeout_two_blocks },
    { "stop-while-busy", stop_while_busy },
    { "quit-while-busy", quit_while_busy },
    { }
};
