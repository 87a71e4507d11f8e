/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (it kills forked children) */
/*
 * A server is killed at every step of what servers do, with a client that has one thread, which never
 * blocks in a call and waits for events and descriptors: each comes.
 */
#include "tests/crash/lib_victim.h"
#include "tests/tap.h"

int main(void)
{
	stand_begin_loop(true);
	victim_enumerate(server_scenarios, server_scenario_count);
	ok(atomic_load(&stand->answered) > 0 && atomic_load(&stand->begun) > 0,
	   "%u connections to those who died, %u calls answered", atomic_load(&stand->begun),
	   atomic_load(&stand->answered));
	stand_end();
	return 0;
}
