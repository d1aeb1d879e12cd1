# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the builds of QEMU, and the tests of what they made, share.  Sourced after
# lib.sh.

# configure_qemu TREE OUT OPTION...: unless OUT was configured with just these.
configure_qemu() {
    local tree="$1" out="$2" stamp
    shift 2
    stamp=$(printf '%s\n' "$tree" "$@" | hash_of)
    [ "$(cat "$out/.gmem-configured" 2>/dev/null)" != "$stamp" ] || return 0
    rm -rf "$out"
    mkdir -p "$out"
    (cd "$out" && "$tree/configure" "$@")
    printf '%s\n' "$stamp" >"$out/.gmem-configured"
}

RESULTS=0
BAD=0

# result TITLE COMMAND...: a line of TAP, and why if it failed.
result() {
    local title="$1" out
    shift
    RESULTS=$((RESULTS + 1))
    if out=$("$@" 2>&1); then
        say "ok $RESULTS - $title"
    else
        # shellcheck disable=SC2034  # for who sources this
        BAD=1
        say "not ok $RESULTS - $title"
        printf '%s\n' "$out" | tail -n 30 | sed 's/^/# /'
        return 1
    fi
}

# query_guest_memfd QEMU WHY [OPTION...]: it answers without a guest, and says why it
# has none.
query_guest_memfd() {
    local qemu="$1" why="$2" out rc=0
    shift 2
    out=$(printf '%s\n' '{"execute":"qmp_capabilities"}' '{"execute":"query-guest-memfd"}' '{"execute":"quit"}' |
        timeout 60 "$qemu" -machine none "$@" -nodefaults -display none -qmp stdio 2>&1) || rc=$?
    printf '%s\n' "$out"
    [ "$rc" -eq 0 ] || return "$rc"
    printf '%s\n' "$out" | grep -q "\"mode\": \"none\", \"why\": \"$why\""
}
