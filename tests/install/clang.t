#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# Everything compiles with clang without a warning. (gcc.t does the same with gcc.)
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Run;
use Test::More;

my $manifest = configure_ok('clang', '--cc=clang --werror');
ninja_ok($manifest, 'all', 'clang has no warning') if $manifest;
done_testing();
