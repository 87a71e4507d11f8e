/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/spin.h"

#include <dcm/fabric.h>

/* About what it takes to fall asleep and be woken again on another processor. */
#define WHOLE_NS (50 * 1000)

enum {
	HALVINGS_ALL = 6,   /* less than a microsecond is not worth a look */
	HALVINGS_PROBE = 1, /* in less than a wake takes nothing would ever come */
	PROBE_AFTER = 64,
};

/* Of the process; most_ns is stored before the policy. */
static struct dcm_spin process = { .policy = 1 + DCM_WAIT_ADAPTIVE, .most_ns = UINT64_MAX };
static dcm_atomic32 program_said;

void dcm_spin_set(struct dcm_spin *spin, uint32_t policy, int64_t most_ns)
{
	if (spin == NULL) {
		dcm_store(&program_said, 1u, relaxed);
		spin = &process;
	}
	dcm_store(&spin->most_ns, (uint64_t)most_ns, relaxed);
	dcm_store(&spin->policy, 1 + policy, release);
}

void dcm_spin_default(uint32_t policy)
{
	if (dcm_load(&program_said, relaxed) != 0)
		return;
	dcm_store(&process.most_ns, UINT64_MAX, relaxed);
	dcm_store(&process.policy, 1 + policy, release);
}

static int64_t whole_ns(const struct dcm_spin *spin)
{
	return WHOLE_NS * (int64_t)(1 + spin->times_more);
}

static int64_t adaptive_ns(const struct dcm_spin *spin, int64_t most_ns)
{
	uint32_t halvings = dcm_load(&spin->halvings, relaxed);
	int64_t ns = halvings < HALVINGS_ALL ? whole_ns(spin) >> halvings : 0;

	return most_ns >= 0 && most_ns < ns ? most_ns : ns;
}

/* Its own, or that of the process. */
static uint32_t policy_of(const struct dcm_spin *spin, int64_t *most_ns)
{
	uint32_t policy = dcm_load(&spin->policy, acquire);

	if (policy == DCM_SPIN_AS_PROCESS) {
		spin = &process;
		policy = dcm_load(&spin->policy, acquire);
	}
	*most_ns = (int64_t)dcm_load(&spin->most_ns, relaxed);
	return policy;
}

bool dcm_spin_adapts(const struct dcm_spin *spin)
{
	int64_t most_ns;

	return policy_of(spin, &most_ns) == 1 + DCM_WAIT_ADAPTIVE && most_ns < 0;
}

int64_t dcm_spin_ns(const struct dcm_spin *spin)
{
	int64_t most_ns;
	uint32_t policy = policy_of(spin, &most_ns);

	if (policy == 1 + DCM_WAIT_SLEEP)
		return 0;
	if (policy == 1 + DCM_WAIT_SPIN && spin->times_more == 0)
		return most_ns >= 0 ? most_ns : INT64_MAX;
	return adaptive_ns(spin, most_ns);
}

void dcm_spin_in_vain(struct dcm_spin *spin)
{
	uint32_t halvings = dcm_load(&spin->halvings, relaxed);

	halvings = halvings < HALVINGS_ALL / 2 ? 2 * halvings + 1 : HALVINGS_ALL;
	dcm_store(&spin->halvings, halvings, relaxed);
	dcm_store(&spin->shorts, 0u, relaxed);
}

void dcm_spin_slept(struct dcm_spin *spin, int64_t waited_ns)
{
	uint32_t shorts = dcm_load(&spin->shorts, relaxed);

	if (dcm_load(&spin->halvings, relaxed) < HALVINGS_ALL || waited_ns >= whole_ns(spin))
		return;
	if (shorts + 1 < PROBE_AFTER) {
		dcm_store(&spin->shorts, shorts + 1, relaxed);
		return;
	}
	dcm_store(&spin->shorts, 0u, relaxed);
	dcm_store(&spin->halvings, (uint32_t)HALVINGS_PROBE, relaxed);
}
