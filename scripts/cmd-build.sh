#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# ./run build [qemu|linux|all]
# ./run build linux --config=FILE --deb|--kvm
set -eu
. "$(dirname "$0")/lib.sh"
. "$SCRIPTS/ensure.sh"

what=${1:-all}
[ $# -eq 0 ] || shift
config=
make=
while [ $# -gt 0 ]; do
    case $1 in
    --config=*) config=${1#--config=} ;;
    --deb | --kvm) make=${1#--} ;;
    *) die "build: there is no option '$1'" ;;
    esac
    shift
done
case $what:$config:$make in
qemu:: | linux:: | all::) ;;
linux:?*:?*) ;;
linux:*) die "build linux: --config=FILE goes with --deb (packages) or --kvm (only KVM's modules)" ;;
*) die "build: '$what' is not one of qemu, linux, all; only linux takes options" ;;
esac
if [ -n "$config" ]; then
    [ -f "$config" ] || die "--config: there is no file '$config'" \
        "take the one of a kernel that this machine has: /boot/config-*"
    config=$(realpath "$config")
fi
begin build "$what"
ensure_packages
case $what$make in
qemu) ensure_qemu ;;
linux) ensure_linux ;;
linuxdeb)
    install_packages deb
    ensure_tree linux
    step build-linux-deb "building packages of Linux" make "$SCRIPTS/build-linux-deb.sh" deb "$config"
    find "$BUILD/linux-deb" -maxdepth 1 -name '*.deb' | sort | while read -r deb; do say "made: $(rel "$deb")"; done
    ;;
linuxkvm)
    ensure_tree linux
    step build-linux-kvm "building KVM's modules with this configuration" make "$SCRIPTS/build-linux-deb.sh" kvm "$config"
    tail -n 3 "$LOG/build-linux-kvm.log"
    ;;
all)
    ensure_tree qemu
    ensure_tree linux
    ensure_host
    ensure_qemu
    ensure_linux
    ensure_lab
    ;;
esac
say "built: $what"
