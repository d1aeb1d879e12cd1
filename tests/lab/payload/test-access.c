/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU itself meets private pages: DMA of a device that the payload sets up,
 * and commands of the monitor.
 */
#include "payload.h"

#define BASE            (32 * MIB)
#define CONTROL         (31 * MIB)      /* what a device is controlled with */

#define PORT_FW_CFG_DMA 0x514
#define FW_CFG_SIGNATURE 0              /* "QEMU"; behind its end: zeros */
#define SIGNATURE       0x554d4551u
#define DMA_ERROR       0x01
#define DMA_READ        0x02
#define DMA_SELECT      0x08
#define DMA_WRITE       0x10

#define SHARED_WORD     0x7368617265642121ul
#define PRIVATE_WORD    0x7072697661746521ul

/*
 * Let fw_cfg do one transfer, told by a structure at @at.  Returns what is in
 * its control field afterwards: 0, DMA_ERROR, or the command itself if the
 * device could not write there.
 */
static uint32_t fw_cfg_dma(uint64_t at, uint32_t command, uint64_t gpa,
                           uint32_t length)
{
    volatile uint32_t *dma = (volatile uint32_t *)at;

    dma[0] = __builtin_bswap32(command);
    dma[1] = __builtin_bswap32(length);
    dma[2] = __builtin_bswap32(gpa >> 32);
    dma[3] = __builtin_bswap32(gpa);
    outl(PORT_FW_CFG_DMA, __builtin_bswap32(at >> 32));
    outl(PORT_FW_CFG_DMA + 4, __builtin_bswap32(at));
    return __builtin_bswap32(dma[0]);
}

static uint32_t read_signature(uint64_t gpa, uint32_t length)
{
    return fw_cfg_dma(CONTROL, DMA_SELECT | DMA_READ | FW_CFG_SIGNATURE << 16,
                      gpa, length);
}

static void check_dma(uint32_t got, uint32_t want, const char *what)
{
    check(got == want, "%s: control is 0x%x, not 0x%x", what, got, want);
}

/* The device writes to memory. */
static void fw_cfg_to_memory(void)
{
    step_begin();
    fill(BASE, 2, 1);
    check_dma(read_signature(BASE, 2 * PAGE), 0, "shared memory");
    check(load(BASE) == SIGNATURE && load(BASE + 2 * PAGE - 8) == 0,
          "the memory has 0x%lx and 0x%lx", load(BASE),
          load(BASE + 2 * PAGE - 8));
    step_end("DMA to shared pages");

    step_begin();
    fill(BASE, 4, 2);
    check_convert(BASE + PAGE, 1, true, 0);
    check_dma(read_signature(BASE + PAGE, 16), DMA_ERROR, "a private page");
    check_dma(read_signature(BASE, 4 * PAGE), DMA_ERROR, "S1P1S2");
    check_dma(read_signature(BASE + PAGE - 2, 4), DMA_ERROR, "across the edge");
    check(load(BASE) == SIGNATURE, "the shared page in front has 0x%lx",
          load(BASE));
    verify(BASE + PAGE, 1, 2);
    check_convert(BASE + PAGE, 1, false, 0);
    verify(BASE + PAGE, 1, 2);
    host_verify(BASE + PAGE, 1, 2);
    check_dma(read_signature(BASE + PAGE, PAGE), 0, "shared again");
    check(load(BASE + PAGE) == SIGNATURE, "the page has 0x%lx",
          load(BASE + PAGE));
    step_end("DMA to a private page is a bus error, and its data is kept");

    step_begin();
    fill(BASE, 1, 3);
    check_convert(BASE, 1, true, 0);
    fw_cfg_dma(BASE, DMA_SELECT | DMA_READ, BASE + PAGE, 16);
    check(load(BASE) == __builtin_bswap64((DMA_SELECT | DMA_READ) * 1ul << 32 |
                                          16),
          "the command was changed to 0x%lx", load(BASE));
    check_convert(BASE, 1, false, 0);
    check_dma(read_signature(BASE, 16), 0, "afterwards");
    step_end("a command in a private page does nothing");
}

/* The device reads memory; the scenario has -device vmcoreinfo. */
static void fw_cfg_from_memory(void)
{
    uint64_t seen[2];
    uint16_t key;
    uint32_t size = 0;

    step_begin();
    if (!fw_cfg_find("etc/vmcoreinfo", &key, &size) ||
        size != sizeof(seen)) {
        check(false, "no file etc/vmcoreinfo of 16 bytes (%u)", size);
        step_end("DMA from memory");
        return;
    }
    store(BASE, PRIVATE_WORD);
    store(BASE + 8, PRIVATE_WORD);
    check_convert(BASE, 1, true, 0);
    check_dma(fw_cfg_dma(CONTROL, DMA_SELECT | DMA_WRITE | key << 16, BASE,
                         size), DMA_ERROR, "a private page");
    fw_cfg_read(key, seen, size);
    check(seen[0] != PRIVATE_WORD && seen[1] != PRIVATE_WORD,
          "private data is in the device");
    check_convert(BASE, 1, false, 0);
    store(BASE, SHARED_WORD);
    store(BASE + 8, SHARED_WORD);
    check_dma(fw_cfg_dma(CONTROL, DMA_SELECT | DMA_WRITE | key << 16, BASE,
                         size), 0, "shared again");
    fw_cfg_read(key, seen, size);
    check(seen[0] == SHARED_WORD && seen[1] == SHARED_WORD,
          "the device has 0x%lx", seen[0]);
    step_end("DMA from a private page is a bus error; the device gets nothing");
}

static void fw_cfg_flip(unsigned rounds)
{
    unsigned count[2] = { 0 }, pairs;

    step_begin();
    fill(BASE, 1, 4);
    flip_begin(BASE + PAGE);
    for (unsigned i = 0; i < rounds; i++) {
        uint32_t got = read_signature(BASE + PAGE - 16, 32);

        if (check(got <= DMA_ERROR, "control is 0x%x", got)) {
            count[got]++;
        }
    }
    pairs = flip_end();
    check(count[0] && count[DMA_ERROR], "%u transfers, %u errors", count[0],
          count[DMA_ERROR]);
    fill(BASE + PAGE, 1, 5);
    host_verify(BASE + PAGE, 1, 5);
    check_dma(read_signature(BASE + PAGE, 16), 0, "in the end");
    step_end("%u transfers while the page flips %u times: each is done or a "
             "bus error (%u)", rounds, pairs, count[DMA_ERROR]);
}

/*
 * Port 0x7e tells kvmvapic where its option ROM is, by the place of the
 * instruction and an offset.  It reads the size of the ROM from there.
 */
static void vapic(void)
{
    static const uint8_t stub[] = { 0x66, 0xe7, 0x7e, 0xc3 };  /* out; ret */
    uint64_t code = 0x90000, rom = 0x9f000;
    long clobber;

    step_begin();
    for (unsigned i = 0; i < sizeof(stub); i++) {
        ((volatile uint8_t *)code)[i] = stub[i];
    }
    fill(rom, 1, 6);
    check_convert(rom, 1, true, 0);
    asm volatile("call *%1" : "=a"(clobber) : "r"(code), "0"(rom - code)
                 : "memory");
    verify(rom, 1, 6);
    check_convert(rom, 1, false, 0);
    host_verify(rom, 1, 6);
    step_end("an option ROM in a private page is none to kvmvapic");
}

static void fw_cfg(void)
{
    fw_cfg_to_memory();
    fw_cfg_from_memory();
    fw_cfg_flip(param("rounds", 2000));
}

/* --- the monitor ---------------------------------------------------------- */

#define FILE_NAME   "/tmp/saved"
#define QUOTED      "\"" FILE_NAME "\""      /* behind a number */
#define CANNOT      "Cannot access memory"

#define SHARED_SEED     21
#define PRIVATE_SEED    22

/* Does the file have the first word of the page, and is it deleted? */
static void check_file(const char *command, uint64_t gpa, uint64_t seed,
                       unsigned want)
{
    const char *a = ask("find " FILE_NAME " 0x%lx %lu", gpa, seed);

    check(word_number(a, "found", 99) == want, "the file of %s: %s", command,
          a);
}

/* xp, x, pmemsave and memsave of the first bytes of a page */
static void check_readable(uint64_t gpa, uint64_t seed)
{
    char text[32];
    const char *a;

    fmt(text, sizeof(text), "%lx", lab_pattern(seed, gpa));
    a = ask("hmp xp /1gx 0x%lx", gpa);
    check(str_contains(a, text), "xp: %s", a);
    a = ask("hmp x /1gx 0x%lx", gpa);
    check(str_contains(a, text), "x: %s", a);
    a = ask("hmp pmemsave 0x%lx 16 " QUOTED, gpa);
    check(!*a, "pmemsave: %s", a);
    check_file("pmemsave", gpa, seed, 1);
    a = ask("hmp memsave 0x%lx 16 " QUOTED, gpa);
    check(!*a, "memsave: %s", a);
    check_file("memsave", gpa, seed, 1);
}

static void check_refused(uint64_t gpa, uint64_t seed)
{
    const char *a;

    a = ask("hmp xp /1gx 0x%lx", gpa);
    check(str_contains(a, CANNOT), "xp: %s", a);
    a = ask("hmp x /1gx 0x%lx", gpa);
    check(str_contains(a, CANNOT), "x: %s", a);
    a = ask("hmp pmemsave 0x%lx 16 " QUOTED, gpa);
    check(str_contains(a, "private to the guest"), "pmemsave: %s", a);
    check_file("pmemsave", gpa, seed, 0);
    a = ask("hmp memsave 0x%lx 16 " QUOTED, gpa);
    check(str_contains(a, "Invalid addr"), "memsave: %s", a);
    check_file("memsave", gpa, seed, 0);
}

/* Until some commands were refused and some were not, and @rounds at least */
static void monitor_flip(unsigned rounds)
{
    unsigned refused = 0, sum = 0, pairs;
    char text[32];

    step_begin();
    /* Not lab_pattern(): a constant of the code would be in the dumps, too */
    fmt(text, sizeof(text), "%lx", load(BASE + PAGE));
    flip_begin(BASE + PAGE);
    for (unsigned i = 0; i < rounds ||
         (i < 20 * rounds && (!refused || refused == sum)); i++) {
        const char *a = ask("hmp xp /1gx 0x%lx", BASE + PAGE);
        bool cannot = str_contains(a, CANNOT);

        refused += cannot;
        check(cannot || str_contains(a, text), "xp: %s", a);
        a = ask("hmp pmemsave 0x%lx %lu " QUOTED, BASE, 2 * PAGE);
        cannot = str_contains(a, "private to the guest");
        refused += cannot;
        check(cannot || !*a, "pmemsave: %s", a);
        sum += 2;
    }
    pairs = flip_end();
    check(refused && refused < sum, "%u of %u commands were refused", refused,
          sum);
    check_readable(BASE + PAGE, PRIVATE_SEED);
    step_end("%u commands while the page flips %u times: %u refused", sum,
             pairs, refused);
}

static void monitor(void)
{
    step_begin();
    fill(BASE, 1, SHARED_SEED);
    fill(BASE + PAGE, 1, PRIVATE_SEED);
    check_readable(BASE, SHARED_SEED);
    check_convert(BASE + PAGE, 1, true, 0);
    check_refused(BASE + PAGE, PRIVATE_SEED);
    check_readable(BASE, SHARED_SEED);
    verify(BASE + PAGE, 1, PRIVATE_SEED);
    check_convert(BASE + PAGE, 1, false, 0);
    check_readable(BASE + PAGE, PRIVATE_SEED);
    step_end("xp, x, pmemsave and memsave say that a page is private");

    monitor_flip(param("rounds", 40));
}

/*
 * What is shared is in the file, what is private is not.  The words must be
 * nowhere else in memory: nothing but fill() and the request knows them.
 */
static void check_dump(const char *options)
{
    const char *a = ask("hmp dump-guest-memory %s" FILE_NAME, options);

    check(!*a, "dump-guest-memory: %s", a);
    a = ask("find " FILE_NAME " 0x%lx %u 0x%lx %u", BASE, SHARED_SEED,
            BASE + PAGE, PRIVATE_SEED);
    check(word_number(a, "found", 0) == LAB_PATTERN_WORDS,
          "not the shared page: %s", a);
    check(word_number(a, "other", 99) == 0, "private data: %s", a);
}

static void dump(void)
{
    unsigned rounds = param("rounds", 2);

    step_begin();
    fill(BASE, 1, SHARED_SEED);
    fill(BASE + PAGE, 1, PRIVATE_SEED);
    check_convert(BASE + PAGE, 1, true, 0);
    check_dump("");
    check_dump("-p ");
    step_end("a dump has the shared page and nothing of the private one");

    step_begin();
    flip_begin(BASE + 2 * PAGE);
    for (unsigned i = 0; i < rounds; i++) {
        check_dump("");
    }
    step_end("%u dumps while a page flips %u times", rounds, flip_end());

    step_begin();
    verify(BASE + PAGE, 1, PRIVATE_SEED);
    check_convert(BASE + PAGE, 1, false, 0);
    host_verify(BASE + PAGE, 1, PRIVATE_SEED);
    step_end("the private page has kept its data");
}

const PayloadTest tests_access[] = {
    { "fw-cfg", fw_cfg },
    { "vapic", vapic },
    { "monitor", monitor },
    { "dump", dump },
    { }
};
