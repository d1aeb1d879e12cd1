# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# "lab.sh test": the rounds, each a boot of one kernel; TAP, a summary and the
# table of kernel selftests.  Sourced by lab.sh.
#
# The modes of the table, and their names in it:
#   on      our series, KVM_VM_MEMORY_ATTRIBUTES=y, parameter on
#   off     the same kernel, parameter off
#   n       KVM_VM_MEMORY_ATTRIBUTES=n: always in place
#   debug   as on, in the debug kernel

PASSED=0 FAILED=0 SKIPPED=0 NUMBER=0
MATRIX=$LOGS/selftest-matrix.txt
COST=$LOGS/conversion-cost.txt
ROWS=$LOGS/.selftest-rows
MODES=''

# result ok|fail TITLE...; result skip TITLE REASON
result() {
    local verdict="$1"
    shift
    NUMBER=$((NUMBER + 1))
    case $verdict in
    ok) PASSED=$((PASSED + 1)); echo "ok $NUMBER - $*" ;;
    skip) SKIPPED=$((SKIPPED + 1)); echo "ok $NUMBER - $1 # SKIP $2" ;;
    *) FAILED=$((FAILED + 1)); echo "not ok $NUMBER - $*" ;;
    esac
}

# take LOG CODE: the results of one boot; what was expected but did not come
# (boot failed half way) is a failure too.
take() {
    local log="$1" code="$2" out="$LOGS/$1.out" seen=0 line text file
    while IFS= read -r line; do
        case $line in
        'ok '* | 'not ok '*) ;;
        *) continue ;;
        esac
        seen=$((seen + 1))
        text=${line#*" - "}
        case $line in
        'not ok '*) result fail "$text" ;;
        *' # SKIP'*) result skip "${text%% # SKIP*}" "${text#* # SKIP}" ;;
        *) result ok "$text" ;;
        esac
    done <"$out"
    if [ "$code" -ge 100 ]; then
        result fail "$log: the emulated host failed with code $code; see build/log/$log.console"
        # Where nobody can look at the logs afterwards.
        for file in "$LOGS/$log.hang" "$LOGS/$log.console"; do
            [ ! -s "$file" ] || tail -n 60 "$file" | tr -d '\r' | sed 's/^/# /'
        done
    elif [ "$code" -ne 0 ] && ! grep -q '^not ok' "$out"; then
        result fail "$log: exit code $code; see build/log/$log.out"
    elif [ "$seen" -eq 0 ]; then
        result fail "$log: no result at all; see build/log/$log.out"
    fi
}

# round LOG TITLE KERNEL LIMIT ARGUMENTS COMMAND [l1.sh option...]
round() {
    local log="$1" title="$2" kernel="$3" limit="$4" arguments="$5" command="$6" code=0
    shift 6
    if [ ! -f "$kernel" ]; then
        result fail "$title: there is no kernel at \"$kernel\""
        return
    fi
    say_to_user "lab: $(elapsed) $title"
    BOOT_KERNEL=$kernel boot "$log" "$limit" "$arguments" "$command" --quiet "$@" || code=$?
    take "$log" "$code"
}

# --- kernel selftests -------------------------------------------------------

# selftest_list: lines "NAME OWNER RUNS"
selftest_list() { sed -n 's|^\([^# ]*/\)\{0,1\}\([^# /][^ /]*\) *|\2 |p' "$LAB/selftests.list"; }

# selftest_commands MODE: what is to be run in the emulated host.
selftest_commands() {
    local name seconds arguments
    echo '. /lab/selftest.sh'
    selftest_list | while read -r name _; do
        seconds=300 arguments=''
        case $1 in
        debug) seconds=900 ;;
        esac
        case $1:$name in
        # 64 MiB: the debug kernel takes ten times as long.
        debug:guest_memfd_attr_store_test) arguments='-p 16384' seconds=3600 ;;
        *:guest_memfd_attr_store_test) seconds=900 ;;
        debug:guest_memfd_stress_test)
            arguments="-d $STRESS"
            seconds=$((STRESS + 300))
            ;;
        *:guest_memfd_stress_test) arguments='-d 20' ;;
        esac
        echo "selftest $name $seconds $arguments"
    done
    [ "$1" != debug ] || echo debug_end
}

# must_run RUNS MODE
must_run() {
    case $1:$2 in
    all:* | per-vm:off | in-place:on | in-place:n | in-place:debug) return 0 ;;
    esac
    return 1
}

# judge_one MODE LOG ROW NAME OWNER RUNS: one row of the table, and failures of
# what no TAP line of the test itself tells: that it is not there, that it skipped
# where it must not, that it never came to an end.
judge_one() {
    local mode="$1" log="$2" row="$3" name="$4" owner="$5" runs="$6" verdict took note
    read -r verdict took note <<INNER
$(sed -n "s/^# verdict $name //p" "$LOGS/$log.out" 2>/dev/null | tail -n 1)
INNER
    case $verdict:$owner in
    '':*)
        verdict=fail took=0 note="no result; see build/log/$log.out"
        result fail "selftest $row ($mode): $note"
        ;;
    missing:ours)
        verdict=fail
        result fail "selftest $row ($mode): $note, and it is ours"
        ;;
    missing:*)
        verdict=skip
        result skip "selftest $row ($mode)" "$note"
        ;;
    skip:*)
        if must_run "$runs" "$mode"; then
            verdict=fail note="skipped, and it must run here: $note"
            result fail "selftest $row ($mode): $note"
        fi
        ;;
    esac
    printf '%s\t%s\t%s\t%s\t%s\n' "$row" "$mode" "$verdict" "$took" "$note" >>"$ROWS"
}

# judge MODE LOG: a row for each selftest
judge() {
    local mode="$1" log="$2" name owner runs
    MODES="$MODES $mode"
    while read -r name owner runs; do
        judge_one "$mode" "$log" "$name" "$name" "$owner" "$runs"
    done <<OUTER
$(selftest_list)
OUTER
}

# The table, then the notes that its cells point to.
matrix() {
    awk -F'\t' -v modes="$MODES" '
        BEGIN {
            n = split(modes, mode, " ")
            head["on"] = "=y on"; head["off"] = "=y off"
            head["n"] = "=n"; head["debug"] = "debug, =y on"
        }
        !($1 in seen) { seen[$1] = 1; name[++rows] = $1 }
        {
            cell[$1, $2] = $3 ($4 > 0 ? " " $4 " s" : "")
            if ($5 != "") {
                cell[$1, $2] = cell[$1, $2] " [" ++notes "]"
                note[notes] = $1 ", " head[$2] ": " $5
            }
        }
        END {
            printf "%-30s", "selftest"
            for (i = 1; i <= n; i++) printf "  %-16s", head[mode[i]]
            print ""
            for (r = 1; r <= rows; r++) {
                printf "%-30s", name[r]
                for (i = 1; i <= n; i++) printf "  %-16s", cell[name[r], mode[i]]
                print ""
            }
            for (i = 1; i <= notes; i++) print "[" i "] " note[i]
        }' "$ROWS" | sed 's/ *$//'
}

# --- the rounds -------------------------------------------------------------

# Of the tests of QEMU's own suite.  The case is for a KVM without this VM type.
QTESTS_HERE='. /lab/qtest.sh
qtest guest-memfd-test 300 guest-memfd/kvm/no-vm-type'

# qemu_commands OPTIONS: QEMU's tests and our scenarios, those of the user guide
# among them, but not if only the kernel is under test.
qemu_commands() {
    [ "$ROUNDS" != linux ] || return 0
    printf '%s\n%s\ngmem-lab %s %s run scenarios/*.scn\n' "$QTESTS_HERE" \
        'personality-test /lab/bin/personality.so' "$SETS" "$1"
}

# shellcheck disable=SC2153 # KERNEL comes from lab.sh
round_on() {
    round lab-on "parameter on: $CONTENTS" "$KERNEL" "$ROUND_ON" "$PARAMETER=1" \
        "emulator 5
sh scenarios/guide.sh Y
$(selftest_commands on)
$(qemu_commands "--kernel ours --parameter on")"
    judge on lab-on
}

round_off() {
    round lab-off "parameter off: $CONTENTS" "$KERNEL" 1800 "$PARAMETER=0" \
        "sh scenarios/guide.sh N
$(selftest_commands off)
$(qemu_commands "--kernel ours --parameter off")"
    judge off lab-off
}

# What guest_memfd_perf_test measured in the two rounds.
conversion_cost() {
    local out
    if out=$("$ROOT/scripts/conversion-cost.py" "$LOGS/lab-on.out" "$LOGS/lab-off.out" 2>&1); then
        printf '%s\n' "$out" >"$COST"
        result ok "what a conversion costs, in both modes"
        printf '%s\n' "$out" | sed 's/^/# /'
    else
        result fail "what a conversion costs, in both modes: $out"
    fi
}

# The parameter is not there: nothing to set.  The soak had its time already.
round_noattr() {
    round lab-noattr "without per-VM attributes: $CONTENTS" "$KERNEL_NOATTR" 9000 '' \
        "sh scenarios/guide.sh 'no such file'
$(selftest_commands n)
$(qemu_commands "--param seconds=60 --kernel ours --parameter on")"
    judge n lab-noattr
}

# All 4194304 pages of 16 GiB keep one processor busy for 18 minutes or more.  So
# they have an emulated host of their own, beside the other rounds, where things are to
# happen in time.
STORE=guest_memfd_attr_store_test
STORE_PID=''
store_start() {
    if [ -f "$KERNEL_NOATTR" ]; then
        say_to_user "lab: $(elapsed) 4194304 pages in the attribute store, beside what follows"
        # Not by boot: the process that is to be stopped is this one.
        nice -n 19 "$LAB/l1.sh" --kernel "$KERNEL_NOATTR" --initrd "$INITRD" --log lab-store \
            --limit 14400 --quiet ". /lab/selftest.sh
selftest $STORE 14000 -l" &
        STORE_PID=$!
        # It may have ended by itself; then there is nothing to stop.
        trap '[ -z "$STORE_PID" ] || kill "$STORE_PID" 2>/dev/null || true' EXIT
        trap 'exit 130' INT
    fi
}

store_end() {
    local code=0
    if [ -z "$STORE_PID" ]; then
        result fail "$STORE -l: there is no kernel at \"$KERNEL_NOATTR\""
        return
    fi
    wait "$STORE_PID" || code=$?
    STORE_PID=''
    take lab-store "$code"
    judge_one n lab-store "$STORE -l" "$STORE" ours in-place
}

# KASAN's shadow takes an eighth of the memory, and what is freed is kept back.
# The log must hold everything that is said until the end.
round_debug() {
    round lab-debug "debug kernel: selftests, stress for $STRESS s" "$KERNEL_DEBUG" $((STRESS + 6000)) \
        "$PARAMETER=1 log_buf_len=4M" "$(selftest_commands debug)" --memory 6G
    judge debug lab-debug
}

round_base() {
    round lab-base "unpatched kernel: qtest and scenarios" "$KERNEL_BASE" 900 '' \
        "$(qemu_commands "--set full --kernel base")"
}

# plain_traces QEMU FOLDER: the logs of the trace scenarios, as kvm-trace.py reads
# them.
plain_traces() {
    # shellcheck disable=SC2016 # for the shell in the emulated host
    printf 'for f in %s/trace-*.kvm %s/trace-*.calls; do sed "s|^|#trace %s ${f##*/} |" "$f"; done\n' \
        "$2" "$2" "$1"
}

# Our QEMU and the one that it extends: the same calls to KVM?  The other one is a
# file that only this boot has: no other round needs it.
round_plain() {
    local out line title="unpatched kernel: the calls to KVM are those of plain QEMU"
    if [ ! -f "$QEMU_BASE" ]; then
        result fail "$title: there is no QEMU at \"$QEMU_BASE\""
        return
    fi
    strip -o "$BUILD/lab/qemu-base" "$QEMU_BASE"
    round lab-plain "$title" "$KERNEL_BASE" 1200 '' "mkdir /tmp/base /tmp/ours
gmem-lab --work /tmp/ours run scenarios/trace-*.scn
gmem-lab --work /tmp/base --qemu /lab/files/qemu-base run scenarios/trace-*.scn
$(plain_traces ours /tmp/ours)
$(plain_traces base /tmp/base)" --file "$BUILD/lab/qemu-base"
    # Its code says what its lines say; no line at all is a failure, too.
    out=$("$LAB/kvm-trace.py" "$LOGS/lab-plain.out" trace-plain trace-snp trace-tdx) || true
    while IFS= read -r line; do
        case $line in
        'ok '*) result ok "${line#*" - "}" ;;
        'not ok '*) result fail "${line#*" - "}" ;;
        '#'*) printf '%s\n' "$line" ;;
        esac
    done <<INNER
${out:-not ok 1 - kvm-trace.py says nothing}
INNER
}

round_libvirt() {
    if ! build_libvirt >"$LOGS/lab-libvirt-root.log" 2>&1; then
        result fail "libvirt: $(tail -n 1 "$LOGS/lab-libvirt-root.log")"
        return
    fi
    round lab-libvirt "libvirt: domains, command lines" "$KERNEL" 1800 "$PARAMETER=1" \
        "sh libvirt/run.sh" --archive "$LIBVIRT"
}

# test_libvirt: only this round
test_libvirt() {
    mkdir -p "$LOGS"
    round_libvirt
    echo "1..$NUMBER"
    [ "$FAILED" -eq 0 ]
}

# What the kernel reports fails a round, even if the command is content and the
# report has not the level for the console.
round_report() {
    local code=0
    say_to_user "lab: $(elapsed) a kernel report is noticed"
    BOOT_KERNEL=$KERNEL boot lab-report 120 '' \
        'echo "<6>BUG: KASAN: made up by the lab" >/dev/kmsg' --quiet 2>/dev/null || code=$?
    if [ "$code" -eq 104 ]; then
        result ok "a kernel report makes a round fail"
    else
        result fail "a kernel report makes a round fail: l1.sh ended with $code, not 104"
    fi
}

# An emulated host that is not done in time leaves behind where it was.
round_hang() {
    local code=0 hang="$LOGS/lab-hang.hang"
    say_to_user "lab: $(elapsed) a hang is looked into"
    BOOT_KERNEL=$KERNEL boot lab-hang 10 '' 'while :; do :; done' --quiet 2>/dev/null || code=$?
    if [ "$code" -eq 101 ] && grep -q '^CPU 1: RIP' "$hang" &&
        grep -q 'task:sh ' "$LOGS/lab-hang.console"; then
        result ok "a hang leaves registers and tasks behind"
    else
        result fail "a hang leaves registers and tasks behind: code $code, see build/log/lab-hang.*"
    fi
}

# test_all core|full|linux|noattr|base|plain|debug
test_all() {
    say_to_user "lab: results follow each boot of the emulated host; logs are build/log/lab-*.out"
    # All scenarios: the soak alone takes a quarter of an hour.
    ROUNDS=$1 SETS='' ROUND_ON=7200 CONTENTS='selftests, qtest and scenarios'
    [ "$1" = full ] || SETS='--set core' ROUND_ON=1800
    case $1 in
    linux | noattr) CONTENTS=selftests ROUNDS=linux ;;
    esac
    mkdir -p "$LOGS"
    : >"$ROWS"
    rm -f "$MATRIX"
    case $1 in
    full | linux) store_start ;;
    esac
    case $1 in
    debug | noattr | base | plain) "round_$1" ;;
    *)
        round_report
        round_on
        round_off
        ;;
    esac
    case $1 in
    full)
        round_hang
        round_noattr
        round_base
        round_libvirt
        round_plain
        round_debug
        store_end
        ;;
    linux)
        round_noattr
        round_debug
        store_end
        ;;
    esac
    case $1 in
    debug | noattr | base | plain) ;;
    *) conversion_cost ;;
    esac
    echo "1..$NUMBER"
    matrix >"$MATRIX.new"
    mv "$MATRIX.new" "$MATRIX"
    rm -f "$ROWS"
    sed 's/^/# /' "$MATRIX"
    say_to_user "lab: $(elapsed) done"
    echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"
    [ "$FAILED" -eq 0 ]
}
