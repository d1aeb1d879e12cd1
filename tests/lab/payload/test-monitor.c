/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a monitor sees of conversions: query-guest-memfd and the event. */
#include "payload.h"

#define BASE        (64 * MIB)
#define LIFE        (31 * MIB)      /* tells the second life from the first */
#define MARKER      0x6d6f6e2d6c696665ul
#define HELD        77              /* page of the range that is held */
#define EVENT_MS    6000            /* for one to come, on a slow machine */

/* Is the word "@name=..." of @line "@value", as a whole? */
#define check_word(line, name, want) do {                                   \
        uint64_t have_ = word_number(line, name, -1ul);                     \
        uint64_t want_ = (want);                                            \
                                                                            \
        check(have_ == want_, "%s=%lu, not %lu: %s", name, have_, want_,    \
              line);                                                        \
    } while (0)

/* The @n-th event since the mark must come, and be about the held page. */
static const char *check_event(unsigned n, const char *action)
{
    uint64_t held = BASE + HELD * PAGE;
    const char *a = ask("event %u %u", n, EVENT_MS);

    check(word_is(a, "action", action), "event %u must be \"%s\": %s", n,
          action, a);
    check(word_is(a, "block", "pc.ram"), "event %u: %s", n, a);
    check(word_number(a, "gpa", 0) == held, "event %u: %s", n, a);
    check(word_number(a, "size", 0) == PAGE, "event %u: %s", n, a);
    return a;
}

/* In place: the numbers while a page is busy, and after it. */
static void query_busy(void)
{
    uint64_t ms = param("hold", 700), size, eagain, took, wait;
    const char *a;

    step_begin();
    a = ask("gmem pc.ram");
    size = word_number(a, "size", 0);
    check(word_is(a, "mode", "in-place") && word_is(a, "in-place", "true"),
          "%s", a);
    check(size >= 128 * MIB, "%s", a);
    check_word(a, "shared", size);
    check_word(a, "private", 0);
    check_word(a, "withdrawn", 0);
    check_word(a, "conversions", 0);
    check_word(a, "busy-pages", 0);
    check_word(a, "retries", 0);
    check_word(a, "longest-wait-us", 0);
    step_end("all is shared at first, and nothing has happened");

    step_begin();
    fill(BASE, 512, 1);
    ask("pin 0x%lx 1 %lu", BASE + HELD * PAGE, ms);
    ask("after busy gmem pc.ram");
    ask("mark");
    check_convert(BASE, 512, true, 0);
    a = ask("since");
    eagain = word_number(a, "eagain", 0);
    took = word_number(a, "ms", 0);
    a = ask("result");
    check_word(a, "private", 511 * PAGE);
    check_word(a, "shared", size - 511 * PAGE);
    check_word(a, "withdrawn", PAGE);
    check_word(a, "conversions", 0);
    check_word(a, "busy-pages", 1);
    check(word_number(a, "ms", 9999) < 1000, "the query took long: %s", a);
    step_end("while a page is busy: its neighbours are private, it is withdrawn");

    step_begin();
    a = ask("gmem pc.ram");
    check_word(a, "private", 512 * PAGE);
    check_word(a, "shared", size - 512 * PAGE);
    check_word(a, "withdrawn", 0);
    check_word(a, "conversions", 1);
    check_word(a, "busy-pages", 1);
    /* One more than failed: the last one */
    check_word(a, "retries", eagain);
    check_word(a, "given-up", 0);
    check_word(a, "failures", 0);
    wait = word_number(a, "longest-wait-us", 0) / 1000;
    check(wait + 100 >= ms && wait <= took + 100,
          "longest wait %lu ms, held %lu ms, the request took %lu ms", wait, ms,
          took);
    check(str_equal(ask("event 0"), "none"), "an event came: %s",
          ask("event 0"));
    step_end("after it: 1 conversion, 1 busy page, %lu retries, waited %lu ms, "
             "no event", eagain, wait);

    step_begin();
    check_convert(BASE, 512, true, 0);      /* nothing to do: not counted */
    check_convert(BASE, 256, false, 0);
    a = ask("gmem pc.ram");
    check_word(a, "private", 256 * PAGE);
    check_word(a, "conversions", 2);
    check_word(a, "busy-pages", 1);
    check_convert(BASE + 256 * PAGE, 256, false, 0);
    a = ask("gmem pc.ram");
    check_word(a, "private", 0);
    check_word(a, "shared", size);
    check_word(a, "conversions", 3);
    step_end("requests with nothing to do are not counted, all others are");
}

/* One event after a second, one at the end. */
static void event_busy(void)
{
    uint64_t ms = param("hold", 1600), offset;
    const char *a;

    step_begin();
    fill(BASE, 512, 1);
    offset = number(ask("offset 0x%lx", BASE + HELD * PAGE));
    ask("pin 0x%lx 1 %lu", BASE + HELD * PAGE, ms);
    ask("mark");
    check_convert(BASE, 512, true, 0);
    a = check_event(0, "waiting");
    check_word(a, "offset", offset);
    check(word_number(a, "waited-ms", 0) >= 1000 &&
          word_number(a, "waited-ms", 0) < ms, "%s", a);
    step_end("a page busy for %lu ms: an event after a second of it", ms);

    step_begin();
    a = check_event(1, "converted");
    check_word(a, "offset", offset);
    check(word_number(a, "waited-ms", 0) + 100 >= ms, "%s", a);
    check(str_equal(ask("event 2"), "none"), "a third event: %s",
          ask("event 2"));
    check_word(ask("gmem pc.ram"), "conversions", 1);
    step_end("and one when it is converted, the last one");
}

/* The guest is told to try again; the end of the matter is another request's. */
static void event_retry(void)
{
    const char *a;

    step_begin();
    fill(BASE, 512, 1);
    ask("pin 0x%lx 1 hold", BASE + HELD * PAGE);
    ask("mark");
    check_convert(BASE, 512, true, EAGAIN);
    a = check_event(0, "guest-retry");
    check(word_number(a, "waited-ms", 0) + 50 >= param("timeout", 1000), "%s",
          a);
    a = ask("gmem pc.ram");
    check_word(a, "private", 511 * PAGE);
    check_word(a, "withdrawn", 0);
    check_word(a, "given-up", 1);
    check_word(a, "conversions", 0);
    step_end("the guest is told to try again: an event says so");

    step_begin();
    check_convert(BASE, 512, true, EAGAIN);
    a = check_event(1, "guest-retry");
    check(word_number(a, "waited-ms", 0) + 100 >= 2 * param("timeout", 1000),
          "%s", a);
    ask("unpin");
    check_convert(BASE, 512, true, 0);
    a = check_event(2, "converted");
    check(word_number(a, "waited-ms", 0) + 100 >= 2 * param("timeout", 1000),
          "%s", a);
    a = ask("gmem pc.ram");
    check_word(a, "given-up", 2);
    check_word(a, "conversions", 1);
    check_word(a, "failures", 0);
    step_end("again, then converted: the time counts from the first request on");
}

/* A reset drops the request; so says the last event. */
static void event_reset(void)
{
    const char *a;

    if (load(LIFE) != MARKER) {
        fill(BASE, 512, 1);
        store(LIFE, MARKER);
        ask("pin 0x%lx 1 hold", BASE + HELD * PAGE);
        ask("after 1500 hmp system_reset");
        ask("mark");
        convert(BASE, 512, true);
        step_begin();
        check(false, "the conversion ended although the page is held");
        step_end("reset while a page is busy");
        return;
    }
    store(LIFE, 0);

    step_begin();
    a = ask("result");
    check(word_number(a, "answered", 0), "system_reset: %s", a);
    check_event(0, "waiting");
    check_event(1, "dropped");
    a = ask("gmem pc.ram");
    check_word(a, "private", 0);
    check_word(a, "withdrawn", 0);
    check_word(a, "given-up", 1);
    check_word(a, "failures", 0);
    step_end("a reset of the machine settles the matter: dropped");
}

/* Dual-backed: how much there is of each, and what became of the requests */
static void query_dual(void)
{
    uint64_t size, done;
    const char *a;

    step_begin();
    a = ask("gmem pc.ram");
    size = word_number(a, "size", 0);
    check(word_is(a, "mode", "vm-attributes") &&
          word_is(a, "in-place", "false"), "%s", a);
    check_word(a, "private", 0);
    check_word(a, "shared", size);
    done = word_number(a, "conversions", 0);
    check_convert(BASE, 512, true, 0);
    a = ask("gmem pc.ram");
    check_word(a, "private", 512 * PAGE);
    check_word(a, "shared", size - 512 * PAGE);
    check_word(a, "conversions", done + 1);
    check_convert(BASE, 512, false, 0);
    a = ask("gmem pc.ram");
    check_word(a, "private", 0);
    check_word(a, "conversions", done + 2);
    check_word(a, "busy-pages", 0);
    check_word(a, "failures", 0);
    step_end("dual-backed: shared and private add up, requests are counted");
}

static long ap_ret;

static void ap_convert(void)
{
    ap_ret = convert(BASE, 512, true);
}

/*
 * Two vCPUs wait for a page each, at the same time: the events about one page
 * must not push those about the other aside.
 */
static void event_two(void)
{
    const uint64_t other = BASE + 512 * PAGE;
    uint64_t ms = param("hold", 1600), gpa;
    unsigned waiting[2] = { }, converted[2] = { };
    const char *a;

    ap_start(1);
    step_begin();
    fill(BASE, 1024, 1);
    ask("pin 0x%lx 1 %lu", BASE + HELD * PAGE, ms);
    ask("pin 0x%lx 1 %lu", other + HELD * PAGE, ms);
    ask("mark");
    ap_run(1, ap_convert);
    check_convert(other, 512, true, 0);
    ap_wait(1);
    check(ap_ret == 0, "the AP was answered %ld", ap_ret);
    for (unsigned n = 0; n < 4; n++) {
        a = ask("event %u %u", n, EVENT_MS);
        gpa = word_number(a, "gpa", 0) - HELD * PAGE;
        check(gpa == BASE || gpa == other, "event %u: %s", n, a);
        waiting[gpa == other] += word_is(a, "action", "waiting");
        converted[gpa == other] += word_is(a, "action", "converted");
    }
    check(waiting[0] == 1 && waiting[1] == 1, "%u and %u events of the wait",
          waiting[0], waiting[1]);
    check(converted[0] == 1 && converted[1] == 1, "%u and %u of its end",
          converted[0], converted[1]);
    step_end("two pages busy at the same time: each has its two events");
}

const PayloadTest tests_monitor[] = {
    { "query-busy", query_busy },
    { "query-dual", query_dual },
    { "event-busy", event_busy },
    { "event-retry", event_retry },
    { "event-two", event_two },
    { "event-reset", event_reset },
    { }
};
