#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The pages for users say what the sources say; as TAP.

usage: guide.py [ROOT]            compare with the sources
       guide.py --run QEMU        run the commands of docs/user-guide.rst

docs/user-guide.rst: each message of the sections "Troubleshooting" and each
option is in our sources.
docs/operations.rst: all trace points and counters are there, and no others.
docs/libvirt.rst: its XML is in the domains of tests/lab/libvirt.
The first two and docs/limits.rst: each test that is named exists (lists of names in
parentheses, behind "lab:"), and none of these pages has more than 250 lines.

docs/options.rst: see options.py; every scenario that expects a refusal is in it.
docs/distribution.rst: its commands, options and files are there.

--run: the commands for a machine without KVM as they are; the command lines of
guests with -accel tcg, which must be refused for that and not for an option.
"""
import pathlib
import re
import subprocess
import sys

sys.dont_write_bytecode = True
import options  # noqa: E402  (beside this file)

PAGES = ("user-guide", "operations", "limits", "backends", "libvirt")
# What stands for something else in a message: object, number, state, reason
STANDS_FOR = r"\.\.\.|\bTYPE\b|\bTHREAD\b|\bSTATE\b|'X'|\b[NO]\b|No space left on device"
# Members of GuestMemfdBlock that the page explains elsewhere
NO_COUNTER = {"struct", "data", "id", "size", "in-place", "shared", "private"}
tests = []


def result(ok, name, why=""):
    tests.append(ok)
    print(f"{'ok' if ok else 'not ok'} {len(tests)} - {name}")
    if not ok:
        print(f"# {why}")


def literals(root):
    """All string literals of our files and of the lines that patches add."""
    text = ""
    for top in ("accel", "backends", "system", "target"):
        for path in sorted((root / top).rglob("*.c")):
            text += path.read_text() + "\n"
    for path in sorted((root / "patches/qemu").glob("*.patch")):
        # Context belongs to the lines that are added: a string may span both.
        text += "".join(line[1:] + "\n" for line in path.read_text().split("\n")
                        if line[:1] in ("+", " "))
    # Adjacent literals are one, with what PRIu64 and the like stand for left out
    return re.sub(r'"\s*(?:(?:HWADDR_)?PRI\w+\s*)?"', "", text)


def bullets(page):
    """The bullets of the sections "Troubleshooting", each as one line."""
    wanted = False
    lines = page.split("\n")
    item = ""
    for line, after in zip(lines, lines[1:] + [""]):
        if re.fullmatch(r"-{4,}|={4,}", after):
            if item:
                yield item
            item = ""
            wanted = line.startswith("Troubleshooting")
        elif wanted and line.startswith("* "):
            if item:
                yield item
            item = line[2:]
        elif wanted and item and line.startswith("  "):
            item += " " + line.strip()
    if item:
        yield item


def check_messages(root, page):
    sources = literals(root)
    found = 0
    for item in bullets(page):
        term = re.match(r"``[^`]*``(?:, ``[^`]*``)*", item)
        if not term:
            result(False, "a bullet begins with a message", item)
            continue
        for message in re.findall(r"``([^`]*)``", term.group()):
            parts = [p.strip(" ,;:()'[]") for p in re.split(STANDS_FOR, message)]
            missing = [p for p in parts if p and p not in sources]
            found += 1
            result(not missing, f"message: {message[:60]}", f"not in our sources: {missing}")
    result(found > 15, "the guide has messages", f"only {found}")


def check_options(root, page):
    sources = literals(root) + (root / "target/i386/kvm/sw-protected-vm.c").read_text()
    section = page[page.index("\nOptions\n"):page.index("\nTroubleshooting")]
    named = re.findall(r"^``([a-z-]+)=", section, re.M)
    missing = [n for n in named if f'"{n}"' not in sources]
    result(named and not missing, "user-guide: the options are there", f"no {missing}")


def names_in(page):
    """What the page gives as names of scenarios"""
    inside = re.findall(r"\(([^()`:*]+)\)", page) + \
        [m for m in re.findall(r"[Ll]ab:\s([^.;)]+)", page)]
    for group in inside:
        names = [n.strip() for n in re.sub(r"\s+", " ", group).split(",")]
        names = [n.removeprefix("and ") for n in names]
        if all(re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", n) for n in names):
            yield from names


def check_names(root, page_name, names):
    scenarios = {p.stem for p in (root / "tests/lab/scenarios").glob("*.scn")}
    names = sorted(set(names) - {"none"})
    missing = [n for n in names if n not in scenarios]
    result(names and not missing, f"{page_name}: {len(names)} scenarios are there",
           f"tests/lab/scenarios has no {missing}" if names else "no name was found")


def check_units(root, page_name, page):
    names = set(re.findall(r"\btest-gmem-\w+", page))
    missing = [n for n in names if not (root / f"tests/unit/{n}.c").exists()]
    result(not missing, f"{page_name}: unit tests are there", f"no {missing}")


def check_traces(root, page):
    patches = "".join(p.read_text() for p in (root / "patches/qemu").glob("*.patch"))
    there = set(re.findall(r"^\+((?:kvm_gmem|gmem_rdm)_\w+)\([^()\n]*\) ", patches, re.M))
    named = set(re.findall(r"^``((?:kvm_gmem|gmem_rdm)_\w+)``", page, re.M))
    result(named == there, "operations: the table has all trace points",
           f"not there: {named - there}; not in the table: {there - named}")


def check_counters(root, page):
    schema = (root / "qapi/guest-memfd.json").read_text()
    block = schema[schema.index("'struct': 'GuestMemfdBlock'"):]
    members = set(re.findall(r"'\*?([\w-]+)':", block[:block.index("} }")])) - NO_COUNTER
    named = set(re.findall(r"^   \* - ``([\w-]+)``", page, re.M))
    result(members == named, "operations: the table has all counters",
           f"not there: {named - members}; not in the table: {members - named}")


def check_xml(root, page):
    """Each snippet is, but for the white space, part of a domain that is tried."""
    domains = [" ".join(p.read_text().split())
               for p in (root / "tests/lab/libvirt").glob("*.xml")]
    snippets = re.findall(r"^\.\. code-block:: xml\n\n((?:  .*\n)+)", page, re.M)
    for text in snippets:
        result(any(" ".join(text.split()) in d for d in domains),
               f"libvirt: {text.split()[0]} was tried", f"in no domain: {text}")
    result(len(snippets) > 5, "libvirt: the page has XML", f"only {len(snippets)}")


def check_tables(root):
    page = (root / "docs/options.rst").read_text()
    for row in options.check(root, page):
        result(*row)
    missing = options.unnamed(root, page)
    result(not missing, "options: every refusal of a scenario is in the tables",
           f"not there: {missing}")


def check_distribution(root):
    """The page names commands of ./run, and files, that are there"""
    page = (root / "docs/distribution.rst").read_text()
    text = (root / "run").read_text() + "".join(
        p.read_text() for p in sorted((root / "scripts").glob("cmd-*.sh")))
    verbs = set(re.findall(r"\./run (\w+)", page))
    words = set(re.findall(r"(?<=\s|`)(--[a-z]+)(?==|`|\s)", page)) - {"--local", "--file"}
    missing = [v for v in verbs if f"\n  {v} " not in text] + [w for w in words if w not in text]
    result(verbs and not missing, "distribution: commands and options are there",
           f"./run has no {missing}")
    files = set(re.findall(r"``((?:scripts|tests)/[\w./-]+)``", page))
    missing = [f for f in files if not (root / f).exists()]
    result(files and not missing, "distribution: files are there", f"no {missing}")
    lines = page.count("\n")
    result(lines <= 250, f"distribution: {lines} lines", "a page has 250 lines at most")


def blocks(page):
    """The literal blocks of a page"""
    for block in re.findall(r"::\n\n((?:  .*\n|\n)+)", page):
        yield re.sub(r"^  ", "", block, flags=re.M).strip()


def run(name, command, wanted):
    try:
        done = subprocess.run(["sh", "-c", command], stdin=subprocess.DEVNULL, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        out = done.stdout
    except subprocess.TimeoutExpired:
        out = "it did not end"
    result(re.search(wanted, out), name, f"no /{wanted}/ in: {out[-300:]!r}")


def run_commands(page, qemu):
    guests = 0
    for block in blocks(page):
        if "build/qemu-build/qemu-system-x86_64" in block:
            run("command: query-guest-memfd without KVM",
                block.replace("build/qemu-build/qemu-system-x86_64", qemu),
                r'"mode": "none", "why": "KVM is not in use"')
        elif block.startswith("qemu-system-x86_64 "):
            guests += 1
            line = re.sub(r"^qemu-system-x86_64", f"{qemu} -nodefaults -display none", block)
            run(f"command line of guest {guests}", line.replace("-accel kvm", "-accel tcg"),
                r"x86-sw-protected-vm: KVM required")
    result(guests >= 4, "the guide has command lines", f"only {guests}")


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    if sys.argv[1:2] == ["--run"]:
        run_commands((root / "docs/user-guide.rst").read_text(), sys.argv[2])
        print(f"1..{len(tests)}")
        return 0 if all(tests) else 1
    if len(sys.argv) > 1:
        root = pathlib.Path(sys.argv[1])
    pages = {n: (root / f"docs/{n}.rst").read_text() for n in PAGES}
    check_messages(root, pages["user-guide"])
    for name, page in pages.items():
        check_names(root, name, list(names_in(page)))
        check_units(root, name, page)
        lines = page.count("\n")
        result(lines <= 250, f"{name}: {lines} lines", "a page has 250 lines at most")
    libvirt = (root / "docs/libvirt.rst").read_text()
    lines = libvirt.count("\n")
    result(lines <= 250, f"libvirt: {lines} lines", "a page has 250 lines at most")
    check_xml(root, libvirt)
    check_options(root, pages["user-guide"])
    check_traces(root, pages["operations"])
    check_counters(root, pages["operations"])
    check_tables(root)
    check_distribution(root)
    print(f"1..{len(tests)}")
    return 0 if all(tests) else 1


sys.exit(main())
