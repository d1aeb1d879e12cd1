/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's own memory and the hypercall; see payload.h. */
#include "payload.h"

#define KVM_HC_MAP_GPA_RANGE    12
#define MAP_GPA_ENCRYPTED       (1ul << 4)

long convert(uint64_t gpa, uint64_t npages, bool to_private)
{
    long ret = KVM_HC_MAP_GPA_RANGE;

    asm volatile("vmmcall"
                 : "+a"(ret)
                 : "b"(gpa), "c"(npages),
                   "d"(to_private ? MAP_GPA_ENCRYPTED : 0ul)
                 : "memory");
    return ret;
}

void fill(uint64_t gpa, uint64_t npages, uint64_t seed)
{
    fill_every(gpa, npages, seed, 1);
}

void fill_every(uint64_t gpa, uint64_t npages, uint64_t seed, uint64_t step)
{
    for (uint64_t n = 0; n < npages; n += step) {
        for (unsigned i = 0; i < LAB_PATTERN_WORDS; i++) {
            uint64_t at = gpa + n * PAGE + lab_pattern_offset(i);

            store(at, lab_pattern(seed, at));
        }
    }
}

bool verify(uint64_t gpa, uint64_t npages, uint64_t seed)
{
    return verify_every(gpa, npages, seed, 1);
}

bool verify_every(uint64_t gpa, uint64_t npages, uint64_t seed, uint64_t step)
{
    for (uint64_t n = 0; n < npages; n += step) {
        for (unsigned i = 0; i < LAB_PATTERN_WORDS; i++) {
            uint64_t at = gpa + n * PAGE + lab_pattern_offset(i);
            uint64_t saw = load(at);

            if (saw != lab_pattern(seed, at)) {
                return check(false, "guest reads 0x%lx at gpa 0x%lx, not 0x%lx",
                             saw, at, lab_pattern(seed, at));
            }
        }
    }
    return true;
}

bool host_verify(uint64_t gpa, uint64_t npages, uint64_t seed)
{
    return host_verify_every(gpa, npages, seed, 1);
}

bool host_verify_every(uint64_t gpa, uint64_t npages, uint64_t seed,
                       uint64_t step)
{
    const char *a = ask("check 0x%lx %lu %lu %lu", gpa, npages, seed, step);

    return check(str_equal(a, "match"),
                 "host, %lu pages at gpa 0x%lx: %s", npages, gpa, a);
}

void host_fill(uint64_t gpa, uint64_t npages, uint64_t seed)
{
    ask("fill 0x%lx %lu %lu", gpa, npages, seed);
}

bool dual(void)
{
    return param("dual", 0);
}

const char *state_of(uint64_t gpa, uint64_t npages)
{
    static uint64_t stamp = 0x7374616d70000000;
    static char runs[256];
    size_t len = 0;

    if (!dual()) {
        return ask("state 0x%lx %lu", gpa, npages);
    }
    ask("stamp 0x%lx %lu 0x%lx", gpa, npages, ++stamp);
    runs[0] = 0;
    for (uint64_t i = 0, n; i < npages && len < sizeof(runs) - 24; i += n) {
        bool shared = load(gpa + i * PAGE + LAB_STAMP_OFFSET) == stamp;

        for (n = 1; i + n < npages; n++) {
            if ((load(gpa + (i + n) * PAGE + LAB_STAMP_OFFSET) == stamp) !=
                shared) {
                break;
            }
        }
        len += fmt(runs + len, sizeof(runs) - len, "%c%lu", shared ? 'S' : 'P',
                   n);
    }
    return runs;
}

void carry(uint64_t gpa, uint64_t npages, uint64_t seed)
{
    if (!dual()) {
        return;
    }
    for (uint64_t i = 0; i < npages; i++) {
        uint64_t saw = load(gpa + i * PAGE);

        if (!check(saw == 0, "guest reads 0x%lx at gpa 0x%lx, from a page that "
                   "should be new", saw, gpa + i * PAGE)) {
            break;
        }
    }
    fill(gpa, npages, seed);
}

bool check_state(uint64_t gpa, uint64_t npages, const char *want)
{
    const char *a = state_of(gpa, npages);

    return check(str_equal(a, want), "state at gpa 0x%lx is %s, not %s",
                 gpa, a, want);
}

bool check_convert(uint64_t gpa, uint64_t npages, bool to_private, long want)
{
    long ret = convert(gpa, npages, to_private);

    return check(ret == want,
                 "converting %lu pages at gpa 0x%lx to %s answered %ld, not %ld",
                 npages, gpa, to_private ? "private" : "shared", ret, want);
}
