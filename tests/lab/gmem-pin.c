/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gmem-pin: hold pages of another process's guest_memfd for a while, as a
 * device or a slow reader in the host would.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "gmem-file.h"
#include "pattern.h"

static int usage(void)
{
    fprintf(stderr,
            "usage: gmem-pin PID FD:OFFSET MS [PAGES]\n"
            "  holds PAGES (1) shared pages from byte OFFSET of the "
            "guest_memfd FD of process PID\n"
            "  for MS milliseconds; gmem-probe PID lists the files\n");
    return 2;
}

int main(int argc, char **argv)
{
    g_autoptr(GPtrArray) files = NULL;
    g_autofree char *error = NULL;
    uint64_t offset, npages;
    GmemFile *f = NULL;
    GmemPin *pin;
    char *colon;

    if (argc < 4 || argc > 5 || !(colon = strchr(argv[2], ':'))) {
        return usage();
    }
    offset = strtoull(colon + 1, NULL, 0);
    npages = argc > 4 ? strtoull(argv[4], NULL, 0) : 1;
    files = gmem_files_open(atoi(argv[1]), &error);
    for (guint i = 0; files && i < files->len; i++) {
        GmemFile *g = files->pdata[i];

        if (g->remote_fd == atoi(argv[2])) {
            f = g;
        }
    }
    if (!f) {
        fprintf(stderr, "gmem-pin: process %s, descriptor %d: %s\n", argv[1],
                atoi(argv[2]), error ? error : "not a guest_memfd");
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    pin = gmem_pin(f, offset, npages, 1, atoi(argv[3]), &error);
    if (!pin) {
        fprintf(stderr, "gmem-pin: %s\n", error);
        return 1;
    }
    printf("holding %" PRIu64 " pages from 0x%" PRIx64 " for %s ms\n", npages,
           offset, argv[3]);
    fflush(stdout);
    gmem_pin_start(pin);
    gmem_pin_wait(pin);
    gmem_pin_end(pin);
    return 0;
}
