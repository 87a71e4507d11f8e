# SPDX-License-Identifier: BSD-2-Clause
# What the tests of dcm-bench and bench.py share: where they are, and how they are run.
package Bench;
use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);
use Test::More;

our @EXPORT = qw($top $build output_of run run_with_errors);

our $top = $ENV{DCM_SOURCE_DIR} // abs_path(dirname(__FILE__) . '/../..');
our $build = abs_path($ENV{DCM_BUILD_DIR} // "$top/build");

alarm 280;
$ENV{LC_ALL} = 'C.UTF-8';
delete @ENV{grep { /^DCM_(FABRIC|MAX|PROCESS|TRANSFER)/ } keys %ENV};

# Runs a command, if asked to with its errors in the output; its status, output and process.
sub output_of {
	my ($with_errors, @command) = @_;
	my $pid = open(my $out, '-|') // BAIL_OUT("fork: $!");
	if ($pid == 0) {
		open(STDERR, '>&', \*STDOUT) if $with_errors;
		exec(@command) or exit 127;
	}
	my $text = do { local $/; <$out> } // '';
	close $out;
	return ($?, $text, $pid);
}

# dcm-bench with these arguments.
sub run { return output_of(0, "$build/dcm-bench", @_) }
sub run_with_errors { return output_of(1, "$build/dcm-bench", @_) }

1;
