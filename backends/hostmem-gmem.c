/*
 * Memory backends on guest_memfd
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/thread.h"
#include "qemu/thread-context.h"
#include "qemu/units.h"
#include "system/gmem.h"
#include "system/gmem-hostmem.h"
#include "system/ramblock.h"
#include "trace.h"

/* As in util/oslib-posix.c: fewer pages are not worth a thread. */
#define POPULATE_MAX_THREADS    16
#define POPULATE_THREAD_MIN     (64 * MiB)

/*
 * One call to the kernel.  A signal ends a call, and the next one has to pass
 * over what is there already, so a call must not be too long.
 */
#define POPULATE_STEP           (1 * GiB)

bool host_memory_backend_in_place(const HostMemoryBackend *backend)
{
    return backend->guest_memfd && kvm_gmem_in_place();
}

bool host_memory_backend_alloc_in_place(HostMemoryBackend *backend,
                                        Error **errp)
{
    g_autofree char *name = host_memory_backend_get_name(backend);

    /* KSM takes private mappings only. */
    backend->merge = false;
    return memory_region_init_ram_flags_nomigrate(&backend->mr,
                                                  OBJECT(backend), name,
                                                  backend->size,
                                                  RAM_GUEST_MEMFD, errp);
}

#ifdef CONFIG_LINUX
bool host_memory_backend_alloc_guest_memfd(HostMemoryBackend *backend,
                                           const char *what, Error **errp)
{
    g_autofree char *name = host_memory_backend_get_name(backend);
    uint64_t size = ROUND_UP(backend->size, qemu_real_host_page_size());
    int fd;

    backend->aligned = true;
    if (host_memory_backend_in_place(backend)) {
        return host_memory_backend_alloc_in_place(backend, errp);
    }
    if (backend->guest_memfd) {
        error_setg(errp, "%s: this confidential guest has a page for each "
                   "state; in-place conversion needs a host kernel that has "
                   "it, booted with kvm.gmem_in_place_conversion=1, or use "
                   "memory-backend-memfd", what);
        return false;
    }
    if (!backend->share) {
        error_setg(errp, "%s: the pages of a guest_memfd are always shared; "
                   "use share=on", what);
        return false;
    }

    fd = kvm_gmem_create_shared(size, what, errp);
    if (fd < 0) {
        return false;
    }
    backend->merge = false;
    if (!memory_region_init_ram_from_fd(&backend->mr, OBJECT(backend), name,
                                        backend->size, RAM_SHARED, fd, 0,
                                        errp)) {
        close(fd);
        return false;
    }
    backend->mr.ram_block->fd_is_guest_memfd = true;
    return true;
}
#endif

bool host_memory_backend_refuse_in_place(const HostMemoryBackend *backend,
                                         const char *what, Error **errp)
{
    return host_memory_backend_in_place(backend) &&
           kvm_gmem_refuse(what, "its pages come from a guest_memfd; use "
                           "memory-backend-memfd or memory-backend-ram, "
                           "without mem-path and huge pages", errp);
}

#ifdef CONFIG_LINUX

/* The part of a file that one thread populates. */
typedef struct PopulatePart {
    QemuThread thread;
    int fd;
    uint64_t offset;
    uint64_t end;
    int err;
} PopulatePart;

static void *populate_part(void *opaque)
{
    PopulatePart *part = opaque;

    while (part->offset < part->end) {
        uint64_t size = MIN(part->end - part->offset, POPULATE_STEP);

        if (fallocate(part->fd, FALLOC_FL_KEEP_SIZE, part->offset, size) == 0) {
            part->offset += size;
        } else if (errno != EINTR) {
            part->err = errno;
            break;
        }
    }
    return NULL;
}

static unsigned populate_threads(const HostMemoryBackend *backend,
                                 uint64_t size)
{
    uint64_t cpus = MAX(1, sysconf(_SC_NPROCESSORS_ONLN));
    uint64_t n = MIN(MIN(cpus, POPULATE_MAX_THREADS),
                     backend->prealloc_threads);

    return MAX(1, MIN(n, size / POPULATE_THREAD_MIN));
}

/* Returns true, or false with the first part that failed in *@failed. */
static bool populate_file(const HostMemoryBackend *backend, int fd,
                          uint64_t size, PopulatePart *failed)
{
    unsigned n = populate_threads(backend, size);
    g_autofree PopulatePart *parts = g_new0(PopulatePart, n);
    ThreadContext *tc = backend->prealloc_context;
    uint64_t step = ROUND_UP(size / n, qemu_real_host_page_size());
    bool ok = true;

    trace_host_memory_backend_populate(memory_region_name(&backend->mr), size,
                                       n);
    for (unsigned i = 0; i < n; i++) {
        parts[i].fd = fd;
        parts[i].offset = MIN(size, i * step);
        parts[i].end = i == n - 1 ? size : MIN(size, (i + 1) * step);
        if (tc) {
            thread_context_create_thread(tc, &parts[i].thread, "populate",
                                         populate_part, &parts[i],
                                         QEMU_THREAD_JOINABLE);
        } else {
            qemu_thread_create(&parts[i].thread, "populate", populate_part,
                               &parts[i], QEMU_THREAD_JOINABLE);
        }
    }
    for (unsigned i = 0; i < n; i++) {
        qemu_thread_join(&parts[i].thread);
        if (parts[i].err && ok) {
            *failed = parts[i];
            ok = false;
        }
    }
    return ok;
}

/* The guest_memfd that has the pages of @backend, or -1. */
static int populate_fd(const HostMemoryBackend *backend)
{
    RAMBlock *rb = backend->mr.ram_block;

    if (ram_block_is_in_place(rb)) {
        return rb->guest_memfd;
    }
    return rb->fd_is_guest_memfd ? rb->fd : -1;
}

bool host_memory_backend_populate(HostMemoryBackend *backend, bool async,
                                  Error **errp)
{
    uint64_t size = memory_region_size(&backend->mr);
    int fd = populate_fd(backend);
    PopulatePart failed = { };

    if (fd < 0) {
        return qemu_prealloc_mem(memory_region_get_fd(&backend->mr),
                                 memory_region_get_ram_ptr(&backend->mr), size,
                                 backend->prealloc_threads,
                                 backend->prealloc_context, async, errp);
    }

    size = ROUND_UP(size, qemu_real_host_page_size());
    if (!populate_file(backend, fd, size, &failed)) {
        error_setg_errno(errp, failed.err, "memory backend '%s': cannot "
                         "allocate [0x%" PRIx64 ", 0x%" PRIx64 ") of its "
                         "guest_memfd; free memory on the backend's host "
                         "nodes, or use prealloc=off",
                         memory_region_name(&backend->mr), failed.offset,
                         failed.end);
        return false;
    }
    return true;
}

#else /* !CONFIG_LINUX */

bool host_memory_backend_populate(HostMemoryBackend *backend, bool async,
                                  Error **errp)
{
    return qemu_prealloc_mem(memory_region_get_fd(&backend->mr),
                             memory_region_get_ram_ptr(&backend->mr),
                             memory_region_size(&backend->mr),
                             backend->prealloc_threads,
                             backend->prealloc_context, async, errp);
}

#endif
