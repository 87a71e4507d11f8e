#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# The build with the thread sanitizer passes the tests that are not tagged "tsan: no".
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Run;
use Test::More;

sanitized_suite_ok('tsan', '--sanitize=thread');
done_testing();
