#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# build-qemu.sh [qemu]   build/qemu -> build/qemu-build, for the lab
# build-qemu.sh base     the QEMU that we extend, as it was released
#                        -> build/qemu-base/qemu-build
# build-qemu.sh no-kvm   ... -> build/qemu-no-kvm: TCG only, x86-64 and targets
#                        without private memory
# build-qemu.sh no-tcg   ... -> build/qemu-no-tcg: KVM only
#
# QEMU_OPTIONS from the environment go to configure as well.
# ninja itself knows what has changed.
set -eu
. "$(dirname "$0")/lib.sh"
. "$SCRIPTS/qemu-lib.sh"
. "$SCRIPTS/git.sh"

variant=${1:-qemu}
TREE=${TREE:-$BUILD/qemu}
targets=x86_64-softmmu
accel="--enable-kvm --enable-tcg"
case $variant in
qemu) OUT=${OUT:-$BUILD/qemu-build} ;;
# or1k is the smallest; what we touch there is what all targets have.
no-kvm)
    OUT=$BUILD/qemu-no-kvm
    targets=$targets,or1k-softmmu
    accel="--disable-kvm --enable-tcg"
    ;;
no-tcg)
    OUT=$BUILD/qemu-no-tcg
    accel="--enable-kvm --disable-tcg"
    ;;
base)
    # A source without firmware blobs is built with the distribution's patches.
    base=$(git -C "$TREE" rev-parse -q --verify 'gmem-distro^{commit}' ||
        git -C "$TREE" rev-parse 'gmem-base^{commit}')
    # The same path from the one to the other: ccache knows what we did not touch.
    OUT=$BUILD/qemu-base/qemu-build
    if [ "$(git -C "$BUILD/qemu-base/qemu" rev-parse HEAD 2>/dev/null)" != "$base" ]; then
        rm -rf "$BUILD/qemu-base/qemu"
        git -C "$TREE" worktree prune
        git -C "$TREE" worktree add -q --detach "$BUILD/qemu-base/qemu" "$base"
    fi
    TREE=$BUILD/qemu-base/qemu
    ;;
*) die "usage: build-qemu.sh [qemu|base|no-kvm|no-tcg]" ;;
esac

# Only what the lab needs: the build takes minutes, not an hour.
# shellcheck disable=SC2086  # two words
set -- --python=/usr/bin/python3 "--target-list=$targets" \
    --without-default-features $accel --enable-fdt=system \
    --enable-pixman --enable-numa --enable-vhost-user --enable-vhost-vdpa \
    --enable-vhost-kernel --enable-vhost-net --enable-hv-balloon \
    --enable-trace-backends=log --disable-docs --disable-tools \
    --disable-install-blobs --disable-download "--cc=ccache gcc" ${QEMU_OPTIONS:-}

configure_qemu "$TREE" "$OUT" "$@"
set -- qemu-system-x86_64
[ "$variant" != no-kvm ] || set -- "$@" qemu-system-or1k
# The first patches of the queue, each on its own, have not the test yet.
[ ! -e "$TREE/tests/qtest/guest-memfd-test.c" ] || set -- "$@" tests/qtest/guest-memfd-test
exec ninja -C "$OUT" -j "$JOBS" "$@"
