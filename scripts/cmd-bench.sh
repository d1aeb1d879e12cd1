#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# ./run bench [--docs] [--model]: ratios of cost; results in build/bench/.
#
# A ratio that misses its target is said and is no failure: this is to measure.
set -eu
. "$(dirname "$0")/lib.sh"
. "$SCRIPTS/ensure.sh"

out=$BUILD/bench
docs=
model=
for arg in "$@"; do
    case $arg in
    --docs) out=$ROOT/docs/bench docs=1 ;;
    --model) model=1 ;;
    *) die "usage: ./run bench [--docs] [--model]" ;;
    esac
done

begin bench "$@"
ensure_host
mkdir -p "$BUILD/bench"
if [ -z "$model" ]; then
    ensure_qemu
    ensure_linux
    ensure_lab
    step bench-lab "measuring in the emulated host, about 10 minutes" - \
        "$SCRIPTS/bench-lab.sh" "$BUILD/bench/kernel.json"
fi

say "measuring on the model of the kernel: some seconds"
"$BUILD/host/bench/bench-convert" >"$BUILD/bench/convert.json.new"
mv "$BUILD/bench/convert.json.new" "$BUILD/bench/convert.json"
python3 "$ROOT/bench/plot.py" "$BUILD/bench/convert.json" "$out"
[ -n "$model" ] || python3 "$ROOT/bench/kernel.py" --plot "$BUILD/bench/kernel.json" "$out"
for name in convert kernel; do
    [ -z "$docs" ] || [ ! -f "$BUILD/bench/$name.json" ] || cp "$BUILD/bench/$name.json" "$out/"
done
say "numbers: $(rel "$BUILD/bench")/*.json; plots and tables: $(rel "$out")/"
