#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# ./run install and ./run build linux: what they refuse before they do anything, and
# a QEMU that is built, installed below a DESTDIR, and tried; prints TAP.  It wants
# the prepared tree of QEMU and build/firmware (scripts/ensure.sh).
set -eu
ROOT=$(cd "$(dirname "$0")/../.." && pwd -P)
. "$ROOT/scripts/lib.sh"
. "$SCRIPTS/qemu-lib.sh"

PREFIX=/opt/qemu-gmem
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# fails_with WORDS COMMAND...
# shellcheck disable=SC2317,SC2329 # result runs it
fails_with() {
    local words="$1" out
    shift
    ! out=$(timeout 20 "$@" 2>&1) || return 1
    printf '%s\n' "$out"
    case $out in
    *"$words"*) ;;
    *) return 1 ;;
    esac
}

# refuses WORDS ARGS...: ./run ARGS fails at once, with WORDS.
refuses() {
    words=$1
    shift
    result "./run $*: $words" fails_with "$words" "$ROOT/run" "$@" || :
}

refuses "there is no default" install
refuses "there is no option '--ful'" install --prefix="$work" --ful
refuses "--prefix= 'opt' is not an absolute path" install --prefix=opt
export DESTDIR=dest
refuses "DESTDIR= 'dest' is not an absolute path" install --prefix="$work/to"
unset DESTDIR
# Nobody can make a folder there, root neither.
refuses "cannot write to /proc/qemu" install --prefix=/proc/qemu
refuses "--config=FILE goes with" build linux --deb
refuses "--config=FILE goes with" build linux --config="$work/config"
refuses "there is no file '$work/config'" build linux --config="$work/config" --kvm
refuses "only linux takes options" build qemu --deb

# With a DESTDIR nothing may come to be at the prefix.
before=$(ls -d "$PREFIX" 2>&1 || :)
# shellcheck disable=SC2317,SC2329 # result runs it
as_before() { [ "$(ls -d "$PREFIX" 2>&1 || :)" = "$before" ]; }
if result "QEMU builds for $PREFIX" "$SCRIPTS/install-qemu.sh" build "$PREFIX" lean &&
    result "it is installed below DESTDIR" "$SCRIPTS/install-qemu.sh" install "$work$PREFIX" "$work"; then
    result "... and nowhere else" as_before || :
    result "what is installed works" "$SCRIPTS/install-qemu.sh" check "$work$PREFIX" || :
fi
say "1..$RESULTS"
exit $BAD
