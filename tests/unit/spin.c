/* SPDX-License-Identifier: BSD-2-Clause */
/* How long a call looks before it sleeps: what the policies say, and what the adaptive one learns. */
#include <dcm/fabric.h>

#include "api/spin.h"
#include "tests/tap.h"

static struct dcm_spin own(uint32_t policy, int64_t most_ns)
{
	struct dcm_spin spin = { .policy = DCM_SPIN_AS_PROCESS };

	dcm_spin_set(&spin, policy, most_ns);
	return spin;
}

static void policies(int64_t whole)
{
	struct dcm_spin spin;

	spin = own(DCM_WAIT_SLEEP, 1000000);
	is_int(0, dcm_spin_ns(&spin), "SLEEP does not look, whatever the time");
	spin = own(DCM_WAIT_SPIN, -1);
	is_int(INT64_MAX, dcm_spin_ns(&spin), "SPIN looks for ever");
	spin = own(DCM_WAIT_SPIN, 7000000);
	is_int(7000000, dcm_spin_ns(&spin), "or as long as it was said");
	spin = own(DCM_WAIT_SPIN, 0);
	is_int(0, dcm_spin_ns(&spin), "even not at all");
	spin = own(DCM_WAIT_ADAPTIVE, -1);
	is_int(whole, dcm_spin_ns(&spin), "ADAPTIVE begins with the whole");
	spin = own(DCM_WAIT_ADAPTIVE, 1500);
	is_int(1500, dcm_spin_ns(&spin), "or less, if that was said");
	spin = own(DCM_WAIT_ADAPTIVE, INT64_MAX);
	is_int(whole, dcm_spin_ns(&spin), "but never more");
}

static void of_the_process(int64_t whole)
{
	struct dcm_spin spin = { .policy = DCM_SPIN_AS_PROCESS }, sleeps = own(DCM_WAIT_SLEEP, -1);

	dcm_spin_default(DCM_WAIT_SPIN);
	is_int(INT64_MAX, dcm_spin_ns(&spin), "the environment's policy is that of the process");
	is_int(0, dcm_spin_ns(&sleeps), "and not of what has its own");
	dcm_spin_set(NULL, DCM_WAIT_SPIN, 4000);
	is_int(4000, dcm_spin_ns(&spin), "the program's own comes before it,");
	dcm_spin_default(DCM_WAIT_SLEEP);
	is_int(4000, dcm_spin_ns(&spin), "also when it was first");
	dcm_spin_set(NULL, DCM_WAIT_ADAPTIVE, -1);
	is_int(whole, dcm_spin_ns(&spin), "and can be changed");
}

static void sleep_often(struct dcm_spin *spin, unsigned times, int64_t waited_ns)
{
	while (times-- > 0)
		dcm_spin_slept(spin, waited_ns);
}

static void learning(int64_t whole)
{
	struct dcm_spin spin = own(DCM_WAIT_ADAPTIVE, -1);

	dcm_spin_in_vain(&spin);
	is_int(whole / 2, dcm_spin_ns(&spin), "in vain: a half");
	dcm_spin_in_vain(&spin);
	is_int(whole / 8, dcm_spin_ns(&spin), "an eighth");
	dcm_spin_came(&spin);
	is_int(whole / 4, dcm_spin_ns(&spin), "of use: twice as much");
	for (int i = 0; i < 8; i++)
		dcm_spin_came(&spin);
	is_int(whole, dcm_spin_ns(&spin), "up to the whole");
	for (int i = 0; i < 3; i++)
		dcm_spin_in_vain(&spin);
	is_int(0, dcm_spin_ns(&spin), "three times in vain: not at all");
	sleep_often(&spin, 1000, whole);
	is_int(0, dcm_spin_ns(&spin), "as long as sleeps are long");
	sleep_often(&spin, 63, whole - 1);
	is_int(0, dcm_spin_ns(&spin), "or have seldom been short");
	sleep_often(&spin, 1, whole - 1);
	ok(dcm_spin_ns(&spin) > 0 && dcm_spin_ns(&spin) < whole, "then once more, for less");
	for (int i = 0; i < 2; i++)
		dcm_spin_in_vain(&spin);
	is_int(0, dcm_spin_ns(&spin), "in vain: not at all");
	sleep_often(&spin, 63, 1);
	is_int(0, dcm_spin_ns(&spin), "and the short sleeps are counted anew");
}

int main(void)
{
	struct dcm_spin fresh = { .policy = DCM_SPIN_AS_PROCESS };
	int64_t whole = dcm_spin_ns(&fresh);

	plan_lazy();
	ok(whole > 0 && whole < 1000000, "what nobody has set looks for a while");
	policies(whole);
	of_the_process(whole);
	learning(whole);
	return 0;
}
