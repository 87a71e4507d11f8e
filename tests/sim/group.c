/* SPDX-License-Identifier: BSD-2-Clause */
/* Groups, simulated. tsan: no (fibers) */
#include "tests/sim/sim_main.h"

int main(void)
{
	return sim_program(&sim_group, 60000);
}
