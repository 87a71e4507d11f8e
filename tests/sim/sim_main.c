/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "tests/sim/sim_main.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/tap.h"

const struct sim_scenario *const sim_scenarios[] = { &sim_ring,	    &sim_park,	     &sim_baton,
						     &sim_registry, &sim_rendezvous, &sim_channel,
						     &sim_reaping,  &sim_bell,	     &sim_group,
						     &sim_gift };
const unsigned sim_scenario_count = sizeof sim_scenarios / sizeof sim_scenarios[0];

double sim_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void sim_explain(const struct sim_scenario *scenario, uint64_t seed)
{
	diag("%s, seed %llu, mutant %s: %s", scenario->name, (unsigned long long)seed,
	     dcm_mutant != NULL ? dcm_mutant : "none", sim_message());
	diag("again: DCM_SIM_TRACE=1 DCM_SIM_SEED=%llu DCM_SIM_SCENARIO=%s%s%s "
	     "build/tests/sim/%s.t",
	     (unsigned long long)seed, scenario->name, dcm_mutant != NULL ? " DCM_SIM_MUTANT=" : "",
	     dcm_mutant != NULL ? dcm_mutant : "", scenario->name);
}

static const struct sim_scenario *by_name(const char *name)
{
	for (unsigned i = 0; i < sim_scenario_count; i++)
		if (strcmp(sim_scenarios[i]->name, name) == 0)
			return sim_scenarios[i];
	bail("DCM_SIM_SCENARIO: there is no scenario %s", name);
}

bool sim_replay(void)
{
	const char *seed = getenv("DCM_SIM_SEED"), *name = getenv("DCM_SIM_SCENARIO");
	const struct sim_scenario *scenario;

	dcm_mutant = getenv("DCM_SIM_MUTANT");
	if (seed == NULL || name == NULL)
		return false;
	scenario = by_name(name);
	sim_trace(getenv("DCM_SIM_TRACE") != NULL);
	if (!ok(sim_run(scenario, strtoull(seed, NULL, 0)), "%s, seed %s", name, seed))
		sim_explain(scenario, strtoull(seed, NULL, 0));
	return true;
}

/* One range of seeds, up to the first that fails. */
static bool explore(const struct sim_scenario *scenario, uint64_t first, uint64_t count,
		    uint64_t *run)
{
	for (uint64_t i = 0; i < count; i++) {
		++*run;
		if (!sim_run(scenario, first + i)) {
			sim_explain(scenario, first + i);
			return false;
		}
	}
	return true;
}

int sim_program(const struct sim_scenario *scenario, uint64_t seeds)
{
	uint64_t count = tap_scaled(seeds) / 2 + 1, run = 0, steps;
	unsigned violations;
	double start;

	plan_lazy();
	if (sim_replay())
		return 0;
	start = sim_seconds();
	violations = !ok(explore(scenario, 1, count, &run), "%s: %llu seeds from 1 on",
			 scenario->name, (unsigned long long)count);
	violations +=
		!ok(explore(scenario, tap_seed() << 20, count, &run),
		    "%s: %llu seeds not seen before", scenario->name, (unsigned long long)count);
	steps = sim_steps_total();
	note("%.0f seeds/s, %.0f steps/s, %.0f steps a seed", (double)run / (sim_seconds() - start),
	     (double)steps / (sim_seconds() - start), (double)steps / (double)run);
	tap_proof("simulator", scenario->name, run, "schedules", violations);
	return 0;
}
