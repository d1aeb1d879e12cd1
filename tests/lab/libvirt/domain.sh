# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# To be sourced: a domain that converts memory, and what a user sees of it through
# libvirt.  The guest is the payload, test-libvirt.c; its requests come on a pipe.

EVENT=GUEST_MEMFD_CONVERSION_BUSY

# request WORD: the next one of the guest must begin with it.
request() {
    REQUEST=
    # What does not come in time is an empty one, and the wrong word.
    # shellcheck disable=SC3045  # busybox has it
    read -r -t 120 REQUEST <&3 || true
    [ "${REQUEST%% *}" = "$1" ]
}

answer() { echo ok >&4; }

# hold DOMAIN OFFSET: until "let_go"
hold() {
    # What the last one said is not to be taken for this one's.
    rm -f /tmp/pin
    gmem-pin "$PID" "$FD:$2" 3600000 >/tmp/pin 2>&1 &
    PIN=$!
    # The file may not be there yet.
    wait_for 60 grep -q holding /tmp/pin 2>/dev/null
}

let_go() {
    kill "$PIN"
    # Its code is that of the signal.
    wait "$PIN" 2>/dev/null || true
}

events() { grep -c "$EVENT.*\"action\":\"$1\"" /tmp/events; }

# resumed DOMAIN: an event that can be had at will shows that virsh listens.
resumed() {
    virsh suspend "$1" && virsh resume "$1" && grep -q 'event RESUME' /tmp/events
} >/dev/null 2>&1

# watch_events DOMAIN: its events go to /tmp/events, from now on.
watch_events() {
    rm -f /tmp/events
    virsh qemu-monitor-event "$1" --loop --timeout 600 >/tmp/events 2>&1 &
    EVENTS=$!
    wait_for 60 resumed "$1"
}

saw() { [ "$(events "$1")" -ge 1 ]; }

# domain_start NAME MODE: sets PID.  From /tmp/NAME.xml, if there is one.
domain_start() {
    local file="/tmp/$1.xml"
    [ -f "$file" ] || file=$HERE/$1.xml
    make_pipe "$1"
    : >"/tmp/$1.tap"
    # Both ways at once: opening never waits for the other side.
    exec 3<>"/tmp/$1.out" 4<>"/tmp/$1.in"
    if ! virsh create --validate "$file" >/tmp/create 2>&1; then
        fail "$1: virsh create" /tmp/create
        return 1
    fi
    pass "$1: virsh create"
    PID=$(cat "/run/libvirt/qemu/$1.pid")
    gmem "$1" >/tmp/gmem
    test_it "$1: mode is $2" /tmp/gmem grep -q "\"mode\": \"$2\"" /tmp/gmem
    virsh qemu-monitor-command "$1" --hmp 'info guest-memfd' >/tmp/hmp 2>&1
    test_it "$1: and so says the text monitor" /tmp/hmp grep -q "$2" /tmp/hmp
}

# mixed: the file of the process that has pages in both states; there is one with
# the first of the guest's 512 pages while they are not as the rest.
mixed() {
    sed -n 's/^fd \([0-9]*\) .* \(S[0-9]*P\|P[0-9]*S\)[SP0-9]*$/\1/p' /tmp/probe | head -n 1
}

# kernel_has NAME RUNS: what the kernel says of the pages, asked page by page
kernel_has() {
    gmem-probe "$PID" >/tmp/probe 2>&1
    test_it "$1: the kernel has $2" /tmp/probe grep -q "$2" /tmp/probe
    FD=${FD:-$(mixed)}
}

# What the guest asked for is so for the kernel and for the monitor.  FD: see mixed.
domain_converts() {
    local before after
    FD=
    request shared || { fail "$1: the guest comes up: $REQUEST" "/tmp/$1.tap"; return 1; }
    before=$(total "$1" private)
    kernel_has "$1" "$2"
    answer
    request private || { fail "$1: the guest converts memory: $REQUEST" "/tmp/$1.tap"; return 1; }
    gmem "$1" >/tmp/gmem
    after=$(total "$1" private)
    test_it "$1: query-guest-memfd through virsh: from $before private bytes to $after" \
        /tmp/gmem [ "$((after - before))" -eq 2097152 ]
    kernel_has "$1" "$3"
    answer
    [ -n "$FD" ]
}

# The guest waits for a page that is held: virsh suspend and resume, the events.
domain_busy() {
    local before after
    request busy || { fail "$1: the guest goes on: $REQUEST" "/tmp/$1.tap"; return 1; }
    watch_events "$1" || { fail "$1: virsh qemu-monitor-event" /tmp/events; return 1; }
    hold "$1" "${REQUEST#* }" || { fail "$1: gmem-pin" /tmp/pin; return 1; }
    answer
    test_it "$1: virsh qemu-monitor-event shows that a page is busy" /tmp/events wait_for 60 saw waiting
    virsh suspend "$1" >/tmp/suspend 2>&1
    test_it "$1: virsh suspend while a page is busy" /tmp/suspend state_is "$1" paused
    before=$(total "$1" retries)
    sleep 1
    after=$(total "$1" retries)
    echo "retries while suspended: $before, a second later $after" >/tmp/retries
    test_it "$1: suspended, nothing is retried" /tmp/retries [ "$before" -eq "$after" ]
    virsh resume "$1" >/tmp/resume 2>&1
    test_it "$1: virsh resume" /tmp/resume state_is "$1" running
    let_go
    test_it "$1: once the page is free, the same request ends" "/tmp/$1.tap" request "done"
    test_it "$1: and so the events say" /tmp/events wait_for 60 saw converted
    kill $EVENTS
    # Its code is that of the signal; what it has seen was checked above.
    wait $EVENTS 2>/dev/null
    kernel_has "$1" "$2"
    answer
}

# What libvirt has that cannot work here says so, and the guest goes on.
domain_refuses() {
    if virsh save "$1" /tmp/save >/tmp/refused 2>&1; then
        fail "$1: virsh save is refused"
        return
    fi
    test_it "$1: virsh save is refused: $2" /tmp/refused grep -q "$2" /tmp/refused
    test_it "$1: and the guest goes on" /tmp/refused wait_for 60 state_is "$1" running
}

gone() { ! kill -0 "$PID" 2>/dev/null; }
busy_since() { [ "$(total "$1" busy-pages)" -gt "$2" ]; }

domain_destroy() {
    local count start took
    request destroy || { fail "$1: the guest goes on: $REQUEST" "/tmp/$1.tap"; return 1; }
    count=$(total "$1" busy-pages)
    hold "$1" "${REQUEST#* }" || { fail "$1: gmem-pin" /tmp/pin; return 1; }
    answer
    test_it "$1: a page is busy once more" /tmp/pin wait_for 60 busy_since "$1" "$count"
    start=$(date +%s)
    virsh destroy "$1" >/tmp/destroy 2>&1
    took=$(($(date +%s) - start))
    test_it "$1: virsh destroy while a page is busy: $took s" /tmp/destroy [ "$took" -lt 20 ]
    test_it "$1: QEMU is gone" /tmp/destroy wait_for 20 gone
    let_go
    virsh list --all --name >/tmp/list
    test_it "$1: libvirt does not have it any more" /tmp/list eval "! grep -q '^$1\$' /tmp/list"
}

# domain NAME MODE SHARED PRIVATE REFUSED: the story of one domain.  SHARED, PRIVATE:
# what the kernel says of its pages while 512 are in this state; REFUSED: why it cannot
# be saved
domain() {
    local log="/var/log/libvirt/qemu/$1.log"
    if domain_start "$1" "$2" && domain_converts "$1" "$3" "$4" && domain_busy "$1" "$4"; then
        domain_refuses "$1" "$5"
        domain_destroy "$1"
    fi
    # It is gone, unless something has failed, which is counted then.
    virsh destroy "$1" >/dev/null 2>&1 || true
    exec 3<&- 4<&-
    sed 's/^/# /' "/tmp/$1.tap"
    # The last step ends with the domain.
    test_it "$1: the guest's own checks" "/tmp/$1.tap" \
        eval "[ \$(grep -c '^ok' /tmp/$1.tap) -eq 2 ] && ! grep -q '^not ok' /tmp/$1.tap"
    # libvirt ends QEMU by a signal; other lines of QEMU, and of the personality,
    # would be messages.
    grep -E 'qemu-system-x86_64: |personality: ' "$log" | grep -v 'terminating on signal' >/tmp/said
    test_it "$1: QEMU has said nothing" /tmp/said [ ! -s /tmp/said ]
}
