/*
 * guest_memfd in-place conversion: tools and hosts that have no in-place memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/iov.h"
#include "system/gmem-iov.h"

int gmem_iov_zero(const struct iovec *iov, unsigned niov, size_t offset,
                  size_t bytes)
{
    iov_memset(iov, niov, offset, 0, bytes);
    return 0;
}

int gmem_iov_copy(const struct iovec *iov, unsigned niov, void *buf,
                  size_t bytes, bool to_iov)
{
    if (to_iov) {
        iov_from_buf(iov, niov, 0, buf, bytes);
    } else {
        iov_to_buf(iov, niov, 0, buf, bytes);
    }
    return 0;
}

bool gmem_iov_move(void *base, void *buf, size_t bytes, bool to_iov)
{
    memcpy(to_iov ? base : buf, to_iov ? buf : base, bytes);
    return true;
}

bool gmem_iov_set(void *base, int c, size_t bytes)
{
    memset(base, c, bytes);
    return true;
}

bool gmem_iov_guests_fault(int error)
{
    return false;
}
