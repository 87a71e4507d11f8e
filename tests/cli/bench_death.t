#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# tsan: no (several processes: it sees one of them at a time)
# dcm-bench death: it runs, what it prints is JSON, and nothing of it stays. No time is asserted.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Bench;
use JSON::PP;
use Test::More;

my ($status, $help) = run('--help');
is($status, 0, 'dcm-bench --help');
like($help, qr/^ death /m, 'names its subcommands');
($status, $help) = run('death', '--help');
is($status, 0, 'dcm-bench death --help');
like($help, qr/^ $_ /m, "says what is measured of $_") for qw(call connect listen read);

my %before = map { $_ => 1 } glob('/dev/shm/dcm-bench-*');
($status, my $json) = run(qw(death --rounds 3 --resident 0 --json --callers), '1,3');
is($status, 0, 'dcm-bench death runs');
my $data = eval { decode_json($json) } // {};
is($@, '', 'and prints JSON');
is($data->{schema}, 'dcm-bench-death/1', 'of a known schema');
is_deeply([map { "$_->{call} $_->{callers}" } @{ $data->{rows} }],
	  [map { my $n = $_; map { "$_ $n" } qw(call connect listen read) } 1, 3],
	  'with a row for each call and number of callers');
for my $row (@{ $data->{rows} }) {
	for my $kind (qw(dcm raw)) {
		my $of = $row->{$kind};

		is($row->{p99_is_max}, JSON::PP::true, 'so few that p99 is the maximum') if $kind eq 'dcm';
		is($of->{samples}, 3 * $row->{callers}, "$row->{call}: a sample of each caller");
		ok($of->{p50_ns} > 0 && $of->{p50_ns} <= $of->{p99_ns} &&
			   $of->{p99_ns} <= $of->{max_ns},
		   'in order');
	}
}

# The same question to others.
($status, $json) = run(qw(death --resident 0 --runs 1 --duration 20 --json --peers), 'dcm,unix-seqpacket,futex');
is($status, 0, 'dcm-bench death --peers runs');
my $peers = eval { decode_json($json) } // {};
is($@, '', 'and prints JSON');
is($peers->{schema}, 'dcm-bench-death-peers/1', 'of a known schema');
my %knows = map { $_->{name} => $_->{runs}[0]{count} } @{ $peers->{cells}[0]{peers} };
is(join(' ', sort keys %knows), 'dcm unix-seqpacket', 'of those that can be told of it');
ok($knows{$_} > 0, "a caller of $_ was told") for sort keys %knows;

ok(defined $data->{$_}, "$_ is said")
	for qw(machine compiler cpu_callers cpu_victim canary_before_ns canary_after_ns);
is_deeply([grep { !$before{$_} && -e "$_/fabric" && !fabric_of_another($_) }
		   glob('/dev/shm/dcm-bench-*')],
	  [], 'no fabric is left');
done_testing();

# Another run at the same time has a living process that maps it.
sub fabric_of_another {
	my ($directory) = @_;
	return scalar grep { /\Q$directory\E/ } map { readable("$_/maps") } glob('/proc/[0-9]*');
}

sub readable {
	my ($path) = @_;
	open(my $file, '<', $path) or return '';
	local $/;
	return <$file> // '';
}
