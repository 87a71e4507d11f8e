/* SPDX-License-Identifier: BSD-2-Clause */
#include "shm/publication.h"

#include "shm/process.h"

bool dcm_publication_reserve(const struct dcm_segment *seg, uint32_t self,
			     const struct dcm_endpoint_key *key, struct dcm_ref *out)
{
	return dcm_registry_reserve(seg, self, key, out);
}

void dcm_publication_show(const struct dcm_segment *seg, uint32_t self, struct dcm_ref endpoint)
{
	dcm_registry_show(seg, self, endpoint);
	DCM_LINE(publish_serves_parked) dcm_rendezvous_serve(seg, endpoint);
}

void dcm_publication_drop(const struct dcm_segment *seg, struct dcm_ref endpoint)
{
	dcm_registry_remove(seg, endpoint);
}

bool dcm_publication_begin(const struct dcm_segment *seg, uint32_t self,
			   const struct dcm_endpoint_key *key, struct dcm_ref *out)
{
	if (!dcm_publication_reserve(seg, self, key, out))
		return false;
	dcm_publication_show(seg, self, *out);
	return true;
}

/* From REAP on. A death at any line leaves REAP, and the reaper begins here again. */
static void finish(const struct dcm_segment *seg, struct dcm_ref endpoint)
{
	DCM_LINE(end_refuses_waiting) dcm_rendezvous_refuse_all(seg, endpoint);
	dcm_registry_remove(seg, endpoint);
}

void dcm_publication_end(const struct dcm_segment *seg, uint32_t self, struct dcm_ref endpoint)
{
	if (dcm_registry_retire(seg, &endpoint, self, self))
		finish(seg, endpoint);
}

void dcm_publication_reap(const struct dcm_segment *seg, uint32_t index, struct dcm_ref dead,
			  uint32_t by)
{
	struct dcm_endpoint *endpoint = dcm_endpoint_at(seg, index);
	uint64_t word = endpoint != NULL ? dcm_load(&endpoint->word, seq) : 0;
	struct dcm_ref ref = { index, dcm_word_generation(word) };

	if (!dcm_process_owned(seg, word, dead))
		return;
	if (dcm_word_state(word) == DCM_ENDPOINT_LIVE) {
		if (dcm_registry_retire(seg, &ref, dead.index, by))
			finish(seg, ref);
	} else if (dcm_slot_seize(&seg->endpoint, &ref, dead.index, dcm_word_state(word), by)) {
		/* Claimed: nobody saw it. Being taken apart: dcm_reap_notice() has told. */
		finish(seg, ref);
	}
}
