/*
 * memory-backend-memfd-private: guest memory out of a guest_memfd
 *
 * In a confidential guest whose memory is converted in place: the same block
 * as any other backend gives, for users who want to say so.  In any other
 * guest: ordinary memory, shared as a whole, whose file happens to be a
 * guest_memfd.  It is not bound to a memory slot, so that all that works with
 * a memfd works with it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/module.h"
#include "system/gmem-hostmem.h"
#include "system/hostmem.h"

#define TYPE_MEMORY_BACKEND_MEMFD_PRIVATE "memory-backend-memfd-private"

/* The name that testers of in-place conversion have in their scripts. */
#define TYPE_MEMORY_BACKEND_GUEST_MEMFD "memory-backend-guest-memfd"

static bool memfd_private_backend_alloc(HostMemoryBackend *backend,
                                        Error **errp)
{
    const char *type = object_get_typename(OBJECT(backend));

    if (!backend->size) {
        error_setg(errp, "can't create backend with size 0");
        return false;
    }
    return host_memory_backend_alloc_guest_memfd(backend, type, errp);
}

static void memfd_private_backend_instance_init(Object *obj)
{
    MEMORY_BACKEND(obj)->share = true;
}

static void memfd_private_backend_class_init(ObjectClass *oc, const void *data)
{
    HostMemoryBackendClass *bc = MEMORY_BACKEND_CLASS(oc);

    bc->alloc = memfd_private_backend_alloc;
}

static const TypeInfo memfd_private_backend_types[] = {
    {
        .name = TYPE_MEMORY_BACKEND_MEMFD_PRIVATE,
        .parent = TYPE_MEMORY_BACKEND,
        .instance_init = memfd_private_backend_instance_init,
        .class_init = memfd_private_backend_class_init,
    },
    {
        .name = TYPE_MEMORY_BACKEND_GUEST_MEMFD,
        .parent = TYPE_MEMORY_BACKEND_MEMFD_PRIVATE,
    },
};

DEFINE_TYPES(memfd_private_backend_types)
