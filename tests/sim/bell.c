/* SPDX-License-Identifier: BSD-2-Clause */
/* Bells, simulated. tsan: no (fibers) */
#include "tests/sim/sim_main.h"

int main(void)
{
	return sim_program(&sim_bell, 60000);
}
