#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# dcm_api(7) has every function and event of the base API, of its neighbours, of groups and of one-call
# connect, and for each statement a result of a test: words that stand in one place of that test, in
# what it says of a result, so that they mean one result and no other.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Run;
use Test::More;

my $page = slurp('api/man/dcm_api.7.scd');
my $header = join('', map { slurp("api/include/$_") }
	qw(dcm/dcm_api.h dcm/groups/pub.h dcm/groups/subscr.h dcm/helpers/connect.h
	   coresrv/handle/handle_api.h coresrv/handle/notice_api.h coresrv/task/task_api.h));
my $types = slurp('api/include/dcm/types.h');

# A test without comments, literals that follow each other as one, and space as one space.
my %sources;
sub source {
	my ($path) = @_;
	return $sources{$path} if exists $sources{$path};
	my $text = slurp("tests/$path.c") // slurp("tests/$path.t");
	if (defined $text) {
		$text =~ s{/\*.*?\*/}{}sg;
		$text =~ s{"\s*\n\s*"}{}g;
		$text =~ s{\s+}{ }g;
	}
	return $sources{$path} = $text;
}

# Is that all of one literal, or a piece of it, or of a call that is itself what a result says?
sub says {
	my ($text, $words) = @_;
	my @literals = grep { index($_, $words) >= 0 } $text =~ /"((?:[^"\\]|\\.)*)"/g;
	my @calls = grep { index($_, $words) >= 0 } $text =~ /\b((?:BAD|lacks)\(.*?\);)/g;
	my @whole = grep { $_ eq $words } @literals;
	@literals = @whole if @whole == 1;
	return @literals + @calls == 1;
}

# Left: what is stated; right: "program: words; program: words".
my (%named, $statements);
while ($page =~ /^[|\[]\[ (.*)\n:\[ (.*)\n/mg) {
	my ($statement, $proofs) = ($1, $2);
	$named{$_} = 1 for $statement =~ /\b((?:Dcm|Kn|Kos|DCM_|EVENT_)\w+)/g;
	next if $proofs eq '*proof*';
	$statements++;
	for my $proof (split(/; /, $proofs)) {
		my ($program, $words) = $proof =~ /^([\w\/]+): (.+)$/;
		my $path = defined $program && $program =~ m{/} ? $program : 'api/' . ($program // '');
		my $source = source($path);
		ok(defined $source && $words =~ /\W/ && says($source, $words),
		   "$statement: $proof");
	}
}
cmp_ok($statements, '>', 50, 'statements');
ok($named{$_}, "it has $_") for $header =~ /^DCM_API \w+ \*?(\w+)\(/mg;
ok($named{$_}, "it has $_")
	for "$header$types" =~
	/define ((?:DCM_(?:PUBLICATION_CHANGED|CLIENT_\w+|BLOCKING_\w+)|EVENT_\w+))/g;
done_testing();
