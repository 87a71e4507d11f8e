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
import subprocess
import sys
import time

sys.dont_write_bytecode = True
import report  # noqa: E402 (nothing is to be left beside the sources)

# What is measured: file, and arguments of dcm-bench.
PLAN = [
    ('latency', ['latency']),
    ('latency-one-core', ['latency', '--sizes', '64', '--waits', 'adaptive,sleep', '--cpus',
                          '{one}']),
    ('latency-paced', ['latency', '--sizes', '64', '--waits', 'adaptive', '--pace', '20000']),
    ('throughput', ['throughput']),
    ('contention', ['contention', '--batches', '1,16']),
    ('fanout', ['fanout']),
    ('connect', ['connect']),
    ('discovery', ['discovery']),
    ('death', ['death', '--rounds', '30', '--callers', '1', '--resident', '0,512M']),
    ('death-peers', ['death', '--peers', 'all', '--resident', '0,512M']),
    ('events', ['events']),
    ('scale', ['scale']),
]

# Of each run these are kept, and of all that count together a curve of so many points.
KEPT = ('counts', 'count', 'rate', 'others', 'canary_before_ns', 'canary_after_ns',
        'slowest_share', 'worst_p99_9')
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
    """One line for each peer of a cell, so that changes can be read."""
    with open(path + '.new', 'w') as f:
        if 'cells' not in data:
            f.write(json.dumps(data, indent=1) + '\n')
        else:
            cells = data.pop('cells')
            f.write(json.dumps(data)[:-1] + ',\n"cells": [')
            for i, cell in enumerate(cells):
                peers = cell.pop('peers')
                f.write((',\n' if i else '\n') + json.dumps(cell)[:-1] + ', "peers": [\n ')
                f.write(',\n '.join(json.dumps(p) for p in peers) + ']}')
            f.write(']}\n')
    os.replace(path + '.new', path)


def measure(options, name, arguments):
    raw_path = os.path.join(options.build_dir, 'bench', 'results', name + '.json')
    os.makedirs(os.path.dirname(raw_path), exist_ok=True)
    command = [os.path.join(options.build_dir, 'dcm-bench')]
    command += [a.format(one=','.join([first_processor()] * 2)) for a in arguments] + ['--json']
    if arguments[0] not in ('death', 'events', 'scale', 'memory'):
        command += ['--runs', str(options.runs), '--duration', str(options.duration)]
    began = time.time()
    print('bench: ' + ' '.join(command), flush=True)
    with open(raw_path, 'w') as out:
        status = subprocess.call(command, stdout=out)
    print('bench: {:.0f} s'.format(time.time() - began), flush=True)
    try:
        with open(raw_path) as f:
            data = json.load(f)
    except ValueError:
        print('bench: {}: no result, status {}'.format(name, status))
        return False
    dump(compact(data), os.path.join(report.RESULTS, name + '.json'))
    return status == 0


def parse(arguments):
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('--build-dir', default='build', help='where dcm-bench is')
    p.add_argument('--only', default='', help='of ' + ','.join(name for name, _ in PLAN))
    p.add_argument('--runs', type=int, default=5, help='runs of each (5)')
    p.add_argument('--duration', type=int, default=300, help='milliseconds of each run (300)')
    p.add_argument('--report', action='store_true', help='measure nothing')
    return p.parse_args(arguments)


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
    options = parse(sys.argv[1:])
    only = [name for name in options.only.split(',') if name]
    unknown = set(only) - {name for name, _ in PLAN}
    if unknown:
        sys.exit('bench: there is no ' + ', '.join(sorted(unknown)))
    failed = []
    os.makedirs(report.RESULTS, exist_ok=True)
    for name, arguments in PLAN:
        if not options.report and (not only or name in only):
            if not measure(options, name, arguments):
                failed.append(name)
    report.write()
    if failed:
        sys.exit('bench: something failed in ' + ', '.join(failed))


if __name__ == '__main__':
    main()
