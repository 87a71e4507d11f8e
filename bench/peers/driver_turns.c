/* SPDX-License-Identifier: BSD-2-Clause */
/* What is done in turns: connecting, a service that appears, a server that is killed. */
#define _GNU_SOURCE
#include <unistd.h>

#include "bench/lib_child.h"
#include "bench/peers/driver.h"

enum { SETTLE_NS = 300 * 1000 };

static void connect_once(struct run *run, struct peer_end *e, uint64_t word)
{
	peer.open(e);
	trip(run, e, word);
}

void connect_client(struct run *run, struct peer_end *e)
{
	struct of_client *mine = &run->client[e->number];
	uint64_t number = 0, before, after;

	mine->began = clock_ticks() + run->warm;
	do {
		before = clock_ticks();
		connect_once(run, e, payload_word(e->number, number++));
		after = clock_ticks();
		if (before >= mine->began)
			hist_add(&mine->time, after - before);
		peer.close(e);
		bench_nap(SETTLE_NS); /* the server is where it waits for the next */
	} while (after < mine->began + run->length);
	mine->ended = after;
	mine->count = mine->time.count;
	connect_once(run, e, payload_word(e->number, PAYLOAD_LAST));
}

void connect_server(struct run *run, struct peer_end *e)
{
	calls_server(run, e);
}

/* Even: the client waits or is about to; odd: the service has been announced. */
void appear_client(struct run *run, struct peer_end *e)
{
	struct of_client *mine = &run->client[e->number];
	uint64_t now = clock_ticks();

	mine->began = now + run->warm;
	for (uint32_t round = 0; now < mine->began + run->length; round++) {
		int64_t told_ns;

		bench_reach(&run->turn, 2 * round);
		peer.told(e);
		told_ns = bench_now();
		now = clock_ticks();
		if (now >= mine->began)
			hist_add(&mine->time,
				 (uint64_t)((double)(told_ns - run->turn_ns) * run->clock.per_ns));
		if (now >= mine->began + run->length)
			atomic_store(&run->stop, 1);
		bench_raise(&run->turn);
	}
	mine->ended = now;
	mine->count = mine->time.count;
}

void appear_server(struct run *run, struct peer_end *e)
{
	bench_reach(&run->opened, run->job.clients);
	for (uint32_t round = 0; atomic_load(&run->stop) == 0; round++) {
		bench_nap(SETTLE_NS); /* the client sleeps */
		run->turn_ns = bench_now();
		peer.announce(e);
		bench_reach(&run->turn, 2 * round + 1);
		peer.withdraw(e);
		bench_raise(&run->turn);
	}
}

/* turn_ns: when call returned, which whoever has killed the server compares. */
void death_client(struct run *run, struct peer_end *e)
{
	struct peer_message request, reply;

	peer.loan(e, run->job.size, &request);
	payload_write(run, &request, payload_word(e->number, 0));
	if (peer.call(e, &request, &reply))
		bench_fail("there was an answer");
	run->turn_ns = bench_now();
	bench_raise(&run->turn);
}

void death_server(struct run *run, struct peer_end *e)
{
	struct peer_message request;

	bench_reside(run->resident);
	peer.take(e, &request);
	payload_read(run, &request);
	bench_raise(&run->turn);
	for (;;)
		pause();
}
