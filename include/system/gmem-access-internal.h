/*
 * guest_memfd in-place conversion: shared by gmem-access.c, -iov.c, -sigbus.c
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: not for other files.
 */

#ifndef SYSTEM_GMEM_ACCESS_INTERNAL_H
#define SYSTEM_GMEM_ACCESS_INTERNAL_H

/*
 * There is in-place memory, or was.  Set under the BQL when the first such
 * region is made, before anybody can map it; may be read without a lock.
 */
extern bool gmem_access_in_use;

/**
 * gmem_guard_escape: leave the guarded copy that this thread is in
 * @addr: what raised SIGBUS (BUS_ADRERR)
 *
 * For the handler of SIGBUS only, which must have been entered with no other
 * signal added to the mask than SIGBUS.  Returns if the thread is in no guarded
 * copy, or in one of another page.
 */
void gmem_guard_escape(const void *addr);

#endif /* SYSTEM_GMEM_ACCESS_INTERNAL_H */
