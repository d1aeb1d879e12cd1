#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# queue.sh apply|refresh|check|export|status|is-clean qemu|linux [OPTIONS]
#
# The folders can be set from outside (see queue-lib.sh); tests/queue does so.
set -eu
. "$(dirname "$0")/lib.sh"
. "$SCRIPTS/git.sh"
. "$SCRIPTS/queue-lib.sh"

usage() { die "usage: queue.sh apply|refresh|check|export|status|is-clean qemu|linux [OPTIONS]"; }

[ $# -ge 2 ] || usage
verb=$1
queue_init "$2"
shift 2

list_edits() {
    dirty_files | sed -n '1,10p'
    torn_overlays | sed 's/^/ (link replaced) /'
    ! committed_edits || say " commits that are not in the queue: $(tgit rev-list --count refs/gmem/applied..HEAD 2>/dev/null || echo some)"
}

# apply --discard keeps what it drops on a branch.
keep_discarded() {
    local commit path
    commit=$(as_queue && tgit stash create) || commit=
    tgit branch -f gmem-discarded "${commit:-HEAD}"
    say "what is discarded can still be had from the branch gmem-discarded"
    while read -r path; do
        [ -n "$path" ] || continue
        mv "$TREE_DIR/$path" "$TREE_DIR/$path.discarded"
        say "  and $(rel "$TREE_DIR/$path.discarded")"
    done <<EOF
$(torn_overlays)
EOF
}

cmd_apply() {
    local discard=
    [ "${1:-}" != --discard ] || discard=1
    need_tree
    need_queue
    refuse_in_progress
    if tree_edited; then
        if [ -z "$discard" ]; then
            list_edits >&2
            die "$(rel "$TREE_DIR") has edits that are not in the queue" \
                "put them into it:  ./run queue refresh $NAME  (it tells how, if they are not committed)" \
                "or drop them:      ./run queue apply $NAME --discard"
        fi
    elif ! queue_changed; then
        link_overlays
        say "$NAME: the queue ($(series | wc -l) patches) is applied already"
        return
    fi
    apply_queue_on "$QBASE"
    # --keep and --hard both leave files alone that do not differ.
    if [ -n "$discard" ]; then
        keep_discarded
        tgit reset -q --hard "$TIP"
    else
        tgit reset -q --keep "$TIP"
    fi
    link_overlays
    record_in_step
    say "$NAME: $(series | wc -l) patches applied, $(overlays | wc -l) overlay files linked"
}

# What ./run asks before it builds: in-step, edited, queue-changed or both.
cmd_status() {
    need_tree
    need_queue
    if tree_edited; then
        if queue_changed; then say both; else say edited; fi
    elif queue_changed; then
        say queue-changed
    else
        say in-step
    fi
}

# Before a tree is replaced by one of another base.
cmd_is_clean() {
    need_tree
    tree_edited || return 0
    list_edits >&2
    die "$(rel "$TREE_DIR") has edits that are not in the queue, and its base has changed" \
        "save them (./run queue refresh $NAME) or remove $(rel "$TREE_DIR"), then call again"
}

case $verb in
apply) cmd_apply "$@" ;;
status) cmd_status ;;
is-clean) cmd_is_clean ;;
refresh | check | export)
    # shellcheck source=/dev/null
    . "$SCRIPTS/queue-$verb.sh"
    "cmd_$verb" "$@"
    ;;
*) usage ;;
esac
