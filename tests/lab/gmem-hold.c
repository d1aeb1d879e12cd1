/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Holding pages of a guest_memfd; see gmem_pin() in gmem-file.h.
 *
 * vmsplice keeps a reference to each page until the pipe is read or closed,
 * and needs nothing but a mapping.  A child process owns the pipe alone:
 * when it ends, however that happens, the pages are free.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "gmem-file.h"
#include "pattern.h"

/* A pipe has one slot per page; unprivileged pipes stop at 256. */
#define PIPE_PAGES_MAX  256

struct GmemPin {
    pid_t child;
    int start;          /* one byte written here starts the clock */
};

/* One page of every @stride; returns 0 or errno. */
static int hold_pages(GmemFile *f, uint64_t offset, uint64_t npages,
                      uint64_t stride)
{
    uint64_t step = stride * LAB_PAGE_SIZE;

    while (npages) {
        uint64_t n = MIN(npages, PIPE_PAGES_MAX);
        uint64_t size = (n - 1) * step + LAB_PAGE_SIZE;
        int pipe_fds[2];
        char *base;

        base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd,
                    offset);
        if (base == MAP_FAILED || pipe(pipe_fds) < 0) {
            return errno;
        }
        if (n > 16 && fcntl(pipe_fds[1], F_SETPIPE_SZ,
                            (int)(n * LAB_PAGE_SIZE)) < 0) {
            return errno;
        }
        for (uint64_t i = 0; i < n; i++) {
            struct iovec iov = { base + i * step, LAB_PAGE_SIZE };
            ssize_t done = vmsplice(pipe_fds[1], &iov, 1, SPLICE_F_NONBLOCK);

            if (done != LAB_PAGE_SIZE) {
                return done < 0 ? errno : EIO;
            }
        }
        offset += n * step;
        npages -= n;
    }
    return 0;
}

static void pin_child(GmemFile *f, uint64_t offset, uint64_t npages,
                      uint64_t stride, int64_t ms, int report, int start)
{
    unsigned char answer;
    char go;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    answer = hold_pages(f, offset, npages, stride);
    if (write(report, &answer, 1) != 1 || answer) {
        _exit(1);
    }
    if (read(start, &go, 1) != 1) {
        _exit(1);
    }
    if (ms < 0) {
        for (;;) {
            pause();
        }
    } else {
        struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

        while (nanosleep(&t, &t) < 0 && errno == EINTR) {
            /* the rest of the time */
        }
    }
    _exit(0);
}

GmemPin *gmem_pin(GmemFile *f, uint64_t offset, uint64_t npages,
                  uint64_t stride, int64_t ms, char **error)
{
    GmemPin *p;
    int report[2], start[2];
    unsigned char answer = 255;
    pid_t child;

    if (!npages || !stride || offset % LAB_PAGE_SIZE || offset >= f->size ||
        npages - 1 > ((f->size - offset) / LAB_PAGE_SIZE - 1) / stride) {
        *error = g_strdup_printf("cannot hold %" PRIu64 " pages, one of every "
                                 "%" PRIu64 ", at offset 0x%" PRIx64
                                 " of a file of 0x%" PRIx64 " bytes", npages,
                                 stride, offset, f->size);
        return NULL;
    }
    if (pipe2(report, O_CLOEXEC) < 0) {
        *error = g_strdup_printf("pipe: %s", strerror(errno));
        return NULL;
    }
    if (pipe2(start, O_CLOEXEC) < 0) {
        *error = g_strdup_printf("pipe: %s", strerror(errno));
        close(report[0]);
        close(report[1]);
        return NULL;
    }
    child = fork();
    if (child == 0) {
        close(report[0]);
        close(start[1]);
        pin_child(f, offset, npages, stride, ms, report[1], start[0]);
    }
    close(report[1]);
    close(start[0]);
    if (child < 0 || read(report[0], &answer, 1) != 1 || answer) {
        *error = g_strdup_printf("vmsplice of offset 0x%" PRIx64 ": %s%s",
                                 offset, strerror(answer),
                                 answer == EFAULT ? " (is the page private?)"
                                                  : "");
        if (child > 0) {
            waitpid(child, NULL, 0);
        }
        close(report[0]);
        close(start[1]);
        return NULL;
    }
    close(report[0]);
    p = g_new0(GmemPin, 1);
    p->child = child;
    p->start = start[1];
    return p;
}

void gmem_pin_start(GmemPin *p)
{
    if (write(p->start, "g", 1) != 1) {
        /* The child has ended: the pages are free, which gmem_pin_held says. */
        return;
    }
}

bool gmem_pin_held(GmemPin *p)
{
    if (p->child > 0 && waitpid(p->child, NULL, WNOHANG) == p->child) {
        p->child = 0;
    }
    return p->child > 0;
}

void gmem_pin_wait(GmemPin *p)
{
    if (p->child > 0) {
        waitpid(p->child, NULL, 0);
        p->child = 0;
    }
}

void gmem_pin_end(GmemPin *p)
{
    if (p->child > 0) {
        kill(p->child, SIGKILL);
    }
    gmem_pin_wait(p);
    close(p->start);
    g_free(p);
}
