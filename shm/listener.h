/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * listener - which channels have calls for a server to receive
 *
 * One slot for each listener: an event count that the server's threads sleep on, and one ready bit
 * for each connection slot. Thousands of channels cost a sleeping server one word.
 *
 * Edges: L1 client: put the call in the channel's ring, then set or find set the ready bit, then
 *           look at the event count; L2 server: clear the bit, then look in the ring; prepare, then
 *           look at the bits. All seq: no call lies in a ring whose bit is clear unless a server
 *           thread is about to look there.
 */
#ifndef DCM_SHM_LISTENER_H
#define DCM_SHM_LISTENER_H

#include "shm/park.h"
#include "shm/segment.h"

enum { DCM_LISTENER_LIVE = 2 };

/* dcm_listener_open() - a slot; false: the table is full */
bool dcm_listener_open(const struct dcm_segment *seg, uint32_t self, struct dcm_ref *out);
/* dcm_listener_shut() - by @owner, or by a reaper @by when that is dead */
bool dcm_listener_shut(const struct dcm_segment *seg, struct dcm_ref listener, uint32_t owner,
		       uint32_t by);

/*
 * dcm_listener_signal() - by a client: connection @index of listener slot @listener has a call
 * Return: true: that was known, and nobody sleeps.
 */
bool dcm_listener_signal(const struct dcm_segment *seg, uint32_t listener, uint32_t index);

/* Where a client looks that signals again and again. Null: no such listener or connection. */
struct dcm_listener_sight {
	const dcm_atomic64 *ready;
	const dcm_atomic32 *ec, *bell;
	uint64_t bit;
};

struct dcm_listener_sight dcm_listener_sight(const struct dcm_segment *seg, uint32_t listener,
					     uint32_t index);

/* dcm_listener_knows() - behind the post: has dcm_listener_signal() nothing to do; looks only */
static inline bool dcm_listener_knows(const struct dcm_listener_sight *sight)
{
	/* All seq: L1, W2 of shm/park.h, B2 of shm/bell.h. */
	return sight->ready != NULL &&
	       (dcm_load(sight->ready, DCM_ORDER(signal_looks_in_order, seq, relaxed)) &
		sight->bit) != 0 &&
	       !dcm_park_sleeps(sight->ec) &&
	       dcm_load(sight->bell, DCM_ORDER(ringer_looks_in_order, seq, relaxed)) == 0;
}

/* dcm_listener_wake() - all sleeping threads look around */
void dcm_listener_wake(const struct dcm_segment *seg, struct dcm_ref listener);

/* dcm_listener_mark() - by the server: the bit of connection @index is set again; wakes nobody */
void dcm_listener_mark(const struct dcm_segment *seg, struct dcm_ref listener, uint32_t index);

#define DCM_LISTENER_SKIPS_NONE	 UINT32_MAX
#define DCM_LISTENER_REACHES_ALL UINT32_MAX

/*
 * dcm_listener_next_but() - take one ready bit
 * @reach:  connections of no higher index are looked at: who knows that there are none saves time
 * @cursor: where to begin, in and out: behind the one found, so that every channel has its turn
 * @skip:   a connection whose bit is left alone, or DCM_LISTENER_SKIPS_NONE
 * Return: true with *@index set and its bit cleared by this call.
 */
bool dcm_listener_next_but(const struct dcm_segment *seg, struct dcm_ref listener, uint32_t reach,
			   uint32_t *cursor, uint32_t skip, uint32_t *index);

/* dcm_listener_next() - the same of all */
static inline bool dcm_listener_next(const struct dcm_segment *seg, struct dcm_ref listener,
				     uint32_t *cursor, uint32_t *index)
{
	return dcm_listener_next_but(seg, listener, DCM_LISTENER_REACHES_ALL, cursor,
				     DCM_LISTENER_SKIPS_NONE, index);
}

/* dcm_listener_any_but() - is there something for dcm_listener_next_but() to take; looks only */
bool dcm_listener_any_but(const struct dcm_segment *seg, struct dcm_ref listener, uint32_t reach,
			  uint32_t skip);

#endif
