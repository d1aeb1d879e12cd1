#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# packages.sh missing [SET]   prints what is not installed (nothing: all is here)
# packages.sh install [SET]   installs it; needs root
#
# SET: also what only this needs
#   each   "queue check linux --each" and the maple tree's tests, some 200 MB
#   fuzz   the fuzzers
#   deb    Debian packages of the kernel
#   distro "install --full": what a distribution builds QEMU with
set -eu
. "$(dirname "$0")/lib.sh"
. "$SCRIPTS/apt.sh"

# From Debian 12 itself: compiler and build tools; headers and libraries for
# QEMU, for the kernel and its tests; what goes into the emulated host; lint.
PACKAGES="build-essential git ca-certificates dpkg-dev ccache pkg-config ninja-build python3 python3-venv
    flex bison bc perl rsync cpio kmod xz-utils util-linux
    libglib2.0-dev libpixman-1-dev libfdt-dev zlib1g-dev libcap-ng-dev
    libelf-dev libssl-dev uuid-dev libnuma-dev
    busybox-static seabios
    shellcheck python3-git python3-ply"

# The kernel for arm64, the kernel's own checker, and RCU in user space for the
# maple tree's tests.
EACH_PACKAGES="gcc-aarch64-linux-gnu sparse liburcu-dev"
# gcc has no libFuzzer.
FUZZ_PACKAGES="clang libclang-rt-14-dev"
# What the kernel's own bindeb-pkg calls.
DEB_PACKAGES="debhelper libdw-dev"
case ${2:-} in
each) PACKAGES="$PACKAGES $EACH_PACKAGES" ;;
fuzz) PACKAGES="$PACKAGES $FUZZ_PACKAGES" ;;
deb) PACKAGES="$PACKAGES $DEB_PACKAGES" ;;
distro) PACKAGES="$PACKAGES $("$SCRIPTS/install-qemu.sh" packages)" ;;
esac

# From bookworm-backports: QEMU wants a newer meson than Debian 12 has, and
# pycotap is not in Debian 12 at all.
BACKPORTS="meson python3-pycotap"
MESON_AT_LEAST=1.5

missing_plain() {
    local p
    for p in $PACKAGES; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || printf '%s ' "$p"
    done
}

missing_backports() {
    local version
    version=$(/usr/bin/meson --version 2>/dev/null || echo 0)
    dpkg --compare-versions "$version" ge $MESON_AT_LEAST || printf 'meson '
    /usr/bin/python3 -c 'import pycotap' 2>/dev/null || printf 'python3-pycotap '
}

# A list that was never read, or names files the mirror no longer has, needs an
# update; otherwise none is made.
install_plain() {
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086  # lists of words
    apt-get install -y -q --no-install-recommends $1 && return 0
    apt-get update -q || die "apt-get update failed" "see that this machine has network and a Debian 12 mirror"
    # shellcheck disable=SC2086
    apt-get install -y -q --no-install-recommends $1
}

# Downloaded (and their signature checked) in the private apt state, installed
# as files: what they depend on comes from the machine's own sources.
install_backports() {
    local dir="$BUILD/download/backports" p
    export DEBIAN_FRONTEND=noninteractive
    apt_lists backports
    rm -rf "$dir"
    mkdir -p "$dir"
    for p in $1; do
        (cd "$dir" && apt_private backports apt-get download -q "$p")
    done
    apt-get install -y -q --no-install-recommends "$dir"/*.deb
}

case ${1:-} in
missing)
    missing_plain
    missing_backports
    ;;
install)
    plain=$(missing_plain)
    [ -z "$plain" ] || install_plain "$plain"
    backports=$(missing_backports)
    [ -z "$backports" ] || install_backports "$backports"
    left=$(missing_plain && missing_backports)
    [ -z "$left" ] || die "still missing after the installation: $left" "wanted: $PACKAGES, and from bookworm-backports $BACKPORTS"
    ;;
*)
    die "usage: packages.sh missing|install [each|fuzz|deb|distro]"
    ;;
esac
