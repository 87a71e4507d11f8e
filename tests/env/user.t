#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# The tests pass as an ordinary user too.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Env;
use Test::More;

plan(skip_all => 'not root: all tests run as an ordinary user anyway') if $> != 0;
confined_suite_ok('as an ordinary user', '--user');
done_testing();
