/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a payload test may use.  A test is a C function that takes nothing and
 * an entry in the table at the end of its file; parameters come as
 * "name=value" words of the scenario.
 */
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdarg.h>
#include "layout.h"
#include "../pattern.h"

#define PAGE        ((uint64_t)LAB_PAGE_SIZE)
#define MIB         (1024ul * 1024)
#define EAGAIN      11
#define EINVAL      22

/* A named test; a table of them ends with an entry whose name is NULL. */
typedef struct PayloadTest {
    const char *name;
    void (*run)(void);
} PayloadTest;

extern const PayloadTest tests_convert[];
extern const PayloadTest tests_busy[];
extern const PayloadTest tests_pending[];
extern const PayloadTest tests_four[];
extern const PayloadTest tests_dual[];
extern const PayloadTest tests_monitor[];
extern const PayloadTest tests_access[];
extern const PayloadTest tests_devices[];
extern const PayloadTest tests_backend[];
extern const PayloadTest tests_balloon[];
extern const PayloadTest tests_cgs[];
extern const PayloadTest tests_cgs_host[];
extern const PayloadTest tests_other[];
extern const PayloadTest tests_vfio[];
extern const PayloadTest tests_plug[];
extern const PayloadTest tests_soak[];
extern const PayloadTest tests_libvirt[];
extern const PayloadTest tests_bench[];
extern const PayloadTest tests_demo[];

/* --- lib.c: text and memory ------------------------------------------- */

/*
 * fmt: a small vsnprintf.  %s %c %d %u %x with an optional l; always
 * terminates @buf.  Returns the length written.
 */
size_t fmt_v(char *buf, size_t size, const char *f, va_list ap);
size_t fmt(char *buf, size_t size, const char *f, ...)
    __attribute__((format(printf, 3, 4)));

bool starts_with(const char *s, const char *prefix);
bool str_equal(const char *a, const char *b);
bool str_contains(const char *s, const char *part);

/*
 * word_value: find the word "@name=..." in @line; returns what follows the
 * equals sign, or NULL.
 */
const char *word_value(const char *line, const char *name);

/* word_is: is there a word "@name=@value" in @line? */
bool word_is(const char *line, const char *name, const char *value);

/* number: parse decimal or 0x hexadecimal; stops at the first other char. */
uint64_t number(const char *s);

/*
 * word_number: the value of the word "@name=NUMBER" in @line, or @absent
 * when there is no such word.
 */
uint64_t word_number(const char *line, const char *name, uint64_t absent);

/* --- io.c: ports, MSRs, fw_cfg, gmem-lab ------------------------------- */

static inline void outb(uint16_t port, uint8_t v)
{
    asm volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
    uint8_t v;

    asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static inline void outw(uint16_t port, uint16_t v)
{
    asm volatile("outw %0, %1" : : "a"(v), "Nd"(port));
}

static inline uint16_t inw(uint16_t port)
{
    uint16_t v;

    asm volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static inline void outl(uint16_t port, uint32_t v)
{
    asm volatile("outl %0, %1" : : "a"(v), "Nd"(port));
}

static inline uint32_t inl(uint16_t port)
{
    uint32_t v;

    asm volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t lo, hi;

    asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
    return (uint64_t)hi << 32 | lo;
}

static inline void wrmsr(uint32_t msr, uint64_t v)
{
    asm volatile("wrmsr" : : "c"(msr), "a"((uint32_t)v),
                 "d"((uint32_t)(v >> 32)) : "memory");
}

/* debug_puts: write @s to the debug port, where gmem-lab collects TAP. */
void debug_puts(const char *s);

/*
 * fw_cfg_find: look for the fw_cfg file @name; false if there is none.
 * fw_cfg_read: read the first @size bytes of an item, byte by byte.
 */
bool fw_cfg_find(const char *name, uint16_t *key, uint32_t *size);
void fw_cfg_read(uint16_t key, void *buf, size_t size);

/*
 * fw_cfg_string: read the fw_cfg file @name into @buf, terminated.
 * Returns false if there is no such file.
 */
bool fw_cfg_string(const char *name, char *buf, size_t size);

/*
 * ask: send one request line to gmem-lab and wait for its answer line.
 *
 * Returns the text behind "ok ", valid until the next call.  An "error ..."
 * answer fails the running check and returns "".
 */
const char *ask(const char *f, ...) __attribute__((format(printf, 1, 2)));

/* param_text/param: the scenario's parameter @name, or @absent. */
const char *param_text(const char *name, const char *absent);
uint64_t param(const char *name, uint64_t absent);

/* quit: end the guest; @pass becomes QEMU's exit code (33 or 35). */
void quit(bool pass) __attribute__((noreturn));

/* --- flip.c: a page that changes its state all the time ----------------- */

/*
 * flip_begin: let the second vCPU make the page at @gpa private and shared, in
 * turn, until flip_end().  Returns after the first round.
 *
 * flip_end: stop it; the page is shared then.  Checks that no conversion
 * failed; returns the number of rounds.
 */
void flip_begin(uint64_t gpa);
unsigned flip_end(void);

/* --- test.c: checks --------------------------------------------------- */

/*
 * A step is one TAP line.  check() inside a step records the first thing
 * that was wrong; step_end() prints "ok N - text" or "not ok N - text: what
 * was wrong".  Text is given at the end, so it may hold what was measured.
 */
void step_begin(void);
bool check_at(const char *where, bool ok, const char *f, ...)
    __attribute__((format(printf, 3, 4)));
bool step_end(const char *f, ...) __attribute__((format(printf, 1, 2)));
void note(const char *f, ...) __attribute__((format(printf, 1, 2)));
/* test_summary: print the plan; returns whether every step held. */
bool test_summary(void);

#define STR_(x) #x
#define STR(x) STR_(x)
#define check(ok, ...) check_at(__FILE__ ":" STR(__LINE__), (ok), __VA_ARGS__)

/* --- main.c, ap.c: the other vCPUs -------------------------------------- */

/*
 * relax: for loops that wait.  CPUID leaves the guest, PAUSE does not, and
 * under TCG's SVM a guest that spins keeps the timer of the emulated host from
 * ticking.
 */
static inline void relax(void)
{
    uint32_t a = 0, b, c = 0, d;

    asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d) : : "memory");
}

/* idt_load: let this vCPU report exceptions. */
void idt_load(void);

/*
 * ap_start: start the vCPU with APIC ID @id, 0 < @id < VCPUS_MAX, by INIT and
 * SIPI, and wait for it.
 */
void ap_start(unsigned id);

/*
 * ap_run: let that vCPU call @fn.  Only convert(), load() and store() are for
 * all vCPUs; everything else is for the first one.
 */
void ap_run(unsigned id, void (*fn)(void));

/* ap_busy: is it still at that?  ap_wait: wait until it is not. */
bool ap_busy(unsigned id);
void ap_wait(unsigned id);

/* vcpu_id: the APIC ID of the vCPU that calls it; the first one has 0. */
unsigned vcpu_id(void);

/* --- pci.c: bus 0; there is no firmware that would set anything up ------- */

/* A function: device << 3 | function */
#define HOST_BRIDGE         0
#define PCI_NONE            (~0u)

uint8_t pci_read8(unsigned fn, unsigned reg);
void pci_write8(unsigned fn, unsigned reg, uint8_t v);
uint32_t pci_read32(unsigned fn, unsigned reg);
void pci_write32(unsigned fn, unsigned reg, uint32_t v);

/* pci_find: the @n-th function with this ID (device << 16 | vendor) */
unsigned pci_find(uint32_t id, unsigned n);

/*
 * pci_enable: give BAR @bar the address @at (bit 0 set: I/O), have it decoded,
 * and let the function do DMA.
 */
void pci_enable(unsigned fn, unsigned bar, uint32_t at);

/* pci_decode: have its memory BARs decoded, or not; nothing else changes. */
void pci_decode(unsigned fn, bool on);

/* mmio_read/mmio_write: one 32-bit register of a device */
static inline uint32_t mmio_read(uint64_t at)
{
    return *(volatile uint32_t *)at;
}

static inline void mmio_write(uint64_t at, uint32_t v)
{
    *(volatile uint32_t *)at = v;
}

/*
 * set_pam: write all PAM registers of the host bridge.  QEMU deletes and makes
 * again the memory slots below 1 MiB then.
 */
void set_pam(uint8_t v);

/*
 * QEMU's teaching device: it copies up to a page between memory and a buffer
 * of its own, 100 ms after it was told to.
 */
typedef struct Edu {
    uint64_t bar;
} Edu;

/* edu_open: find the @n-th one, give it addresses; false: there is none. */
bool edu_open(unsigned n, Edu *edu);

/* edu_open_behind: the same for the one behind the PCI bridge @port */
bool edu_open_behind(unsigned port, Edu *edu);

/* edu_copied: does the page at @gpa hold what the device read at @of? */
bool edu_copied(uint64_t gpa, uint64_t of);

/* edu_start: let it copy one page from or to @gpa; edu_busy: is it at that? */
void edu_start(const Edu *edu, uint64_t gpa, bool to_memory);
bool edu_busy(const Edu *edu);

/* edu_dma: both; returns when it is done. */
void edu_dma(const Edu *edu, uint64_t gpa, bool to_memory);

/* --- guest.c: the guest's memory -------------------------------------- */

/*
 * convert: ask the host to make @npages 4 KiB pages at @gpa private or
 * shared.  Returns what the hypercall returned: 0, a positive errno from
 * QEMU or a negative one from KVM.
 */
long convert(uint64_t gpa, uint64_t npages, bool to_private);

/*
 * fill: write the pattern of @seed to @npages pages at @gpa.  The _every
 * functions take every @step-th page only: a first touch costs the emulated
 * host much.
 */
void fill(uint64_t gpa, uint64_t npages, uint64_t seed);
void fill_every(uint64_t gpa, uint64_t npages, uint64_t seed, uint64_t step);

/*
 * verify: check that the guest reads the pattern of @seed; fails the running
 * step and names the first wrong word otherwise.
 */
bool verify(uint64_t gpa, uint64_t npages, uint64_t seed);
bool verify_every(uint64_t gpa, uint64_t npages, uint64_t seed, uint64_t step);

/* host_verify/host_fill: the same, done by gmem-lab through its mapping. */
bool host_verify(uint64_t gpa, uint64_t npages, uint64_t seed);
bool host_verify_every(uint64_t gpa, uint64_t npages, uint64_t seed,
                       uint64_t step);
void host_fill(uint64_t gpa, uint64_t npages, uint64_t seed);

/*
 * dual: does each state have a page of its own (parameter "dual=1" of the
 * scenario)?
 */
bool dual(void);

/*
 * state_of: the kernel's state of @npages pages at @gpa, as "P512" or "S1P3";
 * valid until the next call.  Of in-place memory gmem-lab's probe sees it.  Of
 * dual-backed memory the guest does: gmem-lab writes to the shared pages, and
 * those that the guest finds changed are shared.
 */
const char *state_of(uint64_t gpa, uint64_t npages);

/* check_state: state_of() must be @want. */
bool check_state(uint64_t gpa, uint64_t npages, const char *want);

/*
 * carry: these pages have just been converted, and what fill() with @seed wrote
 * shall be in them.  In place it is; dual-backed memory must have lost it, and
 * is filled again.
 */
void carry(uint64_t gpa, uint64_t npages, uint64_t seed);

/* check_convert: convert() must answer @want. */
bool check_convert(uint64_t gpa, uint64_t npages, bool to_private, long want);

static inline uint64_t load(uint64_t gpa)
{
    return *(volatile uint64_t *)gpa;
}

static inline void store(uint64_t gpa, uint64_t v)
{
    *(volatile uint64_t *)gpa = v;
}

#endif
