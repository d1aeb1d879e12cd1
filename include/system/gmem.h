/*
 * guest_memfd in the KVM accelerator
 *
 * How this host tracks which pages of a confidential guest are private, how
 * the guest_memfd of an in-place RAM block is made (gmem.c), how dual-backed
 * RAM blocks reach the kernel (gmem-dual.c), launch and reset (gmem-launch.c),
 * and the way of a conversion request from the guest to the RAM blocks
 * (gmem-request.c).
 *
 * The kernel facts that this code relies on are in docs/uapi.rst.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SYSTEM_GMEM_H
#define SYSTEM_GMEM_H

#include "exec/hwaddr.h"
#include "qemu/atomic.h"
#include "qemu/timer.h"
#include "system/gmem-convert.h"
#include "system/gmem-mode.h"
#include "system/gmem-page.h"

typedef struct KVMState KVMState;
typedef struct KVMMemoryListener KVMMemoryListener;
typedef struct GmemRequest GmemRequest;
typedef struct ConfidentialGuestSupport ConfidentialGuestSupport;

/**
 * kvm_gmem_probe: choose the mode of this virtual machine
 * @s: the accelerator; its VM file descriptor is open
 * @ms: the machine
 *
 * To be called right after KVM_CREATE_VM and before the confidential guest is
 * set up: the answers depend on the VM type, and the confidential guest may
 * ask for the mode.  A machine without a confidential guest is not probed.
 *
 * Exits with the reason when the user wants a mode that the kernel or the guest
 * type does not offer: no other accelerator could give it either.  The
 * convert_in_place of the confidential guest says afterwards what was chosen.
 */
void kvm_gmem_probe(KVMState *s, MachineState *ms);

/**
 * kvm_gmem_launch_init: take part in launch and reset of the virtual machine
 *
 * Called once, by kvm_gmem_probe(), where memory starts shared: in in-place
 * mode, and dual-backed for types that want it so.  From then on, when the
 * virtual machine runs for the first time, and at each reset: what the type of
 * the confidential guest wants private is converted, then devices learn what
 * is shared.  A reset first gives up pending requests and makes all memory
 * shared, so that the firmware can be written again; guests that cannot be
 * reset are left alone, also by the reset that comes before they run, as a
 * TDX guest is launched by then.
 */
void kvm_gmem_launch_init(void);

/**
 * kvm_gmem_launch_private: make memory private that the launch hands over
 * @start: guest physical address, a multiple of the host page size
 * @size: bytes, a multiple of the host page size
 * @errp: where to store the error
 *
 * For memory that starts shared, before the virtual machine runs for the first
 * time or, where the type can be reset, again: what was written through the
 * host mapping may be about to be measured, or encrypted, where it lies.
 * Devices are told nothing.  Pages that are in use in the host
 * are waited for, but not as long as convert-timeout may say: nobody could end
 * the wait.
 *
 * The caller holds the BQL.  Returns true; or false with @errp set, which
 * names RAM block and range, and what was converted stays so.
 */
bool kvm_gmem_launch_private(hwaddr start, hwaddr size, Error **errp);

/**
 * kvm_gmem_make_all_private: make all memory private that is not yet
 * @cgs: the confidential guest
 * @errp: where to store the error
 *
 * What ConfidentialGuestSupportClass::convert_initial_memory() is for types
 * whose memory starts private, once their launch has handed over what the guest
 * starts with.  In-place mode; waits for busy pages as
 * kvm_gmem_launch_private() does.
 *
 * The caller holds the BQL.  Returns true; or false with @errp set, and what
 * was converted stays so.
 */
bool kvm_gmem_make_all_private(ConfidentialGuestSupport *cgs, Error **errp);

/**
 * kvm_gmem_before_plug: give memory that is about to be plugged the state that
 * this type of confidential guest starts with
 * @mr: its region; not in the memory map yet
 * @errp: where to store the error
 *
 * kvm_gmem_after_plug() is to follow once the region is in the memory map.
 * Both do nothing for memory that is there before the virtual machine runs for
 * the first time, and for memory that is not converted in place.
 *
 * The caller holds the BQL.  Returns true, or false with @errp set.
 */
bool kvm_gmem_before_plug(MemoryRegion *mr, Error **errp);

/**
 * kvm_gmem_after_plug: tell devices what is shared of memory that was plugged
 * @mr: its region
 * @errp: where to store the error
 *
 * The caller holds the BQL.  Returns true; or false with @errp set if a device
 * cannot have it: the caller takes the region out of the memory map again.
 */
bool kvm_gmem_after_plug(MemoryRegion *mr, Error **errp);

/**
 * kvm_gmem_set_proof: what a conversion on a scratch page has shown
 * @proof: goes before what KVM says of itself
 *
 * To be called before kvm_gmem_probe(), if at all.
 */
void kvm_gmem_set_proof(KvmGmemProof proof);

/**
 * kvm_gmem_mode: the mode that kvm_gmem_probe() chose
 *
 * Constant after accelerator initialization; no lock is needed.
 */
KvmGmemMode kvm_gmem_mode(void);

/**
 * kvm_gmem_mode_why: how kvm_gmem_probe() came to this mode
 *
 * One line for people to read, without a full stop; constant after accelerator
 * initialization.  Before it, and without KVM, it says so.
 */
const char *kvm_gmem_mode_why(void);

static inline bool kvm_gmem_in_place(void)
{
    return kvm_gmem_mode() == KVM_GMEM_IN_PLACE;
}

/**
 * kvm_gmem_refuse: refuse what memory that is converted in place does not allow
 * @what: the option or command, as the user wrote it
 * @why: the reason, and what to use instead
 * @errp: where to store the error
 *
 * Returns true, with @errp set, in in-place mode.
 */
bool kvm_gmem_refuse(const char *what, const char *why, Error **errp);

/*
 * gmem_report_now: whether to report what a guest can repeat as it likes
 * @reported: the second in which it was reported last, 0 at first
 *
 * Once per second and @reported.  From any thread, without a lock.
 */
static inline bool gmem_report_now(unsigned *reported)
{
    unsigned now = get_clock() / NANOSECONDS_PER_SECOND;

    return qatomic_xchg(reported, now) != now;
}

/*
 * kvm_gmem_refuse_snapshot: kvm_gmem_refuse() before a snapshot is loaded
 *
 * To be asked before the guest is stopped and its disks are reverted.  Returns
 * true, with @errp set, if it must not be loaded.  From any thread.
 */
static inline bool kvm_gmem_refuse_snapshot(Error **errp)
{
    return kvm_gmem_refuse("loading a snapshot", "its pages may be private; "
                           "start the guest anew", errp);
}

/* kvm_gmem_refuse_vhost_user: kvm_gmem_refuse() for all vhost-user devices */
static inline bool kvm_gmem_refuse_vhost_user(Error **errp)
{
    return kvm_gmem_refuse("vhost-user", "another process would hold its "
                           "pages; use a device that QEMU emulates or that "
                           "vhost in the kernel serves", errp);
}

/* kvm_gmem_refuse_vhost_vdpa: kvm_gmem_refuse() for all vDPA devices */
static inline bool kvm_gmem_refuse_vhost_vdpa(Error **errp)
{
    return kvm_gmem_refuse("vhost-vdpa", "it pins all of the guest's memory; "
                           "use vfio-pci or a device that QEMU emulates", errp);
}

/**
 * kvm_gmem_refuse_dirty_log: refuse to log writes of a guest_memfd guest
 * @what: the option or command, as the user wrote it
 * @errp: where to store the error
 *
 * KVM has no dirty log for memory slots with a guest_memfd, in-place or not,
 * and QEMU would abort when it is asked for one.
 *
 * Returns true, with @errp set, if the memory of the machine is guest_memfd.
 */
bool kvm_gmem_refuse_dirty_log(const char *what, Error **errp);

/**
 * kvm_gmem_alloc_ram_block: back a new RAM block by one mappable guest_memfd
 * @rb: the RAM block; has neither memory nor a file descriptor yet
 * @errp: where to store the error
 *
 * Creates a guest_memfd of @rb->max_length bytes whose pages all start shared,
 * and maps it as the memory of the block.  @rb->guest_memfd holds the file
 * descriptor; @rb->fd stays -1, so that nobody maps the file into an IOMMU,
 * sends it to another process or punches holes through it.
 *
 * The caller holds the BQL and the ramlist mutex.
 *
 * Returns true, or false with @errp set and @rb unchanged.
 */
bool kvm_gmem_alloc_ram_block(RAMBlock *rb, Error **errp);

/**
 * kvm_gmem_create_shared: create a guest_memfd for ordinary memory
 * @size: bytes, a multiple of the host page size
 * @what: what the user wrote, for messages
 * @errp: where to store the error
 *
 * All pages are shared for good; the file can be mapped.  It belongs to this
 * virtual machine and keeps it alive, but is not meant for its memory slots.
 * For a virtual machine without private memory.
 *
 * Returns a file descriptor, or -1 with @errp set.
 */
int kvm_gmem_create_shared(uint64_t size, const char *what, Error **errp);

/**
 * kvm_gmem_convert_ops: how in-place RAM blocks reach the kernel
 *
 * The operations take the RAMBlock as their opaque pointer.
 */
const GmemConvertOps *kvm_gmem_convert_ops(void);

/**
 * kvm_gmem_dual_ops: how dual-backed RAM blocks reach the kernel
 *
 * The operations take the RAMBlock as their opaque pointer.  They bring the
 * states of its pages to the guest addresses at which these were last seen.
 *
 * The caller holds the BQL.
 */
const GmemConvertOps *kvm_gmem_dual_ops(void);

/**
 * kvm_gmem_dual_forget: a dual-backed RAM block goes
 *
 * The caller holds the BQL; no memory slot shows the block any more.
 */
void kvm_gmem_dual_forget(RAMBlock *rb);

/**
 * kvm_gmem_slots_begin: memory slots are about to change
 * @kml: their listener, with the list of what is to be added
 *
 * KVM keeps attributes by guest address, whatever is mapped there.  From here
 * to kvm_gmem_slots_end() no page of a dual-backed block changes its state, so
 * that kvm_gmem_slot_added() can make the attributes right for what the new
 * slots show.
 *
 * The caller holds the BQL and no other lock: conversions, which this waits
 * for, need KVM's ioctls and may be told to wait for the slots.
 */
void kvm_gmem_slots_begin(KVMMemoryListener *kml);

/**
 * kvm_gmem_slot_added: a new memory slot shows pages of a RAM block
 * @rb: the block; with or without a guest_memfd
 * @offset: of the first page, in the block
 * @gpa: guest physical address of the first page
 * @size: bytes; like the others a multiple of the host page size
 *
 * Dual-backed: KVM gets the state of all pages that it does not have the state
 * of at these addresses.  For a block that is new that is one call for each
 * slot; a slot that is removed and added again costs none.
 * In place, the state belongs to the guest_memfd, and there is nothing to do.
 *
 * Returns 0, or -errno of KVM_SET_MEMORY_ATTRIBUTES.
 */
int kvm_gmem_slot_added(RAMBlock *rb, uint64_t offset, hwaddr gpa,
                        uint64_t size);

/**
 * kvm_gmem_slots_end: the new slots are there
 */
void kvm_gmem_slots_end(void);

/**
 * kvm_gmem_sections: what RAM a range of guest addresses consists of
 * @start: guest physical address
 * @size: bytes
 * @to_private: what the range is to be converted to
 *
 * Holes and MMIO are passed over on the way to shared memory; see
 * kvm_gmem_convert_memory() for what is allowed.  May be called with or without
 * the BQL: the references keep the memory regions.
 *
 * Returns an array of MemoryRegionSection in ascending order, each with a
 * reference, for kvm_gmem_sections_free(); or NULL if the range is not aligned
 * to pages of the host or cannot be converted.
 */
GArray *kvm_gmem_sections(hwaddr start, hwaddr size, bool to_private);

/**
 * kvm_gmem_sections_free: drop the references and free the array
 * @sections: from kvm_gmem_sections()
 *
 * The caller holds the BQL, or has had the sections for so short a time that
 * nobody can have deleted the memory in between: the last reference takes the
 * memory region with it.
 */
void kvm_gmem_sections_free(GArray *sections);

/**
 * kvm_gmem_convert_memory: convert a range of guest addresses
 * @start: guest physical address, a multiple of the host page size
 * @size: bytes, a multiple of the host page size
 * @to_private: the wanted state
 *
 * Every RAM section of the range is converted, in ascending order.  Holes and
 * MMIO are already "shared": converting them to shared succeeds and does
 * nothing; a request for private memory must be covered by guest_memfd RAM
 * completely.  All that can be refused is refused before anything changes.
 *
 * Waits for busy pages for as long as the confidential guest's
 * convert-timeout allows, or until the calling vCPU is wanted elsewhere.
 *
 * The caller must not hold a RAM block's lock; the BQL is not needed.  With
 * the BQL held the wait is not interrupted by requests to stop.
 *
 * Returns 0; -EINVAL for a bad request (nothing changed, reported as a
 * trace point only, as a guest can cause it at will); -EAGAIN when pages
 * stayed busy or the host is short of memory (what was converted stays
 * converted, the request may be repeated); another -errno, reported, when the
 * kernel refused for good.
 */
int kvm_gmem_convert_memory(hwaddr start, hwaddr size, bool to_private);

/**
 * kvm_gmem_map_gpa_range: take a guest's KVM_HC_MAP_GPA_RANGE
 * @cpu: the vCPU that asks; it has no pending request
 * @gpa: guest physical address
 * @npages: number of 4 KiB pages, as the guest gave it
 * @to_private: the wanted state
 *
 * Converts nothing yet: a bad request is answered with EINVAL in
 * hypercall.ret, any other becomes the vCPU's pending request, which
 * kvm_gmem_run_pending() carries out and answers.
 */
void kvm_gmem_map_gpa_range(CPUState *cpu, uint64_t gpa, uint64_t npages,
                            bool to_private);

/**
 * kvm_gmem_run_pending: go on with the pending request of a vCPU
 * @cpu: the calling vCPU; cpu->kvm_gmem_request is not NULL
 *
 * To be called before the vCPU enters the guest.  Waits for busy pages as long
 * as convert-timeout allows, or until somebody wants the vCPU: it is handed
 * over after one call to KVM and one pause of a millisecond at the latest, but
 * what was never asked for is asked for first, up to GMEM_STATE_WINDOW
 * (dual-backed: all of it, nothing there can be busy).  The
 * time in which the virtual machine is stopped counts as waiting; another
 * attempt is made before the guest is told.
 *
 * Returns 0 when the request is answered (a hypercall: 0, EINVAL or EAGAIN in
 * hypercall.ret, all KVM accepts; an access is just repeated, whether the page
 * was converted or is still busy) and the guest can be entered; EXCP_INTERRUPT
 * when the vCPU is wanted elsewhere: the request stays pending, and the guest
 * must not be entered, as KVM would take the answer as given; or a negative
 * errno, reported, when the virtual machine cannot go on.
 *
 * A host that is short of memory, or a device that can map no more, is EAGAIN
 * for the guest.  An access could not be told, and where the guest's type takes
 * any answer but success for the end (failure_is_final), a hypercall must not
 * be: the virtual machine is stopped instead, with RUN_STATE_IO_ERROR, and the
 * request, which stays pending, is repeated when the user continues it.
 */
int kvm_gmem_run_pending(CPUState *cpu);

/**
 * kvm_gmem_drop_pending: give up the pending request of a vCPU, if it has one
 * @cpu: the calling vCPU, outside of kvm_cpu_exec()
 *
 * To be called before registers of the vCPU are replaced (reset, loading of a
 * snapshot) and before its file descriptor is given away (unplug).  What was
 * converted stays converted.  KVM completes a hypercall, with EAGAIN, in the
 * registers that are about to go.
 */
void kvm_gmem_drop_pending(CPUState *cpu);

/**
 * kvm_gmem_drop_all: give up the pending requests of all vCPUs
 *
 * The caller holds the BQL, and all vCPUs are stopped.
 */
void kvm_gmem_drop_all(void);

/**
 * kvm_gmem_memory_fault: handle KVM_EXIT_MEMORY_FAULT
 * @cpu: the vCPU that exited; it has no pending request
 * @gpa: guest physical address
 * @size: bytes
 * @to_private: the state that the exit flags ask for
 *
 * Where the confidential guest's type lets an access ask for a conversion, the
 * range becomes the vCPU's pending request, for kvm_gmem_run_pending(): it
 * waits as one that was made by hypercall does, over stop and cont, too.  Where
 * the type does not, the exit tells of a fault that raced with another vCPU's
 * conversion: its flag is a state of the past, not a wish, and the vCPU just
 * enters the guest again.
 *
 * Returns 0 to go on, -EINVAL, reported, to stop the virtual machine.
 */
int kvm_gmem_memory_fault(CPUState *cpu, hwaddr gpa, hwaddr size,
                          bool to_private);

#endif /* SYSTEM_GMEM_H */
