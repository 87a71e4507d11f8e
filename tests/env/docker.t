#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# The tests pass with what Docker denies by default: pidfd_getfd, namespaces, mounts, capabilities.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Env;
use Test::More;

confined_suite_ok("with Docker's default denials", '--seccomp=docker');
done_testing();
