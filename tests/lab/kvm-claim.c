/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * To be preloaded: a KVM that says something else than it does.
 *
 *   kvm-silent.so  does not say that it can convert guest_memfd in place, as
 *                  if the capability had another number
 *   kvm-boasts.so  says so, but knows no such ioctl
 *   kvm-no-prefault.so
 *                  does not say that it can map guest memory in advance
 *
 * QEMU calls ioctl() of the C library with one argument; so does this.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/kvm.h>

int ioctl(int fd, unsigned long request, ...)
{
    unsigned long argument;
    va_list ap;

    va_start(ap, request);
    argument = va_arg(ap, unsigned long);
    va_end(ap);

#if defined(CLAIM_NO_PREFAULT)
    if (request == KVM_CHECK_EXTENSION &&
        argument == KVM_CAP_PRE_FAULT_MEMORY) {
        return 0;
    }
#elif defined(CLAIM_NOTHING)
    if (request == KVM_CHECK_EXTENSION &&
        argument == KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES) {
        return 0;
    }
#else
    if (request == KVM_SET_MEMORY_ATTRIBUTES2) {
        errno = ENOTTY;
        return -1;
    }
#endif
    return syscall(SYS_ioctl, fd, request, argument);
}
