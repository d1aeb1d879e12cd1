#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# l1.sh: boot the emulated host (L1), run one command in it, carry its output
# and exit code through.
#
#   l1.sh --kernel BZIMAGE --initrd FILE --log NAME [option...] COMMAND
#   l1.sh --kernel BZIMAGE --initrd FILE --shell
#
#   --append ARGS   more kernel arguments
#   --limit SECONDS time limit for everything (600)
#   --memory SIZE   of the emulated host (4G)
#   --file PATH     put PATH into /lab/files of the emulated host; repeatable
#   --archive FILE  a second root file system (cpio, gzip) on top of the first
#   --quiet         do not print the command's output, only log it
#
# Environment: BUILD; QEMU and ROMS may point elsewhere.
# Logs: $BUILD/log/NAME.console (kernel), $BUILD/log/NAME.out (command); what was
# going on when the time was up is NAME.hang.
#
# Exit code: the command's own (0-99), or
#   100 wrong usage, or QEMU did not start    101 time limit
#   102 kernel panic                          103 it ended without a result
#   104 the kernel reported trouble (kernel-log.sh), whatever the command said
set -eu

QEMU=${QEMU:-$BUILD/qemu-build/qemu-system-x86_64}
ROMS=${ROMS:-$BUILD/roms}
LOGS=$BUILD/log
KERNEL='' INITRD='' NAME='' APPEND='' LIMIT=600 MEMORY=4G FILES='' ARCHIVE='' QUIET=0 SHELL_MODE=0

fail() {
    code=$1
    shift
    echo "lab: $*" >&2
    exit "$code"
}

while [ $# -gt 0 ]; do
    case $1 in
    --kernel) KERNEL=$2; shift 2 ;;
    --initrd) INITRD=$2; shift 2 ;;
    --log) NAME=$2; shift 2 ;;
    --append) APPEND=$2; shift 2 ;;
    --limit) LIMIT=$2; shift 2 ;;
    --memory) MEMORY=$2; shift 2 ;;
    --file) FILES="$FILES $2"; shift 2 ;;
    --archive) ARCHIVE=$2; shift 2 ;;
    --quiet) QUIET=1; shift ;;
    --shell) SHELL_MODE=1; NAME=${NAME:-lab-shell}; shift ;;
    --) shift; break ;;
    -*) fail 100 "unknown option $1" ;;
    *) break ;;
    esac
done
[ -f "$KERNEL" ] || fail 100 "no kernel at \"$KERNEL\"; ./run build linux makes it"
[ -f "$INITRD" ] || fail 100 "no initramfs at \"$INITRD\""
[ -z "$ARCHIVE" ] || [ -f "$ARCHIVE" ] || fail 100 "no archive at \"$ARCHIVE\""
[ -x "$QEMU" ] || fail 100 "no QEMU at \"$QEMU\"; ./run build qemu makes it"
case $MEMORY in
*[!0-9G]* | *G*G | G) fail 100 "--memory takes a number of GiB, like 4G" ;;
*G) NODE=$((${MEMORY%G} * 512))M ;;
*) fail 100 "--memory takes a number of GiB, like 4G" ;;
esac
[ -n "$NAME" ] || fail 100 "--log NAME is missing"

mkdir -p "$LOGS"
WORK=$(mktemp -d "$LOGS/.l1.XXXXXX")
CONSOLE=$LOGS/$NAME.console
SHOWN=build/log/$NAME          # as the user sees it from the checkout
OUTPUT=$LOGS/$NAME.out
HANG=$LOGS/$NAME.hang
PID='' TAIL=''

# shellcheck disable=SC2317,SC2329 # run by the traps
cleanup() {
    for p in $PID $TAIL; do
        kill "$p" 2>/dev/null || true
    done
    rm -rf "$WORK"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The last archive: the command, so that the big one need not be repacked.
mkdir -p "$WORK/tree/lab/files"
if [ "$SHELL_MODE" = 1 ]; then
    touch "$WORK/tree/lab/shell"
else
    printf '%s\n' "$*" >"$WORK/tree/lab/command"
fi
for f in $FILES; do
    cp -R "$f" "$WORK/tree/lab/files/"
done
(cd "$WORK/tree" && find . | cpio -o -H newc -R 0:0 2>/dev/null) |
    gzip -1 >"$WORK/command.gz"
# All compressed: a plain archive would have to start at a multiple of four.
cat "$INITRD" ${ARCHIVE:+"$ARCHIVE"} "$WORK/command.gz" >"$WORK/initrd"

: >"$CONSOLE"
: >"$OUTPUT"
rm -f "$HANG"
# -accel tcg: a KVM of the build machine may exist and yet run no guest.
# loglevel=5: warnings and worse, which the check below looks for.
# Two NUMA nodes; the CPUs are in the first one, which memory has no reason to leave.
# 8000001f: sev-snp-guest wants a C-bit, 51, and a number of lost address bits, 1.
# -nodefaults: the firmware waits half a minute for a default CD drive.
# The IOMMU, and devices behind it that a scenario can assign to its guest (key
# "assign").  split: the IOMMU remaps interrupts.  edu masks addresses to 28 bits
# if it is not told otherwise.
set -- -accel tcg,thread=multi -M q35,smm=off,kernel-irqchip=split -smp 2 \
    -cpu max,+svm,+npt,x-lab-cpuid-8000001f-ebx=0x73 \
    -m "$MEMORY" -nodefaults -L "$ROMS" -kernel "$KERNEL" -initrd "$WORK/initrd" \
    -no-reboot -display none \
    -object "memory-backend-ram,id=n0,size=$NODE" -numa node,cpus=0-1,memdev=n0 \
    -object "memory-backend-ram,id=n1,size=$NODE" -numa node,memdev=n1 \
    -device intel-iommu,intremap=on \
    -device edu,addr=0x10,dma_mask=0xffffffffffffffff \
    -device edu,addr=0x11,dma_mask=0xffffffffffffffff
# The NMI comes from hang.py; all tasks are shown then.
# no_timer_check: with interrupts remapped, the kernel panics if the timer does not
# tick while it looks, and on a busy machine it may not.
# tsc=nowatchdog: while the kernel changes its clock source (all CPUs stopped) the
# watchdog of the TSC may wait for another CPU, by a clock that does not go on then.
# Seen once; and the emulated TSC needs no watchdog.
ARGS="console=ttyS0 panic=-1 loglevel=5 unknown_nmi_panic panic_print=1 no_timer_check tsc=nowatchdog $APPEND"

if [ "$SHELL_MODE" = 1 ]; then
    "$QEMU" "$@" -append "$ARGS" -serial stdio
    exit
fi

"$QEMU" "$@" -append "$ARGS" -serial "file:$CONSOLE" \
    -serial "file:$OUTPUT" -qmp "unix:$WORK/qmp,server=on,wait=off" >"$WORK/qemu.out" 2>&1 </dev/null &
PID=$!
if [ "$QUIET" = 0 ]; then
    # -s: notice the end soon; the marker is not for the reader.
    tail -n +1 -s 0.2 -f --pid="$PID" "$OUTPUT" | grep --line-buffered -v '^L1-EXIT ' &
    TAIL=$!
fi

elapsed=0
while kill -0 "$PID" 2>/dev/null; do
    if [ "$elapsed" -ge $((LIMIT * 5)) ]; then
        # The time limit is the news, also if this finds out nothing.
        "$(dirname "$0")/hang.py" "$WORK/qmp" "$PID" "$KERNEL" >"$HANG" 2>&1 || true
        # One that hangs itself does not take the polite signal; another one is
        # gone by the second.
        kill "$PID" 2>/dev/null || true
        sleep 2
        kill -KILL "$PID" 2>/dev/null || true
        wait "$PID" 2>/dev/null || true
        PID=''
        fail 101 "the emulated host was not done within $LIMIT s;" \
            "see $SHOWN.hang, $SHOWN.console and $SHOWN.out"
    fi
    sleep 0.2
    elapsed=$((elapsed + 1))
done
qemu_code=0
wait "$PID" || qemu_code=$?
PID=''
[ -z "$TAIL" ] || wait "$TAIL" || true
TAIL=''

if grep -q 'Kernel panic' "$CONSOLE"; then
    grep -m 1 'Kernel panic' "$CONSOLE" >&2
    fail 102 "the emulated host panicked; see $SHOWN.console"
fi
code=$(sed -n 's/^L1-EXIT \([0-9]*\).*/\1/p' "$OUTPUT" | tail -n 1)
if [ -z "$code" ]; then
    tail -n 3 "$WORK/qemu.out" >&2
    [ -s "$CONSOLE" ] || fail 100 "QEMU did not start the emulated host (exit code $qemu_code)"
    fail 103 "the emulated host ended without a result; see $SHOWN.console"
fi
if ! trouble=$(sh "$(dirname "$0")/kernel-log.sh" "$CONSOLE"); then
    printf '%s\n' "$trouble" >&2
    fail 104 "the emulated host's kernel warned; see $SHOWN.console"
fi
[ "$code" -lt 100 ] || code=99
exit "$code"
