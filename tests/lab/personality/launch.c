/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What SNP_LAUNCH_UPDATE and TDX_INIT_MEM_REGION share: kvm_gmem_populate(). */
#include <errno.h>
#include "personality.h"

bool launch_page(uint64_t gpa, const char *what, int *error)
{
    uint8_t *page = memory_page(gpa);

    if (!page) {
        *error = EINVAL;
        complain(0, "%s: no guest_memfd at gpa 0x%lx", what, gpa);
    } else if (!memory_private(gpa)) {
        *error = EINVAL;
        complain(0, "%s: the page at gpa 0x%lx is not private", what, gpa);
    } else if (*page & PAGE_ADDED) {
        *error = EEXIST;
        complain(0, "%s: the page at gpa 0x%lx has been added already", what,
                 gpa);
    } else {
        return true;
    }
    return false;
}

int launch_add(uint64_t gpa, uint64_t source)
{
    static char buffer[PAGE_SIZE];
    int ret = 0;

    if (source) {
        ret = source_read(source, buffer, sizeof(buffer));
        if (ret == 0) {
            ret = private_write(gpa, buffer, sizeof(buffer));
        }
    }
    if (ret == 0) {
        *memory_page(gpa) |= PAGE_ADDED | PAGE_ACCEPTED;
    }
    return ret;
}
