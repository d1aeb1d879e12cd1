# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# queue refresh: the commits of the prepared tree -> patches.  Sourced.
#
# A patch keeps its file name as long as its subject stays.  A new commit gets
# the number after the one before it; the numbers behind move only if they must.

# merge3 BASE OURS_TREE THEIRS: the tree that has the changes BASE..THEIRS on
# top of OURS_TREE.  BASE must be the parent of THEIRS.
merge3() {
    local ours out rc=0
    ours=$(tgit commit-tree "$2" -p "$1" -m ours) || return
    out=$(tgit merge-tree --write-tree "$ours" "$3" 2>/dev/null) || rc=$?
    printf '%s\n' "$out" | sed -n 1p
    return "$rc"
}

# commit_like LIKE TREE PARENT: with the author, date and message of LIKE.  To
# be called in a subshell.
commit_like() {
    GIT_AUTHOR_NAME=$(tgit log -1 --format=%an "$1") &&
        GIT_AUTHOR_EMAIL=$(tgit log -1 --format=%ae "$1") &&
        GIT_AUTHOR_DATE=$(tgit log -1 --format=%aI "$1") &&
        tgit log -1 --format=%B "$1" >"$SCRATCH/message" || exit 1
    GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE
    export GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE GIT_COMMITTER_DATE
    tgit commit-tree "$2" -p "$3" -F "$SCRATCH/message"
}

# Puts "fixup! subject" commits into the commits they name.  It works on git's
# objects only: the files of the tree, and their times, stay as they are, as
# the result must be the same tree.
fold_fixups() {
    local ordered='' fixups="$SCRATCH/fixups" c s target cur tree i
    tgit log --format=%s "$QBASE..HEAD" | grep '^fixup! ' >/dev/null || return 0
    # Lines "COMMIT FIXUP"
    : >"$fixups"
    for c in $(tgit rev-list --reverse "$QBASE..HEAD"); do
        s=$(tgit log -1 --format=%s "$c")
        case $s in
        'fixup! '*) ;;
        *)
            ordered="$ordered $c"
            continue
            ;;
        esac
        while [ "${s#fixup! }" != "$s" ]; do s=${s#fixup! }; done
        target=
        for i in $ordered; do
            [ "$(tgit log -1 --format=%s "$i")" != "$s" ] || target=$i
        done
        [ -n "$target" ] || die "no commit has the subject of \"fixup! $s\"" "reword it: git -C $(rel "$TREE_DIR") rebase -i $QBASE"
        printf '%s %s\n' "$target" "$c" >>"$fixups"
    done
    cur=$QBASE
    for target in $ordered; do
        tree=$(tgit rev-parse "$cur^{tree}")
        for c in $target $(awk -v t="$target" '$1 == t { print $2 }' "$fixups"); do
            tree=$(merge3 "$c^" "$tree" "$c") ||
                die "\"$(tgit log -1 --format=%s "$c")\" cannot be moved to its patch without a conflict" \
                    "do it by hand: git -C $(rel "$TREE_DIR") rebase -i --autosquash $(printf %.12s "$QBASE")"
        done
        cur=$(commit_like "$target" "$tree" "$cur")
    done
    [ "$(tgit rev-parse "$cur^{tree}")" = "$(tgit rev-parse 'HEAD^{tree}')" ] ||
        die "moving the fixups into their patches would change the result" \
            "do it by hand: git -C $(rel "$TREE_DIR") rebase -i --autosquash $(printf %.12s "$QBASE")"
    tgit update-ref -m "fold fixups" "refs/heads/$BRANCH" "$cur"
}

commit_into() {
    local number="$1" s
    s=$(awk -F'\t' -v n="$number-" 'index($1, n) == 1 { print $2 }' "$STATE/map" 2>/dev/null || true)
    [ -n "$s" ] || die "there is no patch $number in $(rel "$QUEUE_DIR")/series" "give the four digits its name begins with"
    [ -n "$(dirty_files)" ] || die "$(rel "$TREE_DIR") has no uncommitted edits to put into $number"
    (
        as_queue
        tgit commit -q -a --no-verify -m "fixup! $s"
    )
}

# shellcheck disable=SC2153  # NAME comes from queue_init
refuse_uncommitted() {
    [ -n "$(dirty_files)" ] || return 0
    dirty_files | sed -n '1,20p' >&2
    die "$(rel "$TREE_DIR") has uncommitted edits, and it is not clear to which patch they belong" \
        "into patch 0004:    ./run queue refresh $NAME --into 0004" \
        "a patch of its own: git -C $(rel "$TREE_DIR") commit -s -a   (then ./run queue refresh $NAME)" \
        "over some patches:  git -C $(rel "$TREE_DIR") add -p; git commit --fixup COMMIT   (then the same)"
}

# Writes the file names for the commits of SCRATCH/commits to SCRATCH/names.
choose_names() {
    cat "$STATE/map" >"$SCRATCH/map" 2>/dev/null || true
    tgit log --reverse --format=%f "$QBASE..HEAD" >"$SCRATCH/words"
    awk -v map="$SCRATCH/map" -v subjects="$SCRATCH/subjects" '
        # The patches there were, and their subjects
        FILENAME == map {
            tab = index($0, "\t")
            old_file[m] = tab ? substr($0, 1, tab - 1) : $0
            old_subject[m] = tab ? substr($0, tab + 1) : ""
            m++
            next
        }
        FILENAME == subjects { subject[n++] = $0; next }
        { words[w++] = $0 }

        END {
            for (i = 0; i < n; i++) {
                found[i] = -1
                for (j = 0; j < m; j++) {
                    if (!taken[j] && old_subject[j] "" == subject[i] "") {
                        found[i] = j
                        taken[j] = 1
                        break
                    }
                }
            }
            # Reworded: an unknown commit in the place of a patch that is gone
            prev = -1
            for (i = 0; i < n; i++) {
                if (found[i] < 0) {
                    next_found = m
                    for (j = i + 1; j < n; j++) {
                        if (found[j] >= 0) { next_found = found[j]; break }
                    }
                    for (j = prev + 1; j < next_found; j++) {
                        if (!taken[j]) {
                            found[i] = j
                            taken[j] = 1
                            old_subject[j] = ""
                            break
                        }
                    }
                }
                if (found[i] >= 0) prev = found[i]
            }
            prev = 0
            for (i = 0; i < n; i++) {
                j = found[i]
                number = prev + 1
                file = substr(words[i], 1, 52) ".patch"
                if (j >= 0) {
                    dash = index(old_file[j], "-")
                    used = substr(old_file[j], 1, dash - 1) + 0
                    if (used >= number) number = used
                    if (old_subject[j] != "") file = substr(old_file[j], dash + 1)
                }
                printf "%04d-%s\n", number, file
                prev = number
            }
        }' m=0 n=0 w=0 "$SCRATCH/map" "$SCRATCH/subjects" "$SCRATCH/words" >"$SCRATCH/names"
}

write_queue() {
    local new="$STATE/queue.new" commit p
    rm -rf "$new"
    mkdir -p "$new" "$QUEUE_DIR"
    # The comment on top of the series is the user's.
    sed -n '/^#/!q;p' "$QUEUE_DIR/series" 2>/dev/null >"$new/series" || true
    paste -d ' ' "$SCRATCH/commits" "$SCRATCH/names" >"$SCRATCH/pairs"
    while read -r commit p; do
        format_commit "$commit" >"$new/$p"
        printf '%s\n' "$p" >>"$new/series"
    done <"$SCRATCH/pairs"
    series | while read -r p; do
        if [ ! -e "$new/$p" ] && [ -e "$QUEUE_DIR/$p" ]; then
            rm -f "${QUEUE_DIR:?}/$p"
            say "  removed: $(rel "$QUEUE_DIR")/$p"
        fi
    done
    for p in "$new"/*; do
        cmp -s "$p" "$QUEUE_DIR/${p##*/}" && continue
        cp "$p" "$QUEUE_DIR/.new" && mv "$QUEUE_DIR/.new" "$QUEUE_DIR/${p##*/}"
        say "  written: $(rel "$QUEUE_DIR")/${p##*/}"
    done
    rm -rf "$new"
}

cmd_refresh() {
    local overwrite='' into='' s new
    while [ $# -gt 0 ]; do
        case $1 in
        --into)
            [ -n "${2:-}" ] || die "--into needs the number of a patch"
            into=$2
            shift
            ;;
        --overwrite) overwrite=1 ;;
        *) die "refresh: unknown option $1" ;;
        esac
        shift
    done
    need_tree
    refuse_in_progress
    if queue_changed && [ -n "$(series)" ] && [ -z "$overwrite" ]; then
        if tree_edited; then
            die "both changed since they were last in step: $(rel "$QUEUE_DIR") and $(rel "$TREE_DIR")" \
                "take the tree's:  ./run queue refresh $NAME --overwrite" \
                "take the queue's: ./run queue apply $NAME --discard  (the tree's commits stay on a branch)"
        fi
        die "$(rel "$QUEUE_DIR") changed since it was applied; a refresh would undo that" "call: ./run queue apply $NAME"
    fi
    [ -z "$into" ] || commit_into "$into"
    refuse_uncommitted
    [ -z "$(tgit rev-list --merges "$QBASE..HEAD")" ] || die "the branch $BRANCH has merges" "a queue is a straight line: rebase it"
    fold_fixups
    tgit rev-list --reverse "$QBASE..HEAD" >"$SCRATCH/commits"
    tgit log --reverse --format=%s "$QBASE..HEAD" >"$SCRATCH/subjects"
    while IFS= read -r s; do
        case $s in
        'squash! '* | 'amend! '*)
            die "the branch has a commit \"$s\"" "call: git -C $(rel "$TREE_DIR") rebase -i --autosquash $(printf %.12s "$QBASE")"
            ;;
        esac
    done <"$SCRATCH/subjects"
    choose_names
    write_queue
    link_overlays
    record_in_step
    new=$(tgit ls-files --others --exclude-standard | sed -n '1,5p')
    [ -z "$new" ] || say "note: new files that no patch names (Overlay: FILE) and git does not know: $(printf '%s' "$new" | tr '\n' ' ')"
    say "$NAME: the queue holds $(wc -l <"$SCRATCH/commits") patches"
}
