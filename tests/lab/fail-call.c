/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fail-call.so, to be preloaded: calls that fail by the size that they are
 * about, so that a scenario can choose the error path.
 *
 *   24 MiB    KVM_CREATE_GUEST_MEMFD: ENOMEM
 *   28 MiB    mmap() of a file: ENOMEM
 *   36 MiB    fallocate() of a file of that size: ENOSPC
 *   72 MiB    mmap() of a file: its first page stays in use, for good
 *   12 KiB    pread(), preadv(): after some time the file ends behind 1 KiB
 *   10 MiB    KVM_SET_MEMORY_ATTRIBUTES2: takes one and a half seconds more
 *   16 MiB, and more
 *             KVM_PRE_FAULT_MEMORY: the first call waits for a signal before it
 *             begins, as if that had come just then; a further one before the
 *             vCPU's next KVM_RUN is told on stderr
 */
#define _GNU_SOURCE
/* With it, mmap and fallocate would be other names of mmap64 and fallocate64. */
#undef _FILE_OFFSET_BITS
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <linux/kvm.h>

#define MIB             (1024ul * 1024)
#define FAIL_CREATE     (24 * MIB)
#define FAIL_MMAP       (28 * MIB)
#define FAIL_FALLOCATE  (36 * MIB)
#define HOLD_PAGE       (72 * MIB)
#define PREFAULT        (16 * MIB)
#define SLOW_CONVERT    (10 * MIB)
#define SHORT_READ      (12 * 1024ul)
#define SHORT_ANSWER    1024ul

#define SLOW_CONVERT_MS     1500

/* Nobody wants the vCPU for so long: something is wrong with the scenario. */
#define SIGNAL_WAIT_S       20

/* Of a vCPU's thread: a call has waited for a signal; it ran since then. */
static __thread bool waited, ran;

/*
 * QEMU's handler of the signal runs in here, so the call itself will not be
 * interrupted any more.
 */
static void before_prefault(uint64_t size)
{
    struct timespec limit = { .tv_sec = SIGNAL_WAIT_S };

    if (!waited && size >= PREFAULT) {
        waited = true;
        if (nanosleep(&limit, NULL) == 0) {
            dprintf(2, "fail-call.so: no signal came\n");
        }
    } else if (waited && !ran) {
        dprintf(2, "fail-call.so: memory is mapped after the signal\n");
    }
}

static void dawdle(unsigned ms)
{
    struct timespec pause = {
        .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l,
    };

    nanosleep(&pause, NULL);
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list ap;
    void *arg;

    va_start(ap, request);
    arg = va_arg(ap, void *);
    va_end(ap);
    if (request == KVM_CREATE_GUEST_MEMFD &&
        ((struct kvm_create_guest_memfd *)arg)->size == FAIL_CREATE) {
        errno = ENOMEM;
        return -1;
    }
    if (request == KVM_PRE_FAULT_MEMORY) {
        before_prefault(((struct kvm_pre_fault_memory *)arg)->size);
    } else if (request == KVM_SET_MEMORY_ATTRIBUTES2 &&
               ((struct kvm_memory_attributes2 *)arg)->size == SLOW_CONVERT) {
        dawdle(SLOW_CONVERT_MS);
    } else if (request == KVM_RUN) {
        ran = waited;
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

ssize_t pread(int fd, void *buf, size_t size, off_t offset)
{
    switch (size) {
    case SHORT_READ:
        size = syscall(SYS_pread64, fd, buf, SHORT_ANSWER, offset);
        /* Long enough for the buffer's pages to change their state meanwhile */
        dawdle(20);
        return size;
    case SHORT_READ - SHORT_ANSWER:
        return 0;
    default:
        return syscall(SYS_pread64, fd, buf, size, offset);
    }
}

ssize_t pread64(int fd, void *buf, size_t size, off_t offset)
    __attribute__((alias("pread")));

/* The system call takes the offset in two halves. */
ssize_t preadv(int fd, const struct iovec *iov, int niov, off_t offset)
{
    size_t size = 0;

    for (int i = 0; i < niov; i++) {
        size += iov[i].iov_len;
    }
    if (size == SHORT_READ) {
        return pread(fd, iov[0].iov_base, SHORT_ANSWER, offset);
    }
    return syscall(SYS_preadv, fd, iov, niov, offset, 0);
}

ssize_t preadv64(int fd, const struct iovec *iov, int niov, off_t offset)
    __attribute__((alias("preadv")));
