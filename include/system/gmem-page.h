/*
 * guest_memfd in-place conversion: a page of the file is to be a new one
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_GMEM_PAGE_H
#define SYSTEM_GMEM_PAGE_H

/**
 * gmem_replace_page: get rid of pages of a file, and have new ones in its place
 *
 * @fd: a guest_memfd, or any file that can have holes; mapped by MAP_SHARED
 * @host: where QEMU has @offset of it mapped
 * @offset, @size: the pages, in bytes; multiples of the page size
 *
 * For a page that the hardware has spoiled, when nobody needs its content any
 * more.  The hole makes KVM and every mapping of the file let go of the page.
 * An entry in QEMU's page tables that says "poisoned" is no page, though, and
 * so no hole removes it; that takes a call of its own.  Whoever touches the
 * range next, guest or QEMU, allocates a page of zeros that both have.
 *
 * The file keeps its size, and KVM the states of the pages.  Takes no lock.
 *
 * Returns 0 or -errno: the mapping still is that of the file, and the old pages
 * may still be in it.
 *
 * Facts: Linux 7.3.4, kvm_gmem_punch_hole(); truncate_cleanup_folio() unmaps
 * folios that are mapped, which a hwpoison entry does not count as.
 */
int gmem_replace_page(int fd, void *host, uint64_t offset, size_t size);

#endif /* SYSTEM_GMEM_PAGE_H */
