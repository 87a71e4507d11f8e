/* SPDX-License-Identifier: BSD-2-Clause */
/* Calls: round trips, of one client or several. */
#include "bench/lib_child.h"
#include "bench/peers/driver.h"

void trip(struct run *run, struct peer_end *e, uint64_t word)
{
	struct peer_message request, reply;

	peer.loan(e, run->job.size, &request);
	payload_write(run, &request, word);
	if (!peer.call(e, &request, &reply))
		bench_fail("the server is gone");
	if (payload_read(run, &reply) != ~word)
		bench_fail("the reply is not to this request");
	if (peer.release != NULL)
		peer.release(e, &reply);
}

/*
 * Paced, a call is due at its time: it is measured from there, whether or not the one before let
 * it begin. What a stall keeps back counts as waiting: there is nothing omitted to correct.
 */
void calls_client(struct run *run, struct peer_end *e)
{
	struct of_client *mine = &run->client[e->number];
	uint64_t opened = clock_ticks(), due = opened, number = 0, before, after;

	mine->began = opened + run->warm;
	do {
		before = clock_ticks();
		if (run->pace != 0) {
			while (before < due)
				before = clock_ticks();
			before = due;
			due += run->pace;
		}
		trip(run, e, payload_word(e->number, number++));
		after = clock_ticks();
		if (before >= mine->began)
			hist_add(&mine->time, after - before);
	} while (after < mine->began + run->length);
	mine->ended = after;
	mine->count = mine->time.count;
	trip(run, e, payload_word(e->number, PAYLOAD_LAST));
}

void calls_server(struct run *run, struct peer_end *e)
{
	uint32_t clients = run->job.servers == 1 ? run->job.clients : 1;

	while (clients > 0) {
		struct peer_message request, reply;
		uint64_t word;

		peer.take(e, &request);
		word = payload_read(run, &request);
		peer.room(e, &request, run->job.size, &reply);
		payload_write(run, &reply, ~word);
		peer.answer(e, &request, &reply);
		if (payload_number(word) == PAYLOAD_LAST)
			clients--;
	}
}
