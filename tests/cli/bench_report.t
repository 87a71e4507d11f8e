#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# tsan: no (several processes: it sees one of them at a time)
# bench.py: what dcm-bench prints becomes kept data, tables and plots, and the same again without
# measuring; a table has its remark. No time is asserted.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use JSON::PP;
use Test::More;

my $top = $ENV{DCM_SOURCE_DIR} // abs_path(dirname(__FILE__) . '/../..');
my $build = abs_path($ENV{DCM_BUILD_DIR} // "$top/build");
my $copy = tempdir(CLEANUP => 1);

alarm 280;
$ENV{LC_ALL} = 'C.UTF-8';
delete @ENV{grep { /^DCM_(FABRIC|MAX|PROCESS|TRANSFER)/ } keys %ENV};
mkdir "$copy/bench";
system('cp', "$top/bench/bench.py", "$top/bench/report.py", "$top/bench/remarks.md", "$copy/bench") == 0
	or BAIL_OUT('no copy');

sub run {
	my (@arguments) = @_;
	open(my $out, '-|', "python3 $copy/bench/bench.py @arguments 2>&1") // BAIL_OUT("bench.py: $!");
	my $text = do { local $/; <$out> } // '';
	close $out;
	return ($?, $text);
}

sub slurp {
	my ($path) = @_;
	open(my $file, '<', $path) or return undef;
	local $/;
	return <$file>;
}

my ($status, $said) = run("--build-dir $build --only discovery --runs 2 --duration 20");
is($status, 0, 'bench.py measures') or diag($said);
my $kept = eval { decode_json(slurp("$copy/bench/results/discovery.json")) } // {};
is($@, '', 'and keeps JSON');
is($kept->{schema}, 'dcm-bench-discovery/1', 'of dcm-bench');
my ($dcm) = grep { $_->{name} eq 'dcm' } @{ $kept->{cells}[0]{peers} };
is(scalar(@{ $dcm->{runs} }) >= 2, 1, 'with all runs');
ok(!defined $dcm->{runs}[0]{time}{histogram}, 'without their histograms');
ok(@{ $dcm->{curve} } > 2, 'and with the curve of all');
my @curve = map { $_->[1] } @{ $dcm->{curve} };
is_deeply(\@curve, [sort { $a <=> $b } @curve], 'which rises');

my $report = slurp("$copy/bench/RESULTS.md") // '';
like($report, qr/^\| \*\*dcm\*\* \|/m, 'the report has a table with DCM');
like($report, qr/^\| a service appears \/ futex \| [\d.]+ \| ≤ 1\.3 \| (yes|\*\*no\*\*) \|$/m,
     'says what must hold, and whether it does');
like($report, qr/not measured/, 'and what was not measured');
like($report, qr/A \*canary\*/, 'and has its remarks');
unlink("$copy/bench/RESULTS.md");
($status, $said) = run('--report');
is($status, 0, 'bench.py --report');
is(slurp("$copy/bench/RESULTS.md"), $report, 'writes the same again');
($status, $said) = run('--only nothing');
isnt($status, 0, 'what there is not');
like($said, qr/there is no nothing/, 'is said');

# What the repository has was written from the data beside it.
SKIP: {
	skip('no results are kept', 1) unless -e "$top/bench/RESULTS.md";
	system("rm -r $copy/bench/results && cp -r $top/bench/results $copy/bench") == 0 or BAIL_OUT('no copy');
	run('--report');
	is(slurp("$copy/bench/RESULTS.md"), slurp("$top/bench/RESULTS.md"), 'RESULTS.md is of the data');
}
done_testing();
