/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A page that changes its state all the time; see payload.h. */
#include "payload.h"

static volatile struct {
    uint64_t gpa;
    bool stop;
    unsigned rounds;
    long ret;           /* the last answer that was not 0, or 0 */
} ap;

static void ap_flip(void)
{
    while (!ap.stop) {
        for (int to_private = 1; to_private >= 0; to_private--) {
            long ret = convert(ap.gpa, 1, to_private);

            if (ret) {
                ap.ret = ret;
            }
        }
        ap.rounds++;
    }
}

void flip_begin(uint64_t gpa)
{
    static bool started;

    if (!started) {
        ap_start(1);
        started = true;
    }
    ap.gpa = gpa;
    ap.stop = false;
    ap.rounds = 0;
    ap.ret = 0;
    ap_run(1, ap_flip);
    while (ap.rounds == 0) {
        relax();
    }
}

unsigned flip_end(void)
{
    ap.stop = true;
    ap_wait(1);
    check(ap.ret == 0, "a conversion answered %ld", ap.ret);
    return ap.rounds;
}
