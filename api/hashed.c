/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * With r rows, and h the highest power of 2 that is not more than r, a hash is in the row of its
 * lowest bits below 2 * h, or, if there is no such row yet, below h. So the next row to come takes
 * from one row alone, and the last one goes back into one.
 */
#include "api/hashed.h"

#include <stdlib.h>
#include <string.h>

static unsigned log2_of(size_t n)
{
	return 63u - (unsigned)__builtin_clzll(n);
}

static size_t row_of(const struct dcm_hashed *set, uint64_t hash)
{
	size_t rows = set->more + 1, high = (size_t)1 << log2_of(rows);
	size_t row = (size_t)(hash & (2 * high - 1));

	return row < rows ? row : row - high;
}

static struct dcm_hashed_link **row_at(struct dcm_hashed *set, size_t row)
{
	unsigned k;

	if (row == 0)
		return &set->first;
	k = log2_of(row);
	return &set->rows[k][row - ((size_t)1 << k)];
}

/* The row that the one at @row shares its hashes with, while that is the last. */
static size_t partner_of(size_t row)
{
	return row - ((size_t)1 << log2_of(row));
}

/* One more row: half of its partner's chain goes there. */
static void split(struct dcm_hashed *set)
{
	size_t row = set->more + 1;
	unsigned k = log2_of(row);
	struct dcm_hashed_link **from, **to, *link;

	if (k >= DCM_HASHED_STEPS)
		return;
	if (set->rows[k] == NULL)
		set->rows[k] = calloc((size_t)1 << k, sizeof *set->rows[k]);
	if (set->rows[k] == NULL)
		return;
	set->more++;
	to = row_at(set, row);
	for (from = row_at(set, partner_of(row)); (link = *from) != NULL;) {
		if (row_of(set, link->hash) != row) {
			from = &link->next;
			continue;
		}
		*from = link->next;
		link->next = *to;
		*to = link;
	}
}

/* The last row goes. */
static void merge(struct dcm_hashed *set)
{
	size_t row = set->more;
	struct dcm_hashed_link **from = row_at(set, row), **to = row_at(set, partner_of(row));
	unsigned k = log2_of(row);

	while (*to != NULL)
		to = &(*to)->next;
	*to = *from;
	*from = NULL;
	set->more--;
	/* The rows behind these went before, and came back never or went again. */
	if (row == (size_t)1 << k && k + 1 < DCM_HASHED_STEPS) {
		struct dcm_hashed_link **gone = set->rows[k + 1];

		/* A child forked between the two leaks it, and frees nothing twice. */
		set->rows[k + 1] = NULL;
		free(gone);
	}
}

void dcm_hashed_put(struct dcm_hashed *set, struct dcm_hashed_link *link, uint64_t hash)
{
	struct dcm_hashed_link **row;

	link->hash = hash;
	if (++set->count > set->more + 1)
		split(set);
	row = row_at(set, row_of(set, hash));
	link->next = *row;
	*row = link;
}

void dcm_hashed_take(struct dcm_hashed *set, struct dcm_hashed_link *link)
{
	struct dcm_hashed_link **at = row_at(set, row_of(set, link->hash));

	while (*at != link)
		at = &(*at)->next;
	*at = link->next;
	set->count--;
	/* Not at once, so that one that comes and goes moves nothing; then twice as fast. */
	for (int i = 0; i < 2 && set->count < set->more / 2; i++)
		merge(set);
}

struct dcm_hashed_link *
dcm_hashed_find(const struct dcm_hashed *set, uint64_t hash,
		bool (*is)(const struct dcm_hashed_link *link, const void *like), const void *like)
{
	size_t row = row_of(set, hash);
	struct dcm_hashed_link *link = set->first;

	if (row != 0)
		link = set->rows[log2_of(row)][partner_of(row)];
	while (link != NULL && (link->hash != hash || !is(link, like)))
		link = link->next;
	return link;
}

void dcm_hashed_drop(struct dcm_hashed *set)
{
	for (size_t k = 0; k < DCM_HASHED_STEPS; k++)
		free(set->rows[k]);
	memset(set, 0, sizeof *set);
}
