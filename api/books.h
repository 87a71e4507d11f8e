/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * books - a calling end's account of its call slots, all under end.lock
 *
 * The lowest free slot is used next: what was used last is used again, and with it the lines of its
 * reply. What nobody waits for, one-way messages and calls given up, is collected when a slot or
 * room is wanted, in the order in which it was let go of, which is mostly that in which it ends.
 */
#ifndef DCM_API_BOOKS_H
#define DCM_API_BOOKS_H

#include "api/bits.h"
#include "shm/channel.h"

enum dcm_call_use {
	DCM_USE_FREE = 0,
	DCM_USE_CALLING,   /* a thread waits for it */
	DCM_USE_STARTED,   /* DcmFinish may come */
	DCM_USE_ONE_WAY,   /* nobody will come */
	DCM_USE_ABANDONED, /* nobody will come: given up */
	DCM_USE_REPLY,	   /* the reply is with the program */
};

struct dcm_client_book {
	enum dcm_call_use use;
	uint32_t generation;
	uint64_t offset;	/* of the request's room */
	uint32_t before, after; /* ONE_WAY, ABANDONED: neighbours in their order */
};

struct dcm_books {
	struct dcm_bits free;		       /* slots */
	uint32_t first, last;		       /* of those that nobody waits for */
	_Atomic uint32_t let_go;	       /* how many ever were; read without the lock */
	struct dcm_client_book call[DCM_CHANNEL_CALLS];
};

struct dcm_client_end;

void dcm_books_init(struct dcm_books *books);

/* dcm_books_take() - a new use of a free slot, for the request at @offset; false: none is free */
bool dcm_books_take(struct dcm_books *books, enum dcm_call_use use, uint64_t offset,
		    struct dcm_call *call);

/* dcm_books_give() - the slot is free; not one that nobody waits for */
void dcm_books_give(struct dcm_books *books, uint32_t index);

/* dcm_books_let_go() - nobody waits for it, from here on: @use is ONE_WAY or ABANDONED */
void dcm_books_let_go(struct dcm_books *books, uint32_t index, enum dcm_call_use use);

/*
 * dcm_books_collect() - slot and room of what has ended and nobody waits for
 * @all: of all of it; else up to the first that has not ended
 * Return: whether there was any.
 */
bool dcm_books_collect(struct dcm_client_end *client, bool all);

/* dcm_books_empty() - is there nothing to collect, now or later */
bool dcm_books_empty(const struct dcm_books *books);

#endif
