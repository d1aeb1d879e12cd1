/*
 * guest_memfd in-place conversion: a page of the file is to be a new one
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: see gmem-page.h.
 */

#include "qemu/osdep.h"
#include "system/gmem-page.h"

#ifdef CONFIG_FALLOCATE_PUNCH_HOLE
#include <linux/falloc.h>

int gmem_replace_page(int fd, void *host, uint64_t offset, size_t size)
{
    int ret = RETRY_ON_EINTR(fallocate(fd, FALLOC_FL_PUNCH_HOLE |
                                       FALLOC_FL_KEEP_SIZE, offset, size));

    if (ret || madvise(host, size, MADV_DONTNEED)) {
        return -errno;
    }
    return 0;
}
#else
int gmem_replace_page(int fd, void *host, uint64_t offset, size_t size)
{
    return -ENOSYS;
}
#endif
