/*
 * guest_memfd conversion: where KVM has the states of dual-backed pages
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Description: the states of a RAM block go by offset, those of KVM by guest
 * address, and guest addresses change hands: a write to a PAM register puts ROM
 * where RAM was, and back.  KVM keeps what it was told of an address whatever
 * is mapped there.  So this table says for which addresses that is the state of
 * which page of which block.
 *
 * A page has at most one place, as KVM binds a guest_memfd page to one memory
 * slot, and keeps it when the slot is gone, until another page takes the
 * address or the page shows up elsewhere.  All offsets, addresses and sizes are
 * in bytes.
 *
 * The table has no lock.  It is changed by a thread that has the BQL and holds
 * all dual-backed blocks (gmem_state_hold()); so whoever has the lock of one of
 * them may read it.
 */

#ifndef SYSTEM_GMEM_PLACES_H
#define SYSTEM_GMEM_PLACES_H

/**
 * GmemPlace: the pages of @block at @offset have their states at @gpa
 */
typedef struct GmemPlace {
    uint64_t gpa;
    uint64_t size;
    const void *block;
    uint64_t offset;
} GmemPlace;

/**
 * gmem_places_new: an empty table, a GArray of GmemPlace sorted by address.
 * Free it with g_array_unref().
 */
GArray *gmem_places_new(void);

/**
 * gmem_places_put: KVM has just been told the states of these pages there
 *
 * Whatever had its state at these addresses has none any more, and neither do
 * these pages anywhere else.
 */
void gmem_places_put(GArray *places, const GmemPlace *place);

/**
 * gmem_places_forget: a block goes; none of its pages has a place any more
 */
void gmem_places_forget(GArray *places, const void *block);

/**
 * gmem_places_find: the place with the lowest address at or behind @gpa that
 * holds pages of @block out of [@offset, @offset + @size)
 *
 * Returns false if there is none; otherwise @out is the place, clipped to the
 * pages and to addresses from @gpa on.
 */
bool gmem_places_find(const GArray *places, uint64_t gpa, const void *block,
                      uint64_t offset, uint64_t size, GmemPlace *out);

/**
 * gmem_places_missing: what of @want is not in the table
 *
 * Returns false if all of it is; otherwise @out is the first run of pages that
 * are not.
 */
bool gmem_places_missing(const GArray *places, const GmemPlace *want,
                         GmemPlace *out);

#endif /* SYSTEM_GMEM_PLACES_H */
