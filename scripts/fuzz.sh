#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# fuzz.sh [SECONDS]: each fuzzer of build/host-fuzz for that long (60), as TAP.
# Its corpus grows in build/fuzz/NAME/; an input that breaks a rule is kept as
# build/fuzz/NAME-crash-*, and tried first by the next run, until it passes.
set -eu
. "$(dirname "$0")/lib.sh"

seconds=${1:-60}
DIR=$BUILD/fuzz
BIN=$BUILD/host-fuzz/tests/fuzz
# GLib would stop at the first failed assertion in any case; say where
export G_SLICE=always-malloc

n=0
bad=0

# report RESULT NAME LOG TITLE
report() {
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then
        say "ok $n - $4"
        return
    fi
    bad=1
    say "not ok $n - $4"
    grep -E '^(ERROR|==|SUMMARY|Bail out|.*runtime error|.*Test unit written)' "$3" | cut -c1-300 | sed 's/^/# /'
    say "# play it again: $(rel "$BIN")/$2 FILE"
}

for fuzzer in fuzz-gmem-convert fuzz-gmem-state; do
    [ -x "$BIN/$fuzzer" ] || die "no $(rel "$BIN")/$fuzzer"
    mkdir -p "$DIR/$fuzzer"
    # A short input leaves most of a schedule to zeros: begin with long ones
    if [ -z "$(ls "$DIR/$fuzzer")" ]; then
        for seed in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do
            head -c 1024 /dev/urandom >"$DIR/$fuzzer/seed-$seed"
        done
    fi
    log=$DIR/$fuzzer.log
    for input in "$DIR/$fuzzer"-crash-*; do
        [ -e "$input" ] || continue
        rc=0
        "$BIN/$fuzzer" "$input" >"$log" 2>&1 || rc=$?
        report "$rc" "$fuzzer" "$log" "$fuzzer: $(rel "$input")"
        [ "$rc" -ne 0 ] || rm "$input"
    done
    rc=0
    "$BIN/$fuzzer" -max_total_time="$seconds" -max_len=1024 -len_control=0 -timeout=10 -print_final_stats=1 \
        -artifact_prefix="$DIR/$fuzzer-" "$DIR/$fuzzer" >"$log" 2>&1 || rc=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    report "$rc" "$fuzzer" "$log" "$fuzzer: ${runs:-no} inputs in $seconds s"
    # A fuzzer that runs nothing has tested nothing
    if [ "$rc" -eq 0 ] && [ "${runs:-0}" -lt 100 ]; then
        report 1 "$fuzzer" "$log" "$fuzzer ran at least 100 inputs"
    fi
done
say "1..$n"
exit $bad
