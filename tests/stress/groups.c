/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One process, many threads: groups published and closed, listened on, subscribed to, read,
 * interrupted, connected to in one call, and listed, all at once, while DcmInit() and DcmFini()
 * come and go. Made for ThreadSanitizer and AddressSanitizer; without them it sees that no call
 * hangs, that what one subscription is told of one server alternates, and that at the end nothing
 * is left.
 */
#define _GNU_SOURCE
#include <coresrv/handle/handle_api.h>
#include <coresrv/task/task_api.h>
#include <dcm/dcm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/stress/lib_stress.h"
#include "tests/tap.h"

enum { INTERFACES = 3, SERVERS = 3, SLOTS = 3, EACH = 2, SECONDS = 8, ROUNDS = 4 };

static const char *const types[INTERFACES] = { "test.A", "test.B", "test.C" };

/* Any thread may use, interrupt or close these. */
static _Atomic uint64_t groups[SLOTS], subscriptions[SLOTS];
static Handle servers[SERVERS]; /* identities; they need no DcmInit */
static Sid sids[SERVERS];
static _Atomic uint32_t stop;
static _Atomic uint64_t done[8];
static uint64_t seed;

/* Codes that may come when others close, interrupt and end things at any time. */
static bool may_be(Retcode rc, const char *what)
{
	if (rc == rcTimeout || rc == rcIpcInterrupt || rc == rcNotConnected ||
	    rc == rcInvalidArgument)
		return false;
	return wanted(rcOk, rc, "%s", what);
}

/* Put a new handle into a slot; what was there is closed. */
static void put(_Atomic uint64_t *slot, uint64_t handle)
{
	uint64_t old = atomic_exchange(slot, handle);

	if (old != 0)
		may_be(DcmCloseHandle(old), "DcmCloseHandle");
}

static bool publisher_turn(uint64_t *dice)
{
	DcmGroupEndpoint endpoints[INTERFACES];
	Handle server = servers[draw(dice, SERVERS)];
	size_t count = 1 + draw(dice, INTERFACES), first = draw(dice, INTERFACES);
	DcmHandle group = 0;
	Retcode rc;

	for (size_t i = 0; i < count; i++)
		endpoints[i] =
			(DcmGroupEndpoint){ types[(first + i) % INTERFACES], "n", &endpoints[i] };
	rc = DcmPublishGroupEndpoints(server, endpoints, count, &group);
	if (rc != rcAlreadyExists && may_be(rc, "DcmPublishGroupEndpoints"))
		put(&groups[draw(dice, SLOTS)], group);
	else
		put(&groups[draw(dice, SLOTS)], 0);
	nap_us((long)draw(dice, 500));
	return rc == rcOk;
}

static bool listener_turn(uint64_t *dice)
{
	DcmHandle request;
	void *context;

	if (!may_be(DcmListenGroupPub(groups[draw(dice, SLOTS)], (DcmTimeout)draw(dice, 5), NULL,
				      NULL, &context, &request),
		    "DcmListenGroupPub"))
		return false;
	may_be(DcmCloseHandle(request), "closing a request");
	return true;
}

/* Of a subscription of its own it sees that what is told alternates. */
static bool follower_turn(uint64_t *dice)
{
	bool there[SERVERS] = { false };
	DcmHandle subscription;

	if (!may_be(DcmSetGroupSubscription(types, INTERFACES, NULL, INVALID_HANDLE, &subscription),
		    "DcmSetGroupSubscription"))
		return false;
	for (uint64_t reads = draw(dice, 50); reads > 0; reads--) {
		DcmGroupEndpointInfo endpoints[INTERFACES];
		char name[DCM_NAME_SIZE];
		DcmPubStatus status;
		unsigned i = 0;
		Handle server;
		Sid sid = 0;

		if (!may_be(DcmReadGroupPubQueue(subscription, (DcmTimeout)draw(dice, 3),
						 INTERFACES, &status, &server, name, endpoints),
			    "DcmReadGroupPubQueue"))
			continue;
		wanted(rcOk, KnHandleGetSidByHandle(server, &sid), "a server's SID");
		wanted(rcOk, KnHandleClose(server), "closing a server's identity");
		while (i < SERVERS && sids[i] != sid)
			i++;
		if (i == SERVERS || there[i] == (status == DCM_PUBLISHED) ||
		    strcmp(endpoints[2].endpointType, types[2]) != 0)
			wrong("server %u: status %u twice, or of %s", i, status,
			      endpoints[2].endpointType);
		if (i < SERVERS)
			there[i] = status == DCM_PUBLISHED;
	}
	may_be(DcmCloseHandle(subscription), "closing a subscription");
	return true;
}

/* Of one that others read and close, too. */
static bool reader_turn(uint64_t *dice)
{
	_Atomic uint64_t *slot = &subscriptions[draw(dice, SLOTS)];
	DcmHandle subscription;

	if (draw(dice, 8) == 0 &&
	    may_be(DcmSetGroupSubscription(types, 1 + draw(dice, INTERFACES), NULL, INVALID_HANDLE,
					   &subscription),
		   "DcmSetGroupSubscription"))
		put(slot, subscription);
	return may_be(
		DcmReadGroupPubQueue(*slot, (DcmTimeout)draw(dice, 5), 0, NULL, NULL, NULL, NULL),
		"DcmReadGroupPubQueue");
}

static bool connecter_turn(uint64_t *dice)
{
	Handle session;

	/* Who listens refuses. */
	may_be(DcmConnectAnyEx(types[draw(dice, INTERFACES)], NULL, NULL, INVALID_HANDLE,
			       INVALID_HANDLE, (DcmTimeout)draw(dice, 5), (DcmTimeout)draw(dice, 5),
			       &session),
	       "DcmConnectAnyEx");
	return true;
}

static bool lister_turn(uint64_t *dice)
{
	DcmEndpointInfo all[INTERFACES * SERVERS] = { { .structSize = sizeof(all[0]) } };
	size_t count;
	Retcode rc = DcmEnumEndpoints(draw(dice, 2) ? types[0] : NULL, INTERFACES * SERVERS, all,
				      &count);

	if (!may_be(rc, "DcmEnumEndpoints"))
		return false;
	for (size_t i = 0; i < count; i++)
		if (strcmp(all[i].endpointName, "n") != 0 ||
		    strcmp(all[i].serverName, "groups.t") != 0)
			wrong("%s of %s is listed", all[i].endpointName, all[i].serverName);
	return true;
}

static bool disturber_turn(uint64_t *dice)
{
	_Atomic uint64_t *slot =
		draw(dice, 2) ? &groups[draw(dice, SLOTS)] : &subscriptions[draw(dice, SLOTS)];

	if (draw(dice, 3) == 0)
		put(slot, 0);
	else
		may_be(DcmInterruptBlockingCall(*slot), "DcmInterruptBlockingCall");
	nap_us((long)draw(dice, 3000));
	return true;
}

static bool counter_turn(uint64_t *dice)
{
	if (!wanted(rcOk, DcmInit(), "DcmInit"))
		return false;
	nap_us((long)draw(dice, 10000));
	DcmFini();
	return true;
}

static bool (*const turns[])(uint64_t *dice) = { publisher_turn, listener_turn,	 follower_turn,
						 reader_turn,	 connecter_turn, lister_turn,
						 disturber_turn, counter_turn };
static const char *const names[] = { "publisher", "listener", "follower",  "reader",
				     "connecter", "lister",   "disturber", "counter" };

enum { ROLES = sizeof turns / sizeof turns[0] };

static void *play(void *arg)
{
	uintptr_t player = (uintptr_t)arg;
	uint64_t dice = mix(seed + player);

	while (stop == 0 && !too_many_wrong())
		if (turns[player % ROLES](&dice))
			done[player % ROLES]++;
	return NULL;
}

static void see_the_end(unsigned fds)
{
	int64_t end = now_ms() + 30 * 1000;
	struct dcm_segment seg;
	struct used used;

	look_at_fabric(&seg);
	while (slots_used(&seg).process != 0 && now_ms() < end)
		nap_us(1000);
	used = slots_used(&seg);
	is_uint(0, used.process + used.endpoint + used.subscription + used.connection,
		"nothing of this process is left in the fabric");
	dcm_segment_close(&seg);
	while (tap_count_fds() != fds && now_ms() < end)
		nap_us(1000);
	is_uint(fds, tap_count_fds(), "descriptors are as before");
}

static void play_round(uint64_t round, int64_t ms)
{
	unsigned fds = tap_count_fds();
	pthread_t threads[ROLES * EACH];

	stop = 0;
	if (round % 2 == 0) /* else the last DcmFini comes again and again */
		wanted(rcOk, DcmInit(), "DcmInit");
	for (uintptr_t i = 0; i < ROLES * EACH; i++)
		threads[i] = start_thread(play, (void *)(i + round * ROLES * EACH));
	for (int64_t end = now_ms() + ms; now_ms() < end && !too_many_wrong();)
		nap_us(10000);
	stop = 1;
	for (unsigned i = 0; i < ROLES * EACH; i++)
		join_thread(threads[i]);
	for (unsigned i = 0; i < SLOTS; i++) {
		put(&groups[i], 0);
		put(&subscriptions[i], 0);
	}
	if (round % 2 == 0)
		DcmFini();
	see_the_end(fds);
}

int main(void)
{
	plan_lazy();
	tap_fabric_dir();
	seed = tap_seed();
	for (unsigned i = 0; i < SERVERS; i++) {
		wanted(rcOk,
		       KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST,
						OCAP_HANDLE_TRANSFER | OCAP_HANDLE_GET_SID, NULL,
						&servers[i]),
		       "an identity");
		wanted(rcOk, KnHandleGetSidByHandle(servers[i], &sids[i]), "its SID");
	}
	for (uint64_t round = 0; round < ROUNDS; round++)
		play_round(round, (int64_t)(tap_scaled(SECONDS) * 1000 / ROUNDS));
	for (unsigned i = 0; i < ROLES; i++)
		ok(done[i] > 0, "%s: %llu times", names[i], (unsigned long long)done[i]);
	for (unsigned i = 0; i < SERVERS; i++)
		wanted(rcOk, KnHandleClose(servers[i]), "closing an identity");
	return 0;
}
