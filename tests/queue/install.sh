#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# ./run install and ./run build linux: what they refuse before they do anything, and
# a QEMU that is built, installed below a DESTDIR, and tried; prints TAP.  It wants
# the prepared tree of QEMU and build/firmware (scripts/ensure.sh).
set -eu
ROOT=$(cd "$(dirname "$0")/../.." && pwd -P)
. "$ROOT/scripts/lib.sh"

PREFIX=/opt/qemu-gmem
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
n=0
bad=0

# result TITLE CODE OUTPUT
result() {
    n=$((n + 1))
    if [ "$2" -eq 0 ]; then
        say "ok $n - $1"
    else
        bad=1
        say "not ok $n - $1"
        printf '%s\n' "$3" | tail -n 30 | sed 's/^/# /'
    fi
}

# refuses WORDS ARGS...: ./run ARGS fails at once, with WORDS.
refuses() {
    words=$1
    shift
    code=1
    out=$(timeout 20 "$ROOT/run" "$@" 2>&1) || case $out in
    *"$words"*) code=0 ;;
    esac
    result "./run $*: $words" "$code" "$out"
}

does() {
    title=$1
    shift
    code=0
    out=$("$@" 2>&1) || code=$?
    result "$title" "$code" "$out"
    return "$code"
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
if does "QEMU builds for $PREFIX" "$SCRIPTS/install-qemu.sh" build "$PREFIX" lean &&
    does "it is installed below DESTDIR" "$SCRIPTS/install-qemu.sh" install "$work$PREFIX" "$work"; then
    [ "$(ls -d "$PREFIX" 2>&1 || :)" = "$before" ] && code=0 || code=1
    result "... and nowhere else" "$code" "$PREFIX has come to be"
    does "what is installed works" "$SCRIPTS/install-qemu.sh" check "$work$PREFIX" || :
fi
say "1..$n"
exit $bad
