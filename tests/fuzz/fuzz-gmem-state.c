/*
 * Description: libFuzzer target: the input is one schedule of jobs, listeners
 * and answers of the kernel on one RAM block, the rules are those of
 * tests/unit/model-block.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Source src = { .data = data, .len = size };

    model_block(&src);
    return 0;
}
