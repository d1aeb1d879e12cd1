#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# ./run install --prefix=DIR [--full]
#
# QEMU with our queue, built in build/qemu-install and installed in DIR; with
# DESTDIR= in the environment it is installed below that, as for a package.
set -eu
. "$(dirname "$0")/lib.sh"
. "$SCRIPTS/ensure.sh"
. "$SCRIPTS/apt.sh"

usage() { die "usage: ./run install --prefix=DIR [--full]" "$@"; }

prefix=
full=
while [ $# -gt 0 ]; do
    case $1 in
    --prefix=*) prefix=${1#--prefix=} ;;
    --prefix)
        [ $# -gt 1 ] || usage "--prefix needs a folder"
        prefix=$2
        shift
        ;;
    --full) full=full ;;
    *) usage "there is no option '$1'" ;;
    esac
    shift
done
[ -n "$prefix" ] || usage "there is no default: /usr would replace the distribution's QEMU"
destdir=${DESTDIR:-}

# Known before a build of many minutes.
absolute() {
    case $2 in
    /*) ;;
    *) die "$1 '$2' is not an absolute path" "say $1$PWD/$2" ;;
    esac
}
absolute --prefix= "$prefix"
[ -z "$destdir" ] || absolute DESTDIR= "$destdir"
to=$destdir$prefix
# Root may write everywhere, or so it seems until it is tried.
if ! reason=$(mkdir -p "$to" 2>&1) || ! reason=$(mktemp "$to/.gmem.XXXXXX" 2>&1); then
    die "$(id -un) cannot write to $to: ${reason##*: }" \
        "call as a user who can, or take a folder of your own: --prefix=\$HOME/qemu-gmem"
fi
rm -f "$reason"

begin install "--prefix=$prefix${full:+ --full}"
ensure_packages
if [ -n "$full" ]; then
    # Lists that were never read know no package, and all would be left out.
    apt_find_mirror >/dev/null
    install_packages distro
    lacking=$("$SCRIPTS/install-qemu.sh" lacking)
    [ -z "$lacking" ] || say "left out, Debian 12 has no package for it: $lacking"
fi
ensure_tree qemu
ensure_firmware
step build-qemu-install "building QEMU${full:+ with all features}" ninja "$SCRIPTS/install-qemu.sh" build "$prefix" "${full:-lean}"
# shellcheck disable=SC2034  # for step
STEP_HINT="see that there is room and the right to write in $to, then call the same command again"
step install-qemu "installing in $to" - "$SCRIPTS/install-qemu.sh" install "$to" "$destdir"
step check-install "trying what was installed" tap "$SCRIPTS/install-qemu.sh" check "$to"
say "installed: $to/bin/qemu-system-x86_64"
say "  libvirt: <emulator>$prefix/bin/qemu-system-x86_64</emulator>"
