/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of SEV-SNP and TDX guests share; see test-cgs.c. */
#ifndef PAYLOAD_CGS_H
#define PAYLOAD_CGS_H

#include "payload.h"
#include "personality.h"

bool is_tdx(void);

/* check_op: what the CPU does by itself must have this result. */
bool check_op(uint64_t op, uint64_t gpa, uint64_t npages, uint64_t flags,
              uint64_t want);

/* check_pages: every page's state, as the personality has seen QEMU set it */
bool check_pages(uint64_t gpa, uint64_t npages, uint64_t want);

/* check_kernel: the kernel's own, which can be seen in place only */
void check_kernel(uint64_t gpa, uint64_t npages, bool is_private);

/* accept: the guest takes private pages, and finds nothing from before. */
void accept(uint64_t gpa, uint64_t npages);

/* share_and_back: one step, with pages that are private and not accepted */
void share_and_back(uint64_t gpa, uint64_t npages, const char *what);

#endif
