/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/* Publishing, and what subscribers are told: order, alternation, filters, death. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "tests/api/lib_blocked.h"
#include "tests/api/lib_peer.h"

#define TYPE "test.Publish"

static DcmHandle publish(Handle server, const char *name)
{
	DcmHandle publication;

	must(DcmPublishEndpoint(server, TYPE, name, &publication));
	return publication;
}

static DcmHandle subscribe(const char *name, const char *process, Handle server)
{
	DcmHandle subscription;

	must(DcmSetSubscription(TYPE, name, process, server, &subscription));
	return subscription;
}

/* The next notice, as wanted; it is waited for, since a death is told a little later. */
static int is_notice(DcmHandle subscription, DcmPubStatus status, const char *process,
		     const char *name, Sid sid)
{
	char seen_process[DCM_NAME_SIZE] = "", seen_name[DCM_NAME_SIZE] = "";
	DcmPubStatus seen = 0;
	Handle server;
	Sid seen_sid = 0;
	Retcode rc = DcmReadPubQueue(subscription, 60 * 1000, &seen, &server, seen_process,
				     seen_name);
	bool good;

	if (rc == rcOk) {
		seen_sid = sid_of(server);
		must(KnHandleClose(server));
	}
	good = rc == rcOk && seen == status && strcmp(seen_name, name) == 0 &&
	       (process == NULL || strcmp(seen_process, process) == 0) &&
	       (sid == 0 || sid == seen_sid);
	ok(good, "%s of %s", status == DCM_PUBLISHED ? "PUBLISHED" : "UNPUBLISHED", name);
	if (!good)
		diag("  seen: %s, status %u, name %s, process %s, sid %#llx", RetcodeName(rc), seen,
		     seen_name, seen_process, (unsigned long long)seen_sid);
	return good;
}

static int is_empty(DcmHandle subscription, const char *why)
{
	return is_rc(rcTimeout, DcmReadPubQueue(subscription, 0, NULL, NULL, NULL, NULL), "%s", why);
}

static void test_back_fill(Handle self)
{
	DcmHandle one = publish(self, "one"), two = publish(self, "two");
	DcmHandle subscription = subscribe(NULL, NULL, INVALID_HANDLE), three;

	is_notice(subscription, DCM_PUBLISHED, "publish.t", "one", sid_of(self));
	is_notice(subscription, DCM_PUBLISHED, "publish.t", "two", sid_of(self));
	is_empty(subscription, "what was there is told once");
	three = publish(self, "three");
	is_notice(subscription, DCM_PUBLISHED, "publish.t", "three", sid_of(self));
	must(DcmCloseHandle(one));
	is_notice(subscription, DCM_UNPUBLISHED, "publish.t", "one", sid_of(self));
	must(DcmCloseHandle(three));
	three = publish(self, "three");
	is_notice(subscription, DCM_UNPUBLISHED, "publish.t", "three", sid_of(self));
	is_notice(subscription, DCM_PUBLISHED, "publish.t", "three", sid_of(self));
	is_empty(subscription, "then all is told");
	must(DcmCloseHandle(two));
	must(DcmCloseHandle(three));
	must(DcmCloseHandle(subscription));
	is_rc(rcInvalidArgument, DcmReadPubQueue(subscription, 0, NULL, NULL, NULL, NULL),
	      "a closed subscription");
}

static void test_outputs(Handle self)
{
	DcmHandle subscription = subscribe("outputs", NULL, INVALID_HANDLE);
	DcmHandle publication = publish(self, "outputs"), out;
	Handle server;

	is_rc(rcOk, DcmReadPubQueue(subscription, 0, NULL, &server, NULL, NULL), "a handle alone");
	is_rc(rcNoCapability, DcmPublishEndpoint(server, TYPE, "stolen", &out),
	      "nobody publishes under a server's identity");
	is_rc(rcOk, KnHandleClose(server), "the handle is the reader's to close");
	must(DcmCloseHandle(publication));
	is_rc(rcOk, DcmReadPubQueue(subscription, 0, NULL, NULL, NULL, NULL), "without outputs");
	must(DcmCloseHandle(subscription));
}

/* The same process, type, name and server twice; everything else is another publication. */
static void test_twice(Handle self)
{
	DcmHandle first = publish(self, "twice"), second, other;
	Handle user = new_identity();
	char type[DCM_NAME_SIZE] = "test.Twice";

	is_rc(rcAlreadyExists, DcmPublishEndpoint(self, TYPE, "twice", &second), "published twice");
	is_rc(rcOk, DcmPublishEndpoint(user, TYPE, "twice", &second), "by another server");
	is_rc(rcOk, DcmPublishEndpoint(self, type, "twice", &other), "of another type");
	strcpy(type, "gone");
	must(DcmCloseHandle(other));
	must(DcmCloseHandle(second));
	must(DcmCloseHandle(first));
	is_rc(rcOk, DcmPublishEndpoint(self, TYPE, "twice", &first), "again, when it is closed");
	must(DcmCloseHandle(first));
	is_rc(rcInvalidArgument, DcmCloseHandle(first), "closed twice");
	must(DcmPublishEndpoint(user, TYPE, "twice", &first));
	must(KnHandleClose(user));
	second = subscribe("twice", NULL, INVALID_HANDLE);
	ok(is_notice(second, DCM_PUBLISHED, NULL, "twice", 0), "its server handle is closed since");
	must(DcmCloseHandle(first));
	ok(is_notice(second, DCM_UNPUBLISHED, NULL, "twice", 0), "closed: it is withdrawn");
	is_empty(second, "and told of no more");
	must(DcmCloseHandle(second));
}

static void test_filters(Handle self)
{
	struct peer peer = peer_attached("far server");
	uint64_t far_sid = peer_must(&peer, PEER_SID).sid;
	Handle user = new_identity(), far;
	DcmHandle all = subscribe(NULL, NULL, INVALID_HANDLE);
	DcmHandle by_name = subscribe("b", NULL, INVALID_HANDLE);
	DcmHandle by_process = subscribe(NULL, "far server", INVALID_HANDLE);
	DcmHandle by_user = subscribe(NULL, NULL, user), by_all, by_far;
	DcmHandle none = subscribe("B", NULL, INVALID_HANDLE);
	DcmHandle a = publish(self, "a"), b = publish(user, "b");

	peer_must(&peer, PEER_PUBLISH, .type = TYPE, .name = "b");
	is_notice(all, DCM_PUBLISHED, "publish.t", "a", sid_of(self));
	is_notice(all, DCM_PUBLISHED, "publish.t", "b", sid_of(user));
	is_notice(all, DCM_PUBLISHED, "far server", "b", far_sid);
	is_notice(by_name, DCM_PUBLISHED, "publish.t", "b", sid_of(user));
	is_notice(by_name, DCM_PUBLISHED, "far server", "b", far_sid);
	is_empty(by_name, "by name, no more");
	must(DcmReadPubQueue(by_process, 0, NULL, &far, NULL, NULL));
	is_empty(by_process, "by the server's name, no more");
	is_notice(by_user, DCM_PUBLISHED, "publish.t", "b", sid_of(user));
	is_empty(by_user, "by the server's handle, no more");
	by_far = subscribe(NULL, NULL, far);
	is_notice(by_far, DCM_PUBLISHED, "far server", "b", far_sid);
	by_all = subscribe("b", "far server", far);
	is_notice(by_all, DCM_PUBLISHED, "far server", "b", far_sid);
	must(DcmCloseHandle(by_all));
	by_all = subscribe("b", "publish.t", far);
	is_empty(by_all, "filters combine with AND");
	is_empty(none, "names are compared exactly");
	must(DcmCloseHandle(b));
	must(DcmCloseHandle(a));
	peer_must(&peer, PEER_FINI);
	is_notice(by_far, DCM_UNPUBLISHED, "far server", "b", far_sid);
	is_notice(by_process, DCM_UNPUBLISHED, "far server", "b", far_sid);
	is_notice(by_user, DCM_UNPUBLISHED, "publish.t", "b", sid_of(user));
	is_int(0, peer_end(&peer), "the far server ends in order");
	must(KnHandleClose(user));
	must(KnHandleClose(far));
	for (size_t i = 0; i < 7; i++)
		must(DcmCloseHandle((DcmHandle[]){ all, by_name, by_process, by_user, by_far, by_all,
						   none }[i]));
}

static void test_killed(void)
{
	DcmHandle subscription = subscribe(NULL, NULL, INVALID_HANDLE);
	struct peer peer = peer_attached("killed");
	uint64_t sid = peer_must(&peer, PEER_SID).sid;
	struct blocked reader;
	Handle server;

	peer_must(&peer, PEER_PUBLISH, .type = TYPE, .name = "x");
	peer_must(&peer, PEER_PUBLISH, .type = TYPE, .name = "y");
	is_notice(subscription, DCM_PUBLISHED, "killed", "x", sid);
	must(DcmReadPubQueue(subscription, 0, NULL, &server, NULL, NULL));
	blocked_start(&reader, BLOCK_READ, subscription);
	peer_kill(&peer);
	blocked_ends(&reader, rcOk, "the server is killed");
	is_rc(rcOk, DcmReadPubQueue(subscription, 60 * 1000, NULL, NULL, NULL, NULL),
	      "the other notice of its death");
	is_empty(subscription, "there are no more");
	ok(sid_of(server) == sid, "a handle of the dead still has its SID");
	must(KnHandleClose(server));
	peer = peer_attached("killed");
	peer_must(&peer, PEER_PUBLISH, .type = TYPE, .name = "x");
	is_notice(subscription, DCM_PUBLISHED, "killed", "x", peer_must(&peer, PEER_SID).sid);
	sid = peer_must(&peer, PEER_SID).sid;
	peer_kill(&peer);
	is_notice(subscription, DCM_UNPUBLISHED, "killed", "x", sid);
	peer = peer_attached("killed");
	peer_must(&peer, PEER_PUBLISH, .type = TYPE, .name = "x");
	sid = peer_must(&peer, PEER_SID).sid;
	is_notice(subscription, DCM_PUBLISHED, "killed", "x", sid);
	peer_post(&peer, PEER_EXEC);
	is_notice(subscription, DCM_UNPUBLISHED, "killed", "x", sid);
	peer_kill(&peer);
	must(DcmCloseHandle(subscription));
}

/* More than a ring holds, unread: no state is lost. */
static void test_many(Handle self)
{
	enum { MANY = 1500 };
	static DcmHandle publications[MANY];
	static char seen[MANY];
	DcmHandle subscription = subscribe(NULL, NULL, INVALID_HANDLE);
	unsigned int there = 0, wrong = 0, index;
	char name[DCM_NAME_SIZE];
	DcmPubStatus status;

	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "many %d", i);
		publications[i] = publish(self, name);
	}
	for (int i = 0; i < MANY; i += 3)
		must(DcmCloseHandle(publications[i]));
	while (DcmReadPubQueue(subscription, 0, &status, NULL, NULL, name) == rcOk) {
		if (sscanf(name, "many %u", &index) != 1 || index >= MANY)
			die("a notice of \"%s\"", name);
		wrong += seen[index] != (status == DCM_UNPUBLISHED);
		seen[index] = status == DCM_PUBLISHED;
	}
	for (int i = 0; i < MANY; i++) {
		wrong += seen[i] != (i % 3 != 0);
		there += seen[i] != 0;
	}
	is_uint(0, wrong, "of %d endpoints, unread, the right %u are announced", MANY, there);
	for (int i = 0; i < MANY; i++)
		if (i % 3 != 0)
			must(DcmCloseHandle(publications[i]));
	must(DcmCloseHandle(subscription));
}

static void test_readers(Handle self)
{
	DcmHandle subscription = subscribe("readers", NULL, INVALID_HANDLE), publication;
	struct blocked readers[4];
	int published = 0;

	for (int i = 0; i < 4; i++)
		blocked_start(&readers[i], BLOCK_READ, subscription);
	for (int i = 0; i < 2; i++) {
		publication = publish(self, "readers");
		must(DcmCloseHandle(publication));
	}
	publication = publish(self, "readers");
	/* Some pairs may have come and gone unread, so not all readers need end here. */
	must(DcmCloseHandle(subscription));
	for (int i = 0; i < 4; i++) {
		task_join(&readers[i].task);
		published += readers[i].rc == rcOk || readers[i].rc == rcNotConnected;
	}
	is_int(4, published, "four readers of one subscription end, with a notice or its close");
	must(DcmCloseHandle(publication));
	subscription = subscribe("readers", NULL, INVALID_HANDLE);
	is_rc(rcTimeout, DcmReadPubQueue(subscription, 2, NULL, NULL, NULL, NULL), "a short wait");
	blocked_start(&readers[0], BLOCK_READ, subscription);
	publication = publish(self, "readers");
	blocked_ends(&readers[0], rcOk, "something is published");
	blocked_start(&readers[0], BLOCK_READ, subscription);
	blocked_start(&readers[1], BLOCK_READ, subscription);
	must(DcmCloseHandle(subscription));
	blocked_ends(&readers[0], rcNotConnected, "the subscription is closed");
	blocked_ends(&readers[1], rcNotConnected, "the subscription is closed");
	must(DcmCloseHandle(publication));
}

/* The last DcmFini ends blocked calls; an earlier one ends nothing. */
static void test_fini(Handle self)
{
	static const enum blocking what[] = { BLOCK_READ, BLOCK_LISTEN, BLOCK_CONNECT };
	struct blocked blocked[3];
	uint64_t handles[3];

	must(DcmInit());
	handles[0] = subscribe("fini", NULL, INVALID_HANDLE);
	handles[1] = publish(self, "listened");
	must(DcmCreateConnection(TYPE, "nobody", INVALID_HANDLE, INVALID_HANDLE, &handles[2]));
	for (int i = 0; i < 3; i++)
		blocked_start(&blocked[i], what[i], handles[i]);
	DcmFini();
	for (int i = 0; i < 3; i++)
		ok(task_asleep(&blocked[i].task), "%s outlasts a DcmFini that is not the last",
		   blocking_name(what[i]));
	DcmFini();
	for (int i = 0; i < 3; i++)
		blocked_ends(&blocked[i], rcNotConnected, "blocked at the last DcmFini");
}

int main(void)
{
	struct holdings before;
	Handle self;

	plan_lazy();
	tap_fabric_dir();
	before = holdings_now();
	self = KosTaskGetHandle(KosTaskGetSelf());
	must(DcmInit());
	test_back_fill(self);
	test_outputs(self);
	test_twice(self);
	test_filters(self);
	test_killed();
	test_many(self);
	test_readers(self);
	test_fini(self);
	holdings_are(&before, "after the last DcmFini");
	return 0;
}
