# SPDX-License-Identifier: BSD-2-Clause
"""What bench.py keeps: files, of cells, of peers, of runs; and what is read out of it."""

import json
import os
import statistics

PLACEMENT = 1.34  # as in bench/matrix_results.c


class Data:
    """All that was measured."""

    def __init__(self, directory):
        self.files = {}
        for name in sorted(os.listdir(directory)):
            if name.endswith('.json'):
                with open(os.path.join(directory, name)) as f:
                    self.files[name[:-len('.json')]] = json.load(f)
        self.peers = {p['name']: p for f in self.files.values() for p in f.get('peers', [])}

    def cells(self, file, **wanted):
        return [c for c in self.files.get(file, {}).get('cells', [])
                if all(c.get(k) == v for k, v in wanted.items())]

    def rows(self, file, **wanted):
        """Of a file without cells: of each row, what it was in each run."""
        return [r['runs'] for r in self.files.get(file, {}).get('rows', [])
                if all(r['runs'][0].get(k) == v for k, v in wanted.items())]

    def kind(self, name):
        return self.peers.get(name, {}).get('kind')

    def others(self):
        return [name for name in self.peers if self.kind(name) == 'peer']


def counted(cell, peer):
    return [r for p in cell['peers'] if p['name'] == peer for r in p['runs'] if r['counts']]


def values(cell, peer, mark, inside='time'):
    """Of each run that counts."""
    found = [r.get(inside, {}).get(mark) if inside else r.get(mark) for r in counted(cell, peer)]
    return [v for v in found if v]


def median(cell, peer, mark, inside='time'):
    found = values(cell, peer, mark, inside)
    return statistics.median(found) if found else None


def is_rate(cell):
    return cell['what'] in ('send', 'many')


def main_mark(cell):
    return ('rate', None) if is_rate(cell) else ('p50', 'time')


def main_value(cell, peer):
    return median(cell, peer, *main_mark(cell))


def best_of(cell, names, mark=None, inside=None):
    """Whose value is the best, or None."""
    if mark is None:
        mark, inside = main_mark(cell)
    found = [(median(cell, p, mark, inside), p) for p in names]
    found = [f for f in found if f[0]]
    return (max if is_rate(cell) else min)(found)[1] if found else None


def ratio(a, b):
    return a / b if a and b else None


def same_placement(a, b):
    a, b = a['canary_ns'], b['canary_ns']
    return a <= b * PLACEMENT and b <= a * PLACEMENT


def shown(value, form='{:.2f}'):
    return '–' if value is None else form.format(value)


def spread(found, unit=1, form='{:.4g}'):
    if not found:
        return '–'
    return '{} ({}–{})'.format(*(form.format(v / unit) for v in (
        statistics.median(found), min(found), max(found))))


def time_text(ns):
    for unit, name in ((1e7, 'ms'), (1e4, 'µs'), (0, 'ns')):
        if ns >= unit:
            return '{:.4g} {}'.format(ns / {'ms': 1e6, 'µs': 1e3, 'ns': 1}[name], name)


def rate_text(rate):
    return '{:.3g} M/s'.format(rate / 1e6) if rate >= 1e5 else '{:.3g} k/s'.format(rate / 1e3)


def table(head, rows):
    if not rows:
        return ''
    lines = ['| ' + ' | '.join(head) + ' |', '|' + '---|' * len(head)]
    return '\n'.join(lines + ['| ' + ' | '.join(row) + ' |' for row in rows]) + '\n'
