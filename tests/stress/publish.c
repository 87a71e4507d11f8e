/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/*
 * 4 publishers and 4 subscribers, threads and processes mixed, publish and unpublish a million
 * times with hint rings of 2 cells, which overflow all the time. At every quiet point what each
 * subscriber was told is what is published; for each publication, known by its server's identity
 * and its name, notices alternate and begin with PUBLISHED, so a successor is never announced
 * before its predecessor's end.
 */
#define _GNU_SOURCE
#include <coresrv/handle/handle_api.h>
#include <coresrv/task/task_api.h>
#include <dcm/dcm_api.h>
#include <dcm/fabric.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/stress/lib_stress.h"
#include "tests/tap.h"

#define TYPE	   "test.Publish"
#define QUIET_NAME "quiet"

enum {
	PUBLISHERS = 4,
	SUBSCRIBERS = 4,
	NAMES = 12, /* of each publisher */
	ROUNDS_MAX = 2000,
	OPS = 1000 * 1000, /* publish and unpublish calls in all */
	STUCK_MS = 30 * 1000,
	LONG_MS = 20 * 1000,
};

/* How a subscriber reads. */
enum reads { FOR_EVER, LONG, POLLING, LATE };

static const char *const reads_names[] = { "waits for ever", "waits long", "polls", "comes late" };

static struct board {
	_Atomic uint32_t round;	    /* publishers may go on with it */
	_Atomic uint32_t published; /* publishers that are done with their rounds, in all */
	_Atomic uint32_t quiet;	    /* the round in which all publishers pause now */
	_Atomic uint32_t agreed;    /* subscribers that saw their quiet points, in all */
	_Atomic uint32_t subscribed;
	_Atomic uint64_t sid[PUBLISHERS];
	_Atomic uint32_t is_out[PUBLISHERS][NAMES]; /* generation published now; 0: none */
	_Atomic uint64_t operations;
	_Atomic uint64_t notices[SUBSCRIBERS];
	_Atomic uint64_t last[SUBSCRIBERS]; /* round that it agreed on */
} * board;

static uint64_t seed;
static uint32_t rounds, ops_each; /* of each publisher in each round */

struct publisher {
	uint32_t index;
	Handle identity;
	uint64_t dice;
	DcmHandle out[NAMES];
	uint32_t uses[NAMES];
};

static void toggle(struct publisher *p, uint32_t name)
{
	_Atomic uint32_t *is_out = &board->is_out[p->index][name];
	char text[32];

	if (atomic_load(is_out) != 0) {
		wanted(rcOk, DcmCloseHandle(p->out[name]), "publisher %u: DcmCloseHandle of %u",
		       p->index, name);
		atomic_store(is_out, 0);
		return;
	}
	snprintf(text, sizeof text, "p%u.n%u", p->index, name);
	if (wanted(rcOk, DcmPublishEndpoint(p->identity, TYPE, text, &p->out[name]),
		   "publisher %u: DcmPublishEndpoint of %s", p->index, text))
		atomic_store(is_out, ++p->uses[name]);
}

/* One name again and again, a few in turn, or any; at full speed or so that all can be read. */
static void play(struct publisher *p)
{
	uint32_t mode = (uint32_t)draw(&p->dice, 3), first = (uint32_t)draw(&p->dice, NAMES);
	uint64_t pace = UINT64_C(1) << draw(&p->dice, 13);

	for (uint32_t i = 0; i < ops_each && !too_many_wrong(); i++) {
		uint32_t name = mode == 0   ? first
				: mode == 1 ? (first + i % 3) % NAMES
					    : (uint32_t)draw(&p->dice, NAMES);

		toggle(p, name);
		if (draw(&p->dice, pace) == 0)
			nap_us((long)draw(&p->dice, 60));
	}
	atomic_fetch_add(&board->operations, ops_each);
}

static void *publish(void *arg)
{
	struct publisher p = { .index = *(uint32_t *)arg };
	DcmHandle marker = DCM_INVALID_HANDLE;
	Sid sid = 0;

	p.dice = mix(seed + p.index);
	p.identity = KosTaskGetHandle(KosTaskGetSelf());
	/* Two of them live in one process, and are told apart by objects of their own. */
	if (p.index < 2)
		wanted(rcOk,
		       KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST,
						OCAP_HANDLE_TRANSFER | OCAP_HANDLE_GET_SID, NULL,
						&p.identity),
		       "KnHandleCreateUserObject");
	wanted(rcOk, KnHandleGetSidByHandle(p.identity, &sid), "the publisher's SID");
	atomic_store(&board->sid[p.index], sid);
	for (uint32_t round = 1; round <= rounds && !too_many_wrong(); round++) {
		nap_until(&board->round, round, INT64_MAX / 2);
		if (marker != DCM_INVALID_HANDLE)
			wanted(rcOk, DcmCloseHandle(marker), "closing the marker");
		play(&p);
		/* The last to finish tells all that it is quiet now. */
		marker = DCM_INVALID_HANDLE;
		if (atomic_fetch_add(&board->published, 1) + 1 < round * PUBLISHERS)
			continue;
		atomic_store(&board->quiet, round);
		wanted(rcOk, DcmPublishEndpoint(p.identity, TYPE, QUIET_NAME, &marker),
		       "publishing the marker");
	}
	nap_until(&board->round, rounds + 1, INT64_MAX / 2);
	for (uint32_t i = 0; i < NAMES; i++)
		if (atomic_load(&board->is_out[p.index][i]) != 0)
			toggle(&p, i);
	if (marker != DCM_INVALID_HANDLE)
		DcmCloseHandle(marker);
	if (p.index < 2)
		KnHandleClose(p.identity);
	return NULL;
}

struct subscriber {
	uint32_t index;
	enum reads reads;
	DcmHandle subscription;
	uint64_t dice;
	bool announced[PUBLISHERS][NAMES];
	bool marker[PUBLISHERS];
	uint32_t agreed; /* the round that it agreed on */
};

static const char *reads_name(const struct subscriber *s)
{
	return reads_names[s->reads];
}

static uint32_t publisher_of(Handle server)
{
	Sid sid = 0;
	uint32_t i = 0;

	wanted(rcOk, KnHandleGetSidByHandle(server, &sid), "a server's SID");
	while (i < PUBLISHERS && atomic_load(&board->sid[i]) != sid)
		i++;
	if (i == PUBLISHERS)
		wrong("a notice of a server with SID %#" PRIx64 ", which is nobody's", sid);
	wanted(rcOk, KnHandleClose(server), "closing a server's identity");
	return i;
}

static void take(struct subscriber *s, DcmPubStatus status, uint32_t publisher, const char *server,
		 const char *name)
{
	bool *announced = &s->marker[publisher], published = status == DCM_PUBLISHED;
	const char *home = publisher < 2 ? "both" : publisher == 2 ? "mixed" : "alone";
	uint32_t p, n;

	if (strcmp(name, QUIET_NAME) != 0) {
		if (sscanf(name, "p%" SCNu32 ".n%" SCNu32, &p, &n) != 2 || p != publisher ||
		    n >= NAMES) {
			wrong("subscriber %u: publisher %u has no %s", s->index, publisher, name);
			return;
		}
		announced = &s->announced[p][n];
	}
	if (strcmp(server, home) != 0)
		wrong("subscriber %u: %s of publisher %u is of process %s, wanted %s", s->index,
		      name, publisher, server, home);
	if (status != DCM_PUBLISHED && status != DCM_UNPUBLISHED)
		wrong("subscriber %u: status %u", s->index, status);
	if (*announced == published)
		wrong("subscriber %u, which %s, behind quiet point %u: %s of %s, which was %s",
		      s->index, reads_name(s), s->agreed,
		      published ? "a second PUBLISHED" : "an UNPUBLISHED without PUBLISHED", name,
		      *announced ? "announced" : "not announced");
	*announced = published;
	atomic_fetch_add(&board->notices[s->index], 1);
}

/* Return: whether there was a notice. */
static bool read_one(struct subscriber *s, DcmTimeout timeout)
{
	char server[DCM_NAME_SIZE], name[DCM_NAME_SIZE];
	DcmPubStatus status = 0;
	uint32_t publisher;
	Handle handle;
	Retcode rc = DcmReadPubQueue(s->subscription, timeout, &status, &handle, server, name);

	if (rc != rcOk) {
		wanted(rcTimeout, rc, "subscriber %u, which %s: DcmReadPubQueue", s->index,
		       reads_name(s));
		if (timeout != 0)
			wrong("subscriber %u, which %s, had no notice for %u ms behind quiet point "
			      "%u, now %u",
			      s->index, reads_name(s), timeout, s->agreed,
			      atomic_load(&board->quiet));
		return false;
	}
	publisher = publisher_of(handle);
	if (publisher < PUBLISHERS)
		take(s, status, publisher, server, name);
	return true;
}

/* Publishers pause: read to the end, then nothing else than what is published may be known. */
static void agree(struct subscriber *s, uint32_t round)
{
	while (read_one(s, 0) && !too_many_wrong())
		;
	for (uint32_t p = 0; p < PUBLISHERS; p++)
		for (uint32_t n = 0; n < NAMES; n++)
			if (s->announced[p][n] != (atomic_load(&board->is_out[p][n]) != 0))
				wrong("quiet point %u, subscriber %u, which %s: p%u.n%u is %s, use "
				      "%u, and was %s",
				      round, s->index, reads_name(s), p, n,
				      atomic_load(&board->is_out[p][n]) ? "published" : "not there",
				      atomic_load(&board->is_out[p][n]),
				      s->announced[p][n] ? "announced" : "not announced");
	s->agreed = round;
	atomic_store(&board->last[s->index], round);
	atomic_fetch_add(&board->agreed, 1);
}

static void wait_and_read(struct subscriber *s)
{
	switch (s->reads) {
	case FOR_EVER:
		read_one(s, INFINITE_TIMEOUT);
		break;
	case LONG:
		read_one(s, LONG_MS);
		break;
	case POLLING:
		if (!read_one(s, 0))
			nap_us(20);
		break;
	case LATE:
		nap_us((long)draw(&s->dice, 5000));
		for (uint64_t i = draw(&s->dice, 30); i > 0 && read_one(s, 0); i--)
			;
		break;
	}
}

/* Is it quiet, and has this one not seen it? Who sleeps learns of it by the marker. */
static bool must_agree(const struct subscriber *s)
{
	bool marked = s->reads >= POLLING;

	for (uint32_t i = 0; i < PUBLISHERS; i++)
		marked = marked || s->marker[i];
	return marked && atomic_load(&board->quiet) > s->agreed;
}

static void *subscribe(void *arg)
{
	struct subscriber s = { .index = *(uint32_t *)arg,
				.reads = (enum reads) * (uint32_t *)arg };

	s.dice = mix(~seed + s.index);
	wanted(rcOk, DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &s.subscription),
	       "DcmSetSubscription");
	atomic_fetch_add(&board->subscribed, 1);
	while (s.agreed < rounds && !too_many_wrong()) {
		if (must_agree(&s))
			agree(&s, atomic_load(&board->quiet));
		else
			wait_and_read(&s);
		/* Once in a while somebody subscribes anew: it is told all that is there. */
		if (s.reads == LATE && s.agreed % 16 == 15 && draw(&s.dice, 64) == 0) {
			wanted(rcOk, DcmCloseHandle(s.subscription), "closing a subscription");
			memset(s.announced, 0, sizeof s.announced);
			memset(s.marker, 0, sizeof s.marker);
			wanted(rcOk,
			       DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE,
						  &s.subscription),
			       "DcmSetSubscription");
		}
	}
	wanted(rcOk, DcmCloseHandle(s.subscription), "closing the subscription");
	return NULL;
}

/* A process with publishers @p and subscribers @s, as bits. */
static void participate(const char *name, uint32_t publishers, uint32_t subscribers)
{
	static uint32_t numbers[PUBLISHERS];
	pthread_t threads[PUBLISHERS + SUBSCRIBERS];
	uint32_t count = 0;

	DcmSetProcessName(name);
	wanted(rcOk, DcmInit(), "DcmInit");
	for (uint32_t i = 0; i < PUBLISHERS; i++) {
		numbers[i] = i;
		if (publishers >> i & 1)
			threads[count++] = start_thread(publish, &numbers[i]);
		if (subscribers >> i & 1)
			threads[count++] = start_thread(subscribe, &numbers[i]);
	}
	while (count > 0)
		join_thread(threads[--count]);
	DcmFini();
	_exit(0);
}

static void await(_Atomic uint32_t *word, uint32_t count, uint32_t round, const char *whom)
{
	if (nap_until(word, count, STUCK_MS))
		return;
	for (uint32_t i = 0; i < SUBSCRIBERS; i++)
		diag("  subscriber %u, which %s: agreed on %" PRIu64 ", read %" PRIu64 " notices",
		     i, reads_names[i], atomic_load(&board->last[i]),
		     atomic_load(&board->notices[i]));
	die("round %u: %s are stuck: %u of %u came", round, whom, atomic_load(word), count);
}

static void see_overflows(void)
{
	struct dcm_segment seg;
	uint64_t overflows;

	look_at_fabric(&seg);
	overflows = dcm_load(&dcm_segment_header(&seg)->overflows, acquire);
	ok(overflows > 0, "rings overflowed (%" PRIu64 " times)", overflows);
	is_uint(2, 1u << seg.capacity.ring_shift, "rings had the smallest size");
	is_uint(0, slots_used(&seg).endpoint, "no endpoint is left");
	is_uint(0, slots_used(&seg).subscription, "no subscription is left");
	is_uint(0, slots_used(&seg).process, "no process is left");
	dcm_segment_close(&seg);
}

int main(void)
{
	static const struct {
		const char *name;
		uint32_t publishers, subscribers;
	} processes[] = {
		{ "both", 3, 2 }, { "mixed", 4, 1 }, { "alone", 8, 0 }, { "reads", 0, 12 }
	};
	enum { PROCESSES = sizeof processes / sizeof processes[0] };
	pid_t pids[PROCESSES];
	int64_t begun, ms;
	int status;

	plan_lazy();
	seed = tap_seed();
	rounds = (uint32_t)tap_scaled(ROUNDS_MAX);
	ops_each = (OPS + ROUNDS_MAX * PUBLISHERS - 1) / (ROUNDS_MAX * PUBLISHERS);
	tap_fabric_dir();
	setenv("DCM_MAX_HINTS", "2", 1);
	board = shared_memory(sizeof *board);
	for (uint32_t i = 0; i < PROCESSES; i++) {
		pids[i] = fork_child();
		if (pids[i] == 0)
			participate(processes[i].name, processes[i].publishers,
				    processes[i].subscribers);
	}
	begun = now_ms();
	await(&board->subscribed, SUBSCRIBERS, 0, "subscribers");
	for (uint32_t round = 1; round <= rounds && !too_many_wrong(); round++) {
		atomic_store(&board->round, round);
		await(&board->published, round * PUBLISHERS, round, "publishers");
		await(&board->agreed, round * SUBSCRIBERS, round, "subscribers");
	}
	atomic_store(&board->round, rounds + 1);
	ms = now_ms() - begun;
	ok(tap_failed() == 0, "%" PRIu64 " times published or unpublished, %u quiet points",
	   atomic_load(&board->operations), rounds);
	for (uint32_t i = 0; i < SUBSCRIBERS; i++)
		ok(atomic_load(&board->notices[i]) > rounds,
		   "subscriber %u, which %s, read %" PRIu64, i, reads_names[i],
		   atomic_load(&board->notices[i]));
	for (uint32_t i = 0; i < PROCESSES; i++) {
		waitpid(pids[i], &status, 0);
		is_int(0, status, "process %s ends in order", processes[i].name);
	}
	see_overflows();
	note("%" PRIu64 " calls in %" PRId64 " ms", atomic_load(&board->operations), ms);
	return tap_failed() != 0;
}
