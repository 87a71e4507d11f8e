/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A channel whose peer writes to it, at any moment: client and server, both of them the library's
 * own code up to the public functions, each the hostile peer's victim. What they hand out lies in
 * the half of the other side, every call ends, and the books of either side come out even. The
 * input is a program: operations of both, and writes of a stranger between and during them.
 */
#define _GNU_SOURCE
#include <coresrv/handle/handle_api.h>
#include <dcm/channel.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "api/server.h"
#include "api/session.h"
#include "shm/process.h"
#include "tests/fuzz/fuzz_image.h"
#include "tests/unit/lib_world.h"

enum {
	CLIENT,
	SERVER,
	KEPT = 4, /* of each kind of message */
	OPERATIONS = 32,
	LOANS = OPERATIONS * 2,
	NESTED = 4,	 /* calls that the server answers while a client sleeps */
	STEPS = 60000,	 /* what the longest operation needs, several times over */
	BYTES = 1 << 20, /* of the channel */
	LOOKED_AT = 8,	 /* cells and call slots that the stranger writes to: the first are used */
	TIMEOUT_NS = 100 * 1000,
};

static const struct dcm_capacity capacity = { .processes = 2,
					      .endpoints = 1,
					      .subscriptions = 1,
					      .connections = 2,
					      .listeners = 1,
					      .ring_shift = 1 };

static struct world w;
static struct dcm_fabric fabric[2];
static Handle session, listener_handle;
static struct dcm_client_end *client, client_begun;
static struct dcm_server_end *server, server_begun;
static struct dcm_listener_object *listener, listener_begun;
static uint64_t nonce;

/* Of one execution. */
static DcmMessage loans[KEPT], replies[KEPT], reply_loans[KEPT];
static DcmRequest requests[KEPT];
static uint64_t calls[KEPT];
static uint64_t loaned[2][LOANS];
static unsigned loan_count[2];
static unsigned nested;

/* Rooms that were given out, to be taken back behind the execution whatever became of them. */
static void note_loan(unsigned side, struct dcm_end *end, const DcmMessage *message)
{
	uint64_t offset = dcm_message_offset(message);

	FUZZ_CHECK(message->data == end->half + offset);
	FUZZ_CHECK(dcm_end_room(end, offset) >= message->size);
	if (loan_count[side] < LOANS)
		loaned[side][loan_count[side]++] = offset;
}

static void take_back(unsigned side, struct dcm_end *end)
{
	while (loan_count[side] != 0) {
		uint64_t offset = loaned[side][--loan_count[side]];

		/* Of small rooms all is in the end itself, which begin() puts back. */
		if (offset < DCM_CHANNEL_SMALL_BYTES)
			continue;
		offset -= DCM_CHANNEL_SMALL_BYTES;
		dcm_arena_give(end->arena, offset);
		end->stamps[offset / DCM_ARENA_UNIT] = 0;
	}
	FUZZ_CHECK(dcm_arena_taken(end->arena) == 0);
	/* No room waits for its turn any more: the next input finds the arena as the first did. */
	dcm_arena_look(end->arena);
}

/* A message from the other side: all of it can be read, and lies where its sender may send from. */
static void is_inside(const DcmMessage *message, const unsigned char *half, uint64_t bytes)
{
	const unsigned char *data = message->data;

	FUZZ_CHECK(data != NULL && data >= half && data <= half + bytes);
	FUZZ_CHECK(message->size <= bytes - (uint64_t)(data - half));
}

static void got_reply(Retcode rc, const DcmMessage *reply)
{
	if (rc == rcOk)
		is_inside(reply, client->end.channel.replies, client->end.channel.half);
	else
		FUZZ_CHECK(reply->data == NULL);
}

static void loan(struct fuzz_input *in, unsigned n)
{
	size_t size = fuzz_bytes(in, 2) * 16;

	if (loans[n].data == NULL && DcmLoan(session, size, 0, &loans[n]) == rcOk)
		note_loan(CLIENT, &client->end, &loans[n]);
}

static void fill(struct fuzz_input *in, unsigned n)
{
	loans[n].size = fuzz_bytes(in, 2);
	loans[n].status = fuzz_byte(in);
	reply_loans[n].size = loans[n].size;
}

static void call(struct fuzz_input *in, unsigned n)
{
	DcmMessage *reply = &replies[fuzz_byte(in) % KEPT];
	Retcode rc;

	if (reply->data != NULL || loans[n].data == NULL)
		return;
	rc = DcmCall(session, &loans[n], TIMEOUT_NS, reply);
	got_reply(rc, reply);
}

static void start(struct fuzz_input *in, unsigned n)
{
	if (loans[n].data != NULL)
		DcmStart(session, &loans[n], 0, &calls[fuzz_byte(in) % KEPT]);
}

static void finish(struct fuzz_input *in, unsigned n)
{
	unsigned how = fuzz_byte(in);
	DcmMessage *reply = &replies[how % KEPT];
	uint64_t ended;

	if (reply->data == NULL)
		got_reply(DcmFinish(session, how & 4 ? DCM_ANY_CALL : calls[n],
				    how & 8 ? TIMEOUT_NS : 0, &ended, reply),
			  reply);
}

static void send_one_way(struct fuzz_input *in, unsigned n)
{
	(void)in;
	if (loans[n].data != NULL)
		DcmSend(session, &loans[n], 0);
}

/* That call is with the program once. */
static void is_only(unsigned n)
{
	for (unsigned i = 0; i < KEPT; i++)
		FUZZ_CHECK(i == n || requests[i].message.data == NULL ||
			   dcm_message_call(&requests[i].message) !=
				   dcm_message_call(&requests[n].message));
}

static void receive(struct fuzz_input *in, unsigned n)
{
	(void)in;
	if (requests[n].message.data != NULL ||
	    DcmReceive(listener_handle, 0, &requests[n]) != rcOk)
		return;
	is_inside(&requests[n].message, server->end.channel.requests, server->end.channel.half);
	is_only(n);
}

static void loan_reply(struct fuzz_input *in, unsigned n)
{
	size_t size = fuzz_bytes(in, 2);

	if (reply_loans[n].data == NULL && requests[n].message.data != NULL &&
	    DcmLoanReply(&requests[n], size, &reply_loans[n]) == rcOk)
		note_loan(SERVER, &server->end, &reply_loans[n]);
}

static void reply(struct fuzz_input *in, unsigned n)
{
	DcmMessage *with = &reply_loans[fuzz_byte(in) & 4 ? (n + 1) % KEPT : n];

	if (requests[n].message.data != NULL && with->data != NULL)
		DcmReply(&requests[n], with);
}

static void release_one(struct fuzz_input *in, unsigned n)
{
	DcmMessage *const kinds[] = { &loans[n], &replies[n], &reply_loans[n],
				      &requests[n].message };

	DcmRelease(kinds[fuzz_byte(in) % 4]);
}

static void collect(struct fuzz_input *in, unsigned n)
{
	(void)in;
	if (n & 1)
		dcm_session_collect(client);
	else
		dcm_end_look(&server->end, !dcm_server_reclaim(server));
}

/* What api/accept.c does when the listener is closed, but for the end of the channel itself. */
static void hang_up(struct fuzz_input *in, unsigned n)
{
	(void)in;
	if (n == 3)
		dcm_channel_hang_up(&server->end.channel, DCM_SERVER_GONE);
}

static void view(struct fuzz_input *in, unsigned n)
{
	struct dcm_channel seen;

	(void)in;
	(void)n;
	if (!dcm_channel_view(&seen, client->end.channel.shared, BYTES, nonce))
		return;
	FUZZ_CHECK(seen.requests + seen.half == seen.replies);
	FUZZ_CHECK(seen.replies + seen.half <= (unsigned char *)seen.shared + BYTES);
}

/*
 * What the library never does: a size looked at twice. It is done only to show that the stranger's
 * writes come between two looks (the mutant size_read_once, which is in no source).
 */
static void look_twice(struct fuzz_input *in, unsigned n)
{
	struct dcm_channel *ch = &server->end.channel;
	dcm_atomic64 *size = &ch->shared->cells[n].size;

	(void)in;
	if (dcm_mutant == NULL || strcmp(dcm_mutant, "size_read_once") != 0)
		return;
	if (dcm_load(size, relaxed) <= ch->half)
		FUZZ_CHECK(dcm_load(size, relaxed) <= ch->half);
}

/* Receive one call and answer it. */
static void serve(struct fuzz_input *in, unsigned n)
{
	receive(in, n);
	loan_reply(in, n);
	reply(in, n);
}

static void serve_while_asleep(void)
{
	struct fuzz_input none = { NULL, 0 };

	if (nested < NESTED)
		serve(&none, nested++ % KEPT);
}

static const struct {
	const char *name;
	void (*run)(struct fuzz_input *in, unsigned n);
} operations[] = {
	{ "loan", loan },
	{ "loan", loan },
	{ "fill", fill },
	{ "call", call },
	{ "start", start },
	{ "start", start },
	{ "finish", finish },
	{ "send", send_one_way },
	{ "receive", receive },
	{ "serve", serve },
	{ "loan a reply", loan_reply },
	{ "reply", reply },
	{ "release", release_one },
	{ "collect", collect },
	{ "hang up", hang_up },
	{ "view", view },
	{ "look twice", look_twice },
};

enum { RUNS = sizeof operations / sizeof operations[0] };

/* A word that the stranger writes to; @other: one that it may copy. */

static uint64_t *word_at(void *at, uint64_t offset)
{
	return (uint64_t *)(void *)((unsigned char *)at + offset);
}

static uint64_t *some_word(struct fuzz_input *in)
{
	struct dcm_channel_header *h = client->end.channel.shared;
	unsigned kind = fuzz_byte(in), slot = kind / 8 % LOOKED_AT;

	switch (kind % 8) {
	case 0:
		return word_at(slot % 2 ? h->done : h->returned, slot / 2 * 8);
	case 1:
		return word_at(&h->replies[slot], fuzz_byte(in) * 8 % sizeof(struct dcm_reply));
	case 2:
		return word_at(h, fuzz_bytes(in, 2) * 8 % sizeof *h);
	case 3: /* flags and event counts */
		return word_at(h, DCM_PAGE + slot % 4 * DCM_CHANNEL_APART);
	case 4: /* the header */
		return word_at(h, slot * 8 % 40);
	case 5: /* the segment that both are in */
		return word_at(w.memory, fuzz_bytes(in, 2) * 8 % w.bytes);
	default:
		return word_at(&h->cells[slot], fuzz_byte(in) * 8 % sizeof(struct dcm_cell));
	}
}

static void scribble(struct fuzz_input *in, unsigned how)
{
	uint64_t *at = some_word(in), other = *some_word(in);

	fuzz_scribble_read(in, how, at, other);
}

static void run_program(struct fuzz_input *in)
{
	for (unsigned i = 0; i < OPERATIONS && in->left != 0; i++) {
		unsigned op = fuzz_byte(in);

		if (op & 0x80) {
			scribble(in, op);
		} else {
			fuzz_call(operations[op / 4 % RUNS].name, STEPS);
			operations[op / 4 % RUNS].run(in, op % KEPT);
			fuzz_return();
		}
	}
}

static void begin(void)
{
	fuzz_begin();
	*client = client_begun;
	*server = server_begun;
	*listener = listener_begun;
	memset(loans, 0, sizeof loans);
	memset(replies, 0, sizeof replies);
	memset(reply_loans, 0, sizeof reply_loans);
	memset(requests, 0, sizeof requests);
	memset(calls, 0, sizeof calls);
	nested = 0;
}

/* One accepted connection, from asked to open, in one process that stands for two. */

static void open_server(struct dcm_ref *connection, struct dcm_offer *offer)
{
	struct dcm_endpoint_key key = world_endpoint("fuzz.A", "one", 7);
	struct dcm_request_key wish = world_request("fuzz.A", "one");
	struct dcm_request_view asked;
	struct dcm_ref endpoint, taken;
	struct dcm_credentials who = { .verified = false };
	struct dcm_object *callable;
	Handle handle;

	FUZZ_CHECK(KnHandleCreateListener(&listener_handle) == rcOk);
	FUZZ_CHECK(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					      OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL,
					      listener_handle, 1, &handle) == rcOk);
	FUZZ_CHECK(dcm_publication_begin(&w.seg, SERVER, &key, &endpoint));
	FUZZ_CHECK(dcm_rendezvous_ask(&w.seg, CLIENT, &wish, connection));
	FUZZ_CHECK(dcm_rendezvous_take(&w.seg, SERVER, endpoint, &taken, &asked));
	callable = dcm_handle_find(handle, 1u << DCM_KIND_CALLABLE);
	FUZZ_CHECK(dcm_server_accept(&fabric[SERVER], (struct dcm_identity *)callable, NULL,
				     taken, asked.client, &who) == rcOk);
	FUZZ_CHECK(dcm_rendezvous_offer(&w.seg, *connection, offer));
	listener = (struct dcm_listener_object *)dcm_handle_find(listener_handle,
								 1u << DCM_KIND_LISTENER);
	server = (struct dcm_server_end *)dcm_handle_find(listener->ends[taken.index],
							  1u << DCM_KIND_CHANNEL);
}

static struct dcm_session *open_client(struct dcm_ref connection, const struct dcm_offer *offer)
{
	struct dcm_peer peer = { .who.verified = false };
	struct dcm_session *held;

	FUZZ_CHECK(dcm_session_new(&fabric[CLIENT], connection, world_ref(&w, SERVER), offer,
				   dup((int)offer->fd), DCM_TRANSFER_GETFD, &peer,
				   &session) == rcOk);
	FUZZ_CHECK(dcm_rendezvous_open(&w.seg, CLIENT, connection, SERVER, DCM_TRANSFER_GETFD));
	held = (struct dcm_session *)dcm_handle_find(session, 1u << DCM_KIND_SESSION);
	client = held->client;
	nonce = offer->nonce;
	return held;
}

/* What an end makes when it first takes a room of its arena. */
static void take_first(struct dcm_end *end)
{
	DcmMessage message;

	dcm_lock_enter(&end->lock);
	FUZZ_CHECK(dcm_end_take_room(end, DCM_CHANNEL_SMALL + 1, DCM_MESSAGE_LOAN, 0, &message) ==
		   0);
	FUZZ_CHECK(dcm_end_put_room(end, dcm_message_offset(&message)));
	FUZZ_CHECK(!dcm_end_back(end, 1));
	dcm_lock_leave(&end->lock);
}

extern char __data_start[], _end[];

static void keep(struct dcm_session *held)
{
	struct dcm_channel_header *h = client->end.channel.shared;

	take_first(&client->end);
	take_first(&server->end);
	dcm_server_end_handed_over(server);
	/* No page comes or goes from here on. */
	memset(client->end.channel.requests, 1, client->end.channel.half * 2);
	client_begun = *client;
	server_begun = *server;
	listener_begun = *listener;
	fuzz_image_add(h, server->end.channel.shared, sizeof *h);
	fuzz_image_add(w.memory, NULL, w.bytes);
	fuzz_private_add(client, sizeof *client);
	fuzz_private_add(server, sizeof *server);
	fuzz_private_add(listener, sizeof *listener);
	fuzz_private_add(listener->ends, capacity.connections * sizeof *listener->ends);
	fuzz_private_add(listener->kernel.resource, sizeof *listener->kernel.resource);
	fuzz_private_add(held, sizeof *held);
	fuzz_private_add(held->kernel.resource, sizeof *held->kernel.resource);
	fuzz_private_add(__data_start, (uint64_t)(_end - __data_start));
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct dcm_places places;
	struct dcm_ref connection;
	struct dcm_offer offer;

	(void)argc;
	(void)argv;
	fuzz_setup();
	FUZZ_CHECK(dcm_layout_places(&capacity, &places));
	w.bytes = places.bytes;
	w.memory = fuzz_pages(places.bytes);
	FUZZ_CHECK(dcm_segment_view(&w.seg, w.memory, w.bytes, &capacity));
	for (unsigned side = CLIENT; side <= SERVER; side++) {
		fabric[side].self.index = world_process(&w, side == CLIENT ? "client" : "server");
		fabric[side].self = world_ref(&w, fabric[side].self.index);
		fabric[side].seg = w.seg;
		fabric[side].settings.channel_bytes = BYTES;
		fabric[side].count = 1;
	}
	open_server(&connection, &offer);
	keep(open_client(connection, &offer));
	fuzz_on_sleep = serve_while_asleep;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct fuzz_input in = { data, bytes };

	begin();
	run_program(&in);
	fuzz_memory(0);
	take_back(CLIENT, &client->end);
	take_back(SERVER, &server->end);
	return 0;
}
