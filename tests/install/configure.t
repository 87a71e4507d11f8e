#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# configure.py: the same file on any machine, own build directories, clear errors, --setup.
use strict;
use warnings;
use Cwd qw(getcwd);
use FindBin;
use lib $FindBin::Bin;
use Run;
use Test::More;

my $place = getcwd();
my $tmp = scratch('configure');
my $copy = "$tmp/elsewhere";
my @dirs = grep { -d } qw(.ci api shm tools tests bench);
run_ok("mkdir '$copy' && cp -r configure.py build.ninja @dirs '$copy'",
       'a copy of the sources elsewhere');

# The same everywhere.
my $here = slurp("$copy/build.ninja");

sub unchanged_ok {
	my ($name) = @_;
	ok((slurp("$copy/build.ninja") // '') eq $here, $name);
}

run_ok("cd '$copy' && env -i PATH=\"\$PATH\" HOME=/nowhere LC_ALL=C CC=nocc CFLAGS=-O9 "
       . 'PYTHONHASHSEED=7 COLUMNS=20 ./configure.py', 'configure.py there');
unchanged_ok('it wrote the build.ninja that is here');
unlike($here, qr{\Q$place\E|/(?:root|home|tmp)\b|-linux-gnu},
       'which names no place of this machine');
SKIP: {
	my ($status, $changes) = run("git -c safe.directory='*' status --porcelain");
	skip('not a git work tree', 1) if $status != 0;
	skip('the work tree has changes', 1) if grep { !/ build\.ninja$/ } split(/\n/, $changes);
	is($changes, '', 'git finds it unchanged');
}

# New sources are found.
spew("$copy/shm/zz_new.c", "/* SPDX-License-Identifier: BSD-2-Clause */\n");
run_ok("cd '$copy' && ninja build.ninja", 'ninja notes a new source');
like(slurp("$copy/build.ninja"), qr{shm/zz_new\.c}, 'and configures anew');
unlink("$copy/shm/zz_new.c");
run_ok("cd '$copy' && ninja build.ninja", 'ninja notes a removed source');
unchanged_ok('and build.ninja is as it was');
like((run("cd '$copy' && ninja build.ninja"))[1], qr/no work to do/, 'then there is no more to do');

# Other configurations.
run_ok("cd '$copy' && ./configure.py --build-dir build-x --debug --prefix=/usr --libdir=lib64 "
       . '--sanitize=thread --werror', 'another configuration');
my $other = (slurp("$copy/build-x/build.ninja") // '') =~ s/ \$\n\s+/ /gr;
like($other, qr/^configure_args = --build-dir build-x --debug/m, 'its arguments are recorded');
like($other, qr/^cflags = .*-O0.*-fsanitize=thread/m, 'debug and sanitizer are in it');
like($other, qr/^libdir = \/usr\/lib64$/m, 'and the directories');
unchanged_ok('the one at the top is untouched');

# The compiler is known by what it says, not by its name.
SKIP: {
	my %whole = (gcc => 1, clang => 0);
	for my $cc (sort keys %whole) {
		my $path = (run("command -v $cc"))[1] =~ s/\n//r;
		skip("there is no $cc", 2) if $path eq '';
		my $alias = "$tmp/" . ($cc eq 'gcc' ? 'clang-not' : 'mycc');
		symlink($path, $alias) or die("$alias: $!");
		run_ok("cd '$copy' && ./configure.py --build-dir build-$cc --cc=$alias",
		       "$cc by another name");
		is((slurp("$copy/build-$cc/build.ninja") // '') =~ /= -flto\n/ ? 1 : 0, $whole{$cc},
		   'is told of partitions if it is gcc');
	}
}

# Errors.
my %errors = (
	'--sanitize=memory' => qr/--sanitize.*invalid choice/s,
	'--debug' => qr/--build-dir build-mine/,
	'--sanitize=thread' => qr/--build-dir build-thread/,
	'--build-dir shm/x' => qr/holds sources/,
	'--build-dir .' => qr/holds sources/,
	'--build-dir "a b"' => qr/only letters/,
	'--build-dir x --prefix=relative' => qr/not an absolute path/,
	'--build-dir x --cc=nosuchcc' => qr/no program nosuchcc/,
	'--nonsense' => qr/unrecognized arguments/,
);
for my $options (sort keys %errors) {
	my ($status, $output) = run("cd '$copy' && ./configure.py $options");
	is($status >> 8, 2, "$options: refused");
	like($output, $errors{$options}, "$options: says why");
}
unchanged_ok('and nothing was written');
like((run('./configure.py --help'))[1], qr/--build-dir build-asan/, '--help has an example');

# --setup, with a Debian that only pretends.
sub pretend {
	my ($missing) = @_;
	my $bin = "$tmp/bin";
	spew("$bin/dpkg-query", "#!/bin/sh\nfor name; do :; done\n"
	     . "case ' $missing ' in *\" \$name \"*) exit 1;; esac\nprintf installed\n");
	spew("$bin/apt-get", "#!/bin/sh\necho \"\$@\" >> '$tmp/calls'\n");
	spew("$bin/sudo", "#!/bin/sh\nexec \"\$@\"\n");
	chmod 0755, glob("$bin/*");
	unlink("$tmp/calls");
	my ($status, $output) = run("cd '$copy' && PATH='$bin':\"\$PATH\" ./configure.py --setup");
	return ($status, $output, slurp("$tmp/calls") // '');
}
my ($status, $output, $calls) = pretend('');
is($status, 0, '--setup with everything there');
like($output, qr/nothing to do/, 'says so');
is($calls, '', 'and runs nothing');
($status, $output, $calls) = pretend('spin liburcu-dev');
is($status, 0, '--setup with two packages missing');
like($output, qr/missing.*spin.*liburcu-dev/s, 'names them');
is($calls, "-q update\n-q -y --no-install-recommends install spin liburcu-dev\n",
   'and installs these two');
unchanged_ok('build.ninja is the same after it');

done_testing();
