/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bell - how a change in the segment reaches a process none of whose threads sleeps for it
 *
 * A word in the slot of whoever wants to be told: 0, nobody does; else a token of its owner's, who
 * sleeps in its keeper together with all else that may come. The owner, on any of its threads,
 *
 *	token = dcm_bell_arm(bell);
 *	if (what I want to hear of is there) ...
 *	and, whenever the keeper was kicked and dcm_bell_rung(bell, token): around again
 *
 * and the ringer, after a seq store or any read-modify-write that made it true,
 *
 *	dcm_bell_ring(seg, bell, whose, slot);		whose(slot): the process at that index
 *
 * which is one load while nobody wants to be told, or was told already and has not come yet.
 *
 * Edges: B1 owner: store the token, then look; B2 ringer: its change, then load the token. All four
 *           seq (Dekker): the look sees the change, or the ringer sees the token.
 *        B3 ringer: mark the token, then kick; keeper: its control word, then look at the token: a
 *           keeper that a kick woke finds the mark.
 *
 * A ringer is four steps long. The mark comes first: a keeper passes over bells that are as they
 * were armed, and whoever rings next finds the mark and kicks as well, whatever became of the one
 * who set it. Then it looks whose the bell is, for the slot may have changed hands before: a new
 * owner is in its place before it arms, so who has found a token finds the owner of that token, or
 * a later one. The kick comes before the clearing: 0 says that the owner was told. The clearing
 * takes away that very token alone: a ringer that was stopped before it harms no later one, of
 * whatever owner, for each process counts its tokens from a random number on.
 *
 * A ringer that dies before its mark leaves a change that nobody was told of. What it changed is
 * then told by its reaper, who rings at the latest in dcm_reap_notice(); for one that is stopped
 * there nobody does, and the owner's look once a second finds it.
 */
#ifndef DCM_SHM_BELL_H
#define DCM_SHM_BELL_H

#include "shm/segment.h"

/* Of which process, by its index, is the bell that lies in @slot now. */
typedef uint32_t dcm_bell_owner_fn(const void *slot);

/* dcm_bell_start() - count tokens from @first on: by each process, anew whenever it attaches */
void dcm_bell_start(uint32_t first);

/* dcm_bell_arm() - by the owner, before it looks. Return: the token, never 0 */
uint32_t dcm_bell_arm(dcm_atomic32 *bell);

/*
 * dcm_bell_disarm() - by the owner: ringers go by, until it is armed again
 * Does nothing to a bell that was rung, or is another owner's now.
 */
void dcm_bell_disarm(dcm_atomic32 *bell, uint32_t token);

/* dcm_bell_rung() - was it rung since it was armed with @token; true also when it was never armed */
bool dcm_bell_rung(const dcm_atomic32 *bell, uint32_t token);

/* dcm_bell_tell() - of dcm_bell_ring(), what is to be done when there is a token */
void dcm_bell_tell(const struct dcm_segment *seg, dcm_atomic32 *bell, uint32_t token,
		   dcm_bell_owner_fn *whose, const void *slot);

/* dcm_bell_ring() - tell the bell's owner, which @whose finds by @slot, after the change */
static inline void dcm_bell_ring(const struct dcm_segment *seg, dcm_atomic32 *bell,
				 dcm_bell_owner_fn *whose, const void *slot)
{
	/* seq, B2. */
	uint32_t token = dcm_load(bell, DCM_ORDER(ringer_looks_in_order, seq, relaxed));

	if (token != 0)
		dcm_bell_tell(seg, bell, token, whose, slot);
}

#endif
