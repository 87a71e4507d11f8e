# SPDX-License-Identifier: BSD-2-Clause
"""bench/RESULTS.md and its plots, from what bench.py keeps in bench/results.

What is said in words stands in bench/remarks.md: a heading with the name of a table, and a paragraph.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

RESULTS = 'bench/results'
PLOTS = 'bench/plots'
REPORT = 'bench/RESULTS.md'
REMARKS = 'bench/remarks.md'


class Data:
    """All that was measured: files, of cells, of peers, of runs."""

    def __init__(self):
        self.files = {}
        for name in sorted(os.listdir(RESULTS)):
            if name.endswith('.json'):
                with open(os.path.join(RESULTS, name)) as f:
                    self.files[name[:-len('.json')]] = json.load(f)
        self.kinds = {p['name']: p['kind'] for f in self.files.values()
                      for p in f.get('peers', [])}

    def cells(self, name, **wanted):
        return [c for c in self.files.get(name, {}).get('cells', [])
                if all(c.get(k) == v for k, v in wanted.items())]

    def others(self):
        return [name for name, kind in self.kinds.items() if kind == 'peer']


def values(cell, peer, mark, inside='time'):
    """Of each run that counts."""
    for p in cell['peers']:
        if p['name'] == peer:
            runs = [r for r in p['runs'] if r['counts']]
            found = [r.get(inside, {}).get(mark) if inside else r.get(mark) for r in runs]
            return [v for v in found if v]
    return []


def median(cell, peer, mark, inside='time'):
    found = values(cell, peer, mark, inside)
    return statistics.median(found) if found else None


def is_rate(cell):
    return cell['what'] in ('send', 'many')


def main_value(cell, peer):
    return median(cell, peer, 'rate', None) if is_rate(cell) else median(cell, peer, 'p50')


def best_other(data, cell):
    """The best peer that a user could take instead, or none."""
    found = [(main_value(cell, p), p) for p in data.others() if main_value(cell, p)]
    if not found:
        return None
    return (max if is_rate(cell) else min)(found)[1]


def ratio(a, b):
    return a / b if a and b else None


def shown(value, form='{:.2f}'):
    return '–' if value is None else form.format(value)


def spread(found, unit, form='{:.2f}'):
    if not found:
        return '–'
    return '{} ({}–{})'.format(*(form.format(v / unit) for v in (
        statistics.median(found), min(found), max(found))))


# Tables.

def table(head, rows):
    if not rows:
        return ''
    lines = ['| ' + ' | '.join(head) + ' |', '|' + '---|' * len(head)]
    return '\n'.join(lines + ['| ' + ' | '.join(row) + ' |' for row in rows]) + '\n'


def in_order(data, cell):
    names = [p['name'] for p in cell['peers'] if main_value(cell, p['name'])]
    return sorted(names, key=lambda n: main_value(cell, n), reverse=is_rate(cell))


def bold(data, name):
    return {'self': '**{}**', 'limit': '*{}*'}.get(data.kinds.get(name), '{}').format(name)


def ratios(cell, name, best):
    """To the limit and to the best peer; of times also those of p99."""
    out = []
    for of in (cell['limit'], best):
        if is_rate(cell):
            out.append(ratio(main_value(cell, name), of and main_value(cell, of)))
        else:
            out += [ratio(median(cell, name, m), of and median(cell, of, m)) for m in ('p50', 'p99')]
    return [shown(r) for r in out]


def rate_table(data, cell):
    best = best_other(data, cell)
    rows = []
    for name in in_order(data, cell):
        rate = values(cell, name, 'rate', None)
        rows.append([bold(data, name)] + ratios(cell, name, best) +
                    [spread(rate, 1e6, '{:.3g}'),
                     shown(statistics.median(rate) * cell['size'] / 1e9, '{:.3g}'), str(len(rate))])
        if cell['clients'] > 1:
            rows[-1].append(shown(median(cell, name, 'slowest_share', None)))
    head = ['', '× ' + cell['limit'], '× best peer', 'M messages/s (least–most)', 'GB/s', 'runs']
    return table(head + (['slowest client'] if cell['clients'] > 1 else []), rows)


def time_table(data, cell):
    best = best_other(data, cell)
    names = in_order(data, cell)
    unit = 1e3 if names and main_value(cell, names[0]) >= 1e4 else 1
    rows = []
    for name in names:
        row = [bold(data, name)] + ratios(cell, name, best)
        row.append(spread(values(cell, name, 'p50'), unit, '{:.4g}'))
        row += [shown(median(cell, name, m) / unit, '{:.4g}') for m in
                ('p90', 'p99', 'p99_9', 'p99_99', 'max', 'mean')]
        beside = median(cell, name, 'p50', 'other')
        if cell['what'] in ('fan', 'connect'):
            row.append(shown(beside and beside / unit, '{:.4g}'))
        if cell['clients'] > 1:
            row.append(shown(median(cell, name, 'slowest_share', None)))
        rows.append(row + [str(len(values(cell, name, 'p50')))])
    head = ['ns' if unit == 1 else 'µs', '× ' + (cell['limit'] or '–'), 'p99', '× best peer', 'p99',
            'p50 (least–most)', 'p90', 'p99', 'p99.9', 'p99.99', 'max', 'mean']
    head += {'fan': ['call'], 'connect': ['begin']}.get(cell['what'], [])
    return table(head + (['slowest client'] if cell['clients'] > 1 else []) + ['runs'], rows)


def cell_section(data, cell):
    text = '**{}**'.format(cell['title'][0].upper() + cell['title'][1:])
    if cell['canary_ns']:
        text += ' (cache line there and back: {:.0f} ns)'.format(cell['canary_ns'])
    text += '\n\n' + (rate_table if is_rate(cell) else time_table)(data, cell)
    failed = [p['name'] for p in cell['peers'] if p['failed']]
    never = [p['name'] for p in cell['peers'] if p['runs'] and not p['runs'][0]['count']]
    if failed:
        text += '\nFailed: ' + ', '.join(failed) + '.\n'
    if never:
        text += '\nDoes not know within 3 s, if ever: ' + ', '.join(never) + '.\n'
    return text + '\n'


def plain_table(rows):
    """Of a subcommand that has no cells: its rows as they are."""
    heads = list(rows[0])
    return table(heads, [[flat(row.get(h)) for h in heads] for row in rows])


def flat(value):
    if isinstance(value, dict):
        return ', '.join('{} {}'.format(k.replace('_ns', ''), flat(v)) for k, v in value.items())
    return '{:.4g}'.format(value) if isinstance(value, float) else str(value)


# What must hold: name, words, what was measured, bound, and whether it is the most or the least.

def over(data, name, wanted, peer, of, mark='p50', of_wanted=None):
    """Of one peer in one cell, how many times that of another, there or in another cell."""
    mine, theirs = (data.cells(name, **w)[:1] for w in (wanted, of_wanted or wanted))
    if not mine or not theirs:
        return None
    if of == 'best':
        of = best_other(data, theirs[0])
    inside = None if is_rate(mine[0]) else 'time'
    return ratio(median(mine[0], peer, mark, inside), of and median(theirs[0], of, mark, inside))


def call(wait, size=64):
    return {'what': 'call', 'wait': wait, 'size': size, 'clients': 0}


def sent(size, batch, header=0, wait='adaptive'):
    return {'what': 'send', 'wait': wait, 'size': size, 'batch': batch, 'header': header}


def producers(count, batch):
    return {'what': 'send' if count == 1 else 'many', 'clients': count, 'batch': batch}


def flatness(data):
    """Of the rates at 4 KiB, 64 KiB and 1 MiB with the header touched: most by least."""
    cells = [c for size in (4096, 65536, 1 << 20) for c in data.cells('throughput', **sent(size, 1, 1))]
    rates = [main_value(c, 'dcm') for c in cells]
    return max(rates) / min(rates) if len(rates) == 3 and all(rates) else None


def claims(data):
    at = lambda *a, **k: over(data, *a, **k)
    yield 'round trip 64 B, spinning: p50 / ring', at('latency', call('spin'), 'dcm', 'ring'), 0.95, '≤'
    yield 'the same, p99', at('latency', call('spin'), 'dcm', 'ring', 'p99'), 1.3, '≤'
    yield 'the same, p50 / best peer', at('latency', call('spin'), 'dcm', 'best'), 1, '≤'
    yield 'the same, p99 / best peer', at('latency', call('spin'), 'dcm', 'best', 'p99'), 1, '≤'
    yield 'goal: p50 / bare cache line', at('latency', call('spin'), 'dcm', 'line'), 1.7, '≤'
    yield 'round trip 4 KiB, spinning: p50 / ring', at('latency', call('spin', 4096), 'dcm', 'ring'), 1.1, '≤'
    for mark, bound in (('p50', 1.3), ('p99', 3)):
        yield ('round trip 64 B, default policy / spinning: ' + mark,
               at('latency', call('adaptive'), 'dcm', 'dcm', mark, of_wanted=call('spin')), bound, '≤')
    for name, words in (('latency', 'two cores'), ('latency-one-core', 'one core')):
        yield ('round trip 64 B, sleeping at once, {}: p50 / futex_waitv'.format(words),
               at(name, call('sleep'), 'dcm', 'futex2'), 1.15, '≤')
    for batch in (1, 16):
        yield ('one-way 64 B, batches of {}: rate / ring'.format(batch),
               at('throughput', sent(64, batch), 'dcm', 'ring', 'rate'), 1, '≥')
        yield ('the same / best peer', at('throughput', sent(64, batch), 'dcm', 'best', 'rate'), 1, '≥')
    for batch, bound in ((1, 0.6), (16, 0.8)):
        yield ('4 producers, batches of {}: rate / one producer'.format(batch),
               at('contention', producers(4, batch), 'dcm', 'dcm', 'rate',
                  of_wanted=producers(1, batch)), bound, '≥')
    yield '4 producers: rate / best peer', at('contention', producers(4, 1), 'dcm', 'best', 'rate'), 5, '≥'
    yield 'one-way by loan, header touched, 4 KiB to 1 MiB: most / least rate', flatness(data), 1.1, '≤'
    for size in (4096, 65536, 1 << 20):
        yield ('one-way {} KiB, every byte: rate / ring'.format(size >> 10),
               at('throughput', sent(size, 1), 'dcm', 'ring', 'rate'), 1, '≥')
    for count in (1, 8, 64):
        yield ('publication to {}: the last is told / futex'.format(count),
               at('fanout', {'servers': count}, 'dcm', 'futex'), 1.3, '≤')
        yield 'the same, the call / futex', beside(data, count), 1.5, '≤'
    yield 'connection and first reply / AF_UNIX', at('connect', {}, 'dcm', 'unix-seqpacket'), 1.5, '≤'
    for peer, bound in (('dbus', 1 / 3), ('iceoryx', 0.1)):
        yield 'the same / ' + peer, at('connect', {}, 'dcm', peer), bound, '≤'
    yield 'a service appears / futex', at('discovery', {}, 'dcm', 'futex'), 1.3, '≤'
    for resident in (0, 512 << 20):
        yield ('server with {} MiB killed: p50 / AF_UNIX'.format(resident >> 20),
               at('death-peers', {'resident': resident}, 'dcm', 'unix-seqpacket'), 1, '≤')
    yield ('12 pairs on two cores: p99.9 / spin-futex',
           at('contention', {'what': 'call'}, 'dcm', 'spin-futex', 'p99_9'), 2, '≤')


def beside(data, count):
    cell = (data.cells('fanout', servers=count) or [None])[0]
    return cell and ratio(median(cell, 'dcm', 'p50', 'other'), median(cell, 'futex', 'p50', 'other'))


def claims_table(data):
    rows = []
    for words, measured, bound, sense in claims(data):
        held = None if measured is None else measured <= bound if sense == '≤' else measured >= bound
        rows.append([words, shown(measured), '{} {:.3g}'.format(sense, bound),
                     {None: 'not measured', True: 'yes', False: '**no**'}[held]])
    return table(['what', 'measured', 'bound', 'holds'], rows)


# Plots.

def draw(name, title, lines, x, y, more=''):
    """@lines: of label and points."""
    if not lines:
        return ''
    os.makedirs(PLOTS, exist_ok=True)
    path = os.path.join(PLOTS, name + '.svg')
    blocks = ''.join('$d{} << E\n{}\nE\n'.format(i, '\n'.join('{:g} {:g}'.format(*p) for p in points))
                     for i, (_, points) in enumerate(lines))
    plots = ', '.join("$d{} with linespoints pointsize 0.4 title '{}'".format(i, label)
                      for i, (label, _) in enumerate(lines))
    with tempfile.NamedTemporaryFile('w', suffix='.gp') as f:
        f.write("set terminal svg size 900,540 background 'white'\nset output '{}'\nset title '{}'\n"
                "set xlabel '{}'\nset ylabel '{}'\nset key outside\nset grid\n{}\n{}plot {}\n"
                .format(path, title, x, y, more, blocks, plots))
        f.flush()
        if shutil.which('gnuplot') and subprocess.call(['gnuplot', f.name]) != 0:
            sys.exit('bench: gnuplot cannot draw ' + path)
    return '![{}](plots/{}.svg)\n\n'.format(title, name)


def latency_plots(data):
    out = ''
    for cell in data.cells('latency', size=64):
        lines = [(p['name'], [(1 / (1 - q), v) for q, v in p['curve']]) for p in cell['peers'] if p['curve']]
        out += draw('latency-64-' + cell['wait'], cell['title'], lines, 'percentile', 'ns',
                    "set logscale xy\nset xtics ('50' 2, '90' 10, '99' 100, '99.9' 1000, "
                    "'99.99' 10000, '99.999' 100000)")
    return out


def series(data, name, wanted, along, scale):
    """Of each peer, its values along a quantity."""
    lines = {}
    for cell in data.cells(name, **wanted):
        for peer in cell['peers']:
            value = main_value(cell, peer['name'])
            if value:
                lines.setdefault(peer['name'], []).append((along(cell), value * scale(cell)))
    return sorted(lines.items())


def throughput_plots(data):
    out = ''
    for header, words in ((0, 'every byte written and read'), (1, '8 bytes touched')):
        lines = series(data, 'throughput', {'batch': 1, 'header': header, 'wait': 'spin'},
                       lambda c: c['size'], lambda c: c['size'] / 1e9)
        out += draw('throughput-' + ('header' if header else 'all'), 'one-way, spinning, ' + words,
                    lines, 'bytes of a message', 'GB/s', 'set logscale xy')
    return out


def contention_plots(data):
    lines = [line for line in series(data, 'contention', {'batch': 1}, lambda c: c['clients'],
                                     lambda c: 1e-6) if data.kinds.get(line[0]) != 'limit']
    return draw('contention', 'several producers, 64 bytes', lines, 'producers', 'M messages/s',
                'set logscale y')


# The whole.

SECTIONS = [
    ('latency', 'Round trips', latency_plots),
    ('latency-one-core', 'Round trips, both processes on one core', None),
    ('latency-paced', 'Round trips, one every 20 µs', None),
    ('throughput', 'One-way messages', throughput_plots),
    ('contention', 'Many producers, and more ends than cores', contention_plots),
    ('fanout', 'One publication to many', None),
    ('connect', 'From nothing to the first reply', None),
    ('discovery', 'A service appears', None),
    ('death', 'A server is killed', None),
    ('death-peers', 'A server is killed: what callers of others know', None),
    ('events', 'Events', None),
    ('scale', 'How it grows', None),
    ('memory', 'What is resident', None),
]


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
    return {k: v.strip() + '\n\n' for k, v in out.items()}


def head(data):
    some = next(iter(data.files.values()))
    text = ['# What things cost', '',
            'Written by `ninja bench` from [`results/`](results); do not edit. Words stand in '
            '[`remarks.md`](remarks.md).', '', '- ' + some['machine'],
            '- compiler ' + some['compiler'] + (', ' + some['flags'] if 'flags' in some else '')]
    timed = data.files.get('latency')
    if timed:
        text.append('- {} runs of {} ms of each, in turns'.format(timed['runs'],
                                                                  timed['duration_ms']))
        absent = [p['name'] + ' (' + p['package'] + ')' for p in timed['peers'] if p['absent']]
        text.append('- absent: ' + (', '.join(absent) or 'none'))
    return '\n'.join(text) + '\n\n'


def peers_table(data):
    seen = {p['name']: p for f in data.files.values() for p in f.get('peers', [])}
    return table(['', 'what it is'], [[bold(data, p['name']), p['what']] for p in seen.values()])


def section(data, name, title, plots, words):
    file = data.files.get(name)
    if file is None:
        return ''
    text = '## ' + title + '\n\n' + words.get(name, '') + (plots(data) if plots else '')
    for cell in file.get('cells', []):
        text += cell_section(data, cell)
    if file.get('rows'):
        text += plain_table(file['rows']) + '\n'
    return text


def write():
    data, words = Data(), remarks()
    if not data.files:
        return
    text = head(data) + words.get('how', '')
    text += '## What must hold\n\n' + words.get('must', '') + claims_table(data) + '\n'
    text += '## Who is compared\n\n' + words.get('who', '') + peers_table(data) + '\n'
    for name, title, plots in SECTIONS:
        text += section(data, name, title, plots, words)
    with open(REPORT + '.new', 'w') as f:
        f.write(text.rstrip('\n') + '\n')
    os.replace(REPORT + '.new', REPORT)
    print('wrote ' + REPORT)
