/*
 * Description: the table of guest addresses at which KVM has the states of
 * dual-backed pages: what PAM registers do, and random changes against a plain
 * array of pages.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "fake-kernel.h"
#include "system/gmem-places.h"

/* "0x0+192 ram@0; ": guest page, pages, block and page in it */
static void assert_places(const GArray *places, const char *expected)
{
    g_autoptr(GString) text = g_string_new("");
    guint i;

    for (i = 0; i < places->len; i++) {
        GmemPlace *p = &g_array_index(places, GmemPlace, i);

        g_string_append_printf(text, "0x%" PRIx64 "+%" PRIu64 " %s@0x%" PRIx64
                               "; ", p->gpa / PAGE, p->size / PAGE,
                               (const char *)p->block, p->offset / PAGE);
    }
    g_assert_cmpstr(text->str, ==, expected);
}

static GmemPlace place(uint64_t gpa, uint64_t pages, const char *block,
                       uint64_t page)
{
    return (GmemPlace) { gpa * PAGE, pages * PAGE, block, page * PAGE };
}

/* Shows all of @want; returns how many runs of pages KVM had to be told of */
static unsigned show(GArray *places, GmemPlace want)
{
    GmemPlace missing;
    unsigned n = 0;

    while (gmem_places_missing(places, &want, &missing)) {
        gmem_places_put(places, &missing);
        n++;
    }
    return n;
}

/* RAM, ROM over a part of it, and RAM again, as by the PAM registers */
static void test_pam(void)
{
    static const char ram[] = "ram", rom[] = "rom";
    g_autoptr(GArray) places = gmem_places_new();
    int i;

    g_assert_cmpuint(show(places, place(0, 0x10000, ram, 0)), ==, 1);
    assert_places(places, "0x0+65536 ram@0x0; ");
    for (i = 0; i < 3; i++) {
        /* The slots of the RAM around it are new, their pages are not */
        g_assert_cmpuint(show(places, place(0, 0xc0, ram, 0)), ==, 0);
        g_assert_cmpuint(show(places, place(0xc0, 0x20, rom, 0)), ==, 1);
        g_assert_cmpuint(show(places, place(0xe0, 0xff20, ram, 0xe0)), ==, 0);
        assert_places(places, "0x0+192 ram@0x0; 0xc0+32 rom@0x0; "
                      "0xe0+65312 ram@0xe0; ");
        g_assert_cmpuint(show(places, place(0, 0x10000, ram, 0)), ==, 1);
        assert_places(places, "0x0+65536 ram@0x0; ");
    }
    /* It goes, and another one comes to its place */
    gmem_places_put(places, &(GmemPlace) { 0xc0 * PAGE, PAGE, rom, 0 });
    gmem_places_forget(places, ram);
    assert_places(places, "0xc0+1 rom@0x0; ");
}

/* Pages that are shown elsewhere have their state there, and only there */
static void test_move(void)
{
    static const char ram[] = "ram";
    g_autoptr(GArray) places = gmem_places_new();
    GmemPlace p;

    g_assert_cmpuint(show(places, place(0, 64, ram, 0)), ==, 1);
    g_assert_cmpuint(show(places, place(0x100, 16, ram, 8)), ==, 1);
    assert_places(places, "0x0+8 ram@0x0; 0x18+40 ram@0x18; "
                  "0x100+16 ram@0x8; ");
    g_assert_true(gmem_places_find(places, 0, ram, 4 * PAGE, 16 * PAGE, &p));
    g_assert_cmpuint(p.gpa, ==, 4 * PAGE);
    g_assert_cmpuint(p.size, ==, 4 * PAGE);
    g_assert_true(gmem_places_find(places, 8 * PAGE, ram, 4 * PAGE, 16 * PAGE,
                                   &p));
    g_assert_cmpuint(p.gpa, ==, 0x100 * PAGE);
    g_assert_cmpuint(p.size, ==, 12 * PAGE);
    g_assert_cmpuint(p.offset, ==, 8 * PAGE);
    g_assert_false(gmem_places_find(places, p.gpa + p.size, ram, 4 * PAGE,
                                    16 * PAGE, &p));
}

enum { BLOCKS = 3, PAGES = 24, ADDRESSES = 48 };

typedef struct Owner {
    int block;              /* -1: nobody */
    int page;
} Owner;

/* What the table says of one page, against the array */
static void check_page(const GArray *places, const char *const *names,
                       const Owner *owners, int block, int page)
{
    GmemPlace p, missing, want;
    int gpa, home = -1;

    for (gpa = 0; gpa < ADDRESSES; gpa++) {
        if (owners[gpa].block == block && owners[gpa].page == page) {
            g_assert_cmpint(home, ==, -1);
            home = gpa;
        }
    }
    g_assert_cmpint(gmem_places_find(places, 0, names[block], page * PAGE, PAGE,
                                     &p), ==, home >= 0);
    if (home >= 0) {
        g_assert_cmpuint(p.gpa, ==, home * PAGE);
        g_assert_cmpuint(p.size, ==, PAGE);
        g_assert_cmpuint(p.offset, ==, page * PAGE);
    }
    for (gpa = 0; gpa < ADDRESSES; gpa++) {
        want = place(gpa, 1, names[block], page);
        g_assert_cmpint(gmem_places_missing(places, &want, &missing), ==,
                        gpa != home);
    }
}

static void random_round(guint32 seed)
{
    static const char *const names[BLOCKS] = { "a", "b", "c" };
    g_autoptr(GArray) places = gmem_places_new();
    g_autoptr(GRand) rnd = g_rand_new_with_seed(seed);
    Owner owners[ADDRESSES];
    int step, block, page, n, gpa, i;

    for (i = 0; i < ADDRESSES; i++) {
        owners[i].block = -1;
    }
    for (step = 0; step < 30; step++) {
        block = g_rand_int_range(rnd, 0, BLOCKS);
        page = g_rand_int_range(rnd, 0, PAGES);
        n = g_rand_int_range(rnd, 1, PAGES - page + 1);
        /* Often where it belongs, or nothing would ever be adjacent */
        gpa = g_rand_boolean(rnd) ? block * 8 + page :
              g_rand_int_range(rnd, 0, ADDRESSES - n + 1);
        if (g_rand_int_range(rnd, 0, 20) == 0) {
            gmem_places_forget(places, names[block]);
            n = 0;
        } else {
            show(places, place(gpa, n, names[block], page));
        }
        for (i = 0; i < ADDRESSES; i++) {
            if (owners[i].block == block && (!n ||
                (owners[i].page >= page && owners[i].page < page + n))) {
                owners[i].block = -1;
            }
        }
        for (i = 0; i < n; i++) {
            owners[gpa + i] = (Owner) { block, page + i };
        }
        for (i = 1; i < places->len; i++) {
            GmemPlace *p = &g_array_index(places, GmemPlace, i - 1);

            g_assert_cmpuint(p[0].gpa + p[0].size, <=, p[1].gpa);
        }
        for (i = 0; i < BLOCKS * PAGES; i++) {
            check_page(places, names, owners, i / PAGES, i % PAGES);
        }
    }
}

static void test_random(void)
{
    int i;

    for (i = 0; i < 100; i++) {
        random_round(g_test_rand_int());
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gmem-places/pam", test_pam);
    g_test_add_func("/gmem-places/move", test_move);
    g_test_add_func("/gmem-places/random", test_random);
    return g_test_run();
}
