/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * publication - an endpoint from its publishing to its end, requests for it included
 *
 * The one place that knows both the registry and the rendezvous of an endpoint.
 */
#ifndef DCM_SHM_PUBLICATION_H
#define DCM_SHM_PUBLICATION_H

#include "shm/registry.h"
#include "shm/rendezvous.h"

/*
 * dcm_publication_reserve() - an endpoint that nobody sees yet; as dcm_registry_reserve()
 * dcm_publication_show()    - what was reserved is live, announced, and given its parked requests
 * dcm_publication_drop()    - what was reserved is not shown: its slot is free
 */
bool dcm_publication_reserve(const struct dcm_segment *seg, uint32_t self,
			     const struct dcm_endpoint_key *key, struct dcm_ref *out);
void dcm_publication_show(const struct dcm_segment *seg, uint32_t self, struct dcm_ref endpoint);
void dcm_publication_drop(const struct dcm_segment *seg, struct dcm_ref endpoint);

/* dcm_publication_begin() - live, announced, and given the requests that were parked for it
 * Return: true with *@out set, or false: the table is full. */
bool dcm_publication_begin(const struct dcm_segment *seg, uint32_t self,
			   const struct dcm_endpoint_key *key, struct dcm_ref *out);

/* dcm_publication_end() - withdrawn, announced, its waiting requests refused, its slot free */
void dcm_publication_end(const struct dcm_segment *seg, uint32_t self, struct dcm_ref endpoint);

/* dcm_publication_reap() - what @dead, proved dead, leaves undone at endpoint slot @index */
void dcm_publication_reap(const struct dcm_segment *seg, uint32_t index, struct dcm_ref dead,
			  uint32_t by);

#endif
