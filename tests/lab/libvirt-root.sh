#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# libvirt-root.sh OUT: pack libvirt, its settings and what tests it into OUT (cpio,
# gzip), which goes on top of the emulated host's file system.
#
# Environment: BUILD, ROOT as for lab.sh; LIBVIRT_ROOT may point elsewhere than
# build/libvirt-root.  Packs again only if one of the inputs has changed.
set -eu

OUT=$1
TESTS=$ROOT/tests/lab/libvirt
LIBVIRT_ROOT=${LIBVIRT_ROOT:-$BUILD/libvirt-root}
TREE=$OUT.tree
LIBS=usr/lib/x86_64-linux-gnu

fail() {
    echo "libvirt-root: $*" >&2
    exit 1
}

[ -f "$LIBVIRT_ROOT/usr/sbin/libvirtd" ] ||
    fail "there is no libvirt in $LIBVIRT_ROOT; scripts/libvirt.sh fetches it"

KEY=$(find "$LIBVIRT_ROOT" "$TESTS" "$0" -type f | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -d' ' -f1)
if [ -f "$OUT" ] && [ "$(cat "$OUT.key" 2>/dev/null)" = "$KEY" ]; then
    exit 0
fi
rm -rf "$TREE" "$OUT.key"
mkdir -p "$TREE/$LIBS/libvirt/connection-driver" "$TREE/usr/sbin" "$TREE/usr/bin" \
    "$TREE/usr/share/libvirt" "$TREE/etc" "$TREE/lab" "$TREE/run" \
    "$TREE/var/log/libvirt" "$TREE/var/lib/libvirt" "$TREE/var/cache/libvirt"
cp "$LIBVIRT_ROOT/usr/sbin/libvirtd" "$TREE/usr/sbin/"
cp "$LIBVIRT_ROOT/usr/bin/virsh" "$TREE/usr/bin/"
cp "$LIBVIRT_ROOT/$LIBS/libvirt/connection-driver/libvirt_driver_qemu.so" \
    "$TREE/$LIBS/libvirt/connection-driver/"
cp -R "$LIBVIRT_ROOT/usr/share/libvirt/schemas" "$LIBVIRT_ROOT/usr/share/libvirt/cpu_map" \
    "$TREE/usr/share/libvirt/"
cp -R "$TESTS/etc/." "$TREE/etc/"
cp -R "$TESTS" "$TREE/lab/libvirt"
rm -r "$TREE/lab/libvirt/etc"
ln -s /run "$TREE/var/run"
# QEMU looks for its ROMs beside its own folder; a domain cannot say where they are.
mkdir -p "$TREE/lab/share"
ln -s /lab/roms "$TREE/lab/share/qemu"

# Where the dynamic linker finds them: what was unpacked, then what is installed.
for f in "$TREE/usr/sbin/libvirtd" "$TREE/usr/bin/virsh" "$TREE/$LIBS"/libvirt/connection-driver/*.so; do
    LD_LIBRARY_PATH="$LIBVIRT_ROOT/$LIBS:$LIBVIRT_ROOT/lib/x86_64-linux-gnu" ldd "$f"
done | awk '
    /not found/ { print "missing " $1; next }
    $2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u >"$OUT.libs"
if grep '^missing ' "$OUT.libs" >&2; then
    fail "a library is not there; scripts/libvirt.sh names the packages"
fi
while read -r lib; do
    cp -L "$lib" "$TREE/$LIBS/"
done <"$OUT.libs"

(cd "$TREE" && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 2>/dev/null) |
    gzip -1 >"$OUT.new"
mv "$OUT.new" "$OUT"
rm -rf "$TREE"
echo "$KEY" >"$OUT.key"
