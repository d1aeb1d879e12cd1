/*
 * QTest testcase for private memory of confidential guests (guest_memfd)
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: modes, query and options with KVM.  What the KVM of this host
 * can do is found out here, without QEMU's help, so that a wrong choice of
 * QEMU's shows.
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <linux/kvm.h>
#include "libqtest.h"
#include "qemu/bitops.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "guest-memfd-test.h"

#define RAM_SIZE (64ULL * 1024 * 1024)

/* --- this host ------------------------------------------------------------ */

/**
 * HostKvm: what the KVM of this host offers to a software-protected VM
 *
 * @usable: /dev/kvm can be opened and is KVM
 * @vm_type: there are software-protected VMs
 * @in_place: private memory is tracked per guest_memfd
 * @vm_attributes: private memory is tracked per VM
 */
typedef struct HostKvm {
    bool usable;
    bool vm_type;
    bool in_place;
    bool vm_attributes;
} HostKvm;

static HostKvm host;
/* An ordinary VM can have mappable guest_memfds. */
static bool host_ordinary_mmap;
static char *firmware;

static void probe_vm(int kvm)
{
    const uint64_t flags = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED;
    int vm = ioctl(kvm, KVM_CREATE_VM, KVM_X86_SW_PROTECTED_VM);

    if (vm < 0) {
        return;
    }
    host.vm_type = true;
    host.in_place =
        (MAX(0, ioctl(vm, KVM_CHECK_EXTENSION,
                      KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES)) &
         KVM_MEMORY_ATTRIBUTE_PRIVATE) &&
        (MAX(0, ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_GUEST_MEMFD_FLAGS)) &
         flags) == flags;
    host.vm_attributes =
        MAX(0, ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_MEMORY_ATTRIBUTES)) &
        KVM_MEMORY_ATTRIBUTE_PRIVATE;
    close(vm);
}

static void probe_ordinary(int kvm)
{
    const int flags = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED;
    int vm = ioctl(kvm, KVM_CREATE_VM, KVM_X86_DEFAULT_VM);

    if (vm >= 0) {
        host_ordinary_mmap = (MAX(0, ioctl(vm, KVM_CHECK_EXTENSION,
                                           KVM_CAP_GUEST_MEMFD_FLAGS)) &
                              flags) == flags;
        close(vm);
    }
}

static void probe_host(void)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int types;

    if (kvm < 0) {
        return;
    }
    if (ioctl(kvm, KVM_GET_API_VERSION, 0) == KVM_API_VERSION) {
        host.usable = qtest_has_accel("kvm");
        probe_ordinary(kvm);
        types = ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_VM_TYPES);
        if (types > 0 && (types & BIT(KVM_X86_SW_PROTECTED_VM))) {
            probe_vm(kvm);
        }
    }
    close(kvm);
}

static bool need_kvm(void)
{
    if (!host.usable) {
        g_test_skip("no KVM in this QEMU, or /dev/kvm cannot be used");
    }
    return host.usable;
}

static bool need_private_memory(void)
{
    if (!need_kvm()) {
        return false;
    }
    if (!host.vm_type) {
        g_test_skip("this KVM has no VMs of type KVM_X86_SW_PROTECTED_VM");
        return false;
    }
    if (!host.in_place && !host.vm_attributes) {
        g_test_skip("this KVM gives no private memory to such a VM");
        return false;
    }
    return true;
}

/*
 * A firmware that sleeps: the tests need nothing of the guest, and the one
 * that QEMU would look for may not be installed.
 */
static void write_firmware(void)
{
    static const uint8_t hlt_loop[] = { 0xf4, 0xeb, 0xfd };
    g_autofree uint8_t *image = g_malloc0(64 * 1024);
    g_autoptr(GError) err = NULL;
    int fd;

    memcpy(image + 0xfff0, hlt_loop, sizeof(hlt_loop));
    fd = g_file_open_tmp("guest-memfd-test-XXXXXX", &firmware, &err);
    g_assert_no_error(err);
    close(fd);
    g_file_set_contents(firmware, (const char *)image, 64 * 1024, &err);
    g_assert_no_error(err);
}

/* --- starting QEMU -------------------------------------------------------- */

/* The command line of a machine under KVM, stopped before its first step */
static char *kvm_args(const char *machine, const char *more)
{
    return g_strdup_printf("-accel kvm -cpu host -machine q35%s -m 64M -S "
                           "-nodefaults -global apic-common.vapic=off "
                           "-bios %s %s", machine, firmware, more);
}

/* ... with a software-protected guest; @object: its options, from a comma on */
static char *protected_args(const char *machine, const char *object)
{
    g_autofree char *m = g_strconcat(",confidential-guest-support=cgs0",
                                     machine, NULL);
    g_autofree char *o = g_strconcat("-object x86-sw-protected-vm,id=cgs0",
                                     object, NULL);

    return kvm_args(m, o);
}

/* --- without private memory ----------------------------------------------- */

static void test_query_ordinary(void)
{
    g_autofree char *args = NULL;
    QTestState *qts;

    if (!need_kvm()) {
        return;
    }
    args = kvm_args("", "");
    qts = qtest_init(args);
    assert_no_private_memory(qts, "the machine has no confidential guest");
    qtest_quit(qts);
}

/* Its file belongs to the VM of this QEMU: no other can go on with it. */
static void test_cpr(void)
{
    QTestState *qts;

    if (!need_kvm()) {
        return;
    }
    if (!host_ordinary_mmap) {
        g_test_skip("this KVM has no mappable guest_memfd for ordinary VMs");
        return;
    }
    /* The only RAM block; else one of the others might be named */
    qts = qtest_init("-accel kvm -machine none,memory-backend=m -m 64M -S "
                     "-object memory-backend-memfd-private,id=m,size=64M");
    assert_cpr_exec_blocked(qts, " uses guest_memfd, which is not supported "
                            "with CPR.");
    qtest_quit(qts);
}

static void test_no_vm_type(void)
{
    g_autofree char *args = NULL;

    if (!need_kvm()) {
        return;
    }
    if (host.vm_type) {
        g_test_skip("this KVM has VMs of type KVM_X86_SW_PROTECTED_VM");
        return;
    }
    args = protected_args("", "");
    assert_refused(args, "vm-type software-protected not supported by KVM");
}

/* --- with private memory -------------------------------------------------- */

/* One RAM block; nothing was converted yet. */
static void assert_block(QDict *b, bool launched)
{
    int64_t size = qdict_get_int(b, "size");

    g_test_message("block %s", qdict_get_str(b, "id"));
    g_assert_cmpint(qdict_get_bool(b, "in-place"), ==, host.in_place);
    g_assert_cmpint(qdict_get_int(b, "shared") + qdict_get_int(b, "private"),
                    ==, size);
    g_assert_cmpint(qdict_get_int(b, "shared"), ==, size);
    g_assert_cmpint(qdict_get_int(b, "withdrawn"), ==, launched ? 0 : size);
    /* Memory that is backed twice may have been private before the reset. */
    g_assert_cmpint(qdict_get_int(b, "conversions"), <=, host.in_place ? 0 : 1);
    g_assert_cmpint(qdict_get_int(b, "busy-pages"), ==, 0);
    g_assert_cmpint(qdict_get_int(b, "retries"), ==, 0);
    g_assert_cmpint(qdict_get_int(b, "given-up"), ==, 0);
    g_assert_cmpint(qdict_get_int(b, "failures"), ==, 0);
    g_assert_cmpint(qdict_get_int(b, "longest-wait-us"), ==, 0);
}

static void assert_blocks(QTestState *qts, const char *why, bool launched)
{
    g_autoptr(QDict) info = query_guest_memfd(qts);
    QList *blocks = qdict_get_qlist(info, "blocks");
    QDict *ram = find_entry(info, "blocks", "id", "pc.ram");
    QListEntry *e;

    g_assert_cmpstr(qdict_get_str(info, "mode"), ==,
                    host.in_place ? "in-place" : "vm-attributes");
    g_assert_cmpstr(qdict_get_str(info, "why"), ==, why);
    g_assert_nonnull(ram);
    g_assert_cmpint(qdict_get_int(ram, "size"), ==, RAM_SIZE);
    g_assert_nonnull(find_entry(info, "blocks", "id", "pc.bios"));
    QLIST_FOREACH_ENTRY(blocks, e) {
        assert_block(qobject_to(QDict, qlist_entry_obj(e)), launched);
    }
    assert_hmp(qts, info);
}

static void test_query_blocks(void)
{
    const char *why = host.in_place ?
        "KVM tracks private memory per guest_memfd" :
        "KVM tracks private memory per VM";
    g_autofree char *args = NULL;
    QTestState *qts;

    if (!need_private_memory()) {
        return;
    }
    args = protected_args("", "");
    qts = qtest_init(args);
    assert_blocks(qts, why, false);
    g_assert_cmpint(qom_get_bool(qts, "/objects/cgs0", "convert-in-place"), ==,
                    host.in_place);

    qtest_qmp_assert_success(qts, "{ 'execute': 'cont' }");
    qtest_qmp_eventwait(qts, "RESUME");
    qtest_qmp_assert_success(qts, "{ 'execute': 'stop' }");
    assert_blocks(qts, why, true);
    qtest_quit(qts);
}

#define NEEDS_KERNEL \
    ": convert-in-place=on needs a host kernel with in-place conversion of " \
    "guest_memfd; boot it with kvm.gmem_in_place_conversion=1 if it has the " \
    "parameter, or use convert-in-place=off"
#define IN_PLACE_ONLY \
    ": convert-in-place=off, but this host kernel tracks private memory per " \
    "guest_memfd only; boot it with kvm.gmem_in_place_conversion=0 or drop " \
    "the option"

/*
 * convert-in-place=on (@on) or off must give what it says, or an error.
 * @machine, @object: options; @who: who is named in an error, @of: in the
 * reason, as the one who asks for it
 */
static void check_mode(const char *machine, const char *object, bool on,
                       const char *who, const char *of)
{
    g_autofree char *args = protected_args(machine, object);
    g_autofree char *why = NULL;
    g_autofree char *error = NULL;
    QTestState *qts;

    g_test_message("-machine %s -object %s", machine, object);
    if (on ? !host.in_place : !host.vm_attributes) {
        error = g_strconcat(who, on ? NEEDS_KERNEL : IN_PLACE_ONLY, NULL);
        assert_refused(args, error);
        return;
    }
    why = g_strconcat(on ? "convert-in-place=on" : "convert-in-place=off", of,
                      on ? ", and KVM tracks private memory per guest_memfd" :
                           "", NULL);
    qts = qtest_init(args);
    assert_blocks(qts, why, false);
    qtest_quit(qts);
}

static void test_mode_object(void)
{
    if (need_private_memory()) {
        check_mode("", ",convert-in-place=on", true, "x86-sw-protected-vm", "");
        check_mode("", ",convert-in-place=off", false, "x86-sw-protected-vm",
                   "");
    }
}

static void test_mode_machine(void)
{
    if (need_private_memory()) {
        check_mode(",convert-in-place=on", "", true, "-machine",
                   " of the machine");
        check_mode(",convert-in-place=off", "", false, "-machine",
                   " of the machine");
    }
}

static void test_mode_both(void)
{
    if (need_private_memory()) {
        check_mode(",convert-in-place=off", ",convert-in-place=on", true,
                   "x86-sw-protected-vm", "");
        check_mode(",convert-in-place=on", ",convert-in-place=off", false,
                   "x86-sw-protected-vm", "");
    }
}

static void test_smm(void)
{
    g_autofree char *args = NULL;

    if (!need_private_memory()) {
        return;
    }
    args = protected_args(",smm=on", "");
    assert_refused(args, "x86-sw-protected-vm does not support SMM, use "
                   "-machine smm=off");
}

/* In a running guest: the mode is fixed, the time limit is not. */
static void test_change(void)
{
    g_autofree char *args = NULL;
    g_autoptr(QDict) rsp = NULL;
    QTestState *qts;

    if (!need_private_memory()) {
        return;
    }
    args = protected_args("", ",convert-timeout=5");
    qts = qtest_init(args);
    rsp = qtest_qmp(qts, "{ 'execute': 'qom-set', 'arguments': { "
                    "'path': '/objects/cgs0', 'property': 'convert-in-place', "
                    "'value': true } }");
    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(rsp, "error"), "desc"), ==,
                    "convert-in-place cannot be changed once the guest is "
                    "set up");
    g_assert_cmpint(qom_get_bool(qts, "/objects/cgs0", "convert-in-place"), ==,
                    host.in_place);

    g_assert_cmpint(qom_get_int(qts, "/objects/cgs0", "convert-timeout"), ==,
                    5);
    qtest_qmp_assert_success(
        qts, "{ 'execute': 'qom-set', 'arguments': { 'path': '/objects/cgs0', "
        "'property': 'convert-timeout', 'value': 77 } }");
    g_assert_cmpint(qom_get_int(qts, "/objects/cgs0", "convert-timeout"), ==,
                    77);
    qtest_quit(qts);
}

/* Loading a snapshot is refused before anything is stopped or reverted. */
static void test_snapshot_load(void)
{
    g_autofree char *args = NULL;
    g_autoptr(QDict) rsp = NULL;
    QTestState *qts;

    if (!need_private_memory()) {
        return;
    }
    args = protected_args("", "");
    qts = qtest_init(args);
    rsp = qtest_qmp(qts, "{ 'execute': 'snapshot-load', 'arguments': { "
                    "'job-id': 'j', 'tag': 's', 'vmstate': 'd', "
                    "'devices': ['d'] } }");
    g_assert_cmpint(qdict_haskey(rsp, "error"), ==, host.in_place);
    if (host.in_place) {
        g_assert_cmpstr(qdict_get_str(qdict_get_qdict(rsp, "error"), "desc"),
                        ==, "loading a snapshot cannot be used with guest "
                        "memory that is converted in place: its pages may be "
                        "private; start the guest anew");
    }
    qtest_quit(qts);
}

/* object-add of some memory; its error, or NULL */
static char *add_memory(QTestState *qts)
{
    g_autoptr(QDict) rsp =
        qtest_qmp(qts, "{ 'execute': 'object-add', 'arguments': { "
                  "'qom-type': 'memory-backend-ram', 'id': 'm', "
                  "'size': 1048576 } }");
    QDict *error = qdict_get_qdict(rsp, "error");

    return error ? g_strdup(qdict_get_str(error, "desc")) : NULL;
}

/* Error of a drive that does without discards, on a device that is not there */
static char *add_nvme(QTestState *qts)
{
    g_autoptr(QDict) rsp =
        qtest_qmp(qts, "{ 'execute': 'blockdev-add', 'arguments': { "
                  "'driver': 'nvme', 'node-name': 'n', "
                  "'device': '0000:ff:1f.7', 'namespace': 1 } }");

    return g_strdup(qdict_get_str(qdict_get_qdict(rsp, "error"), "desc"));
}

/*
 * A block whose guest_memfd cannot be made, because QEMU has no file descriptor
 * left, must not keep others from what only such a block forbids.
 */
static void test_error_discards(void)
{
    g_autofree char *args = NULL;
    g_autofree char *error = NULL;
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;
    g_autofree char *with = NULL;
    struct rlimit old, few;
    QTestState *qts;

    if (!need_private_memory()) {
        return;
    }
    args = protected_args("", " -preconfig");
    qts = qtest_init(args);
    before = add_nvme(qts);
    if (strstr(before, "driver")) {
        g_test_skip("this QEMU has no nvme://");
        qtest_quit(qts);
        return;
    }
    g_assert_cmpint(prlimit(qtest_pid(qts), RLIMIT_NOFILE, NULL, &old), ==, 0);
    few = (struct rlimit) { .rlim_cur = 3, .rlim_max = old.rlim_max };
    g_assert_cmpint(prlimit(qtest_pid(qts), RLIMIT_NOFILE, &few, NULL), ==, 0);
    error = add_memory(qts);
    g_assert_cmpint(prlimit(qtest_pid(qts), RLIMIT_NOFILE, &old, NULL), ==, 0);
    g_assert_nonnull(error);
    g_test_message("%s", error);
    g_assert_nonnull(strstr(error, "Too many open files"));
    after = add_nvme(qts);
    g_assert_cmpstr(after, ==, before);

    /* With the block it must say something else, or nothing was tested. */
    g_assert_null(add_memory(qts));
    with = add_nvme(qts);
    g_assert_nonnull(strstr(with, "pins all of the guest's memory"));
    qtest_quit(qts);
}

static void remove_firmware(void)
{
    unlink(firmware);
}

void add_kvm_tests(void)
{
    probe_host();
    write_firmware();
    atexit(remove_firmware);

    qtest_add_func("guest-memfd/kvm/ordinary", test_query_ordinary);
    qtest_add_func("guest-memfd/kvm/cpr", test_cpr);
    qtest_add_func("guest-memfd/kvm/no-vm-type", test_no_vm_type);
    qtest_add_func("guest-memfd/kvm/blocks", test_query_blocks);
    qtest_add_func("guest-memfd/kvm/object", test_mode_object);
    qtest_add_func("guest-memfd/kvm/machine", test_mode_machine);
    qtest_add_func("guest-memfd/kvm/object-wins", test_mode_both);
    qtest_add_func("guest-memfd/kvm/smm", test_smm);
    qtest_add_func("guest-memfd/kvm/change", test_change);
    qtest_add_func("guest-memfd/kvm/snapshot-load", test_snapshot_load);
    qtest_add_func("guest-memfd/kvm/error-discards", test_error_discards);
}
