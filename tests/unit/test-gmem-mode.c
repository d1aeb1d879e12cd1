/*
 * Description: which way of tracking private memory a virtual machine gets:
 * every row of the table, with what is told to the user.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "system/gmem-mode.h"

#define AUTO GMEM_WISH_AUTO
#define ON   GMEM_WISH_ON
#define OFF  GMEM_WISH_OFF

#define NONE     KVM_GMEM_NONE
#define VM_ATTRS KVM_GMEM_VM_ATTRIBUTES
#define IN_PLACE KVM_GMEM_IN_PLACE

/* What a kernel says; both is for a kernel that is yet to come */
typedef enum Kernel { K_IN_PLACE, K_VM_ATTRS, K_NEITHER, K_BOTH } Kernel;

typedef struct Row {
    Kernel kernel;
    GmemWish object;
    KvmGmemMode mode;
    const char *why;            /* NULL: refused */
    const char *error;
} Row;

static GmemModeInput input(Kernel kernel)
{
    return (GmemModeInput) {
        .type = "cgs",
        .has_guest_memfd = true,
        .can_in_place = true,
        .in_place = kernel == K_IN_PLACE || kernel == K_BOTH,
        .vm_attributes = kernel == K_VM_ATTRS || kernel == K_BOTH,
    };
}

static void check(const GmemModeInput *in, KvmGmemMode mode, const char *why,
                  const char *error)
{
    g_autofree char *got_why = NULL;
    g_autofree char *got_error = NULL;

    g_assert_cmpint(gmem_choose_mode(in, &got_why, &got_error), ==, mode);
    g_assert_cmpstr(got_error, ==, error);
    g_assert_nonnull(got_why);
    if (why) {
        g_assert_cmpstr(got_why, ==, why);
    }
}

#define PER_GUEST_MEMFD "KVM tracks private memory per guest_memfd"
#define PER_VM "KVM tracks private memory per VM"
#define NOTHING "KVM offers no private memory to this VM"
#define NEEDS(who) \
    who ": convert-in-place=on needs a host kernel with in-place conversion " \
    "of guest_memfd; boot it with kvm.gmem_in_place_conversion=1 if it has " \
    "the parameter"
#define ONLY(who) \
    who ": convert-in-place=off, but this host kernel tracks private memory " \
    "per guest_memfd only; boot it with kvm.gmem_in_place_conversion=0 or " \
    "drop the option"
#define CANNOT \
    "cgs does not support in-place conversion, and this host kernel tracks " \
    "private memory per guest_memfd only; boot it with " \
    "kvm.gmem_in_place_conversion=0"

/* Rows: what the kernel offers; columns: auto, on, off */
static void test_table(void)
{
    static const Row rows[] = {
        { K_IN_PLACE, AUTO, IN_PLACE, PER_GUEST_MEMFD },
        { K_IN_PLACE, ON, IN_PLACE,
          "convert-in-place=on, and " PER_GUEST_MEMFD },
        { K_IN_PLACE, OFF, NONE, NULL, ONLY("cgs") },
        { K_VM_ATTRS, AUTO, VM_ATTRS, PER_VM },
        { K_VM_ATTRS, ON, NONE, NULL,
          NEEDS("cgs") ", or use convert-in-place=off" },
        { K_VM_ATTRS, OFF, VM_ATTRS, "convert-in-place=off" },
        { K_NEITHER, AUTO, NONE, NOTHING },
        { K_NEITHER, ON, NONE, NULL, NEEDS("cgs") },
        { K_NEITHER, OFF, NONE, NOTHING },
        { K_BOTH, AUTO, IN_PLACE, PER_GUEST_MEMFD },
        { K_BOTH, ON, IN_PLACE, "convert-in-place=on, and " PER_GUEST_MEMFD },
        { K_BOTH, OFF, VM_ATTRS, "convert-in-place=off" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        GmemModeInput in = input(rows[i].kernel);

        in.object = rows[i].object;
        g_test_message("row %zu", i);
        check(&in, rows[i].mode, rows[i].why, rows[i].error);
    }
}

/* The machine's wish, where the object has none; it is named then */
static void test_machine(void)
{
    static const Row rows[] = {
        { K_IN_PLACE, ON, IN_PLACE,
          "convert-in-place=on of the machine, and " PER_GUEST_MEMFD },
        { K_IN_PLACE, OFF, NONE, NULL, ONLY("-machine") },
        { K_VM_ATTRS, ON, NONE, NULL,
          NEEDS("-machine") ", or use convert-in-place=off" },
        { K_VM_ATTRS, OFF, VM_ATTRS, "convert-in-place=off of the machine" },
        { K_NEITHER, ON, NONE, NULL, NEEDS("-machine") },
        { K_NEITHER, OFF, NONE, NOTHING },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        GmemModeInput in = input(rows[i].kernel);

        in.machine = rows[i].object;
        g_test_message("row %zu", i);
        check(&in, rows[i].mode, rows[i].why, rows[i].error);
    }
}

static void test_object_wins(void)
{
    GmemModeInput in = input(K_IN_PLACE);

    in.object = ON;
    in.machine = OFF;
    check(&in, IN_PLACE, "convert-in-place=on, and " PER_GUEST_MEMFD, NULL);

    in = input(K_VM_ATTRS);
    in.object = OFF;
    in.machine = ON;
    check(&in, VM_ATTRS, "convert-in-place=off", NULL);

    in = input(K_IN_PLACE);
    in.object = OFF;
    in.machine = ON;
    check(&in, NONE, NULL, ONLY("cgs"));
}

/* A type whose launch cannot work on in-place memory */
static void test_cannot(void)
{
    static const Row rows[] = {
        { K_IN_PLACE, AUTO, NONE, NULL, CANNOT },
        { K_IN_PLACE, ON, NONE, NULL,
          "cgs: convert-in-place=on, but cgs does not support in-place "
          "conversion; drop the option, and boot the host with "
          "kvm.gmem_in_place_conversion=0" },
        { K_IN_PLACE, OFF, NONE, NULL, CANNOT },
        { K_VM_ATTRS, AUTO, VM_ATTRS, PER_VM },
        { K_VM_ATTRS, ON, NONE, NULL,
          NEEDS("cgs") ", or use convert-in-place=off" },
        { K_VM_ATTRS, OFF, VM_ATTRS, "convert-in-place=off" },
        { K_NEITHER, AUTO, NONE, NOTHING },
        { K_BOTH, AUTO, VM_ATTRS, PER_VM },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        GmemModeInput in = input(rows[i].kernel);

        in.object = rows[i].object;
        in.can_in_place = false;
        g_test_message("row %zu", i);
        check(&in, rows[i].mode, rows[i].why, rows[i].error);
    }
}

/* sev-guest: nothing to track, whatever the kernel does */
static void test_no_guest_memfd(void)
{
    GmemModeInput in = input(K_IN_PLACE);

    in.has_guest_memfd = false;
    in.can_in_place = false;
    check(&in, NONE, "cgs has no guest_memfd", NULL);
    in.machine = OFF;
    check(&in, NONE, "cgs has no guest_memfd", NULL);
    in.machine = ON;
    check(&in, NONE, NULL, "-machine: convert-in-place=on, but cgs has no "
          "guest_memfd; drop the option");
}

/* What a scratch page has shown goes before KVM's word, and it is said */
static void test_proof(void)
{
    GmemModeInput in = input(K_IN_PLACE);

    in.proof = KVM_GMEM_PROVEN;
    check(&in, IN_PLACE, PER_GUEST_MEMFD, NULL);

    in.proof = KVM_GMEM_DISPROVEN;
    check(&in, NONE, NOTHING "; KVM says that it can convert in place, but a "
          "scratch page could not be converted", NULL);
    in.object = ON;
    check(&in, NONE, NULL, NEEDS("cgs"));

    in = input(K_NEITHER);
    in.proof = KVM_GMEM_PROVEN;
    check(&in, IN_PLACE, PER_GUEST_MEMFD "; KVM does not say that it can "
          "convert in place, but a scratch page was converted", NULL);
    in.object = ON;
    check(&in, IN_PLACE, "convert-in-place=on, and " PER_GUEST_MEMFD "; KVM "
          "does not say that it can convert in place, but a scratch page was "
          "converted", NULL);
    in.object = OFF;
    check(&in, NONE, NULL, ONLY("cgs"));

    in = input(K_BOTH);
    in.proof = KVM_GMEM_DISPROVEN;
    check(&in, VM_ATTRS, PER_VM "; KVM says that it can convert in place, but "
          "a scratch page could not be converted", NULL);

    /* As on a host without the series: nothing is to change */
    in = input(K_VM_ATTRS);
    in.proof = KVM_GMEM_DISPROVEN;
    check(&in, VM_ATTRS, PER_VM, NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem-mode/table", test_table);
    g_test_add_func("/gmem-mode/machine", test_machine);
    g_test_add_func("/gmem-mode/object-wins", test_object_wins);
    g_test_add_func("/gmem-mode/cannot", test_cannot);
    g_test_add_func("/gmem-mode/no-guest-memfd", test_no_guest_memfd);
    g_test_add_func("/gmem-mode/proof", test_proof);
    return g_test_run();
}
