#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# tsan: no (several processes: it sees one of them at a time)
# dcm-shmdump: what it prints, of fabrics of all kinds, and its exit status.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use IO::Handle;
use IPC::Open2;
use IPC::Open3;
use JSON::PP;
use POSIX ();
use Symbol qw(gensym);
use Test::More;

my $top = $ENV{DCM_SOURCE_DIR} // abs_path(dirname(__FILE__) . '/../..');
my $build = $ENV{DCM_BUILD_DIR} // "$top/build";
my $dump = "$build/dcm-shmdump";
my $party = "$build/tests/cli/helper_party";
my $dir = tempdir('dcm-test-XXXXXX', DIR => '/dev/shm', CLEANUP => 1);
my $fabric = "$dir/fabric";
my %parties;

alarm 280;
delete @ENV{grep { /^DCM_(FABRIC|MAX|PROCESS)/ } keys %ENV};
@ENV{qw(LC_ALL DCM_FABRIC DCM_TRANSFER)} = ('C.UTF-8', $fabric, 'procfs');
# Small, so that images of it are.
my %sizes = (processes => 64, endpoints => 200, subscriptions => 50, connections => 100,
	     listeners => 20, gifts => 8);
$ENV{"DCM_MAX_\U$_"} = $sizes{$_} for keys %sizes;

# Runs dcm-shmdump; its exit status (-1: a signal), standard output and standard error.
sub dump_of {
	my (@arguments) = @_;
	my $err = gensym;
	my $pid = open3(my $in, my $out, $err, $dump, @arguments);
	close $in;
	binmode $_ for $out, $err;
	# Errors are a line or two: they fit into the pipe.
	my $stdout = do { local $/; <$out> } // '';
	my $stderr = do { local $/; <$err> } // '';
	waitpid($pid, 0);
	return ($? & 127 ? -1 : $? >> 8, $stdout, $stderr);
}

sub json_of {
	my ($status, $out) = dump_of('--json', @_);
	my $data = eval { decode_json($out) };
	diag($@) unless $data;
	return ($data, $status);
}

# A participant, and what it does.
sub start_party {
	my ($name) = @_;
	local $ENV{DCM_PROCESS_NAME} = $name;
	my $pid = open2(my $out, my $in, $party);
	$parties{$name} = { pid => $pid, in => $in, out => $out };
	is(tell_party($name, 'init'), 'rcOk', "$name attaches");
}

sub tell_party {
	my ($name, @words) = @_;
	my $p = $parties{$name};
	print { $p->{in} } join("\t", @words), "\n";
	$p->{in}->flush;
	my $answer = readline($p->{out}) // 'died';
	$answer =~ s/[ \n].*//s;
	return $answer;
}

sub kill_party {
	my ($name) = @_;
	my $p = delete $parties{$name};
	kill KILL => $p->{pid};
	waitpid($p->{pid}, 0);
}

sub end_party {
	my ($name) = @_;
	my $p = delete $parties{$name};
	close $p->{in};
	waitpid($p->{pid}, 0);
	is($?, 0, "$name ends");
}

sub slurp {
	my ($path) = @_;
	open(my $file, '<:raw', $path) or BAIL_OUT("$path: $!");
	local $/;
	return scalar <$file>;
}

sub spew {
	my ($path, $bytes) = @_;
	open(my $file, '>:raw', $path) or BAIL_OUT("$path: $!");
	print $file $bytes;
	close($file) or BAIL_OUT("$path: $!");
}

sub test_usage {
	my ($status, $out, $err) = dump_of('--help');
	is($status, 0, '--help');
	like($out, qr/^Usage: dcm-shmdump .*--check.*endpoints:/s, 'it says what there is');
	($status, $out) = dump_of('--version');
	like($out, qr/^dcm-shmdump \d+\.\d+\.\d+ \(layout \d+\)\n\z/, '--version');
	for (['--nonsense'], ['--table', 'nonsense'], ['--table', ''], ['--output', 'pid'],
	     ['--table', 'processes', '--output', 'nonsense'], ['--json', '--raw'], ['a', 'b'],
	     ['--table', 'processes,endpoints', '-o', 'pid'], ['--check', '--table', 'use']) {
		($status, $out, $err) = dump_of(@$_);
		is("$status$out", '1', "usage: @$_");
		like($err, qr/--help/, 'and where to look');
	}
}

sub test_nothing {
	my ($status, $out, $err) = dump_of();
	is("$status$out", '1', 'no fabric');
	like($err, qr/^dcm-shmdump: .*\Q$fabric\E/, 'it names the path it looked at');
	($status, $out, $err) = dump_of('--check', "$dir/none");
	is("$status$out", '1', 'no fabric to check');
	like($err, qr/\Q$dir\E\/none/, 'the argument is preferred');
	($status, $out, $err) = dump_of('no such name!');
	is("$status$out", '1', 'not a name');
	ok(!-e $fabric && !-e "$fabric.lock", 'nothing was made');
}

sub populate {
	start_party("serv\xc3\xa9r");
	is(tell_party("serv\xc3\xa9r", 'publish', 'files.X', $_), 'rcOk', "publish $_") for qw(one two);
	start_party('client');
	is(tell_party('client', 'subscribe', 'files.X'), 'rcOk', 'subscribe');
	is(tell_party('client', 'ask', 'none.Z', 'x'), 'rcTimeout', 'a parked request');
	is(tell_party('client', 'ask', 'files.X', 'one'), 'rcTimeout', 'a posted request');
	is(tell_party('client', 'ask', 'files.X', 'two'), 'rcTimeout', 'another');
	is(tell_party("serv\xc3\xa9r", 'listen'), 'rcOk', 'listen');
	is(tell_party("serv\xc3\xa9r", 'accept'), 'rcOk', 'accept');
	is(tell_party('client', 'connect'), 'rcOk', 'connect');
}

sub test_json {
	my ($all, $status) = json_of();
	is($status, 0, 'JSON');
	is($all->{schema}, 'dcm-shmdump/1', 'its schema');
	my ($f) = @{$all->{fabric}};
	is($f->{path}, $fabric, 'the path');
	is($f->{'this-boot'}, 'yes', 'made in this boot');
	like($f->{uuid}, qr/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, 'a UUID');
	is($f->{requests}, 3, 'three requests so far');
	is_deeply({ map { $_->{table} => $_->{use} } @{$all->{use}} },
		  { processes => '2/64', endpoints => '2/200', subscriptions => '1/50',
		    connections => '3/100', listeners => '1/20', gifts => '2/8' }, 'how full it is');
	my %process = map { $_->{name} => $_ } @{$all->{processes}};
	my ($server, $client) = @process{"serv\x{e9}r", 'client'};
	is($client->{pid}, $parties{client}{pid}, 'the pid of the client');
	is($client->{uid}, $<, 'its user');
	is_deeply([map { $server->{$_} } qw(state endpoints subscriptions connections listeners)],
		  ['alive', 2, 0, 1, 1], 'what the server has');
	is_deeply([map { $client->{$_} } qw(state endpoints subscriptions connections listeners)],
		  ['alive', 0, 1, 3, 0], 'what the client has');
	is_deeply([map { join '/', @$_{qw(state type name server pid waiting)} } @{$all->{endpoints}}],
		  ["live/files.X/one/serv\x{e9}r/$server->{pid}/1",
		   "live/files.X/two/serv\x{e9}r/$server->{pid}/0"], 'endpoints');
	my ($s) = @{$all->{subscriptions}};
	is_deeply([@$s{qw(state pid interface ring)}], ['active', $client->{pid}, 'files.X', 256],
		  'a subscription');
	is_deeply([map { join '/', $_->{state}, $_->{'client-pid'}, $_->{'server-pid'} // '-',
			 $_->{type}, $_->{name}, $_->{transfer} } @{$all->{connections}}],
		  ["parked/$client->{pid}/-/none.Z/x/procfs",
		   "posted/$client->{pid}/$server->{pid}/files.X/one/procfs",
		   "open/$client->{pid}/$server->{pid}/files.X/two/procfs"], 'connections');
	my ($channel) = @{$all->{channels}};
	is_deeply([@$channel{qw(state client-pid server-pid bytes listener transfer)}],
		  ['open', $client->{pid}, $server->{pid}, '64M', 0, 'procfs'], 'a channel');
	is_deeply([map { "$_->{pid}/$_->{channels}" } @{$all->{listeners}}], ["$server->{pid}/1"],
		  'a listener');
	# Each has its place by a key that is drawn: in no order.
	is_deeply([sort map { "$_->{state}/$_->{pid}" } @{$all->{gifts}}],
		  [sort map { "given/$_->{pid}" } $server, $client], 'what they show themselves by');
	is_deeply([map { $_->{gifts} } $server, $client], [1, 1], 'one each');
	is_deeply($all->{stuck}, [], 'nothing hangs');
	my ($bytes) = json_of('--bytes', '--table', 'channels');
	is($bytes->{channels}[0]{bytes}, 64 << 20, '--bytes');
	is_deeply([sort keys %$bytes], ['channels', 'schema'], '--table');
}

sub test_text {
	my ($status, $out, $err) = dump_of();
	is("$status$err", '0', 'text');
	like($out, qr/^path: +\Q$fabric\E$/m, 'the path');
	like($out, qr/^endpoints: 2\nSLOT .*\n.* live .* one /m, 'a table with its heading');
	unlike($out, qr/^stuck/m, 'empty tables are left out');
	unlike($out, qr/\e/, 'no colour');
	($status, $out) = dump_of('-n', '-t', 'processes', '-o', 'NAME,state');
	is($out =~ s/ +/ /gr, "serv\xc3\xa9r alive\nclient alive\n", '--noheadings and --output');
	($status, $out) = dump_of('--raw', '-t', 'connections', '-o', 'ticket,state');
	is($out, "TICKET STATE\n0 parked\n1 posted\n2 open\n", '--raw');
	($status, $out) = dump_of('-t', 'fabric', '-o', 'layout');
	like($out, qr/^layout: \d+\n\z/, 'one line of the fabric');
	($status, $out) = dump_of('-t', 'stuck,use');
	like($out, qr/^stuck: 0\n.*use: 6\n/s, 'an empty table that was asked for');
	{
		local $ENV{LC_ALL} = 'C';
		($status, $out) = dump_of();
		unlike($out, qr/[^\n -~]/, 'ASCII where the locale has no more');
	}
	is(system("'$dump' > /dev/full 2> '$dir/full'") >> 8, 1, 'a full disk');
	like(slurp("$dir/full"), qr/^dcm-shmdump: cannot write: /, 'it says so');
}

# Until it says so; the alarm ends what never does.
sub wait_for_check {
	my ($wanted) = @_;
	my ($data, $status);
	do {
		($data, $status) = json_of('--check');
		return unless $data;
	} while ($data->{verdict} ne $wanted);
	return ($data, $status);
}

sub test_deaths {
	my ($status, $out) = dump_of('--check');
	is($status, 0, 'all in order');
	like($out, qr/^consistent; nothing belongs to the dead \(\Q$fabric\E\)\n\z/, 'it says so');
	my $server = $parties{"serv\xc3\xa9r"}{pid};
	kill_party('client');
	my ($data, $code) = wait_for_check('consistent');
	is($code, 0, 'the server cleaned up after the client');
	my ($left) = json_of('-t', 'connections,subscriptions,processes');
	is(@{$left->{connections}} + @{$left->{subscriptions}}, 0, 'nothing is left of it');
	kill_party("serv\xc3\xa9r");
	($data, $code) = wait_for_check('dead');
	is($code, 2, 'nobody cleaned up after the server');
	is_deeply([@$data{qw(schema damaged)}], ['dcm-shmdump/1', 0], 'no damage');
	is($data->{dead}, @{$data->{findings}}, 'all that was found is of the dead');
	my %tables = map { $_->{table} => 1 } @{$data->{findings}};
	is_deeply([sort keys %tables], [qw(endpoint gift listener process)], 'of these tables');
	($left) = json_of('-t', 'processes');
	is_deeply([map { "$_->{pid} $_->{state}" } @{$left->{processes}}], ["$server dead"], 'dead');
	($status, $out) = dump_of('--check');
	is($status, 2, 'the same as text');
	like($out, qr/^dead +endpoint .*its owner is dead$/m, 'a finding');
	like($out, qr/^consistent; of the dead: \d+ findings \(/m, 'a verdict');
}

sub test_colour {
	SKIP: {
		skip('no script(1) here', 3) if system('script --version > /dev/null 2>&1') != 0;
		my $on_terminal = sub {
			return qx(script -qec '$_[0]$dump -t processes' /dev/null < /dev/null);
		};
		local $ENV{TERM} = 'xterm';
		delete local $ENV{NO_COLOR};
		like($on_terminal->(''), qr/\e\[31m.*dead/, 'the dead are red on a terminal');
		my $plain = $on_terminal->('NO_COLOR=1 ');
		like($plain, qr/dead/, 'NO_COLOR');
		unlike($plain, qr/\e\[31m/, 'is kept');
	}
}

# Whatever the bytes: nothing that a terminal obeys, JSON that parses, an exit status that fits.
sub robust {
	my ($what, $path) = @_;
	my ($status, $out, $err) = dump_of($path);
	my $bad = $status == -1 || ($out . $err) =~ /[^\n\x20-\x7e\x80-\xff]/;
	$bad ||= !eval { my $text = $out; utf8::decode($text) };
	my $data;
	for (['--json'], ['--check', '--json']) {
		($status, $out) = dump_of(@$_, $path);
		$data = eval { decode_json($out) };
		$bad ||= !$data || ($status != 0 && $status != 2);
	}
	ok(!$bad, $what);
	return "$status$data->{verdict}";
}

sub test_names {
	my $image = slurp($fabric);
	my $at = index($image, "files.X\0");
	my $server = index($image, "serv\xc3\xa9r\0");
	ok($at > 4096 && $server > 4096, 'names are found in the file');
	for ("\e[31mred", "a\"b\\c", "\xff\xfe\xfd", "\xc2\x9b31m", "\xe2\x80\xae", "a\nb\tc", '%s%n%s',
	     "\x7f\x08\x08", "\xed\xa0\x80", "\xf4\x90\x80\x80", "{\"a\":1}", '', 'x' x 256) {
		my $bytes = $image;
		my $name = substr($_ . "\0" x 256, 0, 256);
		substr($bytes, $at, 256) = $name;
		substr($bytes, $server, 256) = $name;
		spew("$dir/names", $bytes);
		is(robust('a name of ' . unpack('H*', substr($_, 0, 8)), "$dir/names"), '2damaged',
		   'it is found');
	}
	my $bytes = $image;
	substr($bytes, $at, 8) = "\e[31m\\\0\0";
	spew("$dir/names", $bytes);
	my ($data) = json_of('-t', 'endpoints', "$dir/names");
	is($data->{endpoints}[0]{type}, '\033[31m\134', 'escaped');
}

sub test_damaged {
	my $image = slurp($fabric);
	my %files = (
		'an empty file' => [2, ''],
		'a short file' => [2, 'x' x 100],
		'noise' => [2, join('', map { chr(rand 256) } 1 .. 65536)],
		'a truncated segment' => [2, substr($image, 0, length($image) / 2)],
		'an extended segment' => [2, $image . 'x'],
		'another magic' => [2, 'y' . substr($image, 1)],
		'other sizes' => [2, substr($image, 0, 64) . pack('V', 100000) . substr($image, 68)],
		'another layout' => [1, substr($image, 0, 8) . pack('V', 77) . substr($image, 12)],
	);
	for (sort keys %files) {
		my ($status, $bytes) = @{$files{$_}};
		spew("$dir/file", $bytes);
		my ($seen, $out, $err) = dump_of("$dir/file");
		is("$seen$out", $status, $_);
		like($err, qr/^dcm-shmdump: [ -~]*\Q$dir\E\/file[ -~]+\n\z/, 'one line says what is wrong');
		is((dump_of('--check', "$dir/file"))[0], $status, 'the same with --check');
	}
	symlink($fabric, "$dir/link");
	isnt((dump_of($_))[0], 0, "$_ is refused") for "$dir/link", $dir, '/dev/null', '/dev/zero';
	POSIX::mkfifo("$dir/fifo", 0600);
	isnt((dump_of("$dir/fifo"))[0], 0, 'a fifo does not hold it up');
}

sub test_scribbled {
	my $image = slurp($fabric);
	my $seed = $ENV{DCM_TEST_SEED} // int(rand(1 << 31));
	my $rounds = POSIX::ceil(12 * ($ENV{DCM_TEST_SCALE} // 1));
	is(robust('all behind the header is noise', noise(\$image, $seed)), '2damaged', 'is found');
	srand($seed);
	for (1 .. $rounds) {
		my $bytes = $image;
		for (1 .. 200) {
			# The first tables are the fuller ones.
			my $at = 4096 + 8 * int(rand(rand() < 0.5 ? 10000 : (length($bytes) - 4096) / 8));
			substr($bytes, $at, 8) = pack('Q<', (0, ~0, int(rand(256)), rand(2**64),
							     2**20 * int(rand(9)) + int(rand(999)))[rand 5]);
		}
		spew("$dir/scribble", $bytes);
		robust("scribbled $_", "$dir/scribble");
	}
	diag("seed $seed") unless Test::More->builder->is_passing;
}

sub noise {
	my ($image, $seed) = @_;
	srand($seed);
	my $noise = pack('L*', map { rand(2**32) } 1 .. (length($$image) - 4096) / 4);
	spew("$dir/noise", substr($$image, 0, 4096) . $noise);
	return "$dir/noise";
}

# The file gets shorter while it is looked at: between two looks of --check, most likely.
sub test_truncated_meanwhile {
	spew("$dir/cut", slurp($fabric));
	my $pid = open2(my $out, my $in, "exec '$dump' --check '$dir/cut' 2>&1");
	select(undef, undef, undef, 0.1);
	truncate("$dir/cut", 4096);
	my $said = do { local $/; <$out> };
	waitpid($pid, 0);
	is($?, 2 << 8, 'truncated meanwhile: no crash');
	like($said, qr/truncated|of the dead/, 'it says what it found');
}

sub test_untouched {
	my $before = slurp($fabric);
	chmod(0400, $fabric);
	dump_of();
	dump_of('--check');
	ok($before eq slurp($fabric), 'not a byte of the fabric was changed');
	chmod(0600, $fabric);
}

test_usage();
test_nothing();
populate();
test_json();
test_text();
test_deaths();
test_colour();
test_untouched();
test_truncated_meanwhile();
test_names();
test_damaged();
test_scribbled();
start_party('successor');
my ($data) = wait_for_check('consistent');
is($data->{verdict}, 'consistent', 'a newcomer cleaned up');
is(tell_party('successor', 'fini'), 'rcOk', 'it leaves');
end_party('successor');
is((dump_of('--check'))[0], 0, 'an empty fabric is in order');
my ($empty) = json_of();
is_deeply([map { scalar @{$empty->{$_}} } qw(processes endpoints channels stuck)], [0, 0, 0, 0],
	  'and empty');
done_testing();
