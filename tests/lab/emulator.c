/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Description: is the emulated host fit for a hypervisor with two CPUs?
 *
 * emulator SECONDS: the guest on the first CPU leaves and is entered again all
 * the time, while the second CPU loads x87 state.  QEMU 10.2.2 has the second CPU
 * write to a word of the first CPU's state, next to the flags that say "in a
 * guest", "nested paging" and "no interrupts", and now and then one of them is
 * lost (patches/qemu, "only a CPU's own thread writes its hflags2").  It takes
 * about a second to see the guest die of it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MEMORY      0x10000
#define CODE        0x1000
#define TITLE       "the emulated host runs a guest beside FXRSTOR"

/* 16-bit: again: cpuid; out 0x80, al; jmp again */
static const uint8_t guest[] = { 0x0f, 0xa2, 0xe6, 0x80, 0xeb, 0xfa };

static uint8_t x87[512] __attribute__((aligned(16)));

__attribute__((format(printf, 1, 2)))
static void fail(const char *what, ...)
{
    va_list ap;

    va_start(ap, what);
    printf("not ok 1 - %s: ", TITLE);
    vprintf(what, ap);
    printf("\n");
    va_end(ap);
    exit(1);
}

static int must(int ret, const char *what)
{
    if (ret < 0) {
        fail("%s: %s", what, strerror(errno));
    }
    return ret;
}

static void run_on(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    must(sched_setaffinity(0, sizeof(set), &set), "two CPUs are needed");
}

static void *load_x87(void *unused)
{
    run_on(1);
    __asm__ volatile("fxsave %0" : "=m"(x87));
    for (;;) {
        __asm__ volatile("fxrstor %0" : : "m"(x87));
    }
    return unused;
}

static struct kvm_run *start_guest(int *vcpu)
{
    int kvm = must(open("/dev/kvm", O_RDWR), "/dev/kvm");
    int vm = must(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
    int size = must(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
    uint8_t *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct kvm_userspace_memory_region region = {
        .memory_size = MEMORY,
        .userspace_addr = (uintptr_t)memory,
    };
    struct kvm_regs regs = { .rip = CODE, .rflags = 2 };
    struct kvm_sregs sregs;
    struct kvm_run *run;

    must(memory == MAP_FAILED ? -1 : 0, "memory of the guest");
    memcpy(memory + CODE, guest, sizeof(guest));
    must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "memory region");
    *vcpu = must(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
    must(ioctl(*vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    must(ioctl(*vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
    must(ioctl(*vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
    run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *vcpu, 0);
    must(run == MAP_FAILED ? -1 : 0, "kvm_run");
    return run;
}

int main(int argc, char **argv)
{
    int seconds = argc == 2 ? atoi(argv[1]) : 0;
    unsigned long exits = 0;
    struct kvm_run *run;
    pthread_t thread;
    time_t end;
    int vcpu;

    if (seconds <= 0) {
        fprintf(stderr, "usage: emulator SECONDS\n");
        return 2;
    }
    run = start_guest(&vcpu);
    must(-pthread_create(&thread, NULL, load_x87, NULL), "thread");
    run_on(0);
    for (end = time(NULL) + seconds; time(NULL) < end; exits++) {
        must(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
        if (run->exit_reason != KVM_EXIT_IO) {
            fail("it ended with exit reason %u after %lu exits",
                 run->exit_reason, exits);
        }
    }
    printf("ok 1 - %s: %lu exits\n", TITLE, exits);
    return 0;
}
