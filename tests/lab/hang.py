#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What an emulated host is doing that is not done in time.

hang.py QMP-SOCKET PID KERNEL

Samples the registers of every CPU, names the functions they are in and those
whose return addresses lie on the stack, then sends an NMI, upon which the kernel
(unknown_nmi_panic, panic_print=1) adds all tasks to its log.  If QEMU itself
does not answer, there are only the states of its threads and, where gdb is
installed, what they wait for.
"""

import bisect
import json
import os
import re
import socket
import subprocess
import sys
import time

SAMPLES = 4
PAUSE = 0.5
STACK_WORDS = 256


class Monitor:
    """QMP, with the one command that hang.py needs."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(path)
        self.lines = self.sock.makefile('rw', encoding='utf-8')
        self.lines.readline()
        self.command('qmp_capabilities')

    def command(self, name, **arguments):
        json.dump({'execute': name, 'arguments': arguments}, self.lines)
        self.lines.write('\n')
        self.lines.flush()
        while True:
            answer = json.loads(self.lines.readline())
            if 'return' in answer:
                return answer['return']
            if 'error' in answer:
                raise OSError(answer['error']['desc'])

    def hmp(self, line):
        return self.command('human-monitor-command', **{'command-line': line})


class Symbols:
    """System.map of a kernel that is not relocated."""

    def __init__(self, path):
        self.table = []
        try:
            with open(path, encoding='ascii') as lines:
                for line in lines:
                    address, _, name = line.split()
                    self.table.append((int(address, 16), name))
        except OSError:
            pass
        self.table.sort()
        limits = {name: address for address, name in self.table}
        self.start = limits.get('_stext', 0)
        self.end = limits.get('_etext', 0)

    def is_code(self, address):
        return self.start <= address < self.end

    def name(self, address):
        i = bisect.bisect_right(self.table, (address, '~')) - 1
        if i < 0 or address - self.table[i][0] > 1 << 16:
            return ''
        return ' %s+0x%x' % (self.table[i][1], address - self.table[i][0])


def system_map(kernel):
    """.../arch/x86/boot/bzImage -> .../System.map"""
    path = os.path.abspath(kernel)
    for _ in range(4):
        path = os.path.dirname(path)
    return os.path.join(path, 'System.map')


def stack(monitor, symbols, cpu, rsp):
    """What lies on a CPU's stack and is, or was, a return address."""
    monitor.hmp('cpu %s' % cpu)
    for line in monitor.hmp('x /%dgx 0x%s' % (STACK_WORDS, rsp)).splitlines():
        for word in re.findall(r' 0x([0-9a-f]{16})', line):
            if symbols.is_code(int(word, 16)):
                print('  %s%s' % (word, symbols.name(int(word, 16))))


def sample(monitor, symbols, with_stack):
    text = monitor.hmp('info registers -a')
    for cpu, part in re.findall(r'CPU#(\d+)\s(.*?)(?=CPU#|\Z)', text, re.S):
        rip = int(re.search(r'RIP=([0-9a-f]+)', part).group(1), 16)
        rfl = int(re.search(r'RFL=([0-9a-f]+)', part).group(1), 16)
        cpl = re.search(r'CPL=(\d)', part).group(1)
        hlt = re.search(r'HLT=(\d)', part).group(1)
        print('CPU %s: RIP %x%s CPL %s IF %d HLT %s' %
              (cpu, rip, symbols.name(rip) if cpl == '0' else '', cpl,
               rfl >> 9 & 1, hlt))
        if with_stack and symbols.is_code(rip):
            stack(monitor, symbols, cpu, re.search(r'RSP=([0-9a-f]+)', part).group(1))


def threads(pid):
    base = '/proc/%s/task' % pid
    for tid in sorted(os.listdir(base), key=int):
        with open('%s/%s/stat' % (base, tid), encoding='ascii') as f:
            name, rest = f.read().split('(', 1)[1].rsplit(') ', 1)
        fields = rest.split()
        print('thread %s %s: state %s, %s ticks of user time' %
              (tid, name, fields[0], fields[11]))


def main():
    path, pid, kernel = sys.argv[1:4]
    for again in range(2):
        threads(pid)
        if not again:
            time.sleep(PAUSE)
    try:
        monitor = Monitor(path)
        symbols = Symbols(system_map(kernel))
        for i in range(SAMPLES):
            sample(monitor, symbols, i == 0)
            time.sleep(PAUSE)
        for what in ('info lapic 0', 'info lapic 1', 'info pic'):
            print(monitor.hmp(what).replace('\r', '').rstrip())
        monitor.command('inject-nmi')
        # The kernel writes its log at the speed of a serial port.
        time.sleep(5)
    except (OSError, ValueError) as e:
        print('QEMU does not answer: %s' % e)
        subprocess.run(['gdb', '-batch', '-p', pid, '-ex',
                        'thread apply all backtrace'], check=False,
                       stdin=subprocess.DEVNULL, timeout=60)


if __name__ == '__main__':
    main()
