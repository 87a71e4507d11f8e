/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/*
 * Revocation of what other processes were shown: the identities that they got as outServerHandle and
 * outClientHandle end with the handle that they descend from, and no others do.
 */
#define _GNU_SOURCE
#include <coresrv/handle/notice_api.h>
#include <dcm/groups/pub.h>
#include <dcm/groups/subscr.h>
#include <dcm/helpers/connect.h>
#include <stdio.h>
#include <string.h>

#include "tests/api/lib_peer.h"

#define TYPE "shown.Type"

enum { GIVE = OCAP_HANDLE_TRANSFER | OCAP_HANDLE_GET_SID | OCAP_HANDLE_COPY };
enum { WAIT_MS = 20 * 1000 };

/* What there is under a type of its own: who shows itself, and who looks. */
struct scene {
	char type[32];
	struct peer giver;
	DcmHandle seen;
	uint64_t user; /* of the giver's */
};

static struct scene begin(void)
{
	static unsigned int number;
	struct scene s;

	snprintf(s.type, sizeof s.type, TYPE "%u", ++number);
	s.giver = peer_attached("giver");
	s.user = peer_must(&s.giver, PEER_USER, .other = GIVE).handle;
	must(DcmSetSubscription(s.type, NULL, NULL, INVALID_HANDLE, &s.seen));
	return s;
}

static void end(struct scene *s)
{
	must(DcmCloseHandle(s->seen));
	is_int(0, peer_end(&s->giver), "the giver ends in order");
}

static uint64_t publish(struct scene *s, const char *name, uint64_t handle)
{
	return peer_must(&s->giver, PEER_PUBLISH, .type = s->type, .name = name, .handle = handle)
		.handle;
}

/* The next notice, which is about @name; revoked or not. */
static Handle read_server(const struct scene *s, DcmPubStatus wanted, const char *name)
{
	char server[DCM_NAME_SIZE], endpoint[DCM_NAME_SIZE];
	DcmPubStatus status;
	Handle handle;

	must(DcmReadPubQueue(s->seen, WAIT_MS, &status, &handle, server, endpoint));
	ok(status == wanted && strcmp(endpoint, name) == 0 && strcmp(server, "giver") == 0,
	   "%s of %s is read", wanted == DCM_PUBLISHED ? "PUBLISHED" : "UNPUBLISHED", name);
	return handle;
}

static Handle publish_and_read(struct scene *s, const char *name, uint64_t handle)
{
	publish(s, name, handle);
	return read_server(s, DCM_PUBLISHED, name);
}

static void is_good(Handle handle, const char *what)
{
	Sid sid;

	is_rc(rcOk, KnHandleGetSidByHandle(handle, &sid), "of use: %s", what);
}

/* Every function that takes one. */
static void is_revoked(Handle handle, const char *what)
{
	const char *types[] = { TYPE };
	Handle session, copy;
	DcmHandle none;
	Notice notice;
	Sid sid;

	must(KnNoticeCreate(&notice));
	is_rc(rcHandleRevoked, KnHandleGetSidByHandle(handle, &sid), "the SID of %s", what);
	is_rc(rcHandleRevoked, KnHandleCopy(handle, 0, INVALID_HANDLE, &copy), "a copy of %s",
	      what);
	is_rc(rcHandleRevoked, KnHandleRevoke(handle), "revoking %s", what);
	is_rc(rcHandleRevoked, DcmSetSubscription(TYPE, NULL, NULL, handle, &none),
	      "a subscription to %s", what);
	is_rc(rcHandleRevoked, DcmSetGroupSubscription(types, 1, NULL, handle, &none),
	      "a group's subscription to %s", what);
	is_rc(rcHandleRevoked, DcmCreateConnection(TYPE, "n", handle, INVALID_HANDLE, &none),
	      "a connection to %s", what);
	is_rc(rcHandleRevoked,
	      DcmConnectAnyEx(TYPE, NULL, NULL, handle, INVALID_HANDLE, 0, 0, &session),
	      "finding and connecting to %s", what);
	is_rc(rcHandleRevoked, DcmPublishEndpoint(handle, TYPE, "n", &none), "publishing as %s",
	      what);
	is_rc(rcHandleRevoked, KnNoticeSubscribeToObject(notice, handle, EVENT_OBJECT_DESTROYED, 1),
	      "the events of %s", what);
	must(KnNoticeRelease(notice));
}

static void close_revoked(Handle handle)
{
	Sid sid;

	is_rc(rcOk, KnHandleClose(handle), "what is revoked is closed");
	is_rc(rcInvalidArgument, KnHandleGetSidByHandle(handle, &sid), "then it is no handle");
}

/* Of one resource, by way of different handles. */
static void test_server(void)
{
	struct scene s = begin();
	uint64_t copy = peer_must(&s.giver, PEER_COPY, .handle = s.user, .other = GIVE).handle;
	uint64_t deep = peer_must(&s.giver, PEER_COPY, .handle = copy, .other = GIVE).handle;
	Handle by_top = publish_and_read(&s, "top", s.user);
	Handle by_deep = publish_and_read(&s, "deep", deep), late;
	uint64_t withdrawn = publish(&s, "gone", deep);

	late = read_server(&s, DCM_PUBLISHED, "gone");
	is_uint(sid_of(by_top), sid_of(by_deep), "two handles of one resource");
	peer_must(&s.giver, PEER_REVOKE, .handle = copy);
	is_revoked(by_deep, "one shown by way of a copy's copy");
	is_revoked(late, "one shown by way of the same");
	is_good(by_top, "one shown by way of another handle");
	close_revoked(by_deep);
	close_revoked(late);
	peer_must(&s.giver, PEER_CLOSE, .handle = withdrawn);
	late = read_server(&s, DCM_UNPUBLISHED, "gone");
	is_revoked(late, "one that is shown at the end, with its names,");
	peer_must(&s.giver, PEER_REVOKE, .handle = s.user);
	is_revoked(by_top, "the other one");
	close_revoked(late);
	close_revoked(by_top);
	end(&s);
}

/* A publication outlives its handle, and a handle's place in the tree outlives it. */
static void test_closed(void)
{
	struct scene s = begin();
	uint64_t copy = peer_must(&s.giver, PEER_COPY, .handle = s.user, .other = GIVE).handle;
	Handle by_copy = publish_and_read(&s, "copy", copy), again, session;
	struct peer other = peer_attached("other");
	struct peer_answer a;
	DcmHandle seen;

	peer_must(&s.giver, PEER_KCLOSE, .handle = copy);
	is_good(by_copy, "one whose ancestor is closed");
	peer_must(&s.giver, PEER_REVOKE, .handle = s.user);
	is_revoked(by_copy, "one whose ancestor's ancestor is revoked");
	close_revoked(by_copy);
	a = peer_must(&other, PEER_SUBSCRIBE, .type = s.type);
	a = peer_do(&other, PEER_READ, .handle = a.handle, .timeout = WAIT_MS);
	is_answer(rcHandleRevoked, &a, "what is shown behind the revocation is revoked");
	ok(strcmp(a.name, "copy") == 0 && a.other == DCM_PUBLISHED, "and has its names");
	must(DcmSetSubscription(s.type, NULL, NULL, INVALID_HANDLE, &seen));
	must(DcmReadPubQueue(seen, WAIT_MS, NULL, &again, NULL, NULL));
	is_revoked(again, "what this process is shown anew");
	close_revoked(again);
	must(DcmCloseHandle(seen));
	is_rc(rcTimeout,
	      DcmConnectAnyEx(s.type, NULL, NULL, INVALID_HANDLE, INVALID_HANDLE, 0, 1, &session),
	      "who looks for any server asks it all the same: it publishes");
	peer_must(&other, PEER_FINI);
	is_int(0, peer_end(&other), "the other one ends");
	end(&s);
}

static void test_client(void)
{
	struct scene s = begin();
	uint64_t copy = peer_must(&s.giver, PEER_COPY, .handle = s.user, .other = GIVE).handle;
	Handle by_user, by_copy, by_own;
	DcmHandle publication, request;
	struct peer_answer a;

	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), s.type, "n", &publication));
	const uint64_t shown[] = { s.user, copy, 0 };
	Handle *const got[] = { &by_user, &by_copy, &by_own };
	for (int i = 0; i < 3; i++) {
		a = peer_must(&s.giver, PEER_CREATE, .type = s.type, .name = "n",
			      .handle = shown[i]);
		peer_do(&s.giver, PEER_CONNECT, .handle = a.handle);
		must(DcmListen(publication, WAIT_MS, got[i], NULL, &request));
		must(DcmCloseHandle(request));
	}
	is_uint(sid_of(by_user), sid_of(by_copy), "clients of one identity");
	peer_must(&s.giver, PEER_REVOKE, .handle = copy);
	is_revoked(by_copy, "a client that showed a copy");
	is_good(by_user, "another");
	is_good(by_own, "a third");
	peer_must(&s.giver, PEER_REVOKE, .handle = s.user);
	is_revoked(by_user, "the other");
	is_good(by_own, "what was shown by way of the process's own handle");
	close_revoked(by_copy);
	close_revoked(by_user);
	must(KnHandleClose(by_own));
	must(DcmCloseHandle(publication));
	end(&s);
}

/* Requests that wait while the handle that they show is revoked. */
static void test_waiting_request(void)
{
	struct scene s = begin();
	DcmHandle publication, request;
	struct peer_answer a;
	Handle client;

	a = peer_must(&s.giver, PEER_CREATE, .type = s.type, .name = "n", .handle = s.user);
	peer_do(&s.giver, PEER_CONNECT, .handle = a.handle);
	peer_must(&s.giver, PEER_REVOKE, .handle = s.user);
	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), s.type, "n", &publication));
	must(DcmListen(publication, WAIT_MS, &client, NULL, &request));
	is_revoked(client, "the client of a request that was waiting");
	close_revoked(client);
	must(DcmCloseHandle(request));
	must(DcmCloseHandle(publication));
	end(&s);
}

static void test_groups(void)
{
	static const char *const types[] = { TYPE ".A", TYPE ".B" };
	const DcmGroupEndpoint mine[] = { { TYPE ".C", "n", NULL }, { TYPE ".D", "n", NULL } };
	struct scene s = begin();
	DcmHandle seen, publication, request;
	Handle server, client;
	struct peer_answer a;
	void *context;

	peer_must(&s.giver, PEER_GROUP_PUBLISH, .type = TYPE ".A " TYPE ".B", .name = "n",
		  .handle = s.user);
	must(DcmSetGroupSubscription(types, 2, NULL, INVALID_HANDLE, &seen));
	must(DcmReadGroupPubQueue(seen, WAIT_MS, 0, NULL, &server, NULL, NULL));
	must(DcmPublishGroupEndpoints(KosTaskGetHandle(KosTaskGetSelf()), mine, 2, &publication));
	a = peer_must(&s.giver, PEER_CREATE, .type = TYPE ".D", .name = "n", .handle = s.user);
	peer_do(&s.giver, PEER_CONNECT, .handle = a.handle);
	must(DcmListenGroupPub(publication, WAIT_MS, &client, NULL, &context, &request));
	is_uint(sid_of(server), sid_of(client), "one shows itself as a server and as a client");
	peer_must(&s.giver, PEER_REVOKE, .handle = s.user);
	is_revoked(server, "the server of a group");
	is_revoked(client, "the client of a group");
	close_revoked(server);
	close_revoked(client);
	must(DcmCloseHandle(request));
	must(DcmCloseHandle(publication));
	must(DcmCloseHandle(seen));
	end(&s);
}

/* The process's own handle stays, and what descends from it is revoked. */
static void test_task(void)
{
	struct scene s = begin();
	struct peer other = peer_attached("other");
	Handle before = publish_and_read(&s, "before", 0), after;
	struct peer_answer a;

	a = peer_must(&s.giver, PEER_COPY, .handle = 0, .other = GIVE);
	peer_must(&s.giver, PEER_REVOKE, .handle = 0);
	is_revoked(before, "what was shown by way of the process's own handle");
	after = publish_and_read(&s, "after", 0);
	is_good(after, "what is shown by way of it since");
	a = peer_must(&other, PEER_SUBSCRIBE, .type = s.type, .name = "before");
	a = peer_do(&other, PEER_READ, .handle = a.handle, .timeout = WAIT_MS);
	is_answer(rcHandleRevoked, &a, "and not by the publication that there was");
	close_revoked(before);
	must(KnHandleClose(after));
	peer_kill(&other);
	end(&s);
}

/* What was made with a handle before it was revoked goes on. */
static void test_filters(void)
{
	struct scene s = begin();
	Handle server = publish_and_read(&s, "one", s.user), unused;
	DcmHandle filtered, connection;

	must(DcmSetSubscription(s.type, NULL, NULL, server, &filtered));
	must(DcmCreateConnection(s.type, "one", server, INVALID_HANDLE, &connection));
	peer_must(&s.giver, PEER_REVOKE, .handle = s.user);
	is_rc(rcOk, DcmReadPubQueue(filtered, WAIT_MS, NULL, NULL, NULL, NULL),
	      "a subscription that a revoked handle filters goes on");
	is_rc(rcTimeout, DcmConnect(connection, 0, &unused), "so does a connection");
	must(DcmCloseHandle(filtered));
	must(DcmCloseHandle(connection));
	is_revoked(server, "the handle");
	close_revoked(server);
	end(&s);
}

/* Who is told of a peer's death by a handle that the peer had revoked: nobody. */
static void test_events(void)
{
	struct scene s = begin();
	Handle good = publish_and_read(&s, "good", 0), bad = publish_and_read(&s, "bad", s.user);
	EventDesc events[2];
	Notice notice;
	size_t count;

	must(KnNoticeCreate(&notice));
	must(KnNoticeSubscribeToObject(notice, bad, EVENT_OBJECT_DESTROYED, 1));
	must(KnNoticeSubscribeToObject(notice, good, EVENT_OBJECT_DESTROYED, 2));
	peer_must(&s.giver, PEER_REVOKE, .handle = s.user);
	peer_kill(&s.giver);
	is_rc(rcOk, KnNoticeGetEvent(notice, WAIT_MS, 2, events, &count), "the giver is killed");
	ok(count == 1 && events[0].eventId == 2, "as is told by the handle that is left");
	is_rc(rcTimeout, KnNoticeGetEvent(notice, 2500, 2, events, &count),
	      "and not by the one that is revoked");
	is_revoked(bad, "it stays revoked: the handle");
	is_good(good, "the other one, of the same dead process");
	close_revoked(bad);
	must(KnHandleClose(good));
	must(KnNoticeRelease(notice));
	must(DcmCloseHandle(s.seen));
}

/* Places of the dead are used again; what was revoked there stays so, and only that. */
static void test_dead_givers(void)
{
	struct scene s = begin(), next;
	Handle bad = publish_and_read(&s, "bad", s.user), good = publish_and_read(&s, "good", 0);
	struct peer watcher = peer_attached("watcher");
	struct peer_answer a;
	uint64_t unused;

	a = peer_must(&watcher, PEER_SUBSCRIBE, .type = s.type, .name = "bad");
	unused = peer_must(&watcher, PEER_READ, .handle = a.handle, .timeout = WAIT_MS).handle;
	peer_must(&s.giver, PEER_REVOKE, .handle = s.user);
	peer_kill(&s.giver);
	a = peer_do(&watcher, PEER_SID, .handle = unused);
	is_answer(rcHandleRevoked, &a, "the giver is dead, and who looks for the first time hears");
	next = begin();
	for (int i = 0; i < 4; i++) {
		char name[16];
		uint64_t user = peer_must(&next.giver, PEER_USER, .other = GIVE).handle;

		snprintf(name, sizeof name, "n%d", i);
		must(KnHandleClose(publish_and_read(&next, name, user)));
		peer_must(&next.giver, PEER_REVOKE, .handle = user);
	}
	a = peer_do(&watcher, PEER_SID, .handle = unused);
	is_answer(rcHandleRevoked, &a, "who has heard does not forget when the place is another's");
	is_good(good, "what the dead one had not revoked");
	must(KnHandleClose(bad));
	must(KnHandleClose(good));
	must(DcmCloseHandle(s.seen));
	peer_kill(&watcher);
	end(&next);
}

/* The same where giver and holder are one process; by way of badges, and of what has no parent. */
static void test_own(void)
{
	Handle top, copy, badge, by_copy, by_top;
	DcmHandle seen, publications[2];
	Notice notice;

	must(KnNoticeCreate(&notice));
	must(KnHandleCreateBadge(notice, 1, NULL, &badge));
	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, GIVE, NULL, &top));
	must(KnHandleCopy(top, GIVE, badge, &copy));
	must(DcmSetSubscription("shown.Own", NULL, NULL, INVALID_HANDLE, &seen));
	must(DcmPublishEndpoint(copy, "shown.Own", "copy", &publications[0]));
	must(DcmReadPubQueue(seen, WAIT_MS, NULL, &by_copy, NULL, NULL));
	must(DcmPublishEndpoint(top, "shown.Own", "top", &publications[1]));
	must(DcmReadPubQueue(seen, WAIT_MS, NULL, &by_top, NULL, NULL));
	must(KnHandleRevokeSubtree(top, badge));
	is_revoked(by_copy, "what was shown by way of a copy under a badge");
	is_good(by_top, "what was shown by way of what it is a copy of");
	must(KnHandleClose(top));
	is_good(by_top, "the same when that is closed, and nobody can revoke it any more");
	must(KnHandleClose(copy));
	close_revoked(by_copy);
	must(KnHandleClose(by_top));
	must(DcmCloseHandle(publications[0]));
	must(DcmCloseHandle(publications[1]));
	must(DcmCloseHandle(seen));
	must(KnHandleClose(badge));
	must(KnNoticeRelease(notice));
}

/* While it is in no fabric a process hears of nothing; when it is back, of all. */
static void test_absent_holder(void)
{
	struct scene s = begin();
	struct peer holder = peer_attached("holder");
	struct peer_answer a = peer_must(&holder, PEER_SUBSCRIBE, .type = s.type);
	uint64_t shown;

	publish(&s, "n", s.user);
	shown = peer_must(&holder, PEER_READ, .handle = a.handle, .timeout = WAIT_MS).handle;
	peer_must(&holder, PEER_FINI);
	peer_must(&s.giver, PEER_REVOKE, .handle = s.user);
	a = peer_do(&holder, PEER_SID, .handle = shown);
	is_answer(rcOk, &a, "a holder that has left the fabric has not heard");
	peer_must(&holder, PEER_INIT);
	a = peer_do(&holder, PEER_SID, .handle = shown);
	is_answer(rcHandleRevoked, &a, "it hears when it is back");
	peer_must(&holder, PEER_FINI);
	a = peer_do(&holder, PEER_SID, .handle = shown);
	is_answer(rcHandleRevoked, &a, "and does not forget");
	is_int(0, peer_end(&holder), "the holder ends");
	end(&s);
}

int main(void)
{
	plan_lazy();
	tap_fabric_dir();
	must(DcmInit());
	test_server();
	test_closed();
	test_client();
	test_waiting_request();
	test_groups();
	test_task();
	test_filters();
	test_events();
	test_dead_givers();
	test_own();
	test_absent_holder();
	DcmFini();
	return 0;
}
