#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Description: "./run test --continue" takes a part as passed only with all the same
# files: for each kind of part, what makes it run again and what does not.
#
# On a checkout and two trees of a few files.  Prints TAP; needs git only.
set -eu

SRC=$(cd "$(dirname "$0")/../.." && pwd -P)
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

export ROOT="$WORK/repo" BUILD="$WORK/repo/build" QEMU_SRC='' LINUX_SRC=''
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
export GIT_AUTHOR_NAME=Tester GIT_AUTHOR_EMAIL=tester@example.org
export GIT_COMMITTER_NAME=Tester GIT_COMMITTER_EMAIL=tester@example.org

# shellcheck source=tests/queue/is.sh
. "$SRC/tests/queue/is.sh"

commit() { # commit DIR: all that is in it
    git -C "$1" init -q
    git -C "$1" add -A
    git -C "$1" commit -q -m "$1"
}

mkdir -p "$ROOT/docs" "$ROOT/patches/qemu" "$ROOT/tests/mutants" "$BUILD/qemu" "$BUILD/linux"
cp -r "$SRC/scripts" "$SRC/BASE" "$ROOT/"
cp -r "$SRC/tests/docs" "$ROOT/tests/"
printf 'Words::\n\n  cat this\n' >"$ROOT/docs/user-guide.rst"
echo /build/ >"$ROOT/.gitignore"
for f in README.md docs/a.rst patches/qemu/0001-a.patch tests/a.sh tests/mutants/a.patch; do
    echo "$f" >"$ROOT/$f"
done
commit "$ROOT"
for tree in qemu linux; do
    echo a >"$BUILD/$tree/a.c"
    commit "$BUILD/$tree"
done

# shellcheck source=scripts/lib.sh
. "$ROOT/scripts/lib.sh"
# shellcheck source=scripts/ensure.sh
. "$ROOT/scripts/ensure.sh"
# shellcheck source=scripts/test-state.sh
. "$ROOT/scripts/test-state.sh"
stress=600

# again: the kinds of parts that are not known any more: those that read all files,
# those that build each patch, those that run what the trees make, those of mutants.
again() {
    local part seen=
    for part in $all; do
        [ -n "$(known_state "$part" "$(state_hash "$part")")" ] || seen="$seen $part"
    done
    echo "${seen# }"
}

all="test-lint test-each-qemu test-lab-full test-mutants-lab"
is "nothing is known of what was never run" "$all" "$(again)"
for part in $all; do
    note_state "$part" "$(state_hash "$part")" 7 2
done
is "what passed is known" "" "$(again)"
is "... with its numbers" "7 2" "$(known_state test-lint "$(state_hash test-lint)" | cut -d' ' -f1,2)"

# changed TITLE WANTED DIR FILE: what is run again after an edit, and once it is committed
changed() {
    local title="$1" wanted="$2" dir="$3" file="$4" head
    head=$(git -C "$dir" rev-parse HEAD)
    echo more >>"$dir/$file"
    is "$title" "$wanted" "$(again)"
    git -C "$dir" add "$file"
    git -C "$dir" commit -q -m more
    is "... committed" "$wanted" "$(again)"
    git -C "$dir" reset -q --hard "$head"
    is "... taken back" "" "$(again)"
}

changed "a test" "$all" "$ROOT" tests/a.sh
changed "a new file" "$all" "$ROOT" tests/b.sh
changed "a page of the documentation" test-lint "$ROOT" docs/a.rst
changed "the user guide" test-lint "$ROOT" docs/user-guide.rst
changed "README" test-lint "$ROOT" README.md
changed "a patch that makes the same tree" "test-lint test-each-qemu" "$ROOT" patches/qemu/0001-a.patch
changed "a mutant" "test-lint test-mutants-lab" "$ROOT" tests/mutants/a.patch
changed "the tree of QEMU" "$all" "$BUILD/qemu" a.c
changed "the tree of Linux" "$all" "$BUILD/linux" a.c

echo '  cat that' >>"$ROOT/docs/user-guide.rst"
is "a command of the user guide" "$all" "$(again)"
git -C "$ROOT" checkout -q docs
rm "$ROOT/tests/a.sh"
is "a file that is gone" "$all" "$(again)"
git -C "$ROOT" checkout -q tests/a.sh
ln -s nowhere "$ROOT/tests/d.sh"
for part in $all; do
    note_state "$part" "$(state_hash "$part" 2>/dev/null)" 7 2
done
is "a file that cannot be read: never" "$all" "$(again 2>/dev/null)"
rm "$ROOT/tests/d.sh"
for part in $all; do
    note_state "$part" "$(state_hash "$part")" 7 2
done
chmod +x "$ROOT/tests/a.sh"
is "a file that can be run now" "$all" "$(again)"
chmod -x "$ROOT/tests/a.sh"
echo new >"$ROOT/tests/c.sh"
note_state test-lint "$(state_hash test-lint)" 7 2
commit "$ROOT"
is "a commit of what was tested changes nothing" "test-each-qemu test-lab-full test-mutants-lab" "$(again)"
git -C "$ROOT" reset -q --hard HEAD^
note_state test-lint "$(state_hash test-lint)" 7 2
: >"$WORK/given"
QEMU_SRC=$WORK/given
is "a source that is given" "$all" "$(again)"
QEMU_SRC=
stress=60
is "a stress test of another length" test-lab-full "$(again)"
stress=600

note_state test-lint "$(state_hash test-lint)" 8 0
is "a part has one line" 4 "$(grep -c . "$BUILD/stamp/passed")"
is "... the last one" "8 0" "$(known_state test-lint "$(state_hash test-lint)" | cut -d' ' -f1,2)"
rm -rf "$ROOT/.git"
one=$(state_hash test-lint)
sleep 1
is "without git no state is known" different "$([ "$one" = "$(state_hash test-lint)" ] || echo different)"

echo "1..$N"
exit "$BAD"
