/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guard-malloc.so, to be preloaded: memory that was freed is never used again,
 * and an access to it is a SIGSEGV there and then.
 *
 * Only blocks of GUARD_MIN to GUARD_MAX bytes, each on a page of its own: that
 * is where the objects are whose use after free a scenario is after, and few
 * enough for the number of mappings that a process may have.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE        4096ul
#define GUARD_MIN   256ul
#define GUARD_MAX   (PAGE - 16)
#define ARENA_SIZE  (1ul << 32)

/* The C library's own, under the names that it exports for this purpose */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);

static char *arena;
static size_t used;

static int guarded(const void *p)
{
    return arena && (const char *)p >= arena &&
           (const char *)p < arena + ARENA_SIZE;
}

__attribute__((constructor))
static void guard_init(void)
{
    void *p = mmap(NULL, ARENA_SIZE, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    arena = p == MAP_FAILED ? NULL : p;
}

/* The size stands in front of the block; new pages are zero. */
static void *guard_alloc(size_t size)
{
    char *page = arena + __atomic_fetch_add(&used, PAGE, __ATOMIC_RELAXED);

    if (page >= arena + ARENA_SIZE ||
        mprotect(page, PAGE, PROT_READ | PROT_WRITE) < 0) {
        abort();
    }
    *(size_t *)page = size;
    return page + 16;
}

void *malloc(size_t size)
{
    return arena && size >= GUARD_MIN && size <= GUARD_MAX
           ? guard_alloc(size) : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    size_t all;

    return arena && !__builtin_mul_overflow(n, size, &all) &&
           all >= GUARD_MIN && all <= GUARD_MAX
           ? guard_alloc(all) : __libc_calloc(n, size);
}

void free(void *p)
{
    char *page = (char *)p - 16;

    if (!guarded(p)) {
        __libc_free(p);
        return;
    }
    madvise(page, PAGE, MADV_DONTNEED);
    if (mprotect(page, PAGE, PROT_NONE) < 0) {
        abort();
    }
}

void *realloc(void *p, size_t size)
{
    size_t old;
    void *n;

    if (!guarded(p)) {
        return __libc_realloc(p, size);
    }
    old = *(size_t *)((char *)p - 16);
    n = malloc(size);
    if (n) {
        memcpy(n, p, old < size ? old : size);
        free(p);
    }
    return n;
}
