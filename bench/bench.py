#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""ninja bench: measures everything, keeps the data, and writes bench/RESULTS.md.

What dcm-bench prints (every run with its histogram) goes to BUILD/bench/results; what the tables and
plots need of it, to bench/results, which is kept in the repository.  --report writes tables and
plots anew from there, without measuring.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
import report  # noqa: E402 (nothing is to be left beside the sources)


class Step:
    """One run of dcm-bench, whose result is a file.

    Of a matrix of cells and peers: @turns, runs in one round of it; @ms, what each lasts; @over,
    what each takes besides, seconds.  Of others: @seconds, and how often it is run.
    """

    def __init__(self, name, arguments, turns=0, ms=300, over=0.1, seconds=0, repeat=1, quick=''):
        self.name, self.arguments = name, arguments.split()
        self.turns, self.ms, self.over = turns, ms, over
        self.seconds, self.repeat = seconds, repeat
        self.quick = quick.split()

    def milliseconds(self, options):
        return max(1, self.ms * options.duration // 300)

    def estimate(self, options):
        if not self.turns:
            return self.seconds * self.repeat
        return self.turns * options.runs * (1.1 * self.milliseconds(options) / 1e3 + self.over)


QUICK_PEERS = 'dcm,futex,futex2,line,ring,spin-futex,unix-seqpacket'

# What is measured.
PLAN = [
    Step('latency', 'latency --sizes 64,4K', turns=55, over=0.2, quick='--sizes 64'),
    Step('latency-large', 'latency --sizes 64K,1M --waits spin', turns=17, over=0.2,
         quick='--sizes 64K'),
    Step('latency-one-core', 'latency --sizes 64 --waits adaptive,sleep --cpus {one}', turns=17,
         over=0.2),
    Step('latency-paced', 'latency --sizes 64 --waits adaptive --pace 20000', turns=3),
    Step('throughput', 'throughput --touch all', turns=120, ms=250, over=0.2,
         quick='--sizes 64,4K'),
    Step('throughput-header', 'throughput --touch header --waits spin --batches 1 --sizes 4K,64K,1M',
         turns=27, ms=250, over=0.2),
    Step('footprint', 'throughput --touch all --waits spin --batches 1 --sizes 4K --peers dcm,ring '
         '--footprint 128K,512K,1M,2M,4M,16M', turns=12, ms=250),
    Step('contention', 'contention --parts producers --batches 1 --producers 1,2,4,8,16,24',
         turns=61, over=0.25, quick='--producers 1,4'),
    Step('contention-batches', 'contention --parts producers --batches 16 --producers 1,4,16',
         turns=31, over=0.25, quick='--producers 1,4'),
    Step('stops', 'contention --parts stops --stop 20', turns=20, ms=600, over=0.25),
    Step('load', 'contention --parts pairs', turns=13, ms=1000, over=0.3, quick='--pairs 2'),
    Step('fanout', 'fanout', turns=36, ms=400, over=0.4, quick='--subscribers 1,8'),
    Step('connect', 'connect', turns=8, ms=500, over=0.3),
    Step('discovery', 'discovery', turns=7, ms=500, over=0.3),
    Step('death', 'death --peers all --resident 0', turns=8, ms=1000, over=1.0,
         quick='--peers dcm,unix-seqpacket'),
    Step('death-512M', 'death --peers dcm,pipe,unix-seqpacket,unix-stream --resident 512M', turns=4,
         ms=1500, over=0.5, quick='--resident 16M'),
    Step('death-4G', 'death --peers dcm,unix-seqpacket --resident 4G', turns=2, ms=1000, over=4,
         quick='--resident 64M'),
    Step('death-calls', 'death --rounds 25 --callers 1,16 --resident 0', seconds=8, repeat=5,
         quick='--rounds 2'),
    Step('events', 'events --rounds 200', seconds=3, repeat=5, quick='--rounds 5'),
    Step('scale', 'scale', seconds=60,
         quick='--runs 3 --endpoints 10,50 --matches 1,20 --sessions 1,5 --processes 8,10'),
    Step('memory', 'memory', seconds=5, quick='--count 20'),
]

# Of each run these are kept, and of all that count together a curve of so many points.
KEPT = ('counts', 'count', 'rate', 'others', 'canary_before_ns', 'canary_after_ns',
        'slowest_share', 'worst_p99_9', 'held_ns')
MARKS = ('p50', 'p90', 'p99', 'p99_9', 'p99_99', 'max', 'mean')
POINTS = [1 - 10 ** (-i / 8) for i in range(0, 41)]


def first_processor():
    return str(min(os.sched_getaffinity(0)))


def curve(runs):
    """Times at the points, of the histograms of all runs that count."""
    buckets = {}
    for run in runs:
        for value, count in run.get('time', {}).get('histogram', []):
            buckets[value] = buckets.get(value, 0) + count
    total, below, out = sum(buckets.values()), 0, []
    points = [p for p in POINTS if total * (1 - p) >= 1]
    for value in sorted(buckets):
        below += buckets[value]
        while points and below >= points[0] * total:
            out.append([round(points.pop(0), 7), value])
    return out


def compact(data):
    """Without the histograms."""
    for cell in data.get('cells', []):
        for peer in cell['peers']:
            peer['curve'] = curve([r for r in peer['runs'] if r['counts']])
            peer['runs'] = [dict({k: r[k] for k in KEPT if k in r},
                                 **{k: {m: r[k][m] for m in MARKS}
                                    for k in ('time', 'other') if k in r}) for r in peer['runs']]
    return data


def dump(data, path):
    """One line for each peer of a cell, or each row, so that changes can be read."""
    parts = [(key, data.pop(key)) for key in ('cells', 'rows') if key in data]
    with open(path + '.new', 'w') as f:
        f.write(json.dumps(data)[:-1])
        for key, items in parts:
            f.write(',\n"{}": ['.format(key))
            for i, item in enumerate(items):
                peers = item.pop('peers', None)
                text = json.dumps(item)
                if peers is not None:
                    text = (text[:-1] + ', "peers": [\n ' + ',\n '.join(map(json.dumps, peers)) +
                            ']}')
                f.write((',\n' if i else '\n') + text)
            f.write(']')
        f.write('}\n')
    os.replace(path + '.new', path)


def parsed(text):
    """What was printed, also by one that did not get to the end: whole cells are used."""
    for at in (len(text), text.rfind(',\n  {"title"')):
        for end in ('', ']}'):
            try:
                return json.loads(text[:at] + end)
            except ValueError:
                pass
    return None


def run_program(command, path, seconds):
    """What it prints is used however it ends."""
    print('bench: ' + ' '.join(command), flush=True)
    with open(path, 'w') as out:
        process = subprocess.Popen(command, stdout=out)
        try:
            process.wait(seconds)
            return
        except subprocess.TimeoutExpired:
            print('bench: not through after {:.0f} s'.format(seconds), flush=True)
        for number in (signal.SIGTERM, signal.SIGKILL):
            process.send_signal(number)
            try:
                process.wait(10)
                return
            except subprocess.TimeoutExpired:
                pass


def joined(runs):
    """Several times the same rows, as one with all of them."""
    data = runs[0]
    data['canaries'] = [[r[k] for k in ('canary_before_ns', 'canary_after_ns') if k in r]
                        for r in runs]
    if 'rows' in data:
        data['rows'] = [{'runs': list(rows)} for rows in zip(*(r['rows'] for r in runs))]
    return data


def command_of(options, step, share, within):
    command = [os.path.join(options.build_dir, 'dcm-bench')]
    command += [a.format(one=','.join([first_processor()] * 2)) for a in step.arguments]
    if options.quick:
        command += step.quick
    if options.quick and step.turns and '--peers' not in command:
        command += ['--peers', QUICK_PEERS]
    if step.turns:
        command += ['--runs', str(options.runs),
                    '--duration', str(max(1, int(step.milliseconds(options) * share))),
                    '--within', str(max(1, int(within)))]
    return command + ['--json']


def measure(options, step, share, within):
    """@share: of what a run is to last; @within: seconds, for all, if there is no trouble.

    Return: whether there is a result of DCM.  A peer that fails costs its row.
    """
    raw_path = os.path.join(options.build_dir, 'bench', 'results', step.name + '.json')
    os.makedirs(os.path.dirname(raw_path), exist_ok=True)
    runs = []
    for number in range(1 if options.quick else step.repeat):
        path = raw_path if number == 0 else raw_path.replace('.json', '.{}.json'.format(number))
        run_program(command_of(options, step, share, within), path, within + 90)
        with open(path) as f:
            data = parsed(f.read())
        if data is not None:
            runs.append(data)
    if not runs:
        print('bench: {}: no result'.format(step.name), flush=True)
        return False
    data = compact(runs[0]) if step.turns else joined(runs)
    failed = sorted({p['name'] for c in data.get('cells', []) for p in c['peers'] if p['failed']})
    if failed:
        print('bench: {}: failed: {}'.format(step.name, ', '.join(failed)), flush=True)
    dump(data, os.path.join(report.path_of('results'), step.name + '.json'))
    return 'dcm' not in failed


def clock(seconds):
    return '{}:{:02}'.format(int(seconds) // 60, int(seconds) % 60)


def show_plan(options, steps):
    print('bench: what is measured, and how long that takes')
    total = 0
    for step in steps:
        seconds = step.estimate(options)
        print('bench: {:>6}  {:20}{}'.format(
            clock(seconds), step.name,
            '{} runs of {} ms'.format(step.turns * options.runs, step.milliseconds(options))
            if step.turns else '{} times'.format(step.repeat)))
        total += seconds
    print('bench: {:>6}  in all; runs in another placement are made again up to {}'.format(
        clock(total), clock(60 * options.minutes)), flush=True)


def measure_all(options, steps):
    """Return: names of those in which something failed."""
    began, failed = time.time(), []
    left = sum(s.estimate(options) for s in steps)
    for number, step in enumerate(steps):
        own, now = step.estimate(options), time.time()
        there = 60 * options.minutes - (now - began)
        print('bench: {} of {}, {} of {} min: {}'.format(number + 1, len(steps), clock(now - began),
                                                        clock(60 * options.minutes), step.name),
              flush=True)
        # What is left over goes to who is next; if it is short, all runs are shorter.
        share = min(1, max(0.3, there / left)) if left else 1
        within = min(1.5 * own * there / left, there - (left - own)) if left else own
        if not measure(options, step, share, max(own * share, within)):
            failed.append(step.name)
        left -= own
    print('bench: measured in {} min'.format(clock(time.time() - began)))
    return failed


def parse(arguments):
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('--build-dir', default='build', help='where dcm-bench is')
    p.add_argument('--only', default='', help='of ' + ','.join(s.name for s in PLAN))
    p.add_argument('--runs', type=int, help='runs of each (5)')
    p.add_argument('--duration', type=int, help='milliseconds of most runs, others in proportion '
                   '(300)')
    p.add_argument('--minutes', type=float, default=37, help='all of it together (37)')
    p.add_argument('--quick', action='store_true', help='little of everything, once and short, '
                   'into BUILD/bench/quick: does it work')
    p.add_argument('--plan', action='store_true', help='say how long it takes, no more')
    p.add_argument('--report', action='store_true', help='measure nothing')
    options = p.parse_args(arguments)
    options.runs = options.runs or (1 if options.quick else 5)
    options.duration = options.duration or (20 if options.quick else 300)
    return options


def chosen(options):
    only = [name for name in options.only.split(',') if name]
    unknown = set(only) - {s.name for s in PLAN}
    if unknown:
        sys.exit('bench: there is no ' + ', '.join(sorted(unknown)))
    return [s for s in PLAN if not only or s.name in only]


def main():
    options = parse(sys.argv[1:])
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
    steps, failed = chosen(options), []
    if options.quick:
        report.where = os.path.join(options.build_dir, 'bench', 'quick')
    os.makedirs(report.path_of('results'), exist_ok=True)
    if not options.report:
        show_plan(options, steps)
    if options.plan:
        return
    if not options.report:
        failed = measure_all(options, steps)
    report.write()
    if failed:
        sys.exit('bench: something failed in ' + ', '.join(failed))


if __name__ == '__main__':
    main()
