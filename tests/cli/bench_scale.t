#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# tsan: no (several processes: it sees one of them at a time)
# dcm-bench scale and memory: they run, and what they print is JSON. No time is asserted.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Bench;
use JSON::PP;
use Test::More;

my ($status, $help) = run('--help');
like($help, qr/^ $_ /m, "dcm-bench --help names $_") for qw(scale memory);
for my $which (qw(scale memory)) {
	($status, $help) = run($which, '--help');
	is($status, 0, "dcm-bench $which --help");
	like($help, qr/--json/, 'says what it takes');
}

my @few = split / /, '--runs 3 --endpoints 10,50 --matches 1,20 --sessions 1,5 --processes 8,10';
($status, my $json) = run('scale', @few, '--json');
is($status, 0, 'scale runs');
my $data = eval { decode_json($json) } // {};
is($@, '', 'and prints JSON');
is($data->{schema}, 'dcm-bench-scale/1', 'of a known schema');
my %rows;
push @{ $rows{"$_->{name} $_->{of}"} }, $_ for @{ $data->{rows} };
my %n = (endpoints => [10, 50], matches => [1, 20], sessions => [1, 5], processes => [8, 10]);
for my $kind ('pair endpoints', 'subscribe endpoints', 'request endpoints', 'by-name matches',
	'back-fill matches', 'resync matches', 'connect sessions', 'connect processes',
	'call sessions') {
	my $rows = delete $rows{$kind} // [];
	my ($of) = $kind =~ /(\S+)$/;
	is_deeply([map { $_->{n} } @$rows], $n{$of}, "$kind: a row for each");
	is($rows->[0]{ratio}, 1, 'the first is what the others are compared with');
	ok($_->{p50_ns} > 0 && $_->{p50_ns} <= $_->{max_ns} && $_->{runs} == 3, 'in order')
		for @$rows;
}
is_deeply([keys %rows], [], 'and no more');
ok(defined $data->{$_}, "$_ is said")
	for qw(machine compiler cpu cpu_others canary_before_ns canary_after_ns);
($status, my $table) = run('scale', @few);
is($status, 0, 'scale runs without --json');
like($table, qr/^pair\s+10 endpoints\s+1\.00/m, 'with its ratios first');

($status, $json) = run(qw(memory --count 20 --json));
is($status, 0, 'memory runs');
$data = eval { decode_json($json) } // {};
is($@, '', 'and prints JSON');
is($data->{schema}, 'dcm-bench-memory/1', 'of a known schema');
is(join(' ', map { $_->{name} } @{ $data->{rows} }),
   'process endpoint subscription connection listener handle notice channel channel',
   'with a row for each');
ok($data->{segment_bytes} > 1 << 20, 'the segment is there');
ok($data->{channel_committed_bytes} >= 65536, 'and what a channel has committed');
($status, $table) = run(qw(memory --count 20));
is($status, 0, 'memory runs without --json');
like($table, qr/^channel\s+\d+\s+\d+/m, 'the table has channels');
done_testing();
