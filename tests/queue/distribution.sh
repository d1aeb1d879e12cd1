#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The queue of QEMU on a distribution's package, and on the release; prints TAP.
#
# BASE's source is Debian's: QEMU's release without the files that debian/copyright
# names as excluded.  So the queue applies on the release if it touches none of
# these, and adds none.  On Debian's package it must apply behind the package's own
# patches; git apply knows no fuzz.
set -eu
ROOT=$(cd "$(dirname "$0")/../.." && pwd -P)
. "$ROOT/scripts/lib.sh"
. "$SCRIPTS/git.sh"
. "$ROOT/BASE"

TREE=$BUILD/qemu
QUEUE=$ROOT/patches/qemu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ ! -f "$BUILD/download/$QEMU_DEBIAN" ]; then
    say "1..0 # SKIP $QEMU_DEBIAN is not here (QEMU_SRC= was given)"
    exit 0
fi
tar -xf "$BUILD/download/$QEMU_DEBIAN" -C "$work"
debian=$work/debian
GIT_INDEX_FILE=$work/index
export GIT_INDEX_FILE

n=0
bad=0

# result TITLE PROBLEM
result() {
    n=$((n + 1))
    if [ -z "$2" ]; then
        say "ok $n - $1"
    else
        bad=1
        say "not ok $n - $1"
        printf '%s\n' "$2" | head -n 20 | sed 's/^/# /'
    fi
}

# series FILE: without comments
series() { sed -n 's/^\([^# ][^ ]*\).*/\1/p' "$1"; }

# apply_all FOLDER: its series, into the index.  Prints what does not apply.
apply_all() {
    series "$1/series" | while read -r p; do
        tree_git "$TREE" apply --cached "$1/$p" 2>"$work/error" || {
            printf '%s does not apply:\n' "$p"
            cat "$work/error"
            break
        }
    done
}

# What the queue changes in existing files, and its own files.
touched() {
    series "$QUEUE/series" | while read -r p; do
        sed -n -e 's|^diff --git a/\([^ ]*\) .*|\1|p' -e 's/^Overlay: //p' "$QUEUE/$p"
    done | sort -u
}

# The patterns of Files-Excluded, one a line.
excluded() {
    awk '/^Files-Excluded:/ { on = 1; next } on && /^[^ \t#]/ { exit } on && /^[ \t]/ { print $1 }' "$debian/copyright"
}

tree_git "$TREE" read-tree gmem-base
result "release $QEMU_VERSION: every patch applies, without the distribution's" "$(apply_all "$QUEUE")"

touched >"$work/touched"
excluded >"$work/excluded"
while read -r pattern; do
    while read -r path; do
        # shellcheck disable=SC2254 # a pattern
        case $path in
        $pattern | $pattern/*) say "$path is excluded by $pattern" ;;
        esac
    done <"$work/touched"
done <"$work/excluded" >"$work/found"
found=$(cat "$work/found")
[ -s "$work/excluded" ] || found="debian/copyright names no excluded file"
[ -s "$work/touched" ] || found="the queue touches no file"
result "release $QEMU_VERSION: no patch touches a file that $QEMU_ORIG leaves out" "$found"

tree_git "$TREE" read-tree gmem-base
result "Debian $QEMU_PACKAGE_VERSION: its own $(series "$debian/patches/series" | wc -l) patches" "$(apply_all "$debian/patches")"
result "Debian $QEMU_PACKAGE_VERSION: every patch applies behind them" "$(apply_all "$QUEUE")"
say "1..$n"
exit $bad
