#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# meson-tap.sh BUILD_DIR: runs "meson test" there and prints one TAP line for
# every case inside the tests (meson itself counts programs).
set -eu

dir=$1
rm -f "$dir/meson-logs/testlog.json"
code=$dir/.gmem-test-code
echo 0 >"$code"
{ meson test -C "$dir" --no-rebuild --print-errorlogs || echo $? >"$code"; } | sed 's/^/# /'
python3 - "$dir/meson-logs/testlog.json" <<'EOF'
import json
import re
import sys

number = 0
try:
    log = open(sys.argv[1], encoding="utf-8")
except OSError as error:
    sys.exit(f"no test has run: {error}")


def line(passed, name, skip=""):
    global number
    number += 1
    print(f"{'ok' if passed else 'not ok'} {number} - {name}{skip}")


for entry in log:
    test = json.loads(entry)
    name = test["name"].split(" / ")[-1]
    failed = False
    cases = 0
    for text in (test.get("stdout") or "").splitlines():
        match = re.match(r"(not )?ok\b\s*\d*\s*(?:-\s*)?(.*)", text)
        if not match:
            continue
        what, _, directive = match.group(2).partition("#")
        skipped = directive.strip().upper().startswith("SKIP")
        cases += 1
        failed = failed or bool(match.group(1))
        line(not match.group(1), f"{name}: {what.strip()}",
             f" # {directive.strip()}" if skipped else "")
    if test["result"] == "SKIP" and not cases:
        line(True, name, " # SKIP")
    elif test["result"] not in ("OK", "EXPECTEDFAIL", "SKIP") and not failed:
        # It crashed, ran out of time, or a sanitizer spoke after its last case.
        line(False, f"{name} ({test['result']})")
    elif not cases:
        line(True, name)
EOF
exit "$(cat "$code")"
