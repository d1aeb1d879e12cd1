/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The QEMU under test: start, monitor, end. */
#ifndef LAB_VM_H
#define LAB_VM_H

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>
#include "scenario.h"

/* Where things are; the same for all scenarios of a run. */
typedef struct LabPaths {
    const char *qemu;       /* program */
    const char *roms;       /* folder for -L */
    const char *payload;    /* image for -bios */
    const char *work;       /* folder for sockets and logs */
} LabPaths;

typedef struct Vm {
    pid_t pid;
    int pidfd;              /* readable when QEMU has ended */
    int control;            /* COM1 of the payload */
    int tap;                /* debug port of the payload */
    int monitor;            /* HMP */
    int qmp;                /* QMP; see qmp.h */
    int errors;             /* QEMU's stdout and stderr */
    GString *error_text;    /* what came from there so far */
    char *trace_path;
    char *calls_path;       /* log of personality.so, if it is there */
    char *kvm_trace_path;   /* log of kvm-trace.so, if it is there */
    char *command;          /* the command line, for the log */
    int status;             /* wait status once @ended */
    bool ended;
} Vm;

/*
 * vm_start: start QEMU for @s and wait until it has connected its channels,
 * or has ended (vm->ended; channels are -1 then).
 *
 * Returns NULL with *@error set if it could not be started at all or did
 * neither within the scenario's time limit.
 */
Vm *vm_start(const Scenario *s, const LabPaths *paths, char **error);

/* vm_read_errors: take what QEMU wrote to stderr; never blocks. */
void vm_read_errors(Vm *vm);

/* vm_wait: wait at most @ms for QEMU to end; returns whether it has. */
bool vm_wait(Vm *vm, int ms);

/*
 * vm_hmp: run one monitor command and wait at most @ms for its answer.
 *
 * Returns the answer without echo and prompt, or NULL (no answer in time, or
 * QEMU ended); free with g_free.
 */
char *vm_hmp(Vm *vm, const char *command, int ms);

/* vm_end: end QEMU if it still runs (quit, then SIGKILL) and free @vm. */
void vm_end(Vm *vm);

#endif
