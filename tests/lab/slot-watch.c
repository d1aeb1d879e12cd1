/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * slot-watch.so, to be preloaded: says so if a memory slot is deleted while a
 * conversion is in the kernel.  Conversions take longer, so that it happens.
 *
 * The kernel survives it, but may be told to convert what has no slot then.
 *
 * QEMU calls ioctl() of the C library with one argument; so does this.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/kvm.h>

#define CONVERSION_US   2000

static atomic_int converting;

static int convert(int fd, unsigned long request, unsigned long argument)
{
    int ret, err;

    atomic_fetch_add(&converting, 1);
    ret = syscall(SYS_ioctl, fd, request, argument);
    err = errno;
    usleep(CONVERSION_US);
    atomic_fetch_sub(&converting, 1);
    errno = err;
    return ret;
}

static void look(const struct kvm_userspace_memory_region2 *slot)
{
    static const char message[] =
        "slot-watch: a memory slot is deleted while a conversion runs\n";

    if (!slot->memory_size && atomic_load(&converting) &&
        write(STDERR_FILENO, message, sizeof(message) - 1) < 0) {
        _exit(1);
    }
}

int ioctl(int fd, unsigned long request, ...)
{
    unsigned long argument;
    va_list ap;

    va_start(ap, request);
    argument = va_arg(ap, unsigned long);
    va_end(ap);

    if (request == KVM_SET_MEMORY_ATTRIBUTES2) {
        return convert(fd, request, argument);
    }
    if (request == KVM_SET_USER_MEMORY_REGION2) {
        look((const void *)argument);
    }
    return syscall(SYS_ioctl, fd, request, argument);
}
