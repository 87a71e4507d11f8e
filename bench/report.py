# SPDX-License-Identifier: BSD-2-Clause
"""bench/RESULTS.md and its plots, from what bench.py keeps in bench/results.

What is said in words stands in bench/remarks.md: under the key of a section what its tables are, and
under "KEY: why" an honest paragraph where a bound is missed or a peer is better.
"""

import os
import statistics

import report_claims as claims
import report_plots as plots
from report_data import (Data, best_of, counted, is_rate, main_value, median, ratio, shown, spread,
                         table, values)

REMARKS = 'bench/remarks.md'
where = 'bench'  # of what is written


def path_of(name):
    return os.path.join(where, name)


# Tables of cells.

def in_order(cell):
    names = [p['name'] for p in cell['peers'] if main_value(cell, p['name'])]
    return sorted(names, key=lambda n: main_value(cell, n), reverse=is_rate(cell))


def bold(data, name):
    return {'self': '**{}**', 'limit': '*{}*'}.get(data.kind(name), '{}').format(name)


def ratios(cell, name, best):
    """To the limit and to the best peer; of times also those of p99."""
    out = []
    for of in (cell['limit'], best):
        if is_rate(cell):
            out.append(ratio(main_value(cell, name), of and main_value(cell, of)))
        else:
            out += [ratio(median(cell, name, m), of and median(cell, of, m)) for m in ('p50', 'p99')]
    return [shown(r) for r in out]


def slowest(cell, name):
    share = median(cell, name, 'slowest_share', None)
    worst = median(cell, name, 'worst_p99_9', None)
    return [shown(share)] + ([] if is_rate(cell) else [shown(worst and worst / 1e3, '{:.4g}')])


def slowest_head(cell):
    return ['slowest client'] + ([] if is_rate(cell) else ['its p99.9, µs'])


def rate_table(data, cell):
    best = best_of(cell, data.others())
    rows = []
    for name in in_order(cell):
        rate = values(cell, name, 'rate', None)
        rows.append([bold(data, name)] + ratios(cell, name, best) +
                    [spread(rate, 1e6, '{:.3g}'),
                     shown(statistics.median(rate) * cell['size'] / 1e9, '{:.3g}'), str(len(rate))])
        if cell['clients'] > 1:
            rows[-1] += slowest(cell, name)
        if cell['stop_ns']:
            held = median(cell, name, 'held_ns', None)
            rows[-1].append(shown(held and held / 1e6))
    head = ['', '× ' + cell['limit'], '× best peer', 'M messages/s (least–most)', 'GB/s', 'runs']
    head += slowest_head(cell) if cell['clients'] > 1 else []
    return table(head + (['without a message, ms'] if cell['stop_ns'] else []), rows)


def time_table(data, cell):
    best = best_of(cell, data.others())
    names = in_order(cell)
    unit = 1e3 if names and main_value(cell, names[0]) >= 1e4 else 1
    rows = []
    for name in names:
        row = [bold(data, name)] + ratios(cell, name, best)
        row.append(spread(values(cell, name, 'p50'), unit))
        row += [shown(median(cell, name, m) / unit, '{:.4g}') for m in
                ('p90', 'p99', 'p99_9', 'p99_99', 'max', 'mean')]
        if cell['what'] == 'fan':
            of = median(cell, cell['limit'], 'p50', 'other')
            beside = median(cell, name, 'p50', 'other')
            row += [shown(ratio(beside, of)), shown(beside and beside / unit, '{:.4g}')]
        if cell['clients'] > 1:
            row += slowest(cell, name)
        rows.append(row + [str(len(values(cell, name, 'p50')))])
    head = ['ns' if unit == 1 else 'µs', '× ' + (cell['limit'] or '–'), 'p99', '× best peer', 'p99',
            'p50 (least–most)', 'p90', 'p99', 'p99.9', 'p99.99', 'max', 'mean']
    head += ['× ' + cell['limit'], 'call'] if cell['what'] == 'fan' else []
    return table(head + (slowest_head(cell) if cell['clients'] > 1 else []) + ['runs'], rows)


def canary_text(cell):
    if not cell['canary_ns']:
        return ''
    runs = [r for p in cell['peers'] for r in p['runs']]
    good = [r for r in runs if r['counts']]
    text = ' (cache line there and back: {:.0f} ns'.format(cell['canary_ns'])
    for words, key in (('before', 'canary_before_ns'), ('after', 'canary_after_ns')):
        found = [r[key] for r in good]
        if found:
            text += '; {} {:.0f}–{:.0f}'.format(words, min(found), max(found))
    moved = len(runs) - len(good)
    return text + ('; {} runs of {} in another placement'.format(moved, len(runs)) if moved
                   else '') + ')'


def cell_section(data, cell):
    text = '**{}**'.format(cell['title'][0].upper() + cell['title'][1:]) + canary_text(cell)
    text += '\n\n' + (rate_table if is_rate(cell) else time_table)(data, cell)
    better = claims.better_peers(data, cell)
    never = [p['name'] for p in cell['peers'] if p['runs'] and not p['runs'][0]['count']]
    if better:
        text += '\nBetter than DCM, by so many times its value: ' + ', '.join(better) + '.\n'
    for p in cell['peers']:
        if p.get('failures'):
            text += '\n{} failed{}: {}.\n'.format(p['name'], '' if p['failed'] else ' once',
                                                  p['why'])
    if never:
        text += '\nDoes not know within 3 s, if ever: ' + ', '.join(never) + '.\n'
    return text + '\n'


# Tables of what has no cells.

def of_runs(runs, key, unit=1):
    return spread([r[key] for r in runs if r.get(key) is not None], unit)


def canaries_text(data, name):
    found = [c for c in data.files[name].get('canaries', []) if len(c) == 2]
    if not found:
        return ''
    return 'Cache line there and back, before and after: {} ns.\n\n'.format(
        ', '.join('{}–{}'.format(*c) for c in found))


def flat(rows, outer):
    """Of a row that has parts, one part."""
    return [r[outer] for r in rows]


def death_calls_table(data):
    rows = []
    for runs in data.rows('death-calls'):
        dcm, raw, first = flat(runs, 'dcm'), flat(runs, 'raw'), runs[0]
        rows.append([first['call'], str(first['callers'])] +
                    [shown(ratio(statistics.median(d[k] for d in dcm),
                                 statistics.median(r[k] for r in raw)))
                     for k in ('p50_ns', 'p99_ns')] +
                    [of_runs(dcm, 'p50_ns', 1e3), of_runs(raw, 'p50_ns', 1e3)] +
                    [of_runs(dcm, k, 1e3) for k in ('p90_ns', 'p99_ns', 'max_ns')] +
                    [str(sum(d['samples'] for d in dcm)), str(len(runs))])
    return table(['blocked in', 'callers', '× robust futex, p50', 'p99', 'p50, µs (least–most)',
                  'robust futex, µs', 'p90', 'p99', 'max', 'samples', 'runs'], rows)


def events_table(data):
    rows = []
    for runs in data.rows('events'):
        calls = [r['calls'] for r in runs if r.get('calls') is not None]
        rows.append([runs[0]['name'], of_runs(runs, 'ratio_p50') + ' ' + runs[0]['of'],
                     '{:.4g}'.format(statistics.median(calls)) if calls else '–'] +
                    [of_runs(runs, k) for k in ('p50_ns', 'p90_ns', 'p99_ns', 'max_ns')] +
                    [str(len(runs)), runs[0].get('what', '')])
    return table(['', '×', 'system calls', 'p50, ns (least–most)', 'p90', 'p99', 'max', 'runs',
                  'what it is'], rows)


def scale_table(data):
    rows = []
    for runs in data.rows('scale'):
        r = runs[0]
        rows.append([r['name'], '{:,} {}'.format(r['n'], r['of']), shown(r['ratio'])] +
                    ['{:,.0f}'.format(r[k]) if k in r else '–'
                     for k in ('p50_ns', 'least_ns', 'p90_ns', 'max_ns')] + [str(r['runs'])])
    return table(['what', 'beside', '× the first', 'median, ns', 'least', 'p90', 'most', 'runs'],
                 rows)


def memory_table(data):
    rows = [[r[0]['name'], '{:,}'.format(r[0]['own_bytes']), '{:,}'.format(r[0]['shared_bytes']),
             '{:.4g}'.format(r[0]['maps']), r[0]['what']] for r in data.rows('memory')]
    file = data.files['memory']
    return table(['', 'its own, bytes', 'shared, bytes', 'mappings', 'what it is'], rows) + (
        '\nThe segment, one for all: {:,} bytes; a channel\'s file, one for both sides, committed: '
        '{:,}.\n'.format(file['segment_bytes'], file['channel_committed_bytes']))


def begin_table(data):
    """What a process does once, before it can connect: in a row of its own."""
    rows = []
    for cell in data.cells('connect')[:1]:
        found = [(median(cell, p['name'], 'p50', 'other'), p['name']) for p in cell['peers']]
        found = sorted(f for f in found if f[0])
        best = next((v for v, name in found if data.kind(name) == 'peer' and v > 1e5), None)
        for value, name in found:
            rows.append([bold(data, name), shown(ratio(value, best)),
                         spread(values(cell, name, 'p50', 'other'), 1e3),
                         str(len(counted(cell, name)))])
    return table(['', '× best of more than 0.1 ms', 'begin, µs (least–most)', 'runs'], rows)


def footprint_table(data):
    """Of the bare ring by its size, and of DCM beside it: what a consumer that keeps up pays."""
    rows = []
    for cell in data.cells('footprint'):
        mine, ring = (main_value(cell, name) for name in ('dcm', 'ring'))
        rows.append(['{:,} KiB'.format(cell['footprint'] >> 10), shown(ratio(mine, ring))] +
                    [spread(values(cell, name, 'rate', None), 1e9 / cell['size'])
                     for name in ('ring', 'dcm')] +
                    ['{:.0f}'.format(cell['canary_ns']), str(len(counted(cell, 'ring')))])
    return table(['the ring holds', 'DCM, × ring', 'ring, GB/s (least–most)',
                  'DCM as it is, GB/s', 'canary, ns', 'runs'], rows)


# Sections.

class Section:
    """@cells: of which file which; @rows: a file without cells, and what makes a table of it."""

    def __init__(self, key, title, claims=None, cells=(), rows=None, more=None, plots=()):
        self.key, self.title, self.claims = key, title, claims
        self.cells, self.rows, self.more, self.plots = cells, rows, more, plots

    def all_cells(self, data):
        return [c for name, wanted in self.cells for c in data.cells(name, **wanted)]

    def is_there(self, data):
        return bool(self.all_cells(data) or (self.rows and self.rows[0] in data.files))

    def all_claims(self, data):
        return list(self.claims(data)) if self.claims else []


def spin_plot(data, directory):
    return plots.latency(data, directory, 'latency', 'spin', 'round trip of 64 bytes, spinning')


def waiting_plots(data, directory):
    return (plots.latency(data, directory, 'latency', 'adaptive',
                          'round trip of 64 bytes, default policy') +
            plots.latency(data, directory, 'latency', 'sleep',
                          'round trip of 64 bytes, sleeping at once'))


def stream_plots(data, directory):
    return ''.join(plots.throughput(data, directory, 'throughput', 'one-way, every byte written '
                                    'and read, ' + words, batch=1, wait=wait)
                   for wait, words in (('spin', 'spinning'), ('own', 'as each waits by itself')))


def loan_plots(data, directory):
    return plots.messages(data, directory, 'throughput-header',
                          'one-way, 8 bytes of each message touched, spinning')


def load_plot(data, directory):
    for cell in data.cells('load'):
        lines = [(p['name'], [(1 / (1 - q), v) for q, v in p['curve']]) for p in cell['peers']]
        return plots.draw(data, directory, 'load', cell['title'], plots.highest_first(lines),
                          'percentile', 'time', plots.PERCENTILES)
    return ''


SMALL = {'size': 64}
SECTIONS = [
    Section('round-trip', 'Round trips, spinning', claims.round_trips,
            [('latency', {'wait': 'spin'}), ('latency-large', {})], plots=spin_plot),
    Section('waiting', 'Round trips: default policy, and sleeping at once', claims.waiting,
            [('latency', {'wait': 'adaptive'}), ('latency', {'wait': 'sleep'}),
             ('latency-one-core', {}), ('latency-paced', {})], plots=waiting_plots),
    Section('one-way', 'One-way messages of one producer', claims.streams,
            [('throughput', SMALL)], plots=stream_plots),
    Section('producers', 'One-way messages of several producers', claims.several,
            [('contention', {}), ('contention-batches', {}), ('stops', {})],
            plots=plots.contention),
    Section('loans', 'Large messages', claims.loans,
            [('throughput-header', {})] + [('throughput', {'size': size})
                                           for size in (4096, 65536, 1 << 20)],
            more=footprint_table, plots=loan_plots),
    Section('fan-out', 'One publication to many', claims.fan_out, [('fanout', {})]),
    Section('connect', 'From nothing to the first reply', claims.connecting, [('connect', {})],
            more=begin_table),
    Section('discovery', 'A service appears', claims.appearing, [('discovery', {})]),
    Section('death', 'A server is killed', claims.dying,
            [('death', {}), ('death-512M', {}), ('death-4G', {})],
            rows=('death-calls', death_calls_table)),
    Section('scale', 'How it grows', claims.growing, rows=('scale', scale_table),
            plots=plots.scale),
    Section('memory', 'What is resident', rows=('memory', memory_table)),
    Section('load', 'More threads than cores', claims.crowded, [('load', {})], plots=load_plot),
    Section('events', 'Events, rights and badges', rows=('events', events_table)),
]


def why_of(key, missed, words):
    """The honest paragraph, or that there is none; who looks on is told of it in either case."""
    name = key + ': why'
    print('bench: remarks.md {} "## {}" for: {}'.format('has' if name in words else 'has no', name,
                                                       missed))
    return words.get(name, '**Nothing is said of what is missed here, or better elsewhere: {}.**'
                     '\n\n'.format(missed))


def section_text(section, data, words):
    text = '## ' + section.title + '\n\n'
    found, cells = section.all_claims(data), section.all_cells(data)
    if found:
        text += claims.claims_table(found) + '\n'
    text += words.get(section.key, '')
    missed = [c.words for c in found if c.held() is False]
    missed += [c['title'] for c in cells if claims.better_peers(data, c)]
    if missed:
        text += why_of(section.key, '; '.join(missed), words)
    if section.plots:
        text += section.plots(data, path_of('plots'))
    text += ''.join(cell_section(data, c) for c in cells)
    if section.more:
        text += section.more(data) + '\n'
    if section.rows and section.rows[0] in data.files:
        text += section.rows[1](data) + '\n' + canaries_text(data, section.rows[0])
    return text


def remarks():
    """Paragraphs by heading."""
    out, name = {}, None
    if os.path.exists(REMARKS):
        with open(REMARKS) as f:
            for line in f:
                if line.startswith('## '):
                    name = line[3:].strip()
                elif name:
                    out[name] = out.get(name, '') + line
    return {k: v.strip() + '\n\n' for k, v in out.items() if v.strip()}


def head(data):
    some = next(iter(data.files.values()))
    flags = next((f['flags'] for f in data.files.values() if 'flags' in f), None)
    text = ['# What things cost', '',
            'Written by `ninja bench` from [`results/`](results); do not edit. Words stand in '
            '[`remarks.md`](remarks.md).', '', '- ' + some['machine'],
            '- compiler ' + some['compiler'] + (', ' + flags if flags else '')]
    timed = data.files.get('latency')
    if timed:
        other = ['{} ms ({})'.format(f['duration_ms'], name) for name, f in data.files.items()
                 if f.get('duration_ms', timed['duration_ms']) != timed['duration_ms']]
        text.append('- {} runs of {} ms of each, in turns'.format(
            timed['runs'], timed['duration_ms']) +
            ('; elsewhere ' + ', '.join(other) if other else ''))
    absent = [p['name'] + ' (' + p['package'] + ')' for p in data.peers.values() if p['absent']]
    text.append('- absent: ' + (', '.join(absent) or 'none'))
    return '\n'.join(text) + '\n\n'


def all_claims_table(data):
    """In one place, each under its section."""
    rows = []
    for section in SECTIONS:
        link = '[{}](#{})'.format(section.title, anchor(section.title))
        for number, claim in enumerate(section.all_claims(data)):
            rows.append([link if number == 0 else ''] + claim.row())
    return table(['', 'what', 'measured', 'bound', 'holds', 'DCM / the other'], rows)


def anchor(title):
    """As the sites that show it make it of a heading."""
    return ''.join(c for c in title.lower() if c.isalnum() or c in ' -').replace(' ', '-')


def peers_table(data):
    return table(['', 'what it is'], [[bold(data, name), p['what']]
                                      for name, p in data.peers.items()])


def write():
    data, words = Data(path_of('results')), remarks()
    if not data.files:
        return
    text = head(data) + words.get('how', '')
    text += '## What must hold\n\n' + words.get('must', '') + all_claims_table(data) + '\n'
    text += '## Who is compared\n\n' + words.get('who', '') + peers_table(data) + '\n'
    for section in SECTIONS:
        if section.is_there(data):
            text += section_text(section, data, words)
    path = path_of('RESULTS.md')
    with open(path + '.new', 'w') as f:
        f.write(text.rstrip('\n') + '\n')
    os.replace(path + '.new', path)
    print('wrote ' + path)
