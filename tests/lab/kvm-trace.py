#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Do two QEMUs make the same calls to KVM?  As TAP.

usage: kvm-trace.py FILE [SCENARIO...]

FILE is the output of a round.  The traces are in lines of it

  #trace QEMU LOG LINE

QEMU is "base" (without our patches) or "ours".  LOG is SCENARIO.kvm, of
kvm-trace.so, or SCENARIO.calls, of personality.so (which decodes the launch
commands, and has what the guest asked for and what it was answered).

For each SCENARIO (default: all that are there) the calls of each thread must be
the same and in the same order, but for

* the probe, which only our QEMU makes: see PROBES;
* a state that plain QEMU sets once more: see drop_repeats();
* what depends on time and not on QEMU: see BY_TIME.
"""
import difflib
import re
import sys

# docs/uapi.rst, "What QEMU asks that plain QEMU does not": each call and its
# answer on a host that cannot convert in place, in this order.  Removed once
# per VM, directly behind its KVM_CREATE_VM and nowhere else; a probe that is
# not there is a difference, too.
PROBES = [
    r"main vm KVM_CHECK_EXTENSION 244 = \d+",   # KVM_CAP_GUEST_MEMFD_FLAGS (proof)
    r"main vm KVM_CHECK_EXTENSION 252 = 0",     # KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES
    r"main vm KVM_CHECK_EXTENSION 233 = \d+",   # KVM_CAP_MEMORY_ATTRIBUTES
    r"main vm KVM_CHECK_EXTENSION 244 = \d+",   # KVM_CAP_GUEST_MEMFD_FLAGS
]
CREATE = r"main kvm KVM_CREATE_VM (\d+) = fd"
# Types of VM without private memory (KVM_X86_DEFAULT_VM) are not probed.
UNPROBED = {"0"}

# How often these are called is up to timers, and to how long a vCPU runs before
# somebody wants it; QEMU code that we do not touch makes them.
BY_TIME = [
    r" vm KVM_IRQ_LINE(_STATUS)? = ",       # serial ports and timers
    # The kernel goes on measuring the clock for some seconds after it has booted;
    # QEMU sets what it has got, and asks again if the kernel knows better by then.
    r" KVM_[GS]ET_TSC_KHZ = ",
    r" KVM_CHECK_EXTENSION 61 = ",          # KVM_CAP_GET_TSC_KHZ
]
CONTEXT = 3
SHOWN = 60


def read_traces(path):
    """{scenario: {"base"|"ours": {"kvm"|"calls": [line]}}}"""
    traces = {}
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            m = re.match(r"#trace (base|ours) (\S+)\.(kvm|calls) (.*)", line.rstrip("\n"))
            if m:
                qemu, scenario, log, call = m.groups()
                logs = traces.setdefault(scenario, {}).setdefault(qemu, {})
                logs.setdefault(log, []).append(call)
    return traces


def drop_probes(calls):
    """(the calls without the probe, what is wrong with the probe or None)"""
    left = []
    at = 0
    while at < len(calls):
        left.append(calls[at])
        vm = re.fullmatch(CREATE, calls[at])
        at += 1
        if not vm or vm.group(1) in UNPROBED:
            continue
        for probe in PROBES:
            if at == len(calls) or not re.fullmatch(probe, calls[at]):
                found = calls[at] if at < len(calls) else "the end"
                return calls, f"the probe should go on with /{probe}/, and there is: {found}"
            at += 1
    return left, None


def without(pieces, start, end, same=None):
    """@pieces (start, end, what) without those parts of a range that are not @same"""
    left = []
    for s, e, what in pieces:
        if what == same or e <= start or end <= s:
            left.append((s, e, what))
            continue
        left += [(a, b, what) for a, b in ((s, min(e, start)), (max(s, end), e)) if a < b]
    return left


def drop_repeats(calls):
    """
    The calls without those that make private what is private already.

    A slot that is made again, as most are while a machine is set up, shows pages
    that KVM knows to be private at that address.  Plain QEMU says so again for
    the whole slot, also of pages that the guest has made shared since.  Ours lets
    stand what KVM knows.  So what is dropped is a call directly behind its slot,
    for pages of the same file that were there, and were private, all along.
    """
    left = []
    known = []      # (start, end, (file, offset - address)): private
    slot = None     # (start, end, ...): the slot that the last call has made
    for call in calls:
        region = re.search(r"KVM_SET_USER_MEMORY_REGION2? .*gpa=(\w+) size=(\w+) (gmem\d+) "
                           r"offset=(\w+)", call)
        state = re.search(r"KVM_SET_MEMORY_ATTRIBUTES gpa=(\w+) size=(\w+) (0x[08])( = 0)?$", call)
        repeat = False
        if region:
            gpa, size, offset = (int(region.group(n), 16) for n in (1, 2, 4))
            slot = (gpa, gpa + size, (region.group(3), offset - gpa))
            known = without(known, *slot)
        elif state:
            gpa, size = int(state.group(1), 16), int(state.group(2), 16)
            if state.group(3) == "0x0":
                known = without(known, gpa, gpa + size)
            elif slot and slot[:2] == (gpa, gpa + size):
                rest = [slot]
                for s, e, what in known:
                    rest = without(rest, s, e) if what == slot[2] else rest
                repeat = not rest
                known.append(slot)
            slot = None
        else:
            slot = None
        if not repeat:
            left.append(call)
    return left


def drop_by_time(calls):
    return [c for c in calls if not any(re.search(p, c) for p in BY_TIME)]


def threads(calls):
    """The calls of each thread, in its order; that of different threads is chance."""
    streams = {}
    for call in calls:
        streams.setdefault(call.split(" ", 1)[0], []).append(call)
    return streams


def differences(base, ours):
    diff = list(difflib.unified_diff(base, ours, "plain QEMU", "our QEMU", lineterm="",
                                     n=CONTEXT))
    return diff[:SHOWN] + ([f"... {len(diff) - SHOWN} more lines"] if len(diff) > SHOWN else [])


def compare(logs):
    """(number of calls, what is wrong as lines)"""
    wrong = []
    for qemu in ("base", "ours"):
        if not logs.get(qemu, {}).get("kvm"):
            return 0, [f"no trace of {'plain' if qemu == 'base' else 'our'} QEMU"]
    if set(logs["base"]) != set(logs["ours"]):
        return 0, [f"logs of plain QEMU: {sorted(logs['base'])}, of ours: {sorted(logs['ours'])}"]
    ours, bad_probe = drop_probes(logs["ours"]["kvm"])
    if bad_probe:
        wrong.append(bad_probe)
    ours = threads(drop_by_time(ours))
    base = threads(drop_by_time(drop_repeats(logs["base"]["kvm"])))
    for thread in sorted(base.keys() | ours.keys()):
        wrong += differences(base.get(thread, []), ours.get(thread, []))
    wrong += differences(drop_repeats(logs["base"].get("calls", [])),
                         logs["ours"].get("calls", []))
    count = sum(map(len, base.values())) + len(logs["base"].get("calls", []))
    return count, wrong


def main(argv):
    if len(argv) < 2:
        sys.exit(__doc__)
    traces = read_traces(argv[1])
    names = argv[2:] or sorted(traces)
    failed = not names
    for number, name in enumerate(names, 1):
        count, wrong = compare(traces.get(name, {}))
        failed |= bool(wrong)
        print(f"{'not ok' if wrong else 'ok'} {number} - {name}: " +
              ("the calls to KVM are not those of plain QEMU" if wrong else
               f"{count} calls to KVM, the same as plain QEMU's but for the probe"))
        for line in wrong:
            print(f"# {line}")
    print(f"1..{len(names)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
