/*
 * Description: stands in for QEMU's generated list of per-target symbols in the
 * host build, which has no targets.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
