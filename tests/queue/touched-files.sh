#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Description: docs/touched-files.rst names every file that a patch touches,
# with that patch's number, and nothing else; each row has the cells of a table
# with three columns.
set -eu
cd "$(dirname "$0")/../.."

doc=docs/touched-files.rst
n=0
failed=0

report() { # report PROBLEM NAME
    n=$((n + 1))
    if [ -z "$1" ]; then
        echo "ok $n - $2"
    else
        echo "not ok $n - $2"
        printf '%s\n' "$1" | sed 's/^/#   /'
        failed=1
    fi
}

# "FILE NUMBER" for each row of the section of one queue, numbers split
documented() {
    sed -n "/(patches\/$1)/,/^Linux/p" "$doc" |
        awk -F ' *[|] *' '/^   ``/ {
                 gsub(/[ `]/, "", $1)
                 count = split($2, number, /[-, ]+/)
                 for (i = 1; i <= count; i++) print $1, number[i]
             }' | sort -u
}

touched() {
    while read -r patch; do
        number=${patch%%-*}
        sed -n "s|^diff --git a/.* b/\(.*\)\$|\1 $number|p" \
            "patches/$1/$patch"
    done <"patches/$1/series" | sort -u
}

# Sphinx refuses a table in which a row is shorter or longer than the others, and
# takes a quote at the beginning of a cell away.
odd_rows() {
    awk -F '[|]' '/^   [^ :]/ && (NF != 3 || /[|] *"/) { print NR ": " $0 }' "$doc"
}

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for tree in qemu linux; do
    documented "$tree" >"$tmp/doc"
    touched "$tree" >"$tmp/real"
    report "$(comm -13 "$tmp/doc" "$tmp/real")" \
        "$doc has every file that patches/$tree touches"
    report "$(comm -23 "$tmp/doc" "$tmp/real")" \
        "$doc has no file that patches/$tree does not touch"
done
report "$(odd_rows)" "$doc has three cells in each row"
echo "1..$n"
exit "$failed"
