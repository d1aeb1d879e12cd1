#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kvm-trace.py finds what it should, and nothing else.  TAP."""
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
PROBE = ["main vm KVM_CHECK_EXTENSION 244 = 1", "main vm KVM_CHECK_EXTENSION 252 = 0",
         "main vm KVM_CHECK_EXTENSION 233 = 8", "main vm KVM_CHECK_EXTENSION 244 = 1"]
CREATE = "main kvm KVM_CREATE_VM 4 = fd"
START = ["main kvm KVM_GET_API_VERSION = 12", CREATE]
ATTRIBUTES = "vcpu0 vm KVM_SET_MEMORY_ATTRIBUTES gpa=0x0 size=0x1000 0x8 = 0"
HOLE = "vcpu0 gmem0 fallocate mode=3 offset=0x0 size=0x1000 = 0"
REST = ["main vm KVM_CHECK_EXTENSION 233 = 8", "vcpu0 vm KVM_CREATE_VCPU 0 = fd",
        "main vm KVM_CREATE_GUEST_MEMFD size=0x1000 flags=0x0 = fd", ATTRIBUTES, HOLE]
BASE = START + REST
OURS = START + PROBE + REST
number = 0
failed = False


def result(ok, name, why):
    global number, failed
    number += 1
    failed |= not ok
    print(f"{'ok' if ok else 'not ok'} {number} - {name}")
    if not ok:
        print("".join(f"# {line}\n" for line in why.split("\n")), end="")


def trace(qemu, calls, log="s.kvm"):
    return "".join(f"#trace {qemu} {log} {c}\n" for c in calls)


def check(name, text, wanted, arguments=()):
    """@wanted: what must be said about the difference; None: there is none."""
    with tempfile.NamedTemporaryFile("w") as f:
        f.write("ok 1 - something else\n" + text)
        f.flush()
        done = subprocess.run([sys.executable, str(HERE / "kvm-trace.py"), f.name, *arguments],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if wanted is None:
        good = done.returncode == 0 and re.search(r"^ok 1 ", done.stdout, re.M) and \
            "not ok" not in done.stdout
    else:
        good = done.returncode == 1 and wanted in done.stdout
    result(bool(good), name, f"exit code {done.returncode}, wanted {wanted!r}:\n{done.stdout}")


def differs(name, ours, wanted):
    check(name, trace("base", BASE) + trace("ours", ours), wanted)


def main():
    differs("the same but for the probe", OURS, None)
    extra = "main vm KVM_CHECK_EXTENSION 99 = 0"
    differs("a call more", OURS + [extra], f"+{extra}")
    differs("a call less", [c for c in OURS if c != HOLE], f"-{HOLE}")
    differs("another argument", [c.replace("0x8 =", "0x0 =") for c in OURS], f"-{ATTRIBUTES}")
    differs("another result", [c.replace("0x8 = 0", "0x8 = -12") for c in OURS], "0x8 = -12")
    differs("another order in a thread", OURS[:-2] + [HOLE, ATTRIBUTES], f"+{HOLE}")
    differs("other threads in between are chance",
            [c for c in OURS if c.startswith("main")] +
            [c for c in OURS if not c.startswith("main")], None)
    differs("no probe", BASE, "the probe should go on with")
    differs("half a probe", START + PROBE[:2] + REST, "the probe should go on with")
    differs("a probe twice", START + PROBE + PROBE + REST, f"+{PROBE[1]}")
    differs("a probe elsewhere", OURS + [PROBE[1]], f"+{PROBE[1]}")
    differs("a host that converts in place",
            [c.replace("252 = 0", "252 = 8") for c in OURS], "the probe should go on with")
    differs("interrupts come when they come",
            OURS + ["vcpu0 vm KVM_IRQ_LINE_STATUS = 0"] * 5, None)
    khz = "vcpu0 vcpu0 KVM_GET_TSC_KHZ = "
    check("a clock that was measured again", trace("base", BASE + [khz + "2596132"]) +
          trace("ours", OURS + [khz + "2596111", "vcpu0 kvm KVM_CHECK_EXTENSION 61 = 1"]), None)
    plain = [c.replace("VM 4", "VM 0") for c in BASE]
    check("an ordinary guest is not probed", trace("base", plain) + trace("ours", plain), None)
    check("an ordinary guest must not be probed", trace("base", plain) +
          trace("ours", [c.replace("VM 4", "VM 0") for c in OURS]), f"+{PROBE[1]}")
    def slot(gpa, size, file, offset):
        return f"main vm KVM_SET_USER_MEMORY_REGION2 slot=0x0 flags=0x4 gpa={gpa:#x} " \
               f"size={size:#x} {file} offset={offset:#x} = 0"

    def state(gpa, size, value, thread="main"):
        return f"{thread} vm KVM_SET_MEMORY_ATTRIBUTES gpa={gpa:#x} size={size:#x} {value} = 0"

    def again(name, between, repeated, wanted):
        """A slot; something else; a slot again, whose pages only plain QEMU makes private"""
        first = [slot(0, 0x8000, "gmem0", 0), state(0, 0x8000, "0x8")] + between
        check(name, trace("base", BASE + first + repeated) +
              trace("ours", OURS + first + repeated[:1]), wanted)

    low = [slot(0, 0x4000, "gmem0", 0), state(0, 0x4000, "0x8")]
    other = [slot(0x2000, 0x1000, "gmem1", 0), state(0x2000, 0x1000, "0x8")]
    again("a slot is made again", [], low, None)
    again("a slot is made again, beside another file", other,
          [slot(0x3000, 0x5000, "gmem0", 0x3000), state(0x3000, 0x5000, "0x8")], None)
    again("what another file showed is not known", other, low, f"-{low[1]}")
    again("the same file, at another offset", [],
          [slot(0, 0x4000, "gmem0", 0x4000), low[1]], f"-{low[1]}")
    again("what was shared is not private", [state(0x1000, 0x1000, "0x0", "vcpu0")], low,
          f"-{low[1]}")
    again("a larger slot", [], [slot(0, 0x9000, "gmem0", 0), state(0, 0x9000, "0x8")],
          f"-{state(0, 0x9000, '0x8')}")
    again("a repeat that is not behind its slot", [],
          [low[0], extra, low[1]], f"-{low[1]}")
    answer = ["exit MAP_GPA_RANGE gpa=0x0 pages=1 flags=0x10", "answer MAP_GPA_RANGE 0"]
    both = trace("base", BASE) + trace("ours", OURS) + trace("base", answer, "s.calls")
    check("the personality's log is the same", both + trace("ours", answer, "s.calls"), None)
    check("another answer to the guest",
          both + trace("ours", [answer[0], "answer MAP_GPA_RANGE 11"], "s.calls"),
          "+answer MAP_GPA_RANGE 11")
    check("a log is missing", both, "logs of plain QEMU")
    check("no trace of plain QEMU", trace("ours", OURS), "no trace of plain QEMU")
    check("no trace of ours", trace("base", BASE), "no trace of our QEMU")
    check("no trace at all", "", "1..0")
    check("a scenario that did not run", trace("base", BASE) + trace("ours", OURS),
          "not ok 2 - t", ["s", "t"])

    page = (HERE.parents[1] / "docs/uapi.rst").read_text()
    source = (HERE / "kvm-trace.py").read_text()
    section = page[page.index("What QEMU asks that plain QEMU does not"):]
    named = re.findall(r"# (KVM_CAP_\w+)", source[:source.index("CREATE =")])
    told = re.findall(r"^\d\. ``(KVM_CAP_\w+)``", section, re.M)
    result(named == told and len(told) == len(PROBE),
           "docs/uapi.rst lists the probe in its order", f"there {told}, here {named}")
    print(f"1..{number}")
    return 1 if failed else 0


sys.exit(main())
