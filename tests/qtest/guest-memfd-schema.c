/*
 * QTest testcase for private memory of confidential guests (guest_memfd)
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: the QAPI schema, as management software looks it up.
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qobject/qstring.h"
#include "guest-memfd-test.h"

typedef struct Member {
    const char *name;
    const char *type;           /* builtin type, or "enum" with @values */
    bool optional;
    const char *values;
} Member;

typedef struct Schema {
    QDict *response;
    QList *entities;
} Schema;

static Schema schema_load(QTestState *qts)
{
    Schema s;

    s.response = assert_return(
        qtest_qmp(qts, "{ 'execute': 'query-qmp-schema' }"));
    s.entities = qdict_get_qlist(s.response, "return");
    return s;
}

static QDict *schema_find(const Schema *s, const char *name)
{
    QListEntry *e;

    QLIST_FOREACH_ENTRY(s->entities, e) {
        QDict *d = qobject_to(QDict, qlist_entry_obj(e));

        if (g_str_equal(qdict_get_str(d, "name"), name)) {
            return d;
        }
    }
    return NULL;
}

static bool has_feature(QDict *d, const char *feature)
{
    QList *features = qdict_get_qlist(d, "features");
    QListEntry *e;

    if (features) {
        QLIST_FOREACH_ENTRY(features, e) {
            if (g_str_equal(qstring_get_str(qobject_to(QString,
                                                       qlist_entry_obj(e))),
                            feature)) {
                return true;
            }
        }
    }
    return false;
}

/* Names of an enumeration's members, with blanks in between */
static char *enum_values(QDict *type)
{
    g_autoptr(GString) text = g_string_new(NULL);
    QListEntry *e;

    g_assert_cmpstr(qdict_get_str(type, "meta-type"), ==, "enum");
    QLIST_FOREACH_ENTRY(qdict_get_qlist(type, "members"), e) {
        QDict *d = qobject_to(QDict, qlist_entry_obj(e));

        g_string_append_printf(text, "%s%s", text->len ? " " : "",
                               qdict_get_str(d, "name"));
    }
    return g_string_free(g_steal_pointer(&text), false);
}

/* @type must have these members (the last one has no name); their number */
static size_t assert_has_members(const Schema *s, const char *type,
                                 const Member *members)
{
    QDict *object = schema_find(s, type);
    size_t n = 0;

    g_assert_nonnull(object);
    g_assert_cmpstr(qdict_get_str(object, "meta-type"), ==, "object");
    for (const Member *m = members; m->name; m++, n++) {
        QDict *d = find_entry(object, "members", "name", m->name);

        g_test_message("member %s", m->name);
        g_assert_nonnull(d);
        g_assert_cmpint(qdict_haskey(d, "default"), ==, m->optional);
        if (m->values) {
            QDict *t = schema_find(s, qdict_get_str(d, "type"));
            g_autofree char *values = enum_values(t);

            g_assert_cmpstr(values, ==, m->values);
        } else if (m->type) {
            g_assert_cmpstr(qdict_get_str(d, "type"), ==, m->type);
        }
    }
    return n;
}

/* ... and no others */
static void assert_members(const Schema *s, const char *type,
                           const Member *members)
{
    size_t n = assert_has_members(s, type, members);

    g_assert_cmpint(qlist_size(qdict_get_qlist(schema_find(s, type),
                                               "members")), ==, n);
}

static void test_schema_query(void)
{
    static const Member info[] = {
        { "mode", .values = "none vm-attributes in-place" },
        { "why", "str" },
        { "blocks" },
        { }
    };
    static const Member block[] = {
        { "id", "str" },
        { "size", "int" },
        { "in-place", "bool" },
        { "shared", "int" },
        { "private", "int" },
        { "withdrawn", "int" },
        { "conversions", "int" },
        { "busy-pages", "int" },
        { "retries", "int" },
        { "given-up", "int" },
        { "failures", "int" },
        { "longest-wait-us", "int" },
        { }
    };
    QTestState *qts = qtest_init("-machine none");
    Schema s = schema_load(qts);
    QDict *command = schema_find(&s, "query-guest-memfd");
    QDict *list;
    const char *type;

    g_assert_nonnull(command);
    g_assert_cmpstr(qdict_get_str(command, "meta-type"), ==, "command");
    type = qdict_get_str(command, "ret-type");
    assert_members(&s, type, info);

    list = find_entry(schema_find(&s, type), "members", "name", "blocks");
    list = schema_find(&s, qdict_get_str(list, "type"));
    g_assert_cmpstr(qdict_get_str(list, "meta-type"), ==, "array");
    assert_members(&s, qdict_get_str(list, "element-type"), block);

    qobject_unref(s.response);
    qtest_quit(qts);
}

static void test_schema_event(void)
{
    static const Member data[] = {
        { "block", "str" },
        { "offset", "int" },
        { "gpa", "int" },
        { "size", "int" },
        { "waited-ms", "int" },
        { "action", .values = "waiting guest-retry converted dropped failed" },
        { }
    };
    QTestState *qts = qtest_init("-machine none");
    Schema s = schema_load(qts);
    QDict *event = schema_find(&s, "GUEST_MEMFD_CONVERSION_BUSY");

    g_assert_nonnull(event);
    g_assert_cmpstr(qdict_get_str(event, "meta-type"), ==, "event");
    assert_members(&s, qdict_get_str(event, "arg-type"), data);

    qobject_unref(s.response);
    qtest_quit(qts);
}

static const Member convert_options[] = {
    { "convert-in-place", "bool", true },
    { "convert-timeout", "int", true },
    { }
};

static const Member initial_state[] = {
    { "initial-state", NULL, true, "shared private" },
    { }
};

/* What libvirt looks up as object-add/arg-type/+TYPE/NAME */
static void test_schema_object(void)
{
    static const char *const guests[] = {
        "sev-snp-guest", "tdx-guest", "x86-sw-protected-vm",
    };
    QTestState *qts = qtest_init("-machine none");
    Schema s = schema_load(qts);
    QDict *options, *types, *v = NULL;

    options = schema_find(&s, "object-add");
    g_assert_nonnull(options);
    options = schema_find(&s, qdict_get_str(options, "arg-type"));
    for (int i = 0; i < ARRAY_SIZE(guests); i++) {
        v = find_entry(options, "variants", "case", guests[i]);
        g_test_message("%s", guests[i]);
        g_assert_nonnull(v);
        assert_has_members(&s, qdict_get_str(v, "type"), convert_options);
    }
    assert_has_members(&s, qdict_get_str(v, "type"), initial_state);

    /* For tests only: nobody is to build on it */
    types = find_entry(options, "members", "name", "qom-type");
    types = schema_find(&s, qdict_get_str(types, "type"));
    g_assert_true(has_feature(find_entry(types, "members", "name",
                                         "x86-sw-protected-vm"), "unstable"));
    g_assert_false(has_feature(find_entry(types, "members", "name",
                                          "sev-snp-guest"), "unstable"));

    qobject_unref(s.response);
    qtest_quit(qts);
}

void add_schema_tests(void)
{
    qtest_add_func("guest-memfd/schema/query", test_schema_query);
    qtest_add_func("guest-memfd/schema/event", test_schema_event);
    qtest_add_func("guest-memfd/schema/object", test_schema_object);
}
