# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# queue check: prints TAP; fails if one check does.  Sourced.
#
# CHECKPATCH=no leaves checkpatch.pl out (a tree that has none).

# What checkpatch.pl says besides its findings.
CHECKPATCH_NOISE='^($|NOTE|total:|.*has (style|no obvious)|.*If any of| *mechanically convert| *them to the maintainer| *are false positives| *CHECKPATCH in MAINTAINERS)'

CHECK_NO=0
CHECK_BAD=0

# result TITLE [PROBLEM...]: one TAP line; any problem makes it "not ok".
result() {
    local title="$NAME queue: $1" line
    shift
    CHECK_NO=$((CHECK_NO + 1))
    if [ $# -eq 0 ]; then
        printf 'ok %d - %s\n' "$CHECK_NO" "$title"
        return
    fi
    CHECK_BAD=$((CHECK_BAD + 1))
    printf 'not ok %d - %s\n' "$CHECK_NO" "$title"
    printf '%s\n' "$@" | while read -r line; do
        printf '#   %s\n' "$line"
    done
}

check_series() {
    local bad=() listed f
    listed=$(series)
    while read -r f; do
        [ -z "$f" ] || [ -f "$QUEUE_DIR/$f" ] || bad+=("series names $f, and there is no such file")
        [ -z "$f" ] || [[ $f =~ ^[0-9]{4}-[A-Za-z0-9._-]+\.patch$ ]] || bad+=("$f: the name is not NNNN-words.patch")
    done <<<"$listed"
    for f in "$QUEUE_DIR"/*; do
        f=${f##*/}
        [ "$f" != series ] || continue
        grep -qxF -- "$f" <<<"$listed" || bad+=("$f is not in series")
    done
    result "series and files are the same" "${bad[@]}"
    bad=()
    while read -r f; do
        bad+=("$f")
    done < <(sort -c -u <<<"$(cut -c1-4 <<<"$listed")" 2>&1)
    result "the order is that of the numbers, each used once" "${bad[@]}"
}

check_messages() {
    local bad=() f s
    while read -r f; do
        [ -f "$QUEUE_DIR/$f" ] || continue
        s=$(subject "$QUEUE_DIR/$f")
        [ -n "$(trailers "$QUEUE_DIR/$f" Upstream)" ] || bad+=("$f: no 'Upstream:' line (a link, or N/A and why)")
        trailers "$QUEUE_DIR/$f" Signed-off-by | grep '<.*@.*>' >/dev/null || bad+=("$f: no 'Signed-off-by:' line")
        [[ $s =~ ^[^\ :]+.*:\ [^\ ] ]] || bad+=("$f: the subject is not 'area: what it does'")
        [ ${#s} -le 76 ] || bad+=("$f: the subject has ${#s} characters, more than 76")
        [[ $s != *. ]] || bad+=("$f: the subject ends with a full stop")
        [[ ! $s =~ ^(fixup|squash|amend)! ]] || bad+=("$f: a $s is left over")
    done < <(series)
    result "subjects and trailers" "${bad[@]}"
}

check_overlays() {
    local bad=() path dir
    local -A count=()
    while read -r path; do
        count[$path]=$((${count[$path]:-0} + 1))
    done < <(overlays)
    for path in "${!count[@]}"; do
        [ "${count[$path]}" -eq 1 ] || bad+=("$path is named by ${count[$path]} patches")
        [ -f "$OVERLAY_ROOT/$path" ] || bad+=("$path is named by a patch, and there is no such file")
        ! tgit cat-file -e "$QBASE:$path" 2>/dev/null || bad+=("$path is in the base already: change it by a patch")
    done
    for dir in $OVERLAY_DIRS; do
        [ -d "$OVERLAY_ROOT/$dir" ] || continue
        while read -r path; do
            path=${path#"$OVERLAY_ROOT"/}
            [ -n "${count[$path]:-}" ] || bad+=("$path is named by no patch (a line 'Overlay: $path')")
        done < <(find "$OVERLAY_ROOT/$dir" -type f ! -name '*.pyc' ! -name '*~' ! -name '.*.sw?' ! -name '.gitignore')
    done
    result "overlay files: each named by one patch" "${bad[@]}"
}

# git am knows no fuzz, but it takes a hunk at another line.  So the queue is
# applied and written again: if the same bytes come out, every hunk fits where
# it says, and nothing stands before, between or after them.
check_applies() {
    local bad=() files=() commits=() f i new first
    while read -r f; do
        [ ! -f "$QUEUE_DIR/$f" ] || files+=("$(realpath "$QUEUE_DIR/$f")")
    done < <(series)
    worktree_add "$QBASE"
    if ! am_patches "$WT" "${files[@]}"; then
        result "every patch applies, without fuzz" "${AM_FAILED##*/} does not apply:" "$AM_OUT"
        return
    fi
    result "every patch applies, without fuzz"
    mapfile -t commits < <(tree_git "$WT" rev-list --reverse "$QBASE..HEAD")
    new=$(mktemp)
    for i in "${!files[@]}"; do
        f=${files[i]##*/}
        format_commit "${commits[i]:-HEAD}" >"$new"
        first=$(diff "${files[i]}" "$new" | grep '^[<>]' | sed -n 1p || true)
        [ -z "$first" ] || bad+=("$f: differs first at: $first")
    done
    rm -f "$new"
    [ ${#bad[@]} -eq 0 ] || bad+=("cure: ./run queue apply $NAME, then ./run queue refresh $NAME")
    result "every patch is as refresh writes it (no offsets, nothing around it)" "${bad[@]}"
}

# checkpatch_one ARGS...: the tree's own checker, in its own folder.  Warnings
# count: both projects ask for none.  One is left out: QEMU's question whether a
# header imported from Linux came by the update script.  It stands for every such
# change, and ours comes from the headers_install of the tree we carry.
checkpatch_one() {
    local out left rc=0
    out=$(cd "$TREE_DIR" && perl scripts/checkpatch.pl "$@" 2>&1) || rc=$?
    left=$(awk 'BEGIN { RS = ""; ORS = "\n" }
        !/^WARNING: added, moved or deleted file\(s\) imported from Linux/' <<<"$out")
    if grep -qE '^(ERROR|WARNING|CHECK):' <<<"$left" ||
        { [ "$rc" -ne 0 ] && ! grep -qE '^(ERROR|WARNING|CHECK):' <<<"$out"; }; then
        grep -vE "$CHECKPATCH_NOISE" <<<"$left" | sed -n '1,40p'
        return 1
    fi
}

check_style() {
    local args=() f out title
    if [ ! -f "$TREE_DIR/scripts/checkpatch.pl" ] || [ "${CHECKPATCH:-}" = no ]; then
        return
    fi
    # FILE_PATH_CHANGES asks whether MAINTAINERS should name a new file: a
    # question for the day a series is posted.
    if [ "$NAME" = linux ]; then
        args=(--strict --no-summary --color=never --show-types --ignore FILE_PATH_CHANGES)
    else
        args=(--strict --no-summary --color=never)
    fi
    while read -r f; do
        [ -f "$QUEUE_DIR/$f" ] || continue
        title="checkpatch $f"
        if out=$(checkpatch_one "${args[@]}" "$(realpath "$QUEUE_DIR/$f")"); then
            result "$title"
        else
            result "$title" "$out"
        fi
    done < <(series)
    while read -r f; do
        if [[ $f != *.[ch] ]] || [ ! -f "$OVERLAY_ROOT/$f" ]; then continue; fi
        title="checkpatch $f"
        if out=$(checkpatch_one "${args[@]}" -f "$OVERLAY_ROOT/$f"); then
            result "$title"
        else
            result "$title" "$out"
        fi
    done < <(overlays)
}

# Every commit builds, with the overlay files that are named up to it.
check_each() {
    local dir=$BUILD/each-$NAME files=() commits=() i path log
    worktree_add "$QBASE"
    while read -r path; do
        files+=("$(realpath "$QUEUE_DIR/$path")")
    done < <(series)
    am_patches "$WT" "${files[@]}" || return 0
    mapfile -t commits < <(tree_git "$WT" rev-list --reverse "$QBASE..HEAD")
    mkdir -p "$BUILD" "$LOG"
    if [ ! -e "$dir/.git" ]; then
        rm -rf "$dir"
        tgit worktree prune
        tgit worktree add -q --detach "$dir" "$QBASE"
    fi
    for i in "${!commits[@]}"; do
        tree_git "$dir" checkout -q -f "${commits[i]}"
        while read -r path; do
            [ -n "$path" ] || continue
            mkdir -p "$(dirname "$dir/$path")"
            ln -sfn "$(realpath "$OVERLAY_ROOT/$path")" "$dir/$path"
        done < <(overlays_of "${files[@]:0:i+1}")
        path=${files[i]##*/}
        log=$LOG/each-$NAME-${path%%-*}.log
        if TREE=$dir OUT=$BUILD/each-$NAME-build "$SCRIPTS/queue-each.sh" "$NAME" >"$log" 2>&1 </dev/null; then
            result "builds up to $path"
        else
            result "builds up to $path" "$(grep -m 5 -E 'error:|Error ' "$log")" "the whole log: $(rel "$log")"
        fi
    done
    # Overlay files of this run must not stand in the next one's first commits.
    tree_git "$dir" clean -fdxq
}

cmd_check() {
    local each=
    [ "${1:-}" != --each ] || each=1
    need_tree
    need_queue
    check_series
    check_messages
    check_overlays
    check_applies
    check_style
    [ -z "$each" ] || check_each
    printf '1..%d\n' "$CHECK_NO"
    [ "$CHECK_BAD" -eq 0 ]
}
