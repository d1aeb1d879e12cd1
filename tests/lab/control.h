/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the payload may ask for: one request line, one answer line ("ok ...",
 * "error ...").  Numbers are decimal or 0x...; N counts 4 KiB pages.
 *
 *   hello                     -> hello
 *   state GPA N [STRIDE]      -> P512, S1P3: the kernel's state, by a probe
 *   peek GPA                  -> the 64-bit word there, or SIGBUS
 *   poke GPA VALUE            -> or SIGBUS
 *   fill GPA N SEED [STEP]    write the pattern (pattern.h), every STEPth page
 *   check GPA N SEED [STEP]   -> match, or where it differs
 *   stamp GPA N VALUE         write VALUE to one word of each page, through QEMU
 *   touch GPA N               write to each page, through QEMU -> ticks=: the time
 *                             that took, in cycles of the TSC
 *   access GPA                -> what each of the host's ways to a page gives
 *   offset GPA, inode GPA     -> the place in its guest_memfd
 *   pin GPA N MS|hold [STRIDE]
 *                             hold N pages, one of every STRIDE, MS from the
 *                             next "mark"
 *   unpin                     give all held pages back
 *   mark                      start the clock of pins and trace
 *   since [HELD]              -> calls=, eagain=, ... since the mark; rest-ms=:
 *                             when all but HELD (1) pages were done
 *   after WHEN state GPA N STRIDE WANT
 *                             probe again and again until the state is WANT
 *                             or no page is held any more
 *   after WHEN stop MS        stop the VM, look at its registers, and continue
 *                             it MS later -> stop-ms=, paused=, registers=,
 *                             calls= to the kernel while it was stopped
 *   after WHEN hmp COMMAND    -> ms=, answered=
 *   after WHEN gmem BLOCK     as "gmem BLOCK", and ms=
 *   after WHEN jump RAX RIP   write these registers of the first vCPU, as a
 *                             debugger does -> ms=, error=
 *   after WHEN unpin          as "unpin"
 *   after WHEN quit           end QEMU
 *                             WHEN: milliseconds from the mark, "busy": 30 ms
 *                             behind the first EAGAIN since the mark, or EVENT:
 *                             30 ms behind the first that QEMU traced
 *   result                    wait for the next "after" to be done -> ms=...
 *                             A state that does not come is given up after ten
 *                             seconds: same=0, saw=
 *   count EVENT               -> how often QEMU traced it since the mark
 *   gmem [BLOCK]              -> query-guest-memfd: mode=, and what it says of
 *                             the block
 *   event N [MS]              -> the data of the Nth event since the mark that
 *                             a page is busy; waits MS for it; or none
 *   bytes EVENT               -> the sizes that QEMU traced with it since then
 *   events                    -> the order of things since the mark, as letters
 *                             with a count: D a listener let go of pages, P
 *                             they became private, S shared, M a listener is
 *                             told of them, B busy, X any other error (D, M:
 *                             needs -trace gmem_rdm_*)
 *   dma-faults IOVA SIZE      -> how many accesses of a device to these bytes
 *                             the IOMMU has refused since the mark
 *   memory                    -> guest memory in the host: gmem=, other=, peak=;
 *                             fds=: what QEMU has open
 *   noise SECONDS SEED GPA N  from now on hold some of N pages, stop, continue
 *                             and ask at random
 *   noise                     -> at=MS, left=MS
 *   noise-end                 -> what was done and answered; see noise.h
 *   nodes GPA N               -> the NUMA nodes of shared pages: n0=, n1=, none=
 *   usage                     -> what QEMU holds: fds=, vm-kib= of addresses;
 *                             cached-kib=: page cache of the host
 *   hmp COMMAND               -> QEMU's answer, lines joined by "; "
 *   find FILE GPA SEED [GPA SEED]
 *                             -> how many aligned words of the file are of the
 *                             pattern of a page: found=, other=; then the file
 *                             is deleted
 */
#ifndef LAB_CONTROL_H
#define LAB_CONTROL_H

#include "qtrace.h"
#include "vm.h"

typedef struct Control Control;

Control *control_new(Vm *vm, QTrace *trace);
void control_free(Control *c);

/*
 * control_request: serve one request line.
 *
 * Returns the answer without newline, or NULL when it comes later from
 * control_tick() ("result").  Free with g_free.
 */
char *control_request(Control *c, const char *line);

/*
 * control_tick: do what is due; to be called every few milliseconds while
 * control_busy().  Returns a delayed answer or NULL.
 */
char *control_tick(Control *c);
bool control_busy(Control *c);

/* control_quit_ms: how long QEMU took to end after "quit"; -1: not asked. */
double control_quit_ms(Control *c);

#endif
