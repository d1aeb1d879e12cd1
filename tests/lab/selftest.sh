# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# To be sourced in the emulated host: runs kernel selftests.

# end_in_time PID SECONDS: what hangs is killed, after the kernel's log got what
# each task is doing.
end_in_time() {
    sleep "$2" &
    # shellcheck disable=SC2064 # this sleep
    trap "kill $!; exit 0" TERM
    wait $!
    echo t >/proc/sysrq-trigger
    kill -KILL "$1"
}

# selftest NAME SECONDS [ARGUMENT...]
#
# Every case that the test names is a TAP line of its own, so that skipped ones
# are counted with their reason; a test without cases is one line.  At the end
#   # verdict NAME pass|fail|skip|missing SECONDS NOTE
# for the table.  kselftest's exit code 4 means skipped.
selftest() {
    name=$1
    limit=$2
    shift 2
    log=/tmp/$name.log
    if [ ! -x "/lab/selftests/$name" ]; then
        echo "# verdict $name missing 0 this tree does not have it"
        return
    fi
    start=$(date +%s)
    "/lab/selftests/$name" "$@" >"$log" 2>&1 &
    child=$!
    end_in_time "$child" "$limit" &
    watch=$!
    wait "$child"
    code=$?
    # It has ended if it had to kill the child.
    kill "$watch" 2>/dev/null
    took=$(($(date +%s) - start))
    sed "s/^/# $name: /" "$log"
    sed -n -E "s/^(not )?ok [0-9]+ (- )?(.*)/\1ok 0 - selftest $name: \3/p" "$log"
    cases=$(grep -c -E '^(not )?ok ' "$log")
    case $code in
    0)
        [ "$cases" -gt 0 ] || echo "ok 0 - selftest $name"
        verdict=pass
        skipped=$(grep -c -i -E '^ok .*# *skip' "$log")
        # What a stress test did.
        note=$(sed -n 's/^# \(to private\|to shared\|EAGAIN\): /\1 /p' "$log" | paste -s -d ';')
        [ "$skipped" -eq 0 ] ||
            note="${note:+$note; }$skipped of $cases cases skipped: $(grep -m 1 -i -E '^ok .*# *skip' "$log" | sed 's/.*# *[Ss][Kk][Ii][Pp] *//')"
        ;;
    4)
        verdict=skip
        note=$(grep -i -m 1 skip "$log" | sed 's/.*# *[Ss][Kk][Ii][Pp] *//; s/^- *//')
        note=${note:-exit code 4}
        echo "ok 0 - selftest $name # SKIP $note"
        ;;
    *)
        verdict=fail
        note=$(grep -E -m 1 '^not ok|Assert|Error' "$log")
        note="exit code $code: ${note:-no message}"
        [ "$took" -lt "$limit" ] || note="not done within $limit s"
        echo "not ok 0 - selftest $name: $note"
        ;;
    esac
    echo "# verdict $name $verdict $took $note"
}

# In the debug kernel, after the tests: had the checkers their eyes open, and
# what has leaked?
debug_end() {
    if grep -q 'debug_locks: *1' /proc/lockdep_stats; then
        echo "ok 0 - lockdep was on to the end"
    else
        echo "not ok 0 - lockdep was on to the end"
    fi
    # An object counts once it is five seconds old.
    if sleep 6 && echo scan >/sys/kernel/debug/kmemleak &&
        sleep 6 && echo scan >/sys/kernel/debug/kmemleak; then
        cat /sys/kernel/debug/kmemleak >/tmp/kmemleak
        if [ -s /tmp/kmemleak ]; then
            echo "not ok 0 - kmemleak: $(grep -c '^unreferenced' /tmp/kmemleak) objects have leaked"
            sed 's/^/# /' /tmp/kmemleak | head -n 60
        else
            echo "ok 0 - kmemleak: nothing has leaked"
        fi
    else
        echo "not ok 0 - kmemleak could not scan"
    fi
}
