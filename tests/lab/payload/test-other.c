/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Slot rebuilds, resets, backends that come and go, and the start-up check. */
#include "payload.h"

#define Q35_PAM1        0x91

/*
 * Writing the PAM registers makes QEMU delete and re-create the memory slots
 * below 1 MiB.  No page may change its state by that.
 */
static void pam(void)
{
    static const uint8_t values[] = { 0x00, 0x33, 0x11, 0x22, 0x30, 0x33 };
    uint64_t legacy = 0xd0000;
    uint64_t above = 1 * MIB;

    step_begin();
    set_pam(0x33);
    check(pci_read8(HOST_BRIDGE, Q35_PAM1) == 0x33, "PAM1 reads 0x%x",
          pci_read8(HOST_BRIDGE, Q35_PAM1));
    fill(legacy, 8, 8);
    fill(above, 8, 8);
    check_convert(legacy, 4, true, 0);
    carry(legacy, 4, 8);
    check_convert(above, 4, true, 0);
    carry(above, 4, 8);
    check_state(legacy, 8, "P4S4");
    check_state(above, 8, "P4S4");
    step_end("private pages below and above 1 MiB");

    step_begin();
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < sizeof(values); i++) {
            set_pam(values[i]);
            check_state(above, 8, "P4S4");
        }
        check_state(legacy, 8, "P4S4");
    }
    verify(legacy, 8, 8);
    verify(above, 8, 8);
    host_verify(legacy + 4 * PAGE, 4, 8);
    step_end("24 slot rebuilds changed no state and no data");

    step_begin();
    check_convert(legacy, 8, false, 0);
    carry(legacy, 4, 8);
    check_convert(above, 8, false, 0);
    carry(above, 4, 8);
    host_verify(legacy, 8, 8);
    host_verify(above, 8, 8);
    step_end("conversions still work after the rebuilds");
}

/*
 * RAM keeps its content over a reset of the machine, so a word in a page that
 * stays shared tells the second life from the first.  The firmware does not:
 * the guest can write to it, but each life starts with what the file has.
 */
static void reset(void)
{
    const uint64_t marker = 0x7265736574206d65;
    uint64_t life = 31 * MIB, gpa = 32 * MIB;
    uint64_t firmware = IMAGE_ROM + TD_MOVED;   /* nothing needs what is there */

    if (load(life) != marker) {
        store(life + 8, load(firmware));
        store(firmware, ~load(firmware));
        store(life + 16, load(firmware));
        fill(gpa, 512, 1);
        convert(gpa, 512, true);
        store(life, marker);
        outb(0xcf9, 0x06);
        for (;;) {
            asm volatile("pause");
        }
    }
    store(life, 0);

    step_begin();
    carry(gpa, 512, 1);
    check_state(gpa, 512, "S512");
    host_verify(gpa, 512, 1);
    step_end("after a reset all memory is shared again");

    step_begin();
    check(load(life + 16) == ~load(life + 8), "the firmware was not written");
    check(load(firmware) == load(life + 8), "the firmware has 0x%lx, not 0x%lx",
          load(firmware), load(life + 8));
    step_end("what the guest wrote to its firmware is gone after a reset");

    step_begin();
    check_convert(gpa, 512, true, 0);
    carry(gpa, 512, 1);
    check_state(gpa, 512, "P512");
    verify(gpa, 512, 1);
    step_end("and can be converted");
}

/*
 * Memory backends come and go.  The scenario runs QEMU with guard-malloc.so;
 * what is left to RCU comes later than the answer, so it gets some time.
 */
static void object_del(void)
{
    step_begin();
    for (unsigned i = 0; i < 4; i++) {
        const char *a = ask("hmp object_add memory-backend-ram,id=m,size=8M");

        check(!*a, "object_add: %s", a);
        a = ask("hmp object_del m");
        check(!*a, "object_del: %s", a);
    }
    ask("after 1000 hmp info status");
    ask("mark");
    check(word_number(ask("result"), "answered", 0), "the monitor is silent");
    check_convert(32 * MIB, 16, true, 0);
    fill(32 * MIB, 16, 1);
    verify(32 * MIB, 16, 1);
    step_end("backends are added and deleted, and nobody uses freed memory");
}

/* What can be chosen at start only is refused later, and not taken all the same */
static void option_late(void)
{
    const char *a;

    step_begin();
    a = ask("hmp qom-set /objects/cgs0 convert-in-place false");
    check(starts_with(a, "Error: "), "qom-set convert-in-place: %s", a);
    a = ask("hmp qom-get /objects/cgs0 convert-in-place");
    check(starts_with(a, "true"), "convert-in-place: %s", a);
    a = ask("hmp qom-set /objects/cgs0 initial-state private");
    check(starts_with(a, "Error: "), "qom-set initial-state: %s", a);
    a = ask("hmp qom-get /objects/cgs0 initial-state");
    check(starts_with(a, "\"shared\""), "initial-state: %s", a);
    step_end("options of the confidential guest cannot be changed later");
}

/* Without KVM: reset vector, long mode, fw_cfg, the line to gmem-lab. */
static void hello(void)
{
    step_begin();
    check(str_equal(ask("hello"), "hello"), "no hello from gmem-lab");
    step_end("the payload runs and gmem-lab answers");

    step_begin();
    fill(5120 * MIB, 4, 9);
    step_end("memory above 4 GiB is mapped");
}

/* A guest of any type and any QEMU: slots come and go, nothing is converted. */
static void ordinary(void)
{
    uint64_t gpa = 32 * MIB;

    step_begin();
    fill(gpa, 512, 1);
    host_verify(gpa, 512, 1);
    host_fill(gpa, 512, 2);
    verify(gpa, 512, 2);
    step_end("host and guest see the same memory");

    step_begin();
    set_pam(0x33);
    fill(0xd0000, 8, 3);
    for (unsigned value = 0; value < 0x40; value += 0x11) {
        set_pam(value);
        verify(gpa, 512, 2);
    }
    set_pam(0x33);
    verify(0xd0000, 8, 3);
    step_end("slot rebuilds");

    step_begin();
    for (unsigned i = 0; i < 2; i++) {
        const char *a = ask("hmp object_add memory-backend-ram,id=d%u,size=128M", i);

        check(!*a, "object_add: %s", a);
        a = ask("hmp device_add pc-dimm,id=dimm%u,memdev=d%u", i, i);
        check(!*a, "device_add: %s", a);
    }
    step_end("memory is plugged in");
}

/* A check that must fail, an exception that must be seen: tests of the lab. */
static void must_fail(void)
{
    step_begin();
    check_state(32 * MIB, 1, "P1");
    step_end("this line must be not ok");
}

static void must_fault(void)
{
    load((uint64_t)MAPPED_GIB * 1024 * MIB);
}

const PayloadTest tests_other[] = {
    { "pam", pam },
    { "reset", reset },
    { "object-del", object_del },
    { "option-late", option_late },
    { "hello", hello },
    { "ordinary", ordinary },
    { "must-fail", must_fail },
    { "must-fault", must_fault },
    { }
};
