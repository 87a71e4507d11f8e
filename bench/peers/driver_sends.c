/* SPDX-License-Identifier: BSD-2-Clause */
/* One-way messages, as fast as they go, of one client or several. */
#include "bench/lib_child.h"
#include "bench/peers/driver.h"

enum { LOOKS_EVERY = 16 }; /* messages between two looks at the clock */

void sends_client(struct run *run, struct peer_end *e)
{
	struct peer_message m;
	uint64_t number = 0;

	while (atomic_load_explicit(&run->stop, memory_order_relaxed) == 0)
		for (uint32_t i = run->job.batch; i-- > 0;) {
			peer.loan(e, run->job.size, &m);
			payload_write(run, &m, payload_word(e->number, number++));
			peer.send(e, &m, i > 0);
		}
	peer.loan(e, run->job.size, &m);
	payload_write(run, &m, payload_word(e->number, PAYLOAD_LAST));
	peer.send(e, &m, false);
}

/* Return: whose it was; it was not the last. */
static bool take_one(struct run *run, struct peer_end *e, uint64_t *expected, uint32_t *client)
{
	struct peer_message m;
	uint64_t word, number;

	peer.take(e, &m);
	word = payload_read(run, &m);
	if (peer.give_back != NULL)
		peer.give_back(e, &m);
	*client = (uint32_t)(word >> PAYLOAD_CLIENT);
	number = payload_number(word);
	if (*client >= run->job.clients || (number != expected[*client] && number != PAYLOAD_LAST))
		bench_fail("message %llu of client %u is not what comes next",
			   (unsigned long long)number, *client);
	expected[*client]++;
	return number != PAYLOAD_LAST;
}

/* A message is there: how long after the one before. */
static void note_held(struct run *run, uint64_t *last)
{
	uint64_t now = clock_ticks();

	if (*last != 0 && now - *last > run->held)
		run->held = now - *last;
	*last = now;
}

/* The consumer has the clock: what it has read, in the time that it took. */
void sends_server(struct run *run, struct peer_end *e)
{
	uint64_t expected[ENDS_MAX] = { 0 }, before[ENDS_MAX] = { 0 };
	uint64_t due = clock_ticks() + run->warm, began = 0, now, last = 0;
	uint32_t clients = run->job.clients, client;

	for (uint32_t looks = 0; clients > 0; looks++) {
		if (!take_one(run, e, expected, &client))
			clients--;
		if (run->stop_ns != 0 && began != 0)
			note_held(run, &last);
		if (looks % LOOKS_EVERY != 0 || (now = clock_ticks()) < due)
			continue;
		due = began == 0 ? now + run->length : UINT64_MAX;
		for (uint32_t i = 0; i < run->job.clients; i++) {
			run->client[i].count = expected[i] - before[i];
			run->client[i].began = began;
			run->client[i].ended = now;
			before[i] = expected[i];
		}
		if (began != 0)
			atomic_store(&run->stop, 1);
		began = now;
	}
}
