/*
 * guest_memfd: which way of tracking private memory a virtual machine gets
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "system/gmem-mode.h"

#define BOOT_PARAMETER "kvm.gmem_in_place_conversion"

/* What is asked for, and who asks, as the user has to spell it */
typedef struct Wish {
    GmemWish value;
    const char *who;
    const char *of;
} Wish;

static Wish effective_wish(const GmemModeInput *in)
{
    if (in->object != GMEM_WISH_AUTO) {
        return (Wish) { in->object, in->type, "" };
    }
    return (Wish) { in->machine, "-machine", " of the machine" };
}

/* Does KVM track private memory per guest_memfd?  A proof knows better. */
static bool offers_in_place(const GmemModeInput *in)
{
    return in->proof == KVM_GMEM_UNPROVEN ? in->in_place :
                                            in->proof == KVM_GMEM_PROVEN;
}

static const char *disagreement(const GmemModeInput *in)
{
    if (in->proof == KVM_GMEM_PROVEN && !in->in_place) {
        return "; KVM does not say that it can convert in place, but a scratch "
               "page was converted";
    }
    if (in->proof == KVM_GMEM_DISPROVEN && in->in_place) {
        return "; KVM says that it can convert in place, but a scratch page "
               "could not be converted";
    }
    return "";
}

static char *cannot_in_place(const GmemModeInput *in)
{
    return g_strdup_printf("%s does not support in-place conversion, and this "
                           "host kernel tracks private memory per guest_memfd "
                           "only; boot it with " BOOT_PARAMETER "=0", in->type);
}

static char *refuse_on(const GmemModeInput *in, const Wish *wish)
{
    if (!offers_in_place(in)) {
        return g_strdup_printf("%s: convert-in-place=on needs a host kernel "
                               "with in-place conversion of guest_memfd; boot "
                               "it with " BOOT_PARAMETER "=1 if it has the "
                               "parameter%s", wish->who, in->vm_attributes ?
                               ", or use convert-in-place=off" : "");
    }
    return g_strdup_printf("%s: convert-in-place=on, but %s does not support "
                           "in-place conversion; drop the option, and boot the "
                           "host with " BOOT_PARAMETER "=0", wish->who,
                           in->type);
}

static char *refuse_off(const GmemModeInput *in, const Wish *wish)
{
    if (!in->can_in_place) {
        return cannot_in_place(in);
    }
    return g_strdup_printf("%s: convert-in-place=off, but this host kernel "
                           "tracks private memory per guest_memfd only; boot "
                           "it with " BOOT_PARAMETER "=0 or drop the option",
                           wish->who);
}

KvmGmemMode gmem_choose_mode(const GmemModeInput *in, char **why, char **error)
{
    Wish wish = effective_wish(in);
    bool in_place = offers_in_place(in);

    *error = NULL;
    if (!in->has_guest_memfd) {
        *why = g_strdup_printf("%s has no guest_memfd", in->type);
        if (wish.value == GMEM_WISH_ON) {
            *error = g_strdup_printf("%s: convert-in-place=on, but %s has no "
                                     "guest_memfd; drop the option", wish.who,
                                     in->type);
        }
        return KVM_GMEM_NONE;
    }

    if (wish.value == GMEM_WISH_ON && !(in_place && in->can_in_place)) {
        *error = refuse_on(in, &wish);
    } else if (wish.value == GMEM_WISH_OFF && in_place && !in->vm_attributes) {
        *error = refuse_off(in, &wish);
    } else if (wish.value == GMEM_WISH_ON) {
        *why = g_strdup_printf("convert-in-place=on%s, and KVM tracks private "
                               "memory per guest_memfd%s", wish.of,
                               disagreement(in));
        return KVM_GMEM_IN_PLACE;
    } else if (wish.value == GMEM_WISH_OFF && in->vm_attributes) {
        *why = g_strdup_printf("convert-in-place=off%s%s", wish.of,
                               disagreement(in));
        return KVM_GMEM_VM_ATTRIBUTES;
    } else if (in_place && in->can_in_place) {
        *why = g_strdup_printf("KVM tracks private memory per guest_memfd%s",
                               disagreement(in));
        return KVM_GMEM_IN_PLACE;
    } else if (in->vm_attributes) {
        *why = g_strdup_printf("KVM tracks private memory per VM%s",
                               disagreement(in));
        return KVM_GMEM_VM_ATTRIBUTES;
    } else if (in_place) {
        *error = cannot_in_place(in);
    }
    *why = g_strdup_printf("KVM offers no private memory to this VM%s",
                           disagreement(in));
    return KVM_GMEM_NONE;
}
