# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# libvirt with our QEMU, in the emulated host; prints TAP.
set -u
SNP_REFUSED='vm-type SEV-SNP not supported by KVM'
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
domain ram in-place P512
domain numa in-place P256
domain pflash in-place P512

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
else
    fail "libvirtd starts again" /tmp/daemon
fi
daemon_stop
echo "1..$N"
