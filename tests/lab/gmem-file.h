/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest_memfds of another process: find them, map them, ask the kernel
 * for the state of their pages, hold pages.
 *
 * Nothing here asks the process under test for help, so that what it believes
 * and what the kernel does are compared, not repeated.
 */
#ifndef LAB_GMEM_FILE_H
#define LAB_GMEM_FILE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* One guest_memfd of another process. */
typedef struct GmemFile {
    int fd;                 /* our own descriptor (pidfd_getfd) */
    int remote_fd;          /* its number in the other process */
    uint64_t dev, ino;
    uint64_t size;          /* bytes */
    uint8_t *map;           /* our own shared mapping; NULL if it has none */
} GmemFile;

/* Pages held by a child process; see gmem_pin(). */
typedef struct GmemPin GmemPin;

/*
 * gmem_files_open: all guest_memfds that process @pid has open.
 *
 * A file that cannot be mapped (no MMAP flag) is in the list with map NULL.
 * Returns an array of GmemFile * that owns them, or NULL with *@error set.
 */
GPtrArray *gmem_files_open(pid_t pid, char **error);

/* gmem_file_by_inode: the entry of @files with this device and inode. */
GmemFile *gmem_file_by_inode(GPtrArray *files, uint64_t dev, uint64_t ino);

/*
 * gmem_resolve_hva: which file and offset is behind the address @hva of
 * process @pid?  Reads /proc/@pid/maps only.
 *
 * Returns false, with nothing stored, if nothing is mapped there; *@dev and
 * *@ino are 0 for memory without a file.
 */
bool gmem_resolve_hva(pid_t pid, uint64_t hva, uint64_t *dev, uint64_t *ino,
                      uint64_t *offset);

/*
 * gmem_probe: the state of every @stride-th of @npages pages at @offset:
 * 'S' shared (a load works), 'P' private (a load is SIGBUS).
 *
 * A forked child touches the pages through a mapping of its own: the kernel's
 * answer, and a fault leaves no trace in this process.  A shared page that
 * has no memory yet gets it by that.  *@states is freed by
 * the caller.  Returns the number of states, or 0 with *@error set.
 */
size_t gmem_probe(GmemFile *f, uint64_t offset, uint64_t npages,
                  uint64_t stride, char **states, char **error);

/* gmem_runs: @n states as run lengths, "P512" or "S1P3"; free with g_free. */
char *gmem_runs(const char *states, size_t n);

/* gmem_allocated: bytes of @f that have a page behind them now. */
uint64_t gmem_allocated(GmemFile *f);

/*
 * gmem_pin: hold @npages shared pages from @offset on, one of every @stride, by
 * vmsplice into pipes.
 *
 * A child process holds them, for @ms milliseconds from gmem_pin_start(), or
 * until gmem_pin_end() if @ms is negative.  When this returns the pages are
 * held.  Returns NULL with *@error set if a page cannot be held (private).
 */
GmemPin *gmem_pin(GmemFile *f, uint64_t offset, uint64_t npages,
                  uint64_t stride, int64_t ms, char **error);
void gmem_pin_start(GmemPin *p);
/* gmem_pin_held: true while the child still holds the pages. */
bool gmem_pin_held(GmemPin *p);
/* gmem_pin_wait: wait until the time is over. */
void gmem_pin_wait(GmemPin *p);
/* gmem_pin_end: give the pages back, if still held, and free @p. */
void gmem_pin_end(GmemPin *p);

/*
 * lab_guard: run @fn(@opaque); a SIGBUS in it ends it.  Returns whether @fn
 * ran to its end.  What @fn changes in @opaque must be volatile to be looked
 * at after a SIGBUS.  Not for several threads.
 */
bool lab_guard(void (*fn)(void *opaque), void *opaque);

#endif
