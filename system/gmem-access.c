/*
 * guest_memfd in-place conversion: accesses by QEMU itself
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: guarded copies, and the memory region operations made of them.
 * See gmem-access.h; what happens without a guard is in gmem-sigbus.c.
 */

#include "qemu/osdep.h"
#include <setjmp.h>
#include "qemu/bswap.h"
#include "system/gmem-access.h"
#include "system/gmem-access-internal.h"
#include "system/ramblock.h"

/* The guarded copy that this thread is in; it never yields in there. */
typedef struct GmemGuard {
    sigjmp_buf env;
    uintptr_t start;
    size_t size;
} GmemGuard;

static __thread GmemGuard *gmem_guard;

bool gmem_access_in_use;

void gmem_guard_escape(const void *addr)
{
    GmemGuard *guard = gmem_guard;
    sigset_t set;

    if (!guard || (uintptr_t)addr - guard->start >= guard->size) {
        return;
    }
    /*
     * The copy does not save the signal mask, which would cost it a system
     * call; so undo what the kernel did to it for the handler.
     */
    sigemptyset(&set);
    sigaddset(&set, SIGBUS);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    siglongjmp(guard->env, 1);
}

/* One load or store where the size allows it: the guest may poll on it. */
static inline void gmem_copy_chunk(void *dst, const void *src, size_t size)
{
    switch (size) {
    case 1:
        __builtin_memcpy(dst, src, 1);
        break;
    case 2:
        __builtin_memcpy(dst, src, 2);
        break;
    case 4:
        __builtin_memcpy(dst, src, 4);
        break;
    case 8:
        __builtin_memcpy(dst, src, 8);
        break;
    default:
        memmove(dst, src, size);
        break;
    }
}

bool gmem_access_copy(void *ram, void *buf, size_t size, bool is_write)
{
    size_t page_size = qemu_real_host_page_size();
    GmemGuard guard = { .start = (uintptr_t)ram, .size = size };
    /* volatile: read after siglongjmp() */
    volatile size_t done = 0;

    if (sigsetjmp(guard.env, 0)) {
        gmem_guard = NULL;
        if (!is_write) {
            memset(buf + done, 0, size - done);
        }
        return false;
    }

    /* memmove() may begin at the end: page by page, to know how far it got */
    gmem_guard = &guard;
    barrier();
    while (done < size) {
        size_t in_page = page_size - (((uintptr_t)ram + done) % page_size);
        size_t n = MIN(size - done, in_page);

        if (is_write) {
            gmem_copy_chunk(ram + done, buf + done, n);
        } else {
            gmem_copy_chunk(buf + done, ram + done, n);
        }
        barrier();
        done += n;
    }
    gmem_guard = NULL;
    return true;
}

static MemTxResult gmem_region_read(void *opaque, hwaddr addr, uint64_t *data,
                                    unsigned size, MemTxAttrs attrs)
{
    MemoryRegion *mr = opaque;
    uint8_t buf[8];
    bool ok = gmem_access_copy(mr->ram_block->host + addr, buf, size, false);

    *data = ldn_he_p(buf, size);
    return ok ? MEMTX_OK : MEMTX_ACCESS_ERROR;
}

static MemTxResult gmem_region_write(void *opaque, hwaddr addr, uint64_t data,
                                     unsigned size, MemTxAttrs attrs)
{
    MemoryRegion *mr = opaque;
    uint8_t buf[8];

    stn_he_p(buf, size, data);
    if (!gmem_access_copy(mr->ram_block->host + addr, buf, size, true)) {
        return MEMTX_ACCESS_ERROR;
    }
    memory_region_set_dirty(mr, addr, size);
    return MEMTX_OK;
}

/* ROM is written by the debugger only, as in memory_region_is_mappable(). */
static bool gmem_region_accepts(void *opaque, hwaddr addr, unsigned size,
                                bool is_write, MemTxAttrs attrs)
{
    return memory_region_is_mappable(opaque, is_write, attrs);
}

static const MemoryRegionOps gmem_region_ops = {
    .read_with_attrs = gmem_region_read,
    .write_with_attrs = gmem_region_write,
    .endianness = HOST_BIG_ENDIAN ? DEVICE_BIG_ENDIAN : DEVICE_LITTLE_ENDIAN,
    .valid = {
        .min_access_size = 1,
        .max_access_size = 8,
        .unaligned = true,
        .accepts = gmem_region_accepts,
    },
    .impl = {
        .min_access_size = 1,
        .max_access_size = 8,
        .unaligned = true,
    },
};

void gmem_access_init_region(MemoryRegion *mr)
{
    gmem_access_in_use = true;
    mr->ops = &gmem_region_ops;
    mr->opaque = mr;
    mr->lockless_io = true;
    mr->in_place = true;
}
