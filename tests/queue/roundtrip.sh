#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Description: the queue tooling on a tiny tree and queue of its own.
#
# Nothing may get lost between patches, branch, edits and overlay files, and
# "check" must find what is wrong.  Prints TAP; needs git only, takes seconds.
set -eu

SRC=$(cd "$(dirname "$0")/../.." && pwd -P)
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

export ROOT="$WORK/repo" BUILD="$WORK/repo/build"
export QUEUE_DIR="$ROOT/patches/qemu" TREE_DIR="$BUILD/qemu" OVERLAY_ROOT="$ROOT"
export OVERLAY_DIRS="accel" CHECKPATCH=no
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
export GIT_AUTHOR_NAME=Tester GIT_AUTHOR_EMAIL=tester@example.org
export GIT_COMMITTER_NAME=Tester GIT_COMMITTER_EMAIL=tester@example.org

N=0
BAD=0
OUT=

ok() {
    N=$((N + 1))
    printf 'ok %d - %s\n' "$N" "$1"
}

not_ok() {
    N=$((N + 1))
    BAD=$((BAD + 1))
    printf 'not ok %d - %s\n' "$N" "$1"
    printf '%s\n' "$OUT" | head -n 20 | sed 's/^/#   /'
}

# is TITLE COMMAND...: COMMAND succeeds.  isnt: it fails.
is() {
    local title="$1"
    shift
    if OUT=$("$@" 2>&1); then ok "$title"; else not_ok "$title"; fi
}
isnt() {
    local title="$1"
    shift
    if OUT=$("$@" 2>&1); then not_ok "$title"; else ok "$title"; fi
}

# says TITLE WORDS COMMAND...: COMMAND fails and its output has WORDS.
says() {
    local title="$1" words="$2"
    shift 2
    if OUT=$("$@" 2>&1); then
        not_ok "$title (it succeeded)"
        return
    fi
    case $OUT in
    *"$words"*) ok "$title" ;;
    *) not_ok "$title" ;;
    esac
}

queue() {
    local verb="$1"
    shift
    "$ROOT/scripts/queue.sh" "$verb" qemu "$@"
}

tgit() { git -C "$TREE_DIR" "$@"; }
tree() { tgit rev-parse 'HEAD^{tree}'; }
queue_sum() { (cd "$QUEUE_DIR" && sha256sum -- * | sha256sum); }

same() { [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; false; }; }

told() { # told LINE: the command before had this line (a regex) in its output
    printf '%s\n' "$OUT" | grep -x -- "$1" || { printf '%s\n' "$OUT"; false; }
}

commit() { # commit MESSAGE: all changes, with the trailers a patch needs
    tgit commit -q -a -m "$1" -m "Why it is so." -m "${2:+Overlay: $2
}Upstream: N/A (test)
Signed-off-by: Tester <tester@example.org>"
}

lines() { seq -f "$1 line %g" 1 40; }

# A tree of three files, and Debian's patch on one of them.
make_tree() {
    mkdir -p "$ROOT" "$TREE_DIR/accel/kvm" "$QUEUE_DIR"
    cp -r "$SRC/scripts" "$ROOT/"
    lines alpha >"$TREE_DIR/alpha.c"
    lines beta >"$TREE_DIR/beta.c"
    lines kvm >"$TREE_DIR/accel/kvm/kvm-all.c"
    tgit init -q -b gmem-base-import
    tgit add -A
    tgit commit -q -m base
    tgit tag gmem-base
    sed -i 's/beta line 40/beta line 40, of the distribution/' "$TREE_DIR/beta.c"
    tgit commit -q -a -m distro
    tgit tag gmem-distro
    tgit checkout -q -b gmem-queue
    : >"$QUEUE_DIR/series"
    mkdir -p "$ROOT/accel/kvm"
}

make_queue() {
    queue apply >/dev/null || return
    sed -i 's/^alpha line 5$/alpha hook 5/' "$TREE_DIR/alpha.c"
    commit "alpha: Hook the fifth line"
    echo "/* gmem */" >"$ROOT/accel/kvm/gmem.c"
    sed -i 's/^kvm line 20$/kvm hook 20/' "$TREE_DIR/accel/kvm/kvm-all.c"
    commit "accel/kvm: Call gmem" accel/kvm/gmem.c
    sed -i 's/^alpha line 30$/alpha hook 30/' "$TREE_DIR/alpha.c"
    commit "alpha: Hook the thirtieth line"
    queue refresh
}

# --- apply and refresh ----------------------------------------------------------

make_tree
is "refresh makes a queue of commits" make_queue
is "three patches, numbered" same "$(tr '\n' ' ' <"$QUEUE_DIR/series")" \
    "0001-alpha-Hook-the-fifth-line.patch 0002-accel-kvm-Call-gmem.patch 0003-alpha-Hook-the-thirtieth-line.patch "
is "the overlay file is a link in the tree" test -L "$TREE_DIR/accel/kvm/gmem.c"
is "the link leads to the file in the repository" same "$(realpath "$TREE_DIR/accel/kvm/gmem.c")" "$(realpath "$ROOT/accel/kvm/gmem.c")"
is "git does not see the overlay file" same "$(tgit status --porcelain)" ""
is "check finds nothing wrong" queue check

before=$(queue_sum)
is "refresh without a change" queue refresh
is "... leaves the same bytes" same "$(queue_sum)" "$before"

want=$(tree)
stamp=$(stat -c %Y.%i "$TREE_DIR/alpha.c")
tgit update-ref -d refs/gmem/applied
tgit reset -q --hard gmem-distro
is "apply on the bare base" queue apply
is "... gives the same tree" same "$(tree)" "$want"
commit_id=$(tgit rev-parse HEAD)
stamp=$(stat -c %Y.%i "$TREE_DIR/alpha.c")
is "apply once more" queue apply
is "... gives the same commit" same "$(tgit rev-parse HEAD)" "$commit_id"
is "... touches no file" same "$(stat -c %Y.%i "$TREE_DIR/alpha.c")" "$stamp"

# --- edits -------------------------------------------------------------------------

echo "/* edited through the tree */" >>"$TREE_DIR/accel/kvm/gmem.c"
is "an edit of the overlay in the tree is one in the repository" grep -q "through the tree" "$ROOT/accel/kvm/gmem.c"
sed -i 's/^alpha line 6$/alpha edited 6/' "$TREE_DIR/alpha.c"
says "apply refuses to lose an uncommitted edit" "not in the queue" queue apply
says "refresh asks where an uncommitted edit belongs" "--into" queue refresh
stamp=$(stat -c %Y.%i "$TREE_DIR/alpha.c")
is "refresh --into puts it into a patch" queue refresh --into 0001
is "... that patch" grep -q '^+alpha edited 6' "$QUEUE_DIR/0001-alpha-Hook-the-fifth-line.patch"
is "... and touches no file" same "$(stat -c %Y.%i "$TREE_DIR/alpha.c")" "$stamp"
is "... without a commit more" same "$(tgit rev-list --count gmem-distro..HEAD)" 3
is "... and check is content" queue check

sed -i 's/^beta line 10$/beta fixed 10/' "$TREE_DIR/beta.c"
commit "beta: Change a line"
says "apply refuses to lose a commit" "not in the queue" queue apply
is "refresh takes a new commit" queue refresh
is "... as the next number" test -f "$QUEUE_DIR/0004-beta-Change-a-line.patch"
sed -i 's/^kvm line 21$/kvm fixup 21/' "$TREE_DIR/accel/kvm/kvm-all.c"
tgit commit -q -a -m "fixup! accel/kvm: Call gmem"
is "refresh folds a fixup commit" queue refresh
is "... into its patch" grep -q '^+kvm fixup 21' "$QUEUE_DIR/0002-accel-kvm-Call-gmem.patch"
tgit commit -q --amend -m "beta: Change one line" -m "Upstream: N/A (test)
Signed-off-by: Tester <tester@example.org>"
is "refresh takes a new subject" queue refresh
is "... under the old number" same "$(tail -n 1 "$QUEUE_DIR/series")" 0004-beta-Change-one-line.patch
is "... and drops the old file" test ! -e "$QUEUE_DIR/0004-beta-Change-a-line.patch"

want=$(tree)
before=$(queue_sum)
rm -rf "$TREE_DIR/.git/gmem"
find "$TREE_DIR" -type l -delete
tgit update-ref -d refs/gmem/applied
tgit reset -q --hard gmem-distro
is "apply, edit, refresh, apply again" queue apply
is "... gives the edited tree" same "$(tree)" "$want"
is "... with the overlay's edit" grep -q "through the tree" "$TREE_DIR/accel/kvm/gmem.c"
is "... and refresh the same queue" queue refresh
is "... byte for byte" same "$(queue_sum)" "$before"

# Gaps in the numbers are kept: 09xx are the lab's own.
(cd "$QUEUE_DIR" && mv 0004-beta-Change-one-line.patch 0901-beta-Change-one-line.patch)
sed -i 's/^0004-/0901-/' "$QUEUE_DIR/series"
is "a patch renamed to 09xx applies" queue apply
is "... and keeps its number" queue refresh
is "... in the series" same "$(tail -n 1 "$QUEUE_DIR/series")" 0901-beta-Change-one-line.patch

# sed -i tears the link: the edit must not be lost.
sed -i 's/gmem/gmem, torn/' "$TREE_DIR/accel/kvm/gmem.c"
says "apply refuses to lose an edit behind a torn link" "not in the queue" queue apply
is "refresh takes it over" queue refresh
is "... into the repository" grep -q "torn" "$ROOT/accel/kvm/gmem.c"
is "... and mends the link" test -L "$TREE_DIR/accel/kvm/gmem.c"

echo "alpha dropped" >>"$TREE_DIR/alpha.c"
is "apply --discard drops an edit" queue apply --discard
is "... but keeps it on a branch" tgit grep -q "alpha dropped" gmem-discarded
is "... and not in the tree" same "$(tgit status --porcelain)" ""

# Both sides changed.
cp -r "$QUEUE_DIR" "$WORK/saved"
sed -i 's/Why it is so\./Why it is otherwise./' "$QUEUE_DIR/0001-alpha-Hook-the-fifth-line.patch"
says "refresh does not undo an edit of a patch file" "changed since it was applied" queue refresh
sed -i 's/^beta line 1$/beta both 1/' "$TREE_DIR/beta.c"
tgit commit -q -a -m "beta: Both"
says "refresh refuses if both sides changed" "both changed" queue refresh
tgit reset -q --hard HEAD^
is "apply takes the edited patch file" queue apply
is "... with its message" sh -c "git -C '$TREE_DIR' log | grep -q otherwise"

# --- check -------------------------------------------------------------------------

broken() { # broken TITLE WORDS SED-SCRIPT FILE: check must say WORDS
    cp -r "$QUEUE_DIR" "$WORK/whole"
    sed -i "$3" "$QUEUE_DIR/$4"
    says "check finds $1" "$2" queue check
    rm -rf "$QUEUE_DIR"
    mv "$WORK/whole" "$QUEUE_DIR"
}

broken "a hunk that needs fuzz" "does not apply" 's/^ alpha line 4$/ alpha line four/' 0001-alpha-Hook-the-fifth-line.patch
broken "a hunk at another line" "not ok" 's/^@@ -2,/@@ -9,/' 0001-alpha-Hook-the-fifth-line.patch
broken "something behind the patch" "not ok" "\$a left over" 0001-alpha-Hook-the-fifth-line.patch
broken "a missing Upstream" "no 'Upstream:'" '/^Upstream:/d' 0001-alpha-Hook-the-fifth-line.patch
broken "a sign-off by somebody else" "whom it is from" 's/^\(Signed-off-by: \).*/\1Other <other@example.org>/' 0001-alpha-Hook-the-fifth-line.patch
broken "a missing sign-off" "no 'Signed-off-by:'" '/^Signed-off-by:/d' 0001-alpha-Hook-the-fifth-line.patch
broken "a bad subject" "not 'area:" 's/^Subject: .*/Subject: [PATCH] Hook/' 0001-alpha-Hook-the-fifth-line.patch
broken "an overlay file that is not named" "named by no patch" '/^Overlay:/d' 0002-accel-kvm-Call-gmem.patch
broken "an overlay file that is named twice" "named by 2 patches" 's/^\(Overlay: .*\)/\1\n\1/' 0002-accel-kvm-Call-gmem.patch
broken "an overlay file that does not exist" "there is no such file" 's/^Overlay: .*/&\nOverlay: accel\/kvm\/gone.c/' 0002-accel-kvm-Call-gmem.patch
broken "a wrong order" "each used once" '1{h;d};2{G}' series
broken "a patch that is not listed" "is not in series" '/^0901/d' series
broken "a patch that is missing" "there is no such file" "\$a 0902-gone.patch" series
mv "$QUEUE_DIR" "$WORK/away"
says "a missing queue folder is an error" "there is no queue" queue check
says "... for apply, too" "there is no queue" queue apply
mv "$WORK/away" "$QUEUE_DIR"
is "check is content again" queue check
is "... and says that it did without checkpatch" told 'ok [0-9]* - qemu queue: checkpatch # SKIP CHECKPATCH=no'
is "check of a tree without checkpatch.pl" env CHECKPATCH= "$ROOT/scripts/queue.sh" check qemu
is "... says so" told 'ok [0-9]* - qemu queue: checkpatch # SKIP there is no build/qemu/scripts/checkpatch.pl'

# Plays the tree's checker, which has rules by path: it wants the one in the tree.
mkdir -p "$TREE_DIR/scripts"
cat >"$TREE_DIR/scripts/checkpatch.pl" <<'PL'
my ($f, $path) = @ARGV[-2, -1];
print "ERROR: what is $path?\n" if $f eq "-f" && $path ne "accel/kvm/gmem.c";
print "ERROR: no $path\n" if ! -f $path;
print "WARNING: found\n" if $ENV{FINDS} && $path =~ $ENV{FINDS};
print "total: 0 errors\n";
PL
rm "$TREE_DIR/accel/kvm/gmem.c"
style() { FINDS="$1" CHECKPATCH='' queue check; }
is "checkpatch sees an overlay file at its path, in a tree without it" style ''
is "... all patches and the file" same "$(printf '%s\n' "$OUT" | grep -c 'checkpatch')" 5
says "check finds what it warns of in a file" "not ok 11 - qemu queue: checkpatch accel/kvm/gmem.c" style 'gmem\.c'
says "... and in a patch" "not ok 7 - qemu queue: checkpatch 0001-" style '/0001-'
rm -r "$TREE_DIR/scripts"
queue apply >/dev/null

letter() { # letter SUBJECT TEXT: the queue's cover letter
    printf 'From: Tester <tester@example.org>\nSubject: [PATCH 0/3] %s\n\n%s\n---\n alpha.c | 2 +-\n' "$1" "$2" \
        >"$QUEUE_DIR/0000-cover-letter.patch"
}
letter "gmem: Test all of it" "Why it is so."
is "check takes a cover letter that series does not name" queue check
cp "$QUEUE_DIR/0000-cover-letter.patch" "$QUEUE_DIR/0000-cover.patch"
says "check takes no other name for it" "0000-cover.patch is not in series" queue check
rm "$QUEUE_DIR/0000-cover.patch"
letter "Test all of it" "Why it is so."
says "check finds a bad subject of the letter" "the subject is not 'area:" queue check
letter "gmem: Test all of it" ""
says "check finds a letter without text" "no text below" queue check
letter "gmem: Test all of it" "Why it is so."
sed -i '/^From:/d' "$QUEUE_DIR/0000-cover-letter.patch"
says "check finds a letter of nobody" "no 'From:'" queue check
letter "gmem: Test all of it" "*** BLURB HERE ***"
says "check finds an empty form" "an empty form" queue check
letter "gmem: Test all of it" "Why it is so."
is "refresh leaves the letter alone" queue refresh
is "... where it was" test -f "$QUEUE_DIR/0000-cover-letter.patch"

# --- export ------------------------------------------------------------------------

is "export" queue export
is "... leaves the lab's patches out" same "$(find "$BUILD/export/qemu" -type f | wc -l)" 3
is "... has the overlay file in its patch" grep -q '^+/\* gmem, torn \*/' "$BUILD/export/qemu/0002-accel-kvm-Call-gmem.patch"
isnt "... and not our trailers" grep -rqE '^(Overlay|Upstream):' "$BUILD/export/qemu"
is "export --all has them" queue export --all
is "... all four" same "$(find "$BUILD/export/qemu" -type f | wc -l)" 4

people() { # a tree whose script names two people and a list
    mkdir -p "$TREE_DIR/scripts"
    cat >"$TREE_DIR/scripts/get_maintainer.pl" <<'PL'
print "Ann <ann\@example.org> (maintainer:ALPHA (x86))\n";
print "Bob <bob\@example.org> (reviewer:ALPHA)\n";
print "list\@example.org (open list:ALPHA)\n";
PL
}
people
is "export --cover" queue export --cover
rm -r "$TREE_DIR/scripts"
mail=$BUILD/export/qemu/0000-cover-letter.patch
is "... has the letter's subject, numbered" grep -qx 'Subject: \[PATCH 0/3\] gmem: Test all of it' "$mail"
is "... its sender, as the patches" same "$(sed -n 's/^From: //p' "$BUILD"/export/qemu/*.patch | sort -u)" "Tester <tester@example.org>"
is "... its text" grep -qx 'Why it is so.' "$mail"
is "... once the diffstat, of all files" same "$(grep -c '^ [a-z/.-]* *|' "$mail")" 3
isnt "... nothing of the form" grep -q 'HERE' "$mail"
is "... and whom to send it to" same "$(tr '\n' ' ' <"$BUILD/export/qemu/recipients")" \
    "To: Ann <ann@example.org> Cc: list@example.org Cc: Bob <bob@example.org> "
rm "$QUEUE_DIR/0000-cover-letter.patch"
is "without a letter export --cover gives the form" queue export --cover
is "... as git makes it" grep -q 'BLURB HERE' "$mail"
is "export once more" queue export --all

apart() { # what somebody else would do with the series, without our tools
    local dir="$WORK/apart"
    git clone -q "$TREE_DIR" "$dir" && git -C "$dir" checkout -q gmem-base || return
    git -C "$dir" am -q "$BUILD"/export/qemu/*.patch || return
    git -C "$dir" diff --quiet HEAD "$(tgit rev-parse HEAD)" -- alpha.c accel/kvm/kvm-all.c || return
    cmp "$dir/accel/kvm/gmem.c" "$ROOT/accel/kvm/gmem.c"
}
is "git am takes the series on a pristine clone, with the same result" apart

# --- every patch ------------------------------------------------------------------

# Plays the build of a QEMU: notes what it is given, and does not take a "broken".
cat >"$ROOT/scripts/build-qemu.sh" <<'SH'
#!/bin/sh
ls "$TREE/accel/kvm" | tr '\n' ' ' >>"$BUILD/built"
sed -n '5p' "$TREE/alpha.c" >>"$BUILD/built"
! grep -R broken --include='*.c' "$TREE"
SH
built() { # built TIMES: so often since the last question
    local n
    n=$(wc -l <"$BUILD/built")
    : >"$BUILD/built"
    same "$n" "$1"
}
: >"$BUILD/built"
is "check --each" queue check --each
is "... builds each patch" built 4
is "check --each once more" queue check --each
is "... builds nothing" built 0
echo "/* another */" >"$ROOT/accel/kvm/gmem.c"
is "check --each after an edit of an overlay file" queue check --each
is "... builds what has the file" built 3
echo "/* broken */" >"$ROOT/accel/kvm/gmem.c"
says "check --each finds what does not build" "not ok" queue check --each
is "... up to which patch" same "$(printf '%s\n' "$OUT" | grep -c '^not ok .*builds up to 000[23]')" 2
is "... all of them were tried" built 3
says "... and again: what failed is not known as good" "not ok" queue check --each
rm -rf "$BUILD/each-qemu"
tgit worktree prune

is "no worktree is left behind" same "$(tgit worktree list | wc -l)" 1
is "no temporary folder is left behind" same "$(find "$BUILD" -maxdepth 1 -name 'qemu.*' | wc -l)" 0

printf '1..%d\n' "$N"
[ "$BAD" -eq 0 ]
