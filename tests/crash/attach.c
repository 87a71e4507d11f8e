/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (it kills forked children) */
/*
 * A participant is killed at every step of DcmInit and DcmFini, its own and its keeper's; and at
 * every step of taking over what a dead one left, with nobody else to help: the only other one is
 * stopped until then.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/crash/lib_step.h"
#include "tests/crash/lib_victim.h"
#include "tests/tap.h"

enum { REST_US = 2000, BAD_MAX = 3, LIVES = 4, WAIT_MS = 60 * 1000 };

static uint64_t dies_at;

static void init(void)
{
	expect(rcOk, DcmInit(), "DcmInit");
}

/* The keeper has then found out that there is nothing to do. */
static void init_and_rest(void)
{
	init();
	nap_us(REST_US);
}

/* Something of each kind. */
static void have_things(void)
{
	DcmHandle handle;
	Handle session, listener;

	expect(rcOk,
	       DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), VICTIM_TYPE, "one", &handle),
	       "DcmPublishEndpoint");
	expect(rcOk,
	       DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), VICTIM_TYPE, "two", &handle),
	       "DcmPublishEndpoint");
	expect(rcOk, DcmSetSubscription(VICTIM_TYPE, NULL, NULL, INVALID_HANDLE, &handle),
	       "DcmSetSubscription");
	expect(rcOk, KnHandleCreateListener(&listener), "KnHandleCreateListener");
	expect(rcOk,
	       DcmCreateConnection(VICTIM_TYPE, "offer", INVALID_HANDLE, INVALID_HANDLE, &handle),
	       "DcmCreateConnection");
	expect(rcOk, DcmConnect(handle, INFINITE_TIMEOUT, &session), "DcmConnect");
	expect(rcOk,
	       DcmCreateConnection(VICTIM_TYPE, "nobody", INVALID_HANDLE, INVALID_HANDLE, &handle),
	       "DcmCreateConnection");
	expect(rcTimeout, DcmConnect(handle, 0, &session), "DcmConnect");
}

static void publish_only(void)
{
	DcmHandle handle;

	expect(rcOk,
	       DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), VICTIM_TYPE, "one", &handle),
	       "DcmPublishEndpoint");
	expect(rcOk, DcmSetSubscription(VICTIM_TYPE, NULL, NULL, INVALID_HANDLE, &handle),
	       "DcmSetSubscription");
}

/* Whose death is to be dealt with. */
static void be_ready(void)
{
	atomic_fetch_add(&stand->waiting, 1);
	for (;;)
		pause();
}

static void be_somebody(void)
{
	init();
	have_things();
	be_ready();
}

/* Steps count from when nobody else can help. */
static void be_reaper(void)
{
	uint32_t before = atomic_load(&stand->armed);

	init();
	atomic_fetch_add(&stand->waiting, 1);
	while (atomic_load(&stand->armed) == before)
		nap_us(50);
	step_arm(dies_at, true);
	be_ready();
}

static pid_t start(void (*run)(void))
{
	uint32_t before = atomic_load(&stand->waiting);
	pid_t pid = victim_fork(run);

	while (atomic_load(&stand->waiting) == before)
		nap_us(50);
	return pid;
}

static void bury(pid_t pid)
{
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0)
		;
}

/* The bystander and the reaper are all that is left. */
static bool is_reaped(void)
{
	uint32_t in_use = 0;

	for (uint32_t i = 0; i < stand_segment.process.count; i++)
		in_use += dcm_word_state(dcm_load(dcm_slot_word(&stand_segment.process, i),
						  acquire)) != DCM_FREE;
	return in_use == 2;
}

static bool has_died(pid_t pid)
{
	return waitpid(pid, NULL, WNOHANG) == pid;
}

/* Return: whether the reaper died over it. */
static bool kill_reaper(void)
{
	pid_t somebody = start(be_somebody), reaper = start(be_reaper);
	uint32_t before = atomic_load(&stand->waiting);
	int64_t end = now_ms() + WAIT_MS;
	bool died = false;

	stand_stop(true);
	atomic_fetch_add(&stand->armed, 1);
	while (atomic_load(&stand->waiting) == before && !died)
		died = has_died(reaper);
	bury(somebody);
	while (!died && !is_reaped() && now_ms() < end) {
		died = has_died(reaper);
		nap_us(50);
	}
	if (!died) {
		if (!is_reaped())
			ok(0, "a keeper alone did not take over what the dead left");
		bury(reaper);
	}
	stand_stop(false);
	return died;
}

static void enumerate_reaping(void)
{
	uint64_t kills = 0, bad = 0;
	unsigned lives = 0;

	for (dies_at = 1; lives < LIVES && bad < BAD_MAX; dies_at = step_next(dies_at)) {
		bool died = kill_reaper();

		lives = died ? 0 : lives + 1;
		kills += died ? 2 : 1;
		if (stand_settled())
			continue;
		diag("reaping: killed at its step %llu", (unsigned long long)dies_at);
		bad++;
	}
	victim_report("a keeper that reaps", kills, bad);
}

static const struct scenario scenarios[] = {
	{ "DcmInit", NULL, init, false },
	{ "DcmInit, the keeper", NULL, init_and_rest, true },
	{ "DcmFini", have_things, DcmFini, false },
	{ "DcmFini, the keeper", publish_only, DcmFini, true },
};

int main(void)
{
	stand_begin();
	victim_enumerate(scenarios, sizeof scenarios / sizeof scenarios[0]);
	enumerate_reaping();
	stand_end();
	return 0;
}
