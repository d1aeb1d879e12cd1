#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Builds build/qemu in build/qemu-build.  ninja itself knows what has changed.
set -eu
. "$(dirname "$0")/lib.sh"

TREE=${TREE:-$BUILD/qemu}
OUT=${OUT:-$BUILD/qemu-build}

# Only what the lab needs: the build takes minutes, not an hour.
set -- --python=/usr/bin/python3 --target-list=x86_64-softmmu \
    --without-default-features --enable-kvm --enable-tcg --enable-fdt=system \
    --enable-pixman --enable-numa --enable-vhost-user --enable-vhost-vdpa \
    --enable-vhost-kernel --enable-vhost-net \
    --enable-trace-backends=log --disable-docs --disable-tools \
    --disable-install-blobs --disable-download "--cc=ccache gcc"

stamp=$(printf '%s\n' "$TREE" "$@" | hash_of)
if [ "$(cat "$OUT/.gmem-configured" 2>/dev/null)" != "$stamp" ]; then
    rm -rf "$OUT"
    mkdir -p "$OUT"
    (cd "$OUT" && "$TREE/configure" "$@")
    printf '%s\n' "$stamp" >"$OUT/.gmem-configured"
fi
# The first patches of the queue, each on its own, have not the test yet.
set -- qemu-system-x86_64
[ ! -e "$TREE/tests/qtest/guest-memfd-test.c" ] || set -- "$@" tests/qtest/guest-memfd-test
exec ninja -C "$OUT" -j "$JOBS" "$@"
