#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The pages for users say what the sources say; as TAP.

usage: guide.py [ROOT]            compare with the sources
       guide.py --run QEMU        run the commands of docs/user-guide.rst
       guide.py --scenarios DIR   write its guests as scenarios of the lab
       guide.py --commands        print what these two take from the page

docs/messages.rst: each message of the sections "Troubleshooting" is in our sources.
docs/user-guide.rst: so is each option.
docs/operations.rst: all trace points and counters are there, and no others.
docs/libvirt.rst: its XML is in the domains of tests/lab/libvirt.
These, docs/limits.rst and docs/backends.rst: each test that is named exists (scenarios:
lists of names in parentheses, behind "lab:"), and no page has more than 250 lines.

docs/options.rst: see options.py; every scenario that expects a refusal is in it.
docs/distribution.rst: its commands, options and files are there.

--run: the commands for a machine without KVM as they are; the command lines of
guests with -accel tcg, which must be refused for that and not for an option.
--scenarios: the lab starts each of these guests as the page has it, and converts
memory; guide.sh there compares the commands for the host with what they should say.
"""
import pathlib
import re
import shlex
import subprocess
import sys

sys.dont_write_bytecode = True
import options  # noqa: E402  (beside this file)

PAGES = ("user-guide", "messages", "operations", "limits", "backends", "libvirt")
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
    result(found > 15, "the page has messages", f"only {found}")


def check_options(root, page):
    sources = literals(root) + (root / "target/i386/kvm/sw-protected-vm.c").read_text()
    section = page[page.index("\nOptions\n"):page.index("\nMessages\n")]
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
    """Unit tests by file, and cases of them and of the qtest suite"""
    names = set(re.findall(r"\btest-gmem-\w+", page))
    missing = [n for n in names if not (root / f"tests/unit/{n}.c").exists()]
    cases = set(re.findall(r"``(guest-memfd/[\w/.-]+|/gmem-[\w/.-]+)``", page))
    missing += sorted(cases - options.cases(root))
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


def run(name, command, wanted, seconds=60):
    try:
        done = subprocess.run(["sh", "-c", command], stdin=subprocess.DEVNULL, timeout=seconds,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        out = done.stdout
    except subprocess.TimeoutExpired:
        out = "it did not end"
    result(re.search(wanted, out), name, f"no /{wanted}/ in: {out[-300:]!r}")


# The first words of each command line of a guest; the lab's tool has them, too.
GUEST = ["qemu-system-x86_64", "-accel", "kvm", "-machine",
         "q35,confidential-guest-support=cgs0", "-object"]
# What the guest does: the first of these that is in its command line.
PAYLOADS = (("initial-state=private", "initial-private top=0x10000000"),
            ("-numa ", "border border=0x8000000"), ("", "basic"))
# The type of a guest, and what the lab calls it
TYPES = {"sev-snp-guest": "snp", "tdx-guest": "tdx"}
PARAMETER = "/sys/module/kvm/parameters/gmem_in_place_conversion"


def guests_of(page):
    """Command lines of guests, and the -object lines of SEV-SNP and TDX"""
    for block in blocks(page):
        if block.startswith("qemu-system-x86_64 "):
            yield re.sub(r"\\\n *", "", block)
        elif block.startswith("-object "):
            yield from block.split("\n")


def commands_of(page):
    """All that is run of the page"""
    yield from guests_of(page)
    yield from (b for b in blocks(page) if b.startswith("cat "))


def scenario(root, line):
    """The scenario that starts the guest of LINE"""
    words = shlex.split(line)
    if words[0] == "-object":
        kind, _, rest = words[1].partition(",")
        if kind not in TYPES or f'"{words[1]}"' not in (root / "tests/lab/vm.c").read_text():
            raise SystemExit(f"guide: the lab starts no guest with {line}")
        return (f"guest = {TYPES[kind]}\nqemu = -m 256M\n"
                f"payload = test=cgs type={TYPES[kind]}\n")
    vm = "x86-sw-protected-vm,id=cgs0"
    if words[:len(GUEST)] != GUEST or not (words[len(GUEST)] + ",").startswith(vm + ","):
        raise SystemExit(f"guide: the lab starts no guest with {line}")
    options = words[len(GUEST)][len(vm) + 1:]
    more = shlex.join(words[len(GUEST) + 1:])
    text = f"qemu = {more} -trace gmem_rdm_*\n" if "vfio-pci" in more else f"qemu = {more}\n"
    for device in re.findall(r"vfio-pci,host=([0-9a-f:.]+)", more):
        # The device of the lab has no reset, and iommufd maps no BAR for others.
        text += (f"assign = {device}\nallow = Cannot reset device|PCI BAR|"
                 "0xfd[0-9a-f]{6}, 0x100000,|peer-to-peer\n")
    if options:
        text += f"object = {options}\n"
    return text + "payload = test=" + next(p for w, p in PAYLOADS if w in line) + "\n"


def write_scenarios(root, page, folder):
    for number, line in enumerate(guests_of(page), 1):
        (folder / f"guide-{number}.scn").write_text(
            f"Description: Command line {number} of docs/user-guide.rst.\n"
            f"{scenario(root, line)}mode = in-place\n")
    # Of the commands for the host there is one that says something in the lab.
    command = f"cat {PARAMETER}"
    if command not in commands_of(page):
        raise SystemExit(f"guide: the page has no {command}")
    (folder / "guide.sh").write_text(
        "# guide.sh WANTED\n"
        f"said=$({command} 2>/dev/null) || said='no such file'\n"
        'verdict="not ok"\n'
        '[ "$said" != "$1" ] || verdict=ok\n'
        f'echo "$verdict 0 - guide: {command}: $said"\n')


def run_commands(root, page, qemu):
    guests = 0
    export = "./run queue export linux"
    result(any(b.startswith(export) for b in blocks(page)), "the guide says how to get the series")
    series = (root / "patches/linux/series").read_text().split()
    # As ./run does, whose lock is held by who runs this.  It checks the kernel's source
    # out, which takes a minute where the machine has other work.
    run("command: " + export, f"{root}/scripts/queue.sh export linux && ls {root}/build/export/linux/",
        rf"(?m)^{len([n for n in series if n < '09']):04}-.*\.patch$", 600)
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
    guide = (root / "docs/user-guide.rst").read_text()
    if sys.argv[1:2] == ["--run"]:
        run_commands(root, guide, sys.argv[2])
        print(f"1..{len(tests)}")
        return 0 if all(tests) else 1
    if sys.argv[1:2] == ["--scenarios"]:
        write_scenarios(root, guide, pathlib.Path(sys.argv[2]))
        return 0
    if sys.argv[1:2] == ["--commands"]:
        print("\n".join(commands_of(guide)))
        return 0
    if len(sys.argv) > 1:
        root = pathlib.Path(sys.argv[1])
    pages = {n: (root / f"docs/{n}.rst").read_text() for n in PAGES}
    check_messages(root, pages["messages"])
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
