#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# dcm_api(7) has every function and event of the base API, of groups and of one-call connect, and the
# tests that it names are there.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Run;
use Test::More;

my $page = slurp('api/man/dcm_api.7.scd');
my $header = join('', map { slurp("api/include/dcm/$_") }
	qw(dcm_api.h groups/pub.h groups/subscr.h helpers/connect.h));
my $types = slurp('api/include/dcm/types.h');

# Left: what is stated; right: "program: words; program: words".
my (%named, $statements);
while ($page =~ /^[|\[]\[ (.*)\n:\[ (.*)\n/mg) {
	my ($statement, $proofs) = ($1, $2);
	$named{$_} = 1 for $statement =~ /\b((?:Dcm|Kn|Kos|DCM_)\w+)/g;
	next if $proofs eq '*proof*';
	$statements++;
	for my $proof (split(/; /, $proofs)) {
		my ($program, $words) = $proof =~ /^([\w\/]+): (.+)$/;
		my $path = defined $program && $program =~ m{/} ? $program : 'api/' . ($program // '');
		my $source = slurp("tests/$path.c") // slurp("tests/$path.t");
		ok(defined $source && index($source, $words) >= 0, "$statement: $proof");
	}
}
cmp_ok($statements, '>', 50, 'statements');
ok($named{$_}, "it has $_") for $header =~ /^DCM_API \w+ (\w+)\(/mg;
ok($named{$_}, "it has $_")
	for "$header$types" =~ /define (DCM_(?:PUBLICATION_CHANGED|CLIENT_\w+|BLOCKING_\w+))/g;
done_testing();
