/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device that the host has assigned to the guest: DMA and conversions. */
#include "payload.h"

#define SOURCE  (16 * MIB)      /* shared for good: the device reads it */
#define TARGET  (24 * MIB)      /* what is converted */
#define COPY    (20 * MIB)      /* shared for good: the device writes it */
#define OTHER   (32 * MIB)      /* converted meanwhile */
#define DISPLAY 0x11111234u     /* secondary-vga */
#define VRAM    0xfc000000ul    /* its memory */
#define LOW_ROM 0xc0000ul       /* 128 KiB: RAM if the PAM registers say so */
#define SHADOW  0xf0000ul       /* RAM behind it */

/* Does @gpa hold what @of holds, as the guest sees both? */
bool edu_copied(uint64_t gpa, uint64_t of)
{
    for (unsigned i = 0; i < LAB_PATTERN_WORDS; i++) {
        uint64_t at = lab_pattern_offset(i);

        if (load(gpa + at) != load(of + at)) {
            return false;
        }
    }
    return true;
}

static bool check_copied(uint64_t gpa, uint64_t of)
{
    return check(edu_copied(gpa, of), "the page at gpa 0x%lx is not what the "
                 "device read at 0x%lx", gpa, of);
}

static bool check_events(const char *want)
{
    const char *a = ask("events");

    return check(str_equal(a, want), "order of events %s, not %s", a, want);
}

/*
 * The IOMMU of the host refuses the device this page.  The kernel hears of it by
 * interrupt, and says so in its log, which is read here: of three faults in five
 * seconds, that is, so it may take some more.  One DMA takes the device 100 ms.
 */
static bool check_refused(const Edu *edu, uint64_t gpa, bool to_memory)
{
    for (unsigned i = 0; i < 80; i++) {
        edu_dma(edu, gpa, to_memory);
        for (unsigned poll = 0; poll < 5; poll++) {
            if (number(ask("dma-faults 0x%lx %lu", gpa, PAGE))) {
                return true;
            }
            relax();
        }
    }
    return check(false, "the IOMMU refused no access to gpa 0x%lx", gpa);
}

static bool check_no_fault(void)
{
    unsigned n = number(ask("dma-faults 0 0x%lx", -1ul));

    return check(n == 0, "the IOMMU refused %u accesses", n);
}

static bool check_none_busy(void)
{
    const char *a = ask("since");

    return check(word_number(a, "eagain", 1) == 0 &&
                 word_number(a, "failed", 1) == 0,
                 "without I/O of the host in flight: %s", a);
}

/* @n devices, with the first one's buffer full of the page at SOURCE */
static bool open_devices(Edu *edu, unsigned n)
{
    step_begin();
    for (unsigned i = 0; i < n; i++) {
        if (!check(edu_open(i, &edu[i]), "there is no device %u", i)) {
            step_end("assigned devices");
            return false;
        }
    }
    /* If they are not yet. */
    check_convert(SOURCE, 1, false, 0);
    check_convert(COPY, 16, false, 0);
    ask("mark");
    fill(SOURCE, 1, 1);
    fill(COPY, 1, 2);
    for (unsigned i = 0; i < n; i++) {
        edu_dma(&edu[i], SOURCE, false);
        edu_dma(&edu[i], COPY + i * PAGE, true);
        check_copied(COPY + i * PAGE, SOURCE);
    }
    check_no_fault();
    return step_end("assigned devices: %u; DMA from and to shared pages", n);
}

/* A private page is out of the device's reach, in both directions */
static void private_page(const Edu *edu)
{
    step_begin();
    fill(TARGET, 512, 3);
    ask("mark");
    check_convert(TARGET, 512, true, 0);
    check_events("D1P1");
    check_none_busy();
    check_state(TARGET, 512, "P512");
    step_end("2 MiB to private: the device lets go, then the kernel converts");

    step_begin();
    fill(TARGET, 512, 4);
    ask("mark");
    check_refused(edu, TARGET + 5 * PAGE, true);
    verify(TARGET, 512, 4);
    step_end("a device that writes to a private page: refused by the IOMMU, "
             "the page is as it was");

    step_begin();
    ask("mark");
    check_refused(edu, TARGET + 6 * PAGE, false);
    edu_dma(edu, COPY, true);
    check(!edu_copied(COPY, TARGET + 6 * PAGE), "the device has read it");
    edu_dma(edu, SOURCE, false);
    step_end("a device that reads a private page: refused, and it got nothing");

    step_begin();
    ask("mark");
    check_convert(TARGET, 512, false, 0);
    check_events("S1M1");
    check_none_busy();
    host_verify(TARGET, 512, 4);
    edu_dma(edu, TARGET + 5 * PAGE, true);
    check_copied(TARGET + 5 * PAGE, SOURCE);
    verify(TARGET, 5, 4);
    verify(TARGET + 6 * PAGE, 506, 4);
    check_no_fault();
    step_end("to shared again: the kernel converts, then the device has it");
}

static void vfio(void)
{
    Edu edu;

    if (!open_devices(&edu, 1)) {
        return;
    }
    check_convert(TARGET, 512, false, 0);
    private_page(&edu);

    step_begin();
    ask("mark");
    for (unsigned i = 0; i < 64; i += 2) {
        check_convert(TARGET + i * PAGE, 1, true, 0);
    }
    check_events("D1P1D1P1D1P1D1P1D1P1D1P1D1P1D1P1D1P1D1P1D1P1D1P1D1P1D1P1D1P1"
                 "D1P1D1P1D1P1D1P1D1P1D1P1D1P1D1P1D1P1D1P1D1P1D1P1D1P1D1P1D1P1"
                 "D1P1D1P1");
    ask("mark");
    check_convert(TARGET, 64, true, 0);
    check_events("D32P1");
    check_state(TARGET, 65, "P64S1");
    ask("mark");
    check_convert(TARGET, 64, false, 0);
    check_convert(TARGET + 3 * PAGE, 2, true, 0);
    check_events("S1M1D1P1");
    edu_dma(&edu, TARGET + 2 * PAGE, true);
    edu_dma(&edu, TARGET + 5 * PAGE, true);
    check_copied(TARGET + 2 * PAGE, SOURCE);
    check_copied(TARGET + 5 * PAGE, SOURCE);
    check_none_busy();
    check_no_fault();
    step_end("single pages and mixed ranges: neighbours stay with the device");
}

/*
 * One round: the first device writes to a page that stays shared, the second
 * to one that becomes private, and in even rounds shared again, before it gets
 * there; meanwhile other memory goes back and forth.  Returns how often.
 * *@refused: how often the second device came too late.
 */
static unsigned load_round(const Edu *edu, unsigned round, unsigned *refused)
{
    uint64_t keep = COPY + 8 * PAGE;
    uint64_t flip = TARGET + round * PAGE;
    bool back = round % 2 == 0, in_time;
    unsigned n = 0;

    fill(keep, 1, 10 + round);
    fill(flip, 1, 40 + round);
    edu_start(&edu[0], keep, true);
    edu_start(&edu[1], flip, true);
    check_convert(flip, 1, true, 0);
    if (back) {
        check_convert(flip, 1, false, 0);
    }
    /* On a busy machine the device may get there before us, or in between. */
    in_time = edu_busy(&edu[1]);
    while (edu_busy(&edu[0]) || edu_busy(&edu[1])) {
        check_convert(OTHER, 512, n % 2 == 0, 0);
        n++;
    }
    check_copied(keep, SOURCE);
    if (in_time && back) {
        check_copied(flip, SOURCE);
    } else if (in_time) {
        verify(flip, 1, 40 + round);
        *refused += 1;
    }
    check_convert(OTHER, 512, false, 0);
    check_convert(flip, 1, false, 0);
    if (!back) {
        edu_dma(&edu[1], flip, true);
        check_copied(flip, SOURCE);
    }
    return n;
}

static void vfio_load(void)
{
    unsigned rounds = param("rounds", 8), n = 0, refused = 0;
    Edu edu[2];

    if (!open_devices(edu, 2)) {
        return;
    }
    step_begin();
    fill(OTHER, 512, 5);
    ask("mark");
    for (unsigned i = 0; i < rounds; i++) {
        n += load_round(edu, i, &refused);
    }
    check(n >= rounds, "no more than %u conversions", n);
    check(refused, "the device always came before its page was private");
    check_none_busy();
    verify(OTHER, 512, 5);
    host_verify(OTHER, 512, 5);
    check_state(OTHER, 512, "S512");
    step_end("%u conversions of 2 MiB while two devices wrote, in %u of %u "
             "rounds to a page that had turned private: none busy", n, refused,
             rounds);
}

/*
 * Each shared page needs a DMA mapping, and the scenario allows the container
 * 2000.  The guest, which starts private, shares more than that.
 */
static void vfio_limit(void)
{
    const uint64_t npages = 4096;
    Edu edu;

    if (!open_devices(&edu, 1)) {
        return;
    }
    step_begin();
    fill(TARGET, npages, 3);
    check_convert(TARGET, 512, false, 0);
    ask("mark");
    check_convert(TARGET, npages, false, EAGAIN);
    check_events("S1M1P1");
    check_state(TARGET, npages + 1, "S512P3585");
    check_refused(&edu, TARGET + 700 * PAGE, true);
    verify(TARGET, npages, 3);
    step_end("a device cannot map all of what is to be shared: EAGAIN, and it "
             "is private as before");

    step_begin();
    ask("mark");
    edu_dma(&edu, TARGET + 5 * PAGE, true);
    check_copied(TARGET + 5 * PAGE, SOURCE);
    check_no_fault();
    check_convert(TARGET + 512 * PAGE, 512, false, 0);
    check_convert(TARGET + 1024 * PAGE, 1024, false, EAGAIN);
    check_convert(TARGET, 512, true, 0);
    check_convert(TARGET + 1024 * PAGE, 512, false, 0);
    check_state(TARGET, npages, "P512S1024P2560");
    edu_dma(&edu, TARGET + 1030 * PAGE, true);
    check_copied(TARGET + 1030 * PAGE, SOURCE);
    verify(TARGET + 1031 * PAGE, npages - 1031, 3);
    check_none_busy();
    check_no_fault();
    step_end("less is shared, and what goes back to private makes room");
}

/* Share pages at @gpa until no more can be mapped; returns how many it were. */
static uint64_t use_up_mappings(uint64_t gpa)
{
    uint64_t n = 0;
    long ret;

    for (uint64_t step = 512; step; step /= 8) {
        while ((ret = convert(gpa + n * PAGE, step, false)) == 0) {
            n += step;
        }
        check(ret == EAGAIN, "sharing %lu pages answered %ld", step, ret);
    }
    return n;
}

/* The device has the page at @gpa, or, if not @mapped, it is refused. */
static void check_mapped(const Edu *edu, uint64_t gpa, bool mapped)
{
    ask("mark");
    if (!mapped) {
        check_refused(edu, gpa, true);
        return;
    }
    fill(gpa, 1, 9);
    edu_dma(edu, gpa, true);
    check_copied(gpa, SOURCE);
    check_no_fault();
}

/* The guest takes RAM away, uses up the mappings, and puts it back. */
static void limit_bar(const Edu *edu, unsigned display, uint64_t *used)
{
    step_begin();
    pci_enable(display, 0, VRAM);
    check_mapped(edu, VRAM, true);
    pci_decode(display, false);
    *used = use_up_mappings(TARGET);
    for (unsigned i = 0; i < 3; i++) {
        pci_decode(display, true);
        fill(VRAM, 1, 3);
        verify(VRAM, 1, 3);
        check_mapped(edu, VRAM, i % 2);
        pci_decode(display, false);
        if (i == 0) {
            check_convert(TARGET, 1, true, 0);
        } else if (i == 1) {
            check_convert(TARGET, 1, false, 0);
        }
    }
    check_mapped(edu, TARGET + PAGE, true);
    step_end("%lu pages use up the mappings: the memory of a device comes back "
             "without one, and has one as soon as there is room", *used);
}

/*
 * An option ROM takes the place of RAM most of which is private, so the ROM
 * needs more mappings than that sets free.  The RAM behind it, whose section
 * changes as well, is mapped anew after it, and finds too few.
 */
static void limit_pam(const Edu *edu, uint64_t used)
{
    step_begin();
    check_convert(TARGET, used, true, 0);
    set_pam(0x33);
    check_mapped(edu, SHADOW, true);
    check_convert(LOW_ROM, 24, true, 0);
    used = use_up_mappings(TARGET);
    set_pam(0x00);
    fill(SHADOW, 1, 4);
    check_mapped(edu, SHADOW, false);
    check_mapped(edu, TARGET + PAGE, true);
    /* Nobody is told who could refuse or would have to let go. */
    check_convert(SHADOW, 1, true, 0);
    check_state(SHADOW, 2, "P1S1");
    check_convert(SHADOW, 1, false, 0);
    verify(SHADOW, 1, 4);
    step_end("%lu pages use up the mappings: RAM below 1 MiB comes back "
             "without them, and is converted without the device", used);

    step_begin();
    set_pam(0x33);
    check_mapped(edu, SHADOW, true);
    check_convert(SHADOW, 1, true, 0);
    check_mapped(edu, SHADOW, false);
    check_convert(SHADOW, 1, false, 0);
    check_mapped(edu, SHADOW, true);
    step_end("it has them again as soon as there is room");
}

static void vfio_limit_map(void)
{
    unsigned display = pci_find(DISPLAY, 0);
    uint64_t used;
    Edu edu;

    if (!open_devices(&edu, 1)) {
        return;
    }
    limit_bar(&edu, display, &used);
    limit_pam(&edu, used);
}

/*
 * The guest starts with private memory; with reset=1 the payload looks at it in
 * its second life only.
 */
static void initial_private(void)
{
    const uint64_t marker = 0x7265736574206d65;
    uint64_t life = WINDOW_END - PAGE, top = param("top", 256 * MIB);
    bool reset = param("reset", 0);
    uint64_t npages = (top - MIB) / PAGE;
    const char *a;
    char want[24];
    Edu edu;

    if (reset && load(life) != marker) {
        check_convert(TARGET, 512, false, 0);
        store(life, marker);
        outb(0xcf9, 0x06);
        for (;;) {
            relax();
        }
    }
    store(life, 0);

    fmt(want, sizeof(want), "P%lu", npages / 15);
    step_begin();
    check_state(0, WINDOW_END / PAGE, "S160");
    check_state(MIB, 16, "P16");
    /* A private page costs the probe much: every 15th is enough. */
    a = ask("state 0x%lx %lu 15", MIB, npages);
    check(str_equal(a, want), "memory above 1 MiB is %s, not %s", a, want);
    check_state(IMAGE_ROM, 16, "S16");
    step_end("%s all memory but the first MiB and the firmware is private",
             reset ? "after a reset" : "at start");

    if (!open_devices(&edu, 1)) {
        return;
    }
    check_convert(TARGET, 512, false, 0);
    private_page(&edu);
}

/*
 * A PAM write changes the memory map below 1 MiB.  What is above stays where it
 * is, so devices must keep it: to map it again costs a call for each shared
 * page, and their accesses would fail meanwhile.
 */
static void vfio_pam(void)
{
    static const uint8_t values[] = { 0x33, 0x00, 0x11, 0x30, 0x33 };
    uint64_t again, most = 0, gone;
    Edu edu;

    if (!open_devices(&edu, 1)) {
        return;
    }
    step_begin();
    for (unsigned i = 0; i < sizeof(values); i++) {
        ask("mark");
        set_pam(values[i]);
        again = number(ask("bytes gmem_rdm_populate"));
        gone = number(ask("bytes gmem_rdm_discard"));
        /* Seven writes, and each may change all below 1 MiB. */
        check(again <= 7 * MIB && gone <= 7 * MIB, "PAM 0x%x: devices lost %lu KiB and "
              "got %lu KiB", values[i], gone / 1024, again / 1024);
        most = again > most ? again : most;
    }
    edu_dma(&edu, COPY, true);
    check_copied(COPY, SOURCE);
    step_end("seven PAM writes: devices are told of no more than %lu KiB again",
             most / 1024);
}

const PayloadTest tests_vfio[] = {
    { "vfio-limit", vfio_limit },
    { "vfio-limit-map", vfio_limit_map },
    { "initial-private", initial_private },
    { "vfio-pam", vfio_pam },
    { "vfio", vfio },
    { "vfio-load", vfio_load },
    { }
};
