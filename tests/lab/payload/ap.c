/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The other vCPUs; see payload.h.  Each runs one function at a time. */
#include "payload.h"

#define MSR_APIC_BASE       0x1b
#define APIC_BASE_X2APIC    0xc00       /* enabled, x2APIC mode */
#define MSR_X2APIC_ICR      0x830
#define ICR_TO_ID(id)       ((uint64_t)(id) << 32)
#define ICR_INIT            0x4500
#define ICR_SIPI            0x4600

void ap_main(unsigned id);

static volatile bool ap_alive[VCPUS_MAX];
static void (*volatile ap_work[VCPUS_MAX])(void);

_Static_assert(AP_STACKS + (VCPUS_MAX - 1) * AP_STACK_SIZE <= STACK_TOP - 0x8000,
               "the first vCPU's stack is 32 KiB");

void ap_main(unsigned id)
{
    idt_load();
    ap_alive[id] = true;
    for (;;) {
        if (ap_work[id]) {
            ap_work[id]();
            ap_work[id] = NULL;
        }
        relax();
    }
}

void ap_start(unsigned id)
{
    ap_alive[id] = false;
    ap_work[id] = NULL;
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_X2APIC);
    wrmsr(MSR_X2APIC_ICR, ICR_TO_ID(id) | ICR_INIT);
    wrmsr(MSR_X2APIC_ICR, ICR_TO_ID(id) | ICR_SIPI | AP_ENTRY >> 12);
    while (!ap_alive[id]) {
        relax();
    }
}

void ap_run(unsigned id, void (*fn)(void))
{
    ap_wait(id);
    ap_work[id] = fn;
}

unsigned vcpu_id(void)
{
    uint32_t a = 1, b, c = 0, d;

    asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return b >> 24;
}

bool ap_busy(unsigned id)
{
    return ap_work[id] != NULL;
}

void ap_wait(unsigned id)
{
    while (ap_busy(id)) {
        relax();
    }
}
