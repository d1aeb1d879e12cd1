# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What run.sh and lab.sh share.  To be sourced, with ROOT set.
. "$ROOT/scripts/lib.sh"

WORK=$BUILD/mutants
NUMBER=0 FAILED=0

# result ok|fail TITLE: one TAP line
result() {
    NUMBER=$((NUMBER + 1))
    case $1 in
    ok) echo "ok $NUMBER - $2" ;;
    *) FAILED=$((FAILED + 1)) && echo "not ok $NUMBER - $2" ;;
    esac
}

# field PATCH NAME: of its header, which ends where the diff begins.
field() { sed -n "/^--- /q;s/^$2: //p" "$1"; }

# show LOG: why, for who cannot look at the log afterwards.
show() { tail -n 8 "$1" | cut -c1-200 | sed 's/^/# /'; }

# mutate TREE PATCH: no fuzz, or the patch may do something else by now.
mutate() { patch -d "$1" -p1 -F 0 --no-backup-if-mismatch <"$2" >"$WORK/patch.log" 2>&1; }
restore() { patch -d "$1" -p1 -F 0 -R --no-backup-if-mismatch <"$2" >>"$WORK/patch.log" 2>&1; }
