/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's memory as the host sees it; see guest-memory.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include "guest-memory.h"
#include "pattern.h"

#define HMP_MS      5000

struct GuestMemory {
    Vm *vm;
    GPtrArray *files;       /* GmemFile; taken at the first request */
    uint64_t other_base;    /* KiB that QEMU itself needs; 0: not known yet */
    uint64_t peak;          /* KiB */
};

GuestMemory *guest_memory_new(Vm *vm)
{
    GuestMemory *m = g_new0(GuestMemory, 1);

    m->vm = vm;
    return m;
}

void guest_memory_free(GuestMemory *m)
{
    if (m) {
        g_clear_pointer(&m->files, g_ptr_array_unref);
        g_free(m);
    }
}

static bool take_files(GuestMemory *m, char **error)
{
    if (!m->files) {
        m->files = gmem_files_open(m->vm->pid, error);
    }
    return m->files != NULL;
}

/* Those that QEMU has made since then; the others stay as they are. */
static bool take_new_files(GuestMemory *m, char **error)
{
    g_autoptr(GPtrArray) now = gmem_files_open(m->vm->pid, error);

    if (!now) {
        return false;
    }
    for (guint i = now->len; i > 0; i--) {
        GmemFile *f = now->pdata[i - 1];

        if (!gmem_file_by_inode(m->files, f->dev, f->ino)) {
            g_ptr_array_add(m->files, g_ptr_array_steal_index(now, i - 1));
        }
    }
    return true;
}

bool guest_memory_find(GuestMemory *m, uint64_t gpa, GuestPlace *p,
                       char **error)
{
    g_autofree char *command = g_strdup_printf("gpa2hva 0x%" PRIx64, gpa);
    g_autofree char *reply = vm_hmp(m->vm, command, HMP_MS);
    const char *is = reply ? strstr(reply, ") is 0x") : NULL;
    uint64_t dev, ino;

    if (!is) {
        *error = g_strdup_printf("%s: %s", command,
                                 reply ? reply : "the monitor is silent");
        return false;
    }
    p->hva = strtoull(is + strlen(") is "), NULL, 16);
    if (!take_files(m, error)) {
        return false;
    }
    if (!gmem_resolve_hva(m->vm->pid, p->hva, &dev, &ino, &p->offset)) {
        *error = g_strdup_printf("nothing is mapped at 0x%" PRIx64 " in QEMU",
                                 p->hva);
        return false;
    }
    p->file = ino ? gmem_file_by_inode(m->files, dev, ino) : NULL;
    if (ino && !p->file) {
        if (!take_new_files(m, error)) {
            return false;
        }
        p->file = gmem_file_by_inode(m->files, dev, ino);
    }
    return true;
}

static char *failed(char *error)
{
    char *answer = g_strdup_printf("error %s", error);

    g_free(error);
    return answer;
}

char *guest_memory_runs(const GuestPlace *p, uint64_t npages, uint64_t stride,
                        char **error)
{
    g_autofree char *states = NULL;
    size_t n;

    if (!p->file) {
        *error = g_strdup("this page is not in a mapped guest_memfd");
        return NULL;
    }
    n = gmem_probe(p->file, p->offset, npages, stride, &states, error);
    return n ? gmem_runs(states, n) : NULL;
}

/*
 * How many of @npages lie in the same file from @p on.  Memory without a
 * file is taken to go on to the next 2 MiB, where RAM blocks may meet.
 */
static uint64_t pages_here(const GuestPlace *p, uint64_t gpa, uint64_t npages)
{
    const uint64_t piece = 2 * 1024 * 1024;
    uint64_t left = p->file ? p->file->size - p->offset : piece - gpa % piece;

    return MIN(npages, left / LAB_PAGE_SIZE);
}

char *guest_memory_state(GuestMemory *m, uint64_t gpa, uint64_t npages,
                         uint64_t stride)
{
    g_autoptr(GString) all = g_string_new(NULL);
    g_autofree char *runs = NULL;
    char *error = NULL;

    while (npages) {
        g_autofree char *states = NULL;
        GuestPlace p;
        uint64_t here;
        size_t n = 0;

        if (!guest_memory_find(m, gpa, &p, &error)) {
            return failed(error);
        }
        if (!p.file) {
            return g_strdup("error this page is not in a mapped guest_memfd");
        }
        here = pages_here(&p, gpa, npages);
        n = gmem_probe(p.file, p.offset, here, stride, &states, &error);
        if (!n) {
            return failed(error);
        }
        g_string_append_len(all, states, n);
        gpa += here * LAB_PAGE_SIZE;
        npages -= here;
    }
    runs = gmem_runs(all->str, all->len);
    return g_strdup_printf("ok %s", runs);
}

/* --- data ------------------------------------------------------------- */

/* A walk over pattern words of one file; volatile for lab_guard(). */
typedef struct Walk {
    volatile uint64_t *map; /* of the first page; NULL: through QEMU */
    pid_t pid;
    uint64_t hva;
    uint64_t gpa;
    uint64_t npages;
    uint64_t seed;
    uint64_t step;
    bool write;
    volatile uint64_t at;   /* gpa of the word in work */
    volatile uint64_t saw;
    volatile int error;     /* errno of the way through QEMU */
    volatile bool differs;
} Walk;

/*
 * Memory that is not a mapped guest_memfd (each state backed by its own page)
 * can only be reached through QEMU's address space.
 */
static bool remote_word(Walk *w, uint64_t distance, uint64_t *value)
{
    struct iovec here = { value, 8 };
    struct iovec there = { (void *)(w->hva + distance), 8 };
    ssize_t n = w->write ? process_vm_writev(w->pid, &here, 1, &there, 1, 0)
                         : process_vm_readv(w->pid, &here, 1, &there, 1, 0);

    if (n != 8) {
        w->error = n < 0 ? errno : EIO;
    }
    return n == 8;
}

static bool walk_word(Walk *w, uint64_t distance, uint64_t want)
{
    uint64_t value = want;

    if (!w->map) {
        if (!remote_word(w, distance, &value)) {
            return false;
        }
    } else if (w->write) {
        w->map[distance / 8] = want;
    } else {
        value = w->map[distance / 8];
    }
    w->saw = value;
    w->differs = value != want;
    return !w->differs;
}

static void walk(void *opaque)
{
    Walk *w = opaque;

    for (uint64_t i = 0; i < w->npages; i += w->step) {
        for (unsigned k = 0; k < LAB_PATTERN_WORDS; k++) {
            uint64_t distance = i * LAB_PAGE_SIZE + lab_pattern_offset(k);

            w->at = w->gpa + distance;
            if (!walk_word(w, distance, lab_pattern(w->seed, w->at))) {
                return;
            }
        }
    }
}

/* Run the pattern over [gpa, npages); NULL: all well, else what was seen. */
static char *walk_range(GuestMemory *m, uint64_t gpa, uint64_t npages,
                        uint64_t seed, uint64_t step, bool write,
                        bool *differs)
{
    *differs = false;
    while (npages) {
        char *error = NULL;
        GuestPlace p;
        Walk w;

        if (!guest_memory_find(m, gpa, &p, &error)) {
            return error;
        }
        w = (Walk) {
            .map = p.file && p.file->map
                   ? (volatile uint64_t *)(p.file->map + p.offset) : NULL,
            .pid = m->vm->pid, .hva = p.hva, .gpa = gpa,
            .npages = pages_here(&p, gpa, npages), .seed = seed,
            .step = MAX(step, 1), .write = write,
        };
        if (!lab_guard(walk, &w)) {
            *differs = true;
            return g_strdup_printf("SIGBUS at gpa 0x%" PRIx64, w.at);
        }
        if (w.error) {
            *differs = true;
            return g_strdup_printf("%s at gpa 0x%" PRIx64,
                                   strerrorname_np(w.error), w.at);
        }
        if (w.differs) {
            *differs = true;
            return g_strdup_printf("reads 0x%" PRIx64 " at gpa 0x%" PRIx64
                                   ", not 0x%" PRIx64, w.saw, w.at,
                                   lab_pattern(seed, w.at));
        }
        gpa += w.npages * LAB_PAGE_SIZE;
        npages -= w.npages;
    }
    return NULL;
}

char *guest_memory_fill(GuestMemory *m, uint64_t gpa, uint64_t npages,
                        uint64_t seed, uint64_t step)
{
    bool differs;
    char *what = walk_range(m, gpa, npages, seed, step, true, &differs);

    return what ? failed(what) : g_strdup("ok");
}

char *guest_memory_check(GuestMemory *m, uint64_t gpa, uint64_t npages,
                         uint64_t seed, uint64_t step)
{
    bool differs;
    g_autofree char *what = walk_range(m, gpa, npages, seed, step, false,
                                       &differs);

    if (!what) {
        return g_strdup("ok match");
    }
    return g_strdup_printf("%s %s", differs ? "ok" : "error", what);
}

/*
 * What QEMU has at these addresses is the shared memory, whatever the guest has
 * there: who compares learns the state.  PAM registers move pieces of 16 KiB.
 */
char *guest_memory_stamp(GuestMemory *m, uint64_t gpa, uint64_t npages,
                         uint64_t value)
{
    const uint64_t piece = 16 * 1024;
    GuestPlace p = { 0 };

    for (uint64_t i = 0; i < npages; i++) {
        Walk w = { .pid = m->vm->pid, .write = true };
        char *error = NULL;

        if ((i == 0 || gpa % piece == 0) &&
            !guest_memory_find(m, gpa, &p, &error)) {
            return failed(error);
        }
        w.hva = p.hva;
        p.hva += LAB_PAGE_SIZE;
        gpa += LAB_PAGE_SIZE;
        if (!remote_word(&w, LAB_STAMP_OFFSET, &value)) {
            return g_strdup_printf("error %s in front of gpa 0x%" PRIx64,
                                   strerrorname_np(w.error), gpa);
        }
    }
    return g_strdup("ok");
}

/*
 * As a device would: QEMU's mapping gets the pages that it has not.  In one RAM
 * block; the search for it is not part of the time.
 */
char *guest_memory_touch(GuestMemory *m, uint64_t gpa, uint64_t npages)
{
    enum { BATCH = 512 };
    static uint64_t words[BATCH];
    struct iovec remote[BATCH];
    GuestPlace first = { 0 }, last = { 0 };
    char *error = NULL;
    uint64_t begin;

    if (!npages || !guest_memory_find(m, gpa, &first, &error) ||
        !guest_memory_find(m, gpa + (npages - 1) * LAB_PAGE_SIZE, &last,
                           &error)) {
        return failed(error ? error : g_strdup("no pages"));
    }
    if (last.hva - first.hva != (npages - 1) * LAB_PAGE_SIZE) {
        return g_strdup("error these pages are in more than one RAM block");
    }
    begin = __builtin_ia32_rdtsc();
    for (uint64_t i = 0; i < npages; i += BATCH) {
        uint64_t n = MIN(npages - i, BATCH);
        struct iovec local = { words, n * sizeof(words[0]) };

        for (uint64_t j = 0; j < n; j++) {
            remote[j].iov_base =
                (void *)(uintptr_t)(first.hva + (i + j) * LAB_PAGE_SIZE);
            remote[j].iov_len = sizeof(words[0]);
        }
        if (process_vm_writev(m->vm->pid, &local, 1, remote, n, 0) !=
            (ssize_t)local.iov_len) {
            return g_strdup_printf("error writing to %" PRIu64 " pages from "
                                   "gpa 0x%" PRIx64 ": %s", n,
                                   gpa + i * LAB_PAGE_SIZE, strerror(errno));
        }
    }
    return g_strdup_printf("ok ticks=%" PRIu64,
                           (uint64_t)__builtin_ia32_rdtsc() - begin);
}

typedef struct Word {
    volatile uint64_t *p;
    uint64_t value;
    bool write;
} Word;

static void touch_word(void *opaque)
{
    Word *w = opaque;

    if (w->write) {
        *w->p = w->value;
    } else {
        w->value = *w->p;
    }
}

static char *one_word(GuestMemory *m, uint64_t gpa, Word *w)
{
    char *error = NULL;
    GuestPlace p;

    if (!guest_memory_find(m, gpa, &p, &error)) {
        return failed(error);
    }
    if (!p.file || !p.file->map) {
        return g_strdup("error this page is not in a mapped guest_memfd");
    }
    w->p = (volatile uint64_t *)(p.file->map + p.offset);
    return lab_guard(touch_word, w) ? NULL : g_strdup("ok SIGBUS");
}

char *guest_memory_peek(GuestMemory *m, uint64_t gpa)
{
    Word w = { .write = false };
    char *answer = one_word(m, gpa, &w);

    return answer ? answer : g_strdup_printf("ok 0x%" PRIx64, w.value);
}

char *guest_memory_poke(GuestMemory *m, uint64_t gpa, uint64_t value)
{
    Word w = { .write = true, .value = value };
    char *answer = one_word(m, gpa, &w);

    return answer ? answer : g_strdup("ok");
}

/* --- the host's ways to a page ----------------------------------------- */

static const char *result(ssize_t n)
{
    return n < 0 ? strerrorname_np(errno) : n ? "ok" : "nothing";
}

char *guest_memory_access(GuestMemory *m, uint64_t gpa)
{
    const char *load, *readv_result, *splice, *write_result;
    struct iovec here, there, own;
    char *error = NULL;
    int pipe_fds[2];
    uint64_t word;
    GuestPlace p;
    Word w;

    if (!guest_memory_find(m, gpa, &p, &error)) {
        return failed(error);
    }
    if (!p.file || !p.file->map) {
        return g_strdup("error this page is not in a mapped guest_memfd");
    }
    if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0) {
        return g_strdup_printf("error pipe: %s", strerror(errno));
    }
    w = (Word) { .p = (volatile uint64_t *)(p.file->map + p.offset) };
    load = lab_guard(touch_word, &w) ? "ok" : "SIGBUS";
    here = (struct iovec) { &word, 8 };
    there = (struct iovec) { (void *)p.hva, 8 };
    readv_result = result(process_vm_readv(m->vm->pid, &here, 1, &there, 1, 0));
    own = (struct iovec) { p.file->map + p.offset, 8 };
    splice = result(vmsplice(pipe_fds[1], &own, 1, SPLICE_F_NONBLOCK));
    write_result = result(write(pipe_fds[1], own.iov_base, 8));
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    return g_strdup_printf("ok load=%s process_vm_readv=%s vmsplice=%s "
                           "write=%s", load, readv_result, splice,
                           write_result);
}

/* --- NUMA --------------------------------------------------------------- */

static void touch_pages(void *opaque)
{
    GPtrArray *pages = opaque;

    for (guint i = 0; i < pages->len; i++) {
        (void)*(volatile char *)pages->pdata[i];
    }
}

/* move_pages() tells where the pages are that are in the page table. */
char *guest_memory_nodes(GuestMemory *m, uint64_t gpa, uint64_t npages)
{
    g_autoptr(GPtrArray) pages = g_ptr_array_new();
    unsigned n[2] = { 0, 0 }, none = 0;
    g_autofree int *status = g_new0(int, npages);
    char *error = NULL;
    GuestPlace p;

    if (!guest_memory_find(m, gpa, &p, &error)) {
        return failed(error);
    }
    if (!p.file || !p.file->map || pages_here(&p, gpa, npages) < npages) {
        return g_strdup("error these pages are not in one guest_memfd");
    }
    for (uint64_t i = 0; i < npages; i++) {
        g_ptr_array_add(pages, p.file->map + p.offset + i * LAB_PAGE_SIZE);
    }
    if (!lab_guard(touch_pages, pages)) {
        return g_strdup("error a page is private");
    }
    if (syscall(SYS_move_pages, 0, npages, pages->pdata, NULL, status, 0) < 0) {
        return g_strdup_printf("error move_pages: %s", strerror(errno));
    }
    for (uint64_t i = 0; i < npages; i++) {
        if (status[i] == 0 || status[i] == 1) {
            n[status[i]]++;
        } else {
            none++;
        }
    }
    return g_strdup_printf("ok n0=%u n1=%u none=%u", n[0], n[1], none);
}

/* --- memory use --------------------------------------------------------- */

static uint64_t status_kib(pid_t pid, const char *key)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", (int)pid);
    g_autofree char *text = NULL;
    const char *p;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return 0;
    }
    p = strstr(text, key);
    return p ? strtoull(p + strlen(key), NULL, 10) : 0;
}

static unsigned count_fds(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", (int)pid);
    GDir *dir = g_dir_open(path, 0, NULL);
    unsigned n = 0;

    while (dir && g_dir_read_name(dir)) {
        n++;
    }
    if (dir) {
        g_dir_close(dir);
    }
    return n;
}

/*
 * The host's page cache is the only place where a page of a guest_memfd shows
 * that nobody has touched: mincore() wants it to be filled as well.
 */
static uint64_t cached_kib(void)
{
    g_autofree char *text = NULL;
    const char *p = NULL;

    if (g_file_get_contents("/proc/meminfo", &text, NULL, NULL)) {
        p = strstr(text, "\nCached:");
    }
    return p ? strtoull(p + strlen("\nCached:"), NULL, 10) : 0;
}

char *guest_memory_usage(GuestMemory *m)
{
    return g_strdup_printf("ok fds=%u vm-kib=%" PRIu64 " cached-kib=%" PRIu64,
                           count_fds(m->vm->pid),
                           status_kib(m->vm->pid, "VmSize:"), cached_kib());
}

/*
 * Guest memory can be in two kinds of pages: those of the guest_memfds, and
 * QEMU's own anonymous or shmem pages (where each state has its own page).
 * RssFile is left out: a mapped page of a guest_memfd is counted in its file.
 * What QEMU needed before the guest touched anything is not guest memory.
 */
char *guest_memory_used(GuestMemory *m)
{
    uint64_t gmem = 0, other, used;
    char *error = NULL;

    if (!take_files(m, &error)) {
        return failed(error);
    }
    for (guint i = 0; i < m->files->len; i++) {
        gmem += gmem_allocated(m->files->pdata[i]) / 1024;
    }
    other = status_kib(m->vm->pid, "RssAnon:") +
            status_kib(m->vm->pid, "RssShmem:");
    if (!m->other_base) {
        m->other_base = other;
    }
    used = gmem + (other > m->other_base ? other - m->other_base : 0);
    m->peak = MAX(m->peak, used);
    return g_strdup_printf("ok gmem=%" PRIu64 " other=%" PRIu64 " base=%" PRIu64
                           " peak=%" PRIu64 " fds=%u", gmem, other,
                           m->other_base, m->peak, count_fds(m->vm->pid));
}
