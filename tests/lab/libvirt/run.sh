# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# libvirt with our QEMU, in the emulated host; prints TAP.
set -u
# shellcheck source=tests/lab/libvirt/lib.sh
. /lab/libvirt/lib.sh
# shellcheck source=tests/lab/libvirt/argv.sh
. /lab/libvirt/argv.sh
# shellcheck source=tests/lab/libvirt/domain.sh
. /lab/libvirt/domain.sh

mkdir -p /run /var/log/libvirt
if ! daemon_start >/tmp/daemon 2>&1; then
    cat "$DAEMON_LOG" >>/tmp/daemon
    fail "libvirtd starts" /tmp/daemon
    exit 1
fi
pass "libvirtd starts: $(virsh version --daemon | sed -n 's/^Running against daemon: //p'), no other daemon"

capabilities
saved='private memory cannot be migrated'
domain ram in-place ' S65536$' ' S16384P512S48640$' "$saved"
domain numa in-place ' S32768$' ' S32512P256$' "$saved"
domain pflash in-place ' S65536$' ' S16384P512S48640$' "$saved"

if virsh create "$HERE"/refuse-file.xml >/tmp/refuse 2>&1; then
    fail "memory-backend-file is refused"
    virsh destroy file
else
    test_it "memory-backend-file is refused, and virsh says what to do" /tmp/refuse \
        grep -q 'cannot be used with guest memory that is converted in place' /tmp/refuse
fi

if pretend_snp >/tmp/daemon 2>&1; then
    snp_argv snp-plain '^{"qom-type":"memory-backend-ram","id":"pc.ram","size":268435456}$' \
        ',memory-backend=pc.ram,confidential-guest-support=lsec0'
    snp_argv snp-memfd '^{"qom-type":"memory-backend-memfd","id":"pc.ram","share":true,' \
        ',memory-backend=pc.ram,confidential-guest-support=lsec0'
    snp_argv snp-numa '^{"qom-type":"memory-backend-memfd","id":"ram-node1",.*"host-nodes":\[1\],"policy":"bind"}$' \
        ',confidential-guest-support=lsec0'
    for name in snp-plain snp-memfd snp-numa; do
        snp_start $name
    done
    # SEV says it in these words, the type of the others in its own.
    saved='Migration is not implemented'
    snp_personality snp-plain
    domain snp-plain in-place ' P16384S512P48640$' ' P65536$' "$saved"
    snp_personality snp-memfd convert-in-place=on
    domain snp-memfd in-place ' P16384S512P48640$' ' P65536$' "$saved"
    snp_personality snp-numa
    domain snp-numa in-place ' P32512S256$' ' P32768$' "$saved"
else
    fail "libvirtd starts again" /tmp/daemon
fi
daemon_stop
echo "1..$N"
