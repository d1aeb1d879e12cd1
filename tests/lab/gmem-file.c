/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest_memfds of another process; see gmem-file.h. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>
#include "gmem-file.h"
#include "pattern.h"

static sigjmp_buf bus_jump;

static void on_sigbus(int sig)
{
    siglongjmp(bus_jump, sig);
}

/* SA_NODEFER: the jump does not restore a signal mask, which is cheaper. */
static void catch_sigbus(struct sigaction *old)
{
    struct sigaction sa = { .sa_handler = on_sigbus, .sa_flags = SA_NODEFER };

    sigaction(SIGBUS, &sa, old);
}

bool lab_guard(void (*fn)(void *opaque), void *opaque)
{
    struct sigaction old;
    volatile bool ok = false;

    catch_sigbus(&old);
    if (sigsetjmp(bus_jump, 0) == 0) {
        fn(opaque);
        ok = true;
    }
    sigaction(SIGBUS, &old, NULL);
    return ok;
}

static void gmem_file_free(gpointer data)
{
    GmemFile *f = data;

    if (f->map) {
        munmap(f->map, f->size);
    }
    close(f->fd);
    g_free(f);
}

static bool is_gmem_link(const char *link)
{
    return strstr(link, "kvm-gmem") || strstr(link, "kvm_gmem");
}

/* Take the file behind descriptor @remote_fd of the process @pidfd. */
static GmemFile *gmem_file_take(int pidfd, int remote_fd, char **error)
{
    GmemFile *f;
    struct stat st;
    int fd = syscall(SYS_pidfd_getfd, pidfd, remote_fd, 0);

    if (fd < 0 || fstat(fd, &st) < 0) {
        *error = g_strdup_printf("descriptor %d: pidfd_getfd: %s; this needs "
                                 "root or the owner of the process",
                                 remote_fd, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return NULL;
    }
    f = g_new0(GmemFile, 1);
    f->fd = fd;
    f->remote_fd = remote_fd;
    f->dev = st.st_dev;
    f->ino = st.st_ino;
    f->size = st.st_size;
    f->map = mmap(NULL, f->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (f->map == MAP_FAILED) {
        f->map = NULL;
    }
    return f;
}

GPtrArray *gmem_files_open(pid_t pid, char **error)
{
    g_autofree char *dir_name = g_strdup_printf("/proc/%d/fd", (int)pid);
    g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func(gmem_file_free);
    DIR *dir = opendir(dir_name);
    struct dirent *e;
    int pidfd;

    pidfd = syscall(SYS_pidfd_open, pid, 0);
    if (!dir || pidfd < 0) {
        *error = g_strdup_printf("%s: %s; is the process alive?", dir_name,
                                 strerror(errno));
        goto fail;
    }
    while ((e = readdir(dir))) {
        char link[256];
        GmemFile *f;
        ssize_t n = readlinkat(dirfd(dir), e->d_name, link, sizeof(link) - 1);

        if (n < 0) {
            continue;
        }
        link[n] = 0;
        if (!is_gmem_link(link)) {
            continue;
        }
        f = gmem_file_take(pidfd, atoi(e->d_name), error);
        if (!f) {
            goto fail;
        }
        g_ptr_array_add(files, f);
    }
    closedir(dir);
    close(pidfd);
    return g_steal_pointer(&files);

fail:
    if (dir) {
        closedir(dir);
    }
    if (pidfd >= 0) {
        close(pidfd);
    }
    return NULL;
}

GmemFile *gmem_file_by_inode(GPtrArray *files, uint64_t dev, uint64_t ino)
{
    for (guint i = 0; i < files->len; i++) {
        GmemFile *f = files->pdata[i];

        if (f->dev == dev && f->ino == ino) {
            return f;
        }
    }
    return NULL;
}

bool gmem_resolve_hva(pid_t pid, uint64_t hva, uint64_t *dev, uint64_t *ino,
                      uint64_t *offset)
{
    g_autofree char *name = g_strdup_printf("/proc/%d/maps", (int)pid);
    FILE *maps = fopen(name, "r");
    char line[512];
    bool found = false;

    while (maps && !found && fgets(line, sizeof(line), maps)) {
        unsigned long long start, end, off, inode;
        unsigned major_no, minor_no;

        if (sscanf(line, "%llx-%llx %*s %llx %x:%x %llu", &start, &end, &off,
                   &major_no, &minor_no, &inode) != 6 ||
            hva < start || hva >= end) {
            continue;
        }
        found = true;
        *dev = makedev(major_no, minor_no);
        *ino = inode;
        *offset = off + (hva - start);
    }
    if (maps) {
        fclose(maps);
    }
    return found;
}

/* In the child: touch the pages through a mapping that is nobody else's. */
static void probe_child(GmemFile *f, uint64_t offset, uint64_t npages,
                        uint64_t stride, char *states)
{
    uint64_t len = npages * LAB_PAGE_SIZE;
    volatile char *map = mmap(NULL, len, PROT_READ, MAP_SHARED, f->fd, offset);
    volatile uint64_t i;

    if (map == MAP_FAILED) {
        _exit(1);
    }
    catch_sigbus(NULL);
    for (i = 0; i < npages; i += stride) {
        if (sigsetjmp(bus_jump, 0) == 0) {
            (void)map[i * LAB_PAGE_SIZE];
            states[i / stride] = 'S';
        } else {
            states[i / stride] = 'P';
        }
    }
    _exit(0);
}

size_t gmem_probe(GmemFile *f, uint64_t offset, uint64_t npages,
                  uint64_t stride, char **states, char **error)
{
    size_t n = stride ? (npages + stride - 1) / stride : 0;
    char *shared;
    int status = 0;
    pid_t child;

    if (!n || offset % LAB_PAGE_SIZE || offset >= f->size ||
        npages > (f->size - offset) / LAB_PAGE_SIZE) {
        *error = g_strdup_printf("cannot probe %" PRIu64 " pages at offset "
                                 "0x%" PRIx64 " of a file of 0x%" PRIx64
                                 " bytes", npages, offset, f->size);
        return 0;
    }
    shared = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                  -1, 0);
    if (shared == MAP_FAILED) {
        *error = g_strdup_printf("no memory for the states: %s",
                                 strerror(errno));
        return 0;
    }
    child = fork();
    if (child == 0) {
        probe_child(f, offset, npages, stride, shared);
    }
    if (child < 0 || waitpid(child, &status, 0) != child ||
        !WIFEXITED(status) || WEXITSTATUS(status)) {
        *error = g_strdup_printf("the probe of offset 0x%" PRIx64 " failed "
                                 "(status 0x%x): is the file mappable?",
                                 offset, status);
        n = 0;
    } else {
        *states = g_strndup(shared, n);
    }
    munmap(shared, (npages + stride - 1) / stride);
    return n;
}

char *gmem_runs(const char *states, size_t n)
{
    GString *s = g_string_new(NULL);
    size_t i = 0;

    while (i < n) {
        size_t from = i;

        while (i < n && states[i] == states[from]) {
            i++;
        }
        g_string_append_printf(s, "%c%zu", states[from], i - from);
    }
    return g_string_free(s, FALSE);
}

/*
 * mincore() asks the page cache of the file, which is where the pages of a
 * guest_memfd are, in both states and whoever allocated them.  st_blocks is
 * not kept up to date by guest_memfd, and RSS counts only mapped pages, so
 * that a private page would not be seen.
 */
uint64_t gmem_allocated(GmemFile *f)
{
    size_t pages = f->size / LAB_PAGE_SIZE;
    g_autofree unsigned char *vec = NULL;
    uint64_t n = 0;

    if (!f->map) {
        /* Cannot be asked; its largest possible value is the honest one. */
        return f->size;
    }
    vec = g_malloc(pages);
    if (mincore(f->map, f->size, vec) < 0) {
        return f->size;
    }
    for (size_t i = 0; i < pages; i++) {
        n += vec[i] & 1;
    }
    return n * LAB_PAGE_SIZE;
}
