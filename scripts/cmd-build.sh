#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# ./run build [qemu|linux|all]
set -eu
. "$(dirname "$0")/lib.sh"
. "$SCRIPTS/ensure.sh"

what=${1:-all}
case $what in
qemu | linux | all) ;;
*) die "build: '$what' is not one of qemu, linux, all" ;;
esac
begin build "$what"
ensure_packages
case $what in
qemu) ensure_qemu ;;
linux) ensure_linux ;;
all)
    ensure_tree qemu
    ensure_tree linux
    ensure_host
    ensure_qemu
    ensure_linux
    ensure_lab
    ;;
esac
say "built: $what"
