/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a host does to a guest at random: it holds pages for a while, stops and
 * continues the guest, asks both monitors for this and that.
 */
#ifndef LAB_NOISE_H
#define LAB_NOISE_H

#include "guest-memory.h"
#include "qmp.h"
#include "vm.h"

typedef struct Noise Noise;

/*
 * noise_new: begin to make noise, and do so for @seconds
 *
 * @place: pages from here on are held, out of @npages in the same file
 * @seed: what is random follows from it
 */
Noise *noise_new(Vm *vm, Qmp *qmp, const GuestPlace *place, uint64_t npages,
                 unsigned seconds, uint64_t seed);

/* noise_tick: do what is due; to be called every few milliseconds. */
void noise_tick(Noise *n);

/* noise_progress: "at=MS left=MS", from the beginning and to the end. */
char *noise_progress(Noise *n);

/*
 * noise_end: let the guest go on, give all pages back, free @n.  Returns what
 * was done: pins=, refused= (the page was private), stops=, queries=, infos=,
 * and what was wrong with the answers: silent=, wrong=.
 */
char *noise_end(Noise *n);

#endif
