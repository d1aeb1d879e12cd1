/*
 * Description: models of the engine and of a RAM block.  Each plays one random
 * schedule on the fake kernel and checks every call and every state against
 * plain arrays of pages; it shares no code with what it checks.  The choices
 * come from a seed (test-gmem-property.c) or from a fuzzer's input
 * (tests/fuzz); a broken rule ends in abort().
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_MODEL_H
#define TESTS_UNIT_MODEL_H

#include "system/gmem-state.h"

/**
 * Source: where the choices come from
 *
 * @data, @len: the choices themselves, used up from the front; or NULL
 * @state: without @data, the seed; the generator's state
 */
typedef struct Source {
    const uint8_t *data;
    size_t len;
    uint64_t state;
} Source;

/* A choice from 0 to @n - 1, @n up to 65536; 0 once the input is used up */
static inline uint32_t pick(Source *src, uint32_t n)
{
    uint64_t z;

    if (src->data) {
        uint32_t value = 0, limit = n - 1;

        for (; limit && src->len; limit >>= 8, src->len--) {
            value = value << 8 | *src->data++;
        }
        return value % n;
    }
    /* splitmix64 */
    z = src->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % n;
}

/* One choice in @n is true; false once the input is used up */
static inline bool one_in(Source *src, uint32_t n)
{
    return pick(src, n) == n - 1;
}

/**
 * model_engine: one job of the engine, attempt by attempt, to its end
 */
void model_engine(Source *src);

/**
 * model_block: jobs, listeners and a launch on one RAM block
 */
void model_block(Source *src);

#endif
