/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Emulated devices meet private pages: their DMA is a bus error, and no private
 * data gets out; what they have mapped and goes private ends QEMU.
 */
#include "devices.h"

#define BASE        (32 * MIB)
#define MEMORY      (31 * MIB)      /* what the device is controlled with */
#define OTHER       8               /* a sector behind what is tested */
#define DISK_PAGES  4u
#define HEADER_PAGES 31u
#define SHARED_WORD 0x7368617265642121ul
#define OTHER_PAGE  (30 * MIB)      /* for a part of what controls the disk */

static const Disk *disk;

static bool disk_begin(void)
{
    const char *name = param_text("device", "ahci");

    disk = starts_with(name, disk_ahci.name) ? &disk_ahci :
           starts_with(name, disk_scsi.name) ? &disk_scsi :
           starts_with(name, disk_ahci_pio.name) ? &disk_ahci_pio :
           &disk_virtio;
    step_begin();
    if (!check(disk->start(MEMORY), "there is no %s disk", disk->name)) {
        step_end("a disk");
        return false;
    }
    fill(BASE, DISK_PAGES, 1);
    check(disk->io(true, 0, BASE, DISK_PAGES * PAGE) == DISK_DONE,
          "cannot write");
    host_fill(BASE, DISK_PAGES, 2);
    check(disk->io(false, 0, BASE, DISK_PAGES * PAGE) == DISK_DONE,
          "cannot read");
    verify(BASE, DISK_PAGES, 1);
    return step_end("%s: shared pages are written to the disk and read back",
                    disk->name);
}

/*
 * A request that must not succeed.  The device may say so or want a reset; it
 * gets one.
 */
static void disk_fails(bool write, uint32_t sector, uint64_t gpa,
                       uint32_t bytes)
{
    DiskAnswer answer = disk->io(write, sector, gpa, bytes);

    check(answer == DISK_ERROR || (answer == DISK_SILENT && disk->may_give_up),
          "%s %u bytes at gpa 0x%lx: %s", write ? "writing" : "reading", bytes,
          gpa, answer == DISK_DONE ? "done" : "no answer");
    if (answer == DISK_SILENT) {
        disk->start(MEMORY);
    }
}

/* The disk has the pattern of seed 1 from @gpa on in its first sectors. */
static void disk_verify(uint64_t gpa, unsigned npages)
{
    host_fill(gpa, npages, 9);
    check(disk->io(false, 0, gpa, npages * PAGE) == DISK_DONE, "cannot read");
    verify(gpa, npages, 1);
}

static void disk_private(void)
{
    step_begin();
    fill(BASE, DISK_PAGES, 3);
    check_convert(BASE + PAGE, 1, true, 0);
    disk_fails(false, 0, BASE + PAGE, SECTOR);
    disk_fails(false, 0, BASE + PAGE, PAGE);
    disk_fails(false, 0, BASE, DISK_PAGES * PAGE);
    disk_fails(false, 0, BASE + PAGE - SECTOR, 2 * SECTOR);
    verify(BASE + PAGE, 1, 3);
    check_state(BASE, DISK_PAGES, "S1P1S2");
    check_convert(BASE + PAGE, 1, false, 0);
    host_verify(BASE + PAGE, 1, 3);
    disk_verify(BASE, DISK_PAGES);
    step_end("reading to a private page fails, and the page keeps its data");

    step_begin();
    fill(BASE, DISK_PAGES, 4);
    check_convert(BASE + PAGE, 1, true, 0);
    disk_fails(true, OTHER, BASE + PAGE, PAGE);
    disk_fails(true, OTHER, BASE + PAGE - SECTOR, 2 * SECTOR);
    check_convert(BASE + PAGE, 1, false, 0);
    disk_verify(BASE, DISK_PAGES);
    step_end("writing from a private page fails, and the disk has none of it");
}

/*
 * Parameter zeros: a request that is done leaves the page with zeros.  The disk must
 * have zeros there, too: where QEMU maps a page in vain that is shared again when it
 * asks why, it reads what it has mapped, and then the rest, from the disk.
 */
static void disk_flip_requests(unsigned rounds, uint32_t sector, uint32_t bytes,
                               uint64_t page, const char *what)
{
    bool zeros = param("zeros", 0);
    unsigned done = 0, failed = 0, silent = 0, pairs, i;

    step_begin();
    flip_begin(page);
    /* Both must come, and which comes is a matter of luck */
    for (i = 0; i < rounds ||
         (i < 20 * rounds && !(done && failed + silent)); i++) {
        store(page + PAGE - 8, SHARED_WORD);
        switch (disk->io(false, sector, BASE, bytes)) {
        case DISK_DONE:
            done++;
            check(!zeros || load(page + PAGE - 8) == 0,
                  "request %u is done, but its page has 0x%lx", i,
                  load(page + PAGE - 8));
            break;
        case DISK_ERROR:
            failed++;
            break;
        case DISK_SILENT:
            silent++;
            disk->start(MEMORY);
            break;
        }
    }
    pairs = flip_end();
    if (disk->control_at) {
        disk->control_at(0, 0);
        disk->start(MEMORY);
    }
    check(done && failed + silent && (!silent || disk->may_give_up),
          "%u done, %u failed, %u reset", done, failed, silent);
    disk_verify(BASE, DISK_PAGES);
    step_end("%u requests while %s flips %u times: %u done, %u failed, %u "
             "ended by a reset", i, what, pairs, done, failed, silent);
}

/*
 * Requests to pages of which one flips.  Parameters pages: of a request; with 3
 * fail-call.so lets the file end, so that QEMU fills up the buffer itself;
 * flip: the page that flips: QEMU takes longer to reach one far behind; sector:
 * where nothing was ever written.
 */
static void disk_flip(unsigned rounds)
{
    fill(BASE, DISK_PAGES, 5);
    disk_flip_requests(rounds, param("sector", 0),
                       param("pages", DISK_PAGES) * PAGE,
                       BASE + param("flip", 1) * PAGE, "a page");
}

/*
 * The page flips in which a request begins, or where its answer is written.
 * The more there is to look at behind the header, the better is the chance that
 * it turns private until the device reads it.
 */
static void disk_flip_control(unsigned headers, unsigned answers)
{
    if (headers) {
        disk->control_at(OTHER_PAGE, 0);
        disk_flip_requests(headers, 0, HEADER_PAGES * PAGE, OTHER_PAGE,
                           "the page of the header");
    }
    if (answers) {
        disk->control_at(0, OTHER_PAGE);
        disk_flip_requests(answers, 0, DISK_PAGES * PAGE, OTHER_PAGE,
                           "the page for the answer");
    }
}

/*
 * Parameters rounds: requests while a page of the data flips; headers, answers:
 * while that of the request's header, of its answer does.
 */
static void test_disk(void)
{
    uint64_t rounds = param("rounds", 0);

    if (disk_begin()) {
        disk_private();
        if (rounds) {
            disk_flip(rounds);
        }
        disk_flip_control(param("headers", 0), param("answers", 0));
    }
}

/*
 * Requests whose data goes through a buffer of the device, and from there to
 * memory by DMA.  AHCI does not tell the guest of its bus errors.
 */
static void test_disk_buffered(void)
{
    unsigned rounds = param("rounds", 100), pairs, i;

    if (!disk_begin()) {
        return;
    }
    step_begin();
    fill(BASE, DISK_PAGES, 3);
    check_convert(BASE + PAGE, 1, true, 0);
    check(disk->io(false, 0, BASE, DISK_PAGES * PAGE) != DISK_SILENT,
          "no answer");
    verify(BASE, 1, 1);
    verify(BASE + PAGE, 1, 3);
    verify(BASE + 2 * PAGE, 2, 1);
    check_convert(BASE + PAGE, 1, false, 0);
    host_verify(BASE + PAGE, 1, 3);
    step_end("a private page keeps its data, the others have the disk's");

    step_begin();
    fill(BASE + PAGE, 1, 4);
    check_convert(BASE + PAGE, 1, true, 0);
    check(disk->io(true, OTHER, BASE + PAGE, PAGE) != DISK_SILENT, "no answer");
    check_convert(BASE + PAGE, 1, false, 0);
    host_fill(BASE + PAGE, 1, 9);
    check(disk->io(false, OTHER, BASE + PAGE, PAGE) == DISK_DONE,
          "cannot read");
    check(load(BASE + PAGE) != lab_pattern(4, BASE + PAGE) &&
          load(BASE + 2 * PAGE - 8) != lab_pattern(4, BASE + 2 * PAGE - 8),
          "private data is on the disk");
    step_end("the disk gets none of it");

    step_begin();
    flip_begin(BASE + PAGE);
    for (i = 0; i < rounds; i++) {
        if (!check(disk->io(false, 0, BASE, DISK_PAGES * PAGE) != DISK_SILENT,
                   "no answer to request %u", i)) {
            break;
        }
    }
    pairs = flip_end();
    host_fill(BASE, DISK_PAGES, 9);
    check(disk->io(false, 0, BASE, PAGE) == DISK_DONE, "cannot read");
    verify(BASE, 1, 1);
    step_end("%u requests while a page flips %u times", i, pairs);
}

/*
 * A page that the device looks at itself turns private while it is mapped: the
 * kick is the last that QEMU does.
 */
static void test_disk_ring(void)
{
    if (!disk_begin()) {
        return;
    }
    step_begin();
    check_convert(MEMORY, disk->ring_pages, true, 0);
    disk->kick();
    for (unsigned i = 0; i < DEVICE_WAIT; i++) {
        relax();
    }
    check(false, "QEMU is still there");
    step_end("the ring of a %s disk turns private", disk->name);
}

/* --- the NIC -------------------------------------------------------------- */

#define FRAME   1024u

/* Does the buffer at @to have what the one at @from has? */
static bool same(uint64_t from, uint64_t to)
{
    for (unsigned i = 0; i < FRAME; i += 8) {
        if (load(from + i) != load(to + i)) {
            return false;
        }
    }
    return true;
}

static bool empty(uint64_t gpa)
{
    for (unsigned i = 0; i < FRAME; i += 8) {
        if (load(gpa + i)) {
            return false;
        }
    }
    return true;
}

static void fill_frame(uint64_t gpa, uint64_t seed)
{
    for (unsigned i = 0; i < FRAME; i += 8) {
        store(gpa + i, lab_pattern(seed, gpa + i));
    }
}

static void nic_private(uint64_t from, uint64_t to)
{
    step_begin();
    fill_frame(from, 2);
    check_convert(from, 1, true, 0);
    check(nic_loop(from, to, FRAME), "nothing came");
    check(empty(to), "the frame has 0x%lx", load(to));
    check_convert(from, 1, false, 0);
    check(nic_loop(from, to, FRAME) && same(from, to), "shared again: 0x%lx",
          load(to));
    step_end("a frame from a private page has none of its data");

    step_begin();
    fill(to, 1, 3);
    fill_frame(from, 4);
    check_convert(to, 1, true, 0);
    nic_loop(from, to, FRAME);
    verify(to, 1, 3);
    check_convert(to, 1, false, 0);
    host_verify(to, 1, 3);
    check(nic_loop(from, to, FRAME) && same(from, to), "shared again: 0x%lx",
          load(to));
    step_end("a frame to a private page is lost, and the page keeps its data");
}

static void nic_flip(uint64_t from, uint64_t to, unsigned rounds)
{
    unsigned full = 0, none = 0, pairs;

    step_begin();
    fill_frame(from, 5);
    flip_begin(from);
    for (unsigned i = 0; i < rounds; i++) {
        if (!check(nic_loop(from, to, FRAME), "frame %u did not come", i)) {
            break;
        }
        if (empty(to)) {
            none++;
        } else {
            check(load(to) == lab_pattern(5, from) &&
                  load(to + FRAME - 8) == lab_pattern(5, from + FRAME - 8),
                  "frame %u has 0x%lx", i, load(to));
            full++;
        }
    }
    pairs = flip_end();
    check(full && none, "%u frames with data, %u without", full, none);
    check(nic_loop(from, to, FRAME) && same(from, to), "in the end: 0x%lx",
          load(to));
    step_end("%u frames while the page flips %u times: %u have its data, %u "
             "nothing", rounds, pairs, full, none);
}

static void test_nic(void)
{
    uint64_t from = BASE, to = BASE + PAGE;

    step_begin();
    if (!check(nic_start(MEMORY), "no NIC, or nothing comes back")) {
        step_end("a NIC");
        return;
    }
    fill_frame(from, 1);
    check(nic_loop(from, to, FRAME) && same(from, to), "0x%lx", load(to));
    step_end("a frame from shared memory to shared memory");
    nic_private(from, to);
    nic_flip(from, to, param("rounds", 300));
}

/*
 * IPv6 with a routing header, which every NIC of QEMU that computes checksums
 * looks at.  The address in it is a piece of its own, in a page that flips: it
 * turns private when the device has mapped it and has not read it yet.
 */
static void put_routed_frame(uint64_t head, uint64_t address, uint64_t rest)
{
    static const uint8_t packet[] = {
        2, 0, 0, 0, 0, 1,  2, 0, 0, 0, 0, 2,  0x86, 0xdd,
        /* IPv6: length, next header, hop limit, from, to */
        0x60, 0, 0, 0,  0, 32,  43,  64,
        0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
        0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
        /* routing: next header, 24 bytes, type, segments left, reserved */
        17, 2, 2, 1,  0, 0, 0, 0,
    };

    for (unsigned i = 0; i < sizeof(packet); i++) {
        *(volatile uint8_t *)(head + i) = packet[i];
    }
    store(address, 0x80fe);
    store(address + 8, 3ul << 56);
    store(rest, 0);
}

static void test_nic_gather(void)
{
    const uint64_t address = BASE + PAGE;
    const GatherPiece piece[3] = {
        { BASE, 62 }, { address, 16 }, { BASE + 2 * PAGE, 8 }
    };
    unsigned rounds = param("rounds", 50), sent = 0, pairs;

    step_begin();
    put_routed_frame(piece[0].gpa, piece[1].gpa, piece[2].gpa);
    if (!check(gather_start(MEMORY, piece), "there is no NIC")) {
        step_end("a NIC that gathers");
        return;
    }
    check(gather_send() == 1, "all is shared, but nothing was sent");
    check_convert(address, 1, true, 0);
    check(gather_send() == 0, "a frame with a private piece was sent");
    check_convert(address, 1, false, 0);
    check(gather_send() == 1, "shared again, but nothing was sent");
    step_end("a frame of three pieces is sent if all of them are shared");

    step_begin();
    flip_begin(address);
    for (unsigned i = 0; i < rounds; i++) {
        sent += gather_send();
    }
    pairs = flip_end();
    check(sent && sent < rounds, "%u of %u frames were sent", sent, rounds);
    check(gather_send() == 1, "in the end nothing was sent");
    step_end("%u frames whose routing header flips %u times: %u were sent",
             rounds, pairs, sent);
}

const PayloadTest tests_devices[] = {
    { "disk", test_disk },
    { "disk-ring", test_disk_ring },
    { "disk-buffered", test_disk_buffered },
    { "nic", test_nic },
    { "nic-gather", test_nic_gather },
    { }
};
