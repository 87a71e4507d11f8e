#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# tsan: no (several processes: it sees one of them at a time)
# dcm-bench latency, throughput, contention, fanout, connect, discovery: they run, beside the limits
# and DCM, what they print is JSON, absent peers are named, and nothing stays. No time is asserted.
use strict;
use warnings;
no warnings 'qw'; # lists with commas are the program's
use FindBin;
use lib $FindBin::Bin;
use Bench;
use JSON::PP;
use Test::More;

my @short = qw(--runs 1 --duration 20);

my ($status, $help) = run_with_errors('--help');
my %of = (latency => [qw(--sizes 64 --waits adaptive,sleep)],
	  throughput => [qw(--sizes 64,4K --waits own --batches 16 --touch all --footprint 256K)],
	  contention => [qw(--producers 3 --pairs 2)],
	  fanout => [qw(--subscribers 2)],
	  connect => [],
	  discovery => []);
my %titles = (latency => 2, throughput => 2, contention => 2, fanout => 1, connect => 1, discovery => 1);
my %before = map { $_ => 1 } glob('/dev/shm/dcm-bench-*');

for my $name (sort keys %of) {
	like($help, qr/^ $name /m, "dcm-bench --help names $name");
	($status, my $own) = run_with_errors($name, '--help');
	is($status, 0, "$name --help");
	like($own, qr/^     --$_ /m, "$name: --$_") for qw(peers runs duration cpus json);

	($status, my $json) = run_with_errors($name, @{ $of{$name} }, @short, '--json', '--peers',
				  'dcm,futex,futex2,spin-futex,ring');
	is($status, 0, "$name runs") or diag($json);
	my $data = eval { decode_json($json) } // {};
	is($@, '', 'and prints JSON');
	is($data->{schema}, "dcm-bench-$name/1", 'of a known schema');
	is(scalar @{ $data->{cells} // [] }, $titles{$name}, 'with all that was asked for');
	ok(defined $data->{$_}, "$_ is said") for qw(machine compiler flags runs duration_ms);
	check_cell($name, $_) for @{ $data->{cells} };
}

# What is compared is beside what it is compared with, in one placement.
my ($stops_status, $stops) = run_with_errors(
	qw(contention --parts stops --stop 5 --within 5 --peers dcm,ring --json), @short);
is($stops_status, 0, 'producers are stopped') or diag($stops);
my @stopped = @{ (eval { decode_json($stops) } // {})->{cells} // [] };
is(join(' ', map { $_->{stop_ns} } @stopped), '0 5000000', 'none, and one after the other');
is($stopped[0]{canary_ns}, $stopped[1]{canary_ns}, 'in one placement');
my ($held) = map { $_->{runs}[0] } grep { $_->{name} eq 'dcm' } @{ $stopped[1]{peers} };
cmp_ok($held->{held_ns}, '>', 0, 'and how long the consumer had nothing is said');

sub check_cell {
	my ($name, $cell) = @_;
	my %runs = map { $_->{name} => $_->{runs} } @{ $cell->{peers} };

	ok($cell->{wait} eq 'sleep' || defined $runs{dcm}, "$cell->{title}: DCM is there");
	for my $run (map { @$_ } values %runs) {
		ok(defined $run->{$_}, "$run->{peer}: $_")
			for qw(counts canary_before_ns canary_after_ns clock_ns others cpu_clients);
		cmp_ok($run->{count}, '>', 0, 'something was measured');
		next unless defined $run->{time};
		my @marks = map { $run->{time}{$_} } qw(p50 p90 p99 p99_9 p99_99 max);
		is_deeply(\@marks, [sort { $a <=> $b } @marks], 'percentiles rise');
		my $sum = 0;
		$sum += $_->[1] for @{ $run->{time}{histogram} };
		is($sum, $run->{time}{count}, 'the histogram holds all');
	}
}

# What is not possible is said.
my @bad = ([qw(latency --sizes 0)], [qw(latency --sizes 64,x)], [qw(latency --sizes 100)], [qw(latency --waits never)],
	   [qw(latency --runs 0)], [qw(latency --cpus 0)], [qw(latency --cpus 0,99999)],
	   [qw(throughput --batches 0)], [qw(contention --producers 1000)], [qw(fanout --subscribers 0)],
	   [qw(connect --duration 0)]);
for my $case (@bad) {
	my ($status, $said) = run_with_errors(@$case);
	is($status >> 8, 1, "@$case: refused");
	like($said, qr/^dcm-bench $case->[0]: $case->[1]: \Q$case->[2]\E\nTry '/, 'by name');
}
($status, my $said) = run_with_errors(qw(latency --peers dcm,nobody));
is($status >> 8, 1, 'a peer that there is not');
like($said, qr/nobody/, 'is named');
($status, $said) = run_with_errors(qw(latency --no-such));
is($status >> 8, 1, 'an option that there is not');
($status, $said) = run_with_errors(qw(latency more));
like($said, qr/what is this: more/, 'an argument too many');

# Which peers there are depends on what was installed; who is absent is named with its package.
my %absent;
for my $program (glob("$build/bench/*")) {
	next if $program =~ /\./ or -d $program;
	open(my $out, '-|', $program, 'describe') or next;
	my ($peer, $kind, $absent, $package) = split(/\t/, <$out>);
	close $out;
	$absent{$peer} = $package if $absent;
}
($status, my $table) = run_with_errors(qw(latency --sizes 64 --waits sleep), @short, '--peers',
			   join(',', 'futex', 'futex2', keys %absent));
is($status, 0, 'a table') or diag($table);
like($table, qr/^absent: \Q$_\E \(package \Q$absent{$_}\E\)$/m, "$_ is absent, and named") for keys %absent;
like($table, qr/^futex2\s+1\.00\s/m, 'ratios to the limit come first');
like($table, qr/ms each, in turns$/m, 'and how it was measured is said');

is_deeply([grep { !$before{$_} && !of_another($_) } glob('/dev/shm/dcm-bench-*')], [],
	  'nothing is left');
done_testing();

# Another run at the same time has living processes that map what is there, or goes away.
sub of_another {
	my ($directory) = @_;
	for (1 .. 20) {
		return 1 unless -e $directory;
		return 1 if grep { readable($_) =~ /\Q$directory\E/ } glob('/proc/[0-9]*/maps');
		select(undef, undef, undef, 0.1);
	}
	return 0;
}

sub readable {
	my ($path) = @_;
	open(my $file, '<', $path) or return '';
	local $/;
	return <$file> // '';
}
