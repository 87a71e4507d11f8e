#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# Whatever a peer writes into a channel, client and server go on. (DCM_TEST_SCALE=25: 10,000,000
# executions.)
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Fuzz;

fuzz('channel', qw(parcel_in_half call_in_table handed_out_once size_read_once));
