/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gift - a handle by which its process shows itself to others, and the word that it is revoked
 *
 *   FREE -> CLAIMED -> GIVEN -> REAP -> FREE
 *                        |        ^
 *                        +-> REVOKED
 *
 * Who publishes, or asks for a connection, shows an identity: those who see it hold handles that
 * descend from one of his. That one is a gift; endpoints and connections carry its name, which is a
 * key that nothing else ever has, and its place in this table. A peer remembers both with what it
 * was shown, and looks, whenever that is used, whether the key stands in the place as revoked.
 *
 * One store revokes, by the gift's owner: a death before it leaves a gift that is not revoked, a
 * death behind it one that is. Nobody clears what it stored: the slot may be free by then, its owner
 * dead, the place another's gift, and the key is still revoked, until as many later gifts as a slot has
 * words for (DCM_GIFT_REVOKED_KEYS) were revoked there in their turn, each of another life of some
 * process: a slot is not free before its owner has left, once revoked. Gifts lie where their keys
 * say, all over the table, so that takes a while.
 *
 * Edges: G1 revoker: store the key, and only then say that it is revoked; user: load it (seq).
 */
#ifndef DCM_SHM_GIFT_H
#define DCM_SHM_GIFT_H

#include "shm/segment.h"

enum { DCM_GIFT_GIVEN = 2, DCM_GIFT_REVOKED = 3 };

/* The name of one. */
struct dcm_gift {
	uint64_t key; /* 0: none, and nobody revokes what is shown by it */
	uint32_t at;  /* 1 + its place; 0: likewise */
};

/*
 * dcm_gift_make() - @key, which nobody has had yet, is given by the process at @self
 * Return: true with *@out set, or false: the table is full.
 */
bool dcm_gift_make(const struct dcm_segment *seg, uint32_t self, uint64_t key, struct dcm_ref *out);

/* dcm_gift_revoke() - by its owner, once: from here on every use of what was shown by it fails */
void dcm_gift_revoke(const struct dcm_segment *seg, uint32_t self, struct dcm_ref gift,
		     uint64_t key);

/* dcm_gift_drop() - by its owner: nobody will revoke it, and nothing new is shown by it */
void dcm_gift_drop(const struct dcm_segment *seg, uint32_t self, struct dcm_ref gift);

/* dcm_gift_leave() - all slots of the process at @self, revoked ones too, as it leaves the fabric */
void dcm_gift_leave(const struct dcm_segment *seg, uint32_t self);

/* dcm_gift_revoked() - has it been */
bool dcm_gift_revoked(const struct dcm_segment *seg, struct dcm_gift gift);

/* dcm_gift_name() - as endpoints and connections carry it */
static inline struct dcm_gift dcm_gift_name(struct dcm_ref slot, uint64_t key)
{
	return (struct dcm_gift){ .key = key, .at = slot.index + 1 };
}

#endif
