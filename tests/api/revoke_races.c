/* SPDX-License-Identifier: BSD-2-Clause */
/* One handle closed and revoked, or revoked twice, at the same time: rcOk says that it is done. */
#define _GNU_SOURCE
#include <coresrv/handle/notice_api.h>

#include "tests/api/lib_race.h"

enum { ROUNDS = 20000, APART = 64 };

static struct round {
	Handle top, badge;
	bool subtree;
	Retcode rc;
} now;
static struct race race;

static void revoke_it(void)
{
	now.rc = now.subtree ? KnHandleRevokeSubtree(now.top, now.badge) : KnHandleRevoke(now.top);
}

/* One round. Return: true, or false: told that all is revoked, and it is not. */
static bool run_round(uint64_t *state)
{
	Handle copy;
	Sid sid;
	bool kept;

	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST,
				      OCAP_HANDLE_COPY | OCAP_HANDLE_GET_SID, NULL, &now.top));
	must(KnHandleCopy(now.top, OCAP_HANDLE_GET_SID, now.badge, &copy));
	race_go(&race, state);
	(void)KnHandleClose(now.top);
	race_done(&race);
	kept = KnHandleGetSidByHandle(copy, &sid) == rcOk;
	must(KnHandleClose(copy));
	return now.rc != rcOk || !kept;
}

static void test_race(bool subtree, uint64_t *state)
{
	unsigned rounds = (unsigned)tap_scaled(ROUNDS), told = 0, wrong = 0;

	now.subtree = subtree;
	race_start(&race, revoke_it, APART, random_next(state));
	for (unsigned i = 0; i < rounds; i++) {
		wrong += !run_round(state);
		told += now.rc == rcOk;
	}
	race_stop(&race);
	ok(wrong == 0,
	   "%s against KnHandleClose: %u of %u times first, %u times told so and not so",
	   subtree ? "KnHandleRevokeSubtree" : "KnHandleRevoke", told, rounds, wrong);
}

enum { SESSIONS = 60, TWICE_ROUNDS = 8 };

static atomic_uint both_ready;

/* Revokes, and finds nothing more to receive when that is done. */
struct revoker {
	struct pair *pair;
	uint64_t random;
	Retcode received;
};

static void revoke_and_receive(void *arg)
{
	struct revoker *revoker = arg;
	DcmRequest request;

	race_meet(&both_ready, APART, &revoker->random);
	must(KnHandleRevokeSubtree(revoker->pair->callable, now.badge));
	revoker->received = DcmReceive(revoker->pair->listener, 0, &request);
	if (revoker->received == rcOk)
		must(DcmRelease(&request.message));
}

/* A session of the badge's, with a message in it that nobody has received. */
static Handle session_with_message(const char *name, struct pair *pair)
{
	DcmHandle connection, request;
	Handle session;
	DcmMessage message;

	must(DcmCreateConnection(PAIR_TYPE, name, INVALID_HANDLE, INVALID_HANDLE, &connection));
	if (DcmConnect(connection, 0, &session) != rcTimeout)
		die("decided before anybody listened");
	must(DcmListen(pair->publication, INFINITE_TIMEOUT, NULL, NULL, &request));
	must(DcmAccept(request, pair->callable, now.badge));
	must(DcmConnect(connection, INFINITE_TIMEOUT, &session));
	must(DcmCloseHandle(request));
	must(DcmCloseHandle(connection));
	message = must_loan(session, 1);
	must(DcmSend(session, &message, 0));
	return session;
}

/* Return: how many of two were told rcOk before nothing could be received any more. */
static unsigned revoke_twice(uint64_t *state)
{
	struct revoker revokers[2];
	Handle sessions[SESSIONS];
	struct task tasks[2];
	struct pair pair;

	pair_open(&pair);
	for (unsigned i = 0; i < SESSIONS; i++)
		sessions[i] = session_with_message(pair.name, &pair);
	for (unsigned i = 0; i < 2; i++) {
		revokers[i] = (struct revoker){ &pair, random_next(state), rcOk };
		task_start(&tasks[i], revoke_and_receive, &revokers[i]);
	}
	for (unsigned i = 0; i < 2; i++)
		task_join(&tasks[i]);
	for (unsigned i = 0; i < SESSIONS; i++)
		must(KnHandleClose(sessions[i]));
	pair_close(&pair);
	return (revokers[0].received == rcTimeout ? 0u : 1u) +
	       (revokers[1].received == rcTimeout ? 0u : 1u);
}

static void test_twice(uint64_t *state)
{
	unsigned rounds = (unsigned)tap_scaled(TWICE_ROUNDS), wrong = 0;

	must(DcmInit());
	for (unsigned i = 0; i < rounds; i++)
		wrong += revoke_twice(state);
	ok(wrong == 0, "revoked by two at once: %u of %u were told so too early", wrong,
	   2 * rounds);
	DcmFini();
}

int main(void)
{
	uint64_t state;
	Notice notice;

	plan_lazy();
	tap_fabric_dir();
	state = tap_seed();
	must(KnNoticeCreate(&notice));
	must(KnHandleCreateBadge(notice, 1, NULL, &now.badge));
	test_race(false, &state);
	test_race(true, &state);
	test_twice(&state);
	must(KnHandleClose(now.badge));
	must(KnNoticeRelease(notice));
	return 0;
}
