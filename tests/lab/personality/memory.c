/* SPDX-License-Identifier: GPL-2.0-or-later */
/* guest_memfd files, slots and the state of each page; see personality.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "personality.h"

#define FILES_MAX   256
#define SLOTS_MAX   512

/* Two levels: 2^18 pages (1 GiB) each, up to 1 TiB. */
#define PART_SHIFT  18
#define PARTS       1024

static GmemFile *files[FILES_MAX];
static unsigned nr_files;
static Slot slots[SLOTS_MAX];
static unsigned nr_slots;
static uint8_t *vm_private[PARTS];      /* by KVM_SET_MEMORY_ATTRIBUTES */

static ino_t inode_of(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

void memory_add_file(int fd, uint64_t size, uint64_t flags)
{
    GmemFile *f = calloc(1, sizeof(*f));

    if (!f || nr_files == FILES_MAX) {
        complain(ENOMEM, "more than %u guest_memfd files", FILES_MAX);
        return;
    }
    f->fd = fd;
    f->inode = inode_of(fd);
    f->index = nr_files;
    f->size = size;
    f->page = calloc(size / PAGE_SIZE, 1);
    if (vm.in_place && !(flags & GUEST_MEMFD_FLAG_INIT_SHARED)) {
        memset(f->page, PAGE_PRIVATE, size / PAGE_SIZE);
    }
    if (flags & GUEST_MEMFD_FLAG_MMAP) {
        f->map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (f->map == MAP_FAILED) {
            f->map = NULL;
        }
    }
    files[nr_files++] = f;
}

GmemFile *memory_file(int fd)
{
    for (unsigned i = nr_files; i-- > 0;) {
        if (files[i]->fd == fd && files[i]->inode == inode_of(fd)) {
            return files[i];
        }
    }
    return NULL;
}

void memory_set_slot(const struct kvm_userspace_memory_region2 *r)
{
    Slot *s = NULL;

    for (unsigned i = 0; i < nr_slots; i++) {
        if (slots[i].id == r->slot) {
            s = &slots[i];
        }
    }
    if (!r->memory_size) {
        if (s) {
            *s = slots[--nr_slots];
        }
        return;
    }
    if (!s) {
        if (nr_slots == SLOTS_MAX) {
            complain(ENOMEM, "more than %u memory slots", SLOTS_MAX);
            return;
        }
        s = &slots[nr_slots++];
    }
    *s = (Slot) {
        .id = r->slot,
        .gpa = r->guest_phys_addr,
        .size = r->memory_size,
        .hva = r->userspace_addr,
    };
    if (r->flags & KVM_MEM_GUEST_MEMFD) {
        s->file = memory_file(r->guest_memfd);
        s->offset = r->guest_memfd_offset;
        if (vm.in_place && s->file && !s->file->map) {
            complain(0, "slot at gpa 0x%lx: the guest sees gmem%u only, and "
                     "userspace_addr cannot be a mapping of it", s->gpa,
                     s->file->index);
        }
    }
}

Slot *memory_slot(uint64_t gpa)
{
    for (unsigned i = 0; i < nr_slots; i++) {
        if (gpa >= slots[i].gpa && gpa - slots[i].gpa < slots[i].size) {
            return &slots[i];
        }
    }
    return NULL;
}

uint8_t *memory_page(uint64_t gpa)
{
    Slot *s = memory_slot(gpa);

    return s && s->file
           ? &s->file->page[(gpa - s->gpa + s->offset) >> PAGE_SHIFT] : NULL;
}

/* Where a page of a file is in the guest; false: nowhere */
static bool page_gpa(const GmemFile *f, uint64_t offset, uint64_t *gpa)
{
    for (unsigned i = 0; i < nr_slots; i++) {
        const Slot *s = &slots[i];

        if (s->file == f && offset >= s->offset &&
            offset - s->offset < s->size) {
            *gpa = s->gpa + offset - s->offset;
            return true;
        }
    }
    return false;
}

static uint8_t *vm_attribute(uint64_t gfn, bool create)
{
    uint64_t part = gfn >> PART_SHIFT;

    if (part >= PARTS) {
        return NULL;
    }
    if (!vm_private[part] && create) {
        vm_private[part] = calloc(1ul << PART_SHIFT, 1);
    }
    return vm_private[part]
           ? &vm_private[part][gfn & ((1ul << PART_SHIFT) - 1)] : NULL;
}

bool memory_private(uint64_t gpa)
{
    uint8_t *p = vm.in_place ? memory_page(gpa)
                             : vm_attribute(gpa >> PAGE_SHIFT, false);

    return p && (vm.in_place ? *p & PAGE_PRIVATE : *p);
}

/* The guest has it no more, whatever it was. */
static void take_back(uint8_t *page, uint64_t gpa)
{
    if (page && *page & PAGE_ADDED && vm.phase < PHASE_RUNNABLE) {
        complain(0, "page at gpa 0x%lx is made shared after it was added, "
                 "and before the launch is finished", gpa);
    }
    if (page) {
        *page &= ~(PAGE_ADDED | PAGE_ACCEPTED);
    }
}

void memory_set_attributes(const struct kvm_memory_attributes *a)
{
    bool to_private = a->attributes & KVM_MEMORY_ATTRIBUTE_PRIVATE;

    for (uint64_t gpa = a->address; gpa < a->address + a->size;
         gpa += PAGE_SIZE) {
        uint8_t *attribute = vm_attribute(gpa >> PAGE_SHIFT, true);

        if (!attribute) {
            break;
        }
        if (*attribute && !to_private) {
            take_back(memory_page(gpa), gpa);
        }
        *attribute = to_private;
    }
}

/*
 * The key has changed: what was in the page is lost.  Before the launch is
 * finished there is no key yet, and the launch takes what is in the page.
 */
static void lose_content(GmemFile *f, uint64_t offset, bool is_private)
{
    uint64_t gpa;

    if (vm.phase < PHASE_RUNNABLE) {
        return;
    }
    if (!is_private) {
        memcpy(f->map + offset, private_garbage(), PAGE_SIZE);
    } else if (page_gpa(f, offset, &gpa)) {
        private_fill(gpa, PAGE_SIZE, private_garbage());
    }
}

void memory_set_attributes2(GmemFile *f, const struct kvm_memory_attributes2 *a)
{
    bool to_private = a->attributes & KVM_MEMORY_ATTRIBUTE_PRIVATE;
    uint64_t npages = a->size / PAGE_SIZE;
    unsigned char *resident = NULL;
    uint64_t gpa = 0;

    /* A page that nobody has touched yet need not be made for this. */
    if (f->map) {
        resident = calloc(npages, 1);
        if (mincore(f->map + a->offset, a->size, resident) < 0) {
            complain(0, "mincore: %s", strerror(errno));
        }
    }
    for (uint64_t i = 0; i < npages; i++) {
        uint64_t offset = a->offset + i * PAGE_SIZE;
        uint8_t *page = &f->page[offset / PAGE_SIZE];

        if (!(*page & PAGE_PRIVATE) == !to_private) {
            continue;
        }
        if (to_private) {
            *page |= PAGE_PRIVATE;
        } else {
            page_gpa(f, offset, &gpa);
            take_back(page, gpa);
            *page &= ~PAGE_PRIVATE;
        }
        if (resident && resident[i]) {
            lose_content(f, offset, to_private);
        }
    }
    free(resident);
}

void memory_punch(GmemFile *f, uint64_t offset, uint64_t size)
{
    for (uint64_t at = offset; at < offset + size && at < f->size;
         at += PAGE_SIZE) {
        uint8_t *page = &f->page[at / PAGE_SIZE];
        uint64_t gpa;

        if (*page & (PAGE_ADDED | PAGE_ACCEPTED) && page_gpa(f, at, &gpa) &&
            memory_private(gpa)) {
            complain(0, "private page at gpa 0x%lx, which the guest has "
                     "accepted, is freed", gpa);
        }
        *page &= ~(PAGE_ADDED | PAGE_ACCEPTED);
    }
}

void memory_punch_mapping(uint64_t address, uint64_t size)
{
    for (unsigned i = 0; i < nr_slots; i++) {
        const Slot *s = &slots[i];
        uint64_t start = address > s->hva ? address : s->hva;
        uint64_t end = address + size < s->hva + s->size ? address + size
                                                         : s->hva + s->size;

        if (s->file && s->file->map && start < end) {
            memory_punch(s->file, start - s->hva + s->offset, end - start);
        }
    }
}
