/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * personality.so, to be preloaded: a KVM that has SEV-SNP and TDX guests.
 *
 * What KVM_CREATE_VM makes of such a type is a KVM_X86_SW_PROTECTED_VM, which
 * any machine has.  It knows private memory, but neither the launch commands
 * nor who may touch what when.  These are answered here, by the rules of
 * Linux (arch/x86/kvm/svm/sev.c, vmx/tdx.c, virt/kvm/guest_memfd.c), and a
 * VMM that breaks one is told so in a line on stderr.
 *
 * Everything is about one VM.  personality_lock is held for all of it but for
 * KVM_RUN itself.
 */
#ifndef LAB_PERSONALITY_H
#define LAB_PERSONALITY_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
/* Before linux/kvm.h, which would take those of the build machine. */
#include <asm-x86/kvm.h>
#include <linux/kvm.h>

#define PAGE_SIZE       4096ul
#define PAGE_SHIFT      12

typedef enum VmKind { VM_PLAIN, VM_SNP, VM_TDX } VmKind;

/* Where the launch is; the order is that of the commands. */
typedef enum VmPhase {
    PHASE_CREATED,
    PHASE_INIT,             /* SNP: INIT2; TDX: INIT_VM */
    PHASE_LAUNCH,           /* SNP: LAUNCH_START; TDX: first INIT_VCPU */
    PHASE_RUNNABLE,         /* SNP: LAUNCH_FINISH; TDX: FINALIZE_VM */
} VmPhase;

/* What is known of one page of a guest_memfd */
enum {
    PAGE_PRIVATE = 1,       /* in place: by KVM_SET_MEMORY_ATTRIBUTES2 */
    PAGE_ADDED = 2,         /* given to the guest by the launch */
    PAGE_ACCEPTED = 4,      /* by the launch, or by the guest itself */
};

typedef struct GmemFile {
    int fd;
    ino_t inode;            /* a number is used again when a file is closed */
    unsigned index;         /* "gmem0" in the log */
    uint64_t size;          /* bytes */
    uint8_t *page;          /* PAGE_* of each page */
    char *map;              /* NULL: not a file that can be mapped */
} GmemFile;

typedef struct Slot {
    uint32_t id;            /* with the address space */
    uint64_t gpa, size, hva;
    GmemFile *file;         /* NULL: memory without private pages */
    uint64_t offset;        /* in it */
} Slot;

typedef struct Vcpu {
    int fd;
    unsigned long id;
    struct kvm_run *run;
    bool initialized;       /* TDX: INIT_VCPU */

    /* What the VMM was told of a hypercall that it has not answered yet */
    bool in_hypercall;
    uint64_t hc_gpa, hc_pages, hc_told, hc_flags;

    /* A touch whose memory fault the VMM has not resolved yet; see run.c */
    bool in_touch;
    bool stale;             /* it is a made-up one: nothing to resolve */
    uint64_t touch_gpa, touch_pages;
    bool touch_private, touch_accept;
    unsigned touch_faults;
} Vcpu;

typedef struct Vm {
    int fd;                 /* -1: there is none */
    int kvm_fd;
    VmKind kind;
    VmPhase phase;
    bool in_place;          /* the kernel tracks private memory per file */
    bool split_irqchip;
    unsigned long vcpu_id_limit;
} Vm;

/* Words "name=value" of the environment variable PERSONALITY */
typedef struct Options {
    char log[200];          /* log=PATH: a line per call */
    unsigned chunk;         /* chunk=N: a launch command does N pages a call */
    bool cpuid_mismatch;    /* cpuid-mismatch=1: firmware corrects that page */
    unsigned stale_faults;  /* stale-faults=N: a made-up one every N exits */
    unsigned no_memory;     /* no-memory=MS: ENOMEM for so long */
    unsigned no_memory_pages;   /* no-memory-pages=N: what begins it */
} Options;

extern pthread_mutex_t personality_lock;
extern Vm vm;
extern Options options;

/* --- personality.c -------------------------------------------------------- */

/*
 * raw_ioctl: the kernel's own.  Returns what it returns, or a negative errno;
 * errno is as before.
 */
long raw_ioctl(int fd, unsigned long request, void *argument);

/* --- log.c ---------------------------------------------------------------- */

/* log_call: a line of the log; no addresses of the VMM may be in it. */
void log_call(const char *f, ...) __attribute__((format(printf, 1, 2)));

/*
 * complain: the VMM has broken a rule.  A line on stderr that begins with
 * "personality: ", and in the log.  Returns -@error, for the caller to return.
 */
long complain(int error, const char *f, ...)
    __attribute__((format(printf, 2, 3)));

/* --- memory.c: files, slots, states ----------------------------------------- */

/*
 * memory_add_file: a guest_memfd that KVM has made; memory_file: the one of a
 * descriptor, or NULL; memory_set_slot: a slot that KVM has taken (size 0:
 * deleted).
 */
void memory_add_file(int fd, uint64_t size, uint64_t flags);
GmemFile *memory_file(int fd);
void memory_set_slot(const struct kvm_userspace_memory_region2 *r);

/* memory_slot: the slot at @gpa; NULL if there is none. */
Slot *memory_slot(uint64_t gpa);

/*
 * memory_page: PAGE_* of the page at @gpa; NULL if no guest_memfd is there.
 * memory_private: is that page private?
 */
uint8_t *memory_page(uint64_t gpa);
bool memory_private(uint64_t gpa);

/*
 * memory_set_attributes: KVM_SET_MEMORY_ATTRIBUTES of the VM;
 * memory_set_attributes2: KVM_SET_MEMORY_ATTRIBUTES2 of a guest_memfd;
 * memory_punch: bytes of a guest_memfd are freed.
 * What the kernel does has been done already and has not failed.
 */
void memory_set_attributes(const struct kvm_memory_attributes *a);
void memory_set_attributes2(GmemFile *f,
                            const struct kvm_memory_attributes2 *a);
void memory_punch(GmemFile *f, uint64_t offset, uint64_t size);

/* memory_punch_mapping: the same, by an address of the VMM */
void memory_punch_mapping(uint64_t address, uint64_t size);

/* --- private.c: what is in private pages ------------------------------------ */

/*
 * private_write: store @size bytes, whole pages, in the private or shared page
 * at @gpa as the guest sees it.  Returns 0 or a negative errno, after a
 * message.
 */
int private_write(uint64_t gpa, const void *data, uint64_t size);

/* private_fill: all pages with the same content. */
int private_fill(uint64_t gpa, uint64_t size, const void *page);

/* private_garbage: a page of what no key decrypts to anything. */
const void *private_garbage(void);

/*
 * source_read/source_write: memory of the VMM, for the kernel; -EFAULT where
 * it cannot be accessed, as in a private page.
 */
int source_read(uint64_t address, void *data, uint64_t size);
int source_write(uint64_t address, const void *data, uint64_t size);

/* --- launch.c: rules that both types have ----------------------------------- */

/*
 * launch_page: may the page at @gpa be added?  Says why not; *@error then is
 * what kvm_gmem_populate() returns.  @what is the name of the command.
 */
bool launch_page(uint64_t gpa, const char *what, int *error);

/*
 * launch_add: give the page at @gpa to the guest, with the content at @source
 * (0: what it has already).
 */
int launch_add(uint64_t gpa, uint64_t source);

/* --- snp.c, tdx.c: KVM_MEMORY_ENCRYPT_OP and what goes with it --------------- */

long snp_vm_command(struct kvm_sev_cmd *cmd);
long snp_platform_command(void *arg);
long tdx_vm_command(struct kvm_tdx_cmd *cmd);
long tdx_vcpu_command(Vcpu *vcpu, struct kvm_tdx_cmd *cmd);

/* --- run.c ------------------------------------------------------------------- */

/* run_vcpu: KVM_RUN.  Called without the lock. */
long run_vcpu(Vcpu *vcpu);

#endif
