/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/sim_channel.h"

#include <coresrv/handle/handle_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/listener.h"
#include "shm/rendezvous.h"
#include "tests/tap.h"

enum { NONCE = 77 };

struct channel sim_channels[CHANNELS];
Handle sim_listener;
struct message sim_messages[MESSAGES];

static alignas(DCM_PAGE) unsigned char memory[CHANNELS][DCM_CHANNEL_BYTES_MIN];
static uint32_t message_count;

/* In place of the mapping of an end that was released. */
static alignas(DCM_PAGE) unsigned char unmapped[sizeof(struct dcm_channel_header)];

static void release_end(struct dcm_object *object)
{
	struct dcm_end *end = (struct dcm_end *)object;

	dcm_end_forget(object);
	end->channel.shared = (struct dcm_channel_header *)(void *)unmapped;
	sim_unmapped(unmapped, sizeof unmapped);
}

static void release_server_end(struct dcm_object *object)
{
	dcm_object_drop(&((struct dcm_server_end *)object)->listener->kernel.object);
	release_end(object);
}

static const struct dcm_object_type client_end_type = {
	.kind = DCM_KIND_CHANNEL,
	.space = DCM_SPACE_CHANNEL,
	.release = release_end,
	.forget = dcm_end_forget,
};

static const struct dcm_object_type server_end_type = {
	.kind = DCM_KIND_CHANNEL,
	.space = DCM_SPACE_CHANNEL,
	.release = release_server_end,
	.forget = dcm_end_forget,
};

/* A slot that went from asked to open. */
static struct dcm_ref connect(unsigned client, unsigned server, uint32_t listener)
{
	uint32_t owner = sim_world_ref(client).index;
	struct dcm_connection *c;
	struct dcm_ref ref;

	if (!dcm_slot_claim(&sim_world.connection, owner, &ref))
		bail("the table of connections is too small");
	c = dcm_connection_at(&sim_world, ref.index);
	dcm_store(&c->client, owner, seq);
	dcm_store(&c->server, sim_world_ref(server).index, seq);
	dcm_store(&c->listener, listener, seq);
	dcm_store(&c->word, dcm_word(ref.generation, owner, DCM_CONNECTION_OPEN), seq);
	return ref;
}

static void end_init(struct dcm_end *end, struct channel *ch, unsigned process, unsigned peer,
		     unsigned char *base, bool client)
{
	end->connection = ch->connection;
	end->peer = sim_world_ref(peer);
	if (dcm_end_init(end, sim_api_fabric(process), base, DCM_CHANNEL_BYTES_MIN, NONCE,
			 client) != 0)
		bail("no end of a channel");
	/* The table's count alone stays. */
	dcm_object_drop(&end->object);
}

static void make_client_end(struct channel *ch, unsigned char *base, uint32_t listener)
{
	struct dcm_session *session;

	sim_api_as(ch->client);
	ch->client_end =
		(struct dcm_client_end *)dcm_object_new(&client_end_type, sizeof *ch->client_end);
	ch->client_end->listener = listener;
	ch->client_end->listens = dcm_listener_sight(&sim_world, listener, ch->connection.index);
	end_init(&ch->client_end->end, ch, ch->client, ch->server, base, true);
	dcm_books_init(&ch->client_end->books);
	for (uint32_t i = CALLS_FREE; i < DCM_CHANNEL_CALLS; i++) {
		dcm_bits_take_at(&ch->client_end->books.free, i);
		ch->client_end->books.call[i].use = DCM_USE_REPLY;
	}
	for (uint32_t i = SMALL_FREE; i < DCM_CHANNEL_SMALL_ROOMS; i++)
		dcm_bits_take_at(&ch->client_end->end.small, i);
	session = (struct dcm_session *)dcm_kernel_new(&dcm_session_type, sizeof *session, NULL);
	session->kernel.rights = OCAP_IPC_CALL;
	session->kernel.given = &ch->client_end->end.channel;
	session->client = ch->client_end;
	dcm_object_hold(&ch->client_end->end.object);
	dcm_kernel_insert(&session->kernel, NULL, NULL, &ch->session);
}

static void make_server_end(struct channel *ch, unsigned char *base,
			    struct dcm_listener_object *listener)
{
	sim_api_as(ch->server);
	ch->server_end =
		(struct dcm_server_end *)dcm_object_new(&server_end_type, sizeof *ch->server_end);
	ch->server_end->listener = listener;
	ch->server_end->node.in = true;
	ch->server_end->context = ch;
	dcm_object_hold(&listener->kernel.object);
	ch->server_end->fd = -1;
	end_init(&ch->server_end->end, ch, ch->server, ch->client, base, false);
	ch->server_end_number = ch->server_end->end.object.number;
	dcm_store(&listener->ends[ch->connection.index], ch->server_end_number, seq);
	dcm_store(&listener->reach, ch->connection.index + 1, seq);
	dcm_store(&ch->server_end->offered, 1u, seq);
}

/* As bind_listener() of api/accept.c. */
static struct dcm_listener_object *make_listener(unsigned server)
{
	struct dcm_fabric *fabric = sim_api_fabric(server);
	struct dcm_listener_object *listener;
	struct dcm_object *object;

	sim_api_as(server);
	KnHandleCreateListener(&sim_listener);
	object = dcm_handle_find(sim_listener, 1u << DCM_KIND_LISTENER);
	dcm_object_drop(object);
	listener = (struct dcm_listener_object *)object;
	listener->ends = calloc(sim_world.connection.count, sizeof *listener->ends);
	if (listener->ends == NULL ||
	    !dcm_listener_open(&sim_world, fabric->self.index, &listener->ref))
		bail("no listener");
	listener->fabric = fabric;
	dcm_store(&listener->bound, 1u, seq);
	return listener;
}

void sim_channels_make(unsigned server, const unsigned clients[CHANNELS])
{
	struct dcm_listener_object *listener = make_listener(server);

	message_count = 0;
	memset(sim_messages, 0, sizeof sim_messages);
	for (unsigned i = 0; i < CHANNELS; i++) {
		struct channel *ch = &sim_channels[i];
		struct dcm_channel_header *h = (void *)memory[i];

		memset(memory[i], 0, sizeof *h);
		dcm_channel_format(memory[i], sizeof memory[i], NONCE);
		sim_plain(&h->replies[CALLS_FREE], sizeof h->replies[0], sizeof h->replies[0],
			  DCM_CHANNEL_CALLS - CALLS_FREE);
		*ch = (struct channel){ .client = clients[i], .server = server };
		ch->connection = connect(clients[i], server, listener->ref.index);
		make_client_end(ch, memory[i], listener->ref.index);
		make_server_end(ch, memory[i], listener);
	}
}

struct channel *sim_channel_of(unsigned process)
{
	for (unsigned i = 0; i < CHANNELS; i++)
		if (sim_channels[i].client == process)
			return &sim_channels[i];
	return NULL;
}

static void tend(struct dcm_object *object, void *arg)
{
	(void)arg;
	if (object->type == &server_end_type)
		dcm_server_end_tend((struct dcm_server_end *)object);
	else
		dcm_session_collect((struct dcm_client_end *)object);
}

uint32_t sim_channel_tend(unsigned process)
{
	(void)process;
	dcm_handle_each(1u << DCM_KIND_CHANNEL, tend, NULL);
	return 0;
}

uint32_t sim_message_new(struct channel *channel, enum kind kind)
{
	if (message_count + 1 >= MESSAGES)
		return 0;
	sim_messages[++message_count] = (struct message){ .channel = channel, .kind = kind };
	return message_count;
}

static dcm_atomic64 *payload(const DcmMessage *message)
{
	return message->data;
}

/* relaxed: what carries a message from side to side orders its bytes too. */
void sim_payload_store(const DcmMessage *message, uint64_t value)
{
	dcm_store(payload(message), value, relaxed);
}

uint64_t sim_payload_load(const DcmMessage *message)
{
	return dcm_load(payload(message), relaxed);
}

static bool describe_in(const volatile void *word, char *text,
			size_t size, unsigned number)
{
	size_t at = (size_t)((const volatile unsigned char *)word - memory[number]);
	static const struct {
		size_t from;
		const char *name;
	} parts[] = {
		{ offsetof(struct dcm_channel_header, client_gone), "client_gone" },
		{ offsetof(struct dcm_channel_header, server_gone), "server_gone" },
		{ offsetof(struct dcm_channel_header, room), "room" },
		{ offsetof(struct dcm_channel_header, any), "any" },
	};

	static const struct {
		size_t from, each;
		const char *name;
	} tables[] = {
		{ offsetof(struct dcm_channel_header, done), 4, "done" },
		{ offsetof(struct dcm_channel_header, returned), 4, "returned" },
		{ offsetof(struct dcm_channel_header, cells), sizeof(struct dcm_cell), "cell" },
		{ offsetof(struct dcm_channel_header, replies), sizeof(struct dcm_reply), "reply" },
	};

	for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++)
		if (at == parts[i].from) {
			snprintf(text, size, "channel %u %s", number, parts[i].name);
			return true;
		}
	for (unsigned i = 0; i < sizeof tables / sizeof tables[0]; i++)
		if (at >= tables[i].from && at < tables[i].from + tables[i].each * DCM_CHANNEL_CALLS) {
			at -= tables[i].from;
			snprintf(text, size, "channel %u %s[%zu]+%zu", number, tables[i].name,
				 at / tables[i].each, at % tables[i].each);
			return true;
		}
	snprintf(text, size, "channel %u+%zu", number, at);
	return true;
}

bool sim_channels_describe(const volatile void *word, char *text, size_t size)
{
	for (unsigned i = 0; i < CHANNELS; i++)
		if ((const volatile unsigned char *)word >= memory[i] &&
		    (const volatile unsigned char *)word < memory[i] + sizeof memory[i])
			return describe_in(word, text, size, i);
	return sim_world_describe(word, text, size);
}
