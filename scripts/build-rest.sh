#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What "run test --full" builds for the lab only, in the order in which the lab's rounds
# want it.  The trees have their queues.  Each is built, whether or not another one fails.
# A kernel that is there is left to its step, which knows whether it is up to date.
. "$(dirname "$0")/lib.sh"

for variant in linux-noattr linux-base linux-debug; do
    [ -e "$BUILD/$variant-build/arch/x86/boot/bzImage" ] || "$SCRIPTS/build-linux.sh" "$variant"
done
"$SCRIPTS/build-qemu.sh" base
