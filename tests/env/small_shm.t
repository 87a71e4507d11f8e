#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# A /dev/shm of 64 KiB: the fabric is refused with what to do, and works elsewhere, channel and all.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Env;
use Test::More;

my $elsewhere = scratch();
my @options = ('--shm=64K', "--tmpfs=$elsewhere");

# What a participant answers to its commands, on the fabric that DCM_FABRIC says; null: by default.
sub answers {
	my ($fabric, @commands) = @_;
	my $set = defined $fabric ? "DCM_FABRIC='$fabric' " : '';
	my $lines = join('', map { "$_\\n" } @commands);
	my ($status, $output) = run("printf '$lines' | " . helper()
		. " @options -- env $set'@{[build_dir()]}/tests/cli/helper_party'");
	return split(/\n/, $output);
}

sub refused_ok {
	my ($fabric, $path, $name) = @_;
	my ($answer) = answers($fabric, 'init');
	like($answer, qr/^rcOutOfMemory no room for the fabric \Q$path\E/, "$name is refused by name");
	like($answer, qr/it needs \d{7,} bytes, the file system at \/dev\/shm has 65536/,
		'with the sizes');
	like($answer, qr/--shm-size.*DCM_FABRIC/, 'and with what to do');
}

if (is_to_be_had('a /dev/shm of 64 KiB', @options)) {
	refused_ok('/dev/shm/dcm-env-test', '/dev/shm/dcm-env-test', 'a fabric by path');
	if (-d "/run/user/$>") {
		note("user $> has a /run/user/$>: the default is not in /dev/shm");
	} else {
		refused_ok("env-test-$$", "/dev/shm/dcm-$>-env-test-$$", 'a fabric by name');
		refused_ok(undef, "/dev/shm/dcm-$>-default", 'the default');
	}
	my @all = answers("$elsewhere/fabric", 'init', "publish\\ttest.Small\\tn",
		"ask\\ttest.Small\\tn", 'listen', 'accept', 'connect', 'fini');
	is_deeply([map { /^(\w+)/ } @all], [qw(rcOk rcOk rcTimeout rcOk rcOk rcOk rcOk)],
		'elsewhere it works, a channel too') or diag(join("\n", @all));
}
done_testing();
