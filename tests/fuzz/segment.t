#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
# Whatever a participant writes into the segment, the others go on. (DCM_TEST_SCALE=25: 10,000,000
# executions.)
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Fuzz;

fuzz('segment', qw(slot_in_table bit_in_table hint_in_table end_of_name ring_tries_end
		   file_holds_tables));
