#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# libvirt.sh: bring the libvirt of bookworm-backports into build/libvirt-root.
#
# For the emulated host only.  Its packages are unpacked, not installed: they
# would bring a QEMU and start a daemon on this machine.  apt checks the
# signature of the archive, as for every package.
set -eu
. "$(dirname "$0")/lib.sh"
. "$SCRIPTS/apt.sh"

OUT=$BUILD/libvirt-root
PART=$BUILD/download/part/libvirt

# The daemon has one driver only, that of QEMU.
PACKAGES="libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients libvirt0 libvirt-common"

# What their programs load, from Debian 12 itself.  Those that this machine has
# are copied from it.
LIBRARIES="libacl1 libapparmor1 libaudit1 libblkid1 libbrotli1 libbsd0 libcap-ng0
    libcom-err2 libcurl3-gnutls libffi8 libglib2.0-0 libgmp10 libgnutls30
    libgssapi-krb5-2 libhogweed6 libicu72 libidn2-0 libjson-c5 libk5crypto3
    libkeyutils1 libkrb5-3 libkrb5support0 libldap-2.5-0 liblzma5 libmd0 libmount1
    libnettle8 libnghttp2-14 libnl-3-200 libnuma1 libp11-kit0 libpcre2-8-0 libpsl5
    libreadline8 librtmp1 libsasl2-2 libselinux1 libssh-4 libssh2-1 libssl3
    libtasn1-6 libtinfo6 libtirpc3 libunistring2 libxml2 libzstd1 zlib1g"

missing_libraries() {
    local p
    for p in $LIBRARIES; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$p:amd64" 2>/dev/null)" = installed ] || printf '%s ' "$p"
    done
}

# The lists of the machine itself may be older than its mirror.
download_libraries() {
    # shellcheck disable=SC2086  # a list of words
    (cd "$PART" && apt-get -o APT::Sandbox::User="$(id -un)" download -q $1)
}

missing=$(missing_libraries)
rm -rf "$PART" "$OUT.new"
mkdir -p "$PART" "$OUT.new"
apt_lists backports
# shellcheck disable=SC2086  # a list of words
(cd "$PART" && apt_private backports apt-get download -q $PACKAGES) ||
    die "bookworm-backports does not give libvirt ($PACKAGES)" "see that 'apt-get update' works, then call the same command again"
if [ -n "$missing" ] && ! download_libraries "$missing"; then
    { [ "$(id -u)" -eq 0 ] && apt-get update -q && download_libraries "$missing"; } ||
        die "these packages cannot be fetched: $missing" "call 'apt-get update' as root, then the same command again"
fi
for deb in "$PART"/*.deb; do
    dpkg-deb -x "$deb" "$OUT.new"
done
dpkg-deb -f "$(find "$PART" -name 'libvirt0_*.deb' -print -quit)" Version >"$OUT.new/version"
rm -rf "$OUT" "$PART"
mv "$OUT.new" "$OUT"
say "libvirt $(cat "$OUT/version")"
