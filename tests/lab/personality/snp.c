/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SEV-SNP: /dev/sev and the launch commands, as arch/x86/kvm/svm/sev.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <linux/psp-sev.h>
#include "personality.h"

#define POLICY_ALWAYS_ONE       (1ul << 17)
#define CPUID_PAGE_MAX          64
#define SECRETS_KEY             0x20    /* VMPCK0 in the secrets page */
#define SECRETS_KEYS_SIZE       0x80

static const char *const page_types[] = {
    [KVM_SEV_SNP_PAGE_TYPE_NORMAL] = "normal",
    [KVM_SEV_SNP_PAGE_TYPE_ZERO] = "zero",
    [KVM_SEV_SNP_PAGE_TYPE_UNMEASURED] = "unmeasured",
    [KVM_SEV_SNP_PAGE_TYPE_SECRETS] = "secrets",
    [KVM_SEV_SNP_PAGE_TYPE_CPUID] = "cpuid",
};

static bool known_type(unsigned type)
{
    return type < sizeof(page_types) / sizeof(page_types[0]) &&
           page_types[type];
}

/* The page that the guest gets its CPUID from; see the SNP firmware ABI. */
typedef struct CpuidPage {
    uint32_t count;
    uint32_t reserved[3];
    struct {
        uint32_t eax_in, ecx_in;
        uint64_t xcr0_in, xss_in;
        uint32_t eax, ebx, ecx, edx;
        uint64_t reserved;
    } __attribute__((packed)) function[CPUID_PAGE_MAX];
} CpuidPage;

long snp_platform_command(void *arg)
{
    struct sev_issue_cmd *cmd = arg;
    struct sev_user_data_status status = {
        .api_major = 1,
        .api_minor = 55,
        .state = 1,                             /* initialized */
        .flags = SEV_STATUS_FLAGS_CONFIG_ES,
        .build = 21,
    };

    cmd->error = SEV_RET_SUCCESS;
    log_call("SEV_ISSUE_CMD %u", cmd->cmd);
    if (cmd->cmd != SEV_PLATFORM_STATUS) {
        cmd->error = SEV_RET_UNSUPPORTED;
        return -EIO;
    }
    return source_write(cmd->data, &status, sizeof(status));
}

static long launch_start(struct kvm_sev_cmd *cmd)
{
    struct kvm_sev_snp_launch_start start;

    if (source_read(cmd->data, &start, sizeof(start)) < 0) {
        return -EFAULT;
    }
    log_call("SNP_LAUNCH_START policy=0x%llx flags=0x%x", start.policy,
             start.flags);
    if (vm.phase != PHASE_INIT) {
        return complain(EINVAL, "SNP_LAUNCH_START before INIT2, or twice");
    }
    if (start.flags || !(start.policy & POLICY_ALWAYS_ONE)) {
        return complain(EINVAL, "SNP_LAUNCH_START: flags 0x%x, policy 0x%llx "
                        "(bit 17 must be set)", start.flags, start.policy);
    }
    vm.phase = PHASE_LAUNCH;
    return 0;
}

/* The firmware's part: pages whose content it makes or looks at */
static int firmware_page(struct kvm_sev_cmd *cmd, uint8_t type, uint64_t gpa,
                         uint64_t source)
{
    static uint8_t buffer[PAGE_SIZE];
    CpuidPage *c = (CpuidPage *)buffer;

    memset(buffer, 0, sizeof(buffer));
    switch (type) {
    case KVM_SEV_SNP_PAGE_TYPE_ZERO:
        return private_write(gpa, buffer, sizeof(buffer));
    case KVM_SEV_SNP_PAGE_TYPE_SECRETS:
        buffer[0] = 3;                          /* version */
        memset(buffer + SECRETS_KEY, 0xa5, SECRETS_KEYS_SIZE);
        return private_write(gpa, buffer, sizeof(buffer));
    case KVM_SEV_SNP_PAGE_TYPE_CPUID:
        if (!source || source_read(source, buffer, sizeof(buffer)) < 0) {
            return 0;
        }
        if (c->count > CPUID_PAGE_MAX || options.cpuid_mismatch) {
            /* What it should have been, for the VMM to report */
            c->function[0].eax ^= 1;
            source_write(source, buffer, sizeof(buffer));
            options.cpuid_mismatch = false;
            cmd->error = SEV_RET_INVALID_PARAM;
            return -EIO;
        }
        return 0;
    default:
        return 0;
    }
}

static bool update_ok(const struct kvm_sev_snp_launch_update *u)
{
    if (vm.phase != PHASE_LAUNCH) {
        complain(0, "SNP_LAUNCH_UPDATE %s", vm.phase < PHASE_LAUNCH
                 ? "before SNP_LAUNCH_START" : "after SNP_LAUNCH_FINISH");
    } else if (!u->len || u->len % PAGE_SIZE || u->flags ||
               !known_type(u->type)) {
        complain(0, "SNP_LAUNCH_UPDATE: length 0x%llx, flags 0x%x, type %u",
                 u->len, u->flags, u->type);
    } else if (u->type == KVM_SEV_SNP_PAGE_TYPE_ZERO) {
        return true;
    } else if (u->uaddr % PAGE_SIZE) {
        complain(0, "SNP_LAUNCH_UPDATE: the source is not page aligned");
    } else if (!u->uaddr && !vm.in_place) {
        complain(0, "SNP_LAUNCH_UPDATE of gpa 0x%llx without a source, which "
                 "only an in-place host takes", u->gfn_start << PAGE_SHIFT);
    } else {
        /* Allowed, but where would the corrected values be put? */
        if (!u->uaddr && u->type == KVM_SEV_SNP_PAGE_TYPE_CPUID) {
            complain(0, "SNP_LAUNCH_UPDATE: the CPUID page has no source, so "
                     "a mismatch could not be reported");
        }
        return true;
    }
    return false;
}

static long launch_update(struct kvm_sev_cmd *cmd)
{
    struct kvm_sev_snp_launch_update u;
    uint64_t source, done = 0;
    int ret = 0;

    if (source_read(cmd->data, &u, sizeof(u)) < 0) {
        return -EFAULT;
    }
    log_call("SNP_LAUNCH_UPDATE gpa=0x%llx len=0x%llx type=%s source=%s",
             u.gfn_start << PAGE_SHIFT, u.len,
             known_type(u.type) ? page_types[u.type] : "?",
             u.uaddr ? "yes" : "no");
    if (!update_ok(&u)) {
        return -EINVAL;
    }
    source = u.type == KVM_SEV_SNP_PAGE_TYPE_ZERO ? 0 : u.uaddr;
    while (ret == 0 && done < u.len &&
           !(options.chunk && done == options.chunk * PAGE_SIZE)) {
        uint64_t gpa = (u.gfn_start << PAGE_SHIFT) + done;
        uint64_t from = source ? source + done : 0;

        if (!launch_page(gpa, "SNP_LAUNCH_UPDATE", &ret)) {
            break;
        }
        ret = firmware_page(cmd, u.type, gpa, from);
        if (ret == 0) {
            ret = launch_add(gpa, u.type == KVM_SEV_SNP_PAGE_TYPE_SECRETS
                                  ? 0 : from);
        }
        if (ret == -EFAULT) {
            complain(0, "SNP_LAUNCH_UPDATE: the source of gpa 0x%lx cannot be "
                     "read; is it private already?", gpa);
        }
        done += ret == 0 ? PAGE_SIZE : 0;
    }
    /* Whatever it was, as in Linux; what was done before is told. */
    if (ret && !done) {
        return -EIO;
    }
    u.gfn_start += done >> PAGE_SHIFT;
    u.len -= done;
    u.uaddr += source ? done : 0;
    return source_write(cmd->data, &u, sizeof(u));
}

static long launch_finish(struct kvm_sev_cmd *cmd)
{
    struct kvm_sev_snp_launch_finish finish;

    if (source_read(cmd->data, &finish, sizeof(finish)) < 0) {
        return -EFAULT;
    }
    log_call("SNP_LAUNCH_FINISH id_block=%u auth_key=%u vcek_disabled=%u",
             finish.id_block_en, finish.auth_key_en, finish.vcek_disabled);
    if (vm.phase != PHASE_LAUNCH) {
        return complain(EINVAL, "SNP_LAUNCH_FINISH before SNP_LAUNCH_START, "
                        "or twice");
    }
    if (finish.flags) {
        return complain(EINVAL, "SNP_LAUNCH_FINISH: flags 0x%x", finish.flags);
    }
    vm.phase = PHASE_RUNNABLE;
    return 0;
}

long snp_vm_command(struct kvm_sev_cmd *cmd)
{
    cmd->error = 0;
    switch (cmd->id) {
    case KVM_SEV_INIT2:
        log_call("SEV_INIT2");
        if (vm.phase != PHASE_CREATED) {
            return complain(EINVAL, "SEV_INIT2 twice");
        }
        vm.phase = PHASE_INIT;
        return 0;
    case KVM_SEV_SNP_LAUNCH_START:
        return launch_start(cmd);
    case KVM_SEV_SNP_LAUNCH_UPDATE:
        return launch_update(cmd);
    case KVM_SEV_SNP_LAUNCH_FINISH:
        return launch_finish(cmd);
    default:
        log_call("SEV command %u", cmd->id);
        return complain(vm.phase > PHASE_CREATED ? EPERM : EINVAL,
                        "command %u is not for an SNP guest", cmd->id);
    }
}
