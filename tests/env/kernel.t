#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# The tests pass with the features of newer kernels switched off: those of Debian 12 (6.1) have no
# pidfs, no SO_PEERPIDFD and no MFD_NOEXEC_SEAL; still older ones, and filters, also less.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Env;
use Test::More;

confined_suite_ok('with what a kernel 6.1 has', '--kernel=6.1');
confined_suite_ok('and without futex_waitv, membarrier and pidfds', '--kernel=6.1',
	'--deny=futex_waitv,membarrier,pidfd_open,pidfd_getfd:ENOSYS');

# What is closed is looked at first, for a child may have it as a file of its own.
if (is_to_be_had('without statx', '--deny=statx:ENOSYS')) {
	my ($status, $output) = run(helper() . ' --deny=statx:ENOSYS -- prove --norc ' . build_dir()
		. '/tests/api/spare.t');
	ok($status == 0, 'the memory of the next client is made, used and closed without statx')
		or diag($output);
}
done_testing();
