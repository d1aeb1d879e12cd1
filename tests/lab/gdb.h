/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A debugger's hand on the guest, by QEMU's gdbstub. */
#ifndef LAB_GDB_H
#define LAB_GDB_H

#include "vm.h"

/*
 * gdb_jump: stop the VM, write RAX and RIP of its first vCPU, let it go on
 *
 * Returns NULL, or what went wrong; free with g_free.
 */
char *gdb_jump(Vm *vm, uint64_t rax, uint64_t rip);

#endif
