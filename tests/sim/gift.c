/* SPDX-License-Identifier: BSD-2-Clause */
/* What others were shown, and its revocation, simulated. tsan: no (fibers) */
#include "tests/sim/sim_main.h"

int main(void)
{
	return sim_program(&sim_gift, 40000);
}
