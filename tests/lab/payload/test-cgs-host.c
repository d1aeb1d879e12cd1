/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest of type SEV-SNP or TDX, in place, and what is special in the host:
 * pages that are in use, memory that is plugged in, an assigned device, hashes
 * of what the host loads.
 */
#include "cgs.h"

#define BASE    (32 * MIB)
#define SOURCE  (48 * MIB)              /* the device reads it */
#define DIMM    (4096 * MIB)

/* Events about a page are a second apart, so that one may come late. */
static void must_come(unsigned n, const char *action)
{
    const char *a = ask("event %u 3000", n);

    check(word_is(a, "action", action), "event %u must be \"%s\": %s", n,
          action, a);
}

/*
 * A page in use holds up its conversion.  An SEV-SNP guest is not told: it
 * could do nothing about it.  A TDX guest is told to try again.
 */
static void busy_request(void)
{
    uint64_t ms = 1500, took;
    unsigned tries = 1;

    step_begin();
    check_convert(BASE, 16, false, 0);
    fill(BASE, 16, 1);
    ask("pin 0x%lx 1 %lu", BASE + 5 * PAGE, ms);
    ask("mark");
    check_convert(BASE, 16, true, is_tdx() ? EAGAIN : 0);
    took = word_number(ask("since"), "ms", 0);
    if (is_tdx()) {
        check(took >= 990 && took < ms, "told to try again after %lu ms", took);
        check_state(BASE, 16, "P5S1P10");
        while (convert(BASE, 16, true) == EAGAIN && tries < 5) {
            tries++;
        }
        check(tries < 5, "still busy after %u tries", tries);
        took = word_number(ask("since"), "ms", 0);
    }
    check(took >= ms, "all private after %lu ms", took);
    if (!is_tdx()) {
        must_come(0, "waiting");
        must_come(1, "converted");
    }
    check_pages(BASE, 16, STATE_PRIVATE);
    check_kernel(BASE, 16, true);
    accept(BASE, 16);
    step_end("a page held %lu ms: all private after %lu ms, %u times told to "
             "try again", ms, took, is_tdx() ? tries : 0);
}

/* The same if the guest just touches the page: it asks until it is private. */
static void busy_access(void)
{
    uint64_t ms = 1500, took;

    step_begin();
    check_convert(BASE, 1, false, 0);
    store(BASE, 1);
    ask("pin 0x%lx 1 %lu", BASE, ms);
    ask("mark");
    check_op(OP_TOUCH, BASE, 1, TOUCH_PRIVATE, OP_NOT_ACCEPTED);
    took = word_number(ask("since"), "ms", 0);
    check(took >= ms && took < ms + 3000, "took %lu ms", took);
    if (!is_tdx()) {
        must_come(0, "waiting");
        must_come(1, "converted");
    }
    check_kernel(BASE, 1, true);
    step_end("an access to a page held %lu ms: private after %lu ms", ms, took);
}

/* stop and cont meanwhile are part of the same wait. */
static void busy_access_stopped(void)
{
    uint64_t ms = 1800, took;
    const char *a;

    step_begin();
    check_convert(BASE, 1, false, 0);
    store(BASE, 1);
    ask("pin 0x%lx 1 %lu", BASE, ms);
    ask("after 1300 stop 200");
    ask("mark");
    check_op(OP_TOUCH, BASE, 1, TOUCH_PRIVATE, OP_NOT_ACCEPTED);
    took = word_number(ask("since"), "ms", 0);
    check(took >= ms, "took %lu ms", took);
    a = ask("result");
    check(word_number(a, "stop-ms", 99999) < ms / 10, "stop: %s", a);
    must_come(0, "waiting");
    must_come(1, "converted");
    check(str_equal(ask("event 2 500"), "none"), "a third event");
    check(number(ask("count kvm_gmem_drop")) == 0, "the wait was given up");
    check_kernel(BASE, 1, true);
    step_end("the same with stop and cont: one wait, %lu ms, that ends with the "
             "conversion", took);
}

static void cgs_busy(void)
{
    busy_request();
    busy_access();
    if (!is_tdx()) {
        busy_access_stopped();
    }
}

/*
 * The host is short of memory for two seconds.  An SEV-SNP guest could not go on
 * with any answer: it is stopped, and stopped again if it is continued too early.
 */
static void cgs_no_memory(void)
{
    uint64_t took;
    unsigned tries = 1;

    step_begin();
    if (!is_tdx()) {
        ask("after 1000 hmp cont");
        ask("after 3000 hmp cont");
    }
    ask("mark");
    check_convert(BASE, 5, false, is_tdx() ? EAGAIN : 0);
    while (is_tdx() && convert(BASE, 5, false) == EAGAIN) {
        tries++;
    }
    took = word_number(ask("since"), "ms", 0);
    check(took >= (is_tdx() ? 2000 : 3000), "shared after %lu ms", took);
    check(is_tdx() == (tries > 1), "%u times told to try again", tries);
    fill(BASE, 5, 1);
    host_verify(BASE, 5, 1);
    step_end("no memory: %s, all shared after %lu ms",
             is_tdx() ? "told to try again" : "stopped until continued", took);
}

/*
 * The same for an access to a page that is private.  It has no answer at all, and
 * would be repeated without end: stopped, whatever the type of the guest.
 */
static void cgs_no_memory_access(void)
{
    uint64_t took;

    step_begin();
    ask("after 1000 hmp cont");
    ask("after 3000 hmp cont");
    ask("mark");
    check_op(OP_TOUCH, BASE, 1, 0, OP_OK);
    took = word_number(ask("since"), "ms", 0);
    check(took >= 3000, "shared after %lu ms", took);
    check(number(ask("count kvm_gmem_drop")) == 0, "the request was given up");
    check_kernel(BASE, 1, false);
    fill(BASE, 1, 1);
    host_verify(BASE, 1, 1);
    step_end("no memory for an access: stopped until continued, shared after "
             "%lu ms", took);
}

/* The machine is stopped for it, and ends all the same when it is told to. */
static void cgs_no_memory_quit(void)
{
    step_begin();
    ask("after 1000 quit");
    ask("mark");
    check_op(OP_TOUCH, BASE, 1, 0, OP_OK);
    check(false, "the access ended before QEMU did");
    step_end("quit while an access waits for memory");
}

static void must(const char *command)
{
    const char *a = ask("hmp %s", command);

    check(!*a, "%s: %s", command, a);
}

static void cgs_plug(void)
{
    step_begin();
    must("object_add memory-backend-ram,id=m0,size=8M");
    must("device_add pc-dimm,memdev=m0,id=d0,addr=0x100000000");
    check_pages(DIMM, 8 * MIB / PAGE, STATE_PRIVATE);
    check_kernel(DIMM, 64, true);
    step_end("memory that is plugged in is private and not accepted");
    share_and_back(DIMM + 3 * PAGE, 700, "plugged memory");
}

static uint64_t dma_faults(uint64_t gpa)
{
    return number(ask("dma-faults 0x%lx %lu", gpa, PAGE));
}

/* Devices learn nothing at launch, and later what is shared. */
static void cgs_vfio(void)
{
    uint64_t told = number(ask("bytes gmem_rdm_populate"));
    const char *a = ask("gmem pc.ram");
    Edu edu;

    step_begin();
    check(told == 0, "devices were told of %lu bytes at launch", told);
    check(word_number(a, "shared", 1) == 0, "pc.ram: %s", a);
    if (!check(edu_open(0, &edu), "there is no device")) {
        step_end("a device");
        return;
    }
    ask("mark");
    edu_dma(&edu, BASE, true);
    check(dma_faults(BASE) > 0, "the IOMMU let a device write to private memory");
    step_end("nothing is shared at launch, and a device can reach nothing");

    step_begin();
    check_convert(BASE, 2, false, 0);
    check_convert(SOURCE, 1, false, 0);
    fill(SOURCE, 1, 1);
    ask("mark");
    edu_dma(&edu, SOURCE, false);
    edu_dma(&edu, BASE, true);
    check(edu_copied(BASE, SOURCE), "no DMA to a page that is shared");
    check(dma_faults(BASE) == 0, "the IOMMU refused it");
    check_convert(BASE, 1, true, 0);
    check_kernel(BASE, 1, true);
    ask("mark");
    edu_dma(&edu, BASE, true);
    check(dma_faults(BASE) > 0, "the IOMMU let a device write to private memory");
    edu_dma(&edu, BASE + PAGE, true);
    check(edu_copied(BASE + PAGE, SOURCE), "no DMA to the page beside it");
    step_end("it has what is shared, until it is private again");
}

/* What QEMU writes for the guest to check kernel, initrd and command line */
static void cgs_hashes(void)
{
    static const uint8_t guid[] = {
        0x06, 0xd6, 0x38, 0x94, 0x22, 0x4f, 0xc9, 0x4c,
        0xb4, 0x79, 0xa7, 0x93, 0xd4, 0x11, 0xfd, 0x21,
    };
    const uint8_t *table = (const uint8_t *)SNP_HASHES;

    step_begin();
    check_pages(SNP_HASHES, 1,
                STATE_PRIVATE | STATE_ADDED | STATE_ACCEPTED);
    for (unsigned i = 0; i < sizeof(guid); i++) {
        check(table[i] == guid[i], "byte %u is 0x%x", i, table[i]);
    }
    step_end("the launch gave a table of hashes to the guest");
}

const PayloadTest tests_cgs_host[] = {
    { "cgs-hashes", cgs_hashes },
    { "cgs-busy", cgs_busy },
    { "cgs-no-memory", cgs_no_memory },
    { "cgs-no-memory-access", cgs_no_memory_access },
    { "cgs-no-memory-quit", cgs_no_memory_quit },
    { "cgs-plug", cgs_plug },
    { "cgs-vfio", cgs_vfio },
    { }
};
