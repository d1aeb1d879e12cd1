/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Four vCPUs that convert at the same time. */
#include "payload.h"

#define BASE            (64 * MIB)
#define VCPUS           4
#define CHUNK           16      /* pages; ranges begin and end at chunks */
#define CHUNKS          12

static volatile struct {
    unsigned chunk;             /* the vCPU's range */
    unsigned nr_chunks;
    bool to_private;
    unsigned rounds;            /* each there and back; 0: one conversion */
    long ret;
} of_four[VCPUS];

static volatile unsigned ready;
static volatile bool go;

static void one_of_four(void)
{
    unsigned id = vcpu_id();
    uint64_t gpa = BASE + of_four[id].chunk * CHUNK * PAGE;
    uint64_t npages = of_four[id].nr_chunks * CHUNK;
    bool to_private = of_four[id].to_private;
    unsigned rounds = of_four[id].rounds;

    __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
    while (!go) {
        relax();
    }
    of_four[id].ret = convert(gpa, npages, to_private);
    for (; rounds && !of_four[id].ret; rounds--) {
        of_four[id].ret = convert(gpa, npages, !to_private);
        if (!of_four[id].ret) {
            of_four[id].ret = convert(gpa, npages, to_private);
        }
    }
}

/* vCPU N's range: @nr_chunks from N * @shift on; even ones make it private */
static void set_four(unsigned shift, unsigned nr_chunks, bool opposite,
                     unsigned rounds)
{
    for (unsigned id = 0; id < VCPUS; id++) {
        of_four[id].chunk = id * shift;
        of_four[id].nr_chunks = nr_chunks;
        of_four[id].to_private = !opposite || id % 2 == 0;
        of_four[id].rounds = rounds;
        of_four[id].ret = -1;
    }
}

static void run_four(void)
{
    ready = 0;
    go = false;
    for (unsigned id = 1; id < VCPUS; id++) {
        ap_run(id, one_of_four);
    }
    while (ready < VCPUS - 1) {
        relax();
    }
    go = true;
    one_of_four();
    for (unsigned id = 1; id < VCPUS; id++) {
        ap_wait(id);
    }
    for (unsigned id = 0; id < VCPUS; id++) {
        check(of_four[id].ret == 0, "vCPU %u was answered %ld", id,
              of_four[id].ret);
    }
}

/* The states of all chunks as the answer to "state" has them */
static void four_runs(const bool *priv, char *text, size_t size)
{
    unsigned from = 0;
    size_t n = 0;

    for (unsigned i = 1; i <= CHUNKS; i++) {
        if (i == CHUNKS || priv[i] != priv[from]) {
            n += fmt(text + n, size - n, "%c%u", priv[from] ? 'P' : 'S',
                     (i - from) * CHUNK);
            from = i;
        }
    }
}

/*
 * Is @saw what the four requests leave one after the other, in some order?
 * @left: those that are still to come; the last one to come decides.
 */
static bool four_explained(const char *saw, const bool *priv, unsigned left)
{
    bool next[CHUNKS];
    char text[80];

    if (!left) {
        four_runs(priv, text, sizeof(text));
        return str_equal(saw, text);
    }
    for (unsigned id = 0; id < VCPUS; id++) {
        if (left & 1u << id) {
            for (unsigned i = 0; i < CHUNKS; i++) {
                unsigned at = i - of_four[id].chunk;

                next[i] = i >= of_four[id].chunk && at < of_four[id].nr_chunks ?
                          of_four[id].to_private : priv[i];
            }
            if (four_explained(saw, next, left & ~(1u << id))) {
                return true;
            }
        }
    }
    return false;
}

static void four_race(const char *what, unsigned shift, unsigned nr_chunks)
{
    static const bool shared[CHUNKS];
    unsigned n = param("rounds", 16), private_first = 0;

    step_begin();
    fill(BASE, CHUNKS * CHUNK, 7);
    for (unsigned i = 0; i < n; i++) {
        const char *a;

        check_convert(BASE, CHUNKS * CHUNK, false, 0);
        set_four(shift, nr_chunks, true, 0);
        run_four();
        a = state_of(BASE, CHUNKS * CHUNK);
        private_first += *a == 'P';
        check(four_explained(a, shared, (1u << VCPUS) - 1),
              "no order of the four requests leaves %s", a);
    }
    /* Back and forth all the time: the end is that of some last requests */
    set_four(shift, nr_chunks, true, 5 * n);
    run_four();
    check_convert(BASE, CHUNKS * CHUNK, false, 0);
    carry(BASE, CHUNKS * CHUNK, 7);
    host_verify(BASE, CHUNKS * CHUNK, 7);
    step_end("%s of four vCPUs in opposite directions: always as if one came "
             "after the other (the first page private in %u of %u)", what,
             private_first, n);
}

static void four_vcpus(void)
{
    for (unsigned id = 1; id < VCPUS; id++) {
        ap_start(id);
    }
    step_begin();
    fill(BASE, CHUNKS * CHUNK, 6);
    set_four(3, 3, true, 10 * param("rounds", 16));
    run_four();
    check_state(BASE, CHUNKS * CHUNK, "P48S48P48S48");
    check_convert(BASE, CHUNKS * CHUNK, false, 0);
    carry(BASE, CHUNKS * CHUNK, 6);
    host_verify(BASE, CHUNKS * CHUNK, 6);
    step_end("disjoint ranges of four vCPUs: each is as its vCPU left it");

    four_race("the same range", 0, 4);
    four_race("overlapping ranges", 2, 5);
}

const PayloadTest tests_four[] = {
    { "four-vcpus", four_vcpus },
    { }
};
