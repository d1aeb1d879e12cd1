#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The steps of ./run install.
#
# install-qemu.sh packages             packages of install.list
# install-qemu.sh lacking              its options that Debian 12 has not all packages for
# install-qemu.sh build PREFIX lean|full
# install-qemu.sh install TO DESTDIR   TO: DESTDIR and the prefix
# install-qemu.sh check TO             prints TAP
set -eu
. "$(dirname "$0")/lib.sh"
. "$SCRIPTS/qemu-lib.sh"

TREE=$BUILD/qemu
OUT=$BUILD/qemu-install
LIST=$SCRIPTS/install.list

# known PACKAGE...: whether apt can install them all.
known() {
    local p
    for p in "$@"; do
        apt-cache show --no-all-versions "$p" >/dev/null 2>&1 || return 1
    done
}

# each_option lean|full VERB: VERB OPTION PACKAGE... for each line of the list.
each_option() {
    local line
    while read -r line; do
        case $line in
        '' | '#'*) ;;
        '[full]') [ "$1" = full ] || return 0 ;;
        *)
            # shellcheck disable=SC2086  # words
            "$2" $line
            ;;
        esac
    done <"$LIST"
}

packages_of() {
    shift
    if [ $# -eq 0 ] || ! known "$@"; then return 0; fi
    printf '%s ' "$@"
}

lacking_of() {
    local option="$1"
    shift
    known "$@" || printf '%s (%s) ' "${option#--enable-}" "$*"
}

option_of() {
    local option="$1"
    shift
    ! known "$@" || printf '%s ' "$option"
}

# installed: the files that the build makes and the installation takes.
installed() {
    "$OUT/pyvenv/bin/meson" introspect --targets "$OUT" | /usr/bin/python3 -c '
import json, os, sys
out = sys.argv[1]
for target in json.load(sys.stdin):
    if target["installed"]:
        for name in target["filename"]:
            print(os.path.relpath(name, out))
' "$OUT"
}

build() {
    local prefix="$1" options blobs=--enable-install-blobs others=--without-default-features
    options=$(each_option "$2" option_of)
    # Besides the list Debian takes what configure finds, and so its block formats.
    [ "$2" != full ] || others="--disable-user --disable-xen --disable-xkbcommon --disable-containers"
    # Debian's source has no firmware; see fetch.sh.
    [ -e "$TREE/pc-bios/bios-256k.bin" ] || blobs=--disable-install-blobs
    # shellcheck disable=SC2086  # lists of words
    set -- --python=/usr/bin/python3 "--prefix=$prefix" --target-list=x86_64-softmmu \
        $others $options --enable-trace-backends=log \
        --enable-malloc-trim --disable-docs $blobs --disable-download "--cc=ccache gcc"
    configure_qemu "$TREE" "$OUT" "$@"
    # Of the tests only the one that "check" runs.
    # shellcheck disable=SC2046  # words
    ninja -C "$OUT" -j "$JOBS" $(installed) tests/qtest/guest-memfd-test
}

install() {
    local to="$1" f
    DESTDIR="$2" "$OUT/pyvenv/bin/meson" install --no-rebuild -C "$OUT"
    [ ! -e "$TREE/pc-bios/bios-256k.bin" ] || return 0
    for f in "$BUILD"/firmware/*; do
        command install -m 644 "$f" "$to/share/qemu/"
    done
}

# Each type of confidential guest is there, with the options of ours.
guest_types() {
    local out type
    for type in x86-sw-protected-vm sev-snp-guest tdx-guest; do
        out=$("$1" -object "$type,help")
        printf '%s\n' "$out"
        printf '%s\n' "$out" | grep -q '^ *convert-in-place=<' || return
        printf '%s\n' "$out" | grep -q '^ *convert-timeout=<' || return
    done
}

# A whole machine with its default devices, none of which starts without its ROM,
# runs until its BIOS has said something.
starts() {
    local said="$SCRATCH/said" second=0
    : >"$said"
    {
        until grep -q 'SeaBIOS (version' "$said" || [ $second -eq 60 ]; do
            sleep 1
            second=$((second + 1))
        done
        echo quit
    } | timeout 120 "$1" -machine "$2" -accel tcg -display none -monitor stdio \
        -debugcon "file:$said" -global isa-debugcon.iobase=0x402 || return
    cat "$said"
    grep -q 'SeaBIOS (version' "$said"
}

# From folders of its own and from no other, or it is the distribution's.
keeps_to_itself() {
    local folder found=
    "$1" -L help >"$SCRATCH/folders" || return
    while read -r folder; do
        folder=$(realpath -m "$folder")
        say "$folder"
        case $folder in
        "$2"/share/qemu) found=1 ;;
        "$2"/*) ;;
        *) return 1 ;;
        esac
    done <"$SCRATCH/folders"
    [ -n "$found" ]
}

check() {
    local to qemu
    to=$(realpath "$1")
    qemu=$to/bin/qemu-system-x86_64
    SCRATCH=$(mktemp -d)
    trap 'rm -rf "$SCRATCH"' EXIT
    # All are to be seen in one go.
    result "qemu-system-x86_64" "$qemu" --version || :
    result "query-guest-memfd" query_guest_memfd "$qemu" "KVM is not in use" || :
    result "types of confidential guests" guest_types "$qemu" || :
    result "firmware is looked for in $to/share/qemu" keeps_to_itself "$qemu" "$to" || :
    result "machine q35 runs its firmware" starts "$qemu" q35 || :
    result "machine pc runs its firmware" starts "$qemu" pc || :
    result "qemu-img" "$to/bin/qemu-img" --version || :
    result "guest-memfd-test" env QTEST_QEMU_BINARY="$qemu" QTEST_QEMU_IMG="$to/bin/qemu-img" \
        timeout 300 "$OUT/tests/qtest/guest-memfd-test" --tap -k || :
    say "1..$RESULTS"
    return $BAD
}

verb=${1:-}
[ $# -eq 0 ] || shift
case $verb in
packages) each_option full packages_of ;;
lacking) each_option full lacking_of ;;
build | install | check) "$verb" "$@" ;;
*) die "usage: install-qemu.sh packages|lacking|build|install|check" ;;
esac
