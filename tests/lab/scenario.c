/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scenario files; see scenario.h. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "scenario.h"

/* The keys with free text, and where it goes. */
static const struct {
    const char *key;
    size_t offset;
    const char *values;     /* the only words allowed, or NULL */
} text_keys[] = {
    { "parameter", offsetof(Scenario, parameter), "on off any" },
    { "set", offsetof(Scenario, set), "core full trace demo" },
    { "kernel", offsetof(Scenario, kernel), "ours base" },
    { "accel", offsetof(Scenario, accel), "kvm kvm,dirty-ring-size=4096 tcg" },
    { "guest", offsetof(Scenario, guest), "sw-protected snp tdx" },
    { "personality", offsetof(Scenario, personality), NULL },
    { "machine", offsetof(Scenario, machine), NULL },
    { "object", offsetof(Scenario, object), NULL },
    { "qemu", offsetof(Scenario, qemu), NULL },
    { "payload", offsetof(Scenario, payload), NULL },
    { "line", offsetof(Scenario, line), NULL },
    { "allow", offsetof(Scenario, allow), NULL },
    { "preload", offsetof(Scenario, preload), NULL },
    { "assign", offsetof(Scenario, assign), NULL },
    { "host-file", offsetof(Scenario, host_files), NULL },
    { "mode", offsetof(Scenario, mode), "in-place vm-attributes none" },
    { "trace", offsetof(Scenario, trace), "kvm_gmem_* kvm_gmem_mode" },
    { "why", offsetof(Scenario, why), NULL },
};

static const char *const expect_words[] = {
    [EXPECT_PASS] = "pass",
    [EXPECT_REFUSE] = "refuse",
    [EXPECT_QUIT] = "quit",
    [EXPECT_FAIL] = "fail",
    [EXPECT_ERROR] = "error",
    [EXPECT_DIE] = "die",
};

static bool in_list(const char *word, const char *list)
{
    g_auto(GStrv) words = g_strsplit(list, " ", -1);

    return g_strv_contains((const char *const *)words, word);
}

static bool set_yes_no(bool *to, const char *value)
{
    *to = g_str_equal(value, "yes");
    return *to || g_str_equal(value, "no");
}

/* Returns what is wrong with the value, or NULL. */
static const char *set_key(Scenario *s, const char *key, const char *value)
{
    for (size_t i = 0; i < G_N_ELEMENTS(text_keys); i++) {
        char **field = (char **)((char *)s + text_keys[i].offset);

        if (!g_str_equal(key, text_keys[i].key)) {
            continue;
        }
        if (text_keys[i].values && !in_list(value, text_keys[i].values)) {
            return "not one of the values of this key";
        }
        if (*field && !text_keys[i].values) {
            char *both = g_strconcat(*field, " ", value, NULL);

            g_free(*field);
            *field = both;
        } else {
            g_free(*field);
            *field = g_strdup(value);
        }
        return NULL;
    }
    if (g_str_equal(key, "expect")) {
        for (size_t i = 0; i < G_N_ELEMENTS(expect_words); i++) {
            if (g_str_equal(value, expect_words[i])) {
                s->expect = i;
                return NULL;
            }
        }
        return "must be pass, refuse, quit, fail, error or die";
    }
    if (g_str_equal(key, "timeout")) {
        s->timeout = atoi(value);
        return s->timeout > 0 ? NULL : "must be a number of seconds";
    }
    if (g_str_equal(key, "disk")) {
        s->disk = atoi(value);
        s->qcow2 = g_str_has_suffix(value, " qcow2");
        return s->disk > 0 ? NULL : "must be a number of MiB";
    }
    if (g_str_equal(key, "protected-vm")) {
        return set_yes_no(&s->protected_vm, value) ? NULL : "must be yes or no";
    }
    if (g_str_equal(key, "stderr-allowed")) {
        return set_yes_no(&s->stderr_allowed, value) ? NULL
                                                     : "must be yes or no";
    }
    return "unknown key";
}

static char *scenario_complete(Scenario *s)
{
    if (!s->description) {
        return g_strdup("the line \"Description: ...\" is missing");
    }
    if ((s->expect == EXPECT_REFUSE || s->expect == EXPECT_ERROR ||
         s->expect == EXPECT_DIE) && !s->line) {
        return g_strdup("\"expect = refuse\", \"error\" and \"die\" need "
                        "\"line = REGEX\"");
    }
    if (g_str_equal(s->guest, "sw-protected")) {
        if (s->personality) {
            return g_strdup("\"personality\" needs \"guest = snp\" or "
                            "\"guest = tdx\"");
        }
    } else if (!s->preload) {
        s->preload = g_strdup("/lab/bin/personality.so");
    }
    if (s->why && !s->mode) {
        return g_strdup("\"why = REGEX\" needs \"mode\"");
    }
    if (s->expect != EXPECT_REFUSE && !s->payload) {
        return g_strdup("the key \"payload\" is missing");
    }
    return NULL;
}

static Scenario *scenario_new(const char *path)
{
    Scenario *s = g_new0(Scenario, 1);
    char *dot;

    s->name = g_path_get_basename(path);
    dot = strrchr(s->name, '.');
    if (dot) {
        *dot = 0;
    }
    s->parameter = g_strdup("on");
    s->set = g_strdup("core");
    s->kernel = g_strdup("ours");
    s->accel = g_strdup("kvm");
    s->guest = g_strdup("sw-protected");
    s->trace = g_strdup("kvm_gmem_*");
    s->protected_vm = true;
    s->timeout = 120;
    return s;
}

Scenario *scenario_read(const char *path, char **error)
{
    g_autoptr(Scenario) s = scenario_new(path);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    g_autoptr(GError) err = NULL;
    char *missing;

    if (!g_file_get_contents(path, &text, NULL, &err)) {
        *error = g_strdup(err->message);
        return NULL;
    }
    lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i]; i++) {
        char *line = g_strstrip(lines[i]);
        const char *wrong;
        char *eq;

        if (!*line || *line == '#') {
            continue;
        }
        if (g_str_has_prefix(line, "Description:")) {
            s->description = g_strdup(g_strstrip(line + 12));
            continue;
        }
        eq = strchr(line, '=');
        if (!eq) {
            *error = g_strdup_printf("%s:%u: expected key = value", path,
                                     i + 1);
            return NULL;
        }
        *eq = 0;
        wrong = set_key(s, g_strstrip(line), g_strstrip(eq + 1));
        if (wrong) {
            *error = g_strdup_printf("%s:%u: %s: %s", path, i + 1, line, wrong);
            return NULL;
        }
    }
    missing = scenario_complete(s);
    if (missing) {
        *error = g_strdup_printf("%s: %s", path, missing);
        g_free(missing);
        return NULL;
    }
    return g_steal_pointer(&s);
}

void scenario_free(Scenario *s)
{
    if (!s) {
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(text_keys); i++) {
        g_free(*(char **)((char *)s + text_keys[i].offset));
    }
    g_free(s->name);
    g_free(s->description);
    g_free(s);
}
