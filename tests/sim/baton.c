/* SPDX-License-Identifier: BSD-2-Clause */
/* Calls that wait for a process that dies, simulated. tsan: no (fibers) */
#include "tests/sim/sim_main.h"

int main(void)
{
	return sim_program(&sim_baton, 40000);
}
