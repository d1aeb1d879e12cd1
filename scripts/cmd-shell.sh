#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# ./run shell
set -eu
. "$(dirname "$0")/lib.sh"
. "$SCRIPTS/ensure.sh"

begin shell
ensure_packages
ensure_host
ensure_qemu
ensure_linux
ensure_lab
# A shell may stay open for long; other calls need not wait for it.
drop_lock
trap - INT TERM
exec "$ROOT/tests/lab/lab.sh" shell
