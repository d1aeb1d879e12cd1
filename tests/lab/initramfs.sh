#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# initramfs.sh OUT: pack the emulated host's file system into OUT (cpio, gzip).
#
# Environment: BUILD, ROOT as for lab.sh.  QEMU, QTESTS, LAB_BIN, ROMS, SELFTESTS
# may point elsewhere.  Packs again only if one of the inputs has changed.
set -eu

OUT=$1
LAB=$ROOT/tests/lab
QEMU=${QEMU:-$BUILD/qemu-build/qemu-system-x86_64}
QTESTS=${QTESTS:-$BUILD/qemu-build/tests/qtest}
LAB_BIN=${LAB_BIN:-$BUILD/host/tests/lab}
ROMS=${ROMS:-$BUILD/roms}
SELFTESTS=${SELFTESTS:-$BUILD/selftests}
GUIDE=$ROOT/tests/docs/guide.py
TREE=$OUT.tree

fail() {
    echo "initramfs: $*" >&2
    exit 1
}

BUSYBOX=$(command -v busybox) || fail "busybox is missing; install busybox-static"
if ldd "$BUSYBOX" >/dev/null 2>&1; then
    fail "$BUSYBOX is not static; install busybox-static"
fi
for f in "$QEMU" "$QTESTS/guest-memfd-test" "$LAB_BIN/gmem-lab" "$LAB_BIN/gmem-pin" \
    "$LAB_BIN/gmem-probe" "$LAB_BIN/emulator" "$LAB_BIN/guard-malloc.so" \
    "$LAB_BIN/fail-call.so" "$LAB_BIN/slot-watch.so" "$LAB_BIN/kvm-silent.so" "$LAB_BIN/kvm-boasts.so" \
    "$LAB_BIN/personality.so" "$LAB_BIN/personality-test" "$LAB_BIN/kvm-trace.so" \
    "$LAB_BIN/payload.bin"; do
    [ -f "$f" ] || fail "$f is missing; ./run build makes it"
done
[ -f "$ROMS/kvmvapic.bin" ] || fail "$ROMS has no kvmvapic.bin; ./run build fetches it"

selftests() {
    sed -n 's/^\([^# ][^ ]*\).*/\1/p' "$LAB/selftests.list" | while read -r t; do
        [ ! -f "$SELFTESTS/$t" ] || echo "$SELFTESTS/$t"
    done
}

# Everything that goes in, by content: the name alone may stay the same.
inputs() {
    echo "$QEMU $QTESTS/guest-memfd-test $LAB_BIN/gmem-lab $LAB_BIN/gmem-pin $LAB_BIN/gmem-probe"
    echo "$LAB_BIN/emulator $LAB_BIN/guard-malloc.so $LAB_BIN/fail-call.so $LAB_BIN/slot-watch.so $LAB_BIN/kvm-silent.so $LAB_BIN/kvm-boasts.so"
    echo "$LAB_BIN/personality.so $LAB_BIN/personality-test $LAB_BIN/kvm-trace.so"
    echo "$LAB_BIN/payload.bin $LAB/init $LAB/selftest.sh $LAB/qtest.sh"
    echo "$LAB/initramfs.sh $BUSYBOX $GUIDE $ROOT/docs/user-guide.rst"
    selftests
    find "$ROMS" "$LAB/scenarios" -type f | sort
}
# shellcheck disable=SC2046 # one word per file
KEY=$(sha256sum $(inputs) | sha256sum | cut -d' ' -f1)
if [ -f "$OUT" ] && [ "$(cat "$OUT.key" 2>/dev/null)" = "$KEY" ]; then
    exit 0
fi

rm -rf "$TREE" "$OUT.key"
mkdir -p "$TREE/bin" "$TREE/dev" "$TREE/proc" "$TREE/sys" "$TREE/tmp" \
    "$TREE/etc" "$TREE/root" "$TREE/lab/bin" "$TREE/lab/selftests" \
    "$TREE/lab/roms" "$TREE/lab/scenarios"
cp "$BUSYBOX" "$TREE/bin/busybox"
cp "$LAB/init" "$TREE/init"
chmod 755 "$TREE/init"
cp "$ROMS"/* "$TREE/lab/roms/"
cp "$LAB"/scenarios/*.scn "$TREE/lab/scenarios/"
"$GUIDE" --scenarios "$TREE/lab/scenarios" ||
    fail "what docs/user-guide.rst tells users to run cannot be run here"
cp "$LAB_BIN/payload.bin" "$LAB/selftest.sh" "$LAB/qtest.sh" "$TREE/lab/"
cp "$LAB_BIN/gmem-lab" "$LAB_BIN/gmem-pin" "$LAB_BIN/gmem-probe" \
    "$LAB_BIN/emulator" "$LAB_BIN/guard-malloc.so" "$LAB_BIN/kvm-silent.so" \
    "$LAB_BIN/fail-call.so" "$LAB_BIN/slot-watch.so" "$LAB_BIN/kvm-boasts.so" \
    "$LAB_BIN/personality.so" "$LAB_BIN/personality-test" "$LAB_BIN/kvm-trace.so" \
    "$TREE/lab/bin/"
# Symbols triple the size of the archive, which the emulated CPU unpacks.
strip -o "$TREE/lab/bin/qemu-system-x86_64" "$QEMU"
strip -o "$TREE/lab/bin/guest-memfd-test" "$QTESTS/guest-memfd-test"
for t in $(selftests); do
    cp "$t" "$TREE/lab/selftests/"
done

# The libraries where the dynamic linker looks for them.
for f in "$TREE"/lab/bin/* "$TREE"/lab/selftests/*; do
    [ -f "$f" ] || continue
    # A static program has none, which ldd calls an error.
    ldd "$f" 2>/dev/null || true
done | awk '
    /not found/ { print "missing " $1; next }
    $2 == "=>" && $3 ~ /^\// { print $3; next }
    $1 ~ /^\// { print $1 }' | sort -u >"$OUT.libs"
if grep '^missing ' "$OUT.libs" >&2; then
    fail "a library is not installed"
fi
while read -r lib; do
    mkdir -p "$TREE$(dirname "$lib")"
    cp -L "$lib" "$TREE$lib"
done <"$OUT.libs"

(cd "$TREE" && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 2>/dev/null) |
    gzip -1 >"$OUT.new"
mv "$OUT.new" "$OUT"
rm -rf "$TREE"
echo "$KEY" >"$OUT.key"
