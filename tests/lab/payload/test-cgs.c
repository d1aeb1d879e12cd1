/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest of type SEV-SNP or TDX, with personality.so under QEMU: what the
 * launch left in memory, pages that the guest accepts, conversions.
 *
 * Parameters: type=snp|tdx, dual=1, top (end of RAM), plain=1: a QEMU without
 * our patches.
 */
#include "cgs.h"

#define BASE            (32 * MIB)
#define SECRETS_KEY     0x20            /* VMPCK0 */

bool is_tdx(void)
{
    return starts_with(param_text("type", "?"), "tdx");
}

/* Ask the personality; see tests/lab/personality/run.c. */
static uint64_t operation(uint64_t op, uint64_t gpa, uint64_t npages,
                          uint64_t flags)
{
    asm volatile("outl %%eax, %%dx"
                 : "+a"(op)
                 : "b"(gpa), "c"(npages), "d"(PERSONALITY_PORT), "S"(flags)
                 : "memory");
    return op;
}

bool check_op(uint64_t op, uint64_t gpa, uint64_t npages, uint64_t flags,
              uint64_t want)
{
    uint64_t ret = operation(op, gpa, npages, flags);

    return check(ret == want, "operation %lu at gpa 0x%lx gave %lu, not %lu",
                 op, gpa, ret, want);
}

/* Every page's state, as the personality has seen QEMU set it */
bool check_pages(uint64_t gpa, uint64_t npages, uint64_t want)
{
    for (uint64_t i = 0; i < npages; i++) {
        uint64_t state = operation(OP_STATE, gpa + i * PAGE, 0, 0);

        if (!check(state == want, "gpa 0x%lx has state 0x%lx, not 0x%lx",
                   gpa + i * PAGE, state, want)) {
            return false;
        }
    }
    return true;
}

/* In place the kernel's own state can be seen, too. */
void check_kernel(uint64_t gpa, uint64_t npages, bool is_private)
{
    char want[24];

    if (!dual()) {
        fmt(want, sizeof(want), "%c%lu", is_private ? 'P' : 'S', npages);
        check_state(gpa, npages, want);
    }
}

static void who(void)
{
    uint64_t want = OP_WHO_MAGIC | (is_tdx() ? OP_WHO_TDX : 0) |
                    (dual() ? 0 : OP_WHO_IN_PLACE);
    uint64_t ret = operation(OP_WHO, 0, 0, 0);

    step_begin();
    check(ret == want, "the personality is 0x%lx, not 0x%lx", ret, want);
    step_end("a guest of type %s, %s", is_tdx() ? "TDX" : "SEV-SNP",
             dual() ? "dual-backed" : "in place");
}

/* --- what the launch left ------------------------------------------------- */

static void snp_pages(void)
{
    const uint8_t *secrets = (const uint8_t *)SNP_SECRETS;
    const uint32_t *cpuid = (const uint32_t *)SNP_CPUID;
    bool found = false;

    step_begin();
    for (unsigned i = 0; i < 32; i++) {
        check(secrets[SECRETS_KEY + i] == 0xa5, "key byte %u is 0x%x", i,
              secrets[SECRETS_KEY + i]);
    }
    step_end("the secrets page has the key");

    step_begin();
    check(cpuid[0] > 4 && cpuid[0] <= 64, "%u functions", cpuid[0]);
    for (unsigned i = 0; i < cpuid[0] && i < 64; i++) {
        const uint32_t *f = cpuid + 4 + 12 * i;
        uint32_t a = 0, b, c = 0, d;

        if (f[0] == 0) {
            asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
            found = f[6] == a && f[7] == b && f[8] == c && f[9] == d;
        }
    }
    check(found, "function 0 is not what CPUID says");
    step_end("the CPUID page has %u functions", cpuid[0]);
}

static void check_hob(void)
{
    const uint8_t *hob = (const uint8_t *)TD_HOB;
    uint64_t added = 0, unaccepted = 0;

    step_begin();
    check(*(uint16_t *)hob == 1, "the first HOB is of type %u",
          *(uint16_t *)hob);
    for (hob += *(uint16_t *)(hob + 2);
         hob < (const uint8_t *)TD_HOB + TD_HOB_SIZE &&
         *(uint16_t *)hob != 0xffff; hob += *(uint16_t *)(hob + 2)) {
        if (*(uint16_t *)hob == 3) {            /* resource descriptor */
            uint32_t type = *(uint32_t *)(hob + 24);
            uint64_t size = *(uint64_t *)(hob + 40);

            added += type == 0 ? size : 0;
            unaccepted += type == 7 ? size : 0;
        }
        if (!*(uint16_t *)(hob + 2)) {
            check(false, "a HOB without a length");
            break;
        }
    }
    check(added == WINDOW_END, "0x%lx bytes are added", added);
    check(added + unaccepted == param("top", 256 * MIB),
          "0x%lx bytes are not accepted yet", unaccepted);
    step_end("the TD HOB: 0x%lx bytes added, 0x%lx unaccepted", added,
             unaccepted);
}

static void launched(void)
{
    uint64_t all = STATE_PRIVATE | STATE_ADDED | STATE_ACCEPTED;

    if (is_tdx()) {
        check_hob();
    } else {
        snp_pages();
    }
    step_begin();
    check_pages(IMAGE_ROM, IMAGE_SIZE / PAGE, all);
    check_pages(0, WINDOW_END / PAGE, all);
    check_kernel(0, WINDOW_END / PAGE, true);
    for (uint64_t at = 0; is_tdx() && at < PAGE; at += 8) {
        check(load(IMAGE_ROM + TD_MOVED + at) == load(IMAGE_ROM + at),
              "gpa 0x%lx has not what the file has at 0x%lx",
              IMAGE_ROM + TD_MOVED + at, at);
    }
    step_end("the launch gave the image and the low window to the guest");

    step_begin();
    check_pages(BASE, 64, STATE_PRIVATE);
    check_kernel(BASE, 64, true);
    step_end("all other memory is private and not accepted");
}

/* --- pages ---------------------------------------------------------------- */

/* Accept, and see that nothing from before is there. */
void accept(uint64_t gpa, uint64_t npages)
{
    check_op(OP_TOUCH, gpa, 1, TOUCH_PRIVATE, OP_NOT_ACCEPTED);
    store(gpa, 0x1234567887654321);
    check_op(OP_ACCEPT, gpa, npages, 0, OP_OK);
    check(load(gpa) != 0x1234567887654321 && (!is_tdx() || load(gpa) == 0),
          "gpa 0x%lx holds 0x%lx after it was accepted", gpa, load(gpa));
    check_op(OP_ACCEPT, gpa, npages, 0, OP_ALREADY);
    check_op(OP_TOUCH, gpa, npages, TOUCH_PRIVATE, OP_OK);
}

/* From private to shared and back, as a guest's kernel does it */
void share_and_back(uint64_t gpa, uint64_t npages, const char *what)
{
    uint64_t seed = gpa >> 12;

    step_begin();
    check_pages(gpa, npages, STATE_PRIVATE);
    accept(gpa, npages);
    fill(gpa, npages, seed);
    verify(gpa, npages, seed);

    check_convert(gpa, npages, false, 0);
    check_pages(gpa, npages, 0);
    check_kernel(gpa, npages, false);
    check(load(gpa) != lab_pattern(seed, gpa), "private data is shared");
    host_fill(gpa, npages, seed + 1);
    verify(gpa, npages, seed + 1);
    fill(gpa, npages, seed + 2);
    host_verify(gpa, npages, seed + 2);

    check_convert(gpa, npages, true, 0);
    check_pages(gpa, npages, STATE_PRIVATE);
    check_kernel(gpa, npages, true);
    accept(gpa, npages);
    check(load(gpa) != lab_pattern(seed + 2, gpa), "shared data is private");
    fill(gpa, npages, seed + 3);
    verify(gpa, npages, seed + 3);
    step_end("%s (%lu pages at gpa 0x%lx): accepted, shared, private, "
             "accepted", what, npages, gpa);
}

/* An access says by itself what it wants. */
static void implicit(uint64_t gpa)
{
    step_begin();
    check_op(OP_TOUCH, gpa, 2, 0, OP_OK);
    check_pages(gpa, 2, 0);
    check_kernel(gpa, 2, false);
    host_fill(gpa, 2, 77);
    verify(gpa, 2, 77);
    check_op(OP_TOUCH, gpa, 2, 0, OP_OK);
    check_op(OP_ACCEPT, gpa, 2, 0, OP_OK);
    check_pages(gpa, 2, STATE_PRIVATE | STATE_ACCEPTED);
    check_kernel(gpa, 2, true);
    step_end("an access that disagrees with the state converts the page");
}

static void bad(void)
{
    uint64_t top = param("top", 256 * MIB);

    step_begin();
    check_convert(top, 1, true, EINVAL);
    check_convert(1ul << 45, 1, true, EINVAL);
    check_convert(top - 4 * PAGE, 8, true, EINVAL);
    check_pages(top - 4 * PAGE, 4, STATE_PRIVATE);
    step_end("requests that cannot be met are EINVAL");
}

static void cgs(void)
{
    who();
    launched();
    share_and_back(BASE, 1, "one page");
    share_and_back(BASE + 5 * PAGE, 7, "an odd range");
    share_and_back(BASE + 2 * MIB, 512, "2 MiB");
    /* TDX tells the VMM 2 MiB at a time. */
    share_and_back(BASE + 8 * MIB - 3 * PAGE, 1100, "more than 4 MiB");
    implicit(BASE + 32 * MIB);
    /* Plain QEMU ends when it is asked for what cannot be. */
    if (!param("plain", 0)) {
        bad();
    }
    share_and_back(param("top", 256 * MIB) - 2 * PAGE, 2, "the last pages");
}

const PayloadTest tests_cgs[] = {
    { "cgs", cgs },
    { }
};
