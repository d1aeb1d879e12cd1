/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fail-call.so, to be preloaded: calls that fail by the size that they are
 * about, so that a scenario can choose the error path.
 *
 *   24 MiB    KVM_CREATE_GUEST_MEMFD: ENOMEM
 *   28 MiB    mmap() of a file: ENOMEM
 *   36 MiB    fallocate() of a file of that size: ENOSPC
 *   72 MiB    mmap() of a file: its first page stays in use, for good
 */
#define _GNU_SOURCE
/* With it, mmap and fallocate would be other names of mmap64 and fallocate64. */
#undef _FILE_OFFSET_BITS
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define MIB             (1024ul * 1024)
#define FAIL_CREATE     (24 * MIB)
#define FAIL_MMAP       (28 * MIB)
#define FAIL_FALLOCATE  (36 * MIB)
#define HOLD_PAGE       (72 * MIB)

/* The kernel's headers on the build machine may be older than guest_memfd. */
struct create_guest_memfd {
    uint64_t size;
    uint64_t flags;
    uint64_t reserved[6];
};
#define CREATE_GUEST_MEMFD  _IOWR(0xae, 0xd4, struct create_guest_memfd)

int ioctl(int fd, unsigned long request, ...)
{
    va_list ap;
    void *arg;

    va_start(ap, request);
    arg = va_arg(ap, void *);
    va_end(ap);
    if (request == CREATE_GUEST_MEMFD &&
        ((struct create_guest_memfd *)arg)->size == FAIL_CREATE) {
        errno = ENOMEM;
        return -1;
    }
    return syscall(SYS_ioctl, fd, request, arg);
}

/* A pipe that nobody reads has a reference to the page. */
static void hold(void *page)
{
    struct iovec v = { page, 4096 };
    int p[2];

    *(volatile char *)page = 0;
    if (pipe(p) < 0 || vmsplice(p[1], &v, 1, 0) != (ssize_t)v.iov_len) {
        dprintf(2, "fail-call.so cannot hold a page\n");
    }
}

void *mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
    if (fd >= 0 && size == FAIL_MMAP) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    addr = (void *)syscall(SYS_mmap, addr, size, prot, flags, fd, offset);
    if (addr != MAP_FAILED && fd >= 0 && size == HOLD_PAGE) {
        hold(addr);
    }
    return addr;
}

void *mmap64(void *addr, size_t size, int prot, int flags, int fd,
             off_t offset) __attribute__((alias("mmap")));

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    struct stat st;

    if (fstat(fd, &st) == 0 && st.st_size == FAIL_FALLOCATE) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_fallocate, fd, mode, offset, size);
}

int fallocate64(int fd, int mode, off_t offset, off_t size)
    __attribute__((alias("fallocate")));
