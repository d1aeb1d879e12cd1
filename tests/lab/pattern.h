/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The data pattern that payload and gmem-lab both know, so that each side can
 * check what the other wrote.
 */
#ifndef LAB_PATTERN_H
#define LAB_PATTERN_H

#include <stdint.h>

#define LAB_PAGE_SIZE       4096u
/* Eight words per page: first and last word are among them. */
#define LAB_PATTERN_WORDS   8u
/* A word that is none of them. */
#define LAB_STAMP_OFFSET    8u

/*
 * lab_pattern_offset: byte offset in the page of pattern word @i,
 * 0 <= @i < LAB_PATTERN_WORDS.
 */
static inline unsigned lab_pattern_offset(unsigned i)
{
    return i == LAB_PATTERN_WORDS - 1 ? LAB_PAGE_SIZE - 8 : i * 520;
}

/*
 * lab_pattern: the 64-bit word expected at guest physical address @gpa.
 *
 * Depends on @gpa and @seed in every bit (splitmix64), so that a page that
 * turned up at another address, or an older content, is noticed.  Never 0.
 */
static inline uint64_t lab_pattern(uint64_t seed, uint64_t gpa)
{
    uint64_t z = gpa + (seed + 1) * 0x9e3779b97f4a7c15ull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return (z ^ (z >> 31)) | 1;
}

#endif
