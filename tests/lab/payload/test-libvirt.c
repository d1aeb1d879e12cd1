/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A domain of libvirt.  Not gmem-lab but tests/lab/libvirt/run.sh serves the
 * requests, which only tell it how far this is.
 *
 * Parameters: gpa; type=snp, with personality.so under QEMU.
 */
#include "cgs.h"

#define NPAGES  512ul

/* The page that the host holds while the others are converted */
#define HELD    77

static bool is_snp(void)
{
    return starts_with(param_text("type", "?"), "snp");
}

/* Of an SEV-SNP guest the data is gone, and it has to accept the pages. */
static void to_private(uint64_t gpa, uint64_t seed)
{
    check_convert(gpa, NPAGES, true, 0);
    if (is_snp()) {
        accept(gpa, NPAGES);
    } else {
        verify(gpa, NPAGES, seed);
    }
}

static void libvirt(void)
{
    uint64_t gpa = param("gpa", 64 * MIB);

    step_begin();
    if (is_snp()) {
        accept(gpa, NPAGES);
        check_convert(gpa, NPAGES, false, 0);
    }
    fill(gpa, NPAGES, 1);
    ask("shared");
    to_private(gpa, 1);
    ask("private");
    step_end("512 pages became private");

    step_begin();
    check_convert(gpa, NPAGES, false, 0);
    if (!is_snp()) {
        verify(gpa, NPAGES, 1);
    }
    fill(gpa, NPAGES, 2);
    ask("busy 0x%lx", gpa + HELD * PAGE);
    to_private(gpa, 2);
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
