/*
 * Description: stands in for QEMU's generated configuration in the host build;
 * only what the few files that we take from the tree ask for.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_CONFIG_HOST_H
#define TESTS_UNIT_CONFIG_HOST_H

#define CONFIG_ATOMIC64 1
#define CONFIG_FALLOCATE_PUNCH_HOLE 1
#define CONFIG_INT128 1
#define CONFIG_IOVEC 1
#define CONFIG_LINUX 1
#define CONFIG_POSIX 1
#define HOST_X86_64 1

#endif
