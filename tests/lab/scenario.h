/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scenario files: what to start and what to expect, as data. */
#ifndef LAB_SCENARIO_H
#define LAB_SCENARIO_H

#include <glib.h>
#include <stdbool.h>

typedef enum ScenarioExpect {
    EXPECT_PASS,        /* QEMU runs, every check of the payload holds */
    EXPECT_REFUSE,      /* QEMU ends with an error before the guest runs */
    EXPECT_QUIT,        /* QEMU ends promptly when told to, mid-test */
    EXPECT_FAIL,        /* the payload must find something wrong */
    EXPECT_ERROR,       /* QEMU ends with an error while the guest runs */
    EXPECT_DIE,         /* QEMU ends by SIGBUS, and says why in one line */
} ScenarioExpect;

typedef struct Scenario {
    char *name;             /* file name without folder and suffix */
    char *description;
    char *parameter;        /* "on", "off" or "any" */
    char *set;              /* "core", "full" or "demo" */
    char *kernel;           /* "ours" or "base" */
    char *accel;            /* "kvm" or "tcg" */
    char *guest;            /* "sw-protected", "snp" or "tdx" */
    char *personality;      /* words of PERSONALITY; may be NULL */
    char *machine;          /* appended to -machine; may be NULL */
    char *object;           /* appended to the confidential guest object */
    char *qemu;             /* further QEMU arguments, shell quoting */
    char *payload;          /* "test=NAME key=value..." */
    char *line;             /* regex that one line of QEMU's stderr matches */
    char *allow;            /* regex: lines on stderr that may come */
    char *preload;          /* LD_PRELOAD of QEMU; may be NULL */
    char *assign;           /* PCI devices for vfio-pci; may be NULL */
    char *host_files;       /* "PATH VALUE ..." to be written; may be NULL */
    char *trace;            /* what QEMU traces */
    ScenarioExpect expect;
    char *mode;             /* the mode that the probe must have chosen */
    char *why;              /* regex that its reason matches; may be NULL */
    int timeout;            /* seconds */
    int disk;               /* MiB of an empty file "disk" in the work folder */
    bool qcow2;             /* its format; else raw */
    bool protected_vm;      /* with the confidential guest object? */
    bool stderr_allowed;    /* other lines on stderr are not an error */
} Scenario;

/*
 * scenario_read: parse @path.
 *
 * A file is "Description: text" and "key = value" lines; '#' starts a comment
 * line.  Unknown keys are errors.  Returns NULL with *@error set, which names
 * file and line.
 */
Scenario *scenario_read(const char *path, char **error);
void scenario_free(Scenario *s);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Scenario, scenario_free)

#endif
