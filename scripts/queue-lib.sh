# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The queue (a folder of patches and their series) and the prepared tree it is
# applied to.  Sourced by queue*.sh.
#
#   QUEUE_DIR     the folder with series and NNNN-*.patch; 0000-cover-letter.patch
#                 may lie there too: a mail, no patch, so series does not name it
#   TREE_DIR      the prepared tree: tags gmem-base [gmem-distro], branch gmem-queue
#   OVERLAY_ROOT  where overlay files lie, at the path they have in the tree
#   OVERLAY_DIRS  folders below it in which every file must be named by a patch
#
# In the prepared tree's .git/gmem/ we keep what was last in step:
#   stamp     hash of the queue
#   map       file name and subject of each patch
#   overlays  hash and path of each linked overlay file
# and in refs/gmem/applied the commit that it gave.

BRANCH=gmem-queue
# shellcheck disable=SC2034 # for those who source this
COVER_LETTER=0000-cover-letter.patch

queue_init() {
    NAME=$1
    QUEUE_DIR=${QUEUE_DIR:-$ROOT/patches/$NAME}
    TREE_DIR=${TREE_DIR:-$BUILD/$NAME}
    OVERLAY_ROOT=${OVERLAY_ROOT:-$ROOT}
    if [ "$NAME" = qemu ]; then
        OVERLAY_DIRS=${OVERLAY_DIRS-accel backends hw include qapi system target tests/qtest}
    else
        OVERLAY_DIRS=${OVERLAY_DIRS-}
    fi
    WORKTREES=
    SCRATCH=$(mktemp -d)
    trap queue_cleanup EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

tgit() { tree_git "$TREE_DIR" "$@"; }

# In a subshell: the author of commits that are nobody's.
as_queue() { export GIT_AUTHOR_NAME=qemu-gmem GIT_AUTHOR_EMAIL=queue@localhost; }

need_tree() {
    tgit rev-parse -q --verify gmem-base >/dev/null 2>&1 ||
        die "there is no prepared tree in $(rel "$TREE_DIR")" "call: ./run build $NAME"
    # Not --git-dir: the tree may be a worktree of another one.
    STATE=$(tgit rev-parse --absolute-git-dir)/gmem
    mkdir -p "$STATE"
    if tgit rev-parse -q --verify gmem-distro >/dev/null; then
        QBASE=$(tgit rev-parse 'gmem-distro^{commit}')
    else
        QBASE=$(tgit rev-parse 'gmem-base^{commit}')
    fi
}

need_queue() {
    [ -d "$QUEUE_DIR" ] ||
        die "there is no queue for $NAME: $(rel "$QUEUE_DIR")/ is missing" \
            "no patches is an empty series file, not a missing folder"
    [ -f "$QUEUE_DIR/series" ] ||
        die "$(rel "$QUEUE_DIR")/series is missing" "it lists the patches in their order, one file name per line"
}

series() {
    [ ! -f "$QUEUE_DIR/series" ] || sed -e 's/[[:space:]]*#.*//' -e '/^[[:space:]]*$/d' "$QUEUE_DIR/series"
}

# The paths of the patches that exist, in their order.
patch_files() {
    local p
    series | while read -r p; do
        [ ! -f "$QUEUE_DIR/$p" ] || realpath "$QUEUE_DIR/$p"
    done
}

queue_hash() {
    local p
    {
        printf '%s\n' "$QBASE"
        series
        series | while read -r p; do
            if [ -f "$QUEUE_DIR/$p" ]; then sha256sum <"$QUEUE_DIR/$p"; else say missing; fi
        done
    } 2>&1 | hash_of
}

# trailers FILE KEY: the values of "KEY: value" lines in a patch's message.
trailers() {
    awk -v key="$2:" '/^---$/ || /^diff --git / { exit }
        $1 == key { sub(/^[^:]*:[ \t]*/, ""); print }' "$1"
}

# subject FILE, unfolded, without "[PATCH]".
subject() {
    git mailinfo -b /dev/null /dev/null <"$1" | sed -n 's/^Subject: \(\[PATCH[^]]*\] *\)\{0,1\}//p'
}

# author FILE: "name <address>" of its From:.
author() {
    git mailinfo -b /dev/null /dev/null <"$1" | sed -n -e 's/^Author: //p' -e 's/^Email: \(.*\)/<\1>/p' | paste -sd ' '
}

# cover_body FILE: the text of a cover letter.  It ends at a line "---": what may
# follow, as a diffstat, is made anew when the series is exported.
cover_body() {
    awk 'body && /^---$/ { exit } body { print } !body && /^$/ { body = 1 }' "$1" |
        sed -e :a -e '/^\n*$/{$d;N;ba' -e '}'
}

# The overlay files that these patches name.
overlays_of() {
    local p
    for p in "$@"; do
        [ ! -f "$p" ] || trailers "$p" Overlay
    done
}

# All overlay files of the queue.
overlays() {
    local p
    series | while read -r p; do
        overlays_of "$QUEUE_DIR/$p"
    done
}

# --- a temporary worktree ---------------------------------------------------
# It has an index but no files: git takes from the index what it patches.  So
# it costs nothing, and the prepared tree's files keep their times.

worktree_add() {
    WT=$(mktemp -d "$TREE_DIR.wt.XXXXXX")
    rmdir "$WT"
    WORKTREES="$WORKTREES$WT
"
    tgit worktree prune
    tgit worktree add -q --no-checkout --detach "$WT" "$1"
    tree_git "$WT" read-tree HEAD
}

queue_cleanup() {
    local wt
    trap '' HUP INT TERM
    while IFS= read -r wt; do
        [ -n "$wt" ] || continue
        tgit worktree remove --force "$wt" 2>/dev/null || true
        rm -rf "$wt"
    done <<EOF
$WORKTREES
EOF
    rm -rf "$SCRATCH"
}

# am_patches TREE FILE...: git am, without fuzz and without touching the text.
# On failure AM_FAILED is the file and AM_OUT what git said.
am_patches() {
    local tree="$1" next
    shift
    AM_FAILED=
    [ $# -gt 0 ] || return 0
    if AM_OUT=$(tree_git "$tree" am -q --keep-non-patch --no-3way --no-scissors --no-gpg-sign \
        --whitespace=nowarn --committer-date-is-author-date -- "$@" 2>&1); then
        return 0
    fi
    next=$(cat "$(tree_git "$tree" rev-parse --absolute-git-dir)/rebase-apply/next" 2>/dev/null || echo 1)
    [ "$next" -ge 1 ] && [ "$next" -le $# ] || next=1
    shift $((next - 1))
    AM_FAILED=$1
    AM_OUT=$(printf '%s\n' "$AM_OUT" | grep -v '^hint:' | sed -n '1,12p')
    return 1
}

# Applies the queue on commit $1; sets TIP.
apply_queue_on() {
    local base="$1" p
    set --
    while read -r p; do
        [ -n "$p" ] || continue
        [ -f "$QUEUE_DIR/$p" ] || die "$(rel "$QUEUE_DIR")/series names $p, and there is no such file"
        set -- "$@" "$(realpath "$QUEUE_DIR/$p")"
    done <<EOF
$(series)
EOF
    worktree_add "$base"
    if ! am_patches "$WT" "$@"; then
        printf '%s\n' "$AM_OUT" >&2
        die "$(rel "$QUEUE_DIR")/$(basename "$AM_FAILED") does not apply (no fuzz is allowed)" \
            "$(rel "$TREE_DIR") was left as it is; correct the patch, or see that its base is the one of BASE"
    fi
    # shellcheck disable=SC2034  # the caller's
    TIP=$(tree_git "$WT" rev-parse HEAD)
}

# --- what is not in the queue yet -------------------------------------------

refuse_in_progress() {
    local dir what
    dir=$(tgit rev-parse --absolute-git-dir)
    for what in rebase-merge rebase-apply CHERRY_PICK_HEAD MERGE_HEAD; do
        [ ! -e "$dir/$what" ] ||
            die "a rebase, cherry-pick or merge is under way in $(rel "$TREE_DIR")" \
                "finish it (git -C $(rel "$TREE_DIR") status tells how), then call again"
    done
    [ "$(tgit symbolic-ref -q HEAD)" = "refs/heads/$BRANCH" ] ||
        die "$(rel "$TREE_DIR") is not on its branch $BRANCH" "call: git -C $(rel "$TREE_DIR") checkout $BRANCH"
}

dirty_files() { tgit status --porcelain --untracked-files=no; }

committed_edits() {
    local applied
    applied=$(tgit rev-parse -q --verify refs/gmem/applied || tgit rev-parse "$QBASE")
    [ "$(tgit rev-parse HEAD)" != "$applied" ]
}

# Overlay files whose link was replaced by a file of other contents (an editor
# or sed -i does that).
torn_overlays() {
    local path
    [ -f "$STATE/overlays" ] || return 0
    while read -r _ path; do
        [ -L "$TREE_DIR/$path" ] || [ ! -f "$TREE_DIR/$path" ] ||
            cmp -s "$TREE_DIR/$path" "$OVERLAY_ROOT/$path" || printf '%s\n' "$path"
    done <"$STATE/overlays"
}

queue_changed() {
    ! tgit rev-parse -q --verify refs/gmem/applied >/dev/null ||
        [ "$(cat "$STATE/stamp" 2>/dev/null)" != "$(queue_hash)" ]
}

tree_edited() { [ -n "$(dirty_files)" ] || committed_edits || [ -n "$(torn_overlays)" ]; }

# --- overlay files -----------------------------------------------------------

# A file that was made in the prepared tree moves to where it belongs; one that
# was edited there after its link was torn goes back, unless both sides changed.
settle_overlay() {
    local path="$1" src="$OVERLAY_ROOT/$1" dst="$TREE_DIR/$1" known
    if [ ! -f "$dst" ] || [ -L "$dst" ]; then return 0; fi
    if [ ! -e "$src" ]; then
        mkdir -p "$(dirname "$src")"
        mv "$dst" "$src"
        say "moved from $(rel "$TREE_DIR") into this repository: $path"
    elif cmp -s "$src" "$dst"; then
        rm "$dst"
    else
        known=$(awk -v p="$path" '$2 == p { print $1 }' "$STATE/overlays" 2>/dev/null || true)
        [ "$(hash_of <"$src")" = "$known" ] ||
            die "$path was edited in this repository and, apart from it, in $(rel "$TREE_DIR")" \
                "merge the two by hand (diff $path $(rel "$dst")), delete $(rel "$dst"), then call again"
        cp "$dst" "$src"
        rm "$dst"
        say "taken over from $(rel "$TREE_DIR"): $path"
    fi
}

link_overlays() {
    local path target wanted="$SCRATCH/wanted"
    overlays | sort -u >"$wanted"
    while read -r path; do
        ! tgit cat-file -e "HEAD:$path" 2>/dev/null ||
            die "$path is named as an overlay file, but it is in the tree already" "change an existing file by a patch"
        settle_overlay "$path"
        [ -f "$OVERLAY_ROOT/$path" ] || die "a patch says 'Overlay: $path', and there is no such file"
        mkdir -p "$(dirname "$TREE_DIR/$path")"
        target=$(realpath --relative-to="$(realpath "$(dirname "$TREE_DIR/$path")")" "$OVERLAY_ROOT/$path")
        [ "$(readlink "$TREE_DIR/$path")" = "$target" ] || ln -sfn "$target" "$TREE_DIR/$path"
    done <"$wanted"
    if [ -f "$STATE/overlays" ]; then
        while read -r _ path; do
            grep -qxF -- "$path" "$wanted" || [ ! -L "$TREE_DIR/$path" ] || rm "$TREE_DIR/$path"
        done <"$STATE/overlays"
    fi

    : >"$STATE/overlays.new"
    printf '# overlay files: they live in the repository, not in this tree\n' >"$STATE/exclude.new"
    while read -r path; do
        printf '%s %s\n' "$(hash_of <"$OVERLAY_ROOT/$path")" "$path" >>"$STATE/overlays.new"
        printf '/%s\n' "$path" >>"$STATE/exclude.new"
    done <"$wanted"
    mv "$STATE/overlays.new" "$STATE/overlays"
    target=$(tgit rev-parse --path-format=absolute --git-path info/exclude)
    mkdir -p "$(dirname "$target")"
    mv "$STATE/exclude.new" "$target"
}

# The tree and the queue are in step now.
record_in_step() {
    local p
    tgit update-ref refs/gmem/applied HEAD
    : >"$STATE/map.new"
    series | while read -r p; do
        printf '%s\t%s\n' "$p" "$(subject "$QUEUE_DIR/$p")" >>"$STATE/map.new"
    done
    mv "$STATE/map.new" "$STATE/map"
    queue_hash >"$STATE/stamp"
}

# --- commit -> patch file ------------------------------------------------------
# Everything that could vary between machines or runs is fixed.
format_commit() {
    tgit format-patch -1 --stdout --no-numbered --zero-commit --no-signature --abbrev=12 \
        --no-renames --no-thread --no-attach --no-base --no-notes --no-cover-letter --no-color \
        --diff-algorithm=myers --src-prefix=a/ --dst-prefix=b/ -U3 --stat --summary -p "$1" -- 
}
