/*
 * guest_memfd in-place conversion: what gmem-access.c and gmem-sigbus.c share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: not for other files.
 */

#ifndef SYSTEM_GMEM_ACCESS_INTERNAL_H
#define SYSTEM_GMEM_ACCESS_INTERNAL_H

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
