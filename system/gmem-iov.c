/*
 * guest_memfd in-place conversion: buffers of a request that is under way
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: guarded copies over a list of buffers.  See gmem-iov.h.
 */

#include "qemu/osdep.h"
#include "system/gmem-access.h"
#include "system/gmem-iov.h"

int gmem_iov_zero(const struct iovec *iov, unsigned niov, size_t offset,
                  size_t bytes)
{
    static const uint8_t zeros[4096];
    unsigned i;

    for (i = 0; bytes; i++) {
        size_t pos;

        assert(i < niov);
        pos = MIN(offset, iov[i].iov_len);
        offset -= pos;
        while (bytes && pos < iov[i].iov_len) {
            size_t n = MIN(MIN(iov[i].iov_len - pos, bytes), sizeof(zeros));

            /* Only read from: the copy goes to the guest's memory */
            if (!gmem_access_copy(iov[i].iov_base + pos, (void *)zeros, n,
                                  true)) {
                return -EFAULT;
            }
            pos += n;
            bytes -= n;
        }
    }
    return 0;
}

int gmem_iov_copy(const struct iovec *iov, unsigned niov, void *buf,
                  size_t bytes, bool to_iov)
{
    int ret = 0;
    unsigned i;

    for (i = 0; bytes; i++) {
        size_t n;

        assert(i < niov);
        n = MIN(iov[i].iov_len, bytes);
        if (!gmem_access_copy(iov[i].iov_base, buf, n, to_iov)) {
            ret = -EFAULT;
            if (to_iov) {
                break;
            }
        }
        buf += n;
        bytes -= n;
    }
    return ret;
}
