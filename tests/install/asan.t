#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# The build with address and undefined sanitizers passes the tests.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Run;
use Test::More;

sanitized_suite_ok('asan', '--sanitize=address,undefined');
done_testing();
