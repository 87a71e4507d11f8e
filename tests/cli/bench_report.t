#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# tsan: no (several processes: it sees one of them at a time)
# bench.py: what dcm-bench prints becomes kept data, tables and plots, and the same again without
# measuring; a table has its remark, and one that lacks its remark says so. No time is asserted.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Bench;
use File::Temp qw(tempdir);
use JSON::PP;
use Test::More;

my $copy = tempdir(CLEANUP => 1);
mkdir "$copy/bench";
system('cp', glob("$top/bench/*.py"), "$top/bench/remarks.md", "$copy/bench") == 0
	or BAIL_OUT('no copy');

# bench.py, which keeps what it measures in the copy.
sub report {
	return output_of(1, 'python3', "$copy/bench/bench.py", @_);
}

sub slurp {
	my ($path) = @_;
	open(my $file, '<', $path) or return undef;
	local $/;
	return <$file>;
}

my ($status, $said) = report('--build-dir', $build, qw(--only discovery --runs 2 --duration 20));
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
like($report,
     qr/^\| a waiting client is told, p50 \/ futex \| [\d.]+ \| ≤ 1\.3 \| (yes|\*\*no\*\*) \(of \d runs only\) \| [^|]+ futex \|$/m,
     'says what must hold, whether it does, and of how many runs');
like($report, qr/ \| – \| [^|]+ \| not measured \| +\|$/m, 'and what was not measured');
like($report, qr/A \*canary\*/, 'and has its remarks');
unlink("$copy/bench/RESULTS.md");
like($said, qr/^bench: +\d+:\d\d  discovery /m, 'what is measured, and how long it takes, is said first');
like($said, qr/^wrote /m, 'and where it went');
($status, $said) = report('--report');
is($status, 0, 'bench.py --report');
is(slurp("$copy/bench/RESULTS.md"), $report, 'writes the same again');
($status, $said) = report(qw(--only nothing));
isnt($status, 0, 'what there is not');
like($said, qr/there is no nothing/, 'is said');

# What is missed without a word of why is said, there and to who looks on.
sub change_kept {
	my ($factor, $failures) = @_;
	my $data = decode_json(slurp("$copy/bench/results/discovery.json"));
	for my $peer (@{ $data->{cells}[0]{peers} }) {
		next if $peer->{name} ne 'dcm';
		$peer->{failures} = $failures;
		$peer->{why} = 'for no reason';
		$_->{time}{p50} *= $factor for @{ $peer->{runs} };
	}
	open(my $file, '>', "$copy/bench/results/discovery.json");
	print $file encode_json($data);
}
change_kept(1000, 1);
($status, $said) = report('--report');
like($said, qr/^bench: remarks.md has "## discovery: why" for: a waiting client/m, 'a miss that has its words');
like(slurp("$copy/bench/RESULTS.md"), qr/^dcm failed once: for no reason\.$/m, 'a run that failed is named');
my $words = slurp("$copy/bench/remarks.md");
$words =~ s/^## discovery: why\n.*?(?=^##)//ms;
open(my $file, '>', "$copy/bench/remarks.md");
print $file $words;
close $file;
($status, $said) = report('--report');
like($said, qr/^bench: remarks.md has no "## discovery: why" for: a waiting client/m, 'and one that has none');
like(slurp("$copy/bench/RESULTS.md"), qr/^\*\*Nothing is said of what is missed/m, 'which the report says too');

# A little of everything goes elsewhere, and one that cannot be run costs itself only.
my $before = slurp("$copy/bench/RESULTS.md");
my $quick = "$copy/build";
mkdir $quick;
symlink("$build/dcm-bench", "$quick/dcm-bench"); # which finds the peers beside itself
($status, $said) = report('--build-dir', $quick, '--quick', '--only', 'connect,events,memory,stops');
is($status, 0, 'bench.py --quick') or diag($said);
is(slurp("$copy/bench/RESULTS.md"), $before, 'leaves what is kept alone');
$report = slurp("$quick/bench/quick/RESULTS.md") // '';
like($report, qr/^\| the same, longest time without a message/m, 'stopped producers are asked');
like($report, qr{\| nobody asleep: system calls [^|]+\| [\d.]+ \| ≤ 0 \| (yes|\*\*no\*\*)}m,
     "system calls of a publication are counted")
	if $report =~ /nobody asleep/;
like($report, qr/^## $_$/m, "$_: is there")
	for 'What is resident', 'Events, rights and badges', 'From nothing to the first reply';

# What the repository has was written from the data beside it.
SKIP: {
	skip('no results are kept', 1) unless -e "$top/bench/RESULTS.md";
	system("rm -r $copy/bench/results && cp -r $top/bench/results $copy/bench") == 0 or BAIL_OUT('no copy');
	report('--report');
	is(slurp("$copy/bench/RESULTS.md"), slurp("$top/bench/RESULTS.md"), 'RESULTS.md is of the data');
}
done_testing();
