# SPDX-License-Identifier: BSD-2-Clause
# What the tests of this directory share: running commands, and build directories of their own
# under the one that is tested.
package Run;
use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Path qw(make_path);
use Test::More;

our @EXPORT = qw(run run_ok slurp spew scratch configure_ok ninja_ok sanitized_suite_ok);

my $top = $ENV{DCM_SOURCE_DIR} // abs_path(dirname(__FILE__) . '/../..');
my $build = $ENV{DCM_BUILD_DIR} // "$top/build";
chdir $top or BAIL_OUT("$top: $!");

# What the caller's environment holds must not decide what is tested here.
delete @ENV{qw(CC CFLAGS DESTDIR LDFLAGS NINJA_STATUS PKG_CONFIG_PATH)};

# Runs a shell command; its status (0 is good) and output, errors included.
sub run {
	my ($command) = @_;
	my $output = qx(exec 2>&1 </dev/null; $command);
	return ($?, $output);
}

# The output if the status is good, else undef.
sub run_ok {
	my ($command, $name) = @_;
	my ($status, $output) = run($command);
	ok($status == 0, $name) or diag("$command\n" . substr($output, -12000));
	return $status == 0 ? $output : undef;
}

sub slurp {
	my ($path) = @_;
	open(my $file, '<', $path) or return undef;
	local $/;
	return scalar <$file>;
}

sub spew {
	my ($path, $text) = @_;
	make_path(dirname($path));
	open(my $file, '>', $path) or BAIL_OUT("$path: $!");
	print $file $text;
	close($file) or BAIL_OUT("$path: $!");
}

# A directory for this test, emptied at its end unless it failed.
sub scratch {
	my ($name) = @_;
	my $dir = "$build/tests-tmp/$name";
	run("rm -rf '$dir'");
	make_path($dir);
	return $dir;
}

# A build directory that is kept, so that a second run only builds what changed.
sub configure_ok {
	my ($name, @options) = @_;
	my $dir = "$build/tests-tmp/$name";
	$dir =~ s{^\Q$top\E/}{};
	my $done = run_ok("./configure.py --build-dir $dir @options", "configure @options");
	return defined $done ? "$dir/build.ninja" : undef;
}

sub ninja_ok {
	my ($manifest, $what, $name) = @_;
	return run_ok("ninja -f $manifest -k 0 $what", $name);
}

# Builds everything with a sanitizer and runs what tests it can. With more random bits in addresses
# than the sanitizers of Debian 12 know, they need addresses that are not random.
sub sanitized_suite_ok {
	my ($which, @options) = @_;
	my $manifest = configure_ok($which, @options) or return;
	defined ninja_ok($manifest, 'all', 'it builds') or return;
	my $bits = slurp('/proc/sys/vm/mmap_rnd_bits') // 0;
	my $fixed = $bits > 28 && !system('setarch -R true 2>/dev/null') ? 'setarch -R ' : '';
	local $ENV{DCM_TEST_SCALE} = ($ENV{DCM_TEST_SCALE} // 1) * 0.05;
	local $ENV{DCM_TEST_JOBS} = 2;
	my $output = run_ok("${fixed}ninja -f $manifest test", 'its tests pass') // '';
	note($output);
	diag("$which: $1") if $output =~ /^(Files=.*)$/m;
}

1;
