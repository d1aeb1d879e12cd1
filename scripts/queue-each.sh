#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# queue-each.sh qemu|linux: builds the tree TREE in OUT as far as the queue
# touches it.  For "queue check --each".
set -eu
. "$(dirname "$0")/lib.sh"

: "${TREE:?}" "${OUT:?}"
export CCACHE_DIR="${CCACHE_DIR:-$BUILD/ccache}"
case $1 in
qemu)
    exec "$SCRIPTS/build-qemu.sh"
    ;;
linux)
    kmake() { make -C "$TREE" O="$OUT" CC="ccache gcc" HOSTCC="ccache gcc" -j "$JOBS" "$@"; }
    mkdir -p "$OUT"
    kmake -s tinyconfig
    cat "$ROOT/tests/lab/kernel.config" >>"$OUT/.config"
    kmake -s olddefconfig
    kmake mm/ virt/ arch/x86/kvm/
    ;;
esac
