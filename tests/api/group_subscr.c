/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/* Groups of a client: when a server has all interfaces, what is told of it, and its death. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/api/lib_blocked.h"
#include "tests/api/lib_peer.h"

#define A   "test.GroupA"
#define B   "test.GroupB"
#define C   "test.GroupC"
#define ALL A " " B " " C

enum { MEMBERS = 3, TABLE = 16 };

static const char *const types[MEMBERS] = { A, B, C };
static Handle self;

static DcmHandle subscribe(const char *process, Handle server)
{
	DcmHandle subscription;

	must(DcmSetGroupSubscription(types, MEMBERS, process, server, &subscription));
	return subscription;
}

static DcmHandle publish(Handle server, unsigned member, const char *name)
{
	DcmHandle publication;

	must(DcmPublishEndpoint(server, types[member], name, &publication));
	return publication;
}

static DcmHandle publish_group(Handle server, const char *name)
{
	DcmGroupEndpoint group[MEMBERS];
	DcmHandle publication;

	for (unsigned i = 0; i < MEMBERS; i++)
		group[i] = (DcmGroupEndpoint){ types[i], name, NULL };
	must(DcmPublishGroupEndpoints(server, group, MEMBERS, &publication));
	return publication;
}

/* The next notice: of the server with @sid, and the names of its endpoints. */
static int is_notice(DcmHandle subscription, DcmPubStatus status, Sid sid, const char *names)
{
	DcmGroupEndpointInfo seen[MEMBERS + 1];
	char process[DCM_NAME_SIZE] = "", text[4 * DCM_NAME_SIZE] = "";
	DcmPubStatus seen_status = 0;
	bool in_order = true;
	Handle server;
	Sid seen_sid = 0;
	Retcode rc = DcmReadGroupPubQueue(subscription, 60 * 1000, MEMBERS + 1, &seen_status,
					  &server, process, seen);

	if (rc == rcOk) {
		seen_sid = sid_of(server);
		must(KnHandleClose(server));
		snprintf(text, sizeof(text), "%s %s %s", seen[0].endpointName, seen[1].endpointName,
			 seen[2].endpointName);
		for (unsigned i = 0; i < MEMBERS; i++)
			in_order = in_order && strcmp(seen[i].endpointType, types[i]) == 0;
	}
	if (rc == rcOk && seen_status == status && seen_sid == sid && in_order &&
	    process[0] != '\0' && strcmp(names, text) == 0)
		return ok(1, "%s: %s", status == DCM_PUBLISHED ? "PUBLISHED" : "UNPUBLISHED",
			  names);
	ok(0, "%s: %s", status == DCM_PUBLISHED ? "PUBLISHED" : "UNPUBLISHED", names);
	diag("  seen: %s, status %u, %s of %s, sid %#llx, wanted %#llx", RetcodeName(rc),
	     seen_status, text, process, (unsigned long long)seen_sid, (unsigned long long)sid);
	return 0;
}

static int is_empty(DcmHandle subscription, const char *why)
{
	return is_rc(rcTimeout, DcmReadGroupPubQueue(subscription, 0, 0, NULL, NULL, NULL, NULL),
		     "%s", why);
}

static void test_arguments(void)
{
	const char *const twice[] = { A, B, A }, *const bad[] = { A, "" },
			  *const null[] = { A, NULL };
	DcmGroupEndpointInfo seen[MEMBERS];
	DcmHandle out, plain, publication;
	Handle weak, server;

	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, 0, NULL, &weak));
	is_rc(rcInvalidArgument, DcmSetGroupSubscription(NULL, 1, NULL, INVALID_HANDLE, &out),
	      "no array");
	is_rc(rcInvalidArgument, DcmSetGroupSubscription(types, 0, NULL, INVALID_HANDLE, &out),
	      "no interface");
	is_rc(rcInvalidArgument, DcmSetGroupSubscription(twice, 3, NULL, INVALID_HANDLE, &out),
	      "one interface twice");
	is_rc(rcInvalidArgument, DcmSetGroupSubscription(bad, 2, NULL, INVALID_HANDLE, &out),
	      "an empty name");
	is_rc(rcInvalidArgument, DcmSetGroupSubscription(null, 2, NULL, INVALID_HANDLE, &out),
	      "no name");
	is_rc(rcInvalidArgument, DcmSetGroupSubscription(types, 2, "", INVALID_HANDLE, &out),
	      "an empty server name");
	is_rc(rcNoCapability, DcmSetGroupSubscription(types, 2, NULL, weak, &out),
	      "without the right");
	is_rc(rcInvalidArgument, DcmSetGroupSubscription(types, 2, NULL, INVALID_HANDLE, NULL),
	      "no output");
	must(KnHandleClose(weak));
	out = subscribe(NULL, INVALID_HANDLE);
	must(DcmSetSubscription(A, NULL, NULL, INVALID_HANDLE, &plain));
	is_rc(rcInvalidArgument, DcmReadPubQueue(out, 0, NULL, NULL, NULL, NULL),
	      "DcmReadPubQueue on a group");
	is_rc(rcInvalidArgument, DcmReadGroupPubQueue(plain, 0, 0, NULL, NULL, NULL, NULL),
	      "DcmReadGroupPubQueue on a subscription");
	is_rc(rcBufferTooSmall,
	      DcmReadGroupPubQueue(out, INFINITE_TIMEOUT, 2, NULL, NULL, NULL, seen),
	      "too small a buffer, at once");
	publication = publish_group(self, "x");
	is_rc(rcBufferTooSmall, DcmReadGroupPubQueue(out, 0, 2, NULL, &server, NULL, seen),
	      "the notice stays");
	is_rc(rcOk, DcmReadGroupPubQueue(out, 0, 0, NULL, NULL, NULL, NULL), "without outputs");
	must(DcmCloseHandle(publication));
	is_notice(out, DCM_UNPUBLISHED, sid_of(self), "x x x");
	is_rc(rcOk, DcmCloseHandle(out), "closed as any");
	is_rc(rcInvalidArgument, DcmReadGroupPubQueue(out, 0, 0, NULL, NULL, NULL, NULL), "closed");
	must(DcmCloseHandle(plain));
}

static void test_life(void)
{
	DcmHandle subscription = subscribe(NULL, INVALID_HANDLE), late, a, b, c;
	Handle user = new_identity();
	Sid sid = sid_of(self);

	c = publish(self, 2, "c");
	a = publish(self, 0, "a");
	is_empty(subscription, "two of three interfaces");
	b = publish(user, 1, "not the same server");
	is_empty(subscription, "the third is another server's");
	must(DcmCloseHandle(b));
	b = publish(self, 1, "b");
	is_notice(subscription, DCM_PUBLISHED, sid, "a b c");
	is_empty(subscription, "once");
	late = subscribe(NULL, INVALID_HANDLE);
	is_notice(late, DCM_PUBLISHED, sid, "a b c");
	is_empty(late, "what was there is told, once");
	must(DcmCloseHandle(b));
	is_notice(subscription, DCM_UNPUBLISHED, sid, "a b c");
	must(DcmCloseHandle(a));
	is_empty(subscription, "only the first of them that goes is told");
	a = publish(self, 0, "a2");
	b = publish(self, 1, "b2");
	is_notice(subscription, DCM_PUBLISHED, sid, "a2 b2 c");
	is_notice(late, DCM_UNPUBLISHED, sid, "a b c");
	is_notice(late, DCM_PUBLISHED, sid, "a2 b2 c");
	must(DcmCloseHandle(a));
	must(DcmCloseHandle(b));
	must(DcmCloseHandle(c));
	is_notice(late, DCM_UNPUBLISHED, sid, "a2 b2 c");
	is_empty(late, "all is gone");
	must(DcmCloseHandle(late));
	must(DcmCloseHandle(subscription));
	must(KnHandleClose(user));
}

/* Several endpoints of an interface: the first that was seen, and when it goes, the next. */
static void test_several(void)
{
	DcmHandle subscription = subscribe(NULL, INVALID_HANDLE), group = publish_group(self, "x"),
		  y, z;
	Sid sid = sid_of(self);

	is_notice(subscription, DCM_PUBLISHED, sid, "x x x");
	y = publish(self, 1, "y");
	z = publish(self, 1, "z");
	is_empty(subscription, "more of an interface are no news");
	must(DcmCloseHandle(y));
	is_empty(subscription, "nor is their end");
	must(DcmCloseHandle(group));
	is_notice(subscription, DCM_UNPUBLISHED, sid, "x x x");
	group = publish_group(self, "x");
	is_notice(subscription, DCM_PUBLISHED, sid, "x z x");
	must(DcmCloseHandle(z));
	is_notice(subscription, DCM_UNPUBLISHED, sid, "x z x");
	is_notice(subscription, DCM_PUBLISHED, sid, "x x x");
	must(DcmCloseHandle(group));
	is_notice(subscription, DCM_UNPUBLISHED, sid, "x x x");
	is_empty(subscription, "that is all");
	must(DcmCloseHandle(subscription));
}

static void test_filters(void)
{
	struct peer peer = peer_attached("far server");
	uint64_t far_sid = peer_must(&peer, PEER_SID).sid;
	Handle user = new_identity(), far;
	DcmHandle by_process = subscribe("far server", INVALID_HANDLE);
	DcmHandle by_user = subscribe(NULL, user), all = subscribe(NULL, INVALID_HANDLE), by_far,
		  none;
	DcmHandle own = publish_group(user, "u"), more = publish_group(self, "s");

	peer_must(&peer, PEER_GROUP_PUBLISH, .type = ALL, .name = "f");
	is_notice(by_user, DCM_PUBLISHED, sid_of(user), "u u u");
	is_empty(by_user, "by the server's handle, no more");
	must(DcmReadGroupPubQueue(by_process, 60 * 1000, 0, NULL, &far, NULL, NULL));
	is_empty(by_process, "by the server's name, no more");
	ok(sid_of(far) == far_sid, "its identity");
	by_far = subscribe("far server", far);
	none = subscribe("group_subscr.t", far);
	is_notice(by_far, DCM_PUBLISHED, far_sid, "f f f");
	is_empty(none, "filters combine with AND");
	is_notice(all, DCM_PUBLISHED, sid_of(user), "u u u");
	is_notice(all, DCM_PUBLISHED, sid_of(self), "s s s");
	is_notice(all, DCM_PUBLISHED, far_sid, "f f f");
	must(DcmCloseHandle(own));
	must(DcmCloseHandle(more));
	is_int(0, peer_end(&peer), "the far server ends");
	is_notice(all, DCM_UNPUBLISHED, sid_of(user), "u u u");
	is_notice(all, DCM_UNPUBLISHED, sid_of(self), "s s s");
	is_notice(all, DCM_UNPUBLISHED, far_sid, "f f f");
	is_notice(by_far, DCM_UNPUBLISHED, far_sid, "f f f");
	for (size_t i = 0; i < 5; i++)
		must(DcmCloseHandle((DcmHandle[]){ by_process, by_user, all, by_far, none }[i]));
	must(KnHandleClose(far));
	must(KnHandleClose(user));
}

/* Killed with so many of its interfaces published: told of once, or never. */
static void test_server_killed(unsigned interfaces, bool read)
{
	DcmHandle subscription = subscribe("mortal", INVALID_HANDLE);
	struct peer peer = peer_attached("mortal");
	uint64_t sid = peer_must(&peer, PEER_SID).sid;
	struct blocked reader;

	for (unsigned i = 0; i < interfaces; i++)
		peer_must(&peer, PEER_PUBLISH, .type = types[i], .name = "m");
	if (interfaces == MEMBERS && read) {
		is_notice(subscription, DCM_PUBLISHED, sid, "m m m");
		blocked_start(&reader, BLOCK_GROUP_READ, subscription);
	}
	peer_kill(&peer);
	if (interfaces == MEMBERS && read)
		blocked_ends(&reader, rcOk, "its server is killed");
	peer = peer_attached("mortal");
	sid = peer_must(&peer, PEER_SID).sid;
	peer_must(&peer, PEER_GROUP_PUBLISH, .type = ALL, .name = "heir");
	is_notice(subscription, DCM_PUBLISHED, sid, "heir heir heir");
	if (read) {
		peer_post(&peer, PEER_EXEC);
		is_notice(subscription, DCM_UNPUBLISHED, sid, "heir heir heir");
	}
	peer_kill(&peer);
	if (!read)
		is_notice(subscription, DCM_UNPUBLISHED, sid, "heir heir heir");
	is_empty(subscription, "of the dead no more is told");
	must(DcmCloseHandle(subscription));
}

/* A subscriber killed, asleep or not, leaves nothing that others would notice. */
static void test_subscriber_killed(bool asleep)
{
	struct peer peer = peer_attached("mortal subscriber");
	uint64_t handle = peer_must(&peer, PEER_GROUP_SUBSCRIBE, .type = ALL).handle;
	DcmHandle group, subscription = subscribe(NULL, INVALID_HANDLE);

	if (asleep) {
		peer_post(&peer, PEER_GROUP_READ, .handle = handle, .timeout = INFINITE_TIMEOUT);
		peer_asleep(&peer);
	}
	peer_kill(&peer);
	group = publish_group(self, "x");
	is_notice(subscription, DCM_PUBLISHED, sid_of(self), "x x x");
	must(DcmCloseHandle(group));
	is_notice(subscription, DCM_UNPUBLISHED, sid_of(self), "x x x");
	must(DcmCloseHandle(subscription));
}

static void test_elsewhere(void)
{
	struct peer peer = peer_attached("reader");
	uint64_t handle = peer_must(&peer, PEER_GROUP_SUBSCRIBE, .type = C " " A).handle;
	struct peer_answer a;
	DcmHandle one = publish(self, 0, "one"), two;

	peer_post(&peer, PEER_GROUP_READ, .handle = handle, .timeout = INFINITE_TIMEOUT);
	peer_asleep(&peer);
	two = publish(self, 1, "no matter");
	must(DcmCloseHandle(two));
	two = publish(self, 2, "two");
	a = peer_wait(&peer);
	is_answer(rcOk, &a, "a sleeping reader elsewhere is told");
	ok(a.other == DCM_PUBLISHED && a.sid == sid_of(self) && strcmp(a.name, "two one") == 0 &&
		   strcmp(a.type, "group_subscr.t") == 0,
	   "of whom, and what: %s of %s", a.name, a.type);
	peer_post(&peer, PEER_GROUP_READ, .handle = handle, .timeout = INFINITE_TIMEOUT);
	peer_asleep(&peer);
	must(DcmCloseHandle(one));
	a = peer_wait(&peer);
	ok(a.rc == rcOk && a.other == DCM_UNPUBLISHED && strcmp(a.name, "two one") == 0,
	   "and of its end: %s", a.name);
	must(DcmCloseHandle(two));
	is_int(0, peer_end(&peer), "it ends in order");
}

static void test_close(void)
{
	DcmHandle subscription = subscribe(NULL, INVALID_HANDLE), group;
	struct blocked readers[3];

	for (int i = 0; i < 3; i++)
		blocked_start(&readers[i], BLOCK_GROUP_READ, subscription);
	must(DcmCloseHandle(subscription));
	for (int i = 0; i < 3; i++)
		blocked_ends(&readers[i], rcNotConnected, "the subscription is closed");
	subscription = subscribe(NULL, INVALID_HANDLE);
	for (int i = 0; i < 2; i++)
		blocked_start(&readers[i], BLOCK_GROUP_READ, subscription);
	group = publish_group(self, "x");
	must(DcmInterruptBlockingCall(subscription));
	must(DcmCloseHandle(group));
	for (int i = 0; i < 2; i++) {
		task_join(&readers[i].task);
		ok(readers[i].rc == rcOk || readers[i].rc == rcIpcInterrupt,
		   "a notice, or the interruption: %s", RetcodeName(readers[i].rc));
	}
	must(DcmCloseHandle(subscription));
}

/* A handle cannot be had: the notice is read by a later call. */
static void test_no_handle_left(void)
{
	DcmHandle subscription = subscribe(NULL, INVALID_HANDLE), group = publish_group(self, "x");
	static Handle handles[1 << 20];
	size_t count = 0;
	Handle server;

	while (count < sizeof(handles) / sizeof(handles[0]) &&
	       KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, 0, NULL, &handles[count]) == rcOk)
		count++;
	is_rc(rcQuotaExceeded, DcmReadGroupPubQueue(subscription, 0, 0, NULL, &server, NULL, NULL),
	      "no handle is left");
	while (count > 0)
		must(KnHandleClose(handles[--count]));
	is_notice(subscription, DCM_PUBLISHED, sid_of(self), "x x x");
	must(DcmCloseHandle(group));
	is_notice(subscription, DCM_UNPUBLISHED, sid_of(self), "x x x");
	must(DcmCloseHandle(subscription));
}

/* A group has one place in the fabric's table, however many interfaces. */
static void test_full(void)
{
	DcmHandle handles[TABLE], more;

	for (int i = 0; i < TABLE; i++)
		handles[i] = subscribe(NULL, INVALID_HANDLE);
	is_rc(rcQuotaExceeded, DcmSetGroupSubscription(types, 1, NULL, INVALID_HANDLE, &more),
	      "one more than there is room for");
	ok(strstr(DcmLastDetail(), "DCM_MAX_SUBSCRIPTIONS") != NULL, "its detail: %s",
	   DcmLastDetail());
	must(DcmCloseHandle(handles[0]));
	is_rc(rcOk, DcmSetGroupSubscription(types, 1, NULL, INVALID_HANDLE, &handles[0]),
	      "one is closed: there is room");
	for (int i = 0; i < TABLE; i++)
		must(DcmCloseHandle(handles[i]));
}

/* More changes than a ring holds, of several servers, read now and then: pairs, then the truth. */
struct told {
	Sid sid;
	bool published;
};

enum { SERVERS = 5 };

static unsigned read_all(DcmHandle subscription, struct told *told)
{
	DcmPubStatus status;
	unsigned wrong = 0;
	Handle server;

	while (DcmReadGroupPubQueue(subscription, 0, 0, &status, &server, NULL, NULL) == rcOk) {
		Sid sid = sid_of(server);
		unsigned i = 0;

		must(KnHandleClose(server));
		while (i < SERVERS && told[i].sid != sid)
			i++;
		if (i == SERVERS)
			die("a notice of nobody's");
		wrong += told[i].published == (status == DCM_PUBLISHED);
		told[i].published = status == DCM_PUBLISHED;
	}
	return wrong;
}

static void test_overflow(uint64_t *state)
{
	static DcmHandle publications[SERVERS][MEMBERS][2];
	DcmHandle subscription = subscribe(NULL, INVALID_HANDLE);
	Handle users[SERVERS];
	struct told told[SERVERS];
	unsigned wrong = 0;

	for (unsigned i = 0; i < SERVERS; i++) {
		users[i] = new_identity();
		told[i] = (struct told){ .sid = sid_of(users[i]) };
	}
	for (uint64_t round = 0; round < tap_scaled(40); round++) {
		/* Up to four rings of changes. */
		for (uint64_t n = random_next(state) % 1024; n > 0; n--) {
			unsigned i = (unsigned)(random_next(state) % SERVERS);
			unsigned k = (unsigned)(random_next(state) % MEMBERS);
			DcmHandle *at = &publications[i][k][random_next(state) % 2];

			if (*at != 0) {
				must(DcmCloseHandle(*at));
				*at = 0;
			} else {
				*at = publish(users[i], k, at == publications[i][k] ? "p" : "q");
			}
			if (random_next(state) % 64 == 0)
				wrong += read_all(subscription, told);
		}
		wrong += read_all(subscription, told);
		for (unsigned i = 0; i < SERVERS; i++) {
			bool complete = true;

			for (unsigned k = 0; k < MEMBERS; k++)
				complete = complete &&
					   (publications[i][k][0] | publications[i][k][1]) != 0;
			wrong += told[i].published != complete;
		}
	}
	is_uint(0, wrong, "rings that overflow: each server alternates, and ends as it is");
	for (unsigned i = 0; i < SERVERS * MEMBERS * 2; i++)
		if ((&publications[0][0][0])[i] != 0)
			must(DcmCloseHandle((&publications[0][0][0])[i]));
	for (unsigned i = 0; i < SERVERS; i++)
		must(KnHandleClose(users[i]));
	must(DcmCloseHandle(subscription));
}

/* PUBLISHED says that all were there at once: a server that never has all is never told of. */
struct juggler {
	_Atomic int stop;
	struct task task;
};

static void juggle(void *arg)
{
	struct juggler *j = arg;
	Handle user = new_identity();
	DcmHandle held[MEMBERS];
	unsigned out = 0;

	for (unsigned i = 1; i < MEMBERS; i++)
		held[i] = publish(user, i, "j");
	/* One is put down before the next is taken up. */
	while (!j->stop) {
		must(DcmCloseHandle(held[(out + 1) % MEMBERS]));
		held[out] = publish(user, out, "j");
		out = (out + 1) % MEMBERS;
	}
	for (unsigned i = 0; i < MEMBERS; i++)
		if (i != out)
			must(DcmCloseHandle(held[i]));
	must(KnHandleClose(user));
}

static void test_never_complete(void)
{
	DcmHandle subscription = subscribe(NULL, INVALID_HANDLE);
	struct juggler juggler = { .stop = 0 };
	unsigned told = 0;

	task_start(&juggler.task, juggle, &juggler);
	for (uint64_t i = 0; i < tap_scaled(20000); i++) {
		told += DcmReadGroupPubQueue(subscription, 0, 0, NULL, NULL, NULL, NULL) == rcOk;
		if (i % 4000 == 0) {
			must(DcmCloseHandle(subscription));
			subscription = subscribe(NULL, INVALID_HANDLE);
		}
	}
	juggler.stop = 1;
	task_join(&juggler.task);
	is_uint(0, told, "of a server that never has all of them at once nothing is told");
	must(DcmCloseHandle(subscription));
}

static bool none_published(void *unused)
{
	size_t count;

	(void)unused;
	return DcmEnumEndpoints(NULL, 0, NULL, &count) == rcOk;
}

/* All that is there; if a group is, its end is waited for. *@wrong: those that do not alternate. */
static unsigned read_told(DcmHandle subscription, DcmTimeout timeout, bool *there, unsigned *wrong)
{
	DcmPubStatus status;
	unsigned seen = 0;

	while (DcmReadGroupPubQueue(subscription, *there ? timeout : 0, 0, &status, NULL, NULL,
				    NULL) == rcOk) {
		*wrong += *there == (status == DCM_PUBLISHED);
		*there = status == DCM_PUBLISHED;
		seen++;
	}
	return seen;
}

/* Killed at any moment of publishing, or of taking it back. */
static void test_random_kills(uint64_t *state)
{
	DcmHandle subscription = subscribe(NULL, INVALID_HANDLE);
	unsigned wrong = 0, seen = 0;

	for (uint64_t round = 0; round < tap_scaled(200); round++) {
		struct peer peer = peer_attached("mortal");
		uint64_t looks = random_next(state) % 2000;
		bool there = false;

		peer_post(&peer, PEER_GROUP_PUBLISH, .type = ALL, .name = "m");
		peer_post(&peer, PEER_FINI);
		/* Half of the rounds look all the time, the others only when it is dead. */
		for (uint64_t i = 0; i < looks; i++)
			if (round % 2 == 0)
				seen += read_told(subscription, 0, &there, &wrong);
			else
				sched_yield();
		peer_kill(&peer);
		until(none_published, NULL);
		/* A death is told a little later. */
		read_told(subscription, 60 * 1000, &there, &wrong);
		wrong += there;
	}
	is_uint(0, wrong, "servers killed at any moment: told of in pairs, or not at all");
	note("%u notices before the death", seen);
	must(DcmCloseHandle(subscription));
}

static void test_fini(void)
{
	struct blocked reader;

	blocked_start(&reader, BLOCK_GROUP_READ, subscribe(NULL, INVALID_HANDLE));
	DcmFini();
	blocked_ends(&reader, rcNotConnected, "DcmFini");
}

int main(void)
{
	struct holdings before;
	uint64_t state;
	DcmHandle out;

	plan_lazy();
	tap_fabric_dir();
	state = tap_seed() | 1;
	self = KosTaskGetHandle(KosTaskGetSelf());
	is_rc(rcNotConnected, DcmSetGroupSubscription(NULL, 0, NULL, 0, &out), "before DcmInit");
	is_rc(rcNotConnected, DcmReadGroupPubQueue(0, 0, 0, NULL, NULL, NULL, NULL),
	      "before DcmInit");
	before = holdings_now();
	setenv("DCM_MAX_SUBSCRIPTIONS", "16", 1);
	must(DcmInit());
	test_arguments();
	test_life();
	test_several();
	test_filters();
	for (unsigned interfaces = 0; interfaces <= MEMBERS; interfaces++) {
		test_server_killed(interfaces, false);
		test_server_killed(interfaces, true);
	}
	test_subscriber_killed(false);
	test_subscriber_killed(true);
	test_elsewhere();
	test_close();
	test_no_handle_left();
	test_full();
	test_overflow(&state);
	test_never_complete();
	test_random_kills(&state);
	test_fini();
	holdings_are(&before, "after the last DcmFini");
	return 0;
}
