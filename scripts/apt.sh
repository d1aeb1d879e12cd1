# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A private apt state: packages of suites that the machine itself does not use
# are seen here, and the machine's own sources stay as they are.  Sourced.
# Where the packages come from is read from the machine's apt configuration.

# Two states, so that a package to be installed can come from nowhere but its
# suite:
#   backports   bookworm-backports: packages that get installed
#   sources     trixie-backports and sid: the sources of BASE

KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# apt_private STATE TOOL ARGS...
apt_private() {
    local dir="$BUILD/apt/$1" tool="$2"
    shift 2
    "$tool" -o Dir::State::Lists="$dir/lists" -o Dir::Etc::SourceList=/dev/null \
        -o Dir::Etc::SourceParts="$dir/parts" -o Dir::Cache="$dir/cache" \
        -o APT::Sandbox::User="$(id -un)" -o Acquire::Retries=3 -o Acquire::Languages=none "$@"
}

apt_mirror() {
    # shellcheck disable=SC2016  # apt fills these in
    apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(REPO_URI)' |
        awk '$1 == "Debian" && $2 == "bookworm" && !seen++ { print $3 }'
}

# The machine's own lists are empty on a fresh image: the mirror is known only
# after they were read once.
apt_find_mirror() {
    local uri
    uri=$(apt_mirror)
    if [ -z "$uri" ] && [ "$(id -u)" -eq 0 ]; then
        apt-get update -q >&2
        uri=$(apt_mirror)
    fi
    [ -n "$uri" ] ||
        die "apt on this machine knows no Debian 12 (bookworm) mirror" \
            "call 'apt-get update' as root, or see that bookworm is among apt's sources," \
            "or give the sources yourself: QEMU_SRC= and LINUX_SRC= (see BASE)"
    printf '%s' "$uri"
}

# stanza SUITES [FIELD]
stanza() {
    printf 'Types: deb deb-src\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n%s\n\n' \
        "$MIRROR" "$1" "$KEYRING" "${2:-}"
}

apt_stanzas() {
    case $1 in
    backports) stanza bookworm-backports ;;
    sources)
        stanza trixie-backports
        # A mirror that was frozen on purpose has an sid past its date.  The
        # signature is checked all the same, and the date guards nothing here:
        # out of sid we take only files whose sha256 stands in BASE.
        stanza sid "Check-Valid-Until: no"
        ;;
    esac
}

# apt_lists STATE: read its lists; at most once in six hours.
apt_lists() {
    local state="$1" dir="$BUILD/apt/$1" out
    [ -z "$(find "$dir/updated" -mmin -360 2>/dev/null)" ] || return 0
    [ -r "$KEYRING" ] ||
        die "the keys of the Debian archive are not here ($KEYRING)" \
            "install the package debian-archive-keyring"
    MIRROR=$(apt_find_mirror) || exit 1
    mkdir -p "$dir/lists/partial" "$dir/parts" "$dir/cache/archives/partial"
    apt_stanzas "$state" >"$dir/parts/gmem.sources"
    out=$dir/update.out
    if ! apt_update "$state" >"$out" 2>&1; then
        cat "$out"
        apt_explain "$state" "$out"
    fi
    cat "$out"
    touch "$dir/updated"
}

apt_update() { apt_private "$1" apt-get update -q -o APT::Update::Error-Mode=any; }

# apt_explain STATE OUTPUT: returns only if it could help itself.
apt_explain() {
    if grep -q NO_PUBKEY "$2"; then
        if [ "$(id -u)" -eq 0 ] && apt-get install -y --only-upgrade debian-archive-keyring && apt_update "$1"; then
            return
        fi
        die "this machine's keys of the Debian archive are too old for today's suites" \
            "as root: apt-get update && apt-get install --only-upgrade debian-archive-keyring"
    fi
    if grep -q 'is expired' "$2"; then
        die "the mirror's package lists are past the date they are valid to, so apt does not take them" \
            "see that this machine's clock is right and its mirror up to date;" \
            "if the mirror is frozen on purpose, say so in apt's configuration: Acquire::Check-Valid-Until \"false\";"
    fi
    die "apt cannot read the package lists (no network, or the mirror is down)" \
        "see that 'apt-get update' works, then call the same command again," \
        "or give the sources yourself: QEMU_SRC= and LINUX_SRC= (see BASE)"
}
