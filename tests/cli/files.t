#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# tsan: no (several processes: it sees one of them at a time)
"""dcm-files from the outside: what it serves, fetches, refuses, survives, says and returns."""

import contextlib
import hashlib
import json
import os
import pty
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get('DCM_BUILD_DIR', os.path.join(TOP, 'build'))
FILES = os.path.join(BUILD, 'dcm-files')
HELPER = os.path.join(BUILD, 'tests/cli/helper_files')
SHMDUMP = os.path.join(BUILD, 'dcm-shmdump')
PATIENCE = 120      # seconds, for what takes milliseconds: only ends what hangs

results = []


def ok(good, name):
    results.append(bool(good))
    print('{}ok {} - {}'.format('' if good else 'not ', len(results), name), flush=True)
    return bool(good)


def diag(text):
    for line in str(text).splitlines():
        print('# ' + line, file=sys.stderr, flush=True)


def same(seen, wanted, name):
    if not ok(seen == wanted, name):
        if isinstance(wanted, dict) and isinstance(seen, dict):
            different = [k for k in seen.keys() | wanted.keys() if seen.get(k) != wanted.get(k)]
            seen = {k: seen[k] for k in different if k in seen}
            wanted = {k: wanted[k] for k in different if k in wanted}
        diag('seen:   {:.1000}\nwanted: {:.1000}'.format(repr(seen), repr(wanted)))


def ended(process, wanted, name, number=signal.SIGTERM):
    """Ends a process, which must take it in the wanted way."""
    status = process.end(number)
    if not ok(status == wanted, name):
        diag('{} and not {}\n{}'.format(status, wanted, process.words()))


def has(text, pattern, name):
    if not ok(re.search(pattern, text, re.M), name):
        diag('{!r} is not in:\n{:.3000}'.format(pattern, text))


class Process:
    """A program that runs beside the test; its output and errors are kept in files."""

    running = []

    def __init__(self, directory, *command, **more):
        self.out = tempfile.TemporaryFile(dir=directory)
        self.err = tempfile.TemporaryFile(dir=directory)
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                        stdout=more.get('stdout', self.out), stderr=self.err)
        Process.running.append(self)

    @staticmethod
    def text(file):
        return os.pread(file.fileno(), 1 << 24, 0).decode(errors='surrogateescape')

    def words(self):
        return self.text(self.err)

    def wait(self):
        """Its status; negative: the signal that ended it."""
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            diag('{} hangs\n{}'.format(self.process.args, self.words()))
            self.process.kill()
            status = self.process.wait() and 'hangs'
        if self in Process.running:
            Process.running.remove(self)
        return status

    def until(self, pattern):
        """Waits until it has said that."""
        self.until_true(lambda: re.search(pattern, self.words()), pattern)

    def until_true(self, condition, what):
        end = time.monotonic() + PATIENCE
        while not condition():
            if self.process.poll() is not None or time.monotonic() > end:
                if condition():
                    return
                raise RuntimeError('{} did not come: {}'.format(what, self.words()))
            time.sleep(0.005)

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.wait()

    @classmethod
    def end_all(cls):
        for process in cls.running[:]:
            process.end(signal.SIGKILL)


class Place:
    """A private fabric, and a directory for everything else."""

    def __init__(self):
        self.shm = tempfile.mkdtemp(prefix='dcm-test-', dir='/dev/shm')
        # A container's /dev/shm may hold little more than a fabric.
        roomy = shutil.disk_usage(self.shm).free > 512 << 20
        self.top = tempfile.mkdtemp(prefix='dcm-test-', dir='/dev/shm' if roomy else None)
        os.environ['DCM_FABRIC'] = os.path.join(self.shm, 'fabric')
        for name in ('DCM_TRANSFER', 'DCM_PROCESS_NAME', 'NO_COLOR', 'DEBUGINFOD_URLS'):
            os.environ.pop(name, None)
        os.environ['LC_ALL'] = 'C.UTF-8'
        self.count = 0

    def path(self, name='tmp'):
        self.count += 1
        return os.path.join(self.top, '{}-{}'.format(name, self.count))

    def start(self, *command, **more):
        return Process(self.top, *command, **more)

    def files(self, *arguments, **more):
        return self.start(FILES, *arguments, **more)

    def run(self, *arguments, **more):
        """Status, output and errors."""
        process = self.files(*arguments, **more)
        return process.wait(), process.text(process.out), process.words()

    @contextlib.contextmanager
    def serving(self, directory, *options, prefix=()):
        server = self.start(*prefix, FILES, 'serve', directory, *options)
        server.until('serving')
        yield server
        if server in Process.running:
            server.end()


def make(root, files):
    """A directory with these files, bytes by name."""
    for name, data in files.items():
        path = os.path.join(os.fsencode(root), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as f:
            f.write(data)
    return root


def tree(root):
    """What regular files are there; anything else has its kind in place of its bytes."""
    found = {}
    root = os.fsencode(root)
    for directory, directories, names in os.walk(root):
        for name in names + [d for d in directories if os.path.islink(os.path.join(directory, d))]:
            path = os.path.join(directory, name)
            key = os.path.relpath(path, root)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, 'rb') as f:
                    found[key] = hashlib.sha256(f.read()).hexdigest()
            else:
                found[key] = 'no file'
    return found


def some_files():
    seeded = random.Random(1)
    mib = 1 << 20
    files = {b'hello': b'hello\n', b'empty': b'', b'deep/er/file': b'x' * 5000,
             b'mib': seeded.randbytes(mib), b'mib+1': seeded.randbytes(mib + 1),
             b'mib-1': seeded.randbytes(mib - 1), b'large': seeded.randbytes(3 * mib + 12345),
             b' space ': b'1', b'new\nline': b'2', 'äöü €/𝄞.txt'.encode(): b'3', b'-dash': b'4',
             b'\xff\xfe\x80': b'5', b'.hidden/.too': b'6', b'a.b': b'7', b'a/b': b'8',
             b'tab\tquote"back\\slash': b'9', b'n' * 255: b'10', b'\x1b[31mred': b'11',
             b'/'.join([b'd' * 200] * 19): b'12', b'..still': b'13', b'...': b'14'}
    for i in range(3000):
        files[b'many/%s-%04d' % (b'long-name' * 10, i)] = b'%d\n' % i
    return files


def odd_tree(place, files):
    """The files, and what must be left out."""
    root = make(place.path('served'), files)
    outside = make(place.path('outside'), {'secret': b'secret'})
    os.symlink('hello', os.path.join(root, 'link-in'))
    os.symlink(os.path.join(outside, 'secret'), os.path.join(root, 'link-out'))
    os.symlink('../' + os.path.basename(outside), os.path.join(root, 'link-directory'))
    os.symlink('deep', os.path.join(root, 'link-deep'))
    os.symlink('/', os.path.join(root, 'link-root'))
    os.mkfifo(os.path.join(root, 'pipe'))
    os.makedirs(os.path.join(root, 'nothing/in/it'))
    return root


def test_words(place):
    status, out, err = place.run('--help')
    same((status, err), (0, ''), '--help')
    ok(max(len(line) for line in out.splitlines()) <= 88, '--help fits a terminal')
    for option in ('--limit-rate', '--timeout', '--events', '--to', 'Exit status'):
        has(out, option, '--help tells of ' + option)
    status, out, err = place.run('-V')
    same((status, err), (0, ''), '--version')
    has(out, r'^dcm-files from DCM for Linux \d+\.\d+\.\d+\n$', '--version, output')
    for wrong in ([], ['frob'], ['get'], ['get', '--all', 'x'], ['get', 'x', '--json'],
                  ['list', 'x'], ['list', '--json', '--raw'], ['list', '--to', 'x'], ['serve'],
                  ['serve', '/', '/'], ['serve', '--all', '/'], ['get', '-j', '0', 'x'],
                  ['get', '-j', '33', 'x'], ['get', '-j', 'x', 'x'], ['get', '-j'],
                  ['serve', '-t', '1e3', '/'], ['get', '--limit-rate', '0', 'x'],
                  ['get', '--limit-rate', '1X', 'x'], ['get', '--limit-rate', '99999999T', 'x'],
                  ['list', '-T', '-1'], ['list', '-T', 'nan'], ['list', '--nonsense'],
                  ['serve', place.path('missing')], ['get', 'x', '--to', '/dev/null'],
                  ['list', '--events', '/dev/null/x'], ['list', '-N', ''],
                  ['serve', '-N', 'x' * 256, place.top]):
        status, out, err = place.run(*wrong)
        same((status, out), (1, ''), 'wrong usage: {:.60}'.format(' '.join(wrong)))
        has(err, r'dcm-files: ', '... and says so')


def stamps_of(path):
    """(nanoseconds, word) of each event."""
    with open(path) as f:
        return [(int(ns), word) for ns, word, _ in (line.split(' ', 2) for line in f)]


def words_of(path):
    return [word for _, word in stamps_of(path)]


def test_no_server(place):
    began = time.monotonic()
    status, out, err = place.run('list', '--timeout', '0.3')
    ok(time.monotonic() - began > 0.29, '--timeout waits')
    same((status, out), (3, ''), 'no server within the time')
    has(err, r'no server.*waiting', 'it says that it waits')
    has(err, r'no server within 0\.3 seconds', 'and when it does no more')
    same(place.run('get', 'x', '-T', '0', '--to', place.path())[0], 3, 'a timeout of 0')
    status, out, err = place.run('list', '-q', '-T', '0')
    ok('waiting' not in err, '--quiet says less')

    status, _, err = place.run('get', '../x', '/y', '--to', place.path())
    same(status, 2, 'bad names are refused at once')

    root = make(place.path('served'), {'hello': b'hello\n'})
    target, events, publishing = place.path('got'), place.path('events'), place.path('events')
    client = place.files('get', 'hello', '--to', target, '--events', events)
    client.until('waiting for one')
    with place.serving(root, '--events', publishing):
        same(client.wait(), 0, 'a client waits for a server')
    same(tree(target), tree(root), 'and gets its file')
    seen, published = stamps_of(events), stamps_of(publishing)
    same([word for _, word in seen], ['waiting', 'published', 'connect-begin', 'connect-end',
                                      'call-begin', 'call-end', 'files', 'done'],
         '--events of a client')
    same([word for _, word in published], ['publish-begin', 'publish-end'], 'and of a server')
    ok(seen == sorted(seen, key=lambda s: s[0]) and seen[0] < published[0] < seen[1],
       'in the order of time')

    client = place.files('list', '-N', 'another')
    client.until('waiting')
    with place.serving(root):
        time.sleep(0.1)
        ok(client.process.poll() is None, 'another name is waited for')
        with place.serving(root, '--name', 'another'):
            same(client.wait(), 0, 'until it is there')
    client = place.files('get', 'x')
    client.until('waiting')
    same(client.end(), -signal.SIGTERM, 'a signal ends the waiting')


def test_tree(place, root, files):
    target = place.path('got')
    with place.serving(root) as server:
        status, _, err = place.run('get', '--all', '--to', target)
        same(status, 0, 'get --all')
        wanted = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        same(tree(target), wanted, 'every file is there, and nothing else')
        has(err, r'^dcm-files: {} files, .*SHA-256$'.format(len(files)), 'it says how many')
        status, _, err = place.run('get', '-aqd', target, '-j', '8')
        same((status, err), (0, ''), 'again, over what is there, with 8 threads, quietly')
        same(tree(target), wanted, 'nothing has changed')
        test_list(place, files)
        test_names(place, root)
        ended(server, 0, 'SIGTERM ends the server well')
        has(server.words(), r'served .* replies to \d+ clients', 'it says what it did')
    with place.serving(root, '-t', '1') as server:
        ended(server, 0, 'so does SIGINT', signal.SIGINT)
    if ok(place.run('get', 'x', '-T', '0')[0] == 3, 'afterwards there is none'):
        shutil.rmtree(target)


def test_list(place, files):
    status, out, _ = place.run('list', '--json')
    same(status, 0, 'list --json')
    listed = {f['name']: f['size'] for f in json.loads(out)['files']}
    wanted = {os.fsdecode(name): len(data) for name, data in files.items()}
    bad = wanted.pop(os.fsdecode(b'\xff\xfe\x80'))
    wanted['\\xff\\xfe\\x80'] = bad
    same(listed, wanted, 'names and sizes')
    status, out, _ = place.run('list', '--raw', '--noheadings', '--bytes')
    same((status, len(out.splitlines())), (0, len(files)), 'list --raw: a line for each')
    ok('\x1b' not in out and '\x1b' not in place.run('list')[1], 'no escapes to the terminal')
    rows = [line.split() for line in out.splitlines()]
    ok(['6', 'hello'] in [[r[0], r[2]] for r in rows], 'size and name')
    ok(all(re.match(r'\d{4}-\d\d-\d\dT', r[1]) for r in rows), 'and time')
    status, out, _ = place.run('list')
    has(out, r'^ +SIZE MODIFIED +NAME$', 'list: headings')
    has(out, r'^ +6 bytes \S+ hello$', 'list: sizes for people')
    with open('/dev/full', 'w') as full:
        same(place.run('list', stdout=full)[0], 1, 'list to a full device')


def test_names(place, root):
    target = place.path('got')
    for bad in ('..', '../x', '../' + os.path.basename(root) + '/hello', '/etc/passwd', '',
                'deep/../hello', './hello', 'hello/', 'deep//er/file', 'x' * 256,
                'y/' * 2047 + 'yy', 'link-out', 'link-in', 'link-directory/secret', 'link-deep/er/file',
                'link-root/etc/passwd', 'pipe', 'deep', 'many'):
        status, _, err = place.run('get', bad, '--to', target)
        same((status, tree(target)), (2, {}), 'refused: {:.40}'.format(bad))
        has(err, 'refused', '... and says so')
    status, _, err = place.run('get', 'nowhere', 'hello/x', '--to', target)
    same((status, tree(target)), (1, {}), 'what is not there')
    status, _, err = place.run('get', 'nowhere', 'hello', '../x', 'a/b', '--to', target)
    same((status, sorted(tree(target))), (2, [b'a/b', b'hello']), 'good and bad names together')
    status, _, err = place.run('get', '\x1b[31m\n', '--to', target)
    same((status, '\x1b' in err, len(err.splitlines())), (1, False, 2),
         'names are harmless on a terminal')


ASKED = re.compile(r'^(.*): (-?\d+) (\d+)$')


def test_hostile_client(place, root, prefix=()):
    with place.serving(root, prefix=prefix):
        asker = place.start(HELPER, 'ask')
        same(asker.wait(), 0, 'a client asks nonsense')
        got = {m[1]: (int(m[2]), int(m[3])) for m in
               map(ASKED.match, asker.text(asker.out).splitlines())}
        refused = [k for k, v in got.items() if k.split()[0] in ('read', 'hash', 'list')]
        same((len(refused), {got[k] for k in refused}), (33, {(2, 0)}), 'names that lead outside')
        for words in refused:
            got.pop(words)
        same(got, {'no name': (2, 0), 'a zero in it': (2, 0), 'a zero behind it': (2, 0),
                   'a component of 256': (2, 0), 'a component of 255': (3, 0),
                   '4096 bytes': (2, 0), '4095 bytes': (3, 0), 'nothing': (1, 0),
                   'half a request': (1, 0), 'a name that is not there': (1, 0),
                   'a name that cannot be': (1, 0), 'another version': (1, 0),
                   'another question': (1, 0), 'all that can be': (0, 6),
                   'behind everything': (0, 0), 'the rest': (0, 2), 'no bytes': (0, 0)},
             'everything else')
        target = place.path('got')
        same(place.run('get', 'hello', '--to', target)[0], 0, 'and others are served')


LIES = {
    'about its list': ['outside', 'absolute', 'endless', 'nothing more', 'long entry', 'zero',
                       'half an entry', 'long page'],
    'about a file': ['hash', 'no hash', 'data', 'version', 'long', 'too much', 'no progress',
                     'short', 'status', 'changes'],
}


def test_hostile_server(place):
    target = place.path('got')
    for what, lies in LIES.items():
        for lie in lies:
            liar = place.start(HELPER, 'lie', lie)
            status, _, err = place.run('get', '--all', '--to', target, '-T', '100')
            same((status, tree(target)), (2, {}), 'a server lies {}: {}'.format(what, lie))
            has(err, 'damaged|not the server|not what|changes|understand|is it another',
                '... and that is said')
            liar.end(signal.SIGKILL)
    ok(not os.path.lexists('/tmp/outside'), 'nothing was written outside')
    for lie in ('silent', 'refuse'):
        liar = place.start(HELPER, 'lie', lie)
        status, _, err = place.run('get', '--all', '--to', target, '-T', '2')
        same(status, 3, 'a server that does not help: ' + lie)
        has(err, 'refused 3 times', '... is not asked for ever')
        liar.end(signal.SIGKILL)
    liar = place.start(HELPER, 'lie', 'not')
    same(place.run('get', '--all', '--to', target)[0], 0, 'a server that does not lie')
    same(sorted(tree(target)), [b'hello'], 'is believed')
    liar.end(signal.SIGKILL)


def test_changing(place):
    root = make(place.path('served'), {'log': b'x' * 200000})
    target = place.path('got')
    with place.serving(root, '--limit-rate', '400K'):
        client = place.files('get', 'log', '--to', target)
        while client.process.poll() is None:
            with open(os.path.join(root, 'log'), 'ab') as f:
                f.write(b'more\n')
            time.sleep(0.02)
        same((client.wait(), tree(target)), (2, {}), 'a file that changes is not kept')
        has(client.words(), 'log: it changes while it is read', 'and it is said')


def test_target(place):
    root = make(place.path('served'), {'a/b': b'new', 'c': b'c'})
    outside = place.path('outside')
    target = make(place.path('got'), {'c': b'old', 'other': b'other'})
    os.mkdir(outside)
    os.symlink(outside, os.path.join(target, 'a'))
    with place.serving(root):
        status, _, err = place.run('get', '--all', '--to', target)
        same((status, os.listdir(outside)), (1, []), 'a link in the target is not followed')
        has(err, 'a/b: a link or a file is in the way', 'and that is said')
        same(tree(target), {b'a': 'no file', b'c': hashlib.sha256(b'c').hexdigest(),
                            b'other': hashlib.sha256(b'other').hexdigest()},
             'other files are replaced, or left')
        os.unlink(os.path.join(target, 'a'))
        os.unlink(os.path.join(target, 'c'))
        os.symlink(os.path.join(outside, 'c'), os.path.join(target, 'c'))
        same(place.run('get', '--all', '--to', target)[0], 0, 'a link under a name of a file')
        same((os.listdir(outside), os.path.islink(os.path.join(target, 'c'))), ([], False),
             'is replaced, and not followed')
        os.unlink(os.path.join(target, 'c'))
        os.mkdir(os.path.join(target, 'c'))
        same(place.run('get', 'c', '--to', target)[0], 1, 'a directory in the way')
        same(sorted(os.listdir(target)), ['a', 'c', 'other'], 'no temporary file is left')


def test_ends(place, how):
    """The server goes in the middle; the client goes on with the next one."""
    files = {'d%d/f%d' % (i % 7, i): bytes([i]) * 10000 for i in range(100)}
    root = make(place.path('served'), files)
    target, events = place.path('got'), place.path('events')
    with place.serving(root, '--limit-rate', '2M') as first:
        client = place.files('get', '--all', '--to', target, '--events', events, '-j', '4')
        client.until_true(lambda: os.path.exists(events) and 'files' in words_of(events),
                          'the first file')
        ended(first, 0 if how == signal.SIGTERM else -how, 'the server ends', how)
        client.until('waiting for one')
        has(client.words(), r'connection lost; \d+ of 100 files are here', 'the client notices')
    with place.serving(root):
        same(client.wait(), 0, 'the next server helps on')
    same(tree(target), tree(root), 'everything is there')
    words = words_of(events)
    same([words.count(w) for w in ('unpublished', 'lost', 'connect-end', 'done')], [1, 1, 2, 1],
         'notice, loss and second connection')
    ok('not-connected' in words, 'and rcNotConnected')


def test_interrupted_client(place):
    root = make(place.path('served'), {'large': b'x' * 3000000, 'larger': b'y' * 3000000})
    target = place.path('got')
    with place.serving(root, '--limit-rate', '1M') as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            client = place.files('get', '--all', '--to', target)
            client.until_true(lambda: os.path.isdir(target) and len(os.listdir(target)) == 2,
                              'temporary files')
            same(client.end(number), -number, 'a signal ends a client')
            same(os.listdir(target), [], 'and nothing half is left')
        client = place.files('get', '--all', '--to', target)
        client.until_true(lambda: os.listdir(target), 'a temporary file')
        client.end(signal.SIGKILL)
        status = place.run('get', 'large', '--to', place.path('got'))[0]
        same(status, 0, 'a killed client does not disturb the next')
        # A server that does not answer: the call itself must be interrupted.
        client = place.files('get', '--all', '--to', place.path('got'))
        client.until_true(lambda: client.words() == '', 'nothing')
        os.kill(server.process.pid, signal.SIGSTOP)
        time.sleep(0.2)
        same(client.end(), -signal.SIGTERM, 'a signal ends a call to a stopped server')
        os.kill(server.process.pid, signal.SIGCONT)
        ended(server, 0, 'the server is well')


def test_limit(place):
    root = make(place.path('served'), {'a': b'x' * 300000, 'b': b'y' * 300000})
    for where in ('serve', 'get'):
        limits = {'serve': [], 'get': []}
        limits[where] = ['--limit-rate', '600K']
        with place.serving(root, *limits['serve']):
            began = time.monotonic()
            status = place.run('get', '-a', '--to', place.path('got'), *limits['get'])[0]
            same(status, 0, where + ' --limit-rate')
            ok(time.monotonic() - began > 0.9, 'takes its time')


def test_terminal(place):
    root = make(place.path('served'), {'a': b'x' * 300000, 'b': b'y' * 300000})

    def seen(*options, **environment):
        pid, fd = pty.fork()
        if pid == 0:
            os.environ.update(environment)
            os.execv(FILES, [FILES, 'get', '-a', '--to', os.path.join(place.top, 'pty'), *options])
        output = b''
        with contextlib.suppress(OSError):
            while True:
                more = os.read(fd, 65536)
                if not more:
                    break
                output += more
        os.close(fd)
        same(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0, 'get on a terminal')
        return output.decode()

    with place.serving(root, '--limit-rate', '1M'):
        output = seen(TERM='xterm')
        has(output, r'\r\x1b\[K\[\x1b\[32m#+', 'a coloured bar')
        has(output, r'\d+%  \d/2 files  .*/s', 'numbers')
        output = seen(TERM='xterm', NO_COLOR='1')
        ok('#' in output and '\x1b[32m' not in output, 'NO_COLOR')
        same(seen('-q', TERM='xterm'), '', '--quiet')
        ok('#' not in seen(TERM='dumb'), 'no bar on a dumb terminal')


def test_many(place, root):
    """Clients and servers at once."""
    targets = [place.path('got') for _ in range(6)]
    with place.serving(root, '-t', '2'), place.serving(root, '--name', 'second', '-t', '8'):
        clients = [place.files('get', '--all', '--to', t, '-j', str(1 + i), *name)
                   for i, (t, name) in enumerate(zip(targets, [[], ['-N', 'second']] * 3))]
        same([c.wait() for c in clients], [0] * 6, 'six clients of two servers')
    wanted = tree(targets[0])
    ok(len(wanted) > 3000 and all(tree(t) == wanted for t in targets), 'have the same')


def run_tests(place):
    files = some_files()
    root = odd_tree(place, files)
    test_words(place)
    test_no_server(place)
    test_tree(place, root, files)
    test_hostile_client(place, root)
    test_hostile_server(place)
    test_changing(place)
    test_target(place)
    test_ends(place, signal.SIGTERM)
    test_ends(place, signal.SIGKILL)
    test_interrupted_client(place)
    test_limit(place)
    test_terminal(place)
    test_many(place, root)
    # The same on a kernel without openat2().
    deny = (HELPER, 'deny')
    test_hostile_client(place, root, deny)
    with place.serving(root, prefix=deny):
        target = place.path('got')
        same(place.run('get', '--all', '--to', target)[0], 0, 'get --all without openat2()')
        same(len(tree(target)), len(files), 'every file is there')
        test_names(place, root)
    if os.path.exists(SHMDUMP):
        checked = place.start(SHMDUMP, '--check')
        if not ok(checked.wait() == 0, 'dcm-shmdump --check finds nothing of the dead'):
            diag(checked.text(checked.out) + checked.words())


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    place = Place()
    try:
        run_tests(place)
    except Exception as problem:    # what is left of the test cannot run
        ok(False, '{}: {}'.format(type(problem).__name__, problem))
        raise
    finally:
        Process.end_all()
        for directory in (place.shm, place.top):
            shutil.rmtree(directory, ignore_errors=True)
    print('1..{}'.format(len(results)))
    sys.exit(not all(results))


if __name__ == '__main__':
    main()
