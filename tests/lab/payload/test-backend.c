/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where memory comes from: backends, firmware, hotplug, what is refused. */
#include "payload.h"

#define BASE        (32 * MIB)

#define SLOTS       0xa00       /* ACPI memory hotplug: the slot selector */
#define SLOT_FLAGS  (SLOTS + 0x14)
#define ENABLED     1
#define REMOVING    4
#define EJECT       8

/* --- firmware and option ROMs ------------------------------------------- */

static uint64_t sum(uint64_t gpa, uint64_t npages)
{
    uint64_t s = 0;

    for (uint64_t i = 0; i < npages * PAGE; i += 8) {
        s = s * 31 + load(gpa + i);
    }
    return s;
}

/*
 * Both are guest_memfds.  The firmware of this guest type is ROM, which is
 * never made private; the option ROMs are RAM.
 */
static void rom(void)
{
    uint64_t gpa = IMAGE_ROM, before = sum(gpa, 1);

    step_begin();
    check_state(gpa, IMAGE_SIZE / PAGE, "S32");
    check_convert(gpa, 1, true, EINVAL);
    check_convert(gpa, 1, false, 0);
    check(sum(gpa, 1) == before, "its content has changed");
    step_end("firmware at gpa 0x%lx is in place, and stays shared", gpa);

    gpa = 0xc0000;
    before = sum(gpa, 1);
    step_begin();
    check_state(gpa, 1, "S1");
    check_convert(gpa, 1, true, 0);
    check_state(gpa, 1, "P1");
    check(sum(gpa, 1) == before, "its content has changed in private memory");
    check_convert(gpa, 1, false, 0);
    check_state(gpa, 1, "S1");
    check(sum(gpa, 1) == before, "its content has changed");
    step_end("memory of option ROMs at gpa 0x%lx is converted in place", gpa);
}

/* --- allocation ---------------------------------------------------------- */

static uint64_t cached_kib(void)
{
    return word_number(ask("usage"), "cached-kib", 0);
}

/* What an untouched part of memory takes when it is touched. */
static void prealloc(void)
{
    uint64_t before = cached_kib(), grown;
    const char *a;

    step_begin();
    for (uint64_t gpa = 64 * MIB; gpa < 128 * MIB; gpa += PAGE) {
        store(gpa, gpa);
    }
    grown = cached_kib() - before;
    check(before && grown < 8 * 1024, "64 MiB take %lu KiB", grown);
    step_end("prealloc=on: memory is there before it is used");

    step_begin();
    before = cached_kib();
    a = ask("hmp object_add memory-backend-ram,id=m,size=64M,prealloc=off");
    check(!*a, "object_add: %s", a);
    a = ask("hmp qom-set /objects/m prealloc true");
    check(!*a, "qom-set: %s", a);
    grown = cached_kib() - before;
    check(grown >= 60 * 1024, "64 MiB have %lu KiB", grown);
    a = ask("hmp object_del m");
    check(!*a, "object_del: %s", a);
    step_end("it can be switched on later");
}

/*
 * A conversion of more than one page maps them all for the guest, which gives
 * them memory; one of a single page leaves that to the guest's access.
 */
static void prefault(void)
{
    const uint64_t gpa = 64 * MIB, npages = 4096;
    uint64_t before = cached_kib(), grown;

    step_begin();
    for (uint64_t i = 0; i < npages; i += 4) {
        check_convert(gpa + i * PAGE, 1, true, 0);
    }
    grown = cached_kib() - before;
    check(before && grown < 2 * 1024, "they take %lu KiB", grown);
    step_end("%lu single pages that nobody used take no memory", npages / 4);

    step_begin();
    before = cached_kib();
    check_convert(gpa, npages, true, 0);
    grown = cached_kib() - before;
    check(grown > 14 * 1024, "16 MiB have %lu KiB", grown);
    before = cached_kib();
    fill(gpa, npages, 1);
    verify(gpa, npages, 1);
    grown = cached_kib() - before;
    check(grown < 2 * 1024, "16 MiB take %lu KiB more", grown);
    step_end("%lu pages at a time have it when they are private", npages);

    step_begin();
    check_convert(gpa, npages, false, 0);
    check_state(gpa, npages, "S4096");
    verify(gpa, npages, 1);
    host_verify(gpa, npages, 1);
    step_end("their content stays");
}

/*
 * fail-call.so holds the first call that maps memory back until somebody wants
 * the vCPU, and complains of a further one.  Parameter action: of "after".
 */
static void prefault_interrupted(void)
{
    const uint64_t gpa = 64 * MIB, npages = 40 * MIB / PAGE;
    uint64_t before = cached_kib(), grown, calls, bytes;
    const char *a;

    step_begin();
    ask("after kvm_gmem_prefault %s 300", param_text("action", "stop"));
    ask("mark");
    check_convert(gpa, npages, true, 0);
    a = ask("result");
    check(word_number(a, "paused", 0) && word_number(a, "registers", 0), "%s",
          a);
    calls = number(ask("count kvm_gmem_prefault"));
    bytes = number(ask("bytes kvm_gmem_prefault"));
    check(calls == 1 && bytes == 16 * MIB, "%lu calls for %lu KiB", calls,
          bytes / 1024);
    grown = cached_kib() - before;
    check(before && grown < 18 * 1024, "%lu KiB were mapped", grown);
    step_end("stop while 40 MiB are mapped in advance: not more than the 16 MiB "
             "of one call");

    step_begin();
    check_state(gpa, 64, "P64");
    check_state(gpa + (npages - 64) * PAGE, 64, "P64");
    fill_every(gpa, npages, 1, 1024);
    verify_every(gpa, npages, 1, 1024);
    step_end("the request has ended, the rest is mapped when it is used");
}

/*
 * Switched on for memory that is in use, part of it private, which must not be
 * touched.  Most of it is a hole of the file until then.
 */
static void prealloc_later(void)
{
    const char *a;
    uint64_t before, grown;

    step_begin();
    fill(BASE, 512, 1);
    check_convert(BASE, 512, true, 0);
    before = cached_kib();
    a = ask("hmp qom-set /objects/ram0 prealloc true");
    check(!*a, "qom-set: %s", a);
    grown = cached_kib() - before;
    check(grown > 240 * 1024, "256 MiB take %lu KiB more", grown);
    check_state(BASE - PAGE, 514, "S1P512S1");
    verify(BASE, 512, 1);
    step_end("prealloc=on in a running guest: %lu MiB more, private pages "
             "kept", grown / 1024);
}

/* --- hotplug ------------------------------------------------------------- */

static uint64_t slot_address(void)
{
    uint64_t low;

    outl(SLOTS, 0);
    low = inl(SLOTS);
    return low | (uint64_t)inl(SLOTS + 4) << 32;
}

static uint64_t plug(const char *backend)
{
    const char *a = ask("hmp object_add %s,id=m0,size=64M", backend);
    uint64_t gpa;

    check(!*a, "object_add: %s", a);
    a = ask("hmp device_add pc-dimm,id=d0,memdev=m0");
    check(!*a, "device_add: %s", a);
    outl(SLOTS, 0);
    check(inb(SLOT_FLAGS) & ENABLED, "slot 0 is empty");
    gpa = slot_address();
    check(gpa >= 4096 * MIB && gpa < (uint64_t)MAPPED_GIB * 1024 * MIB,
          "it is at 0x%lx, where the payload has no mapping", gpa);
    return gpa;
}

static void unplug(void)
{
    const char *a = ask("hmp device_del d0");

    check(!*a, "device_del: %s", a);
    outl(SLOTS, 0);
    check(inb(SLOT_FLAGS) & REMOVING, "the guest is not asked to give it up");
    outb(SLOT_FLAGS, EJECT);
    check(!(inb(SLOT_FLAGS) & ENABLED), "slot 0 is not empty");
    a = ask("hmp object_del m0");
    check(!*a, "object_del: %s", a);
}

/* Wait for RCU, which frees what is left of a deleted backend. */
static void settle(void)
{
    ask("after 1000 hmp info status");
    ask("mark");
    check(word_number(ask("result"), "answered", 0), "the monitor is silent");
}

/* Parameter backend: of the memory that is plugged. */
static void dimm(void)
{
    const char *backend = param_text("backend", "memory-backend-memfd");
    char name[64];
    uint64_t gpa, fds, now;
    unsigned n = 0;

    while (backend[n] && backend[n] != ' ' && n < sizeof(name) - 1) {
        name[n] = backend[n];
        n++;
    }
    name[n] = 0;
    fds = word_number(ask("usage"), "fds", 0);

    for (unsigned round = 1; round <= 2; round++) {
        step_begin();
        gpa = plug(name);
        check_state(gpa, 64, "S64");
        check(load(gpa) == 0 && load(gpa + 63 * PAGE) == 0,
              "new memory reads 0x%lx", load(gpa));
        fill(gpa, 512, round);
        check_convert(gpa, 512, true, 0);
        check_state(gpa, 514, "P512S2");
        verify(gpa, 512, round);
        check_convert(gpa, 256, false, 0);
        check_state(gpa, 514, "S256P256S2");
        host_verify(gpa, 256, round);
        verify(gpa + 256 * PAGE, 256, round);
        step_end("round %u: %s is plugged at gpa 0x%lx and converted", round,
                 name, gpa);

        step_begin();
        unplug();
        check_convert(gpa, 1, true, EINVAL);
        settle();
        now = word_number(ask("usage"), "fds", 0);
        check(now == fds, "%lu file descriptors, %lu before", now, fds);
        step_end("round %u: it is unplugged while half of it is private", round);
    }
}

/* --- what is refused in a running guest ---------------------------------- */

/* @command must be answered with a line that has @word in it. */
static void refused(const char *command, const char *word)
{
    const char *a = ask("hmp %s", command);
    const char *p;

    for (p = a; *p && !starts_with(p, word); p++) {
    }
    check(*p, "%s: \"%s\" does not say \"%s\"", command, a, word);
    note("%s: %s", command, a);
}

static void refuse_live(void)
{
    uint64_t fds = word_number(ask("usage"), "fds", 0);
    uint64_t kib = word_number(ask("usage"), "vm-kib", 0);
    uint64_t now;

    step_begin();
    refused("object_add memory-backend-file,id=f,size=8M,mem-path=/tmp/f",
            "memory-backend-memfd or memory-backend-ram");
    refused("object_add memory-backend-shm,id=f,size=8M",
            "memory-backend-memfd or memory-backend-ram");
    step_end("backends with a file of their own");

    step_begin();
    refused("netdev_add vhost-vdpa,id=v,vhostdev=/dev/null", "vfio-pci");
    check(!*ask("hmp chardev-add socket,id=cv,path=/tmp/vu,server=on,wait=off"),
          "chardev-add fails");
    refused("netdev_add vhost-user,id=u,chardev=cv", "another process");
    check(!*ask("hmp chardev-remove cv"), "chardev-remove fails");
    step_end("vhost-user and vhost-vdpa");

    step_begin();
    refused("drive_add 0 if=none,id=n,file=nvme://0000:00:03.0/1",
            "image file");
    step_end("nvme://");

    step_begin();
    refused("calc_dirty_rate -b 1", "does not log");
    refused("calc_dirty_rate -r 1", "does not log");
    refused("calc_dirty_rate 1", "private pages");
    step_end("dirty rate, in all ways");

    step_begin();
    refused("loadvm s", "start the guest anew");
    step_end("snapshots");

    step_begin();
    for (unsigned i = 0; i < 2; i++) {
        refused("object_add memory-backend-ram,id=f,size=1P", "cannot map");
        refused("object_add memory-backend-memfd,id=f,size=1P", "cannot map");
    }
    settle();
    now = word_number(ask("usage"), "fds", 0);
    check(now == fds, "%lu file descriptors, %lu before", now, fds);
    now = word_number(ask("usage"), "vm-kib", 0);
    check(now < kib + 64 * 1024, "%lu KiB of addresses, %lu before", now, kib);
    step_end("nothing is left behind");

    step_begin();
    check_convert(BASE, 16, true, 0);
    fill(BASE, 16, 1);
    verify(BASE, 16, 1);
    step_end("the guest goes on");
}

/* Parameter ring: KVM has a dirty ring, which set_vcpu_dirty_limit needs. */
static void dirty_log(void)
{
    step_begin();
    refused("calc_dirty_rate -b 1", "does not log");
    refused("calc_dirty_rate -r 1", "does not log");
    if (param("ring", 0)) {
        refused("set_vcpu_dirty_limit 10", "does not log");
    }
    step_end("a dirty log is refused");
}

/*
 * The scenario preloads fail-call.so, which makes a call fail by the size that
 * it is about.  Parameter dual: memory has a page for each state; then the
 * guest_memfd is not mapped, and prealloc does not allocate it.
 */
static void fail_backend(const char *backend, bool dual)
{
    char command[128];

    step_begin();
    fmt(command, sizeof(command), "object_add %s,id=f,size=24M", backend);
    refused(command, "Cannot allocate memory");
    if (!dual || starts_with(backend, "memory-backend-memfd")) {
        fmt(command, sizeof(command), "object_add %s,id=f,size=28M", backend);
        refused(command, "Cannot allocate memory");
    }
    if (!dual) {
        fmt(command, sizeof(command), "object_add %s,id=f,size=36M,prealloc=on",
            backend);
        refused(command, "No space left");
    }
    fmt(command, sizeof(command), "object_add %s,id=f,size=40M", backend);
    check(!*ask("hmp %s", command), "%s fails", command);
    check(!*ask("hmp object_del f"), "object_del fails");
    step_end("%s: error paths", backend);
}

static void error_paths(void)
{
    bool dual = param("dual", 0);
    uint64_t fds = word_number(ask("usage"), "fds", 0);
    uint64_t kib = word_number(ask("usage"), "vm-kib", 0);
    /* A thread that populates may get a heap of its own. */
    uint64_t more = (dual ? 16 : 160) * 1024;
    uint64_t now;

    fail_backend("memory-backend-ram", dual);
    fail_backend("memory-backend-ram,share=on", dual);
    fail_backend("memory-backend-memfd", dual);
    fail_backend("memory-backend-memfd,share=off", dual);

    step_begin();
    settle();
    now = word_number(ask("usage"), "fds", 0);
    check(now == fds, "%lu file descriptors, %lu before", now, fds);
    now = word_number(ask("usage"), "vm-kib", 0);
    check(now < kib + more, "%lu KiB of addresses, %lu before", now, kib);
    step_end("no file descriptor and no mapping is left behind");
}

/* --- NUMA ---------------------------------------------------------------- */

/*
 * Pages that were private when they were allocated, and pages that were not,
 * must be on the node of their block.
 */
static void check_nodes(uint64_t gpa, unsigned node)
{
    char want[32];
    const char *a;

    fmt(want, sizeof(want), "n0=%u n1=%u none=0", node ? 0 : 256,
        node ? 256 : 0);
    check_convert(gpa, 128, true, 0);
    check_convert(gpa + 128 * PAGE, 128, false, 0);
    fill(gpa, 256, node);
    check_convert(gpa, 128, false, 0);
    a = ask("nodes 0x%lx 256", gpa);
    check(str_equal(a, want), "gpa 0x%lx: %s, not %s", gpa, a, want);
}

/*
 * The scenario binds the first block to node 1 and the second one, at 128 MiB,
 * to node 0; a pc-dimm at 4 GiB is interleaved and has prealloc=on.
 */
static void numa(void)
{
    const char *a;

    step_begin();
    check_nodes(BASE, 1);
    check_nodes(64 * MIB, 1);
    step_end("first block: private and shared pages on node 1");

    step_begin();
    check_nodes(160 * MIB, 0);
    check_nodes(192 * MIB, 0);
    step_end("second block: private and shared pages on node 0");

    step_begin();
    check_convert(4096 * MIB, 256, false, 0);
    a = ask("nodes 0x%lx 256", 4096 * MIB);
    check(str_equal(a, "n0=128 n1=128 none=0"), "pages are at %s", a);
    step_end("prealloc=on interleaves");
}

/* --- an ordinary guest --------------------------------------------------- */

/*
 * Write to memory until QEMU has measured the dirty rate, by bitmap.  It is
 * rounded down: a busy machine gets more than one try.
 */
static void dirty_rate(void)
{
    const char *a = "", *rate;
    unsigned tries = 0;

    step_begin();
    do {
        a = ask("hmp calc_dirty_rate -b 1");
        check(starts_with(a, "Starting"), "calc_dirty_rate: %s", a);
        do {
            for (uint64_t gpa = 64 * MIB; gpa < 192 * MIB; gpa += PAGE) {
                store(gpa, gpa);
            }
            a = ask("hmp info dirty_rate");
        } while (starts_with(a, "Status: measuring"));
        for (rate = a; *rate && !starts_with(rate, "Dirty rate: "); rate++) {
        }
    } while (*rate && !number(rate + 12) && ++tries < 5);
    check(*rate && number(rate + 12), "%s", a);
    step_end("the dirty log sees what the guest writes: %s", rate);
}

static void shared_memory(void)
{
    step_begin();
    check(number(ask("inode 0x%lx", BASE)), "it is no guest_memfd");
    check_state(BASE, 16, "S16");
    fill(BASE, 512, 1);
    host_verify(BASE, 512, 1);
    host_fill(BASE, 512, 2);
    verify(BASE, 512, 2);
    check(convert(BASE, 16, true) < 0, "it can be made private");
    check_state(BASE, 16, "S16");
    step_end("memory is a guest_memfd, shared as a whole");

    dirty_rate();
}

const PayloadTest tests_backend[] = {
    { "rom", rom },
    { "prealloc", prealloc },
    { "prefault", prefault },
    { "prefault-interrupted", prefault_interrupted },
    { "prealloc-later", prealloc_later },
    { "dimm", dimm },
    { "refuse-live", refuse_live },
    { "dirty-log", dirty_log },
    { "error-paths", error_paths },
    { "numa", numa },
    { "shared-memory", shared_memory },
    { }
};
