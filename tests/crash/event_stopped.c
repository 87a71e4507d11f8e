/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (it stops and kills forked children) */
/*
 * A participant is stopped at each step of what others wait to hear of. Whatever has changed by then
 * is told: at once, or, when it is stopped between its change and its ring, by the look once a
 * second of those who wait. Nothing but that look heals such a stop.
 */
#define _GNU_SOURCE
#include <coresrv/handle/notice_api.h>
#include <dcm/fabric.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/rendezvous.h"
#include "shm/ring.h"
#include "tests/crash/lib_step.h"
#include "tests/crash/lib_victim.h"
#include "tests/tap.h"

#define TYPE "test.Stopped"

enum { PATIENCE_MS = 60 * 1000, AT_ONCE_MS = 20 };
enum { CHANGED = 1, CONNECTED, RELEASED }; /* ids of events */

/* Most of the time is waited for the look once a second: so many fabrics at a time, each with those who
   wait there; the steps are dealt out to them. */
enum { LANES = 8 };

/* Of the victim and the one who waits. */
static struct shared {
	_Atomic uint32_t prepared, asked, go;
} * shared;

static struct dcm_segment segment;
static Notice notice;
static DcmHandle own, connection;

/* The victim's part. */

static DcmHandle publication, request, asking;
static Handle listener, callable;

static void publish(void)
{
	expect(rcOk,
	       DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "victim", &publication),
	       "DcmPublishEndpoint");
}

static void unpublish(void)
{
	expect(rcOk, DcmCloseHandle(publication), "closing a publication");
}

static void ask(void)
{
	Handle session;

	expect(rcOk, DcmCreateConnection(TYPE, "own", INVALID_HANDLE, INVALID_HANDLE, &asking),
	       "DcmCreateConnection");
	expect(rcTimeout, DcmConnect(asking, 0, &session), "DcmConnect");
}

static void publish_and_listen(void)
{
	expect(rcOk, KnHandleCreateListener(&listener), "KnHandleCreateListener");
	expect(rcOk,
	       KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					  OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL, listener, 1,
					  &callable),
	       "KnHandleCreateUserObjectEx");
	publish();
	while (atomic_load(&shared->asked) == 0)
		nap_us(50);
	expect(rcOk, DcmListen(publication, INFINITE_TIMEOUT, NULL, NULL, &request), "DcmListen");
}

static void accept_it(void)
{
	expect(rcOk, DcmAccept(request, callable, INVALID_HANDLE), "DcmAccept");
}

static void refuse_it(void)
{
	expect(rcOk, DcmCloseHandle(request), "closing a request");
}

static void nothing(void)
{
}

/* What the segment says. */

/* Is there a hint that nobody has taken? */
static bool is_hinted(void)
{
	for (uint32_t i = 0; i < segment.subscription.count; i++) {
		struct dcm_subscription *s = dcm_subscription_at(&segment, i);

		if (dcm_word_state(dcm_load(&s->word, seq)) == DCM_SUBSCRIPTION_ACTIVE &&
		    dcm_ring_depth(dcm_ring_view(&s->ring, segment.capacity.ring_shift)) != 0)
			return true;
	}
	return false;
}

/* Does the victim publish something? */
static bool is_published(void)
{
	uint32_t live = 0;

	for (uint32_t i = 0; i < segment.endpoint.count; i++)
		live += dcm_word_state(dcm_load(&dcm_endpoint_at(&segment, i)->word, seq)) !=
			DCM_FREE;
	return live > 1;
}

/* Is a connection in one of these states, and, if it waits, sent to somebody? */
static bool is_in(uint32_t states)
{
	for (uint32_t i = 0; i < segment.connection.count; i++) {
		struct dcm_connection *c = dcm_connection_at(&segment, i);
		uint32_t state = dcm_word_state(dcm_load(&c->word, seq));

		if ((states >> state & 1) != 0 &&
		    (state != DCM_CONNECTION_POSTED || dcm_load(&c->target, seq) >> 63 == 0))
			return true;
	}
	return false;
}

static bool is_asked(void)
{
	return is_in(1u << DCM_CONNECTION_POSTED);
}

static bool is_decided(void)
{
	return is_in(1u << DCM_CONNECTION_ACCEPTED | 1u << DCM_CONNECTION_REFUSED);
}

struct stop {
	const char *name;
	void (*prepare)(void), (*run)(void); /* the victim */
	bool connects;			     /* to the victim */
	bool (*changed)(void);
	uintptr_t event;
};

static const struct stop stops[] = {
	{ "publishing", nothing, publish, false, is_hinted, CHANGED },
	{ "unpublishing", publish, unpublish, false, is_hinted, CHANGED },
	{ "asking", nothing, ask, false, is_asked, CONNECTED },
	{ "accepting", publish_and_listen, accept_it, true, is_decided, RELEASED },
	{ "refusing", publish_and_listen, refuse_it, true, is_decided, RELEASED },
};

static pid_t start_victim(const struct stop *stop, uint64_t at)
{
	pid_t pid = fork();

	if (pid < 0)
		sysbail("fork");
	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dcm_hooks = &step_hooks;
	step_stop();
	expect(rcOk, DcmInit(), "the victim's DcmInit");
	stop->prepare();
	atomic_store(&shared->prepared, 1);
	while (atomic_load(&shared->go) == 0)
		nap_us(50);
	step_arm(at, false);
	stop->run();
	step_disarm();
	_exit(0);
}

/* The next event with this id; all others are of other things. -1: none in so many ms. */
static int64_t wait_for(uintptr_t id, uint64_t ms)
{
	int64_t began = now_ms();
	EventDesc event;
	size_t count;

	while (KnNoticeGetEvent(notice, ms, 1, &event, &count) == rcOk)
		if (event.eventId == id)
			return now_ms() - began;
	return -1;
}

static void read_all(DcmHandle subscription)
{
	while (DcmReadPubQueue(subscription, 0, NULL, NULL, NULL, NULL) == rcOk)
		;
}

static void connect_to_victim(const struct stop *stop)
{
	Handle session;

	connection = DCM_INVALID_HANDLE;
	if (!stop->connects)
		return;
	expect(rcOk,
	       DcmCreateConnection(TYPE, "victim", INVALID_HANDLE, INVALID_HANDLE, &connection),
	       "DcmCreateConnection");
	expect(rcOk,
	       DcmSubscribeToEvents(notice, connection, DCM_CLIENT_RELEASED_BY_SERVER, RELEASED),
	       "DcmSubscribeToEvents");
	expect(rcTimeout, DcmConnect(connection, 0, &session), "DcmConnect");
	atomic_store(&shared->asked, 1);
}

/* All that came of the victim's beginning is behind us. */
static void be_ready(const struct stop *stop, DcmHandle subscription)
{
	connect_to_victim(stop);
	while (atomic_load(&shared->prepared) == 0)
		nap_us(50);
	if (stop->prepare != nothing)
		while (wait_for(CHANGED, PATIENCE_MS) < 0 && tap_failed() == 0)
			;
	read_all(subscription);
	wait_for(0, 0);
}

enum told { TOLD_NOTHING, TOLD_AT_ONCE, TOLD_BY_LOOK, TOLD_NEVER, LIVED };

static enum told stop_at(const struct stop *stop, uint64_t at, DcmHandle subscription)
{
	enum told told = TOLD_NOTHING;
	int status;
	pid_t pid;

	atomic_store(&shared->prepared, 0);
	atomic_store(&shared->asked, 0);
	atomic_store(&shared->go, 0);
	pid = start_victim(stop, at);
	be_ready(stop, subscription);
	atomic_store(&shared->go, 1);
	waitpid(pid, &status, WUNTRACED);
	if (WIFSTOPPED(status)) {
		if (wait_for(stop->event, AT_ONCE_MS) >= 0)
			told = TOLD_AT_ONCE;
		else if (stop->changed())
			told = wait_for(stop->event, PATIENCE_MS) >= 0 ? TOLD_BY_LOOK : TOLD_NEVER;
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
	} else {
		told = LIVED;
	}
	if (connection != DCM_INVALID_HANDLE)
		expect(rcOk, DcmCloseHandle(connection), "closing a connection");
	return told;
}

/* The fabric is as it was: of the dead nothing is left. */
static void settle(void)
{
	int64_t end = now_ms() + PATIENCE_MS;

	while ((is_published() || is_in(~(1u << DCM_FREE))) && now_ms() < end)
		nap_us(200);
}

/* What came of all stops, by all lanes. */
static struct outcome {
	_Atomic uint64_t count[LIVED + 1];
} * outcomes;

/* From @first on, every LANES-th. */
static void stop_everywhere(const struct stop *stop, uint64_t first, struct outcome *outcome)
{
	DcmHandle subscription;
	enum told told = TOLD_NOTHING;

	for (uint64_t at = first; told != LIVED && told != TOLD_NEVER; at += LANES) {
		expect(rcOk,
		       DcmSetSubscription(TYPE, "victim", NULL, INVALID_HANDLE, &subscription),
		       "DcmSetSubscription");
		expect(rcOk,
		       DcmSubscribeToEvents(notice, subscription, DCM_PUBLICATION_CHANGED, CHANGED),
		       "DcmSubscribeToEvents");
		told = stop_at(stop, at, subscription);
		atomic_fetch_add(&outcome->count[told], 1);
		expect(rcOk, DcmCloseHandle(subscription), "closing a subscription");
		settle();
		wait_for(0, 0);
	}
}

static void report(const struct stop *stop, const struct outcome *outcome)
{
	uint64_t nothing_to_tell = outcome->count[TOLD_NOTHING];
	uint64_t at_once = outcome->count[TOLD_AT_ONCE], later = outcome->count[TOLD_BY_LOOK];
	uint64_t never = outcome->count[TOLD_NEVER],
		 all = nothing_to_tell + at_once + later + never;

	note("%s: %llu steps, nothing to tell at %llu, told at once at %llu, later at %llu",
	     stop->name, (unsigned long long)all, (unsigned long long)nothing_to_tell,
	     (unsigned long long)at_once, (unsigned long long)later);
	ok(never == 0 && at_once + later > 0, "%s: what had changed when it was stopped was told",
	   stop->name);
	tap_proof("stop enumeration", stop->name, all, "stops", never);
}

/* To read. A second dcm_segment_open() in this process would give up its lock bytes. */
static void look_at_fabric(void)
{
	int fd = open(getenv("DCM_FABRIC"), O_RDONLY | O_CLOEXEC);
	struct dcm_header header;
	struct stat st;
	void *base;

	if (fd < 0 || fstat(fd, &st) < 0 || read(fd, &header, sizeof header) != sizeof header)
		sysbail("cannot read the fabric");
	base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (base == MAP_FAILED ||
	    !dcm_segment_view(&segment, base, (uint64_t)st.st_size, &header.capacity))
		bail("cannot look at the fabric");
}

enum { STOPS = sizeof stops / sizeof stops[0] };

static void run_lane(unsigned lane)
{
	expect(rcOk, DcmInit(), "DcmInit");
	look_at_fabric();
	expect(rcOk, KnNoticeCreate(&notice), "KnNoticeCreate");
	expect(rcOk, DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "own", &own),
	       "DcmPublishEndpoint");
	expect(rcOk, DcmSubscribeToEvents(notice, own, DCM_CLIENT_CONNECTED, CONNECTED),
	       "DcmSubscribeToEvents");
	for (size_t i = 0; i < STOPS && tap_failed() == 0; i++)
		stop_everywhere(&stops[i], 1 + lane, &outcomes[i]);
	expect(rcOk, DcmCloseHandle(own), "closing a publication");
	expect(rcOk, KnNoticeRelease(notice), "KnNoticeRelease");
	munmap(segment.base, segment.bytes);
	DcmFini();
}

static void start_lane(const char *directory, unsigned lane)
{
	char path[512];
	pid_t pid = fork();

	if (pid < 0)
		sysbail("fork");
	if (pid != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(path, sizeof path, "%s/fabric-%u", directory, lane);
	setenv("DCM_FABRIC", path, 1);
	shared += lane;
	run_lane(lane);
	_exit(0);
}

static void *shared_memory(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		sysbail("no shared memory");
	return memory;
}

int main(void)
{
	const char *directory;
	unsigned ended = 0;
	int status;

	plan_lazy();
	directory = tap_fabric_dir();
	setenv("DCM_MAX_CHANNEL_BYTES", "1048576", 1);
	setenv("DCM_MAX_ENDPOINTS", "8", 1);
	setenv("DCM_MAX_CONNECTIONS", "4", 1);
	shared = shared_memory(LANES * sizeof *shared);
	outcomes = shared_memory(STOPS * sizeof *outcomes);
	for (unsigned lane = 0; lane < LANES; lane++)
		start_lane(directory, lane);
	while (wait(&status) > 0)
		ended += status == 0;
	is_uint(LANES, ended, "all lanes came to their end");
	for (size_t i = 0; i < STOPS; i++)
		report(&stops[i], &outcomes[i]);
	return 0;
}
