# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What "./run test --continue" knows of earlier runs.  Sourced by cmd-test.sh, after
# ensure.sh.
#
# build/stamp/passed has a line for each part: STATE NAME PASSED SKIPPED DATE.

# state_hash PART: of everything that its result depends on: the checkout with its
# edits, the sources that were given and the trees as they are, with commits and edits
# that are in no queue yet.  The long parts read no page of the documentation, but for
# the commands of the user guide, and most of them see of the patches only the trees that
# these make: words may be mended, and patches put in another order, between two runs of
# them.
state_hash() {
    local part="$1" name
    set -- .
    case $part in
    test-lab-* | test-bench | test-mutants* | test-install | test-variants)
        set -- . ':!docs' ':!README.md' ':!patches'
        ;;
    test-maple | test-each-linux | test-each-qemu)
        set -- . ':!docs' ':!README.md'
        ;;
    esac
    {
        # Without git no two states are the same.  A file that is gone is in the list
        # and has no line.
        git -C "$ROOT" ls-files -z -co --exclude-standard -- "$@" 2>/dev/null >"$BUILD/.files" || date
        sort -z "$BUILD/.files" | (cd "$ROOT" && xargs -0 sh -c 'stat -c "%A %n" -- "$@"; sha256sum -- "$@"' sh 2>/dev/null) || true
        rm -f "$BUILD/.files"
        [ ! -e "$ROOT/tests/docs/guide.py" ] || "$ROOT/tests/docs/guide.py" --commands
        for name in qemu linux; do
            base_text "$name"
            # The first parts are run before there are trees.
            [ ! -e "$BUILD/$name/.git" ] || tree_hash "$name"
        done
        # shellcheck disable=SC2154 # cmd-test.sh has it
        printf '%s\n' "$stress"
    } | hash_of
}

# known_state NAME STATE: "PASSED SKIPPED DATE" if it passed with the same files.
known_state() {
    sed -n "s/^$2 $1 //p" "$BUILD/stamp/passed" 2>/dev/null || true
}

# note_state NAME STATE PASSED SKIPPED: it has passed now.
note_state() {
    local list="$BUILD/stamp/passed"
    mkdir -p "$BUILD/stamp"
    # No list yet, or nothing else in it.
    { grep -v "^[^ ]* $1 " "$list" 2>/dev/null || true; } >"$list.new"
    printf '%s %s %s %s %s\n' "$2" "$1" "$3" "$4" "$(date '+%F %R')" >>"$list.new"
    mv "$list.new" "$list"
}
