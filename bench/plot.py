#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""plot.py RESULT.json DIR: one SVG plot per ratio, their tables in rst, and
the same as text on standard output.

The result is that of bench-convert (see there).
"""
import json
import os
import sys
from math import ceil, log10

WIDTH, LEFT, BAR, GAP = 720, 240, 14, 6
PLACES = {
    "last": "the last (every other one)",
    "spread": "spread",
    "run": "one run in the middle",
}
SIZES = {16384: "64 MiB", 1 << 30: "4 TiB"}


def svg(title, subtitle, bars, path):
    """Bars (label, value) on a logarithmic axis from 0.1 on, 1 marked."""
    low = 0.1
    top = 10 ** ceil(log10(max(value for _, value in bars) * 1.01))
    scale = (WIDTH - LEFT - 60) / (log10(top) - log10(low))

    def x(value):
        return LEFT + (log10(max(value, low)) - log10(low)) * scale

    height = 70 + len(bars) * (BAR + GAP) + 30
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
        f'height="{height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="10" y="20" font-size="15">{title}</text>',
        f'<text x="10" y="38" fill="#555">{subtitle}</text>',
    ]
    tick = low
    while tick <= top * 1.001:
        heavy = abs(tick - 1) < 1e-9
        out.append(f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="50" '
                   f'y2="{height - 30}" stroke="{"#333" if heavy else "#ccc"}"/>')
        out.append(f'<text x="{x(tick):.1f}" y="{height - 14}" '
                   f'text-anchor="middle">{tick:g}</text>')
        tick *= 10
    for i, (label, value) in enumerate(bars):
        y = 60 + i * (BAR + GAP)
        a, b = sorted((x(1), x(value)))
        color = "#3b6ea5" if value >= 1 else "#b5523b"
        out.append(f'<text x="{LEFT - 8}" y="{y + 11}" '
                   f'text-anchor="end">{label}</text>')
        out.append(f'<rect x="{a:.1f}" y="{y}" width="{max(b - a, 1):.1f}" '
                   f'height="{BAR}" fill="{color}"/>')
        out.append(f'<text x="{max(b, x(1)) + 4:.1f}" y="{y + 11}">'
                   f'{value:.1f}</text>')
    out.append("</svg>")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(out) + "\n")


def table(title, head, rows):
    out = [f".. list-table:: {title}", "   :header-rows: 1", ""]
    for row in [head] + rows:
        out += [f"   {'* -' if i == 0 else '  -'} {cell}"
                for i, cell in enumerate(row)]
    return "\n".join(out) + "\n"


def show(head, rows):
    widths = [max(len(row[i]) for row in [head] + rows)
              for i in range(len(head))]
    for row in [head] + rows:
        print("  ".join(cell.ljust(width)
                        for cell, width in zip(row, widths)).rstrip())
    print()


def ratio(entry, what):
    return entry["whole"][what] / entry["engine"][what]


def label(entry):
    return f"{entry['busy']} {entry['place']}, {entry['held_ms']} ms"


def main():
    source, directory = sys.argv[1:]
    with open(source, encoding="utf-8") as f:
        result = json.load(f)
    os.makedirs(directory, exist_ok=True)
    busy = result["busy"]
    small = [b for b in busy if b["pages"] == 16384]
    for what, title in (
            ("scanned", "Pages scanned: whole-range retry / engine"),
            ("asked", "Pages named in calls (their host mappings are lost): "
                      "whole-range retry / engine"),
            ("cpu_us", "Processor time: whole-range retry / engine")):
        name = what.replace("_us", "")
        svg(title, "64 MiB; number and place of busy pages, how long they are "
            "held; model of the kernel", [(label(b), ratio(b, what))
                                          for b in small],
            os.path.join(directory, f"convert-{name}.svg"))
    base = result["size"][0]["conversion_ns"]
    svg("One 4 KiB conversion: time / time in a 1 GiB block",
        "page states and engine, without the kernel; best of many batches",
        [(f"{s['gib']} GiB block", s["conversion_ns"] / base)
         for s in result["size"]], os.path.join(directory, "convert-size.svg"))

    tables = [
        ("Whole-range retry against the engine, as ratios",
         ["range", "busy pages", "held", "pages scanned",
          "pages named in calls", "processor time", "calls of the engine"],
         [[SIZES[b["pages"]], f"{b['busy']}: {PLACES[b['place']]}",
           f"{b['held_ms']} ms", f"{ratio(b, 'scanned'):.1f}",
           f"{ratio(b, 'asked'):.1f}",
           f"{ratio(b, 'cpu_us'):.1f}" if "cpu_us" in b["engine"] else "--",
           str(b["engine"]["calls"])] for b in busy]),
        ("A page that is let go among neighbours that are not",
         ["busy pages in the run", "mean wait", "longest wait"],
         [[str(r["busy"]), f"{r['mean_ms']:.0f} ms",
           f"{r['longest_ms']:.0f} ms"] for r in result["freed"]]),
        ("One 4 KiB conversion, against a block of 1 GiB",
         ["size of the block", "time"],
         [[f"{s['gib']} GiB", f"{s['conversion_ns'] / base:.2f}"]
          for s in result["size"]]),
    ]
    text = [".. Written by bench/plot.py from the result of ./run bench.", ""]
    for title, head, rows in tables:
        text.append(table(title, head, rows))
        print(title)
        show(head, rows)
    with open(os.path.join(directory, "convert.rst"), "w",
              encoding="utf-8") as f:
        f.write("\n".join(text))


if __name__ == "__main__":
    main()
