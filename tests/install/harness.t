#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# tests/tap.c itself: what is wrong is seen, and what is right is not called wrong.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Run;
use Test::More;

my $tmp = scratch('harness');
my $program = <<'END';
#define _GNU_SOURCE
#include "tests/tap.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *many(void *unused)
{
	for (int i = 0; i < 1000; i++)
		ok(1, "result %d", i);
	return unused;
}

static void good(void)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, many, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	if (fork() == 0) {
		ok(1, "from a child");
		exit(0);
	}
	wait(NULL);
	is_bool(2, 1, "is_bool");
	is_int(-1, -1, "is_int");
	is_uint(UINT64_MAX, UINT64_MAX, "is_uint");
	is_hex(16, 0x10, "is_hex");
	is_string("a", "a", "is_string");
	is_string(NULL, NULL, "is_string of nothing");
	is_blob("ab", "ab", 3, "is_blob");
	skip("no reason %d", 1);
	skip_block(2, "no reason");
	tap_fabric_dir();
	note("%s %s", tap_fabric_dir(), getenv("DCM_FABRIC"));
	note("scale %g, scaled %d", tap_scale(), (int)tap_scaled(100));
	note("again %d", tap_seed() == tap_seed());
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "good";

	if (strcmp(how, "none") == 0)
		skip_all("not %s", "here");
	if (strcmp(how, "planned") == 0)
		plan(3);
	else
		plan_lazy();
	if (strcmp(how, "good") == 0)
		good();
	else if (strcmp(how, "values") == 0)
		return is_int(1, 2, "is_int") + is_string("a", NULL, "is_string") +
		       is_blob("ab", "ac", 2, "is_blob") + (int)(tap_seed() & 0);
	else if (strcmp(how, "child fails") == 0 && fork() == 0)
		ok(0, "in the child"), _exit(0);
	else if (strcmp(how, "descriptor") == 0)
		open("/dev/null", O_RDONLY);
	else if (strcmp(how, "child stays") == 0 && fork() == 0)
		execlp("sleep", "sleep", "600", (char *)NULL);
	else if (strcmp(how, "hangs") == 0)
		tap_watchdog(1), fork(), pause();
	else if (strcmp(how, "dies") == 0)
		die("no use");
	else if (strcmp(how, "bails") == 0)
		bail("broken machine");
	else if (strcmp(how, "crashes") == 0)
		abort();
	if (strcmp(how, "child fails") == 0)
		wait(NULL);
	return 0;
}
END
spew("$tmp/harness.c", $program);
my $cc = 'gcc -std=c11 -Wall -Wextra -O2 -pthread -I.';
my $compile = "$cc '$tmp/harness.c' tests/tap.c -o '$tmp/harness.t'";
if (!defined run_ok($compile, 'a program that tests nothing')) {
	done_testing();
	exit;
}

sub of {
	my ($how, $environment) = @_;
	return run(($environment // '') . " '$tmp/harness.t' '$how'");
}

my ($status, $output) = of('good', 'DCM_TEST_SEED=7 DCM_TEST_SCALE=0.5');
is($status, 0, 'good results, exit status');
my @numbered = $output =~ /^ok - /mg;
my ($plan) = $output =~ /^1\.\.(\d+)$/m;
is(scalar @numbered, $plan, 'as many results as the plan says');
is($plan, 4000 + 1 + 7 + 3 + 1, 'of all threads, and of the child');
unlike($output, qr/not ok/, 'none is bad');
my ($dir) = $output =~ m{^# (/dev/shm/dcm-test-\w+) \1/fabric$}m;
ok($dir && !-e $dir, 'the directory of the fabric is gone');
like($output, qr/^# seed 7$/m, 'the seed is that of the environment');
like($output, qr/^# scale 0\.5, scaled 50$/m, 'and so is the scale');
run_ok("prove '$tmp/harness.t'", 'prove agrees');

my %bad = (
	'values' => qr/wanted: 1, seen: 2.*seen:\s+\(null\).*at byte 1 of 2.*DCM_TEST_SEED=\d+/s,
	'child fails' => qr/^not ok - in the child$/m,
	'descriptor' => qr{descriptor \d+ is left open: /dev/null},
	'child stays' => qr/a child is still running; killed/,
	'planned' => qr/3 results were planned, 0 came/,
	'hangs' => qr/^not ok - the watchdog/m,
	'dies' => qr/^not ok - no use$/m,
	'bails' => qr/^Bail out! broken machine$/m,
	'crashes' => qr/^/,
);
for my $how (sort keys %bad) {
	my $now = time;
	($status, $output) = of($how);
	isnt($status, 0, "$how: exit status");
	like($output, $bad{$how}, "$how: says so");
	cmp_ok(time - $now, '<', 300, "$how: nothing is waited for") if $how eq 'child stays';
	isnt((run("prove '$tmp/harness.t' :: '$how'"))[0], 0, "$how: prove fails");
}
($status, $output) = of('none');
is($status, 0, 'skip_all, exit status');
is($output, "1..0 # SKIP not here\n", 'skip_all, output');

done_testing();
