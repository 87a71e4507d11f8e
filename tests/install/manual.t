#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# The manual pages build without a word, and say of settings and options what the programs do.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Cwd qw(getcwd);
use Run;
use Test::More;

my $build = $ENV{DCM_BUILD_DIR} // getcwd() . '/build';

# They build.
my %page;
for my $source (glob('api/man/*.scd tools/*.scd')) {
	my ($name) = $source =~ m{([^/]+)\.scd$};
	my ($status, $output) = run("scdoc < '$source' > /dev/null");
	is("$status $output", '0 ', "$name: scdoc has nothing to say");
	is(slurp("$build/man/$name") =~ s/^\.TH .*//mr, qx(scdoc < '$source') =~ s/^\.TH .*//mr,
	   "$name: is what was built");
	$page{$name} = slurp($source);
	SKIP: {
		skip('there is no man', 1) if !defined((grep { -x "$_/man" } split(/:/, $ENV{PATH}))[0]);
		($status, $output) = run("man -l --warnings=w '$build/man/$name' 2>&1 >/dev/null");
		is($output, '', "$name: the formatter has no warning");
	}
}
is_deeply([sort keys %page], [qw(dcm-files.1 dcm-shmdump.1 dcm.7 dcm_api.7)], 'the library and each tool');

# Every entry "*NAME*" of a section, with its text on one line.
sub entries {
	my ($page, $section) = @_;
	my ($part) = $page =~ /^# \Q$section\E\n(.*?)(?=^# |\z)/ms;
	my %entry;
	while (($part // '') =~ /^\*([^*\n]+)\*\n((?:\t.*\n)+)/mg) {
		my ($name, $text) = ($1, $2);
		$entry{$name} = $text =~ s/\s+/ /gr;
	}
	return \%entry;
}

# A number in C: decimal, or with a shift, or DCM_NAME of a header.
my $headers = join('', map { slurp($_) } glob('shm/*.h'));
sub value {
	my ($text) = @_;
	while ($text =~ /(DCM_\w+)/) {
		my $name = $1;
		my ($number) = $headers =~ /(?:define\s+$name\s+|\b$name\s*=\s*)([^,\/\n]+)/ or return $text;
		$text =~ s/$name/$number/;
	}
	$text =~ s/(\d)u?l?l?\b/$1/g;
	return $text =~ /^[\d\s<()*]+$/ ? eval($text) : $text;
}

# Settings of the library: those that the sources read.
my $settings = entries($page{'dcm.7'}, 'ENVIRONMENT');
my $readme = slurp('README.md');
my $source = slurp('api/settings.c');
my $sources = join('', map { slurp($_) } glob('api/*.c shm/*.c'));
my %read = map { $_ => 1 } ($source =~ /"(DCM_[A-Z_]+)"/g),
	($sources =~ /getenv\("(\w+)"\)/g);
is_deeply([sort keys %$settings], [sort keys %read], 'dcm(7) has every variable, and no other');
for my $name (sort keys %read) {
	like($settings->{$name} // '', qr/Default: /, "dcm(7) has the default of $name");
	like($readme, qr/^\| `$name` \|/m, "README.md has $name");
}

# The same bounds and defaults in the sources, in the page, and in the README.
sub bounds_ok {
	my ($name, $least, $most, $default) = @_;
	my $text = $settings->{$name} // '';
	like($text, qr/\b$least to $most\b/, "dcm(7): $name is $least to $most");
	like($text, qr/Default: $default[.,](?: |$)/, "dcm(7): $name is $default by default");
	like($readme, qr/^\| `$name` \| $default\b/m, "README.md: likewise");
}
my ($capacity) = $headers =~ /define DCM_CAPACITY_DEFAULT(.*?)\)\n/s;
my %default = $capacity =~ /\.(\w+) = (\d+)/g;
my $tables = 0;
while ($source =~ /\{ "(DCM_MAX_\w+)", &c->(\w+), (\w+) \}/g) {
	my ($name, $of, $most) = ($1, $2, value($3));
	bounds_ok($name, 1, $most, $default{$of});
	like($readme, qr/^\| `$name` .*\bto $most\b/m, "README.md: its bound");
	$tables++;
}
is($tables, 5, 'tables');
while ($source =~ /read_number\("(DCM_\w+)",\s*([^,]+),\s*([^,]+),/g) {
	my %of = (DCM_MAX_HINTS => 1 << $default{ring_shift},
		  DCM_MAX_GIFTS => 1 << $default{gift_shift},
		  DCM_USER_SHARE => 100,
		  DCM_MAX_CHANNEL_BYTES => value('DCM_CHANNEL_BYTES_DEFAULT'));
	my ($name, $least, $most) = ($1, $2, $3);
	bounds_ok($name, value($least), value($most), $of{$name});
}
my ($words) = $source =~ /words\[\] = \{(.*?)\};/s;
like($settings->{DCM_TRANSFER}, qr/\*$_\*/, "dcm(7): DCM_TRANSFER=$_") for $words =~ /\{ "(\w+)"/g;

# Tools: options of the page are those of --help, and so are their variables.
for my $tool (qw(dcm-files dcm-shmdump)) {
	my ($status, $help) = run("'$build/$tool' --help");
	my %of = map { $_ => 1 } $help =~ /^ *(?:-\w, )?(--[a-z-]+)/mg;
	my %in = map { $_ => 1 } $page{"$tool.1"} =~ /^(?:\*-\w\*, )?\*(--[a-z-]+)\*/mg;
	is_deeply([sort keys %in], [sort keys %of], "$tool(1): the options");
	my %short = map { $_ => 1 } $help =~ /^ *(-\w, --[a-z-]+)/mg;
	%in = map { $_ => 1 } map { s/\*//gr } $page{"$tool.1"} =~ /^(\*-\w\*, \*--[a-z-]+\*)/mg;
	is_deeply([sort keys %in], [sort keys %short], "$tool(1): their short forms");
	my $variables = entries($page{"$tool.1"}, 'ENVIRONMENT');
	my $tools = join('', map { slurp($_) } glob("tools/$tool*.c"));
	my %used = map { $_ => 1 } $tools =~ /getenv\("(\w+)"\)/g;
	is_deeply([sort keys %$variables], [sort keys %used], "$tool(1): the variables");
}

like($readme, qr{\]\($_\)}, "README.md links $_") for glob('api/man/*.scd tools/*.scd');
done_testing();
