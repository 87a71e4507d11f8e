/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A slot's problems are a set of bits, computed by one function from one look. So to confirm is to
 * look again and keep the bits that are in both, as long as the state word stands.
 *
 * All loads are seq or acquire between two loads of the state word: what is read in between is of
 * that word's use of the slot, or the second load differs.
 */
#define _GNU_SOURCE
#include "shm/check.h"

#include <linux/futex.h>
#include <string.h>

#include "shm/channel.h"
#include "shm/gift.h"
#include "shm/hash.h"
#include "shm/listener.h"
#include "shm/park.h"
#include "shm/process.h"
#include "shm/registry.h"
#include "shm/rendezvous.h"

enum { SUSPECTS = 256, LOOKS = 8, NO_SLOT_OWNER = 0xffff };

#define NO_BUCKET    UINT32_MAX
#define BIT(problem) (1u << DCM_PROBLEM_##problem)

static const struct {
	enum dcm_check_kind kind;
	const char *text;
} problems[DCM_PROBLEMS] = {
	[DCM_PROBLEM_HEADER] = { DCM_CHECK_DAMAGED, "header was changed" },
	[DCM_PROBLEM_STATE] = { DCM_CHECK_DAMAGED, "state word is not a legal one" },
	[DCM_PROBLEM_OWNER] = { DCM_CHECK_DAMAGED, "its owner cannot own it" },
	[DCM_PROBLEM_USED] = { DCM_CHECK_DAMAGED, "bitmap of used slots says otherwise" },
	[DCM_PROBLEM_INDEX_LACKS] = { DCM_CHECK_DAMAGED, "its interface's index lacks it" },
	[DCM_PROBLEM_INDEX_STRAYS] = { DCM_CHECK_DAMAGED, "a foreign bucket's index has it" },
	[DCM_PROBLEM_NAME] = { DCM_CHECK_DAMAGED, "a name is not valid" },
	[DCM_PROBLEM_HASH] = { DCM_CHECK_DAMAGED, "a hash is not that of its name" },
	[DCM_PROBLEM_FIELD] = { DCM_CHECK_DAMAGED, "a field is out of bounds" },
	[DCM_PROBLEM_RING] = { DCM_CHECK_DAMAGED, "its ring is damaged" },
	[DCM_PROBLEM_GIFT] = { DCM_CHECK_DAMAGED, "is shown by what is not its owner's" },
	[DCM_PROBLEM_TARGET] = { DCM_CHECK_DAMAGED, "waits for an endpoint that is gone" },
	[DCM_PROBLEM_ALIVE] = { DCM_CHECK_DAMAGED, "its alive word contradicts its slot" },
	[DCM_PROBLEM_DYING] = { DCM_CHECK_DEAD, "process is dead, not proved yet" },
	[DCM_PROBLEM_DIED] = { DCM_CHECK_DEAD, "process is dead" },
	[DCM_PROBLEM_OWNER_DEAD] = { DCM_CHECK_DEAD, "its owner is dead" },
	[DCM_PROBLEM_PARTY_DEAD] = { DCM_CHECK_DEAD, "its other party is dead" },
	[DCM_PROBLEM_REAPER] = { DCM_CHECK_DEAD, "was left half taken apart" },
	[DCM_PROBLEM_CLAIMED] = { DCM_CHECK_TRANSITION, "is being set up" },
	[DCM_PROBLEM_REAPED] = { DCM_CHECK_TRANSITION, "is being taken apart" },
	[DCM_PROBLEM_LEAVING] = { DCM_CHECK_TRANSITION, "process is leaving" },
};

struct suspect {
	enum dcm_check_table table;
	uint32_t slot;
	uint32_t bucket; /* NO_BUCKET: the slot itself, else its bit in that bucket's row */
	uint32_t found;	 /* set of problems */
	uint64_t word;
};

struct check {
	const struct dcm_segment *seg;
	const struct dcm_check_options *options;
	struct dcm_check_result *result;
	uint64_t proved[(DCM_PROCESSES_MAX + 63) / 64]; /* processes that were proved dead */
	struct suspect suspects[SUSPECTS];
	unsigned count;
};

/* What the walk needs to know of each table. */
struct table {
	const struct dcm_table *slots;
	uint32_t visible; /* the state that is in the index without fail; 0: it has none */
	uint32_t last;	  /* of its own states */
};

static struct table table_of(const struct dcm_segment *seg, enum dcm_check_table table)
{
	switch (table) {
	case DCM_CHECK_PROCESS:
		return (struct table){ .slots = &seg->process, .last = DCM_PROCESS_ALIVE };
	case DCM_CHECK_ENDPOINT:
		return (struct table){ &seg->endpoint, DCM_ENDPOINT_LIVE, DCM_ENDPOINT_LIVE };
	case DCM_CHECK_SUBSCRIPTION:
		return (struct table){ &seg->subscription, DCM_SUBSCRIPTION_ACTIVE,
				       DCM_SUBSCRIPTION_ACTIVE };
	case DCM_CHECK_CONNECTION:
		return (struct table){ &seg->connection, DCM_CONNECTION_POSTED,
				       DCM_CONNECTION_HUNGUP };
	case DCM_CHECK_GIFT:
		return (struct table){ .slots = &seg->gift, .last = DCM_GIFT_REVOKED };
	default:
		return (struct table){ .slots = &seg->listener, .last = DCM_LISTENER_LIVE };
	}
}

static bool bit_of(const dcm_atomic64 *bits, uint32_t index)
{
	return (dcm_load(&bits[index / 64], seq) >> index % 64 & 1) != 0;
}

/* Who is dead. */

static bool proved_dead(struct check *c, uint32_t index)
{
	struct dcm_ref ref = { index, dcm_process_generation(c->seg, index) };

	return ref.generation != 0 && dcm_process_dead(c->seg, ref);
}

static void prove_deaths(struct check *c)
{
	for (uint32_t i = 0; c->options->proof && i < c->seg->process.count; i++)
		if (proved_dead(c, i))
			c->proved[i / 64] |= 1ull << i % 64;
}

/* Is nobody there any more who could go on with what belongs to @index. */
static bool is_dead(struct check *c, uint32_t index)
{
	enum dcm_fate fate = dcm_check_fate(c->seg, index);

	if (fate == DCM_FATE_NONE || fate == DCM_FATE_DYING || fate == DCM_FATE_REAPED)
		return true;
	/* Asked again: the slot may have another process now. */
	return (c->proved[index / 64] >> index % 64 & 1) != 0 && proved_dead(c, index);
}

/* Fields. */

static bool name_valid(const struct dcm_name *name, char text[256])
{
	uint64_t words[DCM_NAME_WORDS];
	size_t length;

	static_assert(sizeof words == 256, "a name with its zero");
	for (uint32_t i = 0; i < DCM_NAME_WORDS; i++)
		words[i] = dcm_load(&name->words[i], acquire);
	memcpy(text, words, sizeof words);
	length = strnlen(text, sizeof words);
	if (length == 0 || length == sizeof words) {
		text[255] = '\0';
		return false;
	}
	/* Names are compared as words, so what is behind the zero counts. */
	for (size_t i = length; i < sizeof words; i++)
		if (text[i] != '\0')
			return false;
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return false;
	return true;
}

static uint32_t look_at_name(const struct dcm_name *name, uint64_t hash)
{
	char text[256];

	if (!name_valid(name, text))
		return BIT(NAME);
	return dcm_hash(text) == hash ? 0 : BIT(HASH);
}

/* A word that names another thread hides this process's death from who sleeps there. */
static bool alive_words_hold(const struct dcm_segment *seg, uint32_t slot)
{
	uint32_t tid = dcm_load(&dcm_process_at(seg, slot)->tid, acquire);

	for (uint32_t place = 0; place < dcm_alive_words(seg->process.count); place++) {
		uint32_t alive = dcm_load(dcm_alive_at(seg, slot, place), acquire);

		/* On its way out, word by word. */
		if (alive != 0 && (alive & FUTEX_OWNER_DIED) == 0 &&
		    (alive & FUTEX_TID_MASK) != tid)
			return false;
	}
	return true;
}

static uint32_t look_at_process(struct check *c, uint32_t slot, uint64_t word)
{
	const struct dcm_process *p = dcm_process_at(c->seg, slot);
	uint32_t state = dcm_word_state(word), found = 0;
	uint32_t alive;
	char text[256];

	if (p == NULL || state == DCM_REAP)
		return 0;
	if (dcm_word_owner(word) != slot)
		found |= BIT(OWNER);
	if ((c->proved[slot / 64] >> slot % 64 & 1) != 0 && proved_dead(c, slot))
		return found | BIT(DIED);
	if (state != DCM_PROCESS_ALIVE)
		return found;
	alive = dcm_load(dcm_alive_at(c->seg, slot, 0), acquire);
	if (!name_valid(&p->name, text))
		found |= BIT(NAME);
	if ((alive & FUTEX_OWNER_DIED) != 0)
		return found | BIT(DYING);
	if (alive == 0)
		return found | BIT(LEAVING);
	if (!alive_words_hold(c->seg, slot))
		found |= BIT(ALIVE);
	return found;
}

static uint32_t look_at_endpoint(const struct dcm_segment *seg, uint32_t slot, uint64_t word)
{
	const struct dcm_endpoint *e = dcm_endpoint_at(seg, slot);
	const struct dcm_endpoint_names *names = dcm_endpoint_names_at(seg, slot);

	uint32_t found = look_at_name(&names->type, dcm_load(&e->type_hash, acquire)) |
			 look_at_name(&names->name, dcm_load(&e->name_hash, acquire));

	if (!dcm_check_gift(seg, &e->gift, &e->gift_key, dcm_word_owner(word)))
		found |= BIT(GIFT);
	return dcm_load(&e->told_at, acquire) > seg->endpoint.count ? found | BIT(FIELD) : found;
}

static uint32_t look_at_subscription(const struct dcm_segment *seg, uint32_t slot)
{
	struct dcm_subscription *sub = dcm_subscription_at(seg, slot);
	struct dcm_ring_view ring = dcm_ring_view(&sub->ring, seg->capacity.ring_shift);
	uint32_t found = 0;

	if (dcm_load(&sub->type_hash, acquire) == 0 || dcm_load(&sub->types, acquire) == 0 ||
	    dcm_load(&sub->resync, acquire) > 1 ||
	    !bit_of(sub->buckets, dcm_bucket_of(dcm_load(&sub->type_hash, acquire))))
		found |= BIT(FIELD);
	return dcm_check_ring(ring, seg->endpoint.count) ? found : found | BIT(RING);
}

/* A posted request is parked, or aimed at an endpoint that is there or is about to refuse it; the
   generation of that rises when a reaper takes it over. */
static bool target_legal(const struct dcm_segment *seg, const struct dcm_connection *c,
			 uint64_t word)
{
	uint64_t target = dcm_load(&c->target, seq), endpoint;
	struct dcm_ref ref;

	if (!dcm_check_target(target, &ref))
		return dcm_check_parked(target, dcm_word_generation(word));
	if (ref.index >= seg->endpoint.count)
		return false;
	endpoint = dcm_load(dcm_slot_word(&seg->endpoint, ref.index), seq);
	if (dcm_word_state(endpoint) == DCM_REAP)
		return ref.generation <= dcm_word_generation(endpoint);
	return ref.generation == dcm_word_generation(endpoint) &&
	       dcm_word_state(endpoint) == DCM_ENDPOINT_LIVE;
}

static uint32_t look_at_offer(const struct dcm_segment *seg, const struct dcm_connection *c)
{
	uint64_t bytes = dcm_load(&c->bytes, acquire);
	bool legal = dcm_load(&c->listener, acquire) < seg->listener.count &&
		     bytes >= DCM_CHANNEL_BYTES_MIN && bytes <= DCM_CHANNEL_BYTES_MAX;

	return legal ? 0 : BIT(FIELD);
}

/* The parties of a connection, each index once: who owns it in which state. */
static uint32_t look_at_parties(struct check *c, const struct dcm_connection *connection,
				uint64_t word)
{
	uint32_t owner = dcm_word_owner(word), other;
	uint32_t client = dcm_load(&connection->client, acquire);
	uint32_t server = dcm_load(&connection->server, acquire);

	switch (dcm_word_state(word)) {
	case DCM_CONNECTION_TAKEN:
	case DCM_CONNECTION_ENDED:
		/* The server writes its number a step after it owns the slot. */
		if (server != owner && server != UINT32_MAX)
			return BIT(OWNER);
		if (dcm_word_state(word) == DCM_CONNECTION_ENDED)
			return 0; /* the client is gone, and may be */
		other = client;
		break;
	case DCM_CONNECTION_ACCEPTED:
		if (server != owner)
			return BIT(OWNER);
		other = client;
		break;
	case DCM_CONNECTION_OPEN:
		if (client != owner)
			return BIT(OWNER);
		other = server;
		break;
	default:
		return client == owner ? 0 : BIT(OWNER);
	}
	if (other >= c->seg->process.count)
		return BIT(FIELD);
	return is_dead(c, other) ? BIT(PARTY_DEAD) : 0;
}

static uint32_t look_at_connection(struct check *c, uint32_t slot, uint64_t word)
{
	const struct dcm_connection *at = dcm_connection_at(c->seg, slot);
	uint32_t state = dcm_word_state(word);
	uint32_t found = look_at_parties(c, at, word);
	uint64_t ticket = dcm_load(&at->ticket, acquire);

	found |= look_at_name(&at->type, dcm_load(&at->type_hash, acquire));
	found |= look_at_name(&at->name, dcm_load(&at->name_hash, acquire));
	if (ticket >= dcm_load(&dcm_segment_header(c->seg)->ticket, seq) ||
	    dcm_load(&at->transfer, acquire) > DCM_TRANSFER_SOCKET)
		found |= BIT(FIELD);
	if (state == DCM_CONNECTION_ACCEPTED || state == DCM_CONNECTION_OPEN)
		found |= look_at_offer(c->seg, at);
	if (state == DCM_CONNECTION_POSTED && !target_legal(c->seg, at, word))
		found |= BIT(TARGET);
	if (state == DCM_CONNECTION_POSTED &&
	    !dcm_check_gift(c->seg, &at->gift, &at->gift_key, dcm_word_owner(word)))
		found |= BIT(GIFT);
	return found;
}

static uint32_t look_at_listener(const struct dcm_segment *seg, uint32_t slot)
{
	const dcm_atomic64 *ready = dcm_listener_ready(dcm_listener_at(seg, slot));
	uint32_t count = seg->connection.count;

	if (count % 64 != 0 && dcm_load(&ready[count / 64], seq) >> count % 64 != 0)
		return BIT(FIELD);
	return 0;
}

/* Slots. */

static uint32_t look_at_fields(struct check *c, enum dcm_check_table table, uint32_t slot,
			       uint64_t word)
{
	switch (table) {
	case DCM_CHECK_ENDPOINT:
		return look_at_endpoint(c->seg, slot, word);
	case DCM_CHECK_SUBSCRIPTION:
		return look_at_subscription(c->seg, slot);
	case DCM_CHECK_CONNECTION:
		return look_at_connection(c, slot, word);
	case DCM_CHECK_LISTENER:
		return look_at_listener(c->seg, slot);
	case DCM_CHECK_GIFT:
		return dcm_check_gift_slot(c->seg, slot, word) ? 0 : BIT(FIELD);
	default:
		return 0;
	}
}

/* A slot that is not free: its owner. A process slot owns itself, but in REAP. */
static uint32_t look_at_owner(struct check *c, enum dcm_check_table table, uint64_t word)
{
	uint32_t owner = dcm_word_owner(word), state = dcm_word_state(word);

	if (owner >= c->seg->process.count)
		return state == DCM_REAP && owner == NO_SLOT_OWNER ? BIT(REAPER) : BIT(OWNER);
	if (table == DCM_CHECK_PROCESS && state != DCM_REAP)
		return state == DCM_CLAIMED && !is_dead(c, owner) ? BIT(CLAIMED) : 0;
	if (is_dead(c, owner))
		return BIT(OWNER_DEAD);
	return state == DCM_CLAIMED ? BIT(CLAIMED) : state == DCM_REAP ? BIT(REAPED) : 0;
}

static uint32_t look_at_slot(struct check *c, enum dcm_check_table table, uint32_t slot,
			     uint64_t word)
{
	struct table t = table_of(c->seg, table);
	uint32_t state = dcm_word_state(word), found;
	bool used = bit_of(t.slots->used, slot);

	if (slot >= t.slots->count)
		return used ? BIT(USED) : 0;
	if (state == DCM_FREE)
		return (used ? BIT(USED) : 0) | (dcm_word_owner(word) != 0 ? BIT(STATE) : 0);
	if ((state > t.last && state != DCM_REAP) || dcm_word_generation(word) == 0)
		return BIT(STATE);
	found = look_at_owner(c, table, word);
	if (table == DCM_CHECK_PROCESS)
		found |= look_at_process(c, slot, word);
	if (state == DCM_CLAIMED || state == DCM_REAP)
		return found;
	if (!used)
		found |= BIT(USED);
	found |= look_at_fields(c, table, slot, word);
	if (t.visible != 0 && state == t.visible && !dcm_check_listed(c->seg, table, slot))
		found |= BIT(INDEX_LACKS);
	return found;
}

/* A bit is set only while the slot is not free, behind the store of its interface's hash. */
static uint32_t look_at_bit(struct check *c, enum dcm_check_table table, uint32_t slot,
			    uint32_t bucket, uint64_t word)
{
	struct table t = table_of(c->seg, table);

	if (!dcm_check_bit(c->seg, table, bucket, slot))
		return 0;
	if (slot < t.slots->count && dcm_word_state(word) != DCM_FREE &&
	    dcm_check_belongs(c->seg, table, bucket, slot))
		return 0;
	return BIT(INDEX_STRAYS);
}

static uint32_t look(struct check *c, enum dcm_check_table table, uint32_t slot, uint32_t bucket,
		     uint64_t *word)
{
	const dcm_atomic64 *at = dcm_slot_word(table_of(c->seg, table).slots, slot);

	for (int looks = 0; looks < LOOKS; looks++) {
		uint32_t found;

		*word = at != NULL ? dcm_load(at, seq) : 0;
		found = bucket == NO_BUCKET ? look_at_slot(c, table, slot, *word)
					    : look_at_bit(c, table, slot, bucket, *word);
		if (at == NULL || dcm_load(at, seq) == *word)
			return found;
	}
	return 0; /* it moves, so somebody lives who moves it */
}

/* Findings. */

static void report(struct check *c, const struct suspect *s, enum dcm_check_problem problem)
{
	struct dcm_check_result *result = c->result;
	struct dcm_finding finding = { .kind = problems[problem].kind,
				       .problem = problem,
				       .table = s->table,
				       .slot = s->slot,
				       .bucket = s->bucket,
				       .word = s->word,
				       .text = problems[problem].text };
	uint64_t sum = result->damaged + result->dead + result->transition;

	if (c->options->most != 0 && sum >= c->options->most) {
		result->stopped = true;
		return;
	}
	if (finding.kind == DCM_CHECK_DAMAGED)
		result->damaged++;
	else if (finding.kind == DCM_CHECK_DEAD)
		result->dead++;
	else
		result->transition++;
	if (c->options->report != NULL)
		c->options->report(c->options->context, &finding);
}

/* Look again at all suspects, and report those that are still there. */
static void confirm(struct check *c)
{
	dcm_atomic32 nobody_wakes = 0;
	bool any = c->count != 0;

	for (unsigned round = 0; any && round < c->options->confirm; round++) {
		any = false;
		if (c->options->pause_ns > 0)
			dcm_park_sleep(&nobody_wakes, 0, NULL,
				       dcm_park_deadline(c->options->pause_ns));
		for (unsigned i = 0; i < c->count; i++) {
			struct suspect *s = &c->suspects[i];
			uint64_t word;
			uint32_t found =
				s->found == 0 ? 0 : look(c, s->table, s->slot, s->bucket, &word);

			s->found = found != 0 && word == s->word ? s->found & found : 0;
			any |= s->found != 0;
		}
	}
	for (unsigned i = 0; i < c->count; i++)
		for (unsigned problem = 0; problem < DCM_PROBLEMS; problem++)
			if ((c->suspects[i].found >> problem & 1) != 0)
				report(c, &c->suspects[i], (enum dcm_check_problem)problem);
	c->count = 0;
}

static void consider(struct check *c, enum dcm_check_table table, uint32_t slot, uint32_t bucket)
{
	struct suspect s = { .table = table, .slot = slot, .bucket = bucket };

	s.found = look(c, table, slot, bucket, &s.word);
	if (s.found == 0)
		return;
	c->suspects[c->count++] = s;
	if (c->count == SUSPECTS)
		confirm(c);
}

static void walk(struct check *c, enum dcm_check_table table)
{
	uint32_t bits = dcm_bitmap_words(table_of(c->seg, table).slots->count) * 64;

	for (uint32_t i = 0; i < bits && !c->result->stopped; i++)
		consider(c, table, i, NO_BUCKET);
	for (uint32_t bucket = 0; bucket < dcm_check_buckets(table); bucket++) {
		uint32_t cursor = 0, slot;

		/* To the end of the last word: nobody looks there, but nobody writes there either. */
		while (!c->result->stopped &&
		       dcm_check_next_bit(c->seg, table, bucket, &cursor, &slot))
			consider(c, table, slot, bucket);
	}
}

/* A view of bare memory need not have a header. */
static void check_header(struct check *c)
{
	const struct dcm_segment *seg = c->seg;
	struct suspect s = { .table = DCM_CHECK_HEADER, .bucket = NO_BUCKET };
	struct dcm_header h;

	/* What is written before the segment has a name, and never after. */
	memcpy(&h, seg->base, offsetof(struct dcm_header, ticket));
	if (seg->path[0] == '\0' && h.magic != DCM_MAGIC)
		return;
	if (h.magic != DCM_MAGIC || h.layout != DCM_LAYOUT || h.bytes != seg->bytes ||
	    h.fingerprint != dcm_layout_fingerprint() || h.hash != DCM_HASH_XXH3 ||
	    memcmp(&h.capacity, &seg->capacity, sizeof h.capacity) != 0)
		report(c, &s, DCM_PROBLEM_HEADER);
}

void dcm_check(const struct dcm_segment *seg, const struct dcm_check_options *options,
	       struct dcm_check_result *result)
{
	static const struct dcm_check_options quiet = { .proof = true };
	struct check c = { .seg = seg,
			   .options = options != NULL ? options : &quiet,
			   .result = result };

	*result = (struct dcm_check_result){ 0 };
	check_header(&c);
	prove_deaths(&c);
	for (int table = DCM_CHECK_PROCESS; table <= DCM_CHECK_GIFT; table++)
		walk(&c, (enum dcm_check_table)table);
	confirm(&c);
}
