#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# bench-lab.sh RESULT.json [quick]: measure in the emulated host, with the kernel
# parameter on and off.  What is compared takes turns.
#
# quick: each measurement once, parameter on only; TAP for "./run test --full".
# It tells whether all of it works, not how fast anything is.
#
# Environment: BUILD, ROOT, KERNEL as for tests/lab/lab.sh.
set -eu

RESULT=$1
QUICK=${2:-}
LAB=$ROOT/tests/lab
INITRD=$BUILD/lab/initramfs.gz
BIN=$BUILD/host
LOGS=$BUILD/log
PARAMETER=kvm.gmem_in_place_conversion

# boot LOG on|off COMMAND [KERNEL-ARGUMENT]
boot() {
    command=$3
    set -- --kernel "$KERNEL" --initrd "$INITRD" --log "$1" --limit 3000 --quiet \
        --append "$PARAMETER=$2 ${4:-}" --file "$BIN/bench/bench-kernel" \
        --file "$BIN/tests/lab/kvm-no-prefault.so"
    for scenario in "$ROOT"/bench/*.scn; do
        set -- "$@" --file "$scenario"
    done
    "$LAB/l1.sh" "$@" "$command"
}

# turns N COMMANDS: that many times
turns() {
    echo "for turn in $(seq -s ' ' "$1"); do"
    echo "$2"
    echo 'done'
}

mkdir -p "$LOGS" "$BUILD/lab"
"$LAB/initramfs.sh" "$INITRD"
# What all of it runs at; where that is not allowed it runs as it is.
renice -n -10 -p $$ >/dev/null 2>&1 || true

LOOP='files/bench-kernel loop
gmem-lab run files/loop.scn files/loop-alone.scn'
TRIP='gmem-lab run files/trip.scn files/trip-alone.scn'

if [ "$QUICK" = quick ]; then
    boot bench-quick 1 "set -e
files/bench-kernel busy quick
files/bench-kernel loop quick
gmem-lab --param quick=1 run files/loop.scn files/loop-alone.scn
files/bench-kernel size quick
gmem-lab run files/size-1g.scn files/size-960g.scn
gmem-lab --param rounds=1 --param rounds64=1 run files/trip.scn"
    exec python3 "$ROOT/bench/kernel.py" --tap "$RESULT" "$LOGS/bench-quick.out"
fi
boot bench-on 1 "set -e
$(turns 4 "$LOOP")
files/bench-kernel busy
files/bench-kernel size
$(turns 3 'gmem-lab run files/size-1g.scn files/size-960g.scn')"
# One mode is one boot; they take turns, too.  Dual-backed twice: the shared pages
# of it may be huge pages of the host, or not.
set --
for turn in 1 2; do
    boot "bench-trip$turn-on" 1 "$TRIP"
    boot "bench-trip$turn-off" 0 "$TRIP"
    boot "bench-trip$turn-small" 0 "$TRIP" transparent_hugepage=never
    set -- "$@" "$LOGS/bench-trip$turn-on.out" "$LOGS/bench-trip$turn-off.out" \
        "$LOGS/bench-trip$turn-small.out"
done
exec python3 "$ROOT/bench/kernel.py" "$RESULT" "$LOGS/bench-on.out" "$@"
