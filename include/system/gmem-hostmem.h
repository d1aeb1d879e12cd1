/*
 * Memory backends on guest_memfd
 *
 * Backends follow the mode of the machine: in a confidential guest whose
 * memory is converted in place, memory-backend-ram and memory-backend-memfd
 * give in-place RAM blocks, whatever their options say about sharing, and a
 * backend that insists on a file of its own is refused.  The block itself is
 * made where all of them are, in ram_block_add().
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_GMEM_HOSTMEM_H
#define SYSTEM_GMEM_HOSTMEM_H

#include "system/hostmem.h"

/**
 * host_memory_backend_in_place: will the memory of a backend be converted in
 * place?
 * @backend: the backend, with or without memory yet
 *
 * Constant once the accelerator is initialized, which is before backends
 * allocate their memory.  No lock is needed.
 */
bool host_memory_backend_in_place(const HostMemoryBackend *backend);

/**
 * host_memory_backend_alloc_in_place: HostMemoryBackendClass::alloc for
 * in-place memory
 * @backend: the backend; host_memory_backend_in_place() holds
 * @errp: where to store the error
 *
 * "share" and "reserve" are accepted and change nothing: the pages of a
 * guest_memfd are always shared with KVM, and never swapped.
 *
 * The caller holds the BQL.  Returns true, or false with @errp set and
 * nothing left behind.
 */
bool host_memory_backend_alloc_in_place(HostMemoryBackend *backend,
                                        Error **errp);

/**
 * host_memory_backend_alloc_guest_memfd: HostMemoryBackendClass::alloc for
 * memory that is a guest_memfd in any guest
 * @backend: the backend
 * @what: what the user wrote, for messages
 * @errp: where to store the error
 *
 * In a confidential guest: memory that is converted in place.  It is refused
 * where the host keeps shared and private memory apart, as there is no
 * guest_memfd for the shared part.  In any other guest: memory that is shared
 * as a whole, in a guest_memfd that KVM does not know as such
 * (RAMBlock::fd_is_guest_memfd).
 *
 * The caller holds the BQL.  Returns true, or false with @errp set and
 * nothing left behind.
 */
bool host_memory_backend_alloc_guest_memfd(HostMemoryBackend *backend,
                                           const char *what, Error **errp);

/**
 * host_memory_backend_refuse_in_place: refuse a backend with a file of its own
 * @backend: the backend
 * @what: what the user wrote, for the message
 * @errp: where to store the error
 *
 * To be called before the file is opened or made.
 *
 * Returns true, with @errp set, in a guest whose memory is converted in place.
 */
bool host_memory_backend_refuse_in_place(const HostMemoryBackend *backend,
                                         const char *what, Error **errp);

/**
 * host_memory_backend_populate: allocate all pages of a backend now
 * @backend: the backend; has memory
 * @async: whether qemu_finish_async_prealloc_mem() will be called
 * @errp: where to store the error
 *
 * Pages of a guest_memfd are allocated by fallocate(), in up to
 * "prealloc-threads" threads: a private page must not be touched, and the NUMA
 * policy is the file's.  Other memory is left to qemu_prealloc_mem().
 *
 * The caller holds the BQL.  Returns true, or false with @errp set; pages that
 * were allocated until then stay allocated.
 */
bool host_memory_backend_populate(HostMemoryBackend *backend, bool async,
                                  Error **errp);

#endif /* SYSTEM_GMEM_HOSTMEM_H */
