#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# ./run bench [--docs]: ratios of cost; results in build/bench/.
set -eu
. "$(dirname "$0")/lib.sh"
. "$SCRIPTS/ensure.sh"

out=$BUILD/bench
case ${1:-} in
'') ;;
--docs) out=$ROOT/docs/bench ;;
*) die "usage: ./run bench [--docs]" ;;
esac

begin bench "$@"
ensure_host
mkdir -p "$BUILD/bench"

say "measuring on the model of the kernel: some seconds"
"$BUILD/host/bench/bench-convert" >"$BUILD/bench/convert.json.new"
mv "$BUILD/bench/convert.json.new" "$BUILD/bench/convert.json"
python3 "$ROOT/bench/plot.py" "$BUILD/bench/convert.json" "$out"
say "numbers: $(rel "$BUILD/bench/convert.json"); plots and tables: $(rel "$out")/"
