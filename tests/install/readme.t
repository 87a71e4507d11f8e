#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# The README's servers and client compile without a warning, by its own commands, and understand each
# other, whichever starts first.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Cwd qw(getcwd);
use File::Temp qw(tempdir);
use POSIX qw(dup2);
use Run;
use Test::More;

my $top = getcwd();
my $build = $ENV{DCM_BUILD_DIR} // "$top/build";
my $tmp = scratch('readme');
my $fabric = tempdir('dcm-test-XXXXXX', DIR => '/dev/shm', CLEANUP => 1);
$ENV{DCM_FABRIC} = "$fabric/fabric";
$ENV{LD_LIBRARY_PATH} = $build;
$ENV{PKG_CONFIG_PATH} = $tmp;

# What pkg-config says of a library that is not installed.
my $pc = slurp("$build/dcm.pc") // BAIL_OUT("$build/dcm.pc: $!");
$pc =~ s{^libdir=.*}{libdir=$build}m;
$pc =~ s{^includedir=.*}{includedir=$top/api/include}m;
spew("$tmp/dcm.pc", $pc);

my $readme = slurp('README.md');
my %source = map { m{^/\* (\w+\.c) \*/\n} ? ($1 => $_) : () } $readme =~ /^```c\n(.*?)^```$/msg;
is_deeply([sort keys %source], [qw(client.c loop.c server.c)],
	  'README.md has a server.c, a client.c and a loop.c');
my ($commands) = grep { /^cc -o server/m } $readme =~ /^```sh\n(.*?)^```$/msg;
my @compile = ($commands // '') =~ /^(cc .*)$/mg;
is(scalar @compile, 3, 'and how to compile them');

my $built = 1;
for my $name (sort keys %source) {
	spew("$tmp/$name", $source{$name});
	my $code = grep { /\S/ } split(/\n/, $source{$name} =~ s{^/\* \S+ \*/\n}{}r);
	cmp_ok($code, "<=", 45, "$name is short ($code lines)");
	run_ok("cd '$tmp' && cc -std=c99 -Wall -Wextra -pedantic -Werror -fsyntax-only "
	       . "\$(pkg-config --cflags dcm) $name", "$name has no warning as C99");
}
for (@compile) {
	$built &&= defined run_ok("cd '$tmp' && $_", $_);
}

# Starts a program; the handle that its output comes from.
sub start {
	my ($name) = @_;
	my $pid = open(my $from, '-|') // BAIL_OUT("fork: $!");
	return { pid => $pid, from => $from, name => $name } if $pid;
	dup2(1, 2);
	alarm(120);
	exec("$tmp/$name") or POSIX::_exit(1);
}

sub done_ok {
	my ($program, $wanted, $name) = @_;
	local $/;
	my $output = readline($program->{from});
	close($program->{from});
	is($?, 0, "$name: $program->{name} ends well");
	is($output, $wanted, "$name: what $program->{name} says");
}

if ($built) {
	for my $order ([qw(client server)], [qw(server client)], [qw(client loop)], [qw(loop client)]) {
		my ($server) = grep { $_ ne 'client' } @$order;
		my $name = "$order->[0] first, $server";
		my %running;
		for my $program (@$order) {
			$running{$program} = start($program);
			select(undef, undef, undef, 0.2);
		}
		done_ok($running{client}, "HELLO\n", $name);
		done_ok($running{$server}, '', $name);
	}
}

done_testing();
