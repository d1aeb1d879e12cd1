# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# To be sourced in the emulated host: libvirtd, TAP, and the monitor of a domain.

export PATH="$PATH:/usr/sbin:/usr/bin"
# shellcheck disable=SC2034  # for those who source this
HERE=/lab/libvirt
# shellcheck disable=SC2034
EMULATOR=/lab/bin/qemu-system-x86_64
# shellcheck disable=SC2034
CACHE=/var/cache/libvirt/qemu/capabilities
# shellcheck disable=SC2034
DAEMON_LOG=/var/log/libvirt/libvirtd.log
N=0

# pass TEXT; fail TEXT [FILE]: with what is in FILE
pass() {
    N=$((N + 1))
    echo "ok $N - libvirt: $1"
}

fail() {
    N=$((N + 1))
    echo "not ok $N - libvirt: $1"
    [ -z "${2:-}" ] || sed 's/^/# /' "$2"
}

# test_it TEXT FILE COMMAND...: FILE is shown if the command fails.
test_it() {
    local text="$1" file="$2"
    shift 2
    if "$@"; then
        pass "$text"
    else
        fail "$text" "$file"
    fi
}

# wait_for SECONDS COMMAND...: until it succeeds
wait_for() {
    local left="$(($1 * 5))"
    shift
    until "$@"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        sleep 0.2
    done
}

# On one CPU: libvirt keeps what it knows of QEMU only as long as CPUID is the
# same, and the bytes that differ between CPUs count.
daemon_start() {
    taskset 2 libvirtd -d -p /run/libvirtd.pid && wait_for 60 virsh -q list >/dev/null 2>&1
}

daemon_gone() { ! kill -0 "$DAEMON" 2>/dev/null; }

daemon_stop() {
    DAEMON=$(cat /run/libvirtd.pid)
    kill "$DAEMON"
    wait_for 60 daemon_gone
}

# gmem DOMAIN: query-guest-memfd, one member a line
gmem() {
    virsh qemu-monitor-command "$1" --pretty '{"execute":"query-guest-memfd"}'
}

# total DOMAIN MEMBER: of all blocks
total() {
    gmem "$1" | awk -v member="\"$2\":" '$1 == member { n += $2 } END { print n + 0 }'
}

state_is() { [ "$(virsh domstate "$1" 2>/dev/null)" = "$2" ]; }

# make_pipe NAME: what the first serial port of the domain is connected with
make_pipe() {
    rm -f "/tmp/$1.in" "/tmp/$1.out"
    mkfifo "/tmp/$1.in" "/tmp/$1.out"
}
