/* SPDX-License-Identifier: BSD-2-Clause */
/* The ring of keepers and the reaping of the dead, simulated. tsan: no (fibers) */
#include "tests/sim/sim_main.h"

int main(void)
{
	return sim_program(&sim_reaping, 80000);
}
