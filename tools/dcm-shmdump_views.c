/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tables, a row for each slot that is not free. Fields are loaded one by one while others may
 * change them; a row that mixes two uses of a slot is the price of looking at what lives.
 */
#include "tools/dcm-shmdump_views.h"

#include "shm/catalog.h"
#include "shm/gift.h"
#include "shm/listener.h"
#include "shm/process.h"
#include "shm/registry.h"
#include "shm/rendezvous.h"
#include "shm/ring.h"

static const char *const connection_states[] = {
	"free", "claimed", "posted", "taken", "accepted", "open", "refused", "ended", "hung-up",
};

const char *state_name(enum dcm_check_table table, uint32_t state)
{
	static const char *const own[] = { "", "alive", "live", "active", "", "live", "given" };

	if (state == DCM_REAP)
		return "reaped";
	if (table == DCM_CHECK_CONNECTION)
		return state < sizeof connection_states / sizeof connection_states[0]
			       ? connection_states[state]
			       : "invalid";
	if (table == DCM_CHECK_GIFT && state == DCM_GIFT_REVOKED)
		return "revoked";
	return state == DCM_FREE      ? "free"
	       : state == DCM_CLAIMED ? "claimed"
	       : state == 2	      ? own[table]
				      : "invalid";
}

const char *fate_name(const struct dcm_segment *seg, uint32_t index)
{
	static const char *const names[] = {
		[DCM_FATE_NONE] = "none",   [DCM_FATE_ATTACHING] = "attaching",
		[DCM_FATE_ALIVE] = "alive", [DCM_FATE_LEAVING] = "leaving",
		[DCM_FATE_DYING] = "dying", [DCM_FATE_REAPED] = "reaped",
	};
	struct dcm_ref ref = { index, dcm_process_generation(seg, index) };

	if (ref.generation != 0 && dcm_process_dead(seg, ref))
		return "dead";
	return names[dcm_check_fate(seg, index)];
}

void cell_pid(struct sheet *sheet, const struct dump *dump, uint32_t index)
{
	const struct dcm_process *p = dcm_process_at(&dump->seg, index);

	if (p == NULL || dcm_process_generation(&dump->seg, index) == 0)
		cell_none(sheet);
	else
		cell_number(sheet, dcm_load(&p->pid, acquire));
}

static void cell_name(struct sheet *sheet, const struct dcm_name *name)
{
	char text[256];

	dcm_name_load(text, name);
	cell_text(sheet, text);
}

/* The name of the process in slot @index, likewise. */
static void cell_process(struct sheet *sheet, const struct dump *dump, uint32_t index)
{
	const struct dcm_process *p = dcm_process_at(&dump->seg, index);

	if (p == NULL || dcm_process_generation(&dump->seg, index) == 0)
		cell_none(sheet);
	else
		cell_name(sheet, &p->name);
}

/* Slots of the dead are in red. */
static const char *color_of(const struct dump *dump, uint32_t owner)
{
	enum dcm_fate fate = dcm_check_fate(&dump->seg, owner);

	return fate == DCM_FATE_NONE || fate == DCM_FATE_DYING || fate == DCM_FATE_REAPED ? "red"
											  : NULL;
}

/* Slot and generation, the first cells of most rows; false: free, no row. */
static bool begin_row(const struct dump *dump, struct sheet *sheet, const struct dcm_table *table,
		      uint32_t index, uint64_t *word)
{
	*word = dcm_load(dcm_slot_word(table, index), acquire);
	if (dcm_word_state(*word) == DCM_FREE)
		return false;
	sheet_row(sheet, color_of(dump, dcm_word_owner(*word)));
	cell_number(sheet, index);
	cell_number(sheet, dcm_word_generation(*word));
	return true;
}

static const struct column fabric_columns[] = {
	{ "PATH", COLUMN_TEXT },      { "LAYOUT", COLUMN_NUMBER },   { "FINGERPRINT", COLUMN_TEXT },
	{ "SIZE", COLUMN_BYTES },     { "UUID", COLUMN_TEXT },	     { "BOOT", COLUMN_TEXT },
	{ "THIS-BOOT", COLUMN_TEXT }, { "CREATED", COLUMN_TEXT },    { "LIBRARY", COLUMN_TEXT },
	{ "LOCK-FILE", COLUMN_TEXT }, { "REQUESTS", COLUMN_NUMBER }, { "OVERFLOWS", COLUMN_NUMBER },
	{ "REAPED", COLUMN_NUMBER },
};

static const struct column use_columns[] = {
	{ "TABLE", COLUMN_TEXT },
	{ "USE", COLUMN_TEXT },
	{ "USED", COLUMN_NUMBER },
	{ "SLOTS", COLUMN_NUMBER },
};

static const struct column process_columns[] = {
	{ "SLOT", COLUMN_NUMBER },	  { "GEN", COLUMN_NUMBER },
	{ "PID", COLUMN_NUMBER },	  { "TID", COLUMN_NUMBER },
	{ "UID", COLUMN_NUMBER },	  { "STATE", COLUMN_TEXT },
	{ "ENDPOINTS", COLUMN_NUMBER },	  { "SUBSCRIPTIONS", COLUMN_NUMBER },
	{ "CONNECTIONS", COLUMN_NUMBER }, { "LISTENERS", COLUMN_NUMBER },
	{ "GIFTS", COLUMN_NUMBER },	  { "NAME", COLUMN_TEXT },
};

static void fill_processes(const struct dump *dump, struct sheet *sheet)
{
	const struct dcm_segment *seg = &dump->seg;
	uint64_t word;

	for (uint32_t i = 0; i < seg->process.count; i++) {
		const struct dcm_process *p = dcm_process_at(seg, i);
		const struct usage *u = &dump->usage[i];

		if (!begin_row(dump, sheet, &seg->process, i, &word))
			continue;
		cell_number(sheet, dcm_load(&p->pid, acquire));
		cell_number(sheet, dcm_load(&p->tid, acquire));
		cell_number(sheet, dcm_load(&p->uid, acquire));
		cell_text(sheet, dcm_word_state(word) > DCM_PROCESS_ALIVE &&
						 dcm_word_state(word) != DCM_REAP
					 ? "invalid"
					 : fate_name(seg, i));
		cell_number(sheet, u->endpoints);
		cell_number(sheet, u->subscriptions);
		cell_number(sheet, u->connections);
		cell_number(sheet, u->listeners);
		cell_number(sheet, u->gifts);
		cell_name(sheet, &p->name);
	}
}

static const struct column endpoint_columns[] = {
	{ "SLOT", COLUMN_NUMBER },    { "GEN", COLUMN_NUMBER }, { "STATE", COLUMN_TEXT },
	{ "TYPE", COLUMN_TEXT },      { "NAME", COLUMN_TEXT },	{ "SERVER", COLUMN_TEXT },
	{ "SID", COLUMN_TEXT },	      { "PID", COLUMN_NUMBER }, { "AGE", COLUMN_AGE },
	{ "WAITING", COLUMN_NUMBER },
};

static void fill_endpoints(const struct dump *dump, struct sheet *sheet)
{
	const struct dcm_segment *seg = &dump->seg;
	uint64_t word;

	for (uint32_t i = 0; i < seg->endpoint.count; i++) {
		const struct dcm_endpoint *e = dcm_endpoint_at(seg, i);
		const struct dcm_endpoint_names *names = dcm_endpoint_names_at(seg, i);

		if (!begin_row(dump, sheet, &seg->endpoint, i, &word))
			continue;
		cell_text(sheet, state_name(DCM_CHECK_ENDPOINT, dcm_word_state(word)));
		cell_name(sheet, &names->type);
		cell_name(sheet, &names->name);
		cell_process(sheet, dump, dcm_word_owner(word));
		cell_hex(sheet, dcm_load(&e->sid, acquire), 16);
		cell_pid(sheet, dump, dcm_word_owner(word));
		cell_age(sheet, dcm_load(&e->published_ns, acquire));
		cell_number(sheet, dump->waiting[i]);
	}
}

static const struct column subscription_columns[] = {
	{ "SLOT", COLUMN_NUMBER }, { "GEN", COLUMN_NUMBER },	{ "STATE", COLUMN_TEXT },
	{ "PID", COLUMN_NUMBER },  { "PROCESS", COLUMN_TEXT },	{ "INTERFACE", COLUMN_TEXT },
	{ "HASH", COLUMN_TEXT },   { "BUCKET", COLUMN_NUMBER }, { "DEPTH", COLUMN_NUMBER },
	{ "RING", COLUMN_NUMBER }, { "RESYNC", COLUMN_NUMBER }, { "RESYNCS", COLUMN_NUMBER },
};

/* The slot has only the hash of the interface; a live endpoint of it has the name. */
static void cell_interface(struct sheet *sheet, const struct dump *dump, uint64_t hash)
{
	const struct dcm_segment *seg = &dump->seg;
	struct dcm_endpoint_view view;
	uint32_t cursor = 0, index;

	while (hash != 0 && dcm_catalog_next(seg, hash, 0, &cursor, &index)) {
		if (dcm_registry_look(seg, index, hash, &view)) {
			cell_text(sheet, view.type);
			return;
		}
	}
	cell_none(sheet);
}

static void fill_subscriptions(const struct dump *dump, struct sheet *sheet)
{
	const struct dcm_segment *seg = &dump->seg;
	uint64_t word, hash;

	for (uint32_t i = 0; i < seg->subscription.count; i++) {
		struct dcm_subscription *s = dcm_subscription_at(seg, i);

		if (!begin_row(dump, sheet, &seg->subscription, i, &word))
			continue;
		hash = dcm_load(&s->type_hash, acquire);
		cell_text(sheet, state_name(DCM_CHECK_SUBSCRIPTION, dcm_word_state(word)));
		cell_pid(sheet, dump, dcm_word_owner(word));
		cell_process(sheet, dump, dcm_word_owner(word));
		cell_interface(sheet, dump, hash);
		cell_hex(sheet, hash, 16);
		cell_number(sheet, dcm_bucket_of(hash));
		cell_number(sheet,
			    dcm_ring_depth(dcm_ring_view(&s->ring, seg->capacity.ring_shift)));
		cell_number(sheet, 1u << seg->capacity.ring_shift);
		cell_number(sheet, dcm_load(&s->resync, acquire));
		cell_number(sheet, dcm_load(&s->resyncs, acquire));
	}
}

static const char *transfer_name(uint32_t transfer)
{
	static const char *const names[] = { "auto", "getfd", "procfs", "socket" };

	return transfer < sizeof names / sizeof names[0] ? names[transfer] : "invalid";
}

/* The server that a connection has or waits for; UINT32_MAX: none. */
static uint32_t server_of(const struct dcm_segment *seg, uint32_t index, uint64_t word)
{
	const struct dcm_connection *c = dcm_connection_at(seg, index);
	struct dcm_ref ref = { index, dcm_word_generation(word) };

	switch (dcm_word_state(word)) {
	case DCM_CONNECTION_OPEN:
		return dcm_load(&c->server, acquire);
	case DCM_CONNECTION_ENDED:
		return dcm_word_owner(word);
	default:
		return dcm_rendezvous_look(seg, ref).server;
	}
}

static const struct column connection_columns[] = {
	{ "SLOT", COLUMN_NUMBER },   { "GEN", COLUMN_NUMBER },
	{ "STATE", COLUMN_TEXT },    { "CLIENT-PID", COLUMN_NUMBER },
	{ "CLIENT", COLUMN_TEXT },   { "SERVER-PID", COLUMN_NUMBER },
	{ "SERVER", COLUMN_TEXT },   { "TYPE", COLUMN_TEXT },
	{ "NAME", COLUMN_TEXT },     { "TICKET", COLUMN_NUMBER },
	{ "TRANSFER", COLUMN_TEXT },
};

static void fill_connections(const struct dump *dump, struct sheet *sheet)
{
	const struct dcm_segment *seg = &dump->seg;
	uint64_t word;

	for (uint32_t i = 0; i < seg->connection.count; i++) {
		const struct dcm_connection *c = dcm_connection_at(seg, i);
		uint32_t state, client, server;
		bool parked;

		if (!begin_row(dump, sheet, &seg->connection, i, &word))
			continue;
		state = dcm_word_state(word);
		parked = state == DCM_CONNECTION_POSTED &&
			 dcm_check_parked(dcm_load(&c->target, acquire), dcm_word_generation(word));
		client =
			state == DCM_CLAIMED ? dcm_word_owner(word) : dcm_load(&c->client, acquire);
		server = server_of(seg, i, word);
		cell_text(sheet, parked ? "parked" : state_name(DCM_CHECK_CONNECTION, state));
		cell_pid(sheet, dump, client);
		cell_process(sheet, dump, client);
		cell_pid(sheet, dump, server);
		cell_process(sheet, dump, server);
		cell_name(sheet, &c->type);
		cell_name(sheet, &c->name);
		cell_number(sheet, dcm_load(&c->ticket, acquire));
		cell_text(sheet, transfer_name(dcm_load(&c->transfer, acquire)));
	}
}

static const struct column channel_columns[] = {
	{ "SLOT", COLUMN_NUMBER },	 { "GEN", COLUMN_NUMBER },	  { "STATE", COLUMN_TEXT },
	{ "CLIENT-PID", COLUMN_NUMBER }, { "SERVER-PID", COLUMN_NUMBER }, { "BYTES", COLUMN_BYTES },
	{ "LISTENER", COLUMN_NUMBER },	 { "TRANSFER", COLUMN_TEXT },	  { "AGE", COLUMN_AGE },
	{ "INODE", COLUMN_NUMBER },
};

static void fill_channels(const struct dump *dump, struct sheet *sheet)
{
	const struct dcm_segment *seg = &dump->seg;
	uint64_t word;

	for (uint32_t i = 0; i < seg->connection.count; i++) {
		const struct dcm_connection *c = dcm_connection_at(seg, i);
		uint32_t state = dcm_word_state(dcm_load(&c->word, acquire));

		if ((state != DCM_CONNECTION_ACCEPTED && state != DCM_CONNECTION_OPEN) ||
		    !begin_row(dump, sheet, &seg->connection, i, &word))
			continue;
		cell_text(sheet, connection_states[state]);
		cell_pid(sheet, dump, dcm_load(&c->client, acquire));
		cell_pid(sheet, dump, dcm_load(&c->server, acquire));
		cell_bytes(sheet, dcm_load(&c->bytes, acquire));
		cell_number(sheet, dcm_load(&c->listener, acquire));
		cell_text(sheet, transfer_name(dcm_load(&c->transfer, acquire)));
		cell_age(sheet, dcm_load(&c->opened_ns, acquire));
		cell_number(sheet, dcm_load(&c->inode, acquire));
	}
}

static const struct column listener_columns[] = {
	{ "SLOT", COLUMN_NUMBER },  { "GEN", COLUMN_NUMBER },	{ "STATE", COLUMN_TEXT },
	{ "PID", COLUMN_NUMBER },   { "PROCESS", COLUMN_TEXT }, { "CHANNELS", COLUMN_NUMBER },
	{ "READY", COLUMN_NUMBER },
};

static void fill_listeners(const struct dump *dump, struct sheet *sheet)
{
	const struct dcm_segment *seg = &dump->seg;
	uint64_t word;

	for (uint32_t i = 0; i < seg->listener.count; i++) {
		const dcm_atomic64 *bits = dcm_listener_ready(dcm_listener_at(seg, i));
		unsigned ready = 0;

		if (!begin_row(dump, sheet, &seg->listener, i, &word))
			continue;
		for (uint32_t w = 0; w < dcm_bitmap_words(seg->connection.count); w++)
			ready += (unsigned)__builtin_popcountll(dcm_load(&bits[w], relaxed));
		cell_text(sheet, state_name(DCM_CHECK_LISTENER, dcm_word_state(word)));
		cell_pid(sheet, dump, dcm_word_owner(word));
		cell_process(sheet, dump, dcm_word_owner(word));
		cell_number(sheet, dump->channels[i]);
		cell_number(sheet, ready);
	}
}

static const struct column gift_columns[] = {
	{ "SLOT", COLUMN_NUMBER }, { "GEN", COLUMN_NUMBER },   { "STATE", COLUMN_TEXT },
	{ "PID", COLUMN_NUMBER },  { "PROCESS", COLUMN_TEXT }, { "KEY", COLUMN_TEXT },
};

static void fill_gifts(const struct dump *dump, struct sheet *sheet)
{
	const struct dcm_segment *seg = &dump->seg;
	uint64_t word;

	for (uint32_t i = 0; i < seg->gift.count; i++) {
		if (!begin_row(dump, sheet, &seg->gift, i, &word))
			continue;
		cell_text(sheet, state_name(DCM_CHECK_GIFT, dcm_word_state(word)));
		cell_pid(sheet, dump, dcm_word_owner(word));
		cell_process(sheet, dump, dcm_word_owner(word));
		cell_hex(sheet, dcm_load(&dcm_gift_at(seg, i)->key, acquire), 16);
	}
}

static const struct column stuck_columns[] = {
	{ "TABLE", COLUMN_TEXT },	{ "SLOT", COLUMN_NUMBER },  { "GEN", COLUMN_NUMBER },
	{ "STATE", COLUMN_TEXT },	{ "OWNER", COLUMN_NUMBER }, { "PID", COLUMN_NUMBER },
	{ "OWNER-STATE", COLUMN_TEXT },
};

#define COLUMNS(c) c, sizeof c / sizeof c[0]

const struct view views[] = {
	{ "fabric", COLUMNS(fabric_columns), true, fill_fabric },
	{ "use", COLUMNS(use_columns), false, fill_use },
	{ "processes", COLUMNS(process_columns), false, fill_processes },
	{ "endpoints", COLUMNS(endpoint_columns), false, fill_endpoints },
	{ "subscriptions", COLUMNS(subscription_columns), false, fill_subscriptions },
	{ "connections", COLUMNS(connection_columns), false, fill_connections },
	{ "channels", COLUMNS(channel_columns), false, fill_channels },
	{ "listeners", COLUMNS(listener_columns), false, fill_listeners },
	{ "gifts", COLUMNS(gift_columns), false, fill_gifts },
	{ "stuck", COLUMNS(stuck_columns), false, fill_stuck },
};

const unsigned view_count = sizeof views / sizeof views[0];
