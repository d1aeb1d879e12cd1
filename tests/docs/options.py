# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of docs/options.rst, held against the tests that they name.

Used by guide.py.  check(root, page) yields (ok, name, why), one per row.

A row is "option | in place | test | dual-backed | test".  A name of a test is a
scenario (plain), a case of the qtest suite (``guest-memfd/...``) or of a unit test
(``/gmem-...``), or a domain of tests/lab/libvirt (libvirt/...).  Scenarios must run in the mode of their column, and what they
expect of the start of QEMU must be what the row says.
"""
import re

MODES = (("in place", 1, "on"), ("dual-backed", 3, "off"))
# Results that say "QEMU does not start" (fails: for another reason than ours)
NO_START = re.compile(r"refused(?! when asked)|.*\bfails\b")


def rows(page):
    """The cells of each row of the tables"""
    for table in re.findall(r"^\.\. csv-table::\n(?:   :.*\n)+\n((?:   .*\n)+)", page, re.M):
        for line in table.splitlines():
            yield [cell.strip() for cell in line.split(" | ")]


def read_scenario(path):
    keys = {"parameter": "on", "kernel": "ours", "expect": "pass"}
    for line in path.read_text().splitlines():
        key = re.match(r"(\w[\w-]*) = (.*)", line)
        if key:
            keys[key[1]] = key[2]
    return keys


def runs_in(scenario, parameter):
    """Whether this scenario is a test of the mode"""
    if scenario["kernel"] == "base":
        return parameter == "off"
    return scenario["parameter"] in (parameter, "any")


def wrong_scenario(root, name, result, parameter):
    path = root / f"tests/lab/scenarios/{name}.scn"
    if not path.exists():
        return f"there is no scenario {name}"
    scenario = read_scenario(path)
    if not runs_in(scenario, parameter):
        return f"{name} does not run in this mode"
    refused = scenario["expect"] == "refuse"
    if refused != bool(NO_START.match(result)):
        return f"{name} expects {scenario['expect']}, and the result is '{result}'"
    return None


def wrong_domain(root, name):
    """A domain is a file, and run.sh must start it"""
    here = root / "tests/lab/libvirt"
    if not (here / f"{name}.xml").exists():
        return f"there is no domain {name}"
    if not re.search(rf"\bdomain {re.escape(name)} ", (here / "run.sh").read_text()):
        return f"run.sh does not start domain {name}"
    return None


def cases(root):
    """All cases of qtest and unit tests"""
    text = "".join(p.read_text() for top in ("tests/qtest", "tests/unit")
                   for p in sorted((root / top).glob("*.c")))
    return set(re.findall(r'"(/?(?:guest-memfd|gmem-)[\w/.-]+)"', text))


def wrong_cell(root, known, result, tests, parameter):
    """What is wrong with a result and the tests of it; None: nothing"""
    if result.startswith("not tested: "):
        return None if tests == "none" else "tests of what is not tested"
    names = [n.strip() for n in tests.split(",") if n.strip()]
    if not names or names == ["none"]:
        return "no test"
    for name in names:
        if name.startswith("``"):
            wrong = None if name.strip("`") in known else f"there is no case {name}"
        elif name.startswith("libvirt/"):
            wrong = wrong_domain(root, name.removeprefix("libvirt/"))
        else:
            wrong = wrong_scenario(root, name, result, parameter)
        if wrong:
            return wrong
    return None


def check(root, page):
    known = cases(root)
    found = 0
    for cells in rows(page):
        found += 1
        if len(cells) != 5:
            yield False, f"options: {cells[0]}", f"{len(cells)} cells, not 5"
            continue
        wrong = [f"{mode}: {why}" for mode, at, parameter in MODES
                 if (why := wrong_cell(root, known, cells[at], cells[at + 1], parameter))]
        if cells[1].startswith("not tested"):
            wrong.append("in place: every row needs a test")
        yield not wrong, f"options: {cells[0]}", "; ".join(wrong)
    yield found > 40, "options: the tables are there", f"only {found} rows"


def unnamed(root, page):
    """Refusals that are scenarios and in no row: the tables would be incomplete"""
    named = {n.strip() for cells in rows(page) for cell in (cells[2:3] + cells[4:5])
             for n in cell.split(",")}
    there = {p.stem for p in (root / "tests/lab/scenarios").glob("*.scn")
             if read_scenario(p)["expect"] == "refuse"}
    return sorted(there - named)
