# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# queue refresh: the commits of the prepared tree -> patches.  Sourced.
#
# A patch keeps its file name as long as its subject stays.  A new commit gets
# the number after the one before it; the numbers behind move only if they must.

# merge3 BASE OURS_TREE THEIRS: the tree that has the changes BASE..THEIRS on
# top of OURS_TREE.  BASE must be the parent of THEIRS.
merge3() {
    local ours
    ours=$(tgit commit-tree "$2" -p "$1" -m ours)
    tgit merge-tree --write-tree "$ours" "$3" 2>/dev/null | sed -n 1p
    return "${PIPESTATUS[0]}"
}

commit_like() {
    local like=$1 tree=$2 parent=$3
    GIT_AUTHOR_NAME=$(tgit log -1 --format=%an "$like") \
    GIT_AUTHOR_EMAIL=$(tgit log -1 --format=%ae "$like") \
    GIT_AUTHOR_DATE=$(tgit log -1 --format=%aI "$like") \
    GIT_COMMITTER_DATE=$(tgit log -1 --format=%aI "$like") \
        tgit commit-tree "$tree" -p "$parent" -F <(tgit log -1 --format=%B "$like")
}

# Puts "fixup! subject" commits into the commits they name.  It works on git's
# objects only: the files of the tree, and their times, stay as they are, as
# the result must be the same tree.
fold_fixups() {
    local commits=() ordered=() c s target cur tree i
    local -A fixups=()
    tgit log --format=%s "$QBASE..HEAD" | grep '^fixup! ' >/dev/null || return 0
    mapfile -t commits < <(tgit rev-list --reverse "$QBASE..HEAD")
    for c in "${commits[@]}"; do
        s=$(tgit log -1 --format=%s "$c")
        if [[ $s != 'fixup! '* ]]; then
            ordered+=("$c")
            continue
        fi
        while [[ $s = 'fixup! '* ]]; do s=${s#fixup! }; done
        target=
        for i in "${ordered[@]}"; do
            [ "$(tgit log -1 --format=%s "$i")" != "$s" ] || target=$i
        done
        [ -n "$target" ] || die "no commit has the subject of \"fixup! $s\"" "reword it: git -C $(rel "$TREE_DIR") rebase -i $QBASE"
        fixups[$target]+=" $c"
    done
    cur=$QBASE
    for target in "${ordered[@]}"; do
        tree=$(tgit rev-parse "$cur^{tree}")
        # shellcheck disable=SC2086  # a list of commits
        for c in $target ${fixups[$target]:-}; do
            tree=$(merge3 "$c^" "$tree" "$c") ||
                die "\"$(tgit log -1 --format=%s "$c")\" cannot be moved to its patch without a conflict" \
                    "do it by hand: git -C $(rel "$TREE_DIR") rebase -i --autosquash ${QBASE:0:12}"
        done
        cur=$(commit_like "$target" "$tree" "$cur")
    done
    [ "$(tgit rev-parse "$cur^{tree}")" = "$(tgit rev-parse 'HEAD^{tree}')" ] ||
        die "moving the fixups into their patches would change the result" \
            "do it by hand: git -C $(rel "$TREE_DIR") rebase -i --autosquash ${QBASE:0:12}"
    tgit update-ref -m "fold fixups" "refs/heads/$BRANCH" "$cur"
}

commit_into() {
    local number=$1 s
    s=$(awk -F'\t' -v n="$number-" 'index($1, n) == 1 { print $2 }' "$STATE/map" 2>/dev/null || true)
    [ -n "$s" ] || die "there is no patch $number in $(rel "$QUEUE_DIR")/series" "give the four digits its name begins with"
    [ -n "$(dirty_files)" ] || die "$(rel "$TREE_DIR") has no uncommitted edits to put into $number"
    GIT_AUTHOR_NAME=qemu-gmem GIT_AUTHOR_EMAIL=queue@localhost \
        tgit commit -q -a --no-verify -m "fixup! $s"
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

# Sets NAMES[i] for SUBJECTS[i].
choose_names() {
    local n=${#SUBJECTS[@]} m i j used file prev number next_match
    local old_file=() old_subject=() taken=() match=()
    while IFS=$'\t' read -r file used; do
        old_file+=("$file")
        old_subject+=("$used")
    done < <(cat "$STATE/map" 2>/dev/null)
    m=${#old_file[@]}
    for ((i = 0; i < n; i++)); do
        match[i]=-1
        for ((j = 0; j < m; j++)); do
            if [ -z "${taken[j]:-}" ] && [ "${old_subject[j]}" = "${SUBJECTS[i]}" ]; then
                match[i]=$j taken[j]=1
                break
            fi
        done
    done
    # Reworded: an unknown commit in the place of a patch that is gone.
    prev=-1
    for ((i = 0; i < n; i++)); do
        if [ "${match[i]}" -lt 0 ]; then
            next_match=$m
            for ((j = i + 1; j < n; j++)); do
                if [ "${match[j]}" -ge 0 ]; then next_match=${match[j]} && break; fi
            done
            for ((j = prev + 1; j < next_match; j++)); do
                if [ -z "${taken[j]:-}" ]; then
                    match[i]=$j taken[j]=1
                    old_subject[j]=
                    break
                fi
            done
        fi
        [ "${match[i]}" -lt 0 ] || prev=${match[i]}
    done
    prev=0
    NAMES=()
    for ((i = 0; i < n; i++)); do
        j=${match[i]}
        number=$((prev + 1))
        file=$(tgit log -1 --format=%f "${COMMITS[i]}")
        file=${file:0:52}.patch
        if [ "$j" -ge 0 ]; then
            used=$((10#${old_file[j]%%-*}))
            [ "$used" -lt "$number" ] || number=$used
            [ -z "${old_subject[j]}" ] || file=${old_file[j]#*-}
        fi
        NAMES[i]=$(printf '%04d-%s' "$number" "$file")
        prev=$number
    done
}

write_queue() {
    local new=$STATE/queue.new i p
    rm -rf "$new"
    mkdir -p "$new" "$QUEUE_DIR"
    # The comment on top of the series is the user's.
    sed -n '/^#/!q;p' "$QUEUE_DIR/series" 2>/dev/null >"$new/series" || true
    for i in "${!COMMITS[@]}"; do
        format_commit "${COMMITS[i]}" >"$new/${NAMES[i]}"
        printf '%s\n' "${NAMES[i]}" >>"$new/series"
    done
    while read -r p; do
        if [ ! -e "$new/$p" ] && [ -e "$QUEUE_DIR/$p" ]; then
            rm -f "${QUEUE_DIR:?}/$p"
            say "  removed: $(rel "$QUEUE_DIR")/$p"
        fi
    done < <(series)
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
        --into) into=${2:?--into needs the number of a patch} && shift ;;
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
    mapfile -t COMMITS < <(tgit rev-list --reverse "$QBASE..HEAD")
    mapfile -t SUBJECTS < <(tgit log --reverse --format=%s "$QBASE..HEAD")
    for s in "${SUBJECTS[@]}"; do
        [[ $s != 'squash! '* && $s != 'amend! '* ]] ||
            die "the branch has a commit \"$s\"" "call: git -C $(rel "$TREE_DIR") rebase -i --autosquash ${QBASE:0:12}"
    done
    choose_names
    write_queue
    link_overlays
    record_in_step
    new=$(tgit ls-files --others --exclude-standard | sed -n '1,5p')
    [ -z "$new" ] || say "note: new files that no patch names (Overlay: FILE) and git does not know: ${new//$'\n'/ }"
    say "$NAME: the queue holds ${#COMMITS[@]} patches"
}
