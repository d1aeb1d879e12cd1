# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# queue check: prints TAP; fails if one check does.  Sourced.
#
# CHECKPATCH=no leaves checkpatch.pl out; that, and a tree that has none, is a
# counted skip.

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

# left_out TITLE WHY: a check that cannot be made
left_out() {
    CHECK_NO=$((CHECK_NO + 1))
    printf 'ok %d - %s # SKIP %s\n' "$CHECK_NO" "$NAME queue: $1" "$2"
}

# problem TEXT: one line more in the caller's "bad".
problem() {
    bad="${bad:+$bad
}$1"
}

# like TEXT REGEX
like() { printf '%s\n' "$1" | grep -E -- "$2" >/dev/null; }

check_series() {
    local bad='' listed f
    listed=$(series)
    while read -r f; do
        [ -n "$f" ] || continue
        [ -f "$QUEUE_DIR/$f" ] || problem "series names $f, and there is no such file"
        like "$f" '^[0-9]{4}-[A-Za-z0-9._-]+\.patch$' || problem "$f: the name is not NNNN-words.patch"
    done <<EOF
$listed
EOF
    for f in "$QUEUE_DIR"/*; do
        f=${f##*/}
        case $f in
        series | "$COVER_LETTER") continue ;;
        esac
        printf '%s\n' "$listed" | grep -xF -- "$f" >/dev/null || problem "$f is not in series"
    done
    result "series and files are the same" ${bad:+"$bad"}
    bad=$(printf '%s\n' "$listed" | cut -c1-4 | sort -c -u 2>&1) || true
    result "the order is that of the numbers, each used once" ${bad:+"$bad"}
}

# The letter that export --cover sends in front.  A series that touches as much
# as that of Linux needs one; elsewhere it may be missing.
check_cover() {
    local bad='' f="$QUEUE_DIR/$COVER_LETTER" s
    if [ ! -f "$f" ]; then
        [ "$NAME" != linux ] || result "cover letter" "there is no $(rel "$f")"
        return
    fi
    s=$(subject "$f")
    like "$(author "$f")" '<.*@.*>$' || problem "$COVER_LETTER: no 'From:' with an address"
    like "$s" '^[^ :]+.*: [^ ]' || problem "$COVER_LETTER: the subject is not 'area: what it does'"
    like "$(cover_body "$f")" '[^[:space:]]' || problem "$COVER_LETTER: there is no text below the subject"
    ! like "$s $(cover_body "$f")" '\*\*\* (SUBJECT|BLURB) HERE' || problem "$COVER_LETTER: it is an empty form"
    ! LC_ALL=C grep -q '[^ -~[:blank:]]' "$f" || problem "$COVER_LETTER: not plain ASCII, which its mail is"
    [ -z "$(cover_body "$f" | awk 'length($0) > 76')" ] || problem "$COVER_LETTER: a line has more than 76 characters"
    result "cover letter" ${bad:+"$bad"}
}

check_messages() {
    local bad='' f s length from
    while read -r f; do
        if [ -z "$f" ] || [ ! -f "$QUEUE_DIR/$f" ]; then continue; fi
        s=$(subject "$QUEUE_DIR/$f")
        [ -n "$(trailers "$QUEUE_DIR/$f" Upstream)" ] || problem "$f: no 'Upstream:' line (a link, or N/A and why)"
        trailers "$QUEUE_DIR/$f" Signed-off-by | grep '<.*@.*>' >/dev/null || problem "$f: no 'Signed-off-by:' line"
        # Who sends a patch signs it.  An encoded name is not compared.
        from=$(sed -n '/^From: /{s///p;q;}' "$QUEUE_DIR/$f")
        like "$from" '=[?]' || trailers "$QUEUE_DIR/$f" Signed-off-by | grep -xF -- "$from" >/dev/null ||
            problem "$f: no 'Signed-off-by: $from', whom it is from"
        like "$s" '^[^ :]+.*: [^ ]' || problem "$f: the subject is not 'area: what it does'"
        # Characters, not bytes.
        length=$(printf '%s' "$s" | wc -m)
        [ "$length" -le 76 ] || problem "$f: the subject has $length characters, more than 76"
        case $s in
        *.) problem "$f: the subject ends with a full stop" ;;
        esac
        case $s in
        'fixup!'* | 'squash!'* | 'amend!'*) problem "$f: a $s is left over" ;;
        esac
    done <<EOF
$(series)
EOF
    result "subjects and trailers" ${bad:+"$bad"}
}

check_overlays() {
    local bad='' path dir count named="$SCRATCH/named"
    overlays | sort >"$named"
    while read -r count path; do
        [ -n "$path" ] || continue
        [ "$count" -eq 1 ] || problem "$path is named by $count patches"
        [ -f "$OVERLAY_ROOT/$path" ] || problem "$path is named by a patch, and there is no such file"
        ! tgit cat-file -e "$QBASE:$path" 2>/dev/null || problem "$path is in the base already: change it by a patch"
    done <<EOF
$(uniq -c "$named")
EOF
    for dir in $OVERLAY_DIRS; do
        [ -d "$OVERLAY_ROOT/$dir" ] || continue
        find "$OVERLAY_ROOT/$dir" -type f ! -name '*.pyc' ! -name '*~' ! -name '.*.sw?' ! -name '.gitignore' >"$SCRATCH/found"
        while IFS= read -r path; do
            path=${path#"$OVERLAY_ROOT"/}
            grep -qxF -- "$path" "$named" || problem "$path is named by no patch (a line 'Overlay: $path')"
        done <"$SCRATCH/found"
    done
    result "overlay files: each named by one patch" ${bad:+"$bad"}
}

# git am knows no fuzz, but it takes a hunk at another line.  So the queue is
# applied and written again: if the same bytes come out, every hunk fits where
# it says, and nothing stands before, between or after them.
check_applies() {
    local bad='' f i=0 commit new="$SCRATCH/new" commits="$SCRATCH/commits" first
    set --
    while IFS= read -r f; do
        [ -z "$f" ] || set -- "$@" "$f"
    done <<EOF
$(patch_files)
EOF
    worktree_add "$QBASE"
    if ! am_patches "$WT" "$@"; then
        result "every patch applies, without fuzz" "${AM_FAILED##*/} does not apply:" "$AM_OUT"
        return
    fi
    result "every patch applies, without fuzz"
    tree_git "$WT" rev-list --reverse "$QBASE..HEAD" >"$commits"
    for f in "$@"; do
        i=$((i + 1))
        commit=$(sed -n "${i}p" "$commits")
        format_commit "${commit:-HEAD}" >"$new"
        first=$(diff "$f" "$new" | grep '^[<>]' | sed -n 1p || true)
        [ -z "$first" ] || problem "${f##*/}: differs first at: $first"
    done
    [ -z "$bad" ] || problem "cure: ./run queue apply $NAME, then ./run queue refresh $NAME"
    result "every patch is as refresh writes it (no offsets, nothing around it)" ${bad:+"$bad"}
}

# checkpatch_one DIR ARGS...: the tree's own checker, in DIR.  Warnings count: both
# projects ask for none.  One is left out: QEMU's question whether a header imported
# from Linux came by the update script.  It stands for every such change, and ours
# comes from the headers_install of the tree we carry.
checkpatch_one() {
    local dir="$1" checker out left rc=0
    shift
    checker=$(realpath "$TREE_DIR/scripts/checkpatch.pl")
    out=$(cd "$dir" && perl "$checker" "$@" 2>&1) || rc=$?
    left=$(printf '%s\n' "$out" | awk 'BEGIN { RS = ""; ORS = "\n" }
        !/^WARNING: added, moved or deleted file\(s\) imported from Linux/')
    if like "$left" '^(ERROR|WARNING|CHECK):' ||
        { [ "$rc" -ne 0 ] && ! like "$out" '^(ERROR|WARNING|CHECK):'; }; then
        printf '%s\n' "$left" | grep -vE "$CHECKPATCH_NOISE" | sed -n '1,40p'
        return 1
    fi
}

check_style() {
    local f out title
    if [ "${CHECKPATCH:-}" = no ]; then
        left_out "checkpatch" "CHECKPATCH=no"
        return
    elif [ ! -f "$TREE_DIR/scripts/checkpatch.pl" ]; then
        left_out "checkpatch" "there is no $(rel "$TREE_DIR")/scripts/checkpatch.pl"
        return
    fi
    # FILE_PATH_CHANGES asks whether MAINTAINERS should name a new file: a
    # question for the day a series is posted.
    if [ "$NAME" = linux ]; then
        set -- --strict --no-summary --color=never --show-types --ignore FILE_PATH_CHANGES
    else
        set -- --strict --no-summary --color=never
    fi
    while read -r f; do
        if [ -z "$f" ] || [ ! -f "$QUEUE_DIR/$f" ]; then continue; fi
        title="checkpatch $f"
        if out=$(checkpatch_one "$TREE_DIR" "$@" "$(realpath "$QUEUE_DIR/$f")"); then
            result "$title"
        else
            result "$title" "$out"
        fi
    done <<EOF
$(series)
EOF
    while read -r f; do
        case $f in
        *.[ch]) [ -f "$OVERLAY_ROOT/$f" ] || continue ;;
        *) continue ;;
        esac
        title="checkpatch $f"
        # In tests/ other rules hold: it has to see the path in the tree, which may
        # not have the file yet.
        if out=$(checkpatch_one "$OVERLAY_ROOT" "$@" --no-tree -f "$f"); then
            result "$title"
        else
            result "$title" "$out"
        fi
    done <<EOF
$(overlays)
EOF
}

# What "check --each" builds of each commit: see queue-each.sh.
each_configs() {
    case $NAME in
    linux) printf 'x86 x86-none arm64 selftests' ;;
    *) printf 'all' ;;
    esac
}

# each_build CONFIG base|patch LOGFILE: one build of the tree in EACH_DIR.
each_build() {
    TREE=$EACH_DIR OUT=$BUILD/each-$NAME-$1 FILES=$SCRATCH/files ALL=$SCRATCH/all \
        "$SCRIPTS/queue-each.sh" "$NAME" "$1" "$2" >"$3" 2>&1 </dev/null
}

# each_result TITLE LOGFILE COMMAND...: a failed build tells what is new, or
# else its errors.
each_result() {
    local title="$1" log="$2" start
    shift 2
    start=$(seconds)
    if "$@"; then
        result "$title ($(($(seconds) - start)) s)"
    else
        result "$title" "$(grep -m 10 '^new: ' "$log" || grep -m 5 -E '(error|Error|fatal)[: ]' "$log" || tail -n 3 "$log")" \
            "the whole log: $(rel "$log")"
        return 1
    fi
}

# each_key CONFIG PREV COMMIT: stands for all that decides how one build ends:
# the trees, the overlay files so far, what we build with.
each_key() {
    {
        tree_git "$EACH_DIR" rev-parse "$QBASE^{tree}" "$2^{tree}" "$3^{tree}" || exit 1
        while read -r path; do
            [ -z "$path" ] || cat "$OVERLAY_ROOT/$path" || exit 1
        done <"$SCRATCH/overlays"
        cat "$SCRIPTS/queue-each.sh" "$SCRIPTS/kconfig.sh" || exit 1
        [ "$NAME" = linux ] || cat "$SCRIPTS/build-qemu.sh" || exit 1
        [ ! -f "$SCRIPTS/each/$1.config" ] || cat "$SCRIPTS/each/$1.config"
        # Not all of them are needed for each.
        for tool in gcc aarch64-linux-gnu-gcc sparse; do
            $tool --version 2>/dev/null | sed -n 1p || true
        done
        printf '%s\n' "$NAME" "$1"
    } | hash_of
}

# each_known KEY: that build was made already, and all was well.
each_known() { grep -qxF -- "$1" "$EACH_GOOD" 2>/dev/null; }

# each_patch CONFIG PREV COMMIT PATCH: one build, or what is known of it.  A
# queue of 40 patches takes hours, and most changes are to its end.
each_patch() {
    local config="$1" patch="$4" key log title="builds up to $4 ($1)"
    key=$(each_key "$1" "$2" "$3") || exit 1
    if each_known "$key"; then
        result "$title (unchanged since it was built)"
        return
    fi
    if [ "$NAME" = linux ] && ! each_base "$config"; then
        result "$title" "there is no base to compare with"
        return
    fi
    tree_git "$EACH_DIR" checkout -q -f "$3"
    tree_git "$EACH_DIR" diff --name-only "$2" "$3" >"$SCRATCH/files"
    log=$LOG/each-$NAME-${patch%%-*}-$config.log
    ! each_result "$title" "$log" each_build "$config" patch "$log" || printf '%s\n' "$key" >>"$EACH_GOOD"
}

# each_base CONFIG: what the compiler says of the base is no fault of ours.
# Once per run.
each_base() {
    local log="$LOG/each-$NAME-base-$1.log"
    case " $EACH_BASES " in
    *" $1:ok "*) return 0 ;;
    *" $1:bad "*) return 1 ;;
    esac
    tree_git "$EACH_DIR" checkout -q -f "$QBASE"
    if each_result "base builds ($1)" "$log" each_build "$1" base "$log"; then
        EACH_BASES="$EACH_BASES $1:ok"
    else
        EACH_BASES="$EACH_BASES $1:bad"
        return 1
    fi
}

# Every commit builds, with the overlay files that are named up to it.
check_each() {
    local file commit prev="$QBASE" i=0 path config commits="$SCRATCH/commits"
    EACH_DIR=$BUILD/each-$NAME
    EACH_GOOD=$BUILD/stamp/each-$NAME
    EACH_BASES=
    worktree_add "$QBASE"
    set --
    while IFS= read -r path; do
        [ -z "$path" ] || set -- "$@" "$path"
    done <<EOF
$(patch_files)
EOF
    am_patches "$WT" "$@" || return 0
    tree_git "$WT" rev-list --reverse "$QBASE..HEAD" >"$commits"
    tree_git "$WT" log --format= --name-only "$QBASE..HEAD" | sort -u >"$SCRATCH/all"
    : >"$SCRATCH/overlays"
    : >"$SCRATCH/files"
    mkdir -p "$BUILD/stamp" "$LOG"
    if [ ! -e "$EACH_DIR/.git" ]; then
        rm -rf "$EACH_DIR"
        tgit worktree prune
        tgit worktree add -q --detach "$EACH_DIR" "$QBASE"
    fi
    for file in "$@"; do
        i=$((i + 1))
        commit=$(sed -n "${i}p" "$commits")
        [ -n "$commit" ] || break
        overlays_of "$file" >>"$SCRATCH/overlays"
        while read -r path; do
            [ -n "$path" ] || continue
            mkdir -p "$(dirname "$EACH_DIR/$path")"
            ln -sfn "$(realpath "$OVERLAY_ROOT/$path")" "$EACH_DIR/$path"
        done <"$SCRATCH/overlays"
        for config in $(each_configs); do
            each_patch "$config" "$prev" "$commit" "${file##*/}"
        done
        prev=$commit
    done
    # Overlay files of this run must not stand in the next one's first commits.
    tree_git "$EACH_DIR" clean -fdxq
}

cmd_check() {
    local each=
    [ "${1:-}" != --each ] || each=1
    need_tree
    need_queue
    check_series
    check_cover
    check_messages
    check_overlays
    check_applies
    check_style
    [ -z "$each" ] || check_each
    printf '1..%d\n' "$CHECK_NO"
    [ "$CHECK_BAD" -eq 0 ]
}
