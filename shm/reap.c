/* SPDX-License-Identifier: BSD-2-Clause */
#include "shm/reap.h"

#include "shm/index.h"
#include "shm/listener.h"
#include "shm/park.h"
#include "shm/process.h"
#include "shm/publication.h"

void dcm_reap_notice(const struct dcm_segment *seg, uint32_t index, uint32_t by)
{
	struct dcm_endpoint *endpoint;

	/* Those of this process who sleep there were woken by the one that the kernel woke, unless
	   the host cancelled that thread. */
	dcm_park_wake_word(dcm_alive_at(seg, index, 1 + by));
	for (uint32_t i = 0; (endpoint = dcm_endpoint_at(seg, i)) != NULL; i++) {
		uint64_t word = dcm_load(&endpoint->word, seq);

		/* In REAP: it died in the middle of telling. */
		if ((dcm_word_state(word) == DCM_ENDPOINT_LIVE ||
		     dcm_word_state(word) == DCM_REAP) &&
		    dcm_word_owner(word) == index)
			dcm_registry_announce(
				seg, dcm_bucket_of(dcm_load(&endpoint->type_hash, relaxed)), i);
	}
	for (uint32_t i = 0; i < seg->connection.count; i++)
		dcm_rendezvous_notice(seg, i, index);
}

static void reap_subscription(const struct dcm_segment *seg, uint32_t index, struct dcm_ref dead,
			      uint32_t by)
{
	struct dcm_subscription *sub = dcm_subscription_at(seg, index);
	uint64_t word = dcm_load(&sub->word, seq);
	struct dcm_ref ref = { index, dcm_word_generation(word) };
	uint32_t bucket;

	if (!dcm_process_owned(seg, word, dead) ||
	    !dcm_slot_seize(&seg->subscription, &ref, dead.index, dcm_word_state(word), by))
		return;
	bucket = dcm_bucket_of(dcm_load(&sub->type_hash, relaxed));
	DCM_LINE(reaper_clears_subscription)
	dcm_index_clear(dcm_index_row(seg->subscription_index, seg->subscription_row, bucket),
			index);
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
	dcm_reap_notice(seg, dead.index, by);
	for (uint32_t i = 0; i < seg->endpoint.count; i++)
		dcm_publication_reap(seg, i, dead, by);
	for (uint32_t i = 0; i < seg->subscription.count; i++)
		reap_subscription(seg, i, dead, by);
	for (uint32_t i = 0; i < seg->connection.count; i++)
		dcm_rendezvous_reap(seg, i, dead, by);
	for (uint32_t i = 0; i < seg->listener.count; i++)
		reap_plain(seg, &seg->listener, i, dead, by);
	/* Slots of others that it was about to free when it died itself. */
	for (uint32_t i = 0; i < seg->process.count; i++)
		if (i != dead.index)
			reap_plain(seg, &seg->process, i, dead, by);
	/* Last: as long as anything of the dead is left, its slot says so. */
	DCM_LINE(reaper_frees_process)
	if (reap_plain(seg, &seg->process, dead.index, dead, by))
		dcm_add(&dcm_segment_header(seg)->reaped, 1ull);
}

uint32_t dcm_reap_scan(const struct dcm_segment *seg, uint32_t by, bool thorough)
{
	uint32_t dying = 0;

	for (uint32_t i = 0; i < seg->process.count; i++) {
		uint64_t word = dcm_load(dcm_slot_word(&seg->process, i), seq);
		struct dcm_ref ref = { i, dcm_word_generation(word) };
		bool alive;

		if (i == by || dcm_word_state(word) == DCM_FREE)
			continue;
		alive = dcm_process_alive(seg, i);
		if (alive && !thorough)
			continue;
		if (dcm_process_dead(seg, ref)) {
			dcm_reap_process(seg, ref, by);
		} else if (!alive && dcm_word_state(word) == DCM_PROCESS_ALIVE) {
			dcm_reap_notice(seg, i, by);
			dying++;
		}
	}
	return dying;
}
