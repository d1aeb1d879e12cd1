#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# ./run queue apply|refresh|check|export [qemu|linux] [OPTIONS]
set -eu
. "$(dirname "$0")/lib.sh"
. "$SCRIPTS/ensure.sh"

verb=${1:-}
case $verb in
apply | refresh | check | export) shift ;;
*) die "usage: ./run queue apply|refresh|check|export [qemu|linux]" ;;
esac
trees="qemu linux"
case ${1:-} in
qemu | linux) trees=$1 && shift ;;
esac

begin queue "$verb"
ensure_packages
case $verb:$trees:${1:-} in
check:*linux*:--each) ensure_packages_each ;;
esac
rc=0
for tree in $trees; do
    ensure_base "$tree"
    "$SCRIPTS/queue.sh" "$verb" "$tree" "$@" || rc=$?
done
exit "$rc"
