#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The proof that nothing is lost, in full: what ninja test runs in short.

Runs the tests that simulate, search, enumerate, kill and fuzz, each for long, and prints for each
technique what it tried and how many violations it found, and for each line of a protocol that was
left out what noticed.  Ends with 0 if there was no violation and nothing survived unexplained.
"""

import argparse
import concurrent.futures
import os
import re
import signal
import subprocess
import sys
import threading
import time

# Program, how much more than in ninja test, and roughly how many minutes that takes on a quiet
# core.  Longest first, so that two cores end together.
RUNS = [
    ('stress/kill', 50, 9),
    ('fuzz/channel', 25, 6),
    ('fuzz/segment', 25, 6),
    ('sim/mutants', 5, 3),
    ('sim/registry', 20, 3),
    ('sim/rendezvous', 20, 2),
    ('sim/channel', 10, 4),
    ('sim/reaping', 20, 3),
    ('crash/enumerate', 5, 4),
    ('sim/park', 20, 1),
    ('sim/baton', 20, 1),
    ('sim/ring', 20, 1),
    ('sim/bell', 20, 1),
    ('sim/group', 20, 1),
    ('sim/gift', 20, 1),
    ('stress/event_loop', 4, 1),
    ('stress/publish', 3, 2),
    ('stress/calls', 3, 2),
    ('model/spin', 1, 2),
    ('crash/client', 4, 2),
    ('crash/server', 4, 1),
    ('crash/event_client', 4, 2),
    ('crash/event_server', 4, 1),
    ('crash/event_stopped', 1, 1),
    ('crash/attach', 4, 1),
    ('crash/shown_anywhere', 4, 1),
    ('crash/making', 1, 1),
    ('crash/stopped_reaper', 1, 1),
]

PROOF = re.compile(r'^# proof: ([^:]+): (.+): (\d+) (.+), (\d+) violations$')
MUTANT = re.compile(r'^# mutant: (.+?): (killed by|equivalent|noticed elsewhere):? ?(.*)$')


class Results:
    """What the runs have said so far."""

    def __init__(self):
        self.lock = threading.Lock()
        self.proofs = []    # technique, subject, count, unit, violations
        self.mutants = {}   # name: [(verdict, by what)]
        self.failed = []    # program, why

    def take(self, program, lines, status):
        with self.lock:
            for line in lines:
                found = PROOF.match(line)
                if found:
                    technique, subject, count, unit, violations = found.groups()
                    self.proofs.append((technique, subject, int(count), unit, int(violations)))
                found = MUTANT.match(line)
                if found:
                    name, verdict, by = found.groups()
                    self.mutants.setdefault(name, []).append((verdict, by))
            bad = [line for line in lines if line.startswith('not ok')]
            if status != 0 or bad:
                self.failed.append((program, bad[0] if bad else 'exit status {}'.format(status)))

    def survivors(self):
        return sorted(name for name, verdicts in self.mutants.items()
                      if not any(v in ('killed by', 'equivalent') for v, _ in verdicts))


class Prover:
    def __init__(self, options):
        self.options = options
        self.results = Results()
        self.started = time.monotonic()
        self.children = set()
        self.logs = os.path.join(options.build_dir, 'prove-it')

    def path(self, program):
        built = os.path.join(self.options.build_dir, 'tests', program + '.t')
        return built if os.path.exists(built) else os.path.join('tests', program + '.t')

    def say(self, text):
        seconds = int(time.monotonic() - self.started)
        print('{:3}:{:02} {}'.format(seconds // 60, seconds % 60, text), flush=True)

    def run(self, run):
        program, scale, _ = run
        environment = dict(os.environ, DCM_SOURCE_DIR=os.getcwd(),
                           DCM_BUILD_DIR=os.path.abspath(self.options.build_dir),
                           DCM_TEST_SCALE=str(scale * self.options.scale))
        log = os.path.join(self.logs, program.replace('/', '-') + '.log')
        self.say('{} begins, {:g} times what ninja test does'
                 .format(program, scale * self.options.scale))
        with open(log, 'w+') as out:
            child = subprocess.Popen([self.path(program)], stdin=subprocess.DEVNULL, stdout=out,
                                     stderr=subprocess.STDOUT, env=environment,
                                     start_new_session=True)
            self.children.add(child)
            status = child.wait()
            self.children.discard(child)
            out.seek(0)
            lines = out.read().split('\n')
        self.results.take(program, lines, status)
        good = status == 0 and not any(line.startswith('not ok') for line in lines)
        self.say('{} {}'.format(program, 'is through' if good else 'FAILED, see ' + log))

    def stop(self, number, _frame):
        for child in list(self.children):
            try:
                os.killpg(child.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        print('prove-it: stopped', file=sys.stderr)
        os._exit(128 + number)

    def prove(self, runs):
        os.makedirs(self.logs, exist_ok=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.stop)
        with concurrent.futures.ThreadPoolExecutor(self.options.jobs) as pool:
            list(pool.map(self.run, runs))
        self.report()
        r = self.results
        return not r.failed and not r.survivors() and not any(p[4] for p in r.proofs)

    def report(self):
        r = self.results
        print('\nWhat was tried')
        table(('technique', 'of', 'tried', '', 'violations'),
              [(technique, subject, '{:,}'.format(count), unit, str(violations))
               for technique, subject, count, unit, violations in sorted(r.proofs)], '<<><>')
        print('\nLines left out, one at a time')
        table(('line', 'verdict', 'by'), [row for name in sorted(r.mutants)
                                          for row in verdict_rows(name, r.mutants[name])], '<<<')
        killed = sum(any(v == 'killed by' for v, _ in vs) for vs in r.mutants.values())
        print('\n{} mutants: {} killed, {} equivalent, {} survived.'.format(
            len(r.mutants), killed, len(r.mutants) - killed - len(r.survivors()),
            len(r.survivors())))
        for name in r.survivors():
            print('SURVIVED: ' + name)
        for program, why in r.failed:
            print('FAILED: {}: {}'.format(program, why))
        print('{} violations in {} proofs, {} of {} programs failed, {:.0f} minutes.'.format(
            sum(p[4] for p in r.proofs), len(r.proofs), len(r.failed), len(RUNS),
            (time.monotonic() - self.started) / 60))


def verdict_rows(name, verdicts):
    """One row for each that killed it; of those that did not, one if nobody did."""
    killers = sorted(by for verdict, by in verdicts if verdict == 'killed by')
    if killers:
        return [(name if i == 0 else '', 'killed', by) for i, by in enumerate(killers)]
    for verdict, by in verdicts:
        if verdict == 'equivalent':
            return [(name, 'equivalent', by)]
    return [(name, 'SURVIVED', '')]


def table(head, rows, aligned):
    widths = [max(len(row[i]) for row in [head] + rows) for i in range(len(head))]
    for row in [head] + rows:
        cells = ['{:{}{}}'.format(cell, side, width)
                 for cell, side, width in zip(row, aligned, widths)]
        print('  ' + '  '.join(cells).rstrip())


def main():
    p = argparse.ArgumentParser(prog='prove_it.py', description=__doc__.split('\n')[0])
    p.add_argument('--build-dir', default='build', metavar='DIR')
    p.add_argument('--jobs', type=int, default=2, metavar='N', help='at a time (default: 2)')
    p.add_argument('--scale', type=float, default=1, metavar='X',
                   help='of the whole; 1 is 30 minutes on two cores')
    p.add_argument('--only', action='append', metavar='PROGRAM', help='say, sim/park')
    p.add_argument('--list', action='store_true', help='what would be run, and for how long')
    options = p.parse_args()
    known = {run[0] for run in RUNS}
    for name in options.only or []:
        if name not in known:
            p.error('--only {}: one of {}'.format(name, ', '.join(sorted(known))))
    runs = [run for run in RUNS if not options.only or run[0] in options.only]
    if options.list:
        table(('program', 'times', 'minutes'),
              [(name, '{:g}'.format(scale * options.scale), '{:g}'.format(minutes * options.scale))
               for name, scale, minutes in runs], '<>>')
        return 0
    return 0 if Prover(options).prove(runs) else 1


if __name__ == '__main__':
    sys.exit(main())
