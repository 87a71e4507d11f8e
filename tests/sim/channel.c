/* SPDX-License-Identifier: BSD-2-Clause */
/* Calling and receiving over channels, simulated. tsan: no (fibers) */
#include "tests/sim/sim_main.h"

int main(void)
{
	return sim_program(&sim_channel, 50000);
}
