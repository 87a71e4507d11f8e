#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# The tests pass in a user, PID and network namespace of their own.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Env;
use Test::More;

confined_suite_ok('in namespaces', '--namespaces');
done_testing();
