# SPDX-License-Identifier: BSD-2-Clause
# What the tests of this directory do with the program of their name: everything of the corpus is
# run, each check that guards against hostile memory is left out in turn and missed by the file of
# the corpus that bears its name, and then the fuzzer makes up inputs of its own.
package Fuzz;
use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use Test::More;

our @EXPORT = qw(fuzz);

# At DCM_TEST_SCALE=25, two such tests make 20,000,000 executions.
use constant RUNS => 400_000;

# The program counts its memory before and after each input: no thread of the fuzzer's that watches
# the resident size may allocate between.
my @LIMITS = qw(-rss_limit_mb=0 -malloc_limit_mb=256);

my $top = $ENV{DCM_SOURCE_DIR} // abs_path(dirname(__FILE__) . '/../..');
my $build = $ENV{DCM_BUILD_DIR} // "$top/build";

# With more random bits in addresses than the sanitizers of Debian 12 know, they need addresses
# that are not random.
sub fixed_addresses {
	open(my $file, '<', '/proc/sys/vm/mmap_rnd_bits') or return ();
	my $bits = <$file> // 0;
	return $bits > 28 && !system('setarch -R true 2>/dev/null') ? qw(setarch -R) : ();
}

# The status and the output of the program on these arguments.
sub run_program {
	my ($mutant, @command) = @_;
	local $ENV{DCM_FUZZ_MUTANT} = $mutant if defined $mutant;
	my $pid = open(my $output, '-|') // BAIL_OUT("fork: $!");
	if (!$pid) {
		open(STDERR, '>&', \*STDOUT);
		exec(@command) or exit 127;
	}
	my $text = do { local $/; <$output> } // '';
	close($output);
	return ($?, $text);
}

# The line that says what is wrong.
sub violation {
	my ($text) = @_;
	return $1 if $text =~ /^violation: (.*?)(?: \(mutant \w+\))?$/m;
	return $1 if $text =~ /(runtime error: .*)$/m;
	return $1 if $text =~ /ERROR: (AddressSanitizer: \S+)/;
	return undef;
}

# @mutants: those that a file of their name in the corpus finds.
sub fuzz {
	my ($name, @mutants) = @_;
	my $corpus = "$top/tests/fuzz/corpus/$name";
	my $tmp = tempdir('dcm-test-fuzz-XXXXXX', DIR => '/dev/shm', CLEANUP => 1);
	my @program = (fixed_addresses(), "$build/tests/fuzz/$name", @LIMITS);
	my @files = sort(glob("$corpus/*"));

	$ENV{DCM_FUZZ_DIR} = $tmp;
	my ($status, $text) = run_program(undef, @program, "-artifact_prefix=$tmp/", @files);
	ok($status == 0, 'the corpus: ' . @files . ' inputs') or diag($text);

	for my $mutant (@mutants) {
		($status, $text) = run_program($mutant, @program, "-artifact_prefix=$tmp/",
					       "$corpus/$mutant");
		my $found = violation($text);
		ok($status != 0 && defined $found, "without $mutant that is a violation") or diag($text);
		note("mutant: $mutant: killed by fuzzing: $name image, corpus/$name/$mutant: $found")
			if defined $found;
	}

	my $seed = $ENV{DCM_TEST_SEED} // 1 + int(rand(2**31 - 2));
	my $runs = int(RUNS * ($ENV{DCM_TEST_SCALE} // 1)) || 1;
	note("seed $seed");
	mkdir("$tmp/new") or BAIL_OUT("$tmp/new: $!");
	($status, $text) = run_program(undef, @program, "-seed=$seed", "-runs=$runs", qw(-max_len=160
		-entropic=0 -reduce_inputs=0 -timeout=60 -print_final_stats=1 -verbosity=1),
		"-artifact_prefix=$tmp/", "$tmp/new", $corpus);
	my ($count) = $text =~ /^stat::number_of_executed_units:\s+(\d+)/m;
	my ($base64) = $text =~ /^Base64: (.*)$/m;
	my $bad = $status != 0;
	ok(!$bad && defined $count && $count >= $runs, "$runs executions from seed $seed")
		or diag(substr($text, -6000),
			defined $base64 ? "\nthe input, in base64: $base64" : '');
	note(sprintf('proof: fuzzing: %s image: %d executions, %d violations', $name, $count // 0, $bad));
	done_testing();
}

1;
