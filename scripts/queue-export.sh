# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# queue export: a series that can be mailed, in which each overlay file stands
# in the patch that names it.  Sourced.
#
# Patches 09xx are lab-only and stay behind, unless --all is given.

# Trailers that are of use in this repository only.
mail_message() { tree_git "$1" log -1 --format=%B | grep -vE '^(Overlay|Upstream): ' | cat -s; }

export_files() {
    local all=$1 p
    while read -r p; do
        if [ -z "$all" ] && [[ $p = 09* ]]; then
            LEFT_OUT+=("$p")
        else
            FILES+=("$(realpath "$QUEUE_DIR/$p")")
        fi
    done < <(series)
}

# add_overlays TREE FROM PATCH...: into the index of TREE, out of folder FROM.
add_overlays() {
    local tree=$1 from=$2 path blob mode
    shift 2
    while read -r path; do
        [ -f "$from/$path" ] || die "overlay file $path is missing in $(rel "$from")"
        blob=$(tree_git "$tree" hash-object -w --no-filters "$(realpath "$from/$path")")
        mode=100644
        [ ! -x "$from/$path" ] || mode=100755
        tree_git "$tree" update-index --add --cacheinfo "$mode,$blob,$path"
    done < <(overlays_of "$@")
}

# The series on the pristine base, one commit per patch.
make_commits() {
    local p
    worktree_add "$(tgit rev-parse 'gmem-base^{commit}')"
    for p in "${FILES[@]}"; do
        am_patches "$WT" "$p" || {
            printf '%s\n' "$AM_OUT" >&2
            die "${p##*/} does not apply to the pristine source"
        }
        add_overlays "$WT" "$OVERLAY_ROOT" "$p"
        GIT_COMMITTER_DATE=$(tree_git "$WT" log -1 --format=%aI) \
            tree_git "$WT" commit -q --amend --no-verify -F <(mail_message "$WT")
    done
}

# git am of what was written, on the pristine source, against the prepared tree
# (with what its overlay links lead to, and without what the export leaves out).
prove() {
    local out=$1 mails=() mine prepared i p
    for p in "$out"/*.patch; do
        [[ $p = */0000-* ]] || mails+=("$p")
    done
    worktree_add "$(tgit rev-parse 'gmem-base^{commit}')"
    am_patches "$WT" "${mails[@]}" || {
        printf '%s\n' "$AM_OUT" >&2
        die "git am refuses $(rel "$AM_FAILED") on the pristine source"
    }
    if [ "$QBASE" != "$(tgit rev-parse 'gmem-base^{commit}')" ]; then
        tgit diff --binary --full-index gmem-base gmem-distro | tree_git "$WT" apply --cached
    fi
    mine=$(tree_git "$WT" write-tree)

    i=${#LEFT_OUT[@]}
    worktree_add "$(tgit rev-parse "$BRANCH~$i")"
    add_overlays "$WT" "$TREE_DIR" "${FILES[@]}"
    prepared=$(tree_git "$WT" write-tree)

    say "proof: git am took ${#mails[@]} patches on the pristine source ($(tgit rev-parse --short=12 gmem-base))"
    [ "$QBASE" = "$(tgit rev-parse 'gmem-base^{commit}')" ] ||
        say "  with the distribution's build patches on both sides"
    say "  its tree:          $mine"
    say "  the prepared tree: $prepared"
    [ "$mine" = "$prepared" ] || {
        tgit diff --stat "$prepared" "$mine" | sed -n '1,10p' >&2
        die "the exported series does not give the prepared tree"
    }
    say "  identical"
}

cmd_export() {
    local all='' cover='' out
    while [ $# -gt 0 ]; do
        case $1 in
        --all) all=1 ;;
        --cover) cover=1 ;;
        *) die "export: unknown option $1" ;;
        esac
        shift
    done
    need_tree
    need_queue
    refuse_in_progress
    if tree_edited || queue_changed; then
        die "$(rel "$TREE_DIR") and $(rel "$QUEUE_DIR") are not in step" \
            "call ./run queue refresh $NAME or ./run queue apply $NAME first"
    fi
    FILES=()
    LEFT_OUT=()
    export_files "$all"
    [ ${#FILES[@]} -gt 0 ] || die "the queue has no patch to export"
    out=${EXPORT_DIR:-$BUILD/export/$NAME}
    make_commits
    rm -rf "$out.new"
    mkdir -p "$out.new"
    tree_git "$WT" format-patch -q -o "$(realpath "$out.new")" --numbered --no-signature --abbrev=12 \
        --no-renames --no-notes ${cover:+--cover-letter} gmem-base..HEAD
    prove "$out.new"
    rm -rf "$out"
    mv "$out.new" "$out"
    [ ${#LEFT_OUT[@]} -eq 0 ] || say "left out (lab only): ${LEFT_OUT[*]}"
    say "written: $(rel "$out")/ (${#FILES[@]} patches)"
}
