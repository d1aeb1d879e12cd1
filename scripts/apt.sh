# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A private apt state: packages of suites that the machine itself does not use
# are seen here, and the machine's own sources stay as they are.  Sourced.
# Where the packages come from is read from the machine's apt configuration.

APT_DIR=$BUILD/apt
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

apt_private() {
    local tool=$1
    shift
    "$tool" -o Dir::State::Lists="$APT_DIR/lists" -o Dir::Etc::SourceList=/dev/null \
        -o Dir::Etc::SourceParts="$APT_DIR/parts" -o Dir::Cache="$APT_DIR/cache" \
        -o APT::Sandbox::User="$(id -un)" -o Acquire::Retries=3 "$@"
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

# apt_lists: read the lists of our suites; at most once in six hours.
apt_lists() {
    local uri out
    [ -z "$(find "$APT_DIR/updated" -mmin -360 2>/dev/null)" ] || return 0
    [ -r "$KEYRING" ] ||
        die "the keys of the Debian archive are not here ($KEYRING)" \
            "install the package debian-archive-keyring"
    uri=$(apt_find_mirror) || exit 1
    mkdir -p "$APT_DIR/lists/partial" "$APT_DIR/parts" "$APT_DIR/cache/archives/partial"
    cat >"$APT_DIR/parts/gmem.sources" <<EOF
Types: deb deb-src
URIs: $uri
Suites: bookworm-backports trixie-backports sid
Components: main
Signed-By: $KEYRING
EOF
    out=$APT_DIR/update.out
    if ! apt_private apt-get update -q -o APT::Update::Error-Mode=any >"$out" 2>&1; then
        cat "$out"
        if grep -q NO_PUBKEY "$out"; then
            if [ "$(id -u)" -eq 0 ] && apt-get install -y --only-upgrade debian-archive-keyring &&
                apt_private apt-get update -q -o APT::Update::Error-Mode=any; then
                touch "$APT_DIR/updated"
                return 0
            fi
            die "this machine's keys of the Debian archive are too old for today's suites" \
                "as root: apt-get update && apt-get install --only-upgrade debian-archive-keyring"
        fi
        die "apt cannot read the package lists (no network, or the mirror is down)" \
            "see that 'apt-get update' works, then call the same command again," \
            "or give the sources yourself: QEMU_SRC= and LINUX_SRC= (see BASE)"
    fi
    cat "$out"
    touch "$APT_DIR/updated"
}
