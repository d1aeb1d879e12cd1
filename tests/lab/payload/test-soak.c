/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Four vCPUs convert, each pages of its own and all of them the same ones, while
 * pages are held for a while, devices do DMA, and the host stops and continues
 * the guest and asks for this and that.  Whatever comes between: no data may
 * change, and in the end guest, QEMU and kernel have to have the same view of
 * each page.
 */
#include "payload.h"

#define VCPUS           VCPUS_MAX
#define SOURCE          (12 * MIB)      /* shared for good: the device reads it */
#define OWN(id)         ((16 + 4 * (id)) * MIB)
#define OWN_PAGES       1024u
#define COMMON          (32 * MIB)
#define COMMON_PAGES    2048u
#define TARGET          (40 * MIB)      /* the devices write here */
#define TARGET_PAGES    256u
#define NOISE_PAGES     ((TARGET - OWN(0)) / PAGE + TARGET_PAGES)
#define MOST_PAGES      256u            /* of one request */
#define CHUNK           128u            /* pages whose states fit an answer */

#define SEED_COMMON     1
#define SEED_SOURCE     2
#define SEED_OWN        100             /* and the version */

#define TRIES           1000            /* a page is held for 0.4 s at most */
#define STALL_MS        60000

/* Who converts what, and what came of it.  Read by the first vCPU. */
typedef struct Worker {
    uint64_t random;
    volatile uint64_t rounds, converted, again;
    volatile uint64_t wrong_gpa;        /* 0: nothing was wrong */
    volatile long wrong_ret;            /* 0: the data was */
    bool private[OWN_PAGES];
    uint8_t version[OWN_PAGES];
    uint64_t seen_rounds, seen_at;      /* is it still alive? */
} Worker;

static Worker workers[VCPUS];
static volatile bool stop;

static struct {
    Edu edu[2];
    unsigned number, dma, refused;
    bool running[2];
    uint64_t page[2];
    bool private[TARGET_PAGES];
} devices;

static uint64_t pick(Worker *w, uint64_t below)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random % below;
}

static bool has_pattern(uint64_t gpa, uint64_t seed)
{
    for (unsigned i = 0; i < LAB_PATTERN_WORDS; i++) {
        uint64_t at = gpa + lab_pattern_offset(i);

        if (load(at) != lab_pattern(seed, at)) {
            return false;
        }
    }
    return true;
}

static void wrong(Worker *w, uint64_t gpa, long ret)
{
    if (!w->wrong_gpa) {
        w->wrong_ret = ret;
        w->wrong_gpa = gpa;
    }
}

/* Again and again, until the host lets go of the pages. */
static void convert_surely(Worker *w, uint64_t gpa, uint64_t npages,
                           bool to_private)
{
    long ret = EAGAIN;

    for (unsigned i = 0; i < TRIES && ret == EAGAIN; i++) {
        ret = convert(gpa, npages, to_private);
        w->again += ret == EAGAIN;
    }
    w->converted++;
    if (ret) {
        wrong(w, gpa, ret);
    }
}

static void own_round(Worker *w, unsigned id)
{
    uint64_t npages = 1 + pick(w, pick(w, 2) ? 8 : MOST_PAGES);
    uint64_t first = pick(w, OWN_PAGES - npages + 1);
    bool to_private = pick(w, 2);

    convert_surely(w, OWN(id) + first * PAGE, npages, to_private);
    for (uint64_t i = first; i < first + npages; i++) {
        w->private[i] = to_private;
    }
    for (unsigned n = 0; n < 4; n++) {
        uint64_t i = first + pick(w, npages), gpa = OWN(id) + i * PAGE;

        if (!has_pattern(gpa, SEED_OWN + w->version[i])) {
            wrong(w, gpa, 0);
        }
        w->version[i]++;
        fill(gpa, 1, SEED_OWN + w->version[i]);
    }
}

/* Nobody knows what the others make of these pages, but data stays. */
static void common_round(Worker *w)
{
    uint64_t npages = 1 + pick(w, pick(w, 2) ? 8 : MOST_PAGES);
    uint64_t gpa = COMMON + pick(w, COMMON_PAGES - npages + 1) * PAGE;
    uint64_t look = COMMON + pick(w, COMMON_PAGES) * PAGE;
    long ret = convert(gpa, npages, pick(w, 2));

    w->converted++;
    w->again += ret == EAGAIN;
    if (ret && ret != EAGAIN) {
        wrong(w, gpa, ret);
    }
    if (!has_pattern(look, SEED_COMMON)) {
        wrong(w, look, 0);
    }
}

static void work_round(Worker *w, unsigned id)
{
    if (pick(w, 5) < 3) {
        own_round(w, id);
    } else {
        common_round(w);
    }
    w->rounds++;
    relax();
}

static void work(void)
{
    unsigned id = vcpu_id();

    while (!stop) {
        work_round(&workers[id], id);
    }
}

/* --- devices ------------------------------------------------------------- */

/*
 * A device has written a page, or was refused: the page holds all of what the
 * device has read, or all of what it held before.  @flipped: it was converted
 * meanwhile, and either is right.
 */
static void check_written(uint64_t i, bool flipped)
{
    uint64_t gpa = TARGET + i * PAGE;
    bool copied = edu_copied(gpa, SOURCE);
    bool kept = !copied && has_pattern(gpa, SEED_OWN);

    check(copied || kept, "page 0x%lx is neither old nor what a device wrote",
          gpa);
    check(flipped || copied != devices.private[i], "a device %s page 0x%lx, "
          "which was %s", copied ? "wrote" : "did not write", gpa,
          devices.private[i] ? "private" : "shared");
    devices.refused += kept;
    devices.dma++;
}

/* The first device's page stays as it is, the second one's is converted. */
static void start_device(Worker *w, unsigned n)
{
    uint64_t i = n * (TARGET_PAGES / 2) + pick(w, TARGET_PAGES / 2);
    uint64_t gpa = TARGET + i * PAGE;

    devices.private[i] = pick(w, 2);
    convert_surely(w, gpa, 1, devices.private[i]);
    fill(gpa, 1, SEED_OWN);
    devices.page[n] = i;
    devices.running[n] = true;
    edu_start(&devices.edu[n], gpa, true);
}

static void device_round(Worker *w)
{
    for (unsigned n = 0; n < devices.number; n++) {
        uint64_t i = devices.page[n];

        if (!devices.running[n]) {
            start_device(w, n);
        } else if (!edu_busy(&devices.edu[n])) {
            check_written(i, n == 1);
            devices.running[n] = false;
        } else if (n == 1 && !pick(w, 4)) {
            devices.private[i] = !devices.private[i];
            convert_surely(w, TARGET + i * PAGE, 1, devices.private[i]);
        }
    }
}

static void devices_open(void)
{
    while (devices.number < 2 &&
           edu_open(devices.number, &devices.edu[devices.number])) {
        edu_dma(&devices.edu[devices.number], SOURCE, false);
        devices.number++;
    }
}

static void devices_finish(void)
{
    for (unsigned n = 0; n < devices.number; n++) {
        while (edu_busy(&devices.edu[n])) {
            relax();
        }
        if (devices.running[n]) {
            check_written(devices.page[n], n == 1);
        }
    }
}

/* --- the soak ------------------------------------------------------------ */

/* A vCPU that gets nowhere, or has seen what it should not, ends the soak. */
static bool all_well(uint64_t at)
{
    for (unsigned id = 0; id < VCPUS; id++) {
        Worker *w = &workers[id];

        if (w->wrong_gpa) {
            return check(false, "vCPU %u, gpa 0x%lx: %s %ld", id, w->wrong_gpa,
                         w->wrong_ret ? "converting answered" :
                         "the data has changed", w->wrong_ret);
        }
        if (w->rounds != w->seen_rounds) {
            w->seen_rounds = w->rounds;
            w->seen_at = at;
        } else if (!check(at < w->seen_at + STALL_MS, "vCPU %u is stuck after "
                          "%lu rounds", id, w->rounds)) {
            return false;
        }
    }
    return true;
}

/* The most that there was of it: guest memory, QEMU's own, open files */
typedef struct Peak {
    uint64_t gmem, other, fds;
} Peak;

static void raise(uint64_t *most, uint64_t now)
{
    *most = now > *most ? now : *most;
}

static void look_at_memory(Peak *peak)
{
    const char *a = ask("memory");

    raise(&peak->gmem, word_number(a, "gmem", 0));
    raise(&peak->other, word_number(a, "other", 0));
    raise(&peak->fds, word_number(a, "fds", 0));
}

/* Returns whether all vCPUs are still alive; @peak: of both halves */
static bool soak_run(uint64_t ms, Peak peak[2])
{
    uint64_t at, left = ms, look = 0;
    bool well = true;
    const char *a;

    while (well && left) {
        for (unsigned i = 0; i < 8; i++) {
            work_round(&workers[0], 0);
        }
        device_round(&workers[0]);
        a = ask("noise");
        at = word_number(a, "at", 0);
        left = word_number(a, "left", 0);
        well = all_well(at);
        if (at >= look) {
            look_at_memory(&peak[at >= ms / 2]);
            look = at + ms / 50;
        }
    }
    return well;
}

/* Returns how many requests there were. */
static uint64_t note_work(void)
{
    uint64_t requests = 0, again = 0;

    for (unsigned id = 0; id < VCPUS; id++) {
        Worker *w = &workers[id];

        check(w->converted > 10, "vCPU %u: only %lu requests", id,
              w->converted);
        note("vCPU %u: %lu requests, %lu times EAGAIN", id, w->converted,
             w->again);
        requests += w->converted;
        again += w->again;
    }
    check(again, "no request ran into its time limit");
    return requests;
}

static void note_noise(void)
{
    const char *a = ask("noise-end");

    note("%s", a);
    check(word_number(a, "pins", 0) && word_number(a, "stops", 0) &&
          word_number(a, "queries", 0) && word_number(a, "infos", 0),
          "too little noise: %s", a);
    check(word_number(a, "silent", 1) == 0, "a monitor was silent: %s", a);
    check(word_number(a, "wrong", 1) == 0, "query-guest-memfd: pages that are "
          "neither shared nor private: %s", a);
}

/* --- what is left -------------------------------------------------------- */

typedef void RunFn(uint64_t gpa, uint64_t npages, bool private);

/* Call @fn for each run of pages that the kernel has in one state. */
static void for_each_run(uint64_t gpa, uint64_t npages, RunFn *fn)
{
    for (uint64_t end = gpa + npages * PAGE; gpa < end;) {
        char states[1024];
        const char *p = states;

        fmt(states, sizeof(states), "%s", ask("state 0x%lx %u", gpa, CHUNK));
        while (*p) {
            bool private = *p == 'P';
            uint64_t n = number(++p);

            while (*p && *p != 'P' && *p != 'S') {
                p++;
            }
            if (!check(n, "no states at gpa 0x%lx", gpa)) {
                return;
            }
            fn(gpa, n, private);
            gpa += n * PAGE;
        }
    }
}

static uint64_t private_pages;

static void count_private(uint64_t gpa, uint64_t npages, bool private)
{
    private_pages += private ? npages : 0;
    /* Costs no call to the kernel if QEMU has the same view. */
    check_convert(gpa, npages, private, 0);
}

static void check_own(uint64_t gpa, uint64_t npages, bool private)
{
    unsigned id = (gpa - OWN(0)) / (4 * MIB);

    for (; npages--; gpa += PAGE) {
        uint64_t i = (gpa - OWN(id)) / PAGE;

        check(workers[id].private[i] == private, "vCPU %u has made gpa 0x%lx %s",
              id, gpa, private ? "shared" : "private");
        check(has_pattern(gpa, SEED_OWN + workers[id].version[i]),
              "the data at gpa 0x%lx has changed", gpa);
    }
}

static void check_views(void)
{
    const char *a;

    ask("mark");
    for_each_run(OWN(0), NOISE_PAGES, count_private);
    a = ask("since");
    check(word_number(a, "calls", 1) == 0, "QEMU and kernel have different views "
          "of a page: %s", a);
    a = ask("gmem pc.ram");
    check(word_number(a, "private", 0) == private_pages * PAGE &&
          word_number(a, "withdrawn", 1) == 0 &&
          word_number(a, "failures", 1) == 0,
          "%lu pages are private, but query-guest-memfd says %s",
          private_pages, a);
}

static void check_data(void)
{
    for_each_run(OWN(0), VCPUS * OWN_PAGES, check_own);
    verify(COMMON, COMMON_PAGES, SEED_COMMON);
    check_convert(OWN(0), NOISE_PAGES, false, 0);
    host_verify(COMMON, COMMON_PAGES, SEED_COMMON);
    fill(OWN(0), VCPUS * OWN_PAGES, SEED_OWN);
    host_verify(OWN(0), VCPUS * OWN_PAGES, SEED_OWN);
}

/* What devices may reach follows from what is shared. */
static void check_devices(void)
{
    Worker *w = &workers[0];

    for (unsigned i = 0; devices.number && i < 16; i++) {
        uint64_t gpa = COMMON + pick(w, COMMON_PAGES) * PAGE;
        bool private = starts_with(ask("state 0x%lx 1", gpa), "P");

        edu_dma(&devices.edu[0], gpa, true);
        check(edu_copied(gpa, SOURCE) == !private, "a device could%s write to "
              "gpa 0x%lx, which is %s", private ? "" : " not", gpa,
              private ? "private" : "shared");
        fill(gpa, 1, SEED_COMMON);
    }
}

static void soak_setup(void)
{
    for (unsigned id = 0; id < VCPUS; id++) {
        workers[id].random = lab_pattern(param("seed", 1), id + 1);
        fill(OWN(id), OWN_PAGES, SEED_OWN);
    }
    fill(COMMON, COMMON_PAGES, SEED_COMMON);
    fill(TARGET, TARGET_PAGES, SEED_OWN);
    fill(SOURCE, 1, SEED_SOURCE);
    devices_open();
    check(devices.number == param("devices", 0), "there are %u devices",
          devices.number);
    for (unsigned id = 1; id < VCPUS; id++) {
        ap_start(id);
        ap_run(id, work);
    }
}

static void soak(void)
{
    uint64_t seconds = param("seconds", 900);
    uint64_t slack = param("slack-kib", 2048);
    Peak peak[2] = { };
    uint64_t requests;

    step_begin();
    soak_setup();
    /* The trace of all this would fill the memory of the emulated host. */
    ask("hmp trace-event kvm_gmem_* off");
    ask("noise %lu %lu 0x%lx %lu", seconds, param("seed", 1), OWN(0),
        NOISE_PAGES);
    if (!soak_run(seconds * 1000, peak)) {
        step_end("%lu s of conversions", seconds);
        return;
    }
    note_noise();
    stop = true;
    for (unsigned id = 1; id < VCPUS; id++) {
        ap_wait(id);
    }
    devices_finish();
    all_well(0);
    requests = note_work();
    look_at_memory(&peak[1]);
    step_end("%lu s: %lu requests of %u vCPUs; %u times DMA, %u of them "
             "refused", seconds, requests, VCPUS, devices.dma, devices.refused);

    ask("hmp trace-event kvm_gmem_* on");
    step_begin();
    check_views();
    step_end("QEMU's view of each page is the kernel's: %lu are private",
             private_pages);
    step_begin();
    check_devices();
    step_end("devices reach what is shared, and nothing else");
    step_begin();
    check_data();
    step_end("each page is as its vCPU left it, and so is its data");
    step_begin();
    check(peak[1].gmem <= peak[0].gmem && peak[1].fds <= peak[0].fds &&
          peak[1].other <= peak[0].other + slack, "more than in the first half: "
          "guest memory %lu KiB, QEMU %lu KiB, %lu files", peak[0].gmem,
          peak[0].other, peak[0].fds);
    step_end("peaks of the second half: guest memory %lu KiB, QEMU's own %lu KiB "
             "(first half: %lu), %lu open files", peak[1].gmem, peak[1].other,
             peak[0].other, peak[1].fds);
}

const PayloadTest tests_soak[] = {
    { "soak", soak },
    { }
};
