#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# ./run demo
set -eu
. "$(dirname "$0")/lib.sh"
. "$SCRIPTS/ensure.sh"

begin demo
ensure_packages
ensure_host
ensure_qemu
ensure_linux
ensure_lab
say
"$ROOT/tests/lab/lab.sh" demo </dev/null
