/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hashed - a set of objects found by a hash, that costs the same with ten of them and a million
 *
 * The links lie in the objects, so nothing is allocated for one that is put in, and putting cannot
 * fail. Rows come and go one at a time (linear hashing), so no call has to move all that is there;
 * without memory for a further row the chains get longer, and that is all.
 *
 * Not for two threads at once.
 */
#ifndef DCM_API_HASHED_H
#define DCM_API_HASHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DCM_HASHED_STEPS = 24 }; /* behind 16 million rows chains get longer */

struct dcm_hashed_link {
	struct dcm_hashed_link *next;
	uint64_t hash;
};

/* Zeroed: empty. */
struct dcm_hashed {
	size_t count; /* of what is in it */
	size_t more;  /* rows beside the first */
	struct dcm_hashed_link *first;
	struct dcm_hashed_link *
		*rows[DCM_HASHED_STEPS]; /* [k]: rows 1 << k and on, as many again */
};

/* dcm_hashed_put() - @link, which is in no set; equal hashes are told apart by who looks */
void dcm_hashed_put(struct dcm_hashed *set, struct dcm_hashed_link *link, uint64_t hash);

/* dcm_hashed_take() - @link, which is in it, out of it */
void dcm_hashed_take(struct dcm_hashed *set, struct dcm_hashed_link *link);

/*
 * dcm_hashed_find() - the one of that hash that @is the one
 * Return: its link, or null.
 */
struct dcm_hashed_link *
dcm_hashed_find(const struct dcm_hashed *set, uint64_t hash,
		bool (*is)(const struct dcm_hashed_link *link, const void *like), const void *like);

/* dcm_hashed_drop() - empty again, its rows freed; what was in it is not touched */
void dcm_hashed_drop(struct dcm_hashed *set);

#endif
