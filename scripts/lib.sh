# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What all scripts share: messages, steps with a log, stamps, the lock.
# To be sourced, by a script of this folder.  ROOT and BUILD come from ./run;
# the queue tooling works without them.

ROOT=${ROOT:-$(cd "$(dirname "$0")/.." && pwd -P)}
BUILD=${BUILD:-$ROOT/build}
# shellcheck disable=SC2034  # for those who source this
SCRIPTS=$ROOT/scripts
LOG=$BUILD/log
JOBS=${JOBS:-$(nproc)}
export ROOT BUILD JOBS

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }

# die WHAT [HINT...]: what failed, then what to do about it, one per line.
die() {
    local line
    printf 'error: %s\n' "$1" >&2
    shift
    for line in "$@"; do
        printf '  %s\n' "$line" >&2
    done
    exit 1
}

# rel PATH: as the user would type it in the checkout.
rel() { printf '%s' "${1#"$ROOT"/}"; }

minutes() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

seconds() { date +%s; }

# src_variable qemu|linux: the variable that gives this tree's source.
src_variable() {
    case $1 in
    qemu) printf QEMU_SRC ;;
    linux) printf LINUX_SRC ;;
    esac
}

# --- stamps ---------------------------------------------------------------
# A stamp holds a hash of everything a result was made from.  It is written
# last and by rename, so that an interrupted step never looks finished.

hash_of() { sha256sum | cut -d' ' -f1; }

stamp_ok() { [ "$(cat "$BUILD/stamp/$1" 2>/dev/null)" = "$2" ]; }

stamp_set() {
    mkdir -p "$BUILD/stamp"
    printf '%s\n' "$2" >"$BUILD/stamp/.$1.new"
    mv "$BUILD/stamp/.$1.new" "$BUILD/stamp/$1"
}

# --- the lock -------------------------------------------------------------

take_lock() {
    if ! mkdir -p "$BUILD" "$LOG" 2>/dev/null || [ ! -w "$BUILD" ] ||
        { [ -e "$BUILD/.lock" ] && [ ! -w "$BUILD/.lock" ]; }; then
        die "$(id -un) cannot write to $(rel "$BUILD")/" \
            "use a checkout of your own, or go on as the user who made build/ ($(stat -c %U "$BUILD" 2>/dev/null || echo '?'))"
    fi
    exec 9>>"$BUILD/.lock"
    if ! flock -n 9; then
        say "another ./run works in this checkout ($(cat "$BUILD/.lock-owner" 2>/dev/null)); waiting for it"
        trap 'exit 130' INT TERM
        flock 9
    fi
    printf 'pid %s: %s\n' "$$" "$*" >"$BUILD/.lock-owner"
    trap step_interrupted INT TERM
}

drop_lock() { exec 9>&-; }

# --- steps ----------------------------------------------------------------
# step NAME TITLE PROGRESS COMMAND...
#   runs COMMAND with its output in build/log/NAME.log and shows the time.
#   PROGRESS: ninja  the last "[n/m]" of the log
#             make   the number of compiled objects
#             tap    the number of tests so far
#             size:D the size of what is in folder D
#             -      only the time
# A failing step explains itself and ends the script.  STEP_HINT says what to
# try; STEP_KEEP_GOING=1 hands the exit code back instead.  Both hold for the
# next step only.

STEP_NO=0
STEP_PID=
STEP_MONITOR=
STEP_HINT=
STEP_KEEP_GOING=

step_progress() {
    local kind="$1" log="$2"
    case $kind in
    ninja) tail -c 4000 "$log" | tr '\r' '\n' | grep -o '^\[[0-9]*/[0-9]*\]' | tail -n 1 ;;
    make) printf '%s objects' "$(grep -cE '^  (CC|AS|LD|AR|HOSTCC) ' "$log")" ;;
    tap) printf '%s tests' "$(grep -cE '^(not )?ok ' "$log")" ;;
    size:*) du -sh "${kind#size:}" 2>/dev/null | cut -f1 ;;
    esac
}

step_monitor() {
    local kind="$1" log="$2" title="$3" start last=0 now text
    start=$(seconds)
    # Ends by itself should the script be killed outright.
    while sleep 1 && kill -0 $$ 2>/dev/null; do
        now=$(($(seconds) - start))
        if [ -t 1 ]; then
            text=$(step_progress "$kind" "$log" || true)
            printf '\r[%d] %s ... %s %s \033[K' "$STEP_NO" "$title" "$(minutes "$now")" "$text"
        elif [ $((now - last)) -ge 20 ]; then
            last=$now
            text=$(step_progress "$kind" "$log" || true)
            printf '\n      %s %s' "$(minutes "$now")" "$text"
        fi
    done
}

step_stop_monitor() {
    [ -n "$STEP_MONITOR" ] || return 0
    kill "$STEP_MONITOR" 2>/dev/null || true
    wait "$STEP_MONITOR" 2>/dev/null || true
    STEP_MONITOR=
}

# The command runs in a session of its own, so its process group is ours to end
# and Ctrl-C reaches it through here only, once.
step_interrupted() {
    trap '' INT TERM
    step_stop_monitor
    if [ -n "$STEP_PID" ]; then
        kill -s TERM -- "-$STEP_PID" 2>/dev/null || true
        wait "$STEP_PID" 2>/dev/null || true
    fi
    printf '\ninterrupted; the next call goes on from there\n' >&2
    exit 130
}

step() {
    local name="$1" title="$2" kind="$3" log rc=0 start hint="$STEP_HINT" keep_going="$STEP_KEEP_GOING"
    shift 3
    STEP_HINT=
    STEP_KEEP_GOING=
    start=$(seconds)
    STEP_NO=$((STEP_NO + 1))
    log=$LOG/$name.log
    mkdir -p "$LOG"
    : >"$log"
    printf '[%d] %s ...' "$STEP_NO" "$title"
    trap step_interrupted INT TERM
    setsid "$@" >"$log" 2>&1 </dev/null &
    STEP_PID=$!
    # Without the lock: it may sleep a second longer than we live.
    step_monitor "$kind" "$log" "$title" 9>&- &
    STEP_MONITOR=$!
    wait "$STEP_PID" || rc=$?
    STEP_PID=
    step_stop_monitor
    STEP_TIME=$(($(seconds) - start))
    [ ! -t 1 ] || printf '\r[%d] %s ...' "$STEP_NO" "$title"
    if [ "$rc" -eq 0 ]; then
        printf ' done (%s)' "$(minutes "$STEP_TIME")"
        [ ! -t 1 ] || printf '\033[K'
        printf '\n'
    elif [ -n "$keep_going" ]; then
        printf ' FAILED (%s)\n' "$(minutes "$STEP_TIME")"
    else
        printf ' FAILED (%s)\n\n' "$(minutes "$STEP_TIME")"
        step_explain "$title" "$log" "$hint"
    fi
    return "$rc"
}

step_explain() {
    local title="$1" log="$2" hint="$3"
    {
        printf 'failed: %s\n' "$title"
        printf 'the last lines of %s:\n' "$(rel "$log")"
        tail -n 15 "$log" | cut -c1-300 | sed 's/^/  | /'
        printf 'the whole log: %s\n' "$(rel "$log")"
        printf 'what to try: %s\n' "${hint:-correct what the log names, then call the same command again; it goes on from there}"
    } >&2
    exit 1
}

# --- builds beside ----------------------------------------------------------
# beside NAME COMMAND...: COMMAND goes on beside the steps that follow, in the time that
# they leave; its output is build/log/NAME.log.  One at a time.  Whether it ends well is
# not asked: what it makes is made by a step, which finds it done, or says what is wrong.
# beside_end TITLE waits for it; if the script ends or is interrupted, it is ended.

BESIDE_PID=

beside() {
    local log="$LOG/$1.log"
    shift
    mkdir -p "$LOG"
    trap beside_stop EXIT
    # Each session may have an equal share of the processors, which only autogroup
    # lessens: nice counts inside of one, and where there are no such shares.
    # shellcheck disable=SC2016 # for sh -c
    setsid sh -c 'echo 19 >/proc/$$/autogroup; exec nice -n 19 "$@"' sh "$@" >"$log" 2>&1 </dev/null &
    BESIDE_PID=$!
}

# shellcheck disable=SC2317,SC2329 # run by the trap
beside_stop() {
    [ -n "$BESIDE_PID" ] || return 0
    kill -s TERM -- "-$BESIDE_PID" 2>/dev/null || true
    wait "$BESIDE_PID" 2>/dev/null || true
    BESIDE_PID=
}

beside_end() {
    [ -n "$BESIDE_PID" ] || return 0
    # shellcheck disable=SC2034 # for step
    STEP_KEEP_GOING=1
    step beside-end "$1" - tail --pid="$BESIDE_PID" -f /dev/null || true
    wait "$BESIDE_PID" || true
    BESIDE_PID=
}
