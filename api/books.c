/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/books.h"

#include "api/session.h"

#define GENERATION_MAX (UINT32_MAX >> 4)
#define NOBODY	       UINT32_MAX

void dcm_books_init(struct dcm_books *books)
{
	dcm_bits_fill(&books->free, DCM_CHANNEL_CALLS);
	books->first = books->last = NOBODY;
}

bool dcm_books_take(struct dcm_books *books, enum dcm_call_use use, uint64_t offset,
		    struct dcm_call *call)
{
	struct dcm_client_book *book;
	int index = dcm_bits_take(&books->free);

	if (index < 0)
		return false;
	book = &books->call[index];
	book->use = use;
	book->generation = book->generation < GENERATION_MAX ? book->generation + 1 : 1;
	book->offset = offset;
	*call = (struct dcm_call){ .index = (uint32_t)index, .generation = book->generation };
	return true;
}

void dcm_books_give(struct dcm_books *books, uint32_t index)
{
	books->call[index].use = DCM_USE_FREE;
	dcm_bits_give(&books->free, index);
}

void dcm_books_let_go(struct dcm_books *books, uint32_t index, enum dcm_call_use use)
{
	struct dcm_client_book *book = &books->call[index];

	book->use = use;
	book->before = books->last;
	book->after = NOBODY;
	if (books->last == NOBODY)
		books->first = index;
	else
		books->call[books->last].after = index;
	books->last = index;
	/* relaxed: who reads it without the lock looks again later. */
	atomic_store_explicit(&books->let_go,
			      atomic_load_explicit(&books->let_go, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

static void unlink_book(struct dcm_books *books, const struct dcm_client_book *book)
{
	if (book->before == NOBODY)
		books->first = book->after;
	else
		books->call[book->before].after = book->after;
	if (book->after == NOBODY)
		books->last = book->before;
	else
		books->call[book->after].before = book->before;
}

static bool has_ended(struct dcm_channel *ch, const struct dcm_client_book *book, uint32_t index)
{
	struct dcm_call call = { .index = index, .generation = book->generation };
	enum dcm_call_state state;

	if (book->use == DCM_USE_ONE_WAY)
		return dcm_channel_ended(ch, call);
	state = dcm_channel_state(ch, call, NULL);
	if (state != DCM_CALL_ANSWERED && state != DCM_CALL_FAILED)
		return false;
	dcm_channel_return(ch, call);
	return true;
}

bool dcm_books_empty(const struct dcm_books *books)
{
	return books->first == NOBODY;
}

bool dcm_books_collect(struct dcm_client_end *client, bool all)
{
	struct dcm_books *books = &client->books;
	uint32_t index = books->first;
	bool any = false;

	while (index != NOBODY) {
		struct dcm_client_book *book = &books->call[index];
		uint32_t after = book->after;

		if (has_ended(&client->end.channel, book, index)) {
			unlink_book(books, book);
			dcm_end_put_room(&client->end, book->offset);
			dcm_books_give(books, index);
			any = true;
		} else if (!all) {
			break;
		}
		index = after;
	}
	return any;
}
