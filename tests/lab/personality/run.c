/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * KVM_RUN: what a guest of these types can do that one of
 * KVM_X86_SW_PROTECTED_VM cannot, and what the VMM answered.
 *
 * The guest tells what its CPU would do by itself with "out %eax, $port": RAX
 * is one of OP_*, RBX a guest address, RCX a number of pages, RDX flags; the
 * result is in RAX.
 */
#include <errno.h>
#include <string.h>
#include "personality.h"
#include "../payload/personality.h"

#define KVM_HC_MAP_GPA_RANGE    12
#define TDX_CHUNK_PAGES     512         /* TDX_MAP_GPA_MAX_LEN */
#define HC_ENCRYPTED        (1ul << 4)
#define FAULTS_MAX          100000      /* of one touch */
#define REAL_FAULTS_MAX     10000       /* of KVM, in a row */

/* Present a memory fault to the VMM, as if KVM_RUN had met it. */
static long present_fault(Vcpu *vcpu)
{
    uint64_t flags = vcpu->touch_private ? KVM_MEMORY_EXIT_FLAG_PRIVATE : 0;

    vcpu->run->exit_reason = KVM_EXIT_MEMORY_FAULT;
    vcpu->run->memory_fault.flags = flags;
    vcpu->run->memory_fault.gpa = vcpu->touch_gpa;
    vcpu->run->memory_fault.size = PAGE_SIZE;
    if (!vcpu->touch_faults++) {
        log_call("exit MEMORY_FAULT gpa=0x%lx %s", vcpu->touch_gpa,
                 flags ? "private" : "shared");
    } else if (vcpu->touch_faults == FAULTS_MAX) {
        return complain(EIO, "memory fault at gpa 0x%lx: still not %s after %u "
                        "exits", vcpu->touch_gpa,
                        flags ? "private" : "shared", FAULTS_MAX);
    }
    return -EFAULT;
}

/* PVALIDATE or TDG.MEM.PAGE.ACCEPT: only now the guest owns the page. */
static uint64_t accept_page(uint64_t gpa)
{
    static const uint8_t zero[PAGE_SIZE];
    uint8_t *page = memory_page(gpa);

    if (!page) {
        return OP_NO_MEMORY;
    }
    if (*page & PAGE_ACCEPTED) {
        return OP_ALREADY;
    }
    /* Whatever was stored there before is not there any more. */
    if (private_fill(gpa, PAGE_SIZE,
                     vm.kind == VM_TDX ? zero : private_garbage()) < 0) {
        return OP_NO_MEMORY;
    }
    *page |= PAGE_ACCEPTED;
    return OP_OK;
}

static void set_result(Vcpu *vcpu, uint64_t result)
{
    struct kvm_regs regs;

    if (raw_ioctl(vcpu->fd, KVM_GET_REGS, &regs) == 0) {
        regs.rax = result;
        raw_ioctl(vcpu->fd, KVM_SET_REGS, &regs);
    }
}

/*
 * Go on with a touch, page by page.  Returns true if the vCPU can run again,
 * else *@ret is for the VMM.
 */
static bool touch(Vcpu *vcpu, long *ret)
{
    uint64_t result = OP_OK;

    while (vcpu->touch_pages) {
        uint8_t *page = memory_page(vcpu->touch_gpa);

        if (memory_private(vcpu->touch_gpa) != vcpu->touch_private) {
            *ret = present_fault(vcpu);
            return false;
        }
        if (vcpu->touch_accept) {
            result = accept_page(vcpu->touch_gpa);
        } else if (vcpu->touch_private && (!page || !(*page & PAGE_ACCEPTED))) {
            result = OP_NOT_ACCEPTED;
        }
        if (result != OP_OK) {
            break;
        }
        vcpu->touch_gpa += PAGE_SIZE;
        vcpu->touch_pages--;
        vcpu->touch_faults = 0;
    }
    vcpu->in_touch = false;
    set_result(vcpu, result);
    return true;
}

static uint64_t page_state(uint64_t gpa)
{
    uint8_t *page = memory_page(gpa);

    return (memory_private(gpa) ? STATE_PRIVATE : 0) |
           (page && *page & PAGE_ADDED ? STATE_ADDED : 0) |
           (page && *page & PAGE_ACCEPTED ? STATE_ACCEPTED : 0);
}

/* The guest's request; true if the vCPU can run again */
static bool operation(Vcpu *vcpu, long *ret)
{
    struct kvm_regs regs;

    if (raw_ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0) {
        return true;
    }
    switch (regs.rax) {
    case OP_WHO:
        set_result(vcpu, OP_WHO_MAGIC | (vm.kind == VM_TDX ? OP_WHO_TDX : 0) |
                         (vm.in_place ? OP_WHO_IN_PLACE : 0));
        return true;
    case OP_STATE:
        set_result(vcpu, page_state(regs.rbx));
        return true;
    case OP_TOUCH:
    case OP_ACCEPT:
        vcpu->in_touch = true;
        vcpu->touch_gpa = regs.rbx;
        vcpu->touch_pages = regs.rcx;
        vcpu->touch_accept = regs.rax == OP_ACCEPT;
        vcpu->touch_private = vcpu->touch_accept || regs.rsi & TOUCH_PRIVATE;
        vcpu->touch_faults = 0;
        return touch(vcpu, ret);
    default:
        set_result(vcpu, OP_NO_MEMORY);
        return true;
    }
}

/* --- hypercalls ------------------------------------------------------------- */

/* Tell the VMM the next part of what the guest has asked for. */
static void present_hypercall(Vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    uint64_t n = vcpu->hc_pages;

    if (vm.kind == VM_TDX && n > TDX_CHUNK_PAGES) {
        n = TDX_CHUNK_PAGES;
    }
    vcpu->hc_told = n;
    run->exit_reason = KVM_EXIT_HYPERCALL;
    run->hypercall.nr = KVM_HC_MAP_GPA_RANGE;
    run->hypercall.ret = 0;
    run->hypercall.args[0] = vcpu->hc_gpa;
    run->hypercall.args[1] = n;
    run->hypercall.args[2] = vcpu->hc_flags;
    log_call("exit MAP_GPA_RANGE gpa=0x%lx pages=%lu flags=0x%lx",
             vcpu->hc_gpa, n, vcpu->hc_flags);
}

/* Answered "done": is it? */
static void check_done(const Vcpu *vcpu)
{
    bool want = vcpu->hc_flags & HC_ENCRYPTED;

    for (uint64_t i = 0; i < vcpu->hc_told; i++) {
        uint64_t gpa = vcpu->hc_gpa + i * PAGE_SIZE;

        if (memory_page(gpa) && memory_private(gpa) != want) {
            complain(0, "the guest was told that gpa 0x%lx is %s, and it is "
                     "not", gpa, want ? "private" : "shared");
            return;
        }
    }
}

/* The VMM's answer; true if the vCPU can run again, else *@ret is for the VMM */
static bool answered(Vcpu *vcpu, long *ret)
{
    uint64_t answer = vcpu->run->hypercall.ret;

    log_call("answer MAP_GPA_RANGE %ld", (long)answer);
    if (answer && answer != EINVAL && answer != EAGAIN) {
        *ret = complain(EINVAL, "hypercall.ret is %ld; only 0, EINVAL and "
                        "EAGAIN are allowed", (long)answer);
        vcpu->in_hypercall = false;
        return false;
    }
    if (answer == EAGAIN && vm.kind == VM_SNP) {
        complain(0, "an SNP guest cannot be told EAGAIN (gpa 0x%lx)",
                 vcpu->hc_gpa);
    }
    if (!answer) {
        check_done(vcpu);
        vcpu->hc_gpa += vcpu->hc_told * PAGE_SIZE;
        vcpu->hc_pages -= vcpu->hc_told;
        if (vcpu->hc_pages) {
            present_hypercall(vcpu);
            *ret = 0;
            return false;
        }
    }
    vcpu->in_hypercall = false;
    return true;
}

/* --- the call ---------------------------------------------------------------- */

static long allowed(const Vcpu *vcpu)
{
    if (vm.phase < PHASE_RUNNABLE && !vcpu->run->immediate_exit) {
        return complain(EINVAL, "KVM_RUN before the launch is finished");
    }
    return 0;
}

/*
 * Before the vCPU runs: what the VMM was told last.  True if it can run, else
 * *@ret is for the VMM.
 */
static bool resume(Vcpu *vcpu, long *ret)
{
    *ret = allowed(vcpu);
    if (*ret) {
        return false;
    }
    if (vcpu->in_hypercall && !answered(vcpu, ret)) {
        return false;
    }
    if (vcpu->stale) {
        /* Nobody was to do anything. */
        if (memory_private(vcpu->touch_gpa) != vcpu->touch_private) {
            complain(0, "a stale memory fault at gpa 0x%lx, which was %s, has "
                     "changed its state", vcpu->touch_gpa,
                     vcpu->touch_private ? "private" : "shared");
        }
        vcpu->stale = false;
    }
    if (vcpu->in_touch) {
        if (vcpu->run->immediate_exit) {
            *ret = -EINTR;
            return false;
        }
        return touch(vcpu, ret);
    }
    return true;
}

/* True if the VMM need not know of this exit. */
static bool handled(Vcpu *vcpu, long *ret)
{
    struct kvm_run *run = vcpu->run;

    if (*ret < 0) {
        return false;
    }
    if (run->exit_reason == KVM_EXIT_IO && run->io.port == PERSONALITY_PORT &&
        run->io.direction == KVM_EXIT_IO_OUT) {
        return operation(vcpu, ret);
    }
    if (run->exit_reason == KVM_EXIT_HYPERCALL &&
        run->hypercall.nr == KVM_HC_MAP_GPA_RANGE) {
        vcpu->in_hypercall = true;
        vcpu->hc_gpa = run->hypercall.args[0];
        vcpu->hc_pages = run->hypercall.args[1];
        vcpu->hc_flags = run->hypercall.args[2];
        present_hypercall(vcpu);
    }
    return false;
}

/* Now and then, a fault that somebody else has resolved meanwhile */
static bool stale_fault(Vcpu *vcpu, long *ret)
{
    static unsigned exits;
    static uint64_t last;

    if (vcpu->hc_gpa && !vcpu->in_hypercall) {
        last = vcpu->hc_gpa - PAGE_SIZE;
    }
    if (!options.stale_faults || vcpu->in_hypercall || vcpu->in_touch ||
        !memory_page(last) || ++exits % options.stale_faults) {
        return false;
    }
    vcpu->stale = true;
    vcpu->touch_gpa = last;
    vcpu->touch_private = memory_private(last);
    vcpu->touch_faults = 0;
    *ret = present_fault(vcpu);
    return true;
}

long run_vcpu(Vcpu *vcpu)
{
    unsigned faults = 0;
    bool again;
    long ret;

    pthread_mutex_lock(&personality_lock);
    again = resume(vcpu, &ret) && !stale_fault(vcpu, &ret);
    pthread_mutex_unlock(&personality_lock);
    while (again) {
        ret = raw_ioctl(vcpu->fd, KVM_RUN, NULL);
        /*
         * KVM_X86_SW_PROTECTED_VM tells of a fault that raced a conversion,
         * and the VMM would take it for a wish of the guest.
         */
        if (ret == -EFAULT && vcpu->run->exit_reason == KVM_EXIT_MEMORY_FAULT &&
            ++faults < REAL_FAULTS_MAX) {
            continue;
        }
        pthread_mutex_lock(&personality_lock);
        again = handled(vcpu, &ret);
        pthread_mutex_unlock(&personality_lock);
    }
    return ret;
}
