#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# lint.sh: shellcheck of every shell script of this repository, as TAP.
set -eu
. "$(dirname "$0")/lib.sh"

cd "$ROOT"
list=$(mktemp)
trap 'rm -f "$list"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
find . -name build -prune -o -name .git -prune -o -type f -size -256k -print >"$list"
sort -o "$list" "$list"
n=0
bad=0
while read -r f; do
    f=${f#./}
    # By name or by the first line: run and .ci/run have no suffix.
    case $f in
    *.sh) ;;
    *) [ -n "$(sed -n '1{/^#!.*sh$/p}' "$f" | tr -d '\0')" ] || continue ;;
    esac
    n=$((n + 1))
    if out=$(shellcheck -x "$f" 2>&1); then
        say "ok $n - shellcheck $f"
    else
        bad=1
        say "not ok $n - shellcheck $f"
        printf '%s\n' "$out" | sed 's/^/# /'
    fi
done <"$list"
say "1..$n"
exit $bad
