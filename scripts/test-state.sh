# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What "./run test --continue" knows of earlier runs.  Sourced by cmd-test.sh, after
# ensure.sh.
#
# build/stamp/passed has a line for each part: STATE NAME PASSED SKIPPED DATE.

# Of each file its mode, name and hash.  One that is gone, but not committed as such,
# is in git's list and has none.
# shellcheck disable=SC2016 # for sh -c
HASH_FILES='for f; do
        shift
        if [ -e "$f" ] || [ -h "$f" ]; then set -- "$@" "$f"; fi
    done
    [ $# -eq 0 ] || { stat -c "%A %n" -- "$@" && sha256sum -- "$@"; }'

# state_hash PART: of everything that its result depends on: the checkout with its
# edits, the sources that were given and the trees as they are, with commits and edits
# that are in no queue yet.  The long parts read no page of the documentation, but for
# the commands of the user guide, and most of them see of the patches only the trees that
# these make: words may be mended, and patches put in another order, between two runs of
# them.  The mutants are for the tests of mutants.
state_hash() {
    local part="$1" name
    set -- .
    case $part in
    test-mutants*)
        set -- . ':!docs' ':!README.md' ':!patches'
        ;;
    test-lab-* | test-bench | test-install | test-variants)
        set -- . ':!docs' ':!README.md' ':!patches' ':!tests/mutants'
        ;;
    test-maple | test-each-linux | test-each-qemu)
        set -- . ':!docs' ':!README.md' ':!tests/mutants'
        ;;
    esac
    {
        # Without git, or with what cannot be read, no two states are the same.
        git -C "$ROOT" ls-files -z -co --exclude-standard -- "$@" 2>/dev/null >"$BUILD/.files" || date '+%s %N'
        sort -z "$BUILD/.files" | (cd "$ROOT" && xargs -0 sh -c "$HASH_FILES" sh) || date '+%s %N'
        rm -f "$BUILD/.files"
        "$ROOT/tests/docs/guide.py" --commands || date '+%s %N'
        for name in qemu linux; do
            base_text "$name" || date '+%s %N'
            # The first parts are run before there are trees.
            [ ! -e "$BUILD/$name/.git" ] || (tree_hash "$name") || date '+%s %N'
        done
        # shellcheck disable=SC2154 # cmd-test.sh has it
        case $part in
        test-lab-*) printf '%s\n' "$stress" ;;
        esac
    } | hash_of
}

# known_state NAME STATE: "PASSED SKIPPED DATE" if it passed with the same files.
known_state() {
    [ ! -e "$BUILD/stamp/passed" ] || sed -n "s/^$2 $1 //p" "$BUILD/stamp/passed"
}

# note_state NAME STATE PASSED SKIPPED: it has passed now.
note_state() {
    local list="$BUILD/stamp/passed"
    mkdir -p "$BUILD/stamp"
    : >>"$list"
    awk -v name="$1" '$2 != name' "$list" >"$list.new"
    printf '%s %s %s %s %s\n' "$2" "$1" "$3" "$4" "$(date '+%F %R')" >>"$list.new"
    mv "$list.new" "$list"
}
