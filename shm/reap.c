/* SPDX-License-Identifier: BSD-2-Clause */
#include "shm/reap.h"

#include "shm/index.h"
#include "shm/listener.h"
#include "shm/park.h"
#include "shm/process.h"
#include "shm/publication.h"

static void notice_endpoint(const struct dcm_segment *seg, uint32_t i, uint32_t index)
{
	struct dcm_endpoint *endpoint = dcm_endpoint_at(seg, i);
	uint64_t word = endpoint == NULL ? 0 : dcm_load(&endpoint->word, seq);
	uint32_t state = dcm_word_state(word);

	/* In REAP: it died in the middle of telling. */
	if ((state == DCM_ENDPOINT_LIVE || DCM_ORDER(reaper_announces, state == DCM_REAP, false)) &&
	    dcm_word_owner(word) == index)
		dcm_registry_announce(seg, i);
}

/* Of what is visible the used bit is set. To look at all slots would take long. */
static void each_used(const struct dcm_segment *seg, const struct dcm_table *table,
		      void (*notice)(const struct dcm_segment *seg, uint32_t i, uint32_t index),
		      uint32_t index)
{
	for (uint32_t i = 0; i < dcm_bitmap_words(table->count); i++)
		for (uint64_t used = dcm_load(&table->used[i], seq); used != 0; used &= used - 1)
			notice(seg, i * 64 + (uint32_t)__builtin_ctzll(used), index);
}

void dcm_reap_notice(const struct dcm_segment *seg, uint32_t index)
{
	each_used(seg, &seg->endpoint, notice_endpoint, index);
	each_used(seg, &seg->connection, dcm_rendezvous_notice, index);
}

static void reap_subscription(const struct dcm_segment *seg, uint32_t index, struct dcm_ref dead,
			      uint32_t by)
{
	struct dcm_subscription *sub = dcm_subscription_at(seg, index);
	uint64_t word = dcm_load(&sub->word, seq);
	struct dcm_ref ref = { index, dcm_word_generation(word) };

	if (!dcm_process_owned(seg, word, dead) ||
	    !dcm_slot_seize(&seg->subscription, &ref, dead.index, dcm_word_state(word), by))
		return;
	DCM_LINE(reaper_clears_subscription) dcm_registry_unlist(seg, index);
	dcm_slot_yield(&seg->subscription, ref);
}

/* Slots that hold nothing that others look for: a listener, or a process slot in REAP. */
static bool reap_plain(const struct dcm_segment *seg, const struct dcm_table *table, uint32_t index,
		       struct dcm_ref dead, uint32_t by)
{
	uint64_t word = dcm_load(dcm_slot_word(table, index), seq);
	struct dcm_ref ref = { index, dcm_word_generation(word) };

	if (!dcm_process_owned(seg, word, dead) ||
	    !dcm_slot_seize(table, &ref, dead.index, dcm_word_state(word), by))
		return false;
	dcm_slot_yield(table, ref);
	return true;
}

void dcm_reap_process(const struct dcm_segment *seg, struct dcm_ref dead, uint32_t by)
{
	dcm_reap_notice(seg, dead.index);
	for (uint32_t i = 0; i < seg->endpoint.count; i++)
		dcm_publication_reap(seg, i, dead, by);
	for (uint32_t i = 0; i < seg->subscription.count; i++)
		reap_subscription(seg, i, dead, by);
	for (uint32_t i = 0; i < seg->connection.count; i++)
		dcm_rendezvous_reap(seg, i, dead, by);
	for (uint32_t i = 0; i < seg->listener.count; i++)
		reap_plain(seg, &seg->listener, i, dead, by);
	/* Behind all that names them. What it revoked stays revoked. */
	for (uint32_t i = 0; i < seg->gift.count; i++)
		DCM_LINE(reaper_frees_gift) reap_plain(seg, &seg->gift, i, dead, by);
	/* Slots of others that it was about to free when it died itself. */
	for (uint32_t i = 0; i < seg->process.count; i++)
		if (i != dead.index)
			reap_plain(seg, &seg->process, i, dead, by);
	/* Last: as long as anything of the dead is left, its slot says so. */
	DCM_LINE(reaper_frees_process)
	if (reap_plain(seg, &seg->process, dead.index, dead, by))
		dcm_add(&dcm_segment_header(seg)->reaped, 1ull);
}

/* Tell of all that are dead by their alive word. Return: how many they are. */
static uint32_t notice_dying(const struct dcm_segment *seg, uint32_t by)
{
	uint32_t dying = 0;

	for (uint32_t i = 0; i < seg->process.count; i++) {
		uint64_t word = dcm_load(dcm_slot_word(&seg->process, i), seq);

		if (i == by || dcm_word_state(word) != DCM_PROCESS_ALIVE ||
		    dcm_process_alive(seg, i))
			continue;
		dcm_reap_notice(seg, i);
		dying++;
	}
	return dying;
}

/* In which who was told comes back from its call, also on this processor. */
enum { TOLD_RETURN_NS = 200 * 1000 };

uint32_t dcm_reap_scan(const struct dcm_segment *seg, uint32_t by, bool thorough)
{
	uint32_t dying = 0;

	/* Whoever was told has only to return; proof and reaping take half a millisecond. */
	if (notice_dying(seg, by) != 0)
		dcm_park_nap(TOLD_RETURN_NS);
	for (uint32_t i = 0; i < seg->process.count; i++) {
		uint64_t word = dcm_load(dcm_slot_word(&seg->process, i), seq);
		struct dcm_ref ref = { i, dcm_word_generation(word) };
		bool alive;

		if (i == by || dcm_word_state(word) == DCM_FREE)
			continue;
		alive = dcm_process_alive(seg, i);
		if (alive && !thorough)
			continue;
		if (dcm_process_dead(seg, ref))
			dcm_reap_process(seg, ref, by);
		else
			dying += !alive && dcm_word_state(word) == DCM_PROCESS_ALIVE;
	}
	return dying;
}
