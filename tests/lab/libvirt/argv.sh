# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# To be sourced: what libvirt finds out about our QEMU, and the command lines that
# it writes for SEV-SNP.

capabilities() {
    local log=/tmp/domcapabilities flags=/tmp/flags flag
    virsh domcapabilities --virttype kvm --emulatorbin "$EMULATOR" --arch x86_64 --machine q35 2>&1 |
        sed '/<cpu>/,/<\/cpu>/d' >$log
    test_it "domcapabilities of our QEMU: KVM, q35, memfd" $log grep -q "<value>memfd</value>" $log
    test_it "no SEV-SNP where the host has none" $log grep -q "<launchSecurity supported='no'/>" $log
    sed -n "s/.*<flag name='\(.*\)'.*/\1/p" "$CACHE"/*.xml >$flags
    for flag in kvm confidential-guest-support memory-backend-memfd virtio-balloon.free-page-reporting; do
        test_it "libvirt sees $flag" $flags grep -qx "$flag" $flags
    done
    for flag in sev-guest sev-snp-guest; do
        test_it "libvirt does not see $flag" $flags eval "! grep -qx $flag $flags"
    done
}

# FOR THIS TEST ONLY: libvirt is made to believe that the host has SEV-SNP, by an
# edit of what it keeps about QEMU.  Nobody should do that on a machine in use.
pretend_snp() {
    daemon_stop || return
    sed -i -e "/<flag name='kvm'\/>/a <flag name='sev-guest'/><flag name='sev-snp-guest'/>" \
        -e 's|</qemuCaps>|<sev><cbitpos>51</cbitpos><reducedPhysBits>1</reducedPhysBits><pdh>AA==</pdh><certChain>AA==</certChain><maxGuests>1</maxGuests><maxESGuests>1</maxESGuests></sev></qemuCaps>|' \
        "$CACHE"/*.xml
    daemon_start
}

# objects FILE: the -object arguments in a command line, one a line
objects() {
    local next=
    # What libvirt prints is quoted for the shell, and begins with variables.
    eval "set -- $(cat "$1")"
    for word; do
        [ "$next" != -object ] || printf '%s\n' "$word"
        next=$word
    done
}

# accepted FILE: does QEMU make these objects?  masterKey0 has its key in a file
# that is there only while a domain runs.
accepted() {
    objects "$1" | grep -v masterKey0 >/tmp/objects
    set --
    while read -r word; do
        set -- "$@" -object "$word"
    done </tmp/objects
    [ $# -gt 0 ] || return
    printf '%s\n' '{"execute":"qmp_capabilities"}' '{"execute":"qom-list","arguments":{"path":"/objects"}}' \
        '{"execute":"quit"}' |
        timeout 60 "$EMULATOR" -machine none -nodefaults -display none -qmp stdio "$@" >/tmp/accepted 2>&1 &&
        grep -q '"name": "lsec0"' /tmp/accepted
}

# snp_argv NAME OBJECT MACHINE: the command line for NAME.xml has an object that
# matches OBJECT, and the machine's options match MACHINE.
snp_argv() {
    local name="$1" file="/tmp/$1.argv"
    virsh domxml-to-native qemu-argv --xml "$HERE/$name.xml" >"$file" 2>&1
    : >/tmp/accepted
    test_it "$name: libvirt writes a command line" "$file" grep -q -- '-machine' "$file"
    objects "$file" >"$file.objects"
    test_it "$name: guest memory is as expected" "$file" grep -q -- "$2" "$file.objects"
    test_it "$name: lsec0 is a sev-snp-guest" "$file" \
        grep -q '{"qom-type":"sev-snp-guest","id":"lsec0","cbitpos":51,"reduced-phys-bits":1,"policy":196608}' "$file.objects"
    test_it "$name: it is the machine's guest support" "$file" \
        grep -q -- "-machine pc-q35[^ ]*$3" "$file"
    test_it "$name: QEMU takes each of the objects" /tmp/accepted accepted "$file"
}

# The whole command line, started by libvirt: QEMU reads all of it, and says the
# one thing that is true here.
snp_start() {
    local log="/tmp/$1.start"
    make_pipe "$1"
    if virsh create "$HERE/$1.xml" >"$log" 2>&1; then
        virsh destroy "$1" >>"$log"
        fail "$1: it starts where there is no SEV-SNP" "$log"
        return
    fi
    test_it "$1: started here, QEMU says what it lacks" "$log" \
        grep -q 'qemu-system-x86_64: .*vm-type SEV-SNP not supported by KVM' "$log"
    # libvirt appends to it.
    rm -f "/var/log/libvirt/qemu/$1.log"
}

# snp_personality NAME [MACHINE]: the same domain, its QEMU with a KVM that has SEV-SNP
# (tests/lab/personality).  MACHINE: an option of the machine besides
snp_personality() {
    local more=
    [ -z "${2:-}" ] || more="<qemu:arg value='-machine'/><qemu:arg value='$2'/>"
    sed -e "s|<domain type='kvm'>|<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>|" \
        -e "s|</domain>|<qemu:commandline>$more<qemu:env name='LD_PRELOAD' value='/lab/bin/personality.so'/><qemu:env name='PERSONALITY' value='log=/tmp/$1.calls'/></qemu:commandline></domain>|" \
        "$HERE/$1.xml" >"/tmp/$1.xml"
}
