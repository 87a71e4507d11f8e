/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (it kills forked children) */
/*
 * A participant that publishes, subscribes, connects and calls is killed at every step of that, and
 * the others have one thread, which waits for events and descriptors: each comes.
 */
#include "tests/crash/lib_victim.h"

int main(void)
{
	stand_begin_loop(false);
	victim_enumerate(client_scenarios, client_scenario_count);
	stand_end();
	return 0;
}
