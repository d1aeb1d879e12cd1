#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# build-host.sh host       library, unit tests and lab tools -> build/host
# build-host.sh host-san   the same with sanitizers -> build/host-san
# build-host.sh host-tsan  the same with the sanitizer of threads
# build-host.sh host-fuzz  the fuzzers -> build/host-fuzz; needs clang
set -eu
. "$(dirname "$0")/lib.sh"

name=${1:-host}
OUT=$BUILD/$name
set -- -Dqemu_tree="$BUILD/qemu"
compiler=gcc
# clang-like link checks do not know the sanitizers' runtime: b_lundef off.
case $name in
host-san) set -- "$@" -Db_sanitize=address,undefined -Db_lundef=false ;;
host-tsan) set -- "$@" -Db_sanitize=thread -Db_lundef=false ;;
host-fuzz)
    set -- "$@" -Dfuzz=true -Db_lundef=false
    compiler=clang
    ;;
esac

stamp=$(printf '%s\n' "$ROOT" "$@" | hash_of)
if [ "$(cat "$OUT/.gmem-configured" 2>/dev/null)" != "$stamp" ]; then
    rm -rf "$OUT"
    CC="ccache $compiler" meson setup "$OUT" "$ROOT" "$@"
    printf '%s\n' "$stamp" >"$OUT/.gmem-configured"
fi
exec ninja -C "$OUT" -j "$JOBS"
