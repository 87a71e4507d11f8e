# SPDX-License-Identifier: BSD-2-Clause
"""What ./configure.py --setup installs, from Debian."""

import os
import shutil
import subprocess
import sys

# Package and reason.
BUILD = [
    ('gcc', 'the compiler'),
    ('libc6-dev', 'the C library'),
    ('ninja-build', 'the build'),
    ('pkg-config', 'tests of the installed library'),
    ('g++', 'tests of the headers as C++'),
    ('clang', 'tests with a second compiler'),
    ('libclang-rt-14-dev', 'its sanitizers'),
    ('perl', 'prove, the test runner'),
    ('spin', 'models of the protocols'),
    ('libck-dev', 'Concurrency Kit'),
    ('liburcu-dev', 'userspace RCU'),
    ('libxxhash-dev', 'hashing of names'),
    ('libsmartcols-dev', 'tables of the tools'),
    ('libssl-dev', 'SHA-256 of dcm-files'),
    ('scdoc', 'the manual pages'),
]

# What --setup=bench installs besides: the peers of the benchmark, and what draws.
BENCH = [
    ('gnuplot-nox', 'plots of the benchmark'),
    ('libboost-dev', 'peer: Boost.Interprocess'),
    ('dbus-daemon', 'peer: D-Bus'),
    ('libsystemd-dev', 'peer: D-Bus'),
    ('iceoryx', 'peer: iceoryx'),
    ('libiceoryx-binding-c-dev', 'peer: iceoryx'),
    ('libqb-dev', 'peer: libqb'),
    ('libzmq3-dev', 'peer: ZeroMQ'),
]


def fail(text):
    sys.exit('configure.py: error: ' + text)


def missing_packages(packages):
    missing = []
    for name, reason in packages:
        done = subprocess.run(['dpkg-query', '-W', '-f', '${db:Status-Status}', name],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if done.stdout.strip() != b'installed':
            missing.append((name, reason))
    return missing


def install(packages):
    """Those that are missing.  False: none was."""
    if not shutil.which('dpkg-query') or not shutil.which('apt-get'):
        fail('--setup works on Debian and its relatives only; install what these are called\n'
             'on your system: ' + ' '.join(name for name, _ in packages))
    missing = missing_packages(packages)
    if not missing:
        print('setup: all {} packages are there, nothing to do.'.format(len(packages)))
        return False
    print('setup: these packages are missing:')
    for name, reason in missing:
        print('  {:20} {}'.format(name, reason))
    names = [name for name, _ in missing]
    as_root = []
    if os.geteuid() != 0:
        if not shutil.which('sudo'):
            fail('not root, and there is no sudo; as root, run\n  apt-get install '
                 + ' '.join(names))
        as_root = ['sudo']
    env = ['env', 'DEBIAN_FRONTEND=noninteractive']
    for command in (['apt-get', '-q', 'update'],
                    ['apt-get', '-q', '-y', '--no-install-recommends', 'install'] + names):
        print('setup: ' + ' '.join(as_root + command), flush=True)
        if subprocess.call(as_root + env + command) != 0:
            fail('that command failed; its output says why')
    return True
