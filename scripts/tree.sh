#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# tree.sh qemu|linux: unpack a base into build/TREE as a git tree.
#
#   tag gmem-base     the pristine source
#   tag gmem-distro   QEMU only, and only if its firmware blobs are missing:
#                     Debian's patches that let such a source be built
#   branch gmem-queue where ./run queue apply puts the queue
#
# The tree is made under another name and renamed when it is complete.
set -eu
. "$(dirname "$0")/lib.sh"
. "$SCRIPTS/git.sh"
. "$ROOT/BASE"

name=${1:-}
DOWNLOAD=$BUILD/download
TREE=$BUILD/$name
NEW=$BUILD/$name.new

# A pipe's exit code is that of its right side.  What fails on the left leaves
# this file.
LEFT_FAILED=$BUILD/.left-failed

left_failed() { : >"$LEFT_FAILED"; }

left_succeeded() {
    [ -e "$LEFT_FAILED" ] || return 0
    rm -f "$LEFT_FAILED"
    return 1
}

# unpack ARCHIVE: into NEW, without the archive's top folder.
unpack() { tar -xf "$1" -C "$NEW" --strip-components=1; }

unpack_given() {
    local src="$1"
    [ -e "$src" ] || die "$src (given by $(src_variable "$name")) does not exist"
    if [ -f "$src" ]; then
        unpack "$src"
    elif [ -e "$src/.git" ]; then
        # What is committed: a builder's leftovers are not part of the base.
        { git -c safe.directory='*' -C "$src" archive HEAD || left_failed; } | tar -x -C "$NEW"
        left_succeeded
    else
        cp -a "$src/." "$NEW/"
    fi
}

unpack_linux_deb() {
    local deb="$1" tar="$BUILD/download/part/$LINUX_TAR"
    mkdir -p "$(dirname "$tar")"
    { dpkg-deb --fsys-tarfile "$deb" || left_failed; } |
        tar -xO --wildcards './usr/src/linux-source-*.tar.xz' >"$tar"
    left_succeeded
    if [ ! -e "$DOWNLOAD/linux.other" ]; then
        printf '%s  %s\n' "$LINUX_TAR_SHA256" "$tar" | sha256sum -c ||
            die "the kernel source inside $(rel "$deb") is not the one that BASE names"
    fi
    unpack "$tar"
    rm -f "$tar"
}

commit_all() {
    tree_git "$NEW" add -A -f .
    tree_git "$NEW" commit -q --no-verify -m "$1"
    tree_git "$NEW" tag -f "$2" >/dev/null
}

add_distro_patches() {
    local p dir="$NEW.debian"
    [ ! -e "$NEW/pc-bios/edk2-x86_64-code.fd.bz2" ] || return 0
    [ -f "$DOWNLOAD/$QEMU_DEBIAN" ] ||
        die "the source given by QEMU_SRC has no firmware blobs (as Debian's) and $(rel "$DOWNLOAD/$QEMU_DEBIAN") is not here" \
            "give an upstream release tarball, or call without QEMU_SRC"
    rm -rf "$dir"
    mkdir -p "$dir"
    tar -xf "$DOWNLOAD/$QEMU_DEBIAN" -C "$dir"
    for p in $QEMU_DISTRO_PATCHES; do
        say "applying $p"
        tree_git "$NEW" apply --index "$dir/debian/patches/$p"
    done
    rm -rf "$dir"
    tree_git "$NEW" commit -q --no-verify -m "Build without the firmware blobs

Debian's own patches for its source package: $QEMU_DISTRO_PATCHES"
    tree_git "$NEW" tag -f gmem-distro >/dev/null
}

version_of() {
    case $name in
    qemu) cat "$1/VERSION" ;;
    linux) awk -F' = ' '/^(VERSION|PATCHLEVEL|SUBLEVEL) = / { printf "%s%s", s, $2; s = "." }' "$1/Makefile" ;;
    esac
}

case $name in
qemu) want=$QEMU_VERSION given=${QEMU_SRC:-} ;;
linux) want=$LINUX_VERSION given=${LINUX_SRC:-} ;;
*) die "usage: tree.sh qemu|linux" ;;
esac

# A tree that already has work in it is the user's, not ours to replace.
if [ -e "$TREE/.git" ]; then
    TREE_DIR=$TREE "$SCRIPTS/queue.sh" is-clean "$name" || exit 1
fi

rm -rf "$NEW" "$LEFT_FAILED"
mkdir -p "$NEW"
if [ -n "$given" ]; then
    unpack_given "$given"
elif [ "$name" = qemu ]; then
    unpack "$DOWNLOAD/$QEMU_ORIG"
elif [ -e "$DOWNLOAD/linux.other" ]; then
    unpack_linux_deb "$DOWNLOAD/linux-other.deb"
else
    unpack_linux_deb "$DOWNLOAD/$LINUX_DEB"
fi
have=$(version_of "$NEW")
[ "$have" = "$want" ] || say "WARNING: this source is $name $have; the queue is made for $want"

rm -rf "$NEW/.git"
tree_init "$NEW"
commit_all "$name $have, as released" gmem-base
[ "$name" != qemu ] || add_distro_patches
tree_git "$NEW" branch -f gmem-queue
tree_git "$NEW" symbolic-ref HEAD refs/heads/gmem-queue

rm -rf "$TREE"
mv "$NEW" "$TREE"
