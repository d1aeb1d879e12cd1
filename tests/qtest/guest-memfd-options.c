/*
 * QTest testcase for private memory of confidential guests (guest_memfd)
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: options and properties, the values that they take and the text
 * of the errors for others.  Without KVM.
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "guest-memfd-test.h"

typedef struct GuestType {
    const char *name;
    int64_t timeout;            /* default of convert-timeout */
    const char *required;       /* JSON members that it must have */
} GuestType;

static const GuestType guest_types[] = {
    { "sev-snp-guest", 0, ", \"reduced-phys-bits\": 1" },
    { "tdx-guest", 1000, "" },
    { "x86-sw-protected-vm", 1000, "" },
};

static const GuestType sev_guest = {
    "sev-guest", 0, ", \"reduced-phys-bits\": 1"
};

static void assert_property(QTestState *qts, const char *type,
                            const char *name, const char *property_type)
{
    g_autoptr(QDict) rsp = assert_return(
        qtest_qmp(qts, "{ 'execute': 'qom-list-properties', "
                  "'arguments': { 'typename': %s } }", type));
    QDict *d = find_entry(rsp, "return", "name", name);

    g_test_message("%s.%s", type, name);
    g_assert_nonnull(d);
    g_assert_cmpstr(qdict_get_str(d, "type"), ==, property_type);
    g_assert_true(qdict_haskey(d, "description"));
}

static void test_properties(void)
{
    QTestState *qts = qtest_init("-machine none");

    /* libvirt asks both of these. */
    assert_property(qts, "none-machine", "convert-in-place", "OnOffAuto");
    assert_property(qts, "generic-pc-machine", "convert-in-place",
                    "OnOffAuto");
    for (int i = 0; i < ARRAY_SIZE(guest_types); i++) {
        if (need_type(qts, guest_types[i].name)) {
            assert_property(qts, guest_types[i].name, "convert-in-place",
                            "bool");
            assert_property(qts, guest_types[i].name, "convert-timeout",
                            "uint32");
        }
    }
    qtest_quit(qts);
}

/* object-add with @members (JSON, from a comma on); its answer */
static QDict *object_add(QTestState *qts, const GuestType *type,
                         const char *members)
{
    g_autofree char *json =
        g_strdup_printf("{ \"execute\": \"object-add\", \"arguments\": { "
                        "\"qom-type\": \"%s\", \"id\": \"o\"%s%s } }",
                        type->name, type->required, members);

    return qtest_qmp(qts, "%p", qobject_from_json(json, &error_abort));
}

static void object_del(QTestState *qts)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'object-del', "
                             "'arguments': { 'id': 'o' } }");
}

/* Values that are taken, and what they read back as */
static void check_good_values(QTestState *qts, const GuestType *type)
{
    static const struct {
        const char *members;
        bool in_place;
        int64_t timeout;        /* -1: the default */
    } good[] = {
        { "", false, -1 },
        { ", \"convert-in-place\": true", true, -1 },
        { ", \"convert-in-place\": false", false, -1 },
        { ", \"convert-timeout\": 0", false, 0 },
        { ", \"convert-timeout\": 4294967295", false, UINT32_MAX },
        { ", \"convert-in-place\": true, \"convert-timeout\": 7", true, 7 },
    };

    for (int i = 0; i < ARRAY_SIZE(good); i++) {
        g_autoptr(QDict) rsp = object_add(qts, type, good[i].members);

        g_test_message("%s%s", type->name, good[i].members);
        g_assert_true(qdict_haskey(rsp, "return"));
        g_assert_cmpint(qom_get_bool(qts, "/objects/o", "convert-in-place"),
                        ==, good[i].in_place);
        g_assert_cmpint(qom_get_int(qts, "/objects/o", "convert-timeout"), ==,
                        good[i].timeout < 0 ? type->timeout : good[i].timeout);
        object_del(qts);
    }
}

typedef struct BadValue {
    const char *members;
    const char *error;
} BadValue;

static void assert_bad_value(QTestState *qts, const GuestType *type,
                             const BadValue *bad)
{
    g_autoptr(QDict) rsp = object_add(qts, type, bad->members);

    g_test_message("%s%s", type->name, bad->members);
    g_assert_true(qdict_haskey(rsp, "error"));
    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(rsp, "error"), "desc"), ==,
                    bad->error);
}

static void check_bad_values(QTestState *qts, const GuestType *type)
{
    static const BadValue bad[] = {
        { ", \"convert-in-place\": \"on\"",
          "Invalid parameter type for 'convert-in-place', expected: boolean" },
        { ", \"convert-timeout\": -1",
          "Parameter 'convert-timeout' expects uint32_t" },
        { ", \"convert-timeout\": 4294967296",
          "Parameter 'convert-timeout' expects uint32_t" },
        { ", \"convert-inplace\": true",
          "Parameter 'convert-inplace' is unexpected" },
    };

    for (int i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_bad_value(qts, type, &bad[i]);
    }
}

static void test_values(void)
{
    QTestState *qts = qtest_init("-machine none");

    for (int i = 0; i < ARRAY_SIZE(guest_types); i++) {
        if (need_type(qts, guest_types[i].name)) {
            check_good_values(qts, &guest_types[i]);
            check_bad_values(qts, &guest_types[i]);
        }
    }
    qtest_quit(qts);
}

/* It shares its properties with sev-snp-guest, but has no guest_memfd. */
static void test_sev_guest(void)
{
    static const BadValue bad[] = {
        { ", \"convert-in-place\": true",
          "sev-guest has no guest_memfd, which 'convert-in-place' is about" },
        { ", \"convert-in-place\": false",
          "sev-guest has no guest_memfd, which 'convert-in-place' is about" },
        { ", \"convert-timeout\": 1",
          "sev-guest has no guest_memfd, which 'convert-timeout' is about" },
    };
    QTestState *qts = qtest_init("-machine none");

    if (need_type(qts, "sev-guest")) {
        g_autoptr(QDict) rsp = object_add(qts, &sev_guest, "");

        g_assert_true(qdict_haskey(rsp, "return"));
        object_del(qts);
        for (int i = 0; i < ARRAY_SIZE(bad); i++) {
            assert_bad_value(qts, &sev_guest, &bad[i]);
        }
    }
    qtest_quit(qts);
}

/* Of x86-sw-protected-vm only */
static void test_initial_state(void)
{
    static const char *const values[] = { "shared", "private" };
    static const BadValue bad = {
        ", \"initial-state\": \"encrypted\"",
        "Parameter 'initial-state' does not accept value 'encrypted'"
    };
    static const BadValue not_here = {
        ", \"initial-state\": \"shared\"",
        "Parameter 'initial-state' is unexpected"
    };
    QTestState *qts = qtest_init("-machine none");

    for (int i = 0; i < ARRAY_SIZE(guest_types); i++) {
        const GuestType *type = &guest_types[i];

        if (!need_type(qts, type->name)) {
            continue;
        }
        if (!g_str_equal(type->name, "x86-sw-protected-vm")) {
            assert_bad_value(qts, type, &not_here);
            continue;
        }
        assert_bad_value(qts, type, &bad);
        for (int j = 0; j < ARRAY_SIZE(values); j++) {
            g_autofree char *members =
                g_strdup_printf(", \"initial-state\": \"%s\"", values[j]);
            g_autoptr(QDict) rsp = object_add(qts, type, members);
            g_autofree char *value = qom_get_str(qts, "/objects/o",
                                                 "initial-state");

            g_assert_true(qdict_haskey(rsp, "return"));
            g_assert_cmpstr(value, ==, values[j]);
            object_del(qts);
        }
    }
    qtest_quit(qts);
}

static void test_machine(void)
{
    /* "on" asserts something, even of this machine. */
    static const char *const values[] = { "off", "auto" };

    for (int i = 0; i < ARRAY_SIZE(values); i++) {
        QTestState *qts = qtest_initf("-machine none,convert-in-place=%s",
                                      values[i]);
        g_autofree char *value = qom_get_str(qts, "/machine",
                                             "convert-in-place");
        g_autoptr(QDict) rsp = NULL;

        g_assert_cmpstr(value, ==, values[i]);
        rsp = qtest_qmp(qts, "{ 'execute': 'qom-set', 'arguments': { "
                        "'path': '/machine', 'property': 'convert-in-place', "
                        "'value': 'auto' } }");
        g_assert_cmpstr(qdict_get_str(qdict_get_qdict(rsp, "error"), "desc"),
                        ==, "convert-in-place cannot be changed once the "
                        "accelerator is set up");
        qtest_quit(qts);
    }

    assert_refused("-accel qtest -machine none,convert-in-place=maybe",
                   "Parameter 'convert-in-place' does not accept value "
                   "'maybe'");
    assert_refused("-accel qtest -nodefaults -machine q35,convert-in-place=on",
                   "convert-in-place=on needs a confidential guest, see "
                   "'confidential-guest-support'");
}

/* The same on the command line, which has words of its own for them */
static void test_command_line(void)
{
    static const struct {
        const char *option;
        const char *error;
    } bad[] = {
        { "convert-in-place=auto",
          "Parameter 'convert-in-place' expects 'on' or 'off'" },
        { "convert-timeout=-1",
          "Parameter 'convert-timeout' expects a uint64 value" },
        { "convert-timeout=4294967296",
          "Parameter 'convert-timeout' expects uint32_t" },
        { "convert-inplace=on", "Invalid parameter 'convert-inplace'" },
    };
    QTestState *qts = qtest_init("-machine none");

    if (need_type(qts, "x86-sw-protected-vm")) {
        for (int i = 0; i < ARRAY_SIZE(bad); i++) {
            g_autofree char *args =
                g_strdup_printf("-machine none "
                                "-object x86-sw-protected-vm,id=o,%s",
                                bad[i].option);

            assert_refused(args, bad[i].error);
        }
    }
    qtest_quit(qts);
}

static void test_needs_kvm(void)
{
    QTestState *qts = qtest_init("-machine none");

    if (need_type(qts, "x86-sw-protected-vm")) {
        assert_refused("-accel qtest -nodefaults "
                       "-machine q35,confidential-guest-support=cgs0 "
                       "-object x86-sw-protected-vm,id=cgs0",
                       "cannot set up private guest memory for "
                       "x86-sw-protected-vm: KVM required");
    }
    qtest_quit(qts);
}

/*
 * A block that fails for want of KVM must leave the list of blocks unlocked:
 * the next one would wait for ever.  Later than this, QEMU ends at such an
 * error.
 */
static void test_error_unlocks(void)
{
    QTestState *qts = qtest_init("-machine none");
    bool has_type = need_type(qts, "x86-sw-protected-vm");

    qtest_quit(qts);
    if (!has_type) {
        return;
    }
    qts = qtest_init("-preconfig -nodefaults "
                     "-machine q35,confidential-guest-support=cgs0 "
                     "-object x86-sw-protected-vm,id=cgs0");
    for (int i = 0; i < 2; i++) {
        g_autoptr(QDict) rsp =
            qtest_qmp(qts, "{ 'execute': 'object-add', 'arguments': { "
                      "'qom-type': 'memory-backend-ram', 'id': 'm', "
                      "'size': 1048576 } }");

        g_assert_cmpstr(qdict_get_str(qdict_get_qdict(rsp, "error"), "desc"),
                        ==, "cannot set up private guest memory for "
                        "x86-sw-protected-vm: KVM required");
    }
    qtest_quit(qts);
}

/* A new QEMU would start with other memory than the guest had. */
static void test_cpr_exec(void)
{
    QTestState *qts = qtest_init("-machine none -m 64M -S");

    assert_cpr_exec_blocked(qts, " is not compatible with CPR.");
    qtest_quit(qts);
}

/* qom-set of convert-in-place; its error, or NULL */
static char *set_in_place(QTestState *qts, const char *path)
{
    g_autoptr(QDict) rsp =
        qtest_qmp(qts, "{ 'execute': 'qom-set', 'arguments': { 'path': %s, "
                  "'property': 'convert-in-place', 'value': true } }", path);
    QDict *error = qdict_get_qdict(rsp, "error");

    return error ? g_strdup(qdict_get_str(error, "desc")) : NULL;
}

/*
 * The mode is chosen when the accelerator is set up, long before a TDX guest
 * says that it is ready.  An object that is not the machine's may change.
 */
static void test_in_place_late(void)
{
    QTestState *qts = qtest_init("-machine none");
    bool has_type = need_type(qts, "tdx-guest");
    g_autofree char *error = NULL;

    qtest_quit(qts);
    if (!has_type) {
        return;
    }
    qts = qtest_init("-preconfig -nodefaults "
                     "-machine q35,confidential-guest-support=cgs0 "
                     "-object tdx-guest,id=cgs0 -object tdx-guest,id=other");
    error = set_in_place(qts, "/objects/cgs0");
    g_assert_cmpstr(error, ==, "convert-in-place cannot be changed once the "
                    "guest is set up");
    g_assert_false(qom_get_bool(qts, "/objects/cgs0", "convert-in-place"));
    g_assert_null(set_in_place(qts, "/objects/other"));
    g_assert_true(qom_get_bool(qts, "/objects/other", "convert-in-place"));
    qtest_quit(qts);
}

void add_option_tests(void)
{
    qtest_add_func("guest-memfd/options/properties", test_properties);
    qtest_add_func("guest-memfd/options/values", test_values);
    qtest_add_func("guest-memfd/options/initial-state", test_initial_state);
    qtest_add_func("guest-memfd/options/sev-guest", test_sev_guest);
    qtest_add_func("guest-memfd/options/machine", test_machine);
    qtest_add_func("guest-memfd/options/command-line", test_command_line);
    qtest_add_func("guest-memfd/options/needs-kvm", test_needs_kvm);
    qtest_add_func("guest-memfd/options/error-unlocks", test_error_unlocks);
    qtest_add_func("guest-memfd/options/cpr-exec", test_cpr_exec);
    qtest_add_func("guest-memfd/options/in-place-late", test_in_place_late);
}
