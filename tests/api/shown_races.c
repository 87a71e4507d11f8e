/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A handle that is revoked while another thread shows itself by it: what was shown is revoked, or was
 * not shown. And however many handles come and go, their places in the fabric come back.
 */
#define _GNU_SOURCE
#include <dcm/groups/pub.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/api/lib_race.h"

#define TYPE "test.ShownRaces"

enum { GIVE = OCAP_HANDLE_TRANSFER | OCAP_HANDLE_GET_SID | OCAP_HANDLE_COPY };
enum { ROUNDS = 1000, APART = 2048, THREADS = 2, LAPS = 400, WAIT_MS = 20 * 1000 };

static struct race race;
static Handle top;

static void revoke_it(void)
{
	must(KnHandleRevoke(top));
}

/* What the one subscriber is shown of it. */
static Retcode use_shown(DcmHandle queue)
{
	Handle server;
	Retcode rc;
	Sid sid;

	must(DcmReadPubQueue(queue, WAIT_MS, NULL, &server, NULL, NULL));
	rc = KnHandleGetSidByHandle(server, &sid);
	must(KnHandleClose(server));
	return rc;
}

/* One round. Return: false: a publication with a handle that is revoked shows one that is not. */
static bool run_round(DcmHandle queue, uint64_t *state, unsigned *first)
{
	DcmHandle publication;
	Retcode rc, used = rcHandleRevoked;
	Handle copy;

	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, GIVE, NULL, &top));
	must(KnHandleCopy(top, GIVE, INVALID_HANDLE, &copy));
	race_go(&race, state);
	rc = DcmPublishEndpoint(copy, TYPE, "n", &publication);
	race_done(&race);
	if (rc == rcOk) {
		++*first;
		used = use_shown(queue);
		must(DcmCloseHandle(publication));
		(void)use_shown(queue);
	} else if (rc != rcHandleRevoked && rc != rcInvalidArgument) {
		is_rc(rcHandleRevoked, rc, "publishing with a revoked handle");
	}
	must(KnHandleClose(copy));
	return used == rcHandleRevoked;
}

static void test_race(uint64_t *state)
{
	unsigned rounds = (unsigned)tap_scaled(ROUNDS), first = 0, wrong = 0;
	char places[16];
	DcmHandle queue;

	/* Each round leaves one behind that is revoked. */
	snprintf(places, sizeof places, "%u", rounds + 1);
	setenv("DCM_MAX_GIFTS", places, 1);
	must(DcmInit());
	must(DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &queue));
	race_start(&race, revoke_it, APART, random_next(state));
	for (unsigned i = 0; i < rounds; i++)
		wrong += !run_round(queue, state, &first);
	race_stop(&race);
	must(DcmCloseHandle(queue));
	DcmFini();
	ok(wrong == 0,
	   "KnHandleRevoke against DcmPublishEndpoint: %u of %u were published, %u wrong", first,
	   rounds, wrong);
}

/* All the ways in which a gift can come to its end without a revocation. */
static void lap(unsigned thread, unsigned lap)
{
	Handle copy, own = KosTaskGetHandle(KosTaskGetSelf());
	DcmHandle publication, connection;
	char name[32];

	snprintf(name, sizeof name, "n%u", thread);
	must(KnHandleCopy(own, GIVE, INVALID_HANDLE, &copy));
	must(DcmPublishEndpoint(copy, TYPE, name, &publication));
	must(DcmCreateConnection(TYPE, name, INVALID_HANDLE, copy, &connection));
	if (lap % 2 != 0)
		must(KnHandleClose(copy));
	must(DcmCloseHandle(publication));
	must(DcmCloseHandle(connection));
	if (lap % 2 == 0)
		must(KnHandleClose(copy));
}

static void run_laps(void *arg)
{
	for (unsigned i = 0; i < (unsigned)tap_scaled(LAPS); i++)
		lap(*(unsigned *)arg, i);
}

static void test_places(void)
{
	unsigned numbers[THREADS];
	struct task tasks[THREADS];
	char fabric[300];

	/* As many as there are at once. */
	snprintf(fabric, sizeof fabric, "%s/places", tap_fabric_dir());
	setenv("DCM_FABRIC", fabric, 1);
	setenv("DCM_MAX_GIFTS", "2", 1);
	must(DcmInit());
	for (unsigned i = 0; i < THREADS; i++) {
		numbers[i] = i;
		task_start(&tasks[i], run_laps, &numbers[i]);
	}
	for (unsigned i = 0; i < THREADS; i++)
		task_join(&tasks[i]);
	DcmFini();
	ok(true, "%u handles after each other took two places",
	   THREADS * (unsigned)tap_scaled(LAPS));
}

int main(void)
{
	uint64_t state;

	plan_lazy();
	tap_fabric_dir();
	state = tap_seed();
	test_race(&state);
	test_places();
	return 0;
}
