/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entry in 64-bit mode: IDT, then the test that the scenario names. */
#include "payload.h"

typedef struct __attribute__((packed)) Gate {
    uint16_t offset_low;
    uint16_t selector;
    uint8_t ist;
    uint8_t type;
    uint16_t offset_mid;
    uint32_t offset_high;
    uint32_t zero;
} Gate;

extern char exception_entries[];
void payload_main(void);

static Gate idt[32];

void idt_load(void)
{
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } pointer = { sizeof(idt) - 1, (uint64_t)idt };

    asm volatile("lidt %0" : : "m"(pointer));
}

static void idt_init(void)
{
    for (unsigned i = 0; i < 32; i++) {
        uint64_t entry = (uint64_t)exception_entries + 16 * i;

        idt[i] = (Gate) {
            .offset_low = entry,
            .selector = SEL_CODE64,
            .type = 0x8e,           /* present, 64-bit interrupt gate */
            .offset_mid = entry >> 16,
            .offset_high = entry >> 32,
        };
    }
    idt_load();
}

static bool same_word(const char *words, const char *name)
{
    while (*name && *words == *name) {
        words++;
        name++;
    }
    return !*name && (!*words || *words == ' ');
}

static bool run(const PayloadTest *t, const char *name)
{
    for (; t->name; t++) {
        if (same_word(name, t->name)) {
            t->run();
            return true;
        }
    }
    return false;
}

void payload_main(void)
{
    const char *name;

    idt_init();
    name = param_text("test", "?");
    if (!run(tests_convert, name) && !run(tests_busy, name) &&
        !run(tests_pending, name) && !run(tests_four, name) &&
        !run(tests_dual, name) &&
        !run(tests_monitor, name) && !run(tests_vfio, name) &&
        !run(tests_plug, name) &&
        !run(tests_access, name) && !run(tests_devices, name) &&
        !run(tests_soak, name) && !run(tests_backend, name) &&
        !run(tests_balloon, name) && !run(tests_libvirt, name) &&
        !run(tests_bench, name) &&
        !run(tests_cgs, name) && !run(tests_cgs_host, name) &&
        !run(tests_other, name) && !run(tests_demo, name)) {
        debug_puts("Bail out! the payload has no test called ");
        debug_puts(name);
        debug_puts("\n");
        quit(false);
    }
    quit(test_summary());
}
