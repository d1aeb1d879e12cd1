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
 * noise_request: begin, look how far it is, or end it; see control.h
 *
 * @n: NULL while it is quiet
 * @w: the words of the request.  "noise SECONDS SEED GPA N" begins to make noise
 *   for that long; of N pages from GPA on, all in one file, some are held.
 *
 * Returns an answer line.  That of "noise-end" tells what was done: pins=,
 * refused= (the page was private), stops=, queries=, infos=, and what was wrong
 * with the answers: silent=, wrong=.
 */
char *noise_request(Noise **n, Vm *vm, Qmp *qmp, GuestMemory *memory, char **w);

/* noise_tick: do what is due; to be called every few milliseconds. */
void noise_tick(Noise *n);

/* noise_end: let the guest go on and give all pages back, if there is noise. */
void noise_end(Noise **n);

#endif
