/*
 * Description: libFuzzer target: the input is one schedule of one job of the
 * engine (ranges, answers of the kernel, pages that become busy and free), the
 * rules are those of tests/unit/model-engine.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Source src = { .data = data, .len = size };

    model_engine(&src);
    return 0;
}
