#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Writes build.ninja.

The build.ninja at the top is committed and is what this program writes without options, on any
machine: nothing is detected, sources are found by sorted globs.  Every other configuration has
a build directory, and its build.ninja, of its own.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from glob import glob

sys.dont_write_bytecode = True
from tools import packages      # noqa: E402

DEFAULT_BUILD_DIR = 'build'
DEFAULT_CC = 'cc'

WARNINGS = ['-Wall', '-Wextra', '-Wpedantic', '-Wshadow', '-Wconversion', '-Wstrict-prototypes',
            '-Wmissing-prototypes', '-Wvla']
CXX_WARNINGS = ['-Wall', '-Wextra', '-Wpedantic', '-Wshadow']
CFLAGS = ['-std=c11', '-g', '-fno-omit-frame-pointer', '-fvisibility=hidden', '-fPIC', '-pthread']
INCLUDES = ['-Iapi/include', '-I.']
LDFLAGS = ['-pthread', '-Wl,--as-needed', '-Wl,-z,relro,-z,now']
SOFLAGS = ['-Wl,-soname,libdcm.so.0', '-Wl,--version-script=api/dcm.map', '-Wl,-z,nodelete']

# What libdcm itself is linked with, and what each tool needs besides.
LIBS = ['-lurcu-bp', '-lurcu-common', '-lxxhash', '-lck']
TOOL_LIBS = {
    'dcm-files': ['-lcrypto', '-lsmartcols'],
    'dcm-shmdump': ['-lsmartcols'],
}

# Of bench/lib_NAME.c, what each of its peers is linked with.
PEER_SHARED = ('child', 'clock', 'hist', 'need', 'place', 'stats')

# What a peer of the benchmark (bench/peers/NAME.c or NAME.cpp) is compiled and linked with, if it
# is there: the names of a module of pkg-config and of libraries, and where headers are.
PEER_MODULES = {
}
PEER_LIBS = {
    'dbus': ['systemd'],
    'iceoryx': ['iceoryx_binding_c'],
    'zeromq': ['zmq'],
    'libqb-ring': ['qb'],
    'libqb-ipc': ['qb'],
    'ck': ['ck'],
}
PEER_INCLUDES = {
    'iceoryx': ['/usr/include/iceoryx/v2.0.3'],
}

# Tests of these kinds are built, and linked with a library that is built, with -DDCM_HOOKS.
HOOKED_KINDS = ('crash', 'sim')

# Of the kinds of tests these are started first: they take longest.
FIRST_KINDS = ('install', 'env', 'stress', 'fuzz')

# They run other tests, of other builds or in other environments, or are sanitized as they are:
# not with a sanitizer.
UNSANITIZED_KINDS = ('install', 'env', 'fuzz')

# Programs for libFuzzer, whatever the compiler of the rest is: the sources under test with
# sanitizers, and of its counters those that cost least; what goes around them without.
FUZZ_CC = 'clang'
FUZZ_CFLAGS = CFLAGS + ['-O2', '-DDCM_HOOKS']
FUZZ_SANITIZERS = ['-fsanitize=fuzzer,address,undefined', '-fno-sanitize-recover=undefined',
                   '-fno-sanitize-coverage=trace-cmp,indirect-calls']

SANITIZERS = ('address', 'undefined', 'address,undefined', 'thread')


class Ninja:
    """Writes ninja's syntax.  Paths hold no character that would need an escape (see word())."""

    WIDTH = 98

    def __init__(self):
        self.lines = []

    def line(self, text='', indent=0):
        """One logical line, broken at its newlines, and at spaces where it is too long."""
        lead = '  ' * indent
        first, *more = text.split('\n')
        parts = []
        for rest in [lead + first] + [lead + '    ' + part for part in more]:
            while len(rest) > self.WIDTH:
                cut = rest.rfind(' ', len(lead) + 5, self.WIDTH - 1)
                if cut < 0:
                    break
                parts.append(rest[:cut])
                rest = lead + '    ' + rest[cut + 1:]
            parts.append(rest)
        self.lines.append(' $\n'.join(parts))

    def comment(self, text):
        self.line()
        for part in text.split('\n'):
            self.lines.append('# ' + part)

    def variable(self, key, value, indent=0):
        if isinstance(value, (list, tuple)):
            value = ' '.join(value)
        self.line('{} = {}'.format(key, value).rstrip(), indent)

    def rule(self, name, **variables):
        self.line('rule ' + name)
        for key, value in variables.items():
            self.variable(key, value, 1)
        self.line()

    def build(self, out, rule, inputs=(), implicit=(), **variables):
        text = 'build {}: {}'.format(out, rule)
        if inputs:
            text += ' ' + ' '.join(inputs)
        if implicit:
            text += ' | ' + ' '.join(implicit)
        self.line(text)
        for key, value in variables.items():
            self.variable(key, value, 1)
        return out

    def save(self, path):
        with open(path + '.new', 'w') as f:
            f.write('\n'.join(self.lines) + '\n')
        os.replace(path + '.new', path)


class Build:
    """One configuration: the options, and what is written from them."""

    def __init__(self, options, arguments):
        self.o = options
        self.arguments = arguments
        self.n = Ninja()
        self.programs = []
        self.tests = []

    def manifest(self):
        if self.o.build_dir == DEFAULT_BUILD_DIR:
            return 'build.ninja'
        return os.path.join(self.o.build_dir, 'build.ninja')

    def write(self):
        os.makedirs(self.o.build_dir, exist_ok=True)
        self.n.lines.append('# SPDX-License-Identifier: BSD-2-Clause')
        self.n.lines.append('# Written by configure.py: do not edit.')
        self.variables()
        self.rules()
        self.library()
        self.tools()
        self.manual()
        self.benchmarks()
        self.all_tests()
        self.targets()
        self.n.save(self.manifest())
        self.write_depfile()

    # Whatever decides the contents of build.ninja: this file, the one that holds the version,
    # the directories, since they are globbed, and with a sanitizer the tests, for their tags.
    def write_depfile(self):
        deps = ['configure.py', VERSION_HEADER]
        for top in ('shm', 'api', 'tools', 'bench', 'tests'):
            deps += sorted(d for d, _, _ in os.walk(top))
        # "bench" is also what one asks ninja for.
        deps[deps.index('bench')] = os.path.abspath('bench')
        if self.o.sanitize:
            deps += sorted(glob('tests/*/*.[ct]'))
        with open(os.path.join(self.o.build_dir, 'configure.d'), 'w') as f:
            f.write('{}: {}\n'.format(self.manifest(), ' '.join(deps)))

    def variables(self):
        o, n = self.o, self.n
        cflags = CFLAGS + ['-O0' if o.debug else '-O1' if o.sanitize else '-O2']
        ldflags, soflags = LDFLAGS[:], SOFLAGS[:]
        if o.sanitize:
            flag = '-fsanitize=' + o.sanitize
            cflags.append(flag)
            ldflags.append(flag)
            if 'undefined' in o.sanitize:
                cflags.append('-fno-sanitize-recover=undefined')
        else:
            soflags.append('-Wl,-z,defs')   # a sanitizer's run-time library is the program's
        if o.kernel:
            cflags.append('-DDCM_KERNEL_' + o.kernel.replace('.', '_'))
        if o.werror:
            cflags.append('-Werror')
        n.line('ninja_required_version = 1.10')
        n.line()
        n.variable('configure_args', self.arguments)
        n.variable('builddir', o.build_dir)
        n.variable('version', version())
        n.variable('prefix', o.prefix)
        n.variable('libdir', o.libdir)
        n.line()
        n.variable('cc', o.cc)
        n.variable('warnings', WARNINGS)
        n.variable('cflags', cflags)
        n.variable('cxx_warnings', CXX_WARNINGS)
        n.variable('cxxflags', ['-std=c++20'] + [f for f in cflags if f != '-std=c11'])
        n.variable('includes', INCLUDES)
        n.variable('ldflags', ldflags)
        n.variable('soflags', soflags)
        n.variable('libs', LIBS)
        n.variable('fuzz_cflags', FUZZ_CFLAGS + (['-Werror'] if o.werror else []))
        n.variable('fuzz_sanitizers', FUZZ_SANITIZERS)
        n.line()

    def rules(self):
        n = self.n
        n.rule('configure', command='./configure.py $configure_args', description='CONFIGURE',
               generator='1', depfile='$builddir/configure.d')
        n.build(self.manifest(), 'configure', implicit=['configure.py'])
        n.line()
        n.rule('cc', command='$cc -MMD -MF $out.d $warnings $cflags $includes $defines '
               '-c $in -o $out', deps='gcc', depfile='$out.d', description='CC $out')
        n.rule('cxx', command='c++ -MMD -MF $out.d $cxx_warnings $cxxflags $includes $defines '
               '-c $in -o $out', deps='gcc', depfile='$out.d', description='CXX $out')
        # In one partition: what is static stays so. Of several, NAME.lto_priv.0 is a global symbol of
        # libdcm.a, and also of any program that is compiled with -flto itself.
        n.rule('whole', command='$cc -r -flto -flto-partition=one -flinker-output=nolto-rel $cflags '
               '-o $out $in', description='WHOLE $out')
        n.rule('ar', command='rm -f $out && ar crs $out $in', description='AR $out')
        n.rule('so', command='$cc -shared $cflags $ldflags $soflags -o $out $in $libs',
               description='SO $out')
        n.rule('link', command='$cc $cflags $ldflags -o $out $in $extra $libs',
               description='LINK $out')
        n.rule('man', command='scdoc < $in > $out.new && mv $out.new $out', description='MAN $out')
        n.rule('preload', command='$cc -shared $cflags $ldflags -o $out $in',
               description='SO $out')
        n.rule('symlink', command='ln -sf $target $out', description='LN $out')
        n.rule('pc', command="sed -e 's|@PREFIX@|$prefix|' -e 's|@LIBDIR@|$pclibdir|' "
               "-e 's|@VERSION@|$version|' -e 's|@LIBS@|$libs|' $in > $out",
               description='PC $out')
        top = '' if os.path.isabs(self.o.build_dir) else '$$PWD/'
        where = 'DCM_SOURCE_DIR="$$PWD" DCM_BUILD_DIR="{}$builddir"'.format(top)
        n.rule('test', command=where + ' prove -j$${DCM_TEST_JOBS:-4} - < $builddir/tests.list',
               rspfile='$builddir/tests.list', rspfile_content='$in_newline', pool='console',
               description='TEST')
        n.rule('prove-it', command='python3 tests/prove_it.py --build-dir $builddir',
               pool='console', description='PROVE-IT')
        n.rule('bench', command='python3 bench/bench.py --build-dir $builddir', pool='console',
               description='BENCH')
        n.rule('demo', command='python3 tools/demo.py --build-dir $builddir', pool='console',
               description='DEMO')
        n.rule('install', command='$steps', pool='console', description='INSTALL')

    def obj(self, source, tree='obj', defines=''):
        out = '$builddir/{}/{}.o'.format(tree, source[:-2])
        extra = {'defines': defines} if defines else {}
        return self.n.build(out, 'cc', [source], **extra)

    def library(self):
        n = self.n
        sources = sorted(glob('shm/*.c')) + sorted(glob('api/*.c'))
        n.comment('The library. As one whole: a call goes through ten small files, and the '
                  'compiler sees\ninto all of them.')
        whole = not (self.o.debug or self.o.sanitize) and is_gcc(self.o.cc)
        objects = [self.obj(s, defines='-flto' if whole else '') for s in sources]
        if whole:
            objects = [n.build('$builddir/libdcm.o', 'whole', objects)]
        n.build('$builddir/libdcm.a', 'ar', objects)
        self.libs = ['$builddir/libdcm.a']
        if glob('api/*.c'):
            n.build('$builddir/libdcm.so.0', 'so', objects, ['api/dcm.map'])
            n.build('$builddir/libdcm.so', 'symlink', implicit=['$builddir/libdcm.so.0'],
                    target='libdcm.so.0')
            self.libs += ['$builddir/libdcm.so.0', '$builddir/libdcm.so']
        n.comment('The same with the test hooks in its atomics.')
        hooked = [self.obj(s, 'hooked', '-DDCM_HOOKS') for s in sources]
        n.build('$builddir/libdcm-hooked.a', 'ar', hooked)
        n.comment('What pkg-config reads.')
        libdir = self.o.libdir
        if libdir.startswith(self.o.prefix + '/'):
            libdir = '$${prefix}' + libdir[len(self.o.prefix):]
        n.build('$builddir/dcm.pc', 'pc', ['api/dcm.pc.in'], pclibdir=libdir)
        self.libs.append('$builddir/dcm.pc')

    def tools(self):
        n = self.n
        n.comment('Tools: dcm-x is built from tools/dcm-x.c and tools/dcm-x_*.c.')
        for main in sorted(glob('tools/dcm-*.c')):
            name = os.path.basename(main)[:-2]
            if '_' in name:
                continue
            sources = [main] + sorted(glob('tools/{}_*.c'.format(name)))
            objects = [self.obj(s) for s in sources]
            self.link('$builddir/' + name, objects, '$builddir/libdcm.a',
                      TOOL_LIBS.get(name, []))
            self.programs.append('$builddir/' + name)

    def manual(self):
        self.n.comment('The manual: NAME.SECTION.scd beside what it is about.')
        self.pages = [self.n.build('$builddir/man/' + os.path.basename(source)[:-len('.scd')],
                                   'man', [source])
                      for source in sorted(glob('api/man/*.scd')) + sorted(glob('tools/*.scd'))]

    def benchmarks(self):
        self.n.comment('Benchmarks: all of bench/*.c is dcm-bench; bench/peers/NAME.c is the program '
                       'NAME,\nand what is beside it and begins with lib_ or driver is in each.')
        told = {'bench/peers/driver_payload.c': '-O3 -falign-functions=64 -falign-loops=64',
                'bench/lib_place.c': "-DBENCH_FLAGS='\"$cflags\"'"}
        objects = {s: self.obj(s, defines=told.get(s, '')) for s in sorted(glob('bench/*.c'))}
        self.bench = [self.link('$builddir/dcm-bench', list(objects.values()),
                                '$builddir/libdcm.a')]
        shared = [objects['bench/lib_{}.c'.format(s)] for s in PEER_SHARED]
        mains = []
        for source in sorted(glob('bench/peers/*.c')):
            if os.path.basename(source).startswith(('lib_', 'driver')):
                shared.append(self.obj(source, defines=told.get(source, '')))
            else:
                mains.append(source)
        shared = self.n.build('$builddir/bench/driver.a', 'ar', shared)
        for source in sorted(mains + glob('bench/peers/*.cpp')):
            self.peer(source, shared)

    def peer(self, source, shared):
        """One that needs a library is built without it too, and then says so."""
        name, ending = os.path.basename(source).rsplit('.', 1)
        module = PEER_MODULES.get(name)
        config = '$$(pkg-config --silence-errors {} ' + module + ')' if module else ''
        flags = ['-isystem ' + directory for directory in PEER_INCLUDES.get(name, [])]
        libs = ['$$(f=$$($cc -print-file-name=lib{0}.so); test "$$f" = lib{0}.so || echo -l{0})'
                .format(lib) for lib in PEER_LIBS.get(name, [])]
        if module:
            flags.append(config.format('--cflags'))
            libs.append(config.format('--libs'))
        variables = {'defines': ' '.join(flags)} if flags else {}
        object_file = self.n.build('$builddir/obj/{}.o'.format(source.rsplit('.', 1)[0]),
                                   'cc' if ending == 'c' else 'cxx', [source], **variables)
        variables = {'extra': ' '.join(libs)} if libs else {}
        if ending == 'cpp':
            variables['cc'] = 'c++'
            variables['cflags'] = '$cxxflags'
        self.bench.append(self.n.build('$builddir/bench/' + name, 'link',
                                       [object_file, shared, '$builddir/libdcm.a'], **variables))

    def link(self, out, objects, library, extra=()):
        variables = {'extra': ' '.join(extra)} if extra else {}
        return self.n.build(out, 'link', objects + [library], **variables)

    def all_tests(self):
        self.n.comment('Tests: tests/<kind>/<name>.c is the program <name>.t, helper_*.c are '
                       'programs for it,\nlib_*.c and <kind>_*.c go into every program of the '
                       'kind; <name>.t is a script;\npreload_*.c are for LD_PRELOAD.')
        self.helpers = []
        tap = self.obj('tests/tap.c')
        kinds = sorted({os.path.dirname(p)[len('tests/'):] for p in glob('tests/*/*.[ct]')},
                       key=lambda k: (k not in FIRST_KINDS, k))
        for kind in kinds:
            if kind in UNSANITIZED_KINDS and self.o.sanitize:
                continue
            if kind == 'fuzz':
                self.fuzz_programs()
                self.scripts_of(kind)
            else:
                self.tests_of(kind, tap)

    def tests_of(self, kind, tap):
        hooked = kind in HOOKED_KINDS
        defines = '-DDCM_HOOKS' if hooked else ''
        library = '$builddir/libdcm-hooked.a' if hooked else '$builddir/libdcm.a'
        shared, mains = [], []
        for source in sorted(glob('tests/{}/*.c'.format(kind))):
            name = os.path.basename(source)[:-2]
            if name.startswith('preload_'):
                self.helpers.append(self.n.build(
                    '$builddir/tests/{}/{}.so'.format(kind, name), 'preload',
                    [self.obj(source)]))
            elif name.startswith(('lib_', kind + '_')):
                shared.append(self.obj(source, defines=defines))
            elif name.startswith('helper_') or not self.left_out(source):
                mains.append((source, name))
        for source, name in mains:
            helper = name.startswith('helper_')
            out = '$builddir/tests/{}/{}{}'.format(kind, name, '' if helper else '.t')
            self.link(out, [self.obj(source, defines=defines), tap] + shared, library)
            (self.helpers if helper else self.tests).append(out)
        self.scripts_of(kind)

    def scripts_of(self, kind):
        for script in sorted(glob('tests/{}/*.t'.format(kind))):
            if not self.left_out(script):
                self.tests.append(script)

    def fuzz_programs(self):
        """tests/fuzz/<name>.c is a program of libFuzzer's, that tests/fuzz/<name>.t runs."""
        def objects(sources, cflags):
            return [self.n.build('$builddir/fuzz/{}.o'.format(s[:-2]), 'cc', [s], cc=FUZZ_CC,
                                 cflags=cflags) for s in sources]

        sanitized = '$fuzz_cflags $fuzz_sanitizers'
        library = self.n.build('$builddir/fuzz/libdcm.a', 'ar', objects(
            sorted(glob('shm/*.c')) + sorted(glob('api/*.c')), sanitized))
        shared = objects(sorted(glob('tests/fuzz/fuzz_*.c'))
                         + ['tests/tap.c', 'tests/unit/lib_world.c'], '$fuzz_cflags')
        for main in sorted(set(glob('tests/fuzz/*.c')) - set(glob('tests/fuzz/fuzz_*.c'))):
            self.helpers.append(self.n.build(
                '$builddir/' + main[:-2], 'link', objects([main], sanitized) + shared + [library],
                cc=FUZZ_CC, cflags=sanitized))

    def left_out(self, path):
        """Whether a test's tags (in its first 2 KiB) keep it out of this configuration."""
        if not self.o.sanitize:
            return False
        with open(path, errors='replace') as f:
            head = f.read(2048)
        short = 'tsan' if self.o.sanitize == 'thread' else 'asan'
        return re.search(r'\b({}: no|long: yes)\b'.format(short), head) is not None

    def targets(self):
        n = self.n
        n.comment('What one asks for by name.')
        default = self.libs + self.programs + self.pages
        hooked = ['$builddir/libdcm-hooked.a']
        compiled = [t for t in self.tests if t.startswith('$builddir')]
        helpers = self.helpers + self.bench
        n.build('all', 'phony', default + hooked + compiled + helpers)
        n.build('test', 'test', self.tests, default + hooked + helpers)
        n.build('prove-it', 'prove-it', implicit=self.tests + default + hooked + self.helpers)
        n.build('bench', 'bench', implicit=self.bench)
        n.build('demo', 'demo', implicit=default)
        self.install(default)
        n.line()
        n.line('default ' + ' '.join(default))

    def install(self, built):
        def step(mode, files, where):
            return 'install -D -m {} -t "$$DESTDIR{}" {}'.format(mode, where, ' '.join(files))

        steps = []
        top = 'api/include'
        for directory in sorted(d for d, _, _ in os.walk(top)):
            headers = sorted(glob(directory + '/*.h'))
            if headers:
                steps.append(step(644, headers, '$prefix/include' + directory[len(top):]))
        steps.append(step(644, ['$builddir/libdcm.a'], '$libdir'))
        if '$builddir/libdcm.so' in built:
            steps.append(step(644, ['$builddir/libdcm.so.0'], '$libdir'))
            steps.append('ln -sf libdcm.so.0 "$$DESTDIR$libdir/libdcm.so"')
        steps.append(step(644, ['$builddir/dcm.pc'], '$libdir/pkgconfig'))
        if self.programs:
            steps.append(step(755, self.programs, '$prefix/bin'))
        for section in sorted({page[-1] for page in self.pages}):
            steps.append(step(644, [p for p in self.pages if p[-1] == section],
                              '$prefix/share/man/man' + section))
        self.n.build('install', 'install', implicit=built, steps=' &&\n'.join(steps))


VERSION_HEADER = 'api/include/dcm/types.h'


def version():
    """The version is kept in the public header."""
    with open(VERSION_HEADER) as f:
        text = f.read()
    numbers = [re.search(r'#define DCM_VERSION_{}\s+(\d+)'.format(part), text)
               for part in ('MAJOR', 'MINOR', 'PATCH')]
    if None in numbers:
        fail('{} does not define DCM_VERSION_MAJOR, _MINOR and _PATCH'.format(VERSION_HEADER))
    return '.'.join(m.group(1) for m in numbers)


def is_gcc(cc):
    """Whether it knows gcc's options, whatever its name is.  Of cc that is not asked: what is
    written without options is the same on any machine."""
    if cc == DEFAULT_CC:
        return True
    done = subprocess.run([cc, '--version'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return b'Free Software Foundation' in done.stdout


def fail(text):
    sys.exit('configure.py: error: ' + text)


def setup(which):
    """Installs what is missing from Debian."""
    wanted = packages.BUILD + (packages.BENCH if which == 'bench' else [])
    if not packages.install(wanted):
        return
    # A peer that was compiled without its library is compiled anew.
    for name in glob(os.path.join(DEFAULT_BUILD_DIR, 'obj/bench/peers/*.o')):
        os.remove(name)


def word(text):
    """A value that goes into build.ninja and through a shell as it is."""
    if not re.fullmatch(r'[A-Za-z0-9_./+,=-]+', text):
        raise argparse.ArgumentTypeError(
            '{!r}: only letters, digits and _ . / + , = - are possible here'.format(text))
    return text.rstrip('/') or '/'


def parse(arguments):
    p = argparse.ArgumentParser(
        prog='configure.py', formatter_class=argparse.RawDescriptionHelpFormatter,
        description='Writes build.ninja; ninja then builds DCM for Linux.',
        epilog='Without options it writes the build.ninja of the top directory, which is\n'
               'committed.  Options other than --setup need a build directory of their own:\n'
               '  ./configure.py --build-dir build-asan --sanitize=address,undefined\n'
               '  ninja -f build-asan/build.ninja test')
    p.add_argument('--setup', nargs='?', const='build', choices=['build', 'bench'],
                   help='first install what is missing from Debian (apt-get, as root or by sudo);'
                        ' bench: also what ninja bench compares with, and draws with')
    p.add_argument('--build-dir', type=word, default=DEFAULT_BUILD_DIR, metavar='DIR',
                   help='where to build; DIR/build.ninja is written')
    p.add_argument('--debug', action='store_true', help='compile without optimisation')
    p.add_argument('--sanitize', choices=SANITIZERS, metavar='WHICH',
                   help='address,undefined (or one of them) or thread')
    p.add_argument('--kernel', choices=['6.1'],
                   help='for tests: use nothing that this kernel does not have')
    p.add_argument('--werror', action='store_true', help='warnings are errors')
    p.add_argument('--cc', type=word, default=DEFAULT_CC,
                   help='the C compiler (default: cc)')
    p.add_argument('--prefix', type=word, default='/usr/local',
                   help='where ninja install puts things (default: /usr/local)')
    p.add_argument('--libdir', type=word, metavar='DIR',
                   help='where it puts libraries, absolute or below the prefix (default: lib)')
    options = p.parse_args(arguments)
    check(p, options)
    options.libdir = os.path.join(options.prefix, options.libdir or 'lib')
    return options


def check(parser, options):
    changed = (options.debug or options.sanitize or options.kernel or options.werror or options.libdir
               or options.cc != DEFAULT_CC or options.prefix != '/usr/local')
    if options.build_dir == DEFAULT_BUILD_DIR and changed:
        parser.error('the build.ninja of the top directory is committed and has no options;\n'
                     'give this configuration a directory of its own, say --build-dir '
                     'build-' + (options.sanitize or 'mine').replace(',', '-'))
    inside = os.path.relpath(options.build_dir)
    if inside.split('/')[0] in ('.', 'shm', 'api', 'tools', 'tests', 'bench'):
        parser.error('--build-dir: {} holds sources'.format(options.build_dir))
    if not os.path.isabs(options.prefix):
        parser.error('--prefix: {} is not an absolute path'.format(options.prefix))
    if not shutil.which(options.cc) and options.cc != DEFAULT_CC:
        parser.error('--cc: there is no program {}'.format(options.cc))


def main():
    arguments = sys.argv[1:]
    os.chdir(os.path.dirname(os.path.abspath(__file__)))
    options = parse(arguments)
    if options.setup:
        setup(options.setup)
    before = [None] + arguments
    build = Build(options, [a for a, last in zip(arguments, before) if not a.startswith('--setup')
                            and (last != '--setup' or a.startswith('-'))])
    build.write()
    print('{} libraries and tools, {} tests, in {}/'.format(
        len(build.libs) + len(build.programs), len(build.tests), options.build_dir))
    print('wrote {}.'.format(build.manifest()))
    if options.build_dir != DEFAULT_BUILD_DIR:
        print('Build with: ninja -f {}'.format(build.manifest()))


if __name__ == '__main__':
    main()
