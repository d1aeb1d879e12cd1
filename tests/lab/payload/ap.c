/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The second vCPU; see payload.h.  It runs one function at a time. */
#include "payload.h"

#define MSR_APIC_BASE       0x1b
#define APIC_BASE_X2APIC    0xc00       /* enabled, x2APIC mode */
#define MSR_X2APIC_ICR      0x830
#define ICR_TO_ID1          (1ul << 32)
#define ICR_INIT            0x4500
#define ICR_SIPI            0x4600

void ap_main(void);

static volatile bool ap_alive;
static void (*volatile ap_work)(void);

static uint64_t rdmsr(uint32_t msr)
{
    uint32_t lo, hi;

    asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
    return (uint64_t)hi << 32 | lo;
}

static void wrmsr(uint32_t msr, uint64_t v)
{
    asm volatile("wrmsr" : : "c"(msr), "a"((uint32_t)v),
                 "d"((uint32_t)(v >> 32)) : "memory");
}

void ap_main(void)
{
    idt_load();
    ap_alive = true;
    for (;;) {
        if (ap_work) {
            ap_work();
            ap_work = NULL;
        }
        relax();
    }
}

void ap_start(void)
{
    ap_alive = false;
    ap_work = NULL;
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_X2APIC);
    wrmsr(MSR_X2APIC_ICR, ICR_TO_ID1 | ICR_INIT);
    wrmsr(MSR_X2APIC_ICR, ICR_TO_ID1 | ICR_SIPI | AP_ENTRY >> 12);
    while (!ap_alive) {
        relax();
    }
}

void ap_run(void (*fn)(void))
{
    ap_wait();
    ap_work = fn;
}

bool ap_busy(void)
{
    return ap_work != NULL;
}

void ap_wait(void)
{
    while (ap_busy()) {
        relax();
    }
}
