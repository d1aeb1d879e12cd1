# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# To be sourced in the emulated host: runs a qtest of QEMU.

# qtest NAME SECONDS [CASE...]: every case is a TAP line of its own.
#
# The tests skip what KVM cannot do.  Here it can do all, so a skip is a failure,
# but of the CASEs given, which are for other hosts.
qtest() {
    name=$1
    limit=$2
    shift 2
    log=/tmp/$name.log
    code=0
    QTEST_QEMU_BINARY=/lab/bin/qemu-system-x86_64 \
        timeout "$limit" "/lab/bin/$name" --tap -k >"$log" 2>&1 || code=$?
    sed "s/^/# $name: /" "$log"
    sed -n -E 's/^((not )?ok) [0-9]+ (- )?\/[^/]*\/(.*)/\1 \4/p' "$log" >"$log.cases"
    while read -r verdict text; do
        [ "$verdict" != not ] || { verdict='not ok' text=${text#ok }; }
        case $text in
        *'# SKIP'*)
            case " $* " in
            *" ${text%% *} "*) ;;
            *) verdict='not ok' text="${text%% *}: skipped, and it must run here: ${text#*# SKIP }" ;;
            esac
            ;;
        esac
        echo "$verdict 0 - qtest $text"
    done <"$log.cases"
    # A test that crashed, or was not done in time
    if [ "$code" -ne 0 ] && ! grep -q '^not ok' "$log"; then
        echo "not ok 0 - qtest $name: exit code $code"
    fi
}
