/* SPDX-License-Identifier: GPL-2.0-or-later */
/* gmem-probe: print the state of each page of a process's guest_memfds. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "gmem-file.h"
#include "pattern.h"

int main(int argc, char **argv)
{
    g_autoptr(GPtrArray) files = NULL;
    g_autofree char *error = NULL;
    int ret = 0;

    if (argc != 2) {
        fprintf(stderr, "usage: gmem-probe PID\n"
                "  prints a line for each guest_memfd: descriptor, size in "
                "bytes, KiB allocated,\n"
                "  and runs of pages: S shared, P private; S1P3 is one shared, "
                "then three private\n");
        return 2;
    }
    files = gmem_files_open(atoi(argv[1]), &error);
    if (!files) {
        fprintf(stderr, "gmem-probe: %s\n", error);
        return 1;
    }
    for (guint i = 0; i < files->len; i++) {
        g_autofree char *states = NULL, *runs = NULL, *why = NULL;
        GmemFile *f = files->pdata[i];
        /* First: the probe's touch allocates shared pages. */
        uint64_t allocated = gmem_allocated(f) / 1024;
        size_t n = gmem_probe(f, 0, f->size / LAB_PAGE_SIZE, 1, &states, &why);

        runs = n ? gmem_runs(states, n) : NULL;
        printf("fd %d size 0x%" PRIx64 " allocated %" PRIu64 " %s\n",
               f->remote_fd, f->size, allocated,
               runs ? runs : why);
        ret |= !runs;
    }
    return ret;
}
