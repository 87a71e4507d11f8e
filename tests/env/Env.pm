# SPDX-License-Identifier: BSD-2-Clause
# What the tests of this directory share: the tests of other directories in an environment that has
# less than this one (helper_confine.c says which there are).
package Env;
use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use Test::More;

our @EXPORT = qw(run is_to_be_had confined_suite_ok scratch build_dir helper);

my $top = $ENV{DCM_SOURCE_DIR} // abs_path(dirname(__FILE__) . '/../..');
my $build = abs_path($ENV{DCM_BUILD_DIR} // "$top/build");
my @kinds = qw(unit api crash);
my @scripts = qw(cli/shmdump.t);

# What the caller's environment holds must not decide what is tested here.
delete @ENV{grep { /^DCM_(?!TEST_|SOURCE_DIR$|BUILD_DIR$)/ } keys %ENV};

sub build_dir { return $build }
sub helper { return "$build/tests/env/helper_confine" }

# Runs a shell command; its status (0 is good) and output, errors included.
sub run {
	my ($command) = @_;
	my $output = qx(exec 2>&1 </dev/null; $command);
	return ($?, $output);
}

# A directory that everybody may enter, removed at the end.
sub scratch {
	my $dir = tempdir('dcm-env-XXXXXX', TMPDIR => 1, CLEANUP => 1);
	chmod(0755, $dir);
	return $dir;
}

# Whether there is such an environment here; else one result that is skipped, with the reason.
sub is_to_be_had {
	my ($what, @options) = @_;
	my ($status, $output) = run(helper() . " @options -- true");
	return 1 if $status == 0;
	SKIP: {
		chomp $output;
		skip("$what: $output", 1) if $status >> 8 == 77;
		fail($what);
		diag($output);
	}
	return 0;
}

# The programs and what they need, where any user may run them: a clone may lie in /root.
sub copied {
	my $dir = scratch();
	make_path(map { "$dir/tests/$_" } @kinds, 'cli');
	my ($status, $output) = run("cp -R @{[map { qq('$build/tests/$_') } @kinds, 'cli']} $dir/tests/ && "
		. "cp '$build'/dcm-* '$build'/libdcm.so.0 $dir/ && cp @{[map { qq('$top/tests/$_') } @scripts]} "
		. "$dir/tests/cli/ && chmod -R a+rX $dir");
	$status == 0 or BAIL_OUT("a copy of $build: $output");
	return $dir;
}

# Runs the tests of the directories above, on a small scale, in an environment.
sub confined_suite_ok {
	my ($what, @options) = @_;
	is_to_be_had($what, @options) or return;
	my $dir = copied();
	local $ENV{DCM_BUILD_DIR} = $dir;
	local $ENV{DCM_SOURCE_DIR} = $dir;
	local $ENV{DCM_TEST_SCALE} = ($ENV{DCM_TEST_SCALE} // 1) * 0.05;
	local $ENV{HOME} = '/';
	my @programs = map { sort glob("$dir/tests/$_/*.t") } @kinds;
	my ($status, $output) = run("cd / && " . helper()
		. " @options -- prove --norc --directives -j2 @{[map { qq($dir/tests/$_) } @scripts]} @programs");
	ok($status == 0, $what) or diag(substr($output, -12000));
	note($output);
	diag("$what: $1") if $output =~ /^(Files=.*)$/m;
}

1;
