#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The demonstration: six clients, two servers, one of which is killed.

Serves /usr/include, or DEMO_DIR, with dcm-files to three clients that were started before the
server and three that came after.  In the middle the server is killed; a second one takes over.
Everything happens in private directories, which are removed.  Ends with 0 if every check held.
"""

import argparse
import hashlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

EARLY, LATE = 3, 3
CLIENTS = EARLY + LATE
REPLY_BYTES = 88        # of each reply besides the file's contents
FIRST_SERVER_S = 8      # how long the first server would need for everything
PATIENCE_S = 120        # for what takes seconds: only ends what hangs


class Failed(Exception):
    """A check that did not hold, and nothing after it makes sense."""


class Child:
    """One dcm-files, with its log of events and its words."""

    def __init__(self, demo, name, *arguments):
        self.name = name
        self.events_path = os.path.join(demo.private, name + '.events')
        self.words_path = os.path.join(demo.private, name + '.words')
        with open(self.words_path, 'wb') as words:
            self.process = subprocess.Popen(
                [demo.files, *arguments, '--events', self.events_path],
                stdin=subprocess.DEVNULL, stdout=words, stderr=words, env=demo.environment)

    def events(self):
        """(nanoseconds, word, detail) of every event so far."""
        try:
            with open(self.events_path) as f:
                lines = f.read().split('\n')[:-1]
        except FileNotFoundError:
            return []
        return [(int(ns), word, detail) for ns, word, detail in
                (line.split(' ', 2) for line in lines)]

    def when(self, word, after=0):
        """When that came first after a time, in nanoseconds; or None."""
        return next((ns for ns, w, _ in self.events() if w == word and ns >= after), None)

    def detail(self, word):
        return next((d for _, w, d in self.events() if w == word), '')

    def fetched(self):
        return max((int(d) for _, word, d in self.events() if word == 'files'), default=0)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def words(self):
        with open(self.words_path, errors='replace') as f:
            return f.read()


def files_below(top):
    """Size of each regular file, by its name."""
    found = {}
    top = os.fsencode(top)
    for directory, _, names in os.walk(top):
        for name in names:
            path = os.path.join(directory, name)
            if os.path.isfile(path) and not os.path.islink(path):
                found[os.path.relpath(path, top)] = os.path.getsize(path)
    return found


def digest(path):
    with open(path, 'rb') as f:
        whole = hashlib.sha256()
        for piece in iter(lambda: f.read(1 << 20), b''):
            whole.update(piece)
    return whole.digest()


def amount(count):
    for unit in ('bytes', 'KiB', 'MiB', 'GiB'):
        if count < 1024 or unit == 'GiB':
            break
        count /= 1024
    return '{:.{}f} {}'.format(count, 0 if unit == 'bytes' else 1, unit)


class Demo:
    def __init__(self, build_dir, source):
        self.files = os.path.abspath(os.path.join(build_dir, 'dcm-files'))
        self.shmdump = os.path.abspath(os.path.join(build_dir, 'dcm-shmdump'))
        self.source = source
        self.began = time.monotonic()
        self.children = []
        self.failures = []
        self.private = self.copies = None

    def say(self, text):
        print('demo {:6.2f} s  {}'.format(time.monotonic() - self.began, text), flush=True)

    def check(self, good, text):
        if not good:
            self.failures.append(text)
            self.say('FAILED: ' + text)
        return good

    def need(self, good, text):
        if not self.check(good, text):
            raise Failed(text)

    def start(self, name, *arguments):
        child = Child(self, name, *arguments)
        self.children.append(child)
        return child

    def wait(self, what, condition, children):
        """Until the condition holds; the children must live meanwhile."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            for child in children:
                if child.process.poll() is not None and not condition():
                    raise Failed('{}: {} ended with {} before that'.format(
                        what, child.name, child.process.returncode))
            if time.monotonic() > end:
                raise Failed('{}: not within {} seconds'.format(what, PATIENCE_S))
            time.sleep(0.002)

    def prepare(self):
        self.wanted = files_below(self.source)
        self.bytes = sum(self.wanted.values())
        self.need(self.wanted, '{}: no files there; set DEMO_DIR to another directory'.format(
            self.source))
        room = CLIENTS * (self.bytes + 4096 * len(self.wanted))
        self.private = tempfile.mkdtemp(prefix='dcm-demo-', dir='/dev/shm')
        self.copies = tempfile.mkdtemp(prefix='dcm-demo-')
        self.need(shutil.disk_usage(self.copies).free > room + (64 << 20),
                  'there is {} free in {}; set TMPDIR or a smaller DEMO_DIR'.format(
                      amount(room), os.path.dirname(self.copies)))
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith('DCM_')}
        self.environment['DCM_FABRIC'] = os.path.join(self.private, 'fabric')
        self.say('{}: {} files, {}'.format(self.source, len(self.wanted), amount(self.bytes)))

    def start_server(self, name, *options):
        server = self.start(name, 'serve', self.source, *options)
        self.wait(name + ' publishes', lambda: server.when('publish-end'), [server])
        return server

    def start_client(self, number):
        name = 'client-{}'.format(number)
        jobs = '4' if len(self.wanted) >= 64 else '1'
        return self.start(name, 'get', '--all', '--jobs', jobs, '--to',
                          os.path.join(self.copies, name))

    def kill_in_the_middle(self):
        """The first server is slow, so that all clients are fetching when it is killed."""
        rate = CLIENTS * (self.bytes + REPLY_BYTES * len(self.wanted)) // FIRST_SERVER_S + 1
        self.clients = [self.start_client(i + 1) for i in range(EARLY)]
        self.wait('clients wait', lambda: all(c.when('waiting') for c in self.clients),
                  self.clients)
        self.say('{} clients wait for a server'.format(EARLY))
        self.first = self.start_server('server-1', '--limit-rate', str(rate))
        self.clients += [self.start_client(EARLY + i + 1) for i in range(LATE)]
        self.say('server 1 runs, at {}/s; {} more clients'.format(amount(rate), LATE))
        some = min(64, len(self.wanted) // 16) or min(1, len(self.wanted) - 1)
        self.wait('every client has fetched something',
                  lambda: all(c.when('call-end') and c.fetched() >= some for c in self.clients),
                  self.clients)
        self.killed_ns = time.monotonic_ns()
        self.first.process.kill()
        self.first.process.wait()
        self.need(not any(c.when('done') for c in self.clients),
                  'all clients are fetching when the server is killed')
        self.say('server 1 was killed; all {} clients had {} files or more, and none had all'
                 .format(CLIENTS, some))

    def go_on(self):
        self.wait('every client learns of the death',
                  lambda: all(c.when('unpublished', self.killed_ns) and
                              c.when('not-connected', self.killed_ns) for c in self.clients),
                  self.clients)
        self.say('every client had its UNPUBLISHED notice and rcNotConnected')
        self.second = self.start_server('server-2')
        self.say('server 2 runs')
        for client in self.clients:
            try:
                client.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                raise Failed('{} does not end'.format(client.name))
            self.check(client.process.returncode == 0, '{} ends with 0, not with {}'.format(
                client.name, client.process.returncode))
            for word, count in (('connect-end', 2), ('unpublished', 1), ('lost', 1), ('done', 1)):
                seen = [w for _, w, _ in client.events()].count(word)
                self.check(seen == count, '{}: {} {} times, not {} times'.format(
                    client.name, word, count, seen))
        self.say('every client has found server 2 and is done')

    def verify(self):
        """Every copy against the source, with hashlib and not with what dcm-files says."""
        for client in self.clients:
            top = os.path.join(self.copies, client.name)
            self.check(files_below(top) == self.wanted, '{} has exactly the files, and their sizes'
                       .format(client.name))
        wrong = 0
        for name in self.wanted:
            right = digest(os.path.join(os.fsencode(self.source), name))
            for client in self.clients:
                copy = os.path.join(os.fsencode(self.copies), os.fsencode(client.name), name)
                if not os.path.isfile(copy) or digest(copy) != right:
                    wrong += 1
        if self.check(wrong == 0, 'every copy has the SHA-256 of its file; {} have not'.format(
                wrong)):
            self.say('{} copies, each with the SHA-256 of its file'.format(
                CLIENTS * len(self.wanted)))

    def look_for_the_dead(self):
        self.second.process.terminate()
        try:
            status = self.second.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            status = 'not at all'
        self.check(status == 0, 'server 2 ends with 0, not with {}'.format(status))
        done = subprocess.run([self.shmdump, '--check'], env=self.environment,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors='replace')
        if self.check(done.returncode == 0, 'dcm-shmdump --check finds nothing of the dead'):
            self.say('dcm-shmdump --check: consistent, and nothing belongs to the dead')
        else:
            print(done.stdout)

    def print_times(self):
        """The time line, from the stamps of all processes on the one monotonic clock."""
        first, second = (s.when('publish-begin') for s in (self.first, self.second))

        def after(word, begin, clients):
            return [c.when(word, begin) - begin for c in clients]

        def between(begin, end, after_ns):
            return [c.when(end, after_ns) - c.when(begin, after_ns) for c in self.clients]

        early = self.clients[:EARLY]
        rows = [
            ('publish to notice, server 1', after('published', first, early)),
            ('connect', between('connect-begin', 'connect-end', first)),
            ('first call (a list of names)', between('call-begin', 'call-end', first)),
            ('death to error (rcNotConnected)', after('not-connected', self.killed_ns,
                                                      self.clients)),
            ('death to notice (UNPUBLISHED)', after('unpublished', self.killed_ns, self.clients)),
            ('publish to notice, server 2', after('published', second, self.clients)),
            ('connect', between('connect-begin', 'connect-end', second)),
            ('first call (a file)', between('call-begin', 'call-end', second)),
        ]
        print('\n{:34}{:>11}{:>11}{:>11}{:>9}'.format('microseconds', 'least', 'median', 'most',
                                                      'clients'))
        for name, ns in rows:
            us = sorted(n / 1000 for n in ns)
            print('{:34}{:11.1f}{:11.1f}{:11.1f}{:9}'.format(
                name, us[0], statistics.median(us), us[-1], len(us)))
        had = [int(c.detail('lost').split()[1]) for c in self.clients]
        has = [int(c.detail('done').split()[1]) for c in self.clients]
        ends = [c.when('done') for c in self.clients]
        begins = [c.when('connect-end', second) for c in self.clients]
        alone = [(b - a) / ((e - s) / 1e9) for a, b, s, e in zip(had, has, begins, ends)]
        together = (sum(has) - sum(had)) / ((max(ends) - min(begins)) / 1e9)
        print('\n{:34}{:>11}{:>11}{:>11}{:>9}'.format('MB (1000000 bytes) per second', 'least',
                                                      'median', 'most', 'together'))
        print('{:34}{:11.1f}{:11.1f}{:11.1f}{:9.1f}'.format(
            'verified files, from server 2', min(alone) / 1e6, statistics.median(alone) / 1e6,
            max(alone) / 1e6, together / 1e6))

    def clean_up(self):
        for child in self.children:
            child.end()
        if self.failures:
            for child in self.children:
                print('--- {}\n{}'.format(child.name, child.words()[-2000:]), end='')
        for directory in filter(None, (self.private, self.copies)):
            shutil.rmtree(directory, ignore_errors=True)
            self.check(not os.path.exists(directory), directory + ' is removed')

    def run(self):
        try:
            self.prepare()
            self.kill_in_the_middle()
            self.go_on()
            self.verify()
            self.look_for_the_dead()
            self.print_times()
        except Failed as problem:
            if str(problem) not in self.failures:
                self.check(False, str(problem))
        finally:
            self.clean_up()
        print()
        for text in self.failures:
            print('FAILED: ' + text)
        self.say('{} checks failed'.format(len(self.failures)) if self.failures else
                 'every check held; nothing is left of it')
        return 1 if self.failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0],
                                     epilog='DEMO_DIR: what is served, instead of /usr/include')
    parser.add_argument('--build-dir', default='build', help='where dcm-files is')
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    demo = Demo(options.build_dir, os.environ.get('DEMO_DIR') or '/usr/include')
    try:
        status = demo.run()
    except KeyboardInterrupt:
        print('\ndemo: stopped; everything is removed')
        status = 130
    sys.exit(status)


if __name__ == '__main__':
    main()
