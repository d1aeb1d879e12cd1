#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# kernel-log.sh FILE: what in a kernel's log tells of trouble, three lines of it.
# Exit code 0: nothing; 1: something.
#
# A plain run of the lab has none of these.  kernel-log-test.sh has a sample of
# each kind of report.
set -eu

# WARN, lockdep ("WARNING: possible circular locking dependency"), RCU, page
# allocation; BUG with all its prefixes (KASAN, "kernel BUG at", "watchdog:",
# "BUG: sleeping function"), also that of the maple tree ("BUG at", "WARN at").
TROUBLE='WARNING: |\bBUG\b|\bWARN at '
# What older and newer kernels say instead of WARNING:.
TROUBLE="$TROUBLE|INFO: (possible|suspicious|inconsistent|trying to register|task |rcu|lockdep)"
TROUBLE="$TROUBLE|possible (circular|recursive|irq|deadlock)|inconsistent lock state|suspicious RCU"
TROUBLE="$TROUBLE|bad unlock balance|held lock freed|lock held when returning"
TROUBLE="$TROUBLE|turning off the locking correctness validator|DEBUG_LOCKS_WARN_ON"
TROUBLE="$TROUBLE|rcu: INFO|detected stalls|self-detected stall|blocked for more than"
# Sanitizers and the like.
TROUBLE="$TROUBLE|KASAN: |KCSAN: |KFENCE: |UBSAN: |kmemleak: .*(new suspected|[Dd]isabl)|unreferenced object"
TROUBLE="$TROUBLE|list_(add|del) corruption|refcount_t: |VM_(BUG|WARN)_ON"
# Exceptions.
TROUBLE="$TROUBLE|Oops|general protection fault|double fault|invalid opcode|divide error|[Uu]nable to handle"
TROUBLE="$TROUBLE|Unexpected error|invoked oom-killer|Out of memory|page allocation failure|cut here|Call Trace:"

[ -r "$1" ] || {
    echo "there is no kernel log $1"
    exit 1
}
# A test that makes memory scarce names the process to be killed for it, with
# the highest score there is.  One that goes to the limit of a memory cgroup may
# have the lowest score, and the kernel finds nobody to kill.  That is no trouble,
# the report of anybody else being killed is.
wanted_kills_out() {
    awk '
        /invoked oom-killer/ && !held { held = 1; text = "" }
        !held { print; next }
        { text = text $0 "\n" }
        /Killed process/ {
            if ($0 !~ /oom_score_adj:1000/) printf "%s", text
            held = 0
        }
        held && /Out of memory and no killable processes/ {
            if (text !~ /oom_score_adj=-1000/ || text !~ /mem_cgroup_out_of_memory/)
                printf "%s", text
            held = 0
        }
        END { if (held) printf "%s", text }' "$1"
}

# Not grep -m 3: it would leave awk writing to nobody.
found=$(wanted_kills_out "$1" | grep -E "$TROUBLE" || true)
if [ -n "$found" ]; then
    printf '%s\n' "$found" | sed -n 1,3p
    exit 1
fi
