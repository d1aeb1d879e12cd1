# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# queue export: a series that can be mailed, in which each overlay file stands
# in the patch that names it.  Sourced.
#
# Patches 09xx are lab-only and stay behind, unless --all is given.

# Trailers that are of use in this repository only.
mail_message() { tree_git "$1" log -1 --format=%B | grep -vE '^(Overlay|Upstream): ' | cat -s; }

# add_overlays TREE FROM PATCH...: into the index of TREE, out of folder FROM.
add_overlays() {
    local tree="$1" from="$2" path blob mode
    shift 2
    while read -r path; do
        [ -n "$path" ] || continue
        [ -f "$from/$path" ] || die "overlay file $path is missing in $(rel "$from")"
        blob=$(tree_git "$tree" hash-object -w --no-filters "$(realpath "$from/$path")")
        mode=100644
        [ ! -x "$from/$path" ] || mode=100755
        tree_git "$tree" update-index --add --cacheinfo "$mode,$blob,$path"
    done <<EOF
$(overlays_of "$@")
EOF
}

# make_commits PATCH...: the series on the pristine base, one commit per patch.
make_commits() {
    local p date message="$SCRATCH/message"
    worktree_add "$(tgit rev-parse 'gmem-base^{commit}')"
    for p in "$@"; do
        am_patches "$WT" "$p" || {
            printf '%s\n' "$AM_OUT" >&2
            die "${p##*/} does not apply to the pristine source"
        }
        add_overlays "$WT" "$OVERLAY_ROOT" "$p"
        mail_message "$WT" >"$message"
        date=$(tree_git "$WT" log -1 --format=%aI)
        (
            export GIT_COMMITTER_DATE="$date"
            tree_git "$WT" commit -q --amend --no-verify -F "$message"
        )
    done
}

# am_mails OUT: what was written there, on the pristine source.  Sets MAILS.
am_mails() {
    local out="$1" p
    set --
    for p in "$out"/*.patch; do
        case $p in
        */0000-*) ;;
        *) set -- "$@" "$p" ;;
        esac
    done
    MAILS=$#
    worktree_add "$(tgit rev-parse 'gmem-base^{commit}')"
    am_patches "$WT" "$@" || {
        printf '%s\n' "$AM_OUT" >&2
        die "git am refuses $(rel "$AM_FAILED") on the pristine source"
    }
}

# prove OUT LEFT_OUT PATCH...: git am of what was written, on the pristine
# source, against the prepared tree (with what its overlay links lead to, and
# without the LEFT_OUT last patches, which the export leaves out).
prove() {
    local out="$1" left_out="$2" mine prepared
    shift 2
    am_mails "$out"
    if [ "$QBASE" != "$(tgit rev-parse 'gmem-base^{commit}')" ]; then
        tgit diff --binary --full-index gmem-base gmem-distro >"$SCRATCH/distro.diff"
        tree_git "$WT" apply --cached "$SCRATCH/distro.diff"
    fi
    mine=$(tree_git "$WT" write-tree)

    worktree_add "$(tgit rev-parse "$BRANCH~$left_out")"
    add_overlays "$WT" "$TREE_DIR" "$@"
    prepared=$(tree_git "$WT" write-tree)

    say "proof: git am took $MAILS patches on the pristine source ($(tgit rev-parse --short=12 gmem-base))"
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

# fill_cover OUT: our letter into the form that git has made.
fill_cover() {
    local mail letter="$QUEUE_DIR/$COVER_LETTER"
    for mail in "$1"/0000-*.patch; do
        [ -f "$mail" ] || die "git made no form of a cover letter"
        [ -f "$letter" ] || {
            say "note: $(rel "$letter") is missing; the cover letter is an empty form"
            return
        }
        cover_body "$letter" >"$SCRATCH/body"
        subject "$letter" >"$SCRATCH/subject"
        author "$letter" >"$SCRATCH/author"
        awk -v author="$SCRATCH/author" -v subject="$SCRATCH/subject" -v body="$SCRATCH/body" '
            /^From: / && !sent { getline text <author; print "From: " text; sent = 1; next }
            /^Subject: .*\*\*\* SUBJECT HERE \*\*\*$/ {
                getline text <subject
                print substr($0, 1, index($0, "***") - 1) text
                next
            }
            /^\*\*\* BLURB HERE \*\*\*$/ { while ((getline text <body) > 0) print text; next }
            { print }' "$mail" >"$mail.new"
        ! grep -E '\*\*\* (SUBJECT|BLURB) HERE' "$mail.new" || die "the cover letter could not be filled in"
        mv "$mail.new" "$mail"
    done
}

# recipients OUT: whom to send it to, as the tree's own script says.
recipients() {
    local out="$1" script="$TREE_DIR/scripts/get_maintainer.pl" mail
    [ -f "$script" ] || return 0
    out=$(realpath "$out")
    set --
    for mail in "$out"/*.patch; do
        case $mail in
        */0000-*) ;;
        *) set -- "$@" "$mail" ;;
        esac
    done
    (cd "$TREE_DIR" && perl scripts/get_maintainer.pl --nogit --nogit-fallback --rolestats "$@") >"$SCRATCH/people" ||
        die "$(rel "$script") failed"
    # Those who maintain it are asked, all others are told.
    awk '{
        role = match($0, / \([^()]*(\([^()]*\)[^()]*)*\)$/) ? substr($0, RSTART) : ""
        who = substr($0, 1, length($0) - length(role))
        print (role ~ /(maintainer|supporter)[:,)]/ ? "To: " : "Cc: ") who
    }' "$SCRATCH/people" | sort -ru >"$out/recipients"
    [ -s "$out/recipients" ] || die "$(rel "$script") names nobody"
}

cmd_export() {
    local all='' cover='' out p left_out='' left=0
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
    set --
    while read -r p; do
        case ${all:+all/}$p in
        '' | all/) ;;
        09*)
            left=$((left + 1))
            left_out="$left_out $p"
            ;;
        *) set -- "$@" "$(realpath "$QUEUE_DIR/$p")" ;;
        esac
    done <<EOF
$(series)
EOF
    [ $# -gt 0 ] || die "the queue has no patch to export"
    out=${EXPORT_DIR:-$BUILD/export/$NAME}
    make_commits "$@"
    rm -rf "$out.new"
    mkdir -p "$out.new"
    tree_git "$WT" format-patch -q -o "$(realpath "$out.new")" --numbered --no-signature --abbrev=12 \
        --no-renames --no-notes ${cover:+--cover-letter} gmem-base..HEAD
    [ -z "$cover" ] || fill_cover "$out.new"
    recipients "$out.new"
    prove "$out.new" "$left" "$@"
    rm -rf "$out"
    mv "$out.new" "$out"
    [ -z "$left_out" ] || say "left out (lab only):$left_out"
    say "written: $(rel "$out")/ ($# patches)"
    [ ! -f "$out/recipients" ] || say "         $(rel "$out")/recipients: whom to send it to ($(wc -l <"$out/recipients"))"
}
