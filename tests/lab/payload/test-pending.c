/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests that stay pending, and two vCPUs that convert at the same time. */
#include "payload.h"

#define BASE        (64 * MIB)
#define LIFE        (31 * MIB)      /* tells the second life from the first */
#define MARKER      0x6f6e652d6c696665ul

/* What the second vCPU is to do, and what came of it */
static volatile struct {
    uint64_t gpa;
    uint64_t npages;
    bool to_private;
    unsigned rounds;
    long ret;           /* the last answer that was not 0, or 0 */
    bool stop;
} ap;

static void ap_convert(void)
{
    ap.ret = convert(ap.gpa, ap.npages, ap.to_private);
}

static void ap_begin(uint64_t gpa, uint64_t npages, bool to_private)
{
    ap.gpa = gpa;
    ap.npages = npages;
    ap.to_private = to_private;
    ap.ret = -1;
    ap_run(1, ap_convert);
}

/* Until the kernel has refused a call since the mark: the AP has to wait */
static void wait_for_busy(void)
{
    while (word_number(ask("since"), "eagain", 0) == 0) {
        relax();
    }
}

/*
 * The machine is reset while a request is pending.  KVM completes a hypercall
 * on the next entry by writing RAX and stepping over an instruction: neither
 * must happen to the vCPU that was reset.
 */
static void reset_while_busy(void)
{
    uint32_t eax = load(RESET_RECORD);
    uint32_t skipped = load(RESET_RECORD) >> 32;
    const char *a;

    if (load(LIFE) != MARKER) {
        fill(BASE, 512, 1);
        store(LIFE, MARKER);
        ask("pin 0x%lx 1 hold", BASE + 77 * PAGE);
        ask("after busy hmp system_reset");
        ask("mark");
        convert(BASE, 512, true);
        step_begin();
        check(false, "the conversion ended although the page is held");
        step_end("reset while a page is busy");
        return;
    }
    store(LIFE, 0);

    step_begin();
    check(eax == 0, "EAX was 0x%x at the first instruction", eax);
    check(skipped == 0, "the first instruction was stepped over");
    a = ask("result");
    check(word_number(a, "answered", 0), "system_reset: %s", a);
    check(number(ask("count kvm_gmem_drop")) == 1,
          "the pending request was not dropped");
    step_end("RIP and RAX have their reset values although a request was "
             "pending");

    step_begin();
    check_state(BASE, 512, "S512");
    host_verify(BASE, 512, 1);
    ask("unpin");
    check_convert(BASE, 512, true, 0);
    check_state(BASE, 512, "P512");
    verify(BASE, 512, 1);
    step_end("the same range can be converted afterwards");
}

#define LPC             (0x1f << 3)
#define LPC_PMBASE      0x40
#define LPC_ACPI_CNTL   0x44
#define LPC_ACPI_EN     0x80
#define PMBASE          0x600
#define PM1_CNT         (PMBASE + 4)
#define PM1_SUSPEND     (1 << 13 | 1 << 10)

/* Suspend to RAM.  It goes on with a new life of this payload. */
static void suspend(void)
{
    pci_write32(LPC, LPC_PMBASE, PMBASE | 1);
    pci_write8(LPC, LPC_ACPI_CNTL, LPC_ACPI_EN);
    outw(PM1_CNT, PM1_SUSPEND);
    for (;;) {
        relax();
    }
}

/* A guest that wakes up resets its devices, not its memory. */
static void suspend_to_ram(void)
{
    bool private = param("private", 0);
    const char *want = private ? "S256P256" : "P256S256";

    if (load(LIFE) != MARKER) {
        fill(BASE, 512, 1);
        check_convert(BASE, 256, !private, 0);
        check_state(BASE, 512, want);
        store(LIFE, MARKER);
        ask("after 500 hmp system_wakeup");
        ask("mark");
        suspend();
    }
    store(LIFE, 0);

    step_begin();
    check_state(BASE, 512, want);
    verify(BASE, 512, 1);
    check_convert(BASE, 512, true, 0);
    verify(BASE, 512, 1);
    check_convert(BASE, 512, false, 0);
    host_verify(BASE, 512, 1);
    step_end("after suspend and wakeup each page is in the state that it was in");
}

/* Where a debugger sends the vCPU; its first instruction counts. */
void jump_target(void);
void jump_landed(void);
uint64_t jump_rax;

asm(".pushsection .text\n"
    ".globl jump_target\n"
    "jump_target:\n"
    "    mov %rax, jump_rax\n"
    "    jmp jump_landed\n"
    ".popsection\n");

#define JUMP_RAX        0x6a756d70ul

void jump_landed(void)
{
    const char *a;

    step_begin();
    check(jump_rax == JUMP_RAX, "RAX was 0x%lx, or the first instruction was "
          "stepped over", jump_rax);
    a = ask("result");
    check(str_equal(word_value(a, "error"), "none"), "%s", a);
    check(number(ask("count kvm_gmem_drop")) == 1,
          "the pending request was not dropped");
    step_end("registers that a debugger writes while a request is pending are "
             "what the vCPU goes on with");

    step_begin();
    check_state(BASE, 512, "P77S1P434");
    ask("unpin");
    check_convert(BASE, 512, true, 0);
    check_state(BASE, 512, "P512");
    verify(BASE, 512, 1);
    step_end("and the range can be converted afterwards");
    quit(test_summary());
}

static void jump_while_busy(void)
{
    fill(BASE, 512, 1);
    ask("pin 0x%lx 1 hold", BASE + 77 * PAGE);
    ask("after busy jump 0x%lx 0x%lx", JUMP_RAX, (uint64_t)jump_target);
    ask("mark");
    convert(BASE, 512, true);
    step_begin();
    check(false, "the conversion ended although the page is held");
    step_end("a debugger sends the vCPU elsewhere");
}

/* The modern CPU hotplug registers of q35 */
#define CPU_SELECTOR    0xcd8
#define CPU_FLAGS       0xcdc
#define CPU_EJECT       0x08

static void eject_ap(void)
{
    outl(CPU_SELECTOR, 0);      /* the first write chooses this interface */
    outl(CPU_SELECTOR, 1);
    outb(CPU_FLAGS, CPU_EJECT);
}

/* Unplugging takes the vCPU's request with it, and the vCPU can come back */
static void unplug_while_busy(void)
{
    const char *cpus;
    unsigned n;

    ap_start(1);
    step_begin();
    fill(BASE, 512, 1);
    ask("pin 0x%lx 1 hold", BASE + 77 * PAGE);
    ask("mark");
    ap_begin(BASE, 512, true);
    wait_for_busy();
    check(ap_busy(1), "the request ended although a page is held");
    eject_ap();
    cpus = ask("hmp info cpus");
    for (n = 0; *cpus; cpus++) {
        n += *cpus == '#';
    }
    check(n == 1, "there are %u vCPUs after the unplug", n);
    check(number(ask("count kvm_gmem_drop")) == 1,
          "the pending request was not dropped");
    check_state(BASE, 512, "P77S1P434");
    ask("unpin");
    check_convert(BASE, 512, false, 0);
    host_verify(BASE, 512, 1);
    step_end("a vCPU with a pending request is unplugged; nobody waits for it");

    step_begin();
    ask("hmp device_add host-x86_64-cpu,id=again,socket-id=0,core-id=1,"
        "thread-id=0");
    ap_start(1);
    ap_begin(BASE, 512, true);
    ap_wait(1);
    check(ap.ret == 0, "the vCPU that came back was answered %ld", ap.ret);
    check_state(BASE, 512, "P512");
    verify(BASE, 512, 1);
    step_end("plugged in again it starts where it is told to, and converts");
}

/*
 * The AP's request waits for a page.  The BSP's are carried out meanwhile where
 * they do not overlap, and come second where they do.
 */
static void two_pending(void)
{
    uint64_t ms = param("hold", 1000);
    uint64_t took;

    ap_start(1);
    step_begin();
    fill(BASE, 1024, 2);
    ask("pin 0x%lx 1 hold", BASE + 77 * PAGE);
    ask("mark");
    ap_begin(BASE, 512, true);
    wait_for_busy();
    check_convert(BASE + 512 * PAGE, 512, true, 0);
    check_state(BASE, 1024, "P77S1P946");
    check(ap_busy(1), "the AP's request ended although a page is held");
    step_end("a busy page holds up no request but those that overlap");

    step_begin();
    ask("after %lu unpin", ms);
    ask("mark");
    check_convert(BASE, 512, false, 0);
    took = word_number(ask("since"), "ms", 0);
    check(took >= ms, "the overlapping request was answered after %lu ms", took);
    ap_wait(1);
    check(ap.ret == 0, "the AP was answered %ld", ap.ret);
    check_state(BASE, 1024, "S512P512");
    host_verify(BASE, 512, 2);
    verify(BASE + 512 * PAGE, 512, 2);
    step_end("those come second: held %lu ms more, answered after %lu ms", ms,
             took);
}

#define MSR_HV_SCONTROL     0x40000080      /* Hyper-V's interrupt controller */

/*
 * QEMU sets that controller up while no vCPU runs (start_exclusive()), so it has
 * to get the AP out of a request that waits for a page.
 */
static void exclusive_while_busy(void)
{
    const unsigned n = 4;
    uint64_t calls = 0, before;

    ap_start(1);
    step_begin();
    fill(BASE, 512, 2);
    ask("pin 0x%lx 1 hold", BASE + 77 * PAGE);
    ask("mark");
    ap_begin(BASE, 512, true);
    for (unsigned i = 1; i <= n; i++) {
        before = calls;
        while (calls == before && ap_busy(1)) {
            calls = word_number(ask("since"), "calls", 0);
        }
        wrmsr(MSR_HV_SCONTROL, i % 2);
        relax();
        check(ap_busy(1), "the AP's request ended although a page is held");
    }
    before = number(ask("count kvm_gmem_pending"));
    check(before >= n, "the AP's request was interrupted %lu times", before);
    ask("unpin");
    ap_wait(1);
    check(ap.ret == 0, "the AP was answered %ld", ap.ret);
    check_state(BASE, 512, "P512");
    verify(BASE, 512, 2);
    step_end("%u times no vCPU may run while a request waits for a page; then it "
             "ended", n);
}

static void ap_toggle(void)
{
    bool to_private = ap.to_private;

    ap.ret = 0;
    for (unsigned i = 0; i < ap.rounds && !ap.ret; i++) {
        ap.ret = convert(ap.gpa, ap.npages, to_private);
        to_private = !to_private;
    }
}

static void begin_toggle(uint64_t gpa, uint64_t npages, bool to_private,
                         unsigned rounds)
{
    ap.gpa = gpa;
    ap.npages = npages;
    ap.to_private = to_private;
    ap.rounds = rounds;
    ap_run(1, ap_toggle);
}

/* Parameter rounds: how often two vCPUs meet */
static unsigned rounds(void)
{
    return param("rounds", 16);
}

/* Each has 32 pages of its own; side by side in one word of any bitmap */
static void disjoint(void)
{
    unsigned n = rounds();

    step_begin();
    fill(BASE, 64, 3);
    begin_toggle(BASE + 32 * PAGE, 32, true, 20 * n);
    for (unsigned i = 0; i < n; i++) {
        check_convert(BASE, 32, true, 0);
        check_state(BASE, 32, "P32");
        check_convert(BASE, 32, false, 0);
        check_state(BASE, 32, "S32");
    }
    ap_wait(1);
    check(ap.ret == 0, "the AP was answered %ld", ap.ret);
    carry(BASE, 64, 3);
    check_state(BASE, 64, "S64");
    host_verify(BASE, 64, 3);
    step_end("disjoint ranges: each vCPU finds its own as it left it");
}

/* @shift: pages by which the BSP's range lies behind the AP's */
static void overlapping(uint64_t shift, const char *what, const char *ap_last,
                        const char *bsp_last)
{
    unsigned first = 0, n = rounds();

    step_begin();
    fill(BASE, 64 + shift, 4);
    for (unsigned i = 0; i < n; i++) {
        const char *a;

        check_convert(BASE, 64, false, 0);
        check_convert(BASE + shift * PAGE, 64, true, 0);
        check_convert(BASE, 64, i % 2, 0);
        ap_begin(BASE, 64, true);
        check_convert(BASE + shift * PAGE, 64, false, 0);
        ap_wait(1);
        check(ap.ret == 0, "the AP was answered %ld", ap.ret);
        a = state_of(BASE, 64 + shift);
        first += str_equal(a, bsp_last);
        check(str_equal(a, ap_last) || str_equal(a, bsp_last),
              "AP to private, BSP to shared left %s, neither %s nor %s", a,
              ap_last, bsp_last);
    }
    begin_toggle(BASE, 64, true, 10 * n);
    for (unsigned i = 0; i < 5 * n; i++) {
        check_convert(BASE + shift * PAGE, 64, true, 0);
        check_convert(BASE + shift * PAGE, 64, false, 0);
    }
    ap_wait(1);
    check(ap.ret == 0, "the AP was answered %ld", ap.ret);
    carry(BASE, 64 + shift, 4);
    check_state(BASE, 64 + shift, shift ? "S80" : "S64");
    host_verify(BASE, 64 + shift, 4);
    step_end("%s in opposite directions: always as if one came after the other "
             "(BSP last in %u of %u)", what, first, n);
}

static void two_vcpus(void)
{
    ap_start(1);
    disjoint();
    overlapping(0, "the same range", "P64", "S64");
    overlapping(16, "overlapping ranges", "P64S16", "P16S64");
}

/*
 * Slots are taken away and made anew while the AP converts what they show.  QEMU
 * has to keep its vCPUs out of KVM for that, and conversions out of the way.
 */
static void pam_while_converting(void)
{
    static const uint8_t values[] = { 0x00, 0x33, 0x11, 0x33 };
    const uint64_t legacy = 0xd0000;
    unsigned n = rounds(), rebuilds = 0;

    ap_start(1);
    step_begin();
    set_pam(0x33);
    fill(legacy, 8, 6);
    check_convert(legacy, 4, true, 0);
    carry(legacy, 4, 6);
    for (unsigned i = 0; i < n; i++) {
        bool to_private = i % 2;

        begin_toggle(BASE, 64, to_private, 21);
        while (ap_busy(1)) {
            set_pam(values[rebuilds++ % sizeof(values)]);
        }
        check(ap.ret == 0, "the AP was answered %ld", ap.ret);
        check_state(BASE, 64, to_private ? "P64" : "S64");
    }
    set_pam(0x33);
    check_state(legacy, 8, "P4S4");
    verify(legacy, 8, 6);
    step_end("%u x 7 PAM writes while another vCPU made %u conversions: each "
             "page as it was asked for", rebuilds, 21 * n);
}

static void ap_touch(void)
{
    while (!ap.stop) {
        for (uint64_t i = 0; i < 16; i++) {
            store(BASE + i * PAGE, i);
        }
        relax();
    }
}

/*
 * The AP writes to pages that the BSP converts.  Now and then KVM leaves the
 * guest with KVM_EXIT_MEMORY_FAULT and the state of a moment ago.  Converting
 * then would undo what the BSP was told is done.
 */
static void stale_faults(void)
{
    uint64_t want = param("faults", 20);
    uint64_t faults = 0, requests = 0, n;

    ap_start(1);
    step_begin();
    ask("mark");
    ap.stop = false;
    ap_run(1, ap_touch);
    while (faults < want) {
        for (unsigned i = 0; i < 50; i++) {
            check_convert(BASE, 16, true, 0);
            check_convert(BASE, 16, false, 0);
        }
        check_convert(BASE, 16, true, 0);
        check_state(BASE, 16, "P16");
        check_convert(BASE, 16, false, 0);
        check_state(BASE, 16, "S16");
        requests += 102;
        faults = number(ask("count kvm_memory_fault"));
        n = number(ask("count kvm_gmem_convert"));
        if (!check(n == requests, "%lu requests of the guest, but QEMU carried "
                   "out %lu", requests, n)) {
            break;
        }
    }
    ap.stop = true;
    ap_wait(1);
    step_end("%lu memory faults that raced with %lu conversions: none was "
             "taken for a request", faults, requests);
}

const PayloadTest tests_pending[] = {
    { "reset-while-busy", reset_while_busy },
    { "unplug-while-busy", unplug_while_busy },
    { "jump-while-busy", jump_while_busy },
    { "exclusive-while-busy", exclusive_while_busy },
    { "two-pending", two_pending },
    { "two-vcpus", two_vcpus },
    { "pam-while-converting", pam_while_converting },
    { "stale-faults", stale_faults },
    { "suspend-to-ram", suspend_to_ram },
    { }
};
