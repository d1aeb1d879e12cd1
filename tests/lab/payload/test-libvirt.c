/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A domain of libvirt.  Not gmem-lab but tests/lab/libvirt/run.sh serves the
 * requests, which only tell it how far this is.
 */
#include "payload.h"

#define NPAGES  512ul

/* The page that the host holds while the others are converted */
#define HELD    77

static void libvirt(void)
{
    uint64_t gpa = param("gpa", 64 * MIB);

    step_begin();
    fill(gpa, NPAGES, 1);
    check_convert(gpa, NPAGES, true, 0);
    verify(gpa, NPAGES, 1);
    ask("private");
    check_convert(gpa, NPAGES, false, 0);
    verify(gpa, NPAGES, 1);
    ask("shared");
    step_end("512 pages became private and shared, and kept their data");

    step_begin();
    fill(gpa, NPAGES, 2);
    ask("busy 0x%lx", gpa + HELD * PAGE);
    check_convert(gpa, NPAGES, true, 0);
    verify(gpa, NPAGES, 2);
    ask("done");
    check_convert(gpa, NPAGES, false, 0);
    step_end("512 pages became private, one of them was busy");

    step_begin();
    ask("destroy 0x%lx", gpa + HELD * PAGE);
    convert(gpa, NPAGES, true);
    check(false, "the conversion ended although the page is held");
    step_end("destroyed while a page is busy");
}

const PayloadTest tests_libvirt[] = {
    { "libvirt", libvirt },
    { }
};
