#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# Everything compiles with gcc without a warning; installed, it is what a user's program needs, and
# no more.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Run;
use Test::More;

my $prefix = '/opt/dcm';
my $tmp = scratch('user');
my $root = "$tmp/root";

my $manifest = configure_ok('gcc', "--cc=gcc --werror --prefix=$prefix --libdir=lib/multi");
if (!$manifest || !defined ninja_ok($manifest, 'all', 'gcc has no warning')) {
	done_testing();
	exit;
}
run_ok("DESTDIR='$root' ninja -f $manifest install", 'install with DESTDIR');

# What is there.
my @headers = map { s{^api/include/}{}r } sort split(' ', qx(find api/include -name '*.h'));
my @libraries = map { "lib/multi/$_" } qw(libdcm.a libdcm.so libdcm.so.0 pkgconfig/dcm.pc);
my @tools = map { /dcm-[^_]*$/ ? "bin/$_" : () }
	map { s{^tools/(.*)\.c$}{$1}r } glob('tools/dcm-*.c');
my @pages = map { m{([^/]+)(\d)\.scd$} ? "share/man/man$2/$1$2" : () }
	glob('api/man/*.scd tools/*.scd');
my @wanted = sort((map { "include/$_" } @headers), @libraries, @tools, @pages);
my @seen = sort map { s{^\Q$root$prefix\E/}{}r } split(/\n/, qx(find '$root' ! -type d));
is_deeply(\@seen, \@wanted, 'exactly headers, libraries, dcm.pc, tools and pages are installed');
is(readlink("$root$prefix/lib/multi/libdcm.so"), 'libdcm.so.0', 'libdcm.so is a link');

# What it exports.
my $map = slurp('api/dcm.map');
my @exports = sort($map =~ /^\t(\w+);/mg);
my %kind = map { (split)[2, 1] } grep { / [A-Z] / }
	split(/\n/, qx(nm -D --defined-only '$root$prefix/lib/multi/libdcm.so.0'));
my @nodes = grep { $kind{$_} eq 'A' } sort keys %kind;
is_deeply(\@nodes, ['DCM_0.1'], 'one version node');
delete @kind{@nodes};
is_deeply([sort keys %kind], [map { "$_\@\@DCM_0.1" } @exports], 'symbols are those of dcm.map');
my @declared = map { (slurp("api/include/$_") =~ /^DCM_API [^;]*?\b(\w+)\(/mg) } @headers;
is_deeply([sort @declared], \@exports, 'headers declare those of dcm.map');
# The compiler's own global names would be those of a program that it compiles as one whole, too.
my %exported = map { $_ => 1 } @exports;
my @others = grep { !$exported{$_} && !/^dcm_/ } map { / [A-UX-Z] (\S+)$/ ? $1 : () }
	split(/\n/, qx(nm -g --defined-only '$root$prefix/lib/multi/libdcm.a'));
is_deeply(\@others, [], 'other names of libdcm.a begin with dcm_');
my $dynamic = qx(readelf -dW '$root$prefix/lib/multi/libdcm.so.0');
like($dynamic, qr/SONAME.*\[libdcm\.so\.0\]/, 'its soname');
like($dynamic, qr/NODELETE/, 'it is never unloaded');
unlike($dynamic, qr/RPATH|RUNPATH/, 'it names no directory');

# What pkg-config says.
$ENV{PKG_CONFIG_PATH} = "$root$prefix/lib/multi/pkgconfig";
$ENV{PKG_CONFIG_SYSROOT_DIR} = $root;
my $flags = run_ok('pkg-config --cflags --libs dcm', 'pkg-config') // '';
my $cflags = qx(pkg-config --cflags dcm) =~ s/\s+/ /gr;
my $static = run_ok('pkg-config --static --cflags --libs dcm', 'pkg-config --static') // '';
$flags =~ s/\s+/ /g;
$static =~ s/\s+/ /g;
is($flags, "-I$root$prefix/include -L$root$prefix/lib/multi -ldcm ", 'nothing is leaked');
my ($version) = slurp($manifest) =~ /^version = (\S+)/m;
is(qx(pkg-config --modversion dcm), "$version\n", 'its version is that of the headers');

# A program that uses every function.
my $table = join(",\n", map { "\t(function)$_" } @exports);
my $program = <<"END";
#include <dcm/dcm.h>
#include <stdio.h>
#include <string.h>

typedef void (*function)(void);
static const function functions[] = {
$table
};

int main(void)
{
	uint32_t version = DcmVersion();
	DcmMessage message;

	memset(&message, 0, sizeof(message));
	printf("%u.%u.%u %s %d %d\\n", version >> 16, version >> 8 & 255u, version & 255u,
	       RetcodeName(rcNotConnected), (int)DcmRelease(&message), DcmLastDetail() != NULL);
	return functions[0] == NULL;
}
END
spew("$tmp/user.c", $program);
spew("$tmp/user.cc", $program);
my $strict = '-Wall -Wextra -pedantic -Werror';
my @compilers = (
	[ 'gcc', 'c', [qw(c99 c11 c17)] ], [ 'g++', 'cc', [qw(c++11 c++20)] ],
	[ 'clang', 'c', [qw(c99 c11)] ], [ 'clang++', 'cc', [qw(c++11 c++20)] ],
);
for (@compilers) {
	my ($compiler, $suffix, $standards) = @$_;
	for my $standard (@$standards) {
		my $cc = "$compiler -std=$standard $strict";
		my $out = "$tmp/user-$compiler-$standard";
		run_ok("cd '$tmp' && $cc user.$suffix -o '$out' $flags", "$compiler $standard: shared");
		is(qx(LD_LIBRARY_PATH='$root$prefix/lib/multi' '$out'),
		   "$version rcNotConnected 0 1\n", "$compiler $standard: it runs");
		my $alone = 0;
		for my $header (@headers) {
			spew("$tmp/alone.$suffix", "#include <$header>\n#include <$header>\n");
			my ($status, $output) = run("cd '$tmp' && $cc $cflags -fsyntax-only alone.$suffix");
			$status == 0 ? $alone++ : diag("$header\n$output");
		}
		is($alone, scalar @headers, "$compiler $standard: each header alone");
	}
}
run_ok("cd '$tmp' && gcc -std=c99 $strict -static user.c -o user-static $static",
       'linked whole, without shared libraries');
is(qx('$tmp/user-static'), "$version rcNotConnected 0 1\n", 'it runs');

done_testing();
