/*
 * Description: what conversions cost on a real kernel.  Runs in the emulated
 * host; scripts/bench-lab.sh starts it, kernel.py reads what it prints: lines
 * "# bench kind=... name=value ...".
 *
 *   busy   the engine against retrying the whole range with the same pauses,
 *          64 MiB that guest and host have mapped, pages held by vmsplice
 *   loop   the guest's time of a conversion, if the host does the ioctl and
 *          nothing else; the scenario loop.scn measures the same of QEMU
 *   size   one 4 KiB conversion, by engine and page states, in a block of 1 GiB
 *          and of 1 TiB
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <err.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <time.h>
#include "system/gmem-state.h"
#include "kernel-vm.h"

#define MS INT64_C(1000000)
#define BUSY_PAGES 16384
#define HELD_MAX 64

static bool quick;

static int64_t clock_ns(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

/* --- busy ------------------------------------------------------------------ */

typedef struct Play {
    KernelVm *vm;
    unsigned busy, held_ms;
    uint64_t held[HELD_MAX];            /* page numbers */
    int pipe[2];                        /* holds them; -1: let go */
    int64_t begin, release_cpu;
    uint64_t calls, asked, scanned;
    int64_t in_calls;                   /* ns */
} Play;

static void hold(Play *p)
{
    unsigned i;

    if (pipe(p->pipe) < 0 ||
        fcntl(p->pipe[1], F_SETPIPE_SZ, HELD_MAX * PAGE) < 0) {
        err(1, "pipe");
    }
    for (i = 0; i < p->busy; i++) {
        struct iovec iov = { p->vm->map + p->held[i] * PAGE, PAGE };

        if (vmsplice(p->pipe[1], &iov, 1, 0) != PAGE) {
            err(1, "vmsplice");
        }
    }
}

/* Their time is over; what that costs is nobody's conversion */
static void release(Play *p)
{
    int64_t before = clock_ns(CLOCK_THREAD_CPUTIME_ID);

    if (p->pipe[0] >= 0) {
        close(p->pipe[0]);
        close(p->pipe[1]);
        p->pipe[0] = -1;
        p->release_cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - before;
    }
}

static int64_t left_ns(Play *p)
{
    return p->begin + p->held_ms * MS - clock_ns(CLOCK_MONOTONIC);
}

static int busy_set_attributes(void *opaque, uint64_t offset, uint64_t size,
                               bool to_private, uint64_t *error_offset)
{
    Play *p = opaque;
    int64_t before;
    int ret;

    if (left_ns(p) <= 0) {
        release(p);
    }
    before = clock_ns(CLOCK_MONOTONIC);
    ret = kernel_vm_convert(p->vm, offset, size, to_private, error_offset);
    p->in_calls += clock_ns(CLOCK_MONOTONIC) - before;
    p->calls++;
    p->asked += size / PAGE;
    p->scanned += ret == -EAGAIN ? (*error_offset - offset) / PAGE + 1 :
                                   size / PAGE;
    return ret;
}

static int64_t busy_now(void *opaque)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static void busy_pause(void *opaque, int64_t ns)
{
    struct timespec ts = { ns / 1000000000, ns % 1000000000 };

    nanosleep(&ts, NULL);
}

static const GmemConvertOps busy_ops = {
    .set_attributes = busy_set_attributes,
    .now = busy_now,
    .pause = busy_pause,
};

static void policy_engine(Play *p)
{
    GmemConvertJob job;
    GmemConvertResult res;

    gmem_convert_job_init(&job, &busy_ops, p, "ram0", PAGE, 0,
                          BUSY_PAGES * PAGE, true);
    while ((res = gmem_convert_attempt(&job, 0, UINT64_MAX, NULL, NULL)) ==
           GMEM_CONVERT_BUSY) {
        busy_pause(p, gmem_convert_pause_ns(&job));
    }
    if (res != GMEM_CONVERT_DONE) {
        errx(1, "%s", job.error);
    }
    gmem_convert_job_cleanup(&job);
}

/* Ignores the error offset: the whole range again after each pause */
static void policy_whole(Play *p)
{
    GmemConvertJob job;
    uint64_t ignored;
    int ret;

    gmem_convert_job_init(&job, &busy_ops, p, "ram0", PAGE, 0,
                          BUSY_PAGES * PAGE, true);
    while ((ret = busy_set_attributes(p, 0, BUSY_PAGES * PAGE, true,
                                      &ignored)) == -EAGAIN) {
        busy_pause(p, gmem_convert_pause_ns(&job));
    }
    if (ret) {
        errx(1, "KVM_SET_MEMORY_ATTRIBUTES2: %s", strerror(-ret));
    }
    gmem_convert_job_cleanup(&job);
}

/* A private page cannot be held: all that were are private now, and the ends. */
static void check_private(Play *p)
{
    unsigned i;
    int fds[2];

    if (pipe(fds) < 0) {
        err(1, "pipe");
    }
    for (i = 0; i < p->busy + 2; i++) {
        uint64_t page = i < p->busy ? p->held[i] :
                        i == p->busy ? 0 : BUSY_PAGES - 1;
        struct iovec iov = { p->vm->map + page * PAGE, PAGE };

        if (vmsplice(fds[1], &iov, 1, SPLICE_F_NONBLOCK) != -1 ||
            errno != EFAULT) {
            errx(1, "page %" PRIu64 " is not private after the conversion",
                 page);
        }
    }
    close(fds[0]);
    close(fds[1]);
}

static void play(KernelVm *vm, const char *name, void (*policy)(Play *),
                 const char *place, unsigned busy, unsigned held_ms)
{
    Play p = { .vm = vm, .busy = busy, .held_ms = held_ms };
    uint64_t i, ignored;
    int64_t cpu;

    for (i = 0; i < busy; i++) {
        p.held[i] = !strcmp(place, "last") ?
                        BUSY_PAGES - 1 - 2 * (busy - 1 - i) :
                    !strcmp(place, "spread") ?
                        (i + 1) * (BUSY_PAGES / busy) - 1 : BUSY_PAGES / 2 + i;
    }
    kernel_vm_touch(vm, BUSY_PAGES);
    for (i = 0; i < BUSY_PAGES; i++) {
        vm->map[i * PAGE] = 1;
    }
    hold(&p);
    p.begin = clock_ns(CLOCK_MONOTONIC);
    cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    policy(&p);
    cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu - p.release_cpu;
    if (left_ns(&p) > 0) {
        errx(1, "%s: done before the held pages were let go", name);
    }
    check_private(&p);
    printf("# bench kind=busy policy=%s place=%s busy=%u held_ms=%u calls=%"
           PRIu64 " asked=%" PRIu64 " scanned=%" PRIu64 " cpu_us=%" PRId64
           " in_calls_us=%" PRId64 " waited_us=%" PRId64 "\n", name, place,
           busy, held_ms, p.calls, p.asked, p.scanned, cpu / 1000,
           p.in_calls / 1000, (clock_ns(CLOCK_MONOTONIC) - p.begin) / 1000);
    fflush(stdout);
    if (kernel_vm_convert(vm, 0, BUSY_PAGES * PAGE, false, &ignored)) {
        err(1, "back to shared");
    }
}

static void bench_busy(void)
{
    static const struct {
        const char *place;
        unsigned busy, held_ms;
    } cases[] = {
        { "last", 1, 100 }, { "spread", 64, 100 },      /* these if quick */
        { "last", 64, 100 }, { "run", 64, 100 }, { "spread", 16, 100 },
        { "none", 0, 0 },                               /* the least there is */
        { "last", 1, 1000 }, { "last", 64, 1000 }, { "spread", 64, 1000 },
    };
    KernelVm *vm = kernel_vm_new(KERNEL_VM_DATA, BUSY_PAGES * PAGE);
    size_t c, n = quick ? 2 : G_N_ELEMENTS(cases);
    unsigned i, plays = quick ? 1 : 5;

    kernel_vm_boot(vm);
    for (i = 0; i < plays; i++) {
        for (c = 0; c < n; c++) {
            if (cases[c].held_ms > 500 && i > 1) {
                continue;
            }
            play(vm, "engine", policy_engine, cases[c].place, cases[c].busy,
                 cases[c].held_ms);
            play(vm, "whole", policy_whole, cases[c].place, cases[c].busy,
                 cases[c].held_ms);
        }
    }
    kernel_vm_free(vm);
}

/* --- loop ------------------------------------------------------------------ */

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* The median of every other one of @ticks; the first two did the warming up */
static uint32_t median(const uint32_t *ticks, unsigned rounds)
{
    g_autofree uint32_t *sorted = g_new(uint32_t, rounds);
    unsigned i, n = 0;

    for (i = MIN(2, rounds - 1); i < rounds; i++) {
        sorted[n++] = ticks[2 * i];
    }
    qsort(sorted, n, sizeof(*sorted), by_value);
    return sorted[n / 2];
}

static void loop(const char *kind, bool answer_only, unsigned pages,
                 KernelVmTouch touch, unsigned rounds)
{
    KernelVm *vm = kernel_vm_new(KERNEL_VM_DATA, 512 * PAGE);
    uint32_t ticks[2 * KERNEL_VM_ROUNDS];

    kernel_vm_boot(vm);
    vm->answer_only = answer_only;
    kernel_vm_loop(vm, pages, touch, rounds, ticks);
    printf("# bench kind=%s who=bare pages=%u touch=%d private=%u shared=%u\n",
           kind, pages, touch, median(ticks, rounds),
           median(ticks + 1, rounds));
    fflush(stdout);
    kernel_vm_free(vm);
}

/* Not the first thread: as any host, this one has another that sleeps */
static gpointer bench_loop(gpointer unused)
{
    unsigned few = quick ? 10 : 60, many = quick ? 50 : 500;

    loop("exit", true, 0, TOUCH_NEVER, many);
    loop("floor", true, 1, TOUCH_NEVER, many);
    loop("loop", false, 1, TOUCH_NEVER, many);
    loop("loop", false, 1, TOUCH_BEFORE, many);
    loop("loop", false, 512, TOUCH_NEVER, many);
    loop("loop", false, 512, TOUCH_BEFORE, few);
    loop("mapped", false, 1, TOUCH_AFTER, many);
    loop("mapped", false, 512, TOUCH_AFTER, few);
    return NULL;
}

/* --- size ------------------------------------------------------------------ */

static int size_set_attributes(void *opaque, uint64_t offset, uint64_t size,
                               bool to_private, uint64_t *error_offset)
{
    return kernel_vm_convert(opaque, offset, size, to_private, error_offset);
}

static int size_populate(GmemListener *l, uint64_t offset, uint64_t size)
{
    return 0;
}

static void size_discard(GmemListener *l, uint64_t offset, uint64_t size)
{
}

/* Pairs of conversions of single pages all over the block, blocks by turns */
static void bench_size(void)
{
    enum { PAIRS = 64, OFFSETS = 16, BLOCKS = 2 };
    static const GmemConvertOps ops = {
        .set_attributes = size_set_attributes, .now = busy_now,
    };
    static const uint64_t gib[BLOCKS] = { 1, 1024 };
    const int batches = quick ? 4 : 60;
    KernelVm *vm[BLOCKS];
    GmemState *s[BLOCKS];
    GmemListener l[BLOCKS] = { };
    int b, i, n;

    for (n = 0; n < BLOCKS; n++) {
        vm[n] = kernel_vm_new(0, gib[n] << 30);
        s[n] = gmem_state_new("ram0", gib[n] << 30, PAGE, true, &ops, vm[n]);
        l[n].size = gib[n] << 30;
        l[n].populate = size_populate;
        l[n].discard = size_discard;
        if (gmem_state_register_listener(s[n], &l[n]) ||
            gmem_state_launch(s[n])) {
            errx(1, "a block of %" PRIu64 " GiB", gib[n]);
        }
    }
    for (b = 0; b < batches; b++) {
        for (n = 0; n < BLOCKS; n++) {
            uint64_t step = (gib[n] << 30) / OFFSETS;
            int64_t cpu = 0;

            for (i = 0; i < 2 * PAIRS; i++) {
                uint64_t offset = step * (i / 2 % OFFSETS);
                int64_t before;

                if (i % 2 == 0) {
                    vm[n]->map[offset] = 1;
                }
                before = clock_ns(CLOCK_THREAD_CPUTIME_ID);
                if (gmem_state_convert(s[n], offset, PAGE, i % 2 == 0, 0, NULL,
                                       NULL)) {
                    errx(1, "a page of a block of %" PRIu64 " GiB", gib[n]);
                }
                cpu += clock_ns(CLOCK_THREAD_CPUTIME_ID) - before;
            }
            printf("# bench kind=size who=engine gib=%" PRIu64 " ns=%" PRId64
                   "\n", gib[n], cpu / (2 * PAIRS));
        }
    }
    for (n = 0; n < BLOCKS; n++) {
        gmem_state_unregister_listener(s[n], &l[n]);
        gmem_state_free(s[n]);
        kernel_vm_free(vm[n]);
    }
}

int main(int argc, char **argv)
{
    quick = argc == 3 && !strcmp(argv[2], "quick");
    if (argc - quick == 2 && !strcmp(argv[1], "busy")) {
        bench_busy();
    } else if (argc - quick == 2 && !strcmp(argv[1], "loop")) {
        g_thread_join(g_thread_new("vcpu", bench_loop, NULL));
    } else if (argc - quick == 2 && !strcmp(argv[1], "size")) {
        bench_size();
    } else {
        fprintf(stderr, "usage: bench-kernel busy|loop|size [quick]\n");
        return 2;
    }
    return 0;
}
