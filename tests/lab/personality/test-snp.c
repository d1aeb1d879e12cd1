/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VMM that breaks rules of SEV-SNP, or of all types; see test.c. */
#include "test.h"

#define CODE            PAGE(1)
#define HYPERCALL_NR    12
#define ENCRYPTED       0x10

static long sev(unsigned id, void *data)
{
    struct kvm_sev_cmd cmd = { .id = id, .data = (uint64_t)data };

    return call(vm_fd, KVM_MEMORY_ENCRYPT_OP, &cmd);
}

static long snp_update(uint64_t gpa, void *from, int type)
{
    struct kvm_sev_snp_launch_update u = {
        .gfn_start = gpa / PAGE_SIZE, .uaddr = (uint64_t)from,
        .len = PAGE_SIZE, .type = type,
    };

    return sev(KVM_SEV_SNP_LAUNCH_UPDATE, &u);
}

static long snp_add(uint64_t gpa)
{
    must(convert(gpa, true), "to private");
    return snp_update(gpa, source(), KVM_SEV_SNP_PAGE_TYPE_NORMAL);
}

static long snp_start(void)
{
    struct kvm_sev_snp_launch_start start = { .policy = 0x30000 };

    return sev(KVM_SEV_SNP_LAUNCH_START, &start);
}

static long snp_finish(void)
{
    struct kvm_sev_snp_launch_finish finish = { 0 };

    return sev(KVM_SEV_SNP_LAUNCH_FINISH, &finish);
}

static void snp_init(void)
{
    struct kvm_sev_init init = { 0 };

    create_vm(KVM_X86_SNP_VM);
    must(sev(KVM_SEV_INIT2, &init), "INIT2");
}

/* Ready for SNP_LAUNCH_UPDATE */
static void snp_begin(void)
{
    snp_init();
    must(snp_start(), "LAUNCH_START");
    create_vcpu();
    add_memory();
}

/* --- a guest that converts page 8 and tells the answer ------------------------ */

static const uint8_t code[] = {
    0x66, 0xb8, HYPERCALL_NR, 0, 0, 0,      /* mov $nr, %eax */
    0x66, 0xbb, 0x00, 0x80, 0, 0,           /* mov $gpa, %ebx */
    0x66, 0xb9, 1, 0, 0, 0,                 /* mov $pages, %ecx */
    0x66, 0xba, 0, 0, 0, 0,                 /* mov $attributes, %edx */
    0x0f, 0x01, 0xd9,                       /* vmmcall */
    0xe6, 0x10,                             /* out %al, $0x10 */
    0xeb, 0xfc,
};

/* It runs in real mode, in private memory, up to its hypercall. */
static void run_to_hypercall(bool to_private)
{
    struct kvm_enable_cap cap = {
        .cap = KVM_CAP_EXIT_HYPERCALL, .args = { 1ul << HYPERCALL_NR },
    };
    struct kvm_regs regs = { .rip = CODE, .rflags = 2 };
    struct kvm_sregs sregs;

    snp_begin();
    must(call(vm_fd, KVM_ENABLE_CAP, &cap), "hypercall exit");
    must(call(vcpu_fd, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    must(call(vcpu_fd, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
    must(call(vcpu_fd, KVM_SET_REGS, &regs), "KVM_SET_REGS");
    memcpy(source(), code, sizeof(code));
    source()[20] = to_private ? ENCRYPTED : 0;
    must(snp_add(CODE), "code");
    must(snp_finish(), "LAUNCH_FINISH");
    if (!to_private) {
        must(convert(PAGE(8), true), "to private");
    }
    must(call(vcpu_fd, KVM_RUN, NULL), "KVM_RUN");
    if (run->exit_reason != KVM_EXIT_HYPERCALL) {
        fprintf(stderr, "exit %u\n", run->exit_reason);
        exit(2);
    }
}

/* Answer, and see what the guest hears of it. */
static long answer(uint64_t ret)
{
    long r;

    run->hypercall.ret = ret;
    r = call(vcpu_fd, KVM_RUN, NULL);
    if (r == 0) {
        uint8_t heard = ((uint8_t *)run)[run->io.data_offset];

        r = run->exit_reason == KVM_EXIT_IO && heard == (uint8_t)ret ? 0 : -EPROTO;
    }
    return r;
}

/* --- cases ---------------------------------------------------------------------- */

static long good_snp(void)
{
    run_to_hypercall(true);
    must(convert(PAGE(8), true), "to private");
    return answer(0);
}

/* The VMM takes an old fault for a wish. */
static long snp_stale(void)
{
    run_to_hypercall(true);                 /* first of three */
    must(convert(PAGE(8), true), "to private");
    must(answer(0), "the answer");
    if (call(vcpu_fd, KVM_RUN, NULL) != -EFAULT ||
        run->exit_reason != KVM_EXIT_MEMORY_FAULT ||
        run->memory_fault.gpa != PAGE(8)) {
        return -EPROTO;
    }
    must(convert(PAGE(8), false), "to shared");
    return call(vcpu_fd, KVM_RUN, NULL);
}

static long snp_removed(void)
{
    snp_begin();
    must(snp_add(PAGE(2)), "page");
    must(snp_finish(), "LAUNCH_FINISH");
    return madvise(ram + PAGE(2), PAGE_SIZE, MADV_REMOVE) < 0 ? -errno : 0;
}

static long snp_prefault(void)
{
    struct kvm_pre_fault_memory range = { .size = PAGE_SIZE };

    snp_begin();
    return call(vcpu_fd, KVM_PRE_FAULT_MEMORY, &range);
}

static long snp_einval(void)
{
    run_to_hypercall(true);
    return answer(EINVAL);
}

static long snp_eagain(void)
{
    run_to_hypercall(true);
    return answer(EAGAIN);
}

static long snp_eperm(void)
{
    run_to_hypercall(true);
    return answer(EPERM);
}

static long snp_not_done(void)
{
    run_to_hypercall(true);
    return answer(0);
}

static long snp_not_shared(void)
{
    run_to_hypercall(false);
    return answer(0);
}

/* The content of a page that turns shared is lost to the host. */
static long snp_shared_content(void)
{
    snp_begin();
    strcpy(source(), "secret");
    must(snp_add(PAGE(2)), "page");
    must(snp_finish(), "LAUNCH_FINISH");
    must(convert(PAGE(2), false), "to shared");
    return memcmp(ram + PAGE(2), "secret", 6) ? 0 : -EEXIST;
}

static long snp_start_early(void)
{
    create_vm(KVM_X86_SNP_VM);
    return snp_start();
}

static long snp_start_twice(void)
{
    snp_begin();
    return snp_start();
}

static long snp_update_early(void)
{
    snp_init();
    add_memory();
    return snp_add(PAGE(2));
}

static long snp_not_private(void)
{
    snp_begin();
    return snp_update(PAGE(2), source(), KVM_SEV_SNP_PAGE_TYPE_NORMAL);
}

static long snp_no_memory(void)
{
    snp_begin();
    return snp_update(RAM_SIZE, source(), KVM_SEV_SNP_PAGE_TYPE_NORMAL);
}

static long snp_twice(void)
{
    snp_begin();
    must(snp_add(PAGE(2)), "page");
    return snp_update(PAGE(2), source(), KVM_SEV_SNP_PAGE_TYPE_NORMAL);
}

static long snp_late(void)
{
    snp_begin();
    must(snp_finish(), "LAUNCH_FINISH");
    return snp_add(PAGE(2));
}

static long snp_no_source(void)
{
    snp_begin();
    must(convert(PAGE(2), true), "to private");
    return snp_update(PAGE(2), NULL, KVM_SEV_SNP_PAGE_TYPE_NORMAL);
}

/* What sev.c did before it knew in-place memory: the page is its own source. */
static long snp_own_source(void)
{
    snp_begin();
    ram[PAGE(2)] = 1;
    must(convert(PAGE(2), true), "to private");
    return snp_update(PAGE(2), ram + PAGE(2), KVM_SEV_SNP_PAGE_TYPE_NORMAL);
}

static long snp_cpuid_no_source(void)
{
    snp_begin();
    must(convert(PAGE(2), true), "to private");
    return snp_update(PAGE(2), NULL, KVM_SEV_SNP_PAGE_TYPE_CPUID);
}

/* The firmware corrects function 0; the VMM finds that in its own buffer. */
static long snp_cpuid_mismatch(void)
{
    long ret;

    snp_begin();
    memset(source(), 0, PAGE_SIZE);
    must(convert(PAGE(2), true), "to private");
    ret = snp_update(PAGE(2), source(), KVM_SEV_SNP_PAGE_TYPE_CPUID);
    return source()[16 + 24] == 1 ? ret : -EPROTO;
}

static long snp_taken_back(void)
{
    snp_begin();
    must(snp_add(PAGE(2)), "page");
    return convert(PAGE(2), false);
}

static long snp_freed(void)
{
    snp_begin();
    must(snp_add(PAGE(2)), "page");
    must(snp_finish(), "LAUNCH_FINISH");
    return free_pages(PAGE(2), PAGE_SIZE);
}

static long snp_finish_early(void)
{
    snp_init();
    return snp_finish();
}

static long snp_run_early(void)
{
    snp_begin();
    return call(vcpu_fd, KVM_RUN, NULL);
}

static long snp_registers(void)
{
    struct kvm_regs regs;

    snp_begin();
    must(call(vcpu_fd, KVM_GET_REGS, &regs), "KVM_GET_REGS");
    must(snp_finish(), "LAUNCH_FINISH");
    return call(vcpu_fd, KVM_GET_REGS, &regs);
}

static long snp_old_command(void)
{
    snp_begin();
    return sev(KVM_SEV_LAUNCH_FINISH, NULL);
}

const Case snp_cases[] = {
    { "good-snp", good_snp, 0, NULL, BOTH },
    { "snp-einval", snp_einval, 0, NULL, BOTH },
    { "snp-eagain", snp_eagain, 0, "cannot be told EAGAIN", BOTH },
    { "snp-eperm", snp_eperm, -EINVAL, "hypercall.ret is 1", BOTH },
    { "snp-not-done", snp_not_done, 0, "0x8000 is private, and it is not", BOTH },
    { "snp-not-shared", snp_not_shared, 0, "0x8000 is shared, and it is not",
      BOTH },
    { "snp-shared-content", snp_shared_content, 0, NULL, IN_PLACE },
    { "snp-start-early", snp_start_early, -EINVAL, "before INIT2", BOTH },
    { "snp-start-twice", snp_start_twice, -EINVAL, "or twice", BOTH },
    { "snp-update-early", snp_update_early, -EINVAL, "before SNP_LAUNCH_START",
      BOTH },
    { "snp-not-private", snp_not_private, -EIO, "is not private", BOTH },
    { "snp-no-memory", snp_no_memory, -EIO, "no guest_memfd", BOTH },
    { "snp-twice", snp_twice, -EIO, "has been added already", BOTH },
    { "snp-late", snp_late, -EINVAL, "after SNP_LAUNCH_FINISH", BOTH },
    { "snp-no-source", snp_no_source, -EINVAL, "without a source", DUAL },
    { "snp-no-source", snp_no_source, 0, NULL, IN_PLACE },
    { "snp-own-source", snp_own_source, 0, NULL, DUAL },
    { "snp-own-source", snp_own_source, -EIO, "is it private already", IN_PLACE },
    { "snp-cpuid-no-source", snp_cpuid_no_source, 0, "CPUID page has no source",
      IN_PLACE },
    { "snp-cpuid-mismatch", snp_cpuid_mismatch, -EIO, NULL, BOTH,
      "cpuid-mismatch=1" },
    { "snp-taken-back", snp_taken_back, 0, "is made shared after it was added",
      BOTH },
    { "snp-freed", snp_freed, 0, "is freed", BOTH },
    { "snp-removed", snp_removed, 0, "is freed", IN_PLACE },
    { "snp-prefault", snp_prefault, -EOPNOTSUPP, "before the launch", BOTH },
    { "snp-stale", snp_stale, 0, "has changed its state", BOTH,
      "stale-faults=3" },
    { "snp-finish-early", snp_finish_early, -EINVAL, "before SNP_LAUNCH_START",
      BOTH },
    { "snp-run-early", snp_run_early, -EINVAL, "before the launch", BOTH },
    { "snp-registers", snp_registers, -EINVAL, "are protected", BOTH },
    { "snp-old-command", snp_old_command, -EPERM, "not for an SNP guest", BOTH },
    { }
};
