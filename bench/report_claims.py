# SPDX-License-Identifier: BSD-2-Clause
"""What must hold, section by section: words, a ratio that was measured, and its bound."""

import statistics

from report_data import (best_of, counted, is_rate, main_mark, main_value, median, rate_text, ratio,
                         same_placement, shown, table, time_text)


class Claim:
    """@beyond: a goal that lies beyond what must hold."""

    def __init__(self, words, measured, bound, sense='≤', beyond=False):
        self.words, self.bound, self.sense, self.beyond = words, bound, sense, beyond
        self.ratio, self.absolute, self.runs, self.note = measured

    def held(self):
        if self.ratio is None:
            return None
        return self.ratio <= self.bound if self.sense == '≤' else self.ratio >= self.bound

    def row(self):
        said = {None: 'not measured' + (': ' + self.note if self.note else ''), True: 'yes',
                False: 'not yet' if self.beyond else '**no**'}[self.held()]
        if self.ratio is not None and self.runs is not None and self.runs < 5:
            said += ' (of {} runs only)'.format(self.runs)
        return [self.words, shown(self.ratio), '{} {:.3g}'.format(self.sense, self.bound), said,
                self.absolute]


NOTHING = (None, '', None, '')


def claims_table(claims):
    return table(['what', 'measured', 'bound', 'holds', 'DCM / the other'],
                 [c.row() for c in claims])


def over(data, name, wanted, of, mark=None, inside='time', of_wanted=None, of_name=None):
    """Of DCM in one cell, how many times @of, there or in another cell beside it.

    @of: a name, or names, of which the best is taken; @mark: of what is measured, else the main.
    """
    mine = data.cells(name, **wanted)[:1]
    theirs = data.cells(of_name or name, **(of_wanted or wanted))[:1]
    if not mine or not theirs:
        return NOTHING
    mine, theirs = mine[0], theirs[0]
    if mark is None:
        mark, inside = main_mark(mine)
    if not isinstance(of, str):
        of = best_of(theirs, of, mark, inside)
    if of is None:
        return (None, '', None, 'nobody to compare with')
    a, b = median(mine, 'dcm', mark, inside), median(theirs, of, mark, inside)
    if not a or not b:
        return (None, '', None, 'no runs of ' + ('dcm' if not a else of))
    if not same_placement(mine, theirs):
        return (None, '', None, 'not in one placement')
    text = rate_text if mark == 'rate' else time_text
    whose = '' if of == 'dcm' else ' ' + of
    return (ratio(a, b), '{} / {}{}'.format(text(a), text(b), whose),
            min(len(counted(mine, 'dcm')), len(counted(theirs, of))), '')


def call(wait, size=64):
    return {'what': 'call', 'wait': wait, 'size': size, 'clients': 0}


def sent(size, batch, header=0, wait='spin'):
    return {'what': 'send', 'wait': wait, 'size': size, 'batch': batch, 'header': header}


def producers(count, batch=1):
    return {'what': 'send' if count == 1 else 'many', 'clients': count, 'batch': batch}


def round_trips(data):
    spin, others = call('spin'), data.others()
    yield Claim('64 B, p50 / ring', over(data, 'latency', spin, 'ring'), 0.95)
    yield Claim('64 B, p99 / ring', over(data, 'latency', spin, 'ring', 'p99'), 1.3)
    yield Claim('64 B, p50 / best peer', over(data, 'latency', spin, others), 1)
    yield Claim('64 B, p99 / best peer', over(data, 'latency', spin, others, 'p99'), 1)
    yield Claim('goal: 64 B, p50 / bare cache line', over(data, 'latency', spin, 'line'), 1.7,
                beyond=True)
    yield Claim('4 KiB, p50 / ring', over(data, 'latency', call('spin', 4096), 'ring'), 1.1)


def waiting(data):
    for mark, bound in (('p50', 1.3), ('p99', 3)):
        yield Claim('64 B, default policy / spinning, ' + mark,
                    over(data, 'latency', call('adaptive'), 'dcm', mark, of_wanted=call('spin')),
                    bound)
    for name, words in (('latency', 'two cores'), ('latency-one-core', 'one core')):
        yield Claim('64 B, sleeping at once, {}, p50 / futex_waitv of two words'.format(words),
                    over(data, name, call('sleep'), 'futex2'), 1.15)


def streams(data):
    for batch, words in ((1, 'singly'), (16, 'batches of 16')):
        yield Claim('64 B, {}, rate / ring'.format(words),
                    over(data, 'throughput', sent(64, batch), 'ring'), 1, '≥')
        for wait, how in (('spin', 'spinning'), ('own', 'as each does by itself')):
            yield Claim('64 B, {}, {}, rate / best peer'.format(words, how),
                        over(data, 'throughput', sent(64, batch, wait=wait), data.others()), 1,
                        '≥')


def several(data):
    debian = [name for name in data.others() if name != 'ck']
    for name, batch, words in (('contention', 1, 'singly'),
                               ('contention-batches', 16, 'batches of 16')):
        yield Claim('4 producers, {}, rate / one producer'.format(words),
                    over(data, name, producers(4, batch), 'dcm', of_wanted=producers(1, batch)),
                    0.6, '≥')
        yield Claim('16 producers, {}, rate / 4 producers'.format(words),
                    over(data, name, producers(16, batch), 'dcm', of_wanted=producers(4, batch)),
                    0.8, '≥')
        for count in (4, 16):
            yield Claim('{} producers, {}, rate / best peer of Debian'.format(count, words),
                        over(data, name, producers(count, batch), debian), 5, '≥')
    for count in (2, 4, 8, 16, 24):
        yield Claim('{} producers, singly, rate / best peer'.format(count),
                    over(data, 'contention', producers(count), data.others()), 1, '≥')
    yield from stopped(data)


def stopped(data):
    """Four producers, one of whom is always stopped or has just been: as without that?"""
    cells = data.cells('stops')
    if len(cells) < 2:
        return
    free, stops = ({'stop_ns': c['stop_ns']} for c in cells[:2])
    yield Claim('4 producers, one after the other stopped, rate / none is',
                over(data, 'stops', stops, 'dcm', of_wanted=free), 0.8, '≥')
    held = median(cells[1], 'dcm', 'held_ns', None)
    yield Claim('the same, longest time without a message / length of a stop',
                (ratio(held, cells[1]['stop_ns']),
                 '{} / {}'.format(time_text(held), time_text(cells[1]['stop_ns'])) if held else '',
                 len(counted(cells[1], 'dcm')), ''), 0.5)


def flatness(data):
    """Of the rates at 4 KiB, 64 KiB and 1 MiB with the header touched: most by least."""
    cells = data.cells('throughput-header')
    rates = [main_value(c, 'dcm') for c in cells]
    if len(rates) < 3 or not all(rates):
        return NOTHING
    if not all(same_placement(cells[0], c) for c in cells):
        return (None, '', None, 'not in one placement')
    return (max(rates) / min(rates), '{} / {}'.format(rate_text(max(rates)), rate_text(min(rates))),
            min(len(counted(c, 'dcm')) for c in cells), '')


def loans(data):
    yield Claim('header touched, 4 KiB to 1 MiB: most / least rate', flatness(data), 1.1)
    for size, words in ((4096, '4 KiB'), (65536, '64 KiB'), (1 << 20, '1 MiB')):
        yield Claim(words + ', every byte written and read, rate / ring',
                    over(data, 'throughput', sent(size, 1), 'ring'), 1, '≥')


def fan_out(data):
    for count in (1, 8, 64):
        wanted = {'servers': count}
        yield Claim('{} asleep: the last is told, p50 / futex'.format(count),
                    over(data, 'fanout', wanted, 'futex'), 1.3)
        yield Claim('{} asleep: the publisher\'s call, p50 / futex'.format(count),
                    over(data, 'fanout', wanted, 'futex', 'p50', 'other'), 1.5)
    for rows in data.rows('events', name='publish'):
        found = [r['calls'] for r in rows if r.get('calls') is not None]
        if found:
            yield Claim('nobody asleep: system calls of publishing and withdrawing',
                        (statistics.median(found), '', len(found), ''), 0)


def connecting(data):
    yield Claim('to the first reply, p50 / AF_UNIX', over(data, 'connect', {}, 'unix-seqpacket'),
                1.5)
    yield Claim('to the first reply, p50 / D-Bus', over(data, 'connect', {}, 'dbus'), 1 / 3)
    yield Claim('to the first reply, p50 / iceoryx', over(data, 'connect', {}, 'iceoryx'), 0.1)


def appearing(data):
    yield Claim('a waiting client is told, p50 / futex', over(data, 'discovery', {}, 'futex'), 1.3)


def dying(data):
    for name, words, marks in (('death', 'nothing', ('p50', 'p99')), ('death-512M', '512 MiB',
                                                                     ('p50', 'max')),
                               ('death-4G', '4 GiB', ('p50', 'max'))):
        for mark in marks:
            yield Claim('a victim with {} resident, {} / AF_UNIX'.format(words, mark),
                        over(data, name, {}, 'unix-seqpacket', mark), 1)


def grown(data, name, of, least, most):
    """Of the cost beside @least of something, how many times that is the cost beside @most."""
    few, many = ([r for r in data.rows('scale', name=name, of=of) if r[0]['n'] == n]
                 for n in (least, most))
    if not few or not many:
        return NOTHING
    a, b = (statistics.median(r['p50_ns'] for r in rows[0]) for rows in (many, few))
    return (ratio(a, b), '{} / {}'.format(time_text(a), time_text(b)), many[0][0]['runs'], '')


def growing(data):
    yield Claim('publish and unpublish, at 100,000 endpoints / at 10',
                grown(data, 'pair', 'endpoints', 10, 100000), 1.5)
    yield Claim('back-fill, each of 10,000 matches / each of 100',
                grown(data, 'back-fill', 'matches', 100, 10000), 1.5)


def crowded(data):
    yield Claim('12 pairs, p99.9 / spin-then-futex', over(data, 'load', {}, 'spin-futex', 'p99_9'),
                2)
    for cell in data.cells('load')[:1]:
        share = median(cell, 'dcm', 'slowest_share', None)
        yield Claim('nobody starves: the slowest client\'s part of an even share',
                    (share, '', len(counted(cell, 'dcm')), ''), 0.25, '≥')


def better_peers(data, cell):
    """Peers that do better in it than DCM, with how many times."""
    mine = main_value(cell, 'dcm')
    if not mine:
        return []
    sign = 1 if is_rate(cell) else -1
    found = [(main_value(cell, p), p) for p in data.others()]
    return ['{} ({:.2f})'.format(p, v / mine) for v, p in sorted(
        (f for f in found if f[0] and sign * f[0] > sign * mine), reverse=is_rate(cell))]
