#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# tsan: no (several processes: it sees one of them at a time)
# dcm-bench events: it runs, and what it prints is JSON. No time is asserted.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Bench;
use JSON::PP;
use Test::More;

my ($status, $help) = run('--help');
like($help, qr/^ events /m, 'dcm-bench --help names it');
($status, $help) = run('events', '--help');
is($status, 0, 'dcm-bench events --help');
my ($list) = $help =~ /^What is measured:\n((?: .*\n)+)/m;
my @names = map { /^ (\S+)/ } split(/\n/, $list // '');
ok(@names > 5, 'says what is measured');

($status, my $json) = run(qw(events --rounds 3 --json));
is($status, 0, 'it runs');
my $data = eval { decode_json($json) } // {};
is($@, '', 'and prints JSON');
is($data->{schema}, 'dcm-bench-events/1', 'of a known schema');
is_deeply([map { $_->{name} } @{ $data->{rows} }], \@names, 'with a row for each');
for (@{ $data->{rows} }) {
	is($_->{samples}, 3, "$_->{name}: all samples");
	ok($_->{p50_ns} > 0 && $_->{p50_ns} <= $_->{p99_ns} && $_->{p99_ns} <= $_->{max_ns},
	   'in order');
}
ok(defined $data->{$_}, "$_ is said")
	for qw(machine compiler cpu cpu_servers canary_before_ns canary_after_ns);
($status, my $table) = run(qw(events --rounds 2));
is($status, 0, 'it runs without --json');
like($table, qr/^\Q$_\E\s+[\d.]+\s/m, "the table has $_") for @names;
done_testing();
