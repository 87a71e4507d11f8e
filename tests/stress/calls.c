/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/*
 * A million calls of 0 to 1 MiB: 16 threads over one session and 64 clients with their own, in 9
 * processes, against one listener with 4 receiving threads. Every request arrives at most once and
 * as it was sent, every reply is the right one, also beside calls that are given up, answered late
 * or released unanswered; afterwards no loan, call slot, page, descriptor or handle is missing.
 */
#define _GNU_SOURCE
#include <coresrv/handle/handle_api.h>
#include <dcm/dcm_api.h>
#include <dcm/fabric.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/handle.h"
#include "shm/arena.h"
#include "shm/channel.h"
#include "tests/stress/lib_calls.h"
#include "tests/tap.h"

enum { STUCK_MS = 60 * 1000, LONG_NS_SHIFT = 36 /* 68 s */ };

static struct calls_board *board;
static uint64_t seed;
static uint32_t turns; /* calls of each lane */

/* One thread of a client. */
struct lane {
	uint32_t index;
	Handle session;
	pthread_barrier_t *phase; /* of those who share the session; null: nobody does */
};

static uint32_t lane_of(uint32_t id)
{
	return id >> 24;
}

static uint32_t turn_of(uint32_t id)
{
	return id & 0xffffff;
}

/* Half of the calls wait for ever, half for a time that never runs out. */
static int64_t patience(uint32_t id)
{
	return id & 1 ? -1 : INT64_C(1) << LONG_NS_SHIFT;
}

static bool loan(const struct lane *lane, uint32_t id, const struct plan *plan, DcmMessage *out)
{
	if (!wanted(rcOk, DcmLoan(lane->session, plan->request, patience(id), out),
		    "lane %u, call %u: DcmLoan of %zu", lane_of(id), turn_of(id), plan->request))
		return false;
	if (out->size != plan->request || out->status != 0)
		wrong("lane %u, call %u: a loan of %zu, status %d, wanted %zu, 0", lane_of(id),
		      turn_of(id), out->size, out->status, plan->request);
	fill(out->data, plan->request, calls_content(seed, id, false));
	out->status = (int32_t)id;
	return true;
}

/* The reply to call @id, or, if @any, to one that was started over the same session. */
static void see_reply(const struct lane *lane, uint32_t id, bool any, DcmMessage *reply)
{
	uint32_t seen = ~(uint32_t)reply->status;
	struct plan plan = calls_plan(seed, seen);
	size_t at;

	if (any ? lane_of(seen) >= LANES || turn_of(seen) >= turns || plan.op != OP_ANY ||
			    (lane_of(seen) != lane->index && lane->phase == NULL)
		: seen != id) {
		wrong("lane %u, call %u: the reply is of lane %u, call %u", lane_of(id), turn_of(id),
		      lane_of(seen), turn_of(seen));
	} else {
		at = differs(reply->data, plan.reply, calls_content(seed, seen, true));
		if (reply->size != plan.reply || at != SIZE_MAX)
			wrong("lane %u, call %u: reply of %zu bytes, wanted %zu, differs at %zd",
			      lane_of(seen), turn_of(seen), reply->size, plan.reply, (ssize_t)at);
		if (!calls_mark(board->answered, seen))
			wrong("lane %u, call %u was answered twice", lane_of(seen), turn_of(seen));
	}
	wanted(rcOk, DcmRelease(reply), "lane %u, call %u: DcmRelease", lane_of(id), turn_of(id));
}

static void call(const struct lane *lane, uint32_t id, const struct plan *plan)
{
	bool gives_up = plan->op == OP_GIVE_UP;
	int64_t ns = gives_up ? PATIENCE_MS * 1000000 : patience(id);
	DcmMessage request, reply;
	Retcode rc, due = plan->op == OP_DROPPED ? rcNotConnected : rcOk;

	if (!loan(lane, id, plan, &request))
		return;
	rc = DcmCall(lane->session, &request, ns, plan->op == OP_CALL_BLIND ? NULL : &reply);
	if (gives_up && rc == rcTimeout) {
		atomic_fetch_add(&board->lane[lane->index].given_up, 1);
		if (reply.data != NULL)
			wrong("lane %u, call %u: a reply with rcTimeout", lane_of(id), turn_of(id));
		return;
	}
	if (wanted(due, rc, "lane %u, call %u: DcmCall, op %d, %zu bytes", lane_of(id), turn_of(id),
		   (int)plan->op, plan->request) &&
	    rc == rcOk && plan->op != OP_CALL_BLIND)
		see_reply(lane, id, false, &reply);
	if (rc == rcOk && plan->op == OP_CALL_BLIND)
		calls_mark(board->answered, id);
	if (request.data != NULL)
		wrong("lane %u, call %u: DcmCall did not consume", lane_of(id), turn_of(id));
}

static bool start(const struct lane *lane, uint32_t id, const struct plan *plan, uint64_t *number)
{
	DcmMessage request;

	return loan(lane, id, plan, &request) &&
	       wanted(rcOk, DcmStart(lane->session, &request, patience(id), number),
		      "lane %u, call %u: DcmStart", lane_of(id), turn_of(id));
}

static void start_and_finish(const struct lane *lane, uint32_t id, const struct plan *plan)
{
	uint64_t number, finished;
	DcmMessage reply;
	Retcode rc;

	if (!start(lane, id, plan, &number))
		return;
	if (plan->op == OP_START_LATE) {
		rc = DcmFinish(lane->session, number, 500 * 1000, NULL, &reply);
		if (rc == rcOk) {
			see_reply(lane, id, false, &reply);
			return;
		}
		wanted(rcTimeout, rc, "lane %u, call %u: DcmFinish too early", lane_of(id),
		       turn_of(id));
	}
	rc = DcmFinish(lane->session, number, patience(id), &finished, &reply);
	if (!wanted(rcOk, rc, "lane %u, call %u: DcmFinish", lane_of(id), turn_of(id)))
		return;
	if (finished != number)
		wrong("lane %u, call %u: DcmFinish ended another", lane_of(id), turn_of(id));
	see_reply(lane, id, false, &reply);
}

static void start_block(const struct lane *lane, uint32_t first)
{
	uint64_t number[BLOCK], finished;
	DcmMessage reply;
	Retcode rc;

	for (uint32_t i = 0; i < BLOCK; i++) {
		struct plan plan = calls_plan(seed, first + i);

		start(lane, first + i, &plan, &number[i]);
	}
	for (uint32_t i = 0; i < BLOCK; i++) {
		rc = DcmFinish(lane->session, DCM_ANY_CALL, patience(first + i), &finished, &reply);
		if (wanted(rcOk, rc, "lane %u, calls from %u: DcmFinish of any", lane_of(first),
			   turn_of(first)))
			see_reply(lane, first + i, true, &reply);
	}
}

static void send(const struct lane *lane, uint32_t id, const struct plan *plan)
{
	DcmMessage message;

	if (loan(lane, id, plan, &message))
		wanted(rcOk, DcmSend(lane->session, &message, patience(id)),
		       "lane %u, call %u: DcmSend", lane_of(id), turn_of(id));
}

static void do_block(const struct lane *lane, uint32_t first)
{
	if (calls_plan(seed, first).op == OP_ANY) {
		atomic_store(&board->lane[lane->index].op, OP_ANY);
		atomic_fetch_add(&board->ops[OP_ANY], BLOCK);
		start_block(lane, first);
		return;
	}
	for (uint32_t id = first; id < first + BLOCK; id++) {
		struct plan plan = calls_plan(seed, id);

		atomic_store(&board->lane[lane->index].turn, turn_of(id));
		atomic_store(&board->lane[lane->index].op, plan.op);
		atomic_fetch_add(&board->ops[plan.op], 1);
		if (plan.op == OP_SEND)
			send(lane, id, &plan);
		else if (plan.op == OP_START || plan.op == OP_START_LATE)
			start_and_finish(lane, id, &plan);
		else
			call(lane, id, &plan);
	}
}

static void *run_lane(void *arg)
{
	const struct lane *lane = arg;

	for (uint32_t turn = 0; turn < turns && !too_many_wrong(); turn += BLOCK) {
		/* Behind this nobody finishes any call but its own. */
		if (lane->phase != NULL && turn == TURNS_MAX / 3 / BLOCK * BLOCK)
			pthread_barrier_wait(lane->phase);
		atomic_store(&board->lane[lane->index].turn, turn);
		do_block(lane, calls_id(lane->index, turn));
	}
	atomic_store(&board->lane[lane->index].turn, turns);
	return NULL;
}

static Handle connect_session(void)
{
	Handle session = INVALID_HANDLE;
	DcmHandle connection;

	wanted(rcOk,
	       DcmCreateConnection(CALLS_TYPE, CALLS_NAME, INVALID_HANDLE, INVALID_HANDLE,
				   &connection),
	       "DcmCreateConnection");
	wanted(rcOk, DcmConnect(connection, INFINITE_TIMEOUT, &session), "DcmConnect");
	wanted(rcOk, DcmCloseHandle(connection), "closing a connection");
	return session;
}

static void control(Handle session, uint32_t lane, uint32_t what)
{
	uint32_t id = calls_id(CONTROL_LANE, what);
	size_t size = what == CONTROL_LARGEST ? calls_largest() : 0;
	DcmMessage request, reply;

	if (!wanted(rcOk, DcmLoan(session, 0, -1, &request), "lane %u: a loan of 0", lane))
		return;
	request.status = (int32_t)id;
	if (!wanted(rcOk, DcmCall(session, &request, -1, &reply), "lane %u: a call", lane))
		return;
	if (reply.size != size || ~(uint32_t)reply.status != id ||
	    differs(reply.data, size, calls_content(seed, id, true)) != SIZE_MAX)
		wrong("lane %u: the reply of %zu bytes differs", lane, size);
	DcmRelease(&reply);
}

/* The whole half of the channel can be loaned, in small pieces and in the largest one. */
static void loan_all(Handle session, uint32_t lane)
{
	size_t count = calls_half() / DCM_ARENA_CHUNK, taken = 0;
	DcmMessage *loans = calloc(count + 1, sizeof *loans);
	Retcode rc = rcOk;

	while (taken <= count && (rc = DcmLoan(session, DCM_ARENA_CHUNK, 0, &loans[taken])) == rcOk)
		taken++;
	wanted(rcQuotaExceeded, rc, "lane %u: a loan when all is taken", lane);
	if (taken != count)
		wrong("lane %u: %zu of %zu chunks could be loaned: the rest has leaked", lane,
		      taken, count);
	for (size_t i = 0; i < taken; i++)
		wanted(rcOk, DcmRelease(&loans[i]), "lane %u: DcmRelease", lane);
	rc = DcmLoan(session, calls_largest(), 0, &loans[0]);
	if (wanted(rcOk, rc, "lane %u: the largest loan", lane))
		wanted(rcOk, DcmRelease(&loans[0]), "lane %u: DcmRelease", lane);
	rc = DcmLoan(session, calls_largest() + 1, 0, &loans[0]);
	wanted(rcInvalidArgument, rc, "lane %u: more than the largest loan", lane);
	free(loans);
}

/* All call slots can be used at once. */
static void start_all(Handle session, uint32_t lane)
{
	uint64_t number, started = 0;
	DcmMessage message;
	Retcode rc = rcOk;

	while (started <= DCM_CHANNEL_CALLS) {
		if (!wanted(rcOk, DcmLoan(session, 0, 0, &message), "lane %u: a loan of 0", lane))
			break;
		message.status = (int32_t)calls_id(CONTROL_LANE, CONTROL_ECHO);
		rc = DcmStart(session, &message, 0, &number);
		if (rc != rcOk)
			break;
		started++;
	}
	wanted(rcQuotaExceeded, rc, "lane %u: DcmStart when all slots are in use", lane);
	if (started != DCM_CHANNEL_CALLS)
		wrong("lane %u: %u of %d calls could be started: the rest has leaked", lane,
		      (unsigned)started, DCM_CHANNEL_CALLS);
	DcmRelease(&message);
	for (uint64_t i = 0; i < started; i++) {
		rc = DcmFinish(session, DCM_ANY_CALL, -1, NULL, &message);
		if (!wanted(rcOk, rc, "lane %u: DcmFinish", lane))
			return;
		DcmRelease(&message);
	}
	wanted(rcResourceNotFound, DcmFinish(session, DCM_ANY_CALL, -1, NULL, NULL),
	       "lane %u: DcmFinish when nothing is under way", lane);
}

static void count_object(struct dcm_object *object, void *count)
{
	(void)object;
	(*(unsigned *)count)++;
}

/* Handles of this process of all kinds but its own. */
static unsigned count_handles(void)
{
	unsigned count = 0;

	dcm_handle_each(~(1u << DCM_KIND_TASK), count_object, &count);
	return count;
}

/* A client process with @count lanes from @first on; shared: over one session. */
static void be_client(uint32_t first, uint32_t count, bool shared)
{
	pthread_barrier_t phase;
	struct lane lanes[SHARERS];
	pthread_t threads[SHARERS];
	uint32_t sessions = shared ? 1 : count;
	unsigned fds;

	pthread_barrier_init(&phase, NULL, count);
	DcmSetProcessName(shared ? "sharers" : "owners");
	wanted(rcOk, DcmInit(), "DcmInit");
	fds = tap_count_fds();
	for (uint32_t i = 0; i < count; i++)
		lanes[i] = (struct lane){ .index = first + i,
					  .session = shared && i > 0 ? lanes[0].session
								     : connect_session(),
					  .phase = shared ? &phase : NULL };
	DcmFini(); /* the sessions live on */
	atomic_fetch_add(&board->ready, 1);
	nap_until(&board->go, 1, INT64_MAX / 2);
	for (uint32_t i = 0; i < count; i++)
		threads[i] = start_thread(run_lane, &lanes[i]);
	for (uint32_t i = 0; i < count; i++)
		join_thread(threads[i]);
	atomic_fetch_add(&board->loaded, 1);
	nap_until(&board->go, 2, INT64_MAX / 2);
	for (uint32_t i = 0; i < sessions && !too_many_wrong(); i++) {
		loan_all(lanes[i].session, first + i);
		start_all(lanes[i].session, first + i);
		control(lanes[i].session, first + i, CONTROL_LARGEST);
		loan_all(lanes[i].session, first + i);
	}
	if (tap_count_fds() != fds)
		wrong("lane %u: %u descriptors, %u before", first, tap_count_fds(), fds);
	/* Each session has a handle and an end of its channel. */
	if (count_handles() != 2 * sessions)
		wrong("lane %u: %u handles for %u sessions", first, count_handles(), sessions);
	atomic_fetch_add(&board->checked, 1);
	nap_until(&board->go, 3, INT64_MAX / 2);
	for (uint32_t i = 0; i < sessions; i++)
		wanted(rcOk, KnHandleClose(lanes[i].session), "closing a session");
	if (count_handles() != 0)
		wrong("lane %u: %u handles are left", first, count_handles());
	_exit(0);
}

/* Resident bytes of channels in this process, and how many are mapped. */
static uint64_t channels_rss(unsigned *mappings)
{
	FILE *maps = fopen("/proc/self/smaps", "re");
	char line[512];
	bool channel = false;
	unsigned long kib;
	uint64_t bytes = 0;

	*mappings = 0;
	while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
			channel = strstr(line, "/memfd:dcm-channel") != NULL;
			*mappings += channel;
		} else if (channel && sscanf(line, "Rss: %lu kB", &kib) == 1) {
			bytes += kib * 1024;
		}
	}
	if (maps == NULL)
		sysbail("/proc/self/smaps");
	fclose(maps);
	return bytes;
}

/* Until @word counts all processes; every lane must get on meanwhile. */
static void await(_Atomic uint32_t *word, const char *what)
{
	uint32_t before[LANES] = { 0 };
	int64_t since = now_ms();

	while (!nap_until(word, 1 + OWNER_PROCESSES, 1000)) {
		if (too_many_wrong())
			die("%s: too much is wrong already", what);
		for (uint32_t i = 0; i < LANES; i++) {
			uint32_t turn = atomic_load(&board->lane[i].turn);

			if (turn != before[i])
				since = now_ms();
			before[i] = turn;
		}
		if (now_ms() - since < STUCK_MS)
			continue;
		for (uint32_t i = 0; i < LANES; i++)
			if (before[i] != turns)
				diag("  lane %u is at %u of %u, op %u", i, before[i], turns,
				     atomic_load(&board->lane[i].op));
		die("%s: %u of %d processes came that far, then nothing moved for %d s", what,
		    atomic_load(word), 1 + OWNER_PROCESSES, STUCK_MS / 1000);
	}
}

static bool must_be_answered(enum op op)
{
	return op != OP_SEND && op != OP_GIVE_UP && op != OP_DROPPED;
}

/* Each id was received and answered as often as its plan says. */
static void see_totals(void)
{
	uint32_t lost = 0, unanswered = 0, never_taken = 0, given_up = 0;

	for (uint32_t lane = 0; lane < LANES; lane++) {
		for (uint32_t turn = 0; turn < turns; turn++) {
			uint32_t id = calls_id(lane, turn);
			enum op op = calls_plan(seed, id).op;
			bool received = calls_marked(board->received, id);

			never_taken += op == OP_GIVE_UP && !received;
			lost += op != OP_GIVE_UP && !received;
			unanswered += must_be_answered(op) && !calls_marked(board->answered, id);
		}
		given_up += atomic_load(&board->lane[lane].given_up);
	}
	is_uint(0, lost, "every request and message arrived");
	is_uint(0, unanswered, "every call was answered");
	ok(given_up > 0, "%u calls were given up", given_up);
	is_uint(given_up, never_taken + atomic_load(&board->in_vain),
		"each was told to the server (%u times), or never reached it (%u times)",
		atomic_load(&board->in_vain), never_taken);
}

static void see_memory(const char *when)
{
	/* The front, and on each side what is kept for the next loans. */
	uint64_t bound = (1 + OWNERS) * (uint64_t)(DCM_CHANNEL_COMMITTED + 2 * DCM_ARENA_KEEP);
	int64_t end = now_ms() + 10 * 1000;
	unsigned mappings;
	uint64_t rss;

	while ((rss = channels_rss(&mappings)) > bound && now_ms() < end)
		nap_us(100 * 1000);
	ok(rss <= bound, "%s: memory came back: %u channels hold %llu MiB, %llu is the bound", when,
	   mappings, (unsigned long long)rss >> 20, (unsigned long long)bound >> 20);
	is_uint(1 + OWNERS, mappings, "%s: each channel is mapped once", when);
}

static bool channel_descriptor_open(void)
{
	char path[64], target[64];
	bool open = false;

	for (int fd = 0; fd < 1024 && !open; fd++) {
		ssize_t length;

		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		length = readlink(path, target, sizeof target - 1);
		target[length > 0 ? length : 0] = '\0';
		open = strstr(target, "dcm-channel") != NULL;
	}
	return open;
}

/* The keeper closes what it handed over a moment after the client has it. */
static void await_hand_overs(void)
{
	int64_t end = now_ms() + 10 * 1000;

	while (channel_descriptor_open() && now_ms() < end)
		nap_us(1000);
}

static void see_end(unsigned fds)
{
	int64_t end = now_ms() + 10 * 1000;
	unsigned mappings;

	while (channels_rss(&mappings), (mappings != 0 || tap_count_fds() != fds) && now_ms() < end)
		nap_us(10 * 1000);
	is_uint(0, mappings, "no channel is mapped when the clients have closed theirs");
	is_uint(fds, tap_count_fds(), "the server's descriptors are as before");
}

static void say_pace(int64_t ms)
{
	struct rusage own, children;

	getrusage(RUSAGE_SELF, &own);
	getrusage(RUSAGE_CHILDREN, &children);
	note("%u calls in %lld ms: %lld a second; %u replies waited for room", LANES * turns,
	     (long long)ms, (long long)(LANES * turns * INT64_C(1000) / (ms + 1)),
	     atomic_load(&board->full));
	note("  server: %ld+%ld s, %ld switches; clients: %ld+%ld s, %ld switches",
	     (long)own.ru_utime.tv_sec, (long)own.ru_stime.tv_sec, own.ru_nvcsw,
	     (long)children.ru_utime.tv_sec, (long)children.ru_stime.tv_sec, children.ru_nvcsw);
}

static void start_clients(pid_t *pids)
{
	for (uint32_t i = 0; i <= OWNER_PROCESSES; i++) {
		uint32_t each = OWNERS / OWNER_PROCESSES;

		pids[i] = fork_child();
		if (pids[i] == 0 && i == 0)
			be_client(0, SHARERS, true);
		if (pids[i] == 0)
			be_client(SHARERS + (i - 1) * each, each, false);
	}
}

int main(void)
{
	pid_t pids[1 + OWNER_PROCESSES];
	unsigned long failed;
	unsigned fds;
	int64_t begun, ms;
	int status;

	plan_lazy();
	seed = tap_seed();
	turns = (uint32_t)tap_scaled(TURNS_MAX) / BLOCK * BLOCK;
	turns = turns < 64 ? 64 : turns > TURNS_MAX ? TURNS_MAX : turns;
	tap_fabric_dir();
	setenv("DCM_MAX_CHANNEL_BYTES", "16777216", 1);
	board = shared_memory(sizeof *board);
	start_clients(pids);
	calls_serve(board, seed);
	await(&board->ready, "connecting");
	await_hand_overs();
	fds = tap_count_fds();
	begun = now_ms();
	atomic_store(&board->go, 1);
	await(&board->loaded, "calling");
	ms = now_ms() - begun;
	while (atomic_load(&board->delayed) != 0)
		nap_us(1000);
	ok(tap_failed() == 0, "%u calls from %d threads, all in order", LANES * turns, LANES);
	see_totals();
	see_memory("after the load");
	failed = tap_failed();
	atomic_store(&board->go, 2);
	await(&board->checked, "loaning all");
	ok(tap_failed() == failed, "all room of all channels can be loaned, all slots can be used");
	see_memory("after everything was loaned");
	atomic_store(&board->go, 3);
	for (uint32_t i = 0; i <= OWNER_PROCESSES; i++) {
		waitpid(pids[i], &status, 0);
		if (status != 0)
			wrong("client process %u ended with %#x", i, status);
	}
	see_end(fds);
	calls_stop();
	is_uint(0, count_handles(), "no handle is left");
	say_pace(ms);
	return tap_failed() != 0;
}
