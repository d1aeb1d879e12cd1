#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Description: a build beside the tests (scripts/lib.sh) goes on during the steps, is
# waited for, may fail, and never outlives the script.
#
# Prints TAP; takes some seconds.
set -eu

SRC=$(cd "$(dirname "$0")/../.." && pwd -P)
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# shellcheck source=tests/queue/is.sh
. "$SRC/tests/queue/is.sh"

# A build of three seconds, and one that nobody will wait for.
cat >"$WORK/build" <<'INNER'
#!/bin/sh
echo $$ >"$1.pid"
cat /proc/$$/autogroup
nice
sleep "$2" &
echo $! >"$1.child"
wait
echo built >"$1"
exit "$3"
INNER
cat >"$WORK/script" <<'INNER'
#!/bin/sh
set -eu
. "$SRC/scripts/lib.sh"
take_lock "a test"
beside "$1" "$WORK/build" "$WORK/$1" "$2" "$3"
step wait "a step" - sh -c "while [ ! -s $WORK/$1.child ]; do sleep 0.1; done"
[ ! -e "$WORK/$1" ] || echo "not beside"
case $4 in
end)
    beside_end "waiting for it"
    cat "$WORK/$1"
    beside_end "waiting for nothing"
    ;;
die) die "for a reason" ;;
wait) step long "a long step" - sleep 60 ;;
esac
INNER
chmod +x "$WORK/build" "$WORK/script"
export SRC WORK ROOT="$WORK" BUILD="$WORK/b"

# gone NAME: neither the build nor what it runs is there, some moments later
gone() {
    local pid i=0
    for pid in "$(cat "$WORK/$1.pid")" "$(cat "$WORK/$1.child")"; do
        while kill -0 "$pid" 2>/dev/null && [ "$(sed 's/.*) //;s/ .*//' "/proc/$pid/stat")" != Z ]; do
            i=$((i + 1))
            if [ "$i" -ge 50 ]; then
                echo "process $pid is there"
                return
            fi
            sleep 0.1
        done
    done
    echo gone
}

code=0
"$WORK/script" good 3 0 end >"$WORK/out" 2>&1 || code=$?
is "it is waited for" "0 built" "$code $(grep -x built "$WORK/out")"
is "it is beside the steps" "" "$(grep 'not beside' "$WORK/out")"
is "the second time there is nothing to wait for" 1 "$(grep -c 'waiting for' "$WORK/out")"
# nice adds to what this test was started with, which may be less than 0.
is "its log is there, and it has the lowest priority" "$(nice -n 19 nice)" "$(tail -n 1 "$WORK/b/log/good.log")"
if [ -w /proc/self/autogroup ]; then
    is "... its session, too" 19 "$(sed -n 's/.*nice //p' "$WORK/b/log/good.log")"
else
    N=$((N + 1))
    echo "ok $N - ... its session, too # SKIP this kernel has no groups of sessions"
fi

code=0
"$WORK/script" bad 1 1 end >"$WORK/out" 2>&1 || code=$?
is "one that fails ends nothing" "0 built" "$code $(grep -x built "$WORK/out")"

code=0
"$WORK/script" die 600 0 die >"$WORK/out" 2>&1 || code=$?
is "it ends with the script" "1 gone" "$code $(gone die)"

code=0
setsid "$WORK/script" int 600 0 wait >"$WORK/out" 2>&1 &
script=$!
while ! grep -q 'a long step' "$WORK/out" 2>/dev/null; do
    sleep 0.1
done
kill -s TERM "$script"
wait "$script" || code=$?
is "it ends with a script that is interrupted" "130 gone" "$code $(gone int)"

echo "1..$N"
exit "$BAD"
