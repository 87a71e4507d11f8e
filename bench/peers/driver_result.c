/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "bench/peers/driver_result.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bench/lib_child.h"
#include "bench/peers/driver_job.h"

void client_begins(struct run *run, struct peer_end *e)
{
	uint64_t before = clock_ticks();

	if (peer.begin != NULL)
		peer.begin(e);
	if (run->job.what == PEER_CONNECT)
		hist_add(&run->client[e->number].other, clock_ticks() - before);
	else if (run->job.what == PEER_APPEAR)
		peer.watch(e);
	else
		peer.open(e);
}

static double own_seconds(void)
{
	struct rusage self, children;

	getrusage(RUSAGE_SELF, &self);
	getrusage(RUSAGE_CHILDREN, &children);
	return (double)(self.ru_utime.tv_sec + self.ru_stime.tv_sec + children.ru_utime.tv_sec +
			children.ru_stime.tv_sec) +
	       (double)(self.ru_utime.tv_usec + self.ru_stime.tv_usec + children.ru_utime.tv_usec +
			children.ru_stime.tv_usec) /
		       1e6;
}

void noise_begin(struct noise *noise, const struct place *place)
{
	noise->canary_before_ns = place_canary(place);
	noise->own_before = own_seconds();
	noise->busy_before = place_busy(place, &noise->others);
}

void noise_end(struct noise *noise, const struct place *place)
{
	double began = noise->others, now, busy = place_busy(place, &now) - noise->busy_before;
	double own = own_seconds() - noise->own_before;

	noise->others = now > began && busy > own ? (busy - own) / (now - began) : 0;
	noise->canary_after_ns = place_canary(place);
}

static double sum_ns(const struct run *run, double ticks)
{
	return ticks / run->clock.per_ns;
}

static void print_buckets(const struct run *run, const struct hist *h)
{
	const char *lead = "";

	printf(", \"histogram\": [");
	for (size_t i = 0; i < HIST_BUCKETS; i++) {
		double middle, width;

		if (h->bucket[i] == 0)
			continue;
		hist_bucket(i, &middle, &width);
		printf("%s[%.4g, %llu]", lead, sum_ns(run, middle),
		       (unsigned long long)h->bucket[i]);
		lead = ", ";
	}
	printf("]");
}

static void print_hist(const struct run *run, const char *name, const struct hist *h)
{
	static const struct {
		const char *name;
		double share;
	} marks[] = { { "p50", 0.5 },
		      { "p90", 0.9 },
		      { "p99", 0.99 },
		      { "p99_9", 0.999 },
		      { "p99_99", 0.9999 } };

	printf(", \"%s\": {\"count\": %llu, \"mean\": %.2f", name, (unsigned long long)h->count,
	       h->count == 0 ? 0 : sum_ns(run, (double)h->sum / (double)h->count));
	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
		printf(", \"%s\": %.2f", marks[i].name,
		       sum_ns(run, hist_at(h, marks[i].share, run->clock.step)));
	printf(", \"max\": %.2f", sum_ns(run, (double)h->max));
	print_buckets(run, h);
	printf("}");
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Of each client's rate: the slowest's share of what it would have if all had alike, and p99.9. */
static void print_clients(const struct run *run)
{
	uint32_t clients = run->job.clients;
	double total = 0, slowest = 0, tail[ENDS_MAX];

	for (uint32_t i = 0; i < clients; i++) {
		double count = (double)run->client[i].count;

		total += count;
		if (i == 0 || count < slowest)
			slowest = count;
		tail[i] = hist_at(&run->client[i].time, 0.999, run->clock.step);
	}
	qsort(tail, clients, sizeof(tail[0]), by_size);
	printf(", \"slowest_share\": %.4f, \"worst_p99_9\": %.2f",
	       total > 0 ? slowest * clients / total : 0, sum_ns(run, tail[clients - 1]));
}

static void print_job(const struct run *run)
{
	const struct peer_job *job = &run->job;

	printf("{\"peer\": \"%s\", \"what\": \"%s\", \"wait\": \"%s\", \"size\": %zu, "
	       "\"clients\": %u, \"servers\": %u, \"batch\": %u, \"header\": %d, \"free\": %d, "
	       "\"footprint\": %zu, \"resident\": %zu, \"pace_ns\": %.0f, \"cpu_clients\": %u, "
	       "\"cpu_servers\": %u",
	       peer.name, job_what(job->what), job_wait(job->wait), job->size, job->clients,
	       job->servers, job->batch, run->header, run->free, job->footprint, run->resident,
	       sum_ns(run, (double)run->pace), run->place.near, run->place.far);
}

void result_print(const struct run *run, const struct noise *noise)
{
	static struct hist time, other;
	double count = 0, seconds = 0;

	for (uint32_t i = 0; i < run->job.clients; i++) {
		const struct of_client *c = &run->client[i];
		double its = sum_ns(run, (double)(c->ended - c->began)) / 1e9;

		hist_join(&time, &c->time);
		hist_join(&other, &c->other);
		count += (double)c->count;
		seconds = its > seconds ? its : seconds;
	}
	print_job(run);
	printf(", \"count\": %.0f, \"seconds\": %.6f, \"rate\": %.2f, \"clock_ns\": %.2f, "
	       "\"clock_step_ns\": %.2f, \"others\": %.4f, \"canary_before_ns\": %ld, "
	       "\"canary_after_ns\": %ld",
	       count, seconds, seconds > 0 ? count / seconds : 0, sum_ns(run, run->clock.reads),
	       sum_ns(run, run->clock.step), noise->others, (long)noise->canary_before_ns,
	       (long)noise->canary_after_ns);
	if (run->job.clients > 1)
		print_clients(run);
	if (run->stop_ns > 0)
		printf(", \"stop_ns\": %llu, \"held_ns\": %.0f", (unsigned long long)run->stop_ns,
		       sum_ns(run, (double)run->held));
	if (time.count > 0)
		print_hist(run, "time", &time);
	if (other.count > 0)
		print_hist(run, "other", &other);
	printf("}\n");
}
