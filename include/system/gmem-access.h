/*
 * guest_memfd in-place conversion: accesses by QEMU itself
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: the host mapping of an in-place RAM block covers private pages
 * too, and touching one raises SIGBUS.  The guest chooses the addresses that
 * devices use, and other vCPUs change the state of a page at any time, so no
 * check in front of an access could be relied on.  There are three answers:
 *
 *   an access that QEMU makes on its own (address_space_read() and the like)
 *   is a guarded copy: SIGBUS ends the copy, and the device sees a bus error;
 *
 *   a mapping (address_space_map(), address_space_cache_init()) ends in front
 *   of the first page that is private now;
 *
 *   a page that becomes private while it is mapped ends QEMU with one line
 *   that names RAM block, offset and thread, if QEMU touches it.  (A syscall
 *   that is given such a page answers EFAULT: an I/O error for the guest.)
 */

#ifndef SYSTEM_GMEM_ACCESS_H
#define SYSTEM_GMEM_ACCESS_H

#include "system/memory.h"

#ifdef CONFIG_LINUX

/**
 * gmem_access_init: get ready for in-place RAM blocks
 *
 * Lets SIGBUS through to its handler in the calling thread, which must be the
 * main thread, with the main loop set up.  (Other threads are created so.)  A
 * machine check that comes by SIGBUS then interrupts the main thread, where it
 * came through the main loop before; it is sent on to the main loop.
 *
 * Returns true, or false with @errp set.
 */
bool gmem_access_init(Error **errp);

/**
 * gmem_access_init_region: @mr is in-place RAM from now on
 *
 * @mr: the region of a RAM block that is being made
 *
 * Single loads and stores (address_space_ldl() etc.) take the way of MMIO from
 * now on: to operations that are a guarded copy.  No lock is taken for them.
 *
 * The caller holds the BQL; nobody uses the region yet.
 */
void gmem_access_init_region(MemoryRegion *mr);

/**
 * gmem_access_copy: copy from or to in-place RAM, unless it is private
 *
 * @ram: host address in one in-place RAM block
 * @buf: memory that is not private
 * @size: bytes; need not be aligned, nor inside of one page
 * @is_write: to @ram; else from @ram
 *
 * An access of 1, 2, 4 or 8 bytes inside of one page is one load or store.
 * The copy ends in front of the first page that is private.  What is missing
 * of a read is filled with zeros.
 *
 * May be called from any thread, with or without the BQL, in a coroutine, in
 * an RCU critical section that keeps the block.
 *
 * Returns whether all of it was copied.
 */
bool gmem_access_copy(void *ram, void *buf, size_t size, bool is_write);

/**
 * gmem_access_sigbus: the part of the SIGBUS handler for in-place RAM
 *
 * @info, @ctx: as the handler got them; @ctx is NULL when the main loop calls
 *   it for a signal that it took from a file descriptor
 *
 * Async-signal-safe.  Does not return if the thread is in a guarded copy of
 * the page.  Otherwise says in one line on standard error which page of which
 * RAM block was touched by whom, if it was one of an in-place block.
 *
 * Returns whether the signal has been dealt with.
 */
bool gmem_access_sigbus(const siginfo_t *info, const void *ctx);

#else

static inline void gmem_access_init_region(MemoryRegion *mr)
{
    g_assert_not_reached();
}

static inline bool gmem_access_copy(void *ram, void *buf, size_t size,
                                    bool is_write)
{
    g_assert_not_reached();
}

#endif

#endif /* SYSTEM_GMEM_ACCESS_H */
