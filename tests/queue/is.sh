# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# TAP of a test in sh: sourced by it.  It ends with the plan "1..$N" and exit "$BAD".

N=0
BAD=0

is() { # is TITLE WANTED FOUND
    N=$((N + 1))
    if [ "$2" = "$3" ]; then
        echo "ok $N - $1"
    else
        # shellcheck disable=SC2034 # for who sources this
        BAD=1
        echo "not ok $N - $1"
        echo "#   wanted '$2', found '$3'"
    fi
}
