#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a conversion costs, in place and with per-VM attributes.

usage: conversion-cost.py LOG...

Reads the lines that the kernel selftest guest_memfd_perf_test printed in the
rounds of one run of the lab (parameter on and off) and writes a table in
reStructuredText.  Times are medians in microseconds on an emulated host: only
the ratios mean anything.
"""
import re
import sys

FIELDS = ("ioctl_ns", "discard_ns", "refault_ns")


def rows_of(paths):
    """(pages, allocated, direction) -> mode -> the fields"""
    rows = {}
    for path in paths:
        with open(path, errors="replace") as f:
            for line in f:
                row = dict(re.findall(r"(\w+)=(\S+)", line))
                if "ioctl_ns" not in row or "direction" not in row:
                    continue
                key = (int(row["pages"]), int(row["allocated"]), row["direction"])
                rows.setdefault(key, {})[row["mode"]] = [int(row[f]) for f in FIELDS]
    return rows


def table(rows):
    head = ["pages", "memory", "to", "ioctl", "old ioctl", "old + hole", "ratio",
            "with refault", "old", "ratio"]
    out = [head]
    for key in sorted(rows):
        pages, allocated, direction = key
        modes = rows[key]
        if len(modes) != 2:
            raise SystemExit(f"conversion-cost: no pair of modes for {key}")
        new, old = modes["in-place"], modes["vm-attributes"]
        us = lambda ns: "%.1f" % (ns / 1000)
        line = [str(pages), "in use" if allocated else "untouched",
                direction.replace("to-", ""), us(new[0]), us(old[0]),
                us(old[0] + old[1]), "%.1f" % ((old[0] + old[1]) / max(new[0], 1))]
        if allocated:
            line += [us(sum(new)), us(sum(old)), "%.1f" % (sum(old) / max(sum(new), 1))]
        else:
            line += ["", "", ""]
        out.append(line)
    return out


def rst(lines):
    width = [max(len(l[i]) for l in lines) for i in range(len(lines[0]))]
    rule = "  ".join("=" * w for w in width)
    text = ["  ".join(c.ljust(w) for c, w in zip(l, width)).rstrip() for l in lines]
    return "\n".join([rule, text[0], rule] + text[1:] + [rule])


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    rows = rows_of(sys.argv[1:])
    if not rows:
        raise SystemExit("conversion-cost: no line of guest_memfd_perf_test in " + " ".join(sys.argv[1:]))
    print(rst(table(rows)))


if __name__ == "__main__":
    main()
