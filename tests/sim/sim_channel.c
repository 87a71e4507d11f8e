/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scenario channel: the library's own calling and receiving, from DcmLoan to DcmRelease. A server
 * with two receiving threads, one listener and two channels; a client with two calling threads on
 * one session and somebody who interrupts them, another with one; a bystander. Two call slots a
 * channel and loans of which one to three fit make them wait for each other. Any of them but the
 * bystander is killed, or calls execve, or is stopped anywhere; sessions and the listener are closed
 * early in some runs, and a session is revoked. Each process has its keeper, and no keeper a tick.
 *
 * What is sent is received once at the most, and what was said to be delivered was; every call ends
 * once, with the reply to that very call, or with an error for which there is a reason, which a
 * revocation always is told as; behind one nothing of that channel is received; nobody sleeps
 * when all is quiet; then no room, no call slot, no object and no slot of the fabric is missing.
 */
#include <coresrv/handle/handle_api.h>
#include <dcm/fabric.h>
#include <string.h>

#include "shm/barrier.h"
#include "shm/park.h"
#include "shm/process.h"
#include "tests/sim/sim_channel.h"
#include "tests/sim/sim_keeper.h"
#include "tests/sim/sim_main.h"

enum { CALLERS = 3, RECEIVERS = 2, ROUNDS = 4, PROCESSES = 4 };

/* How far a run has come: told by quiet(). */
enum stage { WORKING, CLOSING_SESSIONS, CLOSING_LISTENER, OVER };

static const struct dcm_capacity capacity = {
	.processes = PROCESSES,
	.endpoints = 1,
	.subscriptions = 1,
	.connections = CHANNELS,
	.listeners = 1,
	.ring_shift = 1,
};

struct caller {
	unsigned process;
	bool done;
};

static struct caller callers[CALLERS];
static struct sim_keeper keepers[PROCESSES];
static unsigned server, interrupts;
static enum stage stage;
static bool session_closed[SIM_PROCESSES], listener_closed, closes_early;
/* Of a client's session: the server has begun to revoke it, and is done with it. */
static bool revoking[SIM_PROCESSES], revoked[SIM_PROCESSES];
/* How many messages it had taken when that was done. */
static uint32_t taken[SIM_PROCESSES];

/* The taste of a run. */
static enum kind favourite;
static uint32_t large_in; /* one loan of so many is as large as there can be only one */

static int64_t some_time(void)
{
	switch (sim_random(8)) {
	case 0:
		return 0;
	case 1:
		return 5000 + sim_random(50000);
	default:
		return -1;
	}
}

static size_t some_size(void)
{
	return sim_random(large_in) == 0 ? 256 * 1024 : sim_random(2) == 0 ? 128 * 1024 : 8;
}

/* Is there a reason for an error that a caller got; what it knows of its message is in @m. */
static void check_error(const struct message *m, Retcode rc, int64_t timeout_ns)
{
	unsigned client = m->channel->client;

	sim_note("message %u: %s", (unsigned)(m - sim_messages), RetcodeName(rc));
	switch (rc) {
	case rcNotConnected:
		/* A thread of a process that is being killed may outlive its sign of life. */
		SIM_CHECK(sim_killed(server) || sim_killed(client) || listener_closed ||
				  session_closed[client] || m->released,
			  "message %u failed, and nobody left", (unsigned)(m - sim_messages));
		break;
	case rcHandleRevoked:
		SIM_CHECK(revoking[client], "revoked by nobody");
		break;
	case rcTimeout:
		SIM_CHECK(timeout_ns >= 0, "a wait for ever timed out");
		break;
	case rcQuotaExceeded:
		SIM_CHECK(timeout_ns == 0, "full, for one who would wait");
		break;
	case rcIpcInterrupt:
		SIM_CHECK(interrupts > 0, "interrupted by nobody");
		break;
	case rcInvalidArgument:
		SIM_CHECK(session_closed[client], "the session is not known");
		break;
	default:
		sim_fail("%s: %s", RetcodeName(rc), DcmLastDetail());
	}
}

/* A loan with the message's number in it. */
static bool loan(struct message *m, DcmMessage *out)
{
	int64_t timeout_ns = some_time();
	Retcode rc = DcmLoan(m->channel->session, some_size(), timeout_ns, out);

	if (rc != rcOk) {
		check_error(m, rc, timeout_ns);
		return false;
	}
	sim_payload_store(out, (uint64_t)(m - sim_messages));
	return true;
}

/* A reply that came: it is the one to a call that had none yet, and stays what it is. */
static void take_reply(const struct message *wanted, DcmMessage *reply)
{
	uint64_t value = sim_payload_load(reply), number = value & ~REPLY_MARK;
	struct message *m = &sim_messages[number % MESSAGES];

	sim_note("GETS the reply to message %llu", (unsigned long long)number);
	SIM_CHECK((value & REPLY_MARK) != 0 && number < MESSAGES, "a reply holds %#llx",
		  (unsigned long long)value);
	SIM_CHECK(wanted == NULL ? m->kind == STARTED : m == wanted,
		  "the reply to message %llu came for another", (unsigned long long)number);
	SIM_CHECK(m->replied && !m->answered, "message %llu was %s", (unsigned long long)number,
		  m->answered ? "answered twice" : "never replied to");
	m->answered = true;
	if (sim_random(2) == 0)
		sim_step();
	SIM_CHECK(sim_payload_load(reply) == value, "a reply changed in its reader's hands");
	SIM_CHECK(DcmRelease(reply) == rcOk, "a reply cannot be released: %s", DcmLastDetail());
}

/* What was not sent is still the caller's. */
static void take_back(DcmMessage *message, Retcode rc)
{
	if (message->data == NULL)
		return;
	SIM_CHECK(rc == rcQuotaExceeded || rc == rcInvalidArgument, "not consumed");
	SIM_CHECK(DcmRelease(message) == rcOk, "a loan cannot be released: %s", DcmLastDetail());
}

static void call(struct message *m)
{
	int64_t timeout_ns = some_time();
	DcmMessage message, reply;
	Retcode rc;

	if (!loan(m, &message))
		return;
	m->sent = true;
	rc = DcmCall(m->channel->session, &message, timeout_ns, &reply);
	take_back(&message, rc);
	if (rc == rcOk)
		take_reply(m, &reply);
	else
		check_error(m, rc, timeout_ns);
}

/* All that this thread started, or as many others. */
static void finish(struct message *m, uint64_t name)
{
	for (;;) {
		int64_t timeout_ns = some_time();
		DcmMessage reply;
		uint64_t done;
		Retcode rc = DcmFinish(m->channel->session, name, timeout_ns, &done, &reply);

		if (rc == rcOk)
			take_reply(name == DCM_ANY_CALL ? NULL : m, &reply);
		if (rc == rcInvalidArgument && name != DCM_ANY_CALL &&
		    !session_closed[m->channel->client]) {
			name = DCM_ANY_CALL; /* the other thread has it, and left us its own */
			continue;
		}
		if (rc != rcTimeout && rc != rcIpcInterrupt)
			return;
	}
}

static void start(struct message *m)
{
	int64_t timeout_ns = some_time();
	DcmMessage message;
	uint64_t name;
	Retcode rc;

	if (!loan(m, &message))
		return;
	m->sent = true;
	rc = DcmStart(m->channel->session, &message, timeout_ns, &name);
	take_back(&message, rc);
	if (rc == rcOk)
		finish(m, sim_random(2) == 0 ? DCM_ANY_CALL : name);
	else
		check_error(m, rc, timeout_ns);
}

static void send_one_way(struct message *m)
{
	int64_t timeout_ns = some_time();
	DcmMessage message;
	Retcode rc;

	if (!loan(m, &message))
		return;
	m->sent = true;
	rc = DcmSend(m->channel->session, &message, timeout_ns);
	/* Closed meanwhile, by the other thread: no order between the two. */
	m->posted =
		rc == rcOk && !session_closed[m->channel->client] && !revoking[m->channel->client];
	take_back(&message, rc);
	if (rc != rcOk)
		check_error(m, rc, timeout_ns);
}

/* What has been sent by then is received. A program knows it from what orders its threads; a message of
   a stream is sent with plain stores, and to nobody's knowledge else. */
static void close_session(struct channel *ch)
{
	session_closed[ch->client] = true;
	dcm_barrier();
	dcm_handle_close(ch->session, 1u << DCM_KIND_SESSION);
}

static void caller(void *arg)
{
	static void (*const acts[])(struct message *) = { call, start, send_one_way };
	struct caller *c = arg;
	struct channel *ch = sim_channel_of(c->process);

	for (unsigned i = 0; i < ROUNDS && !session_closed[c->process]; i++) {
		enum kind kind = sim_random(2) == 0 ? favourite : sim_random(3);
		uint32_t number = sim_message_new(ch, kind);

		if (number == 0)
			break;
		acts[kind](&sim_messages[number]);
	}
	c->done = true;
	if (closes_early && sim_random(2) == 0)
		close_session(ch);
}

static void interrupter(void *arg)
{
	struct channel *ch = sim_channel_of(((struct caller *)arg)->process);

	for (uint32_t i = sim_random(600); i > 0; i--)
		sim_step();
	interrupts++;
	DcmInterruptCall(ch->session);
}

/* What lies where a request was may be the client's next loan. */
static bool hung_up(unsigned client)
{
	return listener_closed || session_closed[client] || revoking[client];
}

static bool ends_unanswered(struct message *m, DcmRequest *request)
{
	m->released = m->kind != ONE_WAY;
	SIM_CHECK(DcmRelease(&request->message) == rcOk, "a request cannot be released: %s",
		  DcmLastDetail());
	return true;
}

static void reply_to(struct message *m, DcmRequest *request)
{
	uint64_t number = (uint64_t)(m - sim_messages);
	DcmMessage reply;
	Retcode rc = DcmLoanReply(request, some_size(), &reply);

	if (rc != rcOk) {
		SIM_CHECK(rc == rcQuotaExceeded || rc == rcNotConnected, "no reply: %s",
			  DcmLastDetail());
		SIM_CHECK(rc == rcQuotaExceeded || sim_killed(m->channel->client) ||
				  session_closed[m->channel->client],
			  "the client of message %u is not gone", (unsigned)number);
		ends_unanswered(m, request);
		return;
	}
	sim_payload_store(&reply, number | REPLY_MARK);
	m->replied = true;
	/* Once hung up, the call has failed, and its room is the client's. */
	SIM_CHECK(sim_payload_load(&request->message) == number || hung_up(m->channel->client) ||
			  sim_killed(m->channel->client),
		  "message %u changed in its receiver's hands", (unsigned)number);
	sim_note("REPLIES to message %u", (unsigned)number);
	rc = DcmReply(request, &reply);
	SIM_CHECK(rc == rcOk || rc == rcNotConnected, "DcmReply: %s", DcmLastDetail());
	m->reply_counts = rc == rcOk;
}

static void serve(DcmRequest *request)
{
	uint64_t number = sim_payload_load(&request->message);
	struct message *m = &sim_messages[number % MESSAGES];
	bool one_way = request->flags & DCM_REQUEST_ONE_WAY;

	sim_note("RECEIVES message %llu", (unsigned long long)number);
	if (hung_up(((struct channel *)request->context)->client)) {
		/* Hung up meanwhile, it has failed, and what lies there may be the next loan. */
		m->received = m->received || (m->sent && one_way == (m->kind == ONE_WAY));
		ends_unanswered(m, request);
		return;
	}
	SIM_CHECK(number > 0 && number < MESSAGES && m->sent, "received %#llx",
		  (unsigned long long)number);
	SIM_CHECK(!m->received, "message %llu was received twice", (unsigned long long)number);
	SIM_CHECK(one_way == (m->kind == ONE_WAY), "message %llu is of another kind",
		  (unsigned long long)number);
	m->received = true;
	if (one_way || sim_random(8) == 0)
		ends_unanswered(m, request);
	else
		reply_to(m, request);
}

/* Not before it was revoked, by a receiver that was in the middle of it. */
static bool taken_too_late(const struct channel *ch)
{
	return revoked[ch->client] && ch->server_end->end.channel.next != taken[ch->client];
}

static void receiver(void *arg)
{
	(void)arg;
	for (;;) {
		bool before[SIM_PROCESSES];
		DcmRequest request;
		Retcode rc;

		memcpy(before, revoked, sizeof before);
		rc = DcmReceive(sim_listener, some_time(), &request);
		SIM_CHECK(rc != rcOk || (!before[((struct channel *)request.context)->client] &&
					 !taken_too_late(request.context)),
			  "received from a session that was revoked before");
		if (rc == rcOk)
			serve(&request);
		else if (rc != rcTimeout)
			break;
	}
	SIM_CHECK(listener_closed, "a receiver was sent home: %s", DcmLastDetail());
}

static bool late_enough(void *arg)
{
	return stage >= *(enum stage *)arg;
}

static void closer(void *arg)
{
	static enum stage when = CLOSING_LISTENER;

	(void)arg;
	if (closes_early && sim_random(4) != 0)
		for (uint32_t i = sim_random(1500); i > 0; i--)
			sim_step();
	else
		sim_wait(late_enough, &when);
	listener_closed = true;
	dcm_handle_close(sim_listener, 1u << DCM_KIND_LISTENER);
}

/* As dcm_tree_revoke() does with what descends from a callable handle. */
static void revoker(void *arg)
{
	struct channel *ch = arg;
	struct dcm_object *end;

	for (uint32_t i = sim_random(1500); i > 0; i--)
		sim_step();
	revoking[ch->client] = true;
	end = dcm_handle_find(ch->server_end_number, 1u << DCM_KIND_CHANNEL);
	if (end == NULL)
		return;
	dcm_server_end_revoke(end);
	taken[ch->client] = ((struct dcm_server_end *)end)->end.channel.next;
	revoked[ch->client] = true;
	dcm_object_drop(end);
}

static void session_closer(void *arg)
{
	static enum stage when = CLOSING_SESSIONS;
	struct caller *c = arg;

	sim_wait(late_enough, &when);
	close_session(sim_channel_of(c->process));
}

static void start_keeper(unsigned number, unsigned process)
{
	keepers[number] = (struct sim_keeper){ .process = process,
					       .poke = sim_api_poke(process),
					       .chores = sim_channel_tend };
	sim_thread(process, "keeper", sim_keeper, &keepers[number]);
	sim_thread_serves();
	sim_thread_keeps();
}

static void start_callers(const unsigned clients[CHANNELS])
{
	static const char *const names[CALLERS] = { "caller 0", "caller 1", "caller 2" };

	for (unsigned i = 0; i < CALLERS; i++) {
		callers[i].process = clients[i / 2];
		sim_thread(clients[i / 2], names[i], caller, &callers[i]);
		if (i % 2 == 0)
			sim_thread(clients[i / 2], "closer", session_closer, &callers[i]);
	}
	if (sim_random(2) == 0)
		sim_thread(clients[0], "interrupter", interrupter, &callers[0]);
}

static void setup(void)
{
	unsigned flags = SIM_KILLABLE | SIM_STOPPABLE, clients[CHANNELS], bystander;

	memset(callers, 0, sizeof callers);
	memset(session_closed, 0, sizeof session_closed);
	memset(revoking, 0, sizeof revoking);
	memset(revoked, 0, sizeof revoked);
	listener_closed = false;
	interrupts = 0;
	stage = WORKING;
	closes_early = sim_random(3) == 0;
	favourite = sim_random(3);
	large_in = 1 + sim_random(4);
	sim_world_make(&capacity);
	sim_api_make();
	server = sim_world_process("server", flags);
	clients[0] = sim_world_process("client", flags);
	bystander = sim_world_process("bystander", SIM_STOPPABLE);
	clients[1] = sim_world_process("client", flags);
	sim_channels_make(server, clients);
	sim_thread(server, "receiver 0", receiver, NULL);
	sim_thread(server, "receiver 1", receiver, NULL);
	sim_thread(server, "closer", closer, NULL);
	if (sim_random(4) == 0)
		sim_thread(server, "revoker", revoker, &sim_channels[sim_random(CHANNELS)]);
	start_callers(clients);
	start_keeper(0, server);
	start_keeper(1, clients[0]);
	start_keeper(2, clients[1]);
	start_keeper(3, bystander);
}

static void check_message(const struct message *m, unsigned number)
{
	unsigned client = m->channel->client;

	if (sim_killed(client) || sim_killed(server) || revoking[client])
		return;
	SIM_CHECK(!m->posted || m->received || listener_closed,
		  "message %u was sent and not received", number);
	SIM_CHECK(!m->reply_counts || m->answered || session_closed[client] || m->kind == STARTED,
		  "the reply to message %u was delivered to nobody", number);
}

/* With everybody done, and both sides alive: nothing of the channel is in use. */
static void check_channel(const struct channel *ch, unsigned number)
{
	struct dcm_client_end *client = ch->client_end;
	struct dcm_server_end *end = ch->server_end;

	if (sim_killed(ch->client) || sim_killed(server) || hung_up(ch->client))
		return;
	sim_api_as(ch->client);
	dcm_session_collect(client);
	sim_api_as(server);
	dcm_server_reclaim(end);
	SIM_CHECK(!dcm_channel_more(&end->end.channel), "channel %u: a call lies in its cell",
		  number);
	SIM_CHECK(dcm_arena_taken(client->end.arena) == 0 && dcm_arena_taken(end->end.arena) == 0,
		  "channel %u: room of requests %llu, of replies %llu is not back", number,
		  (unsigned long long)dcm_arena_taken(client->end.arena),
		  (unsigned long long)dcm_arena_taken(end->end.arena));
	SIM_CHECK(client->end.small.word[0] == (1u << SMALL_FREE) - 1 &&
			  end->end.small.word[0] == UINT64_MAX,
		  "channel %u: a small room is not back", number);
	SIM_CHECK(client->end.out == 0 && end->end.out == 0, "channel %u: messages are out",
		  number);
	for (uint32_t i = 0; i < CALLS_FREE; i++)
		SIM_CHECK(client->books.call[i].use == DCM_USE_FREE && !end->call[i].handed,
			  "channel %u: call slot %u is not free", number, i);
}

static void check_given_back(void)
{
	for (unsigned i = 0; i < CHANNELS; i++) {
		const struct channel *ch = &sim_channels[i];
		uint64_t word =
			dcm_load(dcm_slot_word(&sim_world.connection, ch->connection.index), seq);

		SIM_CHECK(dcm_word_state(word) == DCM_FREE || sim_killed(server),
			  "connection[%u] is not given back", ch->connection.index);
	}
}

static void check_over(void)
{
	for (unsigned p = 0; p < sim_process_count(); p++)
		SIM_CHECK(sim_killed(p) || sim_api_left(p) == 0, "process %u keeps %u objects", p,
			  sim_api_left(p));
}

static bool quiet(void)
{
	sim_world_check_quiet();
	for (unsigned i = 0; i < CALLERS; i++)
		SIM_CHECK(callers[i].done || sim_killed(callers[i].process), "caller %u sleeps", i);
	for (unsigned i = 1; i < MESSAGES && sim_messages[i].channel != NULL; i++)
		check_message(&sim_messages[i], i);
	if (stage == WORKING)
		for (unsigned i = 0; i < CHANNELS; i++)
			check_channel(&sim_channels[i], i);
	if (stage == CLOSING_SESSIONS)
		check_given_back();
	if (stage == CLOSING_LISTENER)
		check_over();
	if (stage == OVER)
		return false;
	stage++;
	sim_changed();
	return true;
}

const struct sim_scenario sim_channel = {
	.name = "channel",
	.horizon = 2500,
	.kills_max = 2,
	.stops_max = 2,
	.spurious_max = 2,
	.setup = setup,
	.quiet = quiet,
	.finish = sim_api_free,
	.proved = sim_world_proved,
	.describe = sim_channels_describe,
};
