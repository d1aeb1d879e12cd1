/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small VMM, and cases for it in which it breaks a rule; see test.c. */
#ifndef LAB_PERSONALITY_TEST_H
#define LAB_PERSONALITY_TEST_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "personality.h"

#define RAM_SIZE        0x40000ul
#define PAGE(n)         ((n) * PAGE_SIZE)

/* The modes that a case is for */
enum { DUAL = 1, IN_PLACE = 2, BOTH = 3 };

typedef struct Case {
    const char *name;           /* NULL ends a table */
    long (*run)(void);          /* returns what the last call did */
    long want;
    const char *complaint;      /* NULL: there must be none */
    int modes;
    const char *words;          /* of PERSONALITY */
} Case;

extern const Case snp_cases[];
extern const Case tdx_cases[];

/* The one VM of a case */
extern bool in_place;
extern int kvm, vm_fd, vcpu_fd, gmem_fd;
extern char *ram;
extern struct kvm_run *run;

/* call: ioctl() that returns a negative errno; must: give the case up then. */
long call(int fd, unsigned long request, void *argument);
long must(long ret, const char *what);

void create_vm(unsigned long type);
void create_vcpu(void);

/* add_memory: RAM_SIZE bytes at gpa 0, all shared */
void add_memory(void);

/* convert: one page */
long convert(uint64_t gpa, bool to_private);

/* source: a page that is not in the guest; free_pages: punch a hole. */
char *source(void);
long free_pages(uint64_t gpa, uint64_t size);

#endif
