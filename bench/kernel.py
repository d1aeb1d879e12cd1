#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What was measured on a real kernel, as ratios.

kernel.py RESULT.json LOG...        read the logs, write the result
kernel.py --tap RESULT.json LOG     the same, and TAP: is there a value for all
                                    that one boot of the emulated host can tell?
kernel.py --plot RESULT.json DIR    plots and tables; targets on standard output

LOG is what bench-kernel and the bench scenarios printed in the emulated host:
lines "bench kind=... name=value ..." (scripts/bench-lab.sh).  Logs whose names end
in -off.out are those of the parameter off, in -small.out the same without huge
pages in the host.  A value is the median of all its
measurements; a ratio has both sides from one run of bench-lab.sh.
"""
import json
import os
import re
import sys
from math import log2
from statistics import median

from plot import PLACES, show, svg, table

PAGES = 16384
NAMES = {1: "4 KiB", 512: "2 MiB", PAGES: "64 MiB"}
MIN, MAX = "at least", "at most"
# Whose round trips are compared with those in place, and what the ratio is called
SIDES = "in_place", "dual", "small"
HOSTS = ("", ""), ("_small", ", no huge pages in the host")
# Of bench-kernel loop and the payload's, in the order of the table
KINDS = {"exit": "CPUID, which KVM handles", "floor": "4 KiB that is shared already",
         "loop": "", "mapped": ""}
TOUCH = ("never touched", "in use", "in use, until the guest has it again")


def path_of(entry):
    return KINDS[entry["kind"]] or f"{NAMES[entry['pages']]} {TOUCH[entry['touch']]}"


def read(paths):
    """kind -> list of {name: value}"""
    out = {}
    for path in paths:
        with open(path, encoding="utf-8", errors="replace") as f:
            for found in re.finditer(r"# bench (kind=.*)", f.read()):
                row = dict(word.split("=", 1) for word in found.group(1).split())
                kind = row.pop("kind")
                out.setdefault(kind, []).append(
                    {k: int(v) if v.isdigit() else v for k, v in row.items()})
    return out


def gather(rows, keys, fields):
    """The rows with the same @keys -> medians of their @fields"""
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[k] for k in keys), []).append(row)
    return {key: {f: median(r[f] for r in group) for f in fields} |
            {"runs": len(group)} for key, group in groups.items()}


class Result:
    """Tables, and ratios that have a target"""

    def __init__(self):
        self.data = {"ratios": []}

    def ratio(self, name, value, relation=None, target=None):
        entry = {"name": name, "value": round(value, 3)}
        if relation:
            entry |= {"relation": relation, "target": target,
                      "met": value >= target if relation == MIN else value <= target}
        self.data["ratios"].append(entry)
        return round(value, 3)

    def busy(self, rows):
        fields = ("calls", "asked", "scanned", "cpu_us", "in_calls_us")
        by = gather(rows, ("policy", "place", "busy", "held_ms"), fields)
        # Nothing is in the way: no policy can do with less
        least = by.get(("engine", "none", 0, 0))
        out = self.data["busy"] = []
        self.data["least"] = least
        for (policy, place, busy, held), engine in by.items():
            if policy != "engine" or not busy:
                continue
            whole = by["whole", place, busy, held]
            entry = {"place": place, "busy": busy, "held_ms": held,
                     "engine": engine, "whole": whole, "ratio": {}}
            # What the targets name: k = 1 and 64, last and spread
            aim = busy in (1, 64) and place != "run"
            what = f"{busy} busy: {PLACES[place]}, {held} ms: "
            for field, title, target in (("scanned", "pages scanned", 10),
                                         ("cpu_us", "processor time", 5),
                                         ("asked", "pages named in calls", None)):
                entry["ratio"][field] = self.ratio(
                    f"{what}{title}, whole-range retry / engine",
                    whole[field] / engine[field], *((MIN, target) if aim and target else ()))
            if aim:
                self.ratio(f"{what}pages the engine scanned / (2 N + k log2 N)",
                           engine["scanned"] / (2 * PAGES + busy * log2(PAGES)), MAX, 1.0)
            if least:
                entry["bound"] = round(whole["cpu_us"] / least["cpu_us"], 2)
            out.append(entry)

    def loop(self, kinds):
        both = [row | {"kind": kind, "ticks": (row["private"] + row["shared"]) / 2}
                for kind in KINDS for row in kinds[kind]]
        by = gather(both, ("kind", "pages", "touch", "who"), ("ticks",))
        out = self.data["loop"] = []
        for (kind, pages, touch, who), bare in by.items():
            if who != "bare":
                continue
            qemu, bare = by[kind, pages, touch, "qemu"]["ticks"], bare["ticks"]
            entry = {"kind": kind, "pages": pages, "touch": touch, "bare": bare, "qemu": qemu}
            if kind in ("loop", "mapped"):
                entry["ratio"] = self.ratio(
                    f"{path_of(entry)}: QEMU / loop of the bare ioctl", qemu / bare, MAX, 1.25)
            out.append(entry)

    def size(self, rows):
        by = {}
        for row in rows:
            size = row.get("gib") or row["mib"] // 1024
            value = row["ns"] if "ns" in row else (row["private"] + row["shared"]) / 2
            by.setdefault(row["who"], {}).setdefault(size, []).append(value)
        out = self.data["size"] = []
        for who, sizes in by.items():
            small, large = sorted(sizes)
            title = "engine and page states" if who == "engine" else "QEMU's whole path"
            out.append({"who": title, "small_gib": small, "large_gib": large,
                        "ratio": self.ratio(
                            f"4 KiB in a block of {large} GiB / of {small} GiB: {title}",
                            median(sizes[large]) / median(sizes[small]), MAX, 1.1)})

    def trip(self, on, off, small):
        parts = ("private", "guest1", "shared", "guest2", "host")
        by = {(kind, pages): [gather(side[kind], ("pages",), parts)[(pages,)]
                              for side in (on, off, small)]
              for kind in ("trip", "alone") for pages in (512, PAGES)}
        out = self.data["trip"] = []
        for pages, aims in (512, (2.5, 1.5)), (PAGES, (4, 2)):
            alone, whole = by["alone", pages], by["trip", pages]
            cost = [[w["private"] + w["shared"] for w in alone],
                    [sum(w[p] for p in parts) for w in whole]]
            entry = {"pages": pages}
            for i, side in enumerate(SIDES):
                entry |= {side: whole[i], side + "_alone": alone[i]}
            for i, (key, host) in enumerate(HOSTS, 1):
                what = f"round trip of {NAMES[pages]}{host}: dual-backed / in place, "
                entry["without" + key] = self.ratio(
                    what + "the conversions alone", cost[0][i] / cost[0][0], MIN, aims[0])
                entry["with" + key] = self.ratio(
                    what + "until guest and host have the pages again",
                    cost[1][i] / cost[1][0], MIN, aims[1])
            out.append(entry)

    def memory(self, on, off):
        peak = [max(r["peak"] for r in rows) / rows[0]["guest"] if rows else None
                for rows in (on, off)]
        out = self.data["memory"] = {"in_place": self.ratio(
            "the host's memory at its peak / guest memory, in place", peak[0], MAX, 1.02)}
        if peak[1]:
            out["dual"] = self.ratio(
                "the host's memory at its peak / guest memory, dual-backed", peak[1])


def measured(logs):
    on = read(log for log in logs if not log.endswith(("-off.out", "-small.out")))
    off = read(log for log in logs if log.endswith("-off.out"))
    small = read(log for log in logs if log.endswith("-small.out"))
    result = Result()
    result.busy(on["busy"])
    result.loop(on)
    result.size(on["size"])
    if off:
        result.trip(on, off, small)
    result.memory(on["memory"], off.get("memory"))
    return result.data


def verdict(r):
    if "target" not in r:
        return f"{r['value']:.2f}"
    return (f"{r['value']:.2f} ({r['relation']} {r['target']}: "
            f"{'met' if r['met'] else 'NOT MET'})")


def tap(data):
    for number, r in enumerate(data["ratios"], 1):
        print(f"ok {number} - {r['name']}: {verdict(r)}, measured once")
    print(f"1..{len(data['ratios'])}")


def short(entry):
    return f"{entry['busy']}: {PLACES[entry['place']]}, {entry['held_ms']} ms"


def plots(data, directory):
    def plot(name, title, subtitle, bars):
        svg(title, subtitle, bars, os.path.join(directory, f"kernel-{name}.svg"))

    host = "real kernel, in the emulated host"
    for field, title in (("scanned", "Pages scanned"), ("cpu_us", "Processor time")):
        plot(field.replace("_us", ""), f"{title}: whole-range retry / engine",
             f"64 MiB in use; {host}", [(short(b), b["ratio"][field]) for b in data["busy"]])
    plot("path", "A conversion: QEMU / a loop with nothing but the ioctl",
         f"as the guest sees it; {host}",
         [(path_of(e), e["ratio"]) for e in data["loop"] if "ratio" in e])
    plot("size", "A conversion of 4 KiB: in a large block / in one of 1 GiB", host,
         [(f"{s['large_gib']} GiB, {s['who']}", s["ratio"]) for s in data["size"]])
    plot("trip", "Private and shared again: dual-backed / in place", host,
         [(f"{NAMES[t['pages']]}, {title}{host}", t[key + suffix]) for t in data["trip"]
          for suffix, host in HOSTS
          for key, title in (("without", "conversions alone"), ("with", "mapped again"))])
    plot("memory", "The host's memory at its peak / guest memory", host,
         [(key.replace("_", " "), value) for key, value in data["memory"].items()])


def tables(data):
    kilo = lambda ticks: f"{ticks / 1000:.0f}"
    steps = (("", "private", "to private, mapped in advance"), ("", "guest1", "guest touches"),
             ("", "shared", "to shared, mapped in advance"), ("", "guest2", "guest touches"),
             ("", "host", "QEMU touches"), ("_alone", "private", "to private alone"),
             ("_alone", "guest1", "guest touches"), ("_alone", "shared", "to shared alone"),
             ("_alone", "guest2", "guest touches"))
    return [
        ("What was to be reached", ["ratio", "measured", "target", ""],
         [[r["name"], f"{r['value']:.2f}", f"{r['relation']} {r['target']}",
           "met" if r["met"] else "not met"] for r in data["ratios"] if "target" in r]),
        ("Busy pages in 64 MiB: whole-range retry against the engine",
         ["busy pages", "pages scanned", "pages named in calls", "processor time",
          "at best", "calls", "ms of processor time"],
         [[short(b)] + [f"{b['ratio'][f]:.1f}" for f in ("scanned", "asked", "cpu_us")] +
          [f"{b['bound']:.1f}"] + [" / ".join(f"{b[p][f] / d:.0f}" for p in ("whole", "engine"))
           for f, d in (("calls", 1), ("cpu_us", 1000))] for b in data["busy"]]),
        ("A conversion, in thousands of cycles (mean of to private and to shared)",
         ["what", "bare ioctl", "QEMU", "ratio"],
         [[path_of(e), kilo(e["bare"]), kilo(e["qemu"]), f"{e['qemu'] / e['bare']:.2f}"]
          for e in data["loop"]]),
        ("A round trip, in thousands of cycles: dual-backed, the same without huge pages "
         "in the host, in place", ["step"] + [NAMES[t["pages"]] for t in data["trip"]],
         [[title] + [" / ".join(kilo(t[side + way][part]) for side in ("dual", "small", "in_place"))
                     for t in data["trip"]] for way, part, title in steps]),
    ]


def main():
    args = sys.argv[1:]
    option = args.pop(0) if args and args[0].startswith("--") else ""
    if len(args) < 2 or option not in ("", "--tap", "--plot"):
        raise SystemExit(__doc__)
    if option == "--plot":
        with open(args[0], encoding="utf-8") as f:
            data = json.load(f)
        os.makedirs(args[1], exist_ok=True)
        plots(data, args[1])
        text = [".. Written by bench/kernel.py from the result of ./run bench.", ""]
        for title, head, rows in tables(data):
            text.append(table(title, head, rows))
            print(title)
            show(head, rows)
        with open(os.path.join(args[1], "kernel.rst"), "w", encoding="utf-8") as f:
            f.write("\n".join(text))
        return
    data = measured(args[1:])
    with open(args[0], "w", encoding="utf-8") as f:
        json.dump(data, f, indent=1)
        f.write("\n")
    if option:
        tap(data)


if __name__ == "__main__":
    main()
