#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# build-linux.sh linux          build/linux -> build/linux-build, build/linux-hdr
# build-linux.sh linux-debug    the same tree with lock and memory checking
# build-linux.sh linux-noattr   the same tree without per-VM memory attributes
# build-linux.sh linux-base     the base without our series
#
# Each has its own build/VARIANT-build.
set -eu
. "$(dirname "$0")/lib.sh"
. "$SCRIPTS/git.sh"
. "$SCRIPTS/kconfig.sh"

variant=${1:-linux}
LAB=$ROOT/tests/lab
TREE=$BUILD/linux
OUT=$BUILD/$variant-build
set -- "$LAB/kernel.config"
case $variant in
linux) ;;
linux-base) TREE=$BUILD/linux-base ;;
linux-debug) set -- "$@" "$LAB/kernel-debug.config" ;;
linux-noattr) set -- "$@" "$LAB/kernel-noattr.config" ;;
*) die "usage: build-linux.sh linux|linux-debug|linux-noattr|linux-base" ;;
esac

# The same source gives the same kernel, and ccache can help.
export KBUILD_BUILD_USER=gmem KBUILD_BUILD_HOST=lab KBUILD_BUILD_TIMESTAMP='2026-01-01'

kmake() { make -C "$TREE" O="$OUT" CC="ccache gcc" HOSTCC="ccache gcc" -j "$JOBS" "$@"; }

if [ "$variant" = linux-base ]; then
    base=$(git -C "$BUILD/linux" rev-parse 'gmem-base^{commit}')
    if [ "$(git -C "$TREE" rev-parse HEAD 2>/dev/null)" != "$base" ]; then
        rm -rf "$TREE"
        git -C "$BUILD/linux" worktree prune
        git -C "$BUILD/linux" worktree add -q --detach "$TREE" "$base"
    fi
fi

# Only the unpatched kernel may lack what our series brings.
KCONFIG_MAY_LACK=
[ "$variant" != linux-base ] || KCONFIG_MAY_LACK=1
configure_kernel "$TREE" "$OUT" kmake "$@"

kmake bzImage
if [ "$variant" = linux ]; then
    kmake headers_install INSTALL_HDR_PATH="$BUILD/linux-hdr"
fi
