/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/peers/driver_job.h"

#include <stdlib.h>
#include <string.h>

#include "bench/lib_child.h"

static const char *const whats[] = { "call", "send", "many", "fan", "connect", "appear", "death" };
static const char *const waits[] = { "spin", "adaptive", "sleep" };

const char *job_what(unsigned what)
{
	return whats[__builtin_ctz(what)];
}

const char *job_wait(enum peer_wait wait)
{
	return waits[__builtin_ctz((unsigned)wait)];
}

/* What is nearest to what a program gets that asks for nothing: both, then asleep. */
static enum peer_wait own_wait(void)
{
	return (peer.waits & PEER_ADAPTIVE) != 0 ? PEER_ADAPTIVE
	       : (peer.waits & PEER_SLEEP) != 0	 ? PEER_SLEEP
						 : PEER_SPIN;
}

/* The bit of the name that @text is. */
static unsigned bit_of(const char *text, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(text, names[i]) == 0)
			return 1u << i;
	bench_fail("there is no \"%s\"", text);
}

static uint64_t number_of(const char *text, uint64_t least, uint64_t most)
{
	char *end;
	uint64_t number = strtoull(text, &end, 10);

	if (end == text || *end != '\0' || number < least || number > most)
		bench_fail("%s: not a number from %llu to %llu", text, (unsigned long long)least,
			   (unsigned long long)most);
	return number;
}

/* Times are in ns here, and in ticks after job_in_ticks(). */
static void read_one(struct run *run, const char *key, const char *value)
{
	struct peer_job *job = &run->job;

	if (strcmp(key, "what") == 0)
		job->what = bit_of(value, whats, sizeof(whats) / sizeof(whats[0]));
	else if (strcmp(key, "wait") == 0 && strcmp(value, "own") == 0)
		job->wait = own_wait();
	else if (strcmp(key, "wait") == 0)
		job->wait = (enum peer_wait)bit_of(value, waits, sizeof(waits) / sizeof(waits[0]));
	else if (strcmp(key, "size") == 0)
		job->size = number_of(value, 8, UINT64_C(1) << 30);
	else if (strcmp(key, "batch") == 0)
		job->batch = (uint32_t)number_of(value, 1, 1024);
	else if (strcmp(key, "clients") == 0)
		job->clients = (uint32_t)number_of(value, 1, ENDS_MAX);
	else if (strcmp(key, "servers") == 0)
		job->servers = (uint32_t)number_of(value, 1, ENDS_MAX);
	else if (strcmp(key, "footprint") == 0)
		job->footprint = number_of(value, 0, UINT64_C(1) << 40);
	else if (strcmp(key, "header") == 0)
		run->header = number_of(value, 0, 1) == 1;
	else if (strcmp(key, "free") == 0)
		run->free = number_of(value, 0, 1) == 1;
	else if (strcmp(key, "ms") == 0)
		run->length = number_of(value, 1, 3600000) * 1000000;
	else if (strcmp(key, "warm") == 0)
		run->warm = number_of(value, 0, 3600000) * 1000000;
	else if (strcmp(key, "pace") == 0)
		run->pace = number_of(value, 0, UINT64_C(1) << 40);
	else if (strcmp(key, "gap") == 0)
		run->gap_ns = number_of(value, 0, UINT64_C(1) << 40);
	else if (strcmp(key, "stop") == 0)
		run->stop_ns = number_of(value, 0, UINT64_C(1) << 40);
	else if (strcmp(key, "resident") == 0)
		run->resident = number_of(value, 0, UINT64_C(1) << 40);
	else if (strcmp(key, "cpus") != 0 || !place_parse(value, &run->place))
		bench_fail("%s=%s: what is this", key, value);
}

void job_read(struct run *run, int count, char **arguments)
{
	run->job = (struct peer_job){ .what = PEER_CALL,
				      .wait = PEER_SPIN,
				      .size = 64,
				      .batch = 1,
				      .clients = 1,
				      .servers = 1 };
	run->length = 300 * UINT64_C(1000000);
	run->warm = 30 * UINT64_C(1000000);
	run->gap_ns = 300 * UINT64_C(1000);
	place_parse(NULL, &run->place);
	for (int i = 0; i < count; i++) {
		char *equals = strchr(arguments[i], '=');

		if (equals == NULL)
			bench_fail("%s: not KEY=VALUE", arguments[i]);
		*equals = '\0';
		read_one(run, arguments[i], equals + 1);
	}
	if (run->job.size % 8 != 0 || (run->job.servers > 1 && run->job.what != PEER_FAN &&
				       run->job.servers != run->job.clients))
		bench_fail("a size that is no multiple of 8, or servers that are not as many");
}

void job_in_ticks(struct run *run)
{
	run->warm = (uint64_t)((double)run->warm * run->clock.per_ns);
	run->length = (uint64_t)((double)run->length * run->clock.per_ns);
	run->pace = (uint64_t)((double)run->pace * run->clock.per_ns);
}
