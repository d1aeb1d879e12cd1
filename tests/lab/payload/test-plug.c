/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices and memory that are plugged into a running guest. */
#include "payload.h"

#define SOURCE      (16 * MIB)      /* shared for good: the device reads it */
#define RAM_END     (64 * MIB)
#define DIMM        (4096 * MIB)
#define DIMM_PAGES  (param("dimm", 8) * MIB / PAGE)
#define PORT        (5 << 3)        /* the PCI bridge */

/* ACPI's registers for memory that comes and goes */
#define MEMHP           0xa00
#define MEMHP_STATE     (MEMHP + 0x14)
#define MEMHP_EJECT     0x8

static void must(const char *command)
{
    const char *a = ask("hmp %s", command);

    check(!str_contains(a, "Error"), "%s: %s", command, a);
}

static void object_add(const char *memdev)
{
    char command[80];

    fmt(command, sizeof(command), "object_add memory-backend-ram,id=%s,size=%luM",
        memdev, DIMM_PAGES * PAGE / MIB);
    must(command);
}

/* New memory at @gpa */
static void plug(const char *memdev, const char *dimm, uint64_t gpa)
{
    char command[80];

    object_add(memdev);
    fmt(command, sizeof(command), "device_add pc-dimm,memdev=%s,id=%s,addr=0x%lx",
        memdev, dimm, gpa);
    must(command);
}

static void must_not(const char *command, const char *why)
{
    const char *a = ask("hmp %s", command);

    check(str_contains(a, why), "%s: \"%s\", nothing of %s", command, a, why);
}

static void check_none(const char *event)
{
    uint64_t bytes = number(ask("bytes %s", event));

    check(bytes == 0, "%s: %lu bytes", event, bytes);
}

/*
 * A device comes while more is shared than its container can map.  It must be
 * refused with the reason, and the guest must go on; once there is room, the
 * same device must work.
 */
static void plug_device(void)
{
    const char *plug = "device_add vfio-pci,host=0000:00:10.0,bus=port0,id=edu0";
    Edu edu;

    step_begin();
    fill(SOURCE, 512, 1);
    for (unsigned i = 0; i < 3; i++) {
        must_not(plug, "vfio_iommu_type1.dma_entry_limit");
    }
    host_verify(SOURCE, 512, 1);
    check_convert(SOURCE, 512, true, 0);
    check_state(SOURCE, 512, "P512");
    check_convert(SOURCE, 512, false, 0);
    verify(SOURCE, 512, 1);
    step_end("a device that cannot map what is shared: refused three times, "
             "with the reason, and conversions go on");

    step_begin();
    check_convert(32 * MIB, (RAM_END - 32 * MIB) / PAGE, true, 0);
    check_convert(MIB, (SOURCE - MIB) / PAGE, true, 0);
    check_convert(SOURCE + 2 * MIB, (32 * MIB - SOURCE - 2 * MIB) / PAGE, true,
                  0);
    must(plug);
    if (check(edu_open_behind(PORT, &edu), "there is no device")) {
        fill(SOURCE + PAGE, 1, 2);
        edu_dma(&edu, SOURCE, false);
        edu_dma(&edu, SOURCE + PAGE, true);
        check(edu_copied(SOURCE + PAGE, SOURCE), "no DMA");
    }
    step_end("less is shared: the same device is added, and does DMA");
}

/* The guest lets go of the memory in slot @n; QEMU unplugs it then. */
static void eject(unsigned n, const char *dimm)
{
    char command[40];

    fmt(command, sizeof(command), "device_del %s", dimm);
    must(command);
    outl(MEMHP, n);
    outb(MEMHP_STATE, MEMHP_EJECT);
    check(!str_contains(ask("hmp info memory-devices"), dimm),
          "the memory is still there");
}

/* All of the memory at @gpa is in the state of the start, and works. */
static void check_plugged(uint64_t gpa, bool private, const Edu *edu)
{
    uint64_t page = gpa + 64 * PAGE;
    const char *a;
    char want[24];

    /* A private page costs the probe much. */
    fmt(want, sizeof(want), "%c%lu", private ? 'P' : 'S', DIMM_PAGES / 8);
    a = ask("state 0x%lx %lu 8", gpa, DIMM_PAGES);
    check(str_equal(a, want), "plugged memory is %s, not %s", a, want);
    fill_every(gpa, DIMM_PAGES, 3, 64);
    if (private && edu) {
        ask("mark");
        edu_dma(edu, page, true);
        check(number(ask("dma-faults 0x%lx %lu", page, PAGE)) > 0,
              "the IOMMU let a device write to private memory");
    }
    verify_every(gpa, DIMM_PAGES, 3, 64);
    check_convert(gpa, 512, false, 0);
    host_verify_every(gpa, 512, 3, 64);
    if (edu) {
        edu_dma(edu, SOURCE, false);
        edu_dma(edu, page, true);
        check(edu_copied(page, SOURCE), "no DMA to memory that was plugged in");
    }
    check_convert(gpa + 256 * PAGE, 512, true, 0);
    check_state(gpa, 768, "S256P512");
}

static void plug_memory(void)
{
    const uint64_t marker = 0x7265736574206d65;
    uint64_t life = WINDOW_END - PAGE;
    bool private = param("private", 0);
    const char *state = private ? "private" : "shared";
    Edu edu_, *edu = edu_open(0, &edu_) ? &edu_ : NULL;

    if (load(life) != marker) {
        plug("m0", "dimm0", DIMM);
        check_convert(DIMM, 512, private, 0);
        check_convert(DIMM + 512 * PAGE, 512, !private, 0);
        store(life, marker);
        outb(0xcf9, 0x06);
        for (;;) {
            relax();
        }
    }
    store(life, 0);
    check_convert(SOURCE, 1, false, 0);
    fill(SOURCE, 1, 1);

    step_begin();
    check_plugged(DIMM, private, edu);
    step_end("memory that was plugged in is %s after a reset", state);

    step_begin();
    ask("mark");
    plug("m1", "dimm1", DIMM + DIMM_PAGES * PAGE);
    if (private && edu) {
        check_none("gmem_rdm_populate");
    }
    check_plugged(DIMM + DIMM_PAGES * PAGE, private, edu);
    step_end("memory that is plugged in is %s%s", state,
             edu ? ", for a device, too" : "");

    step_begin();
    eject(0, "dimm0");
    must("device_add pc-dimm,memdev=m0,id=dimm0,addr=0x100000000");
    check_plugged(DIMM, private, edu);
    step_end("unplugged as it was, and plugged in again: the same");
}

static volatile long pending_answer;

static void ap_convert_dimm(void)
{
    pending_answer = convert(DIMM, 16, true);
}

/* New memory goes while another vCPU waits for one of its pages. */
static void plug_and_eject_busy(void)
{
    ap_start(1);
    step_begin();
    plug("m0", "dimm0", DIMM);
    fill(DIMM, 16, 3);
    ask("pin 0x%lx 1 hold", DIMM + 3 * PAGE);
    ask("mark");
    ap_run(1, ap_convert_dimm);
    while (!word_number(ask("since"), "eagain", 0)) {
        relax();
    }
    eject(0, "dimm0");
}

static void end_of_wait(void)
{
    check(ap_busy(1), "the request ended although a page is held");
    ask("unpin");
    ap_wait(1);
    note("the request was answered %ld", pending_answer);
}

/*
 * The request of a vCPU is the last that knows of the memory, when it ends: the
 * device is gone, and so is the backend.
 */
static void plug_memory_gone(void)
{
    plug_and_eject_busy();
    must("object_del m0");
    end_of_wait();
    plug("m0", "dimm0", DIMM);
    check_plugged(DIMM, false, NULL);
    step_end("memory that is deleted while a request for it is pending, and "
             "comes back");
}

/*
 * It cannot come back before that request has ended: the states of its pages are
 * in use.
 */
static void plug_memory_pending(void)
{
    const char *again = "device_add pc-dimm,memdev=m0,id=dimm0,addr=0x100000000";

    plug_and_eject_busy();
    must_not(again, "still pending");
    end_of_wait();
    must(again);
    check_plugged(DIMM, false, NULL);
    step_end("memory that goes while a request for it is pending: refused until "
             "that has ended");
}

/*
 * A device has mapped what is shared, and cannot map the memory that comes
 * shared.  That memory is refused, with the reason; the guest goes on.
 */
static void plug_memory_limit(void)
{
    const char *plug = "device_add pc-dimm,memdev=m0,id=dimm0,addr=0x100000000";
    Edu edu;

    step_begin();
    check(edu_open(0, &edu), "there is no device");
    fill(SOURCE, 512, 1);
    object_add("m0");
    for (unsigned i = 0; i < 3; i++) {
        must_not(plug, "vfio_iommu_type1.dma_entry_limit");
    }
    check(!str_contains(ask("hmp info memory-devices"), "dimm0"),
          "the memory is there");
    edu_dma(&edu, SOURCE, false);
    edu_dma(&edu, SOURCE + PAGE, true);
    check(edu_copied(SOURCE + PAGE, SOURCE), "no DMA");
    step_end("memory that a device cannot map: refused three times, with the "
             "reason, and the device works");

    step_begin();
    check_convert(SOURCE + 2 * MIB, DIMM_PAGES, true, 0);
    must(plug);
    check_plugged(DIMM, false, &edu);
    step_end("something else has become private: the memory is plugged in");
}

/*
 * Memory was plugged into what had become private.  A reset would share all of it,
 * which the device cannot map.  The scenario expects that QEMU ends.
 */
static void reset_limit(void)
{
    step_begin();
    fill(SOURCE, 512, 1);
    check_convert(SOURCE + 2 * MIB, DIMM_PAGES, true, 0);
    plug("m0", "dimm0", DIMM);
    check_plugged(DIMM, false, NULL);
    step_end("private memory makes room for a device to map what is plugged in");

    must("system_reset");
    for (unsigned i = 0; i < 100; i++) {
        ask("since");
    }
    step_begin();
    check(false, "QEMU is still there");
    step_end("a reset that shares more than a device can map");
}

const PayloadTest tests_plug[] = {
    { "plug-device", plug_device },
    { "plug-memory", plug_memory },
    { "plug-memory-limit", plug_memory_limit },
    { "reset-limit", reset_limit },
    { "plug-memory-pending", plug_memory_pending },
    { "plug-memory-gone", plug_memory_gone },
    { }
};
