# SPDX-License-Identifier: BSD-2-Clause
"""Plots, by gnuplot, in SVG: text that is small, sharp at any size, and shows what changed."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile

from report_data import main_value

# One colour for each name, in all plots; DCM is thick, limits are dark and dashed.
COLOURS = ['#1f77b4', '#2ca02c', '#ff7f0e', '#9467bd', '#17becf', '#8c564b', '#e377c2', '#bcbd22',
           '#5f9ea0', '#cd853f', '#6a5acd', '#708090', '#2f4f4f', '#b8860b']
DARK = ['#000000', '#555555', '#222266', '#226622', '#662222', '#888888']
SIZES = "set xtics ('64 B' 64, '4 KiB' 4096, '64 KiB' 65536, '1 MiB' 1048576)"
TIMES = ("set ytics ('10 ns' 10, '100 ns' 100, '1 µs' 1e3, '10 µs' 1e4, '100 µs' 1e5, '1 ms' 1e6, "
         "'10 ms' 1e7, '100 ms' 1e8, '1 s' 1e9)\n")
PERCENTILES = (TIMES + "set xtics ('50' 2, '90' 10, '99' 100, '99.9' 1000, '99.99' 10000, "
               "'99.999' 100000)")


def style(data, name, place):
    if name == 'dcm':
        return "linewidth 3.5 linecolor '#d62728' pointtype 7"
    if name not in data.peers:
        return "linewidth 2 linecolor '{}' pointtype {}".format(COLOURS[place], place + 1)
    limit = data.kind(name) == 'limit'
    number = sorted(n for n in data.peers if data.kind(n) == data.kind(name)).index(name)
    colours = DARK if limit else COLOURS
    return "linewidth 1.5 linecolor '{}' pointtype {}{}".format(
        colours[number % len(colours)], number % 13 + 1, ' dashtype 2' if limit else '')


def draw(data, directory, name, title, lines, x, y, more=''):
    """@lines: of label and points. Return: what shows it in the report."""
    lines = [(label, points) for label, points in lines if points]
    if not lines:
        return ''
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, name + '.svg')
    blocks = ''.join('$d{} << E\n{}\nE\n'.format(i, '\n'.join('{:g} {:g}'.format(*p) for p in points))
                     for i, (_, points) in enumerate(lines))
    plots = ', '.join("$d{} with linespoints pointsize 0.5 pointinterval {} {} title '{}'".format(
        i, 1 + len(points) // 12, style(data, label, i), label)
                      for i, (label, points) in enumerate(lines))
    with tempfile.NamedTemporaryFile('w', suffix='.gp') as f:
        f.write("set terminal svg size 960,540 font 'sans,14' background 'white'\n"
                "set output '{}'\nset title '{}'\nset xlabel '{}'\nset ylabel '{}'\n"
                "set key outside right center reverse Left noenhanced\n"
                "set grid linetype 1 linecolor '#cccccc'\nset logscale xy\n{}\n{}plot {}\n"
                .format(path, title, x, y, more, blocks, plots))
        f.flush()
        if shutil.which('gnuplot') and subprocess.call(['gnuplot', f.name]) != 0:
            sys.exit('bench: gnuplot cannot draw ' + path)
    return '![{}](plots/{}.svg)\n\n'.format(title, name)


def highest_first(lines):
    """As they lie at the right edge."""
    return sorted(lines, key=lambda line: line[1][-1][1] if line[1] else 0, reverse=True)


def latency(data, directory, name, wait, title, **wanted):
    out = ''
    for cell in data.cells(name, size=64, wait=wait, **wanted):
        lines = [(p['name'], [(1 / (1 - q), v) for q, v in p['curve']]) for p in cell['peers']]
        out += draw(data, directory, name + '-' + wait, title, highest_first(lines), 'percentile',
                    'time', PERCENTILES)
    return out


def series(data, cells, along, value):
    """Of each peer, its values along a quantity."""
    lines = {}
    for cell in cells:
        for peer in cell['peers']:
            if main_value(cell, peer['name']):
                lines.setdefault(peer['name'], []).append(
                    (along(cell), value(cell, main_value(cell, peer['name']))))
    return highest_first(sorted(lines.items()))


def throughput(data, directory, name, title, **wanted):
    lines = series(data, data.cells(name, **wanted), lambda c: c['size'],
                   lambda c, v: v * c['size'] / 1e9)
    return draw(data, directory, name + '-' + wanted['wait'], title, lines, 'bytes of a message',
                'GB/s', SIZES)


def messages(data, directory, name, title, **wanted):
    lines = series(data, data.cells(name, **wanted), lambda c: c['size'], lambda c, v: v / 1e6)
    return draw(data, directory, name, title, lines, 'bytes of a message', 'M messages/s', SIZES)


def contention(data, directory):
    cells = data.cells('contention')
    lines = [line for line in series(data, cells, lambda c: c['clients'], lambda c, v: v / 1e6)
             if data.kind(line[0]) != 'limit']
    tics = ', '.join('"{0}" {0}'.format(c['clients']) for c in cells)
    return draw(data, directory, 'contention', 'several producers, 64 bytes', lines, 'producers',
                'M messages/s', 'set xtics ({})\nset xrange [1:{}]'.format(
                    tics, max([c['clients'] for c in cells], default=2)))


def scale(data, directory):
    lines = {}
    for runs in data.rows('scale'):
        value = statistics.median(r['p50_ns'] for r in runs)
        lines.setdefault('{} / {}'.format(runs[0]['name'], runs[0]['of']), []).append(
            (runs[0]['n'], value))
    return draw(data, directory, 'scale', 'cost by the size of the table: what / beside how many',
                highest_first(sorted(lines.items())), 'how many there are', 'time', TIMES)
