/* SPDX-License-Identifier: BSD-2-Clause */
/* One publication to many: what the call costs, and when the last subscriber has read it. */
#include "bench/lib_child.h"
#include "bench/peers/driver.h"

enum { LOOK_NS = 50 * 1000 };

/* Ticks would do; but the subscribers may run on any processor, and these are microseconds. */
static uint64_t now_ns(void)
{
	return (uint64_t)bench_now();
}

static uint64_t last_told(struct run *run, uint64_t number)
{
	uint64_t last = 0;

	for (uint32_t i = 0; i < run->job.servers; i++) {
		struct of_server *s = &run->server[i];

		while (atomic_load_explicit(&s->told, memory_order_acquire) != number)
			bench_nap(LOOK_NS);
		if (s->told_ns > last)
			last = s->told_ns;
	}
	return last;
}

void fan_client(struct run *run, struct peer_end *e)
{
	struct of_client *mine = &run->client[e->number];
	double per_ns = run->clock.per_ns;
	struct peer_message m;
	uint64_t number = 0, before, after;

	mine->began = clock_ticks() + run->warm;
	do {
		peer.loan(e, run->job.size, &m);
		payload_write(run, &m, payload_word(0, ++number));
		mine->count = number;		 /* for who looks why it goes no further */
		bench_nap((int64_t)run->gap_ns); /* they go to sleep again */
		before = now_ns();
		peer.send(e, &m, false);
		after = now_ns();
		if (clock_ticks() >= mine->began) {
			hist_add(&mine->other, (uint64_t)((double)(after - before) * per_ns));
			hist_add(&mine->time,
				 (uint64_t)((double)(last_told(run, number) - before) * per_ns));
		} else {
			last_told(run, number);
		}
		mine->ended = clock_ticks();
	} while (mine->ended < mine->began + run->length);
	mine->count = mine->time.count;
	peer.loan(e, run->job.size, &m);
	payload_write(run, &m, payload_word(0, PAYLOAD_LAST));
	peer.send(e, &m, false);
}

void fan_server(struct run *run, struct peer_end *e)
{
	struct of_server *mine = &run->server[e->number];
	struct peer_message m;
	uint64_t number = 0;

	for (;;) {
		peer.take(e, &m);
		if (payload_number(payload_read(run, &m)) == PAYLOAD_LAST)
			break;
		mine->told_ns = now_ns();
		if (payload_number(payload_read(run, &m)) != ++number)
			bench_fail("a publication is missing");
		if (peer.give_back != NULL)
			peer.give_back(e, &m);
		atomic_store_explicit(&mine->told, number, memory_order_release);
	}
}
