/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's memory as the host sees it, by guest physical address. */
#ifndef LAB_GUEST_MEMORY_H
#define LAB_GUEST_MEMORY_H

#include "gmem-file.h"
#include "vm.h"

typedef struct GuestMemory GuestMemory;

/* Where a guest physical address is. */
typedef struct GuestPlace {
    uint64_t hva;           /* in QEMU */
    GmemFile *file;         /* NULL: not a mapped guest_memfd */
    uint64_t offset;        /* in @file, bytes */
} GuestPlace;

GuestMemory *guest_memory_new(Vm *vm);
void guest_memory_free(GuestMemory *m);

/*
 * guest_memory_find: resolve @gpa.  QEMU's monitor tells the address in its
 * own memory, /proc/PID/maps the file behind it, pidfd_getfd brings the file:
 * QEMU is asked where, never what.  Returns false with *@error set.
 */
bool guest_memory_find(GuestMemory *m, uint64_t gpa, GuestPlace *p,
                       char **error);

/* The requests of control.h; each returns an answer line, see there. */
char *guest_memory_state(GuestMemory *m, uint64_t gpa, uint64_t npages,
                         uint64_t stride);
char *guest_memory_peek(GuestMemory *m, uint64_t gpa);
char *guest_memory_poke(GuestMemory *m, uint64_t gpa, uint64_t value);
char *guest_memory_fill(GuestMemory *m, uint64_t gpa, uint64_t npages,
                        uint64_t seed, uint64_t step);
char *guest_memory_check(GuestMemory *m, uint64_t gpa, uint64_t npages,
                         uint64_t seed, uint64_t step);
char *guest_memory_stamp(GuestMemory *m, uint64_t gpa, uint64_t npages,
                         uint64_t value);
char *guest_memory_touch(GuestMemory *m, uint64_t gpa, uint64_t npages);
char *guest_memory_access(GuestMemory *m, uint64_t gpa);
char *guest_memory_used(GuestMemory *m);
char *guest_memory_usage(GuestMemory *m);
char *guest_memory_nodes(GuestMemory *m, uint64_t gpa, uint64_t npages);

/*
 * guest_memory_runs: like _state, for a place that is already known and
 * within one file.  Returns the run lengths, or NULL with *@error set.
 */
char *guest_memory_runs(const GuestPlace *p, uint64_t npages, uint64_t stride,
                        char **error);

#endif
