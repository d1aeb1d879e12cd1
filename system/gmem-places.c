/*
 * guest_memfd conversion: where KVM has the states of dual-backed pages
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: see gmem-places.h.  A virtual machine has a few dozen places at
 * most: one per memory slot, and what PAM registers cut out of them.
 */

#include "qemu/osdep.h"
#include "system/gmem-places.h"

GArray *gmem_places_new(void)
{
    return g_array_new(false, false, sizeof(GmemPlace));
}

/* The part of @p that is in [@offset, @end) of its block */
static bool place_clip(GmemPlace *p, uint64_t offset, uint64_t end)
{
    uint64_t start = MAX(p->offset, offset);

    end = MIN(p->offset + p->size, end);
    if (start >= end) {
        return false;
    }
    p->gpa += start - p->offset;
    p->offset = start;
    p->size = end - start;
    return true;
}

/* Keep the parts of place @i in front of @from and behind @to, in its bytes */
static void places_cut(GArray *places, guint i, uint64_t from, uint64_t to)
{
    GmemPlace old = g_array_index(places, GmemPlace, i);
    GmemPlace head = old, tail = old;

    g_array_remove_index(places, i);
    if (to < old.size && place_clip(&tail, old.offset + to, UINT64_MAX)) {
        g_array_insert_val(places, i, tail);
    }
    if (from && place_clip(&head, old.offset, old.offset + from)) {
        g_array_insert_val(places, i, head);
    }
}

/* No overlap with @place, neither in addresses nor in pages */
static void places_clear(GArray *places, const GmemPlace *place)
{
    guint i = places->len;

    while (i--) {
        GmemPlace p = g_array_index(places, GmemPlace, i);
        uint64_t start = MAX(p.gpa, place->gpa);
        uint64_t end = MIN(p.gpa + p.size, place->gpa + place->size);

        if (start < end) {
            places_cut(places, i, start - p.gpa, end - p.gpa);
            /* Its parts are looked at again */
            i = MIN(i + 2, places->len);
            continue;
        }
        start = MAX(p.offset, place->offset);
        end = MIN(p.offset + p.size, place->offset + place->size);
        if (p.block == place->block && start < end) {
            places_cut(places, i, start - p.offset, end - p.offset);
            i = MIN(i + 2, places->len);
        }
    }
}

/* Do the pages of @b follow those of @a, in the block and in addresses? */
static bool places_adjacent(const GmemPlace *a, const GmemPlace *b)
{
    return a->block == b->block && a->gpa + a->size == b->gpa &&
           a->offset + a->size == b->offset;
}

void gmem_places_put(GArray *places, const GmemPlace *place)
{
    GmemPlace new = *place;
    guint i;

    places_clear(places, place);
    for (i = 0; i < places->len; i++) {
        GmemPlace next = g_array_index(places, GmemPlace, i);

        if (next.gpa < new.gpa) {
            continue;
        }
        if (places_adjacent(&new, &next)) {
            new.size += next.size;
            g_array_remove_index(places, i);
        }
        break;
    }
    if (i && places_adjacent(&g_array_index(places, GmemPlace, i - 1), &new)) {
        g_array_index(places, GmemPlace, i - 1).size += new.size;
    } else {
        g_array_insert_val(places, i, new);
    }
}

void gmem_places_forget(GArray *places, const void *block)
{
    guint i = places->len;

    while (i--) {
        if (g_array_index(places, GmemPlace, i).block == block) {
            g_array_remove_index(places, i);
        }
    }
}

bool gmem_places_find(const GArray *places, uint64_t gpa, const void *block,
                      uint64_t offset, uint64_t size, GmemPlace *out)
{
    guint i;

    for (i = 0; i < places->len; i++) {
        GmemPlace p = g_array_index(places, GmemPlace, i);

        if (p.block != block || p.gpa + p.size <= gpa) {
            continue;
        }
        if (p.gpa < gpa) {
            place_clip(&p, p.offset + (gpa - p.gpa), UINT64_MAX);
        }
        if (place_clip(&p, offset, offset + size)) {
            *out = p;
            return true;
        }
    }
    return false;
}

bool gmem_places_missing(const GArray *places, const GmemPlace *want,
                         GmemPlace *out)
{
    uint64_t pos = want->offset, end = want->offset + want->size;
    guint i;

    *out = *want;
    for (i = 0; i < places->len; i++) {
        GmemPlace p = g_array_index(places, GmemPlace, i);

        if (p.block != want->block ||
            p.gpa - want->gpa != p.offset - want->offset ||
            !place_clip(&p, pos, end)) {
            continue;
        }
        if (p.offset > pos) {
            end = p.offset;
            break;
        }
        pos += p.size;
    }
    return place_clip(out, pos, end);
}
