/*
 * guest_memfd in-place conversion: buffers of a request that is under way
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: guarded copies over a list of buffers.  See gmem-iov.h.
 */

#include "qemu/osdep.h"
#include "system/gmem-access.h"
#include "system/gmem-access-internal.h"
#include "system/gmem-iov.h"

bool gmem_iov_move(void *base, void *buf, size_t bytes, bool to_iov)
{
    if (gmem_access_in_use) {
        return gmem_access_copy(base, buf, bytes, to_iov);
    }
    memcpy(to_iov ? base : buf, to_iov ? buf : base, bytes);
    return true;
}

bool gmem_iov_set(void *base, int c, size_t bytes)
{
    uint8_t chunk[4096];

    if (!gmem_access_in_use) {
        memset(base, c, bytes);
        return true;
    }
    memset(chunk, c, MIN(bytes, sizeof(chunk)));
    while (bytes) {
        size_t n = MIN(bytes, sizeof(chunk));

        if (!gmem_access_copy(base, chunk, n, true)) {
            return false;
        }
        base += n;
        bytes -= n;
    }
    return true;
}

bool gmem_iov_guests_fault(int error)
{
    return error == EFAULT && gmem_access_in_use;
}

int gmem_iov_zero(const struct iovec *iov, unsigned niov, size_t offset,
                  size_t bytes)
{
    unsigned i;

    for (i = 0; bytes; i++) {
        size_t pos, n;

        assert(i < niov);
        pos = MIN(offset, iov[i].iov_len);
        offset -= pos;
        n = MIN(iov[i].iov_len - pos, bytes);
        if (!gmem_iov_set(iov[i].iov_base + pos, 0, n)) {
            return -EFAULT;
        }
        bytes -= n;
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
        if (!gmem_iov_move(iov[i].iov_base, buf, n, to_iov)) {
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
