/* SPDX-License-Identifier: BSD-2-Clause */
/* The ring of hints, simulated. tsan: no (fibers) */
#include "tests/sim/sim_main.h"

int main(void)
{
	return sim_program(&sim_ring, 150000);
}
