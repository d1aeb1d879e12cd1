#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# fetch.sh qemu|linux|roms: bring a base into build/download.
#
# apt checks the archive's signature, then our own sha256 is checked.  Files
# come in under part/ and are renamed when they are whole and right, so an
# interrupted download is never taken for a finished one.
set -eu
. "$(dirname "$0")/lib.sh"
. "$SCRIPTS/apt.sh"
. "$ROOT/BASE"

DOWNLOAD=$BUILD/download
PART=$DOWNLOAD/part

right() { [ -f "$1" ] && printf '%s  %s\n' "$2" "$1" | sha256sum -c --status; }

# take FILE SHA256: out of part/, if it is the right one.
take() {
    right "$PART/$1" "$2" || {
        rm -f "$PART/$1"
        die "$1 is not the file that BASE names (sha256 differs); it was removed" \
            "call the same command again; if it happens again, the mirror's file has changed"
    }
    mv "$PART/$1" "$DOWNLOAD/$1"
}

elsewhere() {
    printf '%s' "take release $1 from $2 and call again with $3=FILE"
}

fetch_qemu() {
    if right "$DOWNLOAD/$QEMU_DSC" "$QEMU_DSC_SHA256" &&
        right "$DOWNLOAD/$QEMU_ORIG" "$QEMU_ORIG_SHA256" &&
        right "$DOWNLOAD/$QEMU_DEBIAN" "$QEMU_DEBIAN_SHA256"; then
        say "QEMU $QEMU_VERSION is here already"
        return
    fi
    apt_lists sources
    (cd "$PART" && apt_private sources apt-get source -q --download-only "$QEMU_PACKAGE=$QEMU_PACKAGE_VERSION") ||
        die "the mirror does not give $QEMU_PACKAGE $QEMU_PACKAGE_VERSION ($QEMU_SUITE)" \
            "$(elsewhere "$QEMU_VERSION" "$QEMU_RELEASES" QEMU_SRC)"
    take "$QEMU_DSC" "$QEMU_DSC_SHA256"
    take "$QEMU_ORIG" "$QEMU_ORIG_SHA256"
    take "$QEMU_DEBIAN" "$QEMU_DEBIAN_SHA256"
}

# Another release of the same stable series: only apt's signature vouches for
# it.  tree.sh sees linux.other and insists that our series applies as it is.
fetch_linux_other() {
    local version
    version=$(apt_private sources apt-cache madison "$LINUX_PACKAGE" |
        awk -F' *[|] *' '/ Packages$/ { print $2 }' | grep "^${LINUX_VERSION%.*}\." | sort -V | tail -n 1)
    [ -n "$version" ] || return 1
    say "WARNING: $LINUX_PACKAGE $LINUX_PACKAGE_VERSION is gone; taking $version instead"
    (cd "$PART" && apt_private sources apt-get download -q "$LINUX_PACKAGE=$version") || return 1
    mv "$PART/${LINUX_PACKAGE}_${version}_all.deb" "$DOWNLOAD/linux-other.deb"
    printf '%s\n' "$version" >"$DOWNLOAD/linux.other"
}

fetch_linux() {
    if right "$DOWNLOAD/$LINUX_DEB" "$LINUX_DEB_SHA256"; then
        say "Linux $LINUX_VERSION is here already"
        rm -f "$DOWNLOAD/linux.other"
        return
    fi
    apt_lists sources
    if (cd "$PART" && apt_private sources apt-get download -q "$LINUX_PACKAGE=$LINUX_PACKAGE_VERSION"); then
        take "$LINUX_DEB" "$LINUX_DEB_SHA256"
        rm -f "$DOWNLOAD/linux.other"
    else
        fetch_linux_other ||
            die "the mirror gives neither $LINUX_PACKAGE $LINUX_PACKAGE_VERSION nor another ${LINUX_VERSION%.*} ($LINUX_SUITE)" \
                "$(elsewhere "$LINUX_VERSION" "$LINUX_RELEASES" LINUX_SRC)"
    fi
}

# From the machine's own suite, Debian 12.
download_data() {
    (cd "$PART/roms" && apt-get -o APT::Sandbox::User="$(id -un)" download -q "$@")
}

# The source without blobs has no option ROMs.  They are taken out of the
# packages; nothing is installed but seabios.
fetch_roms() {
    local dir="$BUILD/roms.new" rom
    rm -rf "$dir" "$PART/roms"
    mkdir -p "$dir" "$PART/roms"
    download_data qemu-system-data || { [ "$(id -u)" -eq 0 ] && apt-get update -q && download_data qemu-system-data; } ||
        die "the package qemu-system-data cannot be fetched" "call 'apt-get update' as root, then the same command again"
    dpkg-deb -x "$PART"/roms/qemu-system-data_*.deb "$PART/roms/x"
    for rom in linuxboot_dma.bin kvmvapic.bin multiboot_dma.bin pvh.bin; do
        cp "$(find "$PART/roms/x" -name $rom -print -quit)" "$dir/"
    done
    cp /usr/share/seabios/bios-256k.bin "$dir/"
    rm -rf "$BUILD/roms" "$PART/roms"
    mv "$dir" "$BUILD/roms"
}

# What an installed QEMU needs of it, all for x86-64: BIOS, VGA BIOS, option
# ROMs, and what network cards boot from.
fetch_firmware() {
    local dir="$BUILD/firmware.new" x="$PART/roms/x" deb f
    rm -rf "$dir" "$PART/roms"
    mkdir -p "$dir" "$x"
    download_data qemu-system-data seabios ipxe-qemu ||
        { [ "$(id -u)" -eq 0 ] && apt-get update -q && download_data qemu-system-data seabios ipxe-qemu; } ||
        die "the packages qemu-system-data, seabios and ipxe-qemu cannot be fetched" \
            "call 'apt-get update' as root, then the same command again"
    for deb in "$PART"/roms/*.deb; do
        dpkg-deb -x "$deb" "$x"
    done
    for f in "$x"/usr/share/seabios/*.bin "$x"/usr/lib/ipxe/qemu/*.rom \
        "$x"/usr/share/qemu/kvmvapic.bin "$x"/usr/share/qemu/linuxboot*.bin \
        "$x"/usr/share/qemu/multiboot*.bin "$x"/usr/share/qemu/pvh.bin "$x"/usr/share/qemu/qboot.rom; do
        [ -f "$f" ] || die "no package has $(basename "$f")"
        cp -L "$f" "$dir/"
    done
    rm -rf "$BUILD/firmware" "$PART/roms"
    mv "$dir" "$BUILD/firmware"
}

mkdir -p "$PART"
case ${1:-} in
qemu | linux | roms | firmware) "fetch_$1" ;;
*) die "usage: fetch.sh qemu|linux|roms|firmware" ;;
esac
