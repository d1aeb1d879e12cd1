/*
 * Description: a page of a file is replaced.  The file is a memfd, which has
 * holes as a guest_memfd has; what counts is that file and mapping go on
 * having the same pages.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "system/gmem-page.h"

#define PAGES 4

typedef struct Fixture {
    size_t page;
    int fd;
    uint8_t *host;
} Fixture;

static void set_up(Fixture *f, gconstpointer data)
{
    f->page = getpagesize();
    f->fd = memfd_create("test-gmem-page", MFD_CLOEXEC);
    g_assert_cmpint(f->fd, >=, 0);
    g_assert_cmpint(ftruncate(f->fd, PAGES * f->page), ==, 0);
    f->host = mmap(NULL, PAGES * f->page, PROT_READ | PROT_WRITE, MAP_SHARED,
                   f->fd, 0);
    g_assert(f->host != MAP_FAILED);
    memset(f->host, 0xa5, PAGES * f->page);
}

static void tear_down(Fixture *f, gconstpointer data)
{
    munmap(f->host, PAGES * f->page);
    close(f->fd);
}

/* What the guest would see of the first byte of a page */
static uint8_t in_file(Fixture *f, unsigned page)
{
    uint8_t value;

    g_assert_cmpint(pread(f->fd, &value, 1, page * f->page), ==, 1);
    return value;
}

/* Whoever writes by the mapping, and reads in the file, sees the same. */
static void check_one_memory(Fixture *f, uint8_t value)
{
    for (unsigned i = 0; i < PAGES; i++) {
        f->host[i * f->page] = value + i;
        g_assert_cmpuint(in_file(f, i), ==, value + i);
    }
}

static void test_replace(Fixture *f, gconstpointer data)
{
    struct stat st;

    g_assert_cmpint(gmem_replace_page(f->fd, f->host + f->page, f->page,
                                      f->page), ==, 0);
    g_assert_cmpint(fstat(f->fd, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, PAGES * f->page);
    for (unsigned i = 0; i < PAGES; i++) {
        uint8_t value = i == 1 ? 0 : 0xa5;

        g_assert_cmpuint(in_file(f, i), ==, value);
        g_assert_cmpuint(f->host[i * f->page], ==, value);
    }
    check_one_memory(f, 0x10);
}

/* A file without holes: an error, and still one memory */
static void test_refused(Fixture *f, gconstpointer data)
{
    int fds[2];

    g_assert_cmpint(pipe(fds), ==, 0);
    g_assert_cmpint(gmem_replace_page(fds[1], f->host + f->page, f->page,
                                      f->page), ==, -ESPIPE);
    close(fds[0]);
    close(fds[1]);
    check_one_memory(f, 0x20);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/gmem-page/replace", Fixture, NULL, set_up, test_replace,
               tear_down);
    g_test_add("/gmem-page/refused", Fixture, NULL, set_up, test_refused,
               tear_down);
    return g_test_run();
}
