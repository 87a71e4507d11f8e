/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "bench/matrix_print.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How a cell is told of. */
struct style {
	bool rate;	   /* more is better, and it is a number of messages */
	const char *value; /* the number that counts */
	const char *in;	   /* where it is, in a line of the driver */
	double unit;
	const char *unit_name;
	const char *beside; /* what "other" is, or null */
};

/* One line of a table. */
struct row {
	const struct peer_is *peer;
	const struct of_peer *of;
	struct spread value, p99;
};

static const char *machine_head(void)
{
	static char text[2048];

	snprintf(text, sizeof(text), "%s; compiler %s, %s", place_machine(), __VERSION__,
		 place_flags());
	return text;
}

static void print_json_head(const struct matrix *m, const struct peers *peers)
{
	printf("{\"schema\": \"dcm-bench-%s/1\", \"machine\": \"%s\", \"compiler\": \"%s\",\n"
	       " \"flags\": \"%s\", \"runs\": %u, \"duration_ms\": %u,\n \"peers\": [",
	       m->subcommand, place_machine(), __VERSION__, place_flags(), (unsigned)m->runs.of[0],
	       (unsigned)m->ms.of[0]);
	for (unsigned i = 0; i < peers->count; i++) {
		static const char *const kinds[] = { "limit", "self", "peer" };
		const struct peer_is *p = &peers->is[i];

		printf("%s\n  {\"name\": \"%s\", \"kind\": \"%s\", \"what\": \"%s\", "
		       "\"package\": \"%s\", \"absent\": %s}",
		       i == 0 ? "" : ",", p->name, kinds[p->kind], p->what, p->package,
		       p->absent ? "true" : "false");
	}
	printf("],\n \"cells\": [");
}

void print_head(const struct matrix *m, const struct peers *peers)
{
	if (m->json) {
		print_json_head(m, peers);
		return;
	}
	printf("%s\nclients on processor %u, servers on %u; %u runs of %u ms each, in turns\n"
	       "medians over the runs, least and most in brackets; x: how many times that of\n",
	       machine_head(), m->place.near, m->place.far, (unsigned)m->runs.of[0],
	       (unsigned)m->ms.of[0]);
	for (unsigned i = 0; i < peers->count; i++)
		if (peers->is[i].absent)
			printf("absent: %s (package %s)\n", peers->is[i].name,
			       peers->is[i].package);
}

static struct style style_of(const struct cell *cell)
{
	struct style s = { .in = "time", .value = "p50" };

	if (strcmp(cell->what, "send") == 0 || strcmp(cell->what, "many") == 0)
		s = (struct style){
			.rate = true, .value = "rate", .unit = 1e6, .unit_name = "M messages/s"
		};
	else if (strcmp(cell->what, "fan") == 0)
		s.beside = "call";
	else if (strcmp(cell->what, "connect") == 0)
		s.beside = "begin";
	return s;
}

static int by_value(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return (x->value.median > y->value.median) - (x->value.median < y->value.median);
}

/* Of a death: the driver gave up. */
static bool knows_never(const struct of_peer *of)
{
	return of->runs > 0 && peers_number(of->run[0].line, NULL, "count") == 0;
}

/* Return: how many rows there are, the best first. */
static unsigned rows_of(const struct peers *peers, const struct results *r, const struct style *s,
			struct row *rows)
{
	unsigned count = 0;

	for (unsigned i = 0; i < peers->count; i++) {
		const struct of_peer *of = &r->peer[i];

		if (of->counted == 0 || knows_never(of))
			continue;
		rows[count++] =
			(struct row){ &peers->is[i], of, results_spread(of, s->in, s->value),
				      results_spread(of, s->in, "p99") };
	}
	qsort(rows, count, sizeof(rows[0]), by_value);
	for (unsigned i = 0; s->rate && i < count / 2; i++) {
		struct row other = rows[i];

		rows[i] = rows[count - 1 - i];
		rows[count - 1 - i] = other;
	}
	return count;
}

/* What rows are compared with: the limit of that name, or, without a name, the best peer. */
static const struct row *compared(const struct row *rows, unsigned count, const char *limit)
{
	for (unsigned i = 0; i < count; i++)
		if (limit == NULL ? rows[i].peer->kind == PEERS_OTHER
				  : strcmp(rows[i].peer->name, limit) == 0)
			return &rows[i];
	return NULL;
}

static const char *ratio(double mine, const struct row *of, double theirs)
{
	static char text[4][16];
	static unsigned turn;
	char *into = text[turn++ % 4];

	if (of == NULL || theirs <= 0)
		snprintf(into, sizeof(text[0]), "-");
	else
		snprintf(into, sizeof(text[0]), mine / theirs < 100 ? "%.2f" : "%.0f",
			 mine / theirs);
	return into;
}

/* Of the column "x LIMIT". */
static int width_of(const char *limit)
{
	return limit == NULL || strlen(limit) < 4 ? 6 : (int)strlen(limit) + 2;
}

static void print_least(const struct cell *cell, const struct row *row)
{
	if (cell->clients <= 1)
		return;
	if (row->peer->kind == PEERS_LIMIT && cell->limits_spin_alone)
		printf(" | %5s", "-");
	else
		printf(" | %5.2f", results_spread(row->of, NULL, "slowest_share").median);
}

static void print_held(const struct cell *cell, const struct row *row)
{
	if (cell->stop_ns > 0)
		printf(" | %8.2f", results_spread(row->of, NULL, "held_ns").median / 1e6);
}

static void print_time_row(const struct cell *cell, const struct style *s, const struct row *row,
			   const struct row *limit, const struct row *best)
{
	static const char *const more[] = { "p99", "p99_9", "p99_99", "max", "mean" };
	char spread[48];

	snprintf(spread, sizeof(spread), "(%.2f-%.2f)", row->value.least / s->unit,
		 row->value.most / s->unit);
	printf("%-14s %*s %6s %6s | %9.2f %-19s", row->peer->name, width_of(cell->reference),
	       ratio(row->value.median, limit, limit == NULL ? 0 : limit->value.median),
	       ratio(row->p99.median, limit, limit == NULL ? 0 : limit->p99.median),
	       ratio(row->value.median, best, best == NULL ? 0 : best->value.median),
	       row->value.median / s->unit, spread);
	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++)
		printf(" %9.2f", results_spread(row->of, "time", more[i]).median / s->unit);
	if (s->beside != NULL) {
		double mine = results_spread(row->of, "other", "p50").median;
		double theirs =
			limit == NULL ? 0 : results_spread(limit->of, "other", "p50").median;

		printf(" | %9.2f %6s", mine / s->unit, ratio(mine, limit, theirs));
	}
	print_least(cell, row);
	printf(" | %u\n", row->of->counted);
}

static void print_rate_row(const struct cell *cell, const struct style *s, const struct row *row,
			   const struct row *limit, const struct row *best)
{
	char spread[48];

	snprintf(spread, sizeof(spread), "(%.3f-%.3f)", row->value.least / s->unit,
		 row->value.most / s->unit);
	printf("%-14s %*s %6s | %10.3f %-21s %10.3f", row->peer->name, width_of(cell->reference),
	       ratio(row->value.median, limit, limit == NULL ? 0 : limit->value.median),
	       ratio(row->value.median, best, best == NULL ? 0 : best->value.median),
	       row->value.median / s->unit, spread, row->value.median * (double)cell->size / 1e9);
	print_least(cell, row);
	print_held(cell, row);
	printf(" | %u\n", row->of->counted);
}

static void print_columns(const struct cell *cell, const struct style *s, const char *limit)
{
	char of[40];

	snprintf(of, sizeof(of), "x %s", limit == NULL ? "-" : limit);
	if (s->rate)
		printf("%-14s %*s %6s | %10s %-21s %10s", s->unit_name, width_of(limit), of, "best",
		       "", "", "GB/s");
	else
		printf("%-14s %*s %6s %6s | %9s %-19s %9s %9s %9s %9s %9s", s->unit_name,
		       width_of(limit), of, "p99", "best", "p50", "", "p99", "p99.9", "p99.99",
		       "max", "mean");
	if (s->beside != NULL)
		printf(" | %9s %6s", s->beside, "x");
	if (cell->clients > 1)
		printf(" | %5s", "least");
	if (cell->stop_ns > 0)
		printf(" | %8s", "held, ms");
	printf(" | runs\n");
}

static void print_lines(const struct peers *peers, const struct results *r)
{
	for (unsigned i = 0; i < peers->count; i++) {
		const struct of_peer *of = &r->peer[i];
		unsigned moved = of->runs - of->counted;

		if (knows_never(of))
			printf("%s: not within 3 s, if ever\n", peers->is[i].name);
		if (of->failures > 0)
			printf("%s failed%s: %s\n", peers->is[i].name, of->failed ? "" : " once",
			       of->why);
		if (moved > 0)
			printf("%s: %u runs do not count, the placement was another\n",
			       peers->is[i].name, moved);
	}
}

static void print_table(const struct matrix *m, const struct peers *peers, unsigned cell,
			const struct results *r)
{
	struct style s = style_of(&m->cell[cell]);
	struct row rows[PEERS_MAX];
	unsigned count = rows_of(peers, r, &s, rows);
	const struct row *limit = NULL, *best = compared(rows, count, NULL);
	const char *reference = m->cell[cell].reference;

	if (reference != NULL)
		limit = compared(rows, count, reference);
	if (!s.rate) {
		s.unit = count > 0 && rows[0].value.median >= 1e4 ? 1e3 : 1;
		s.unit_name = s.unit > 1 ? "us" : "ns";
	}
	printf("\n%s", m->title[cell]);
	if (m->place.near != m->place.far)
		printf("; a cache line goes and comes back in %.0f ns", r->canary_ns);
	printf("\n");
	print_columns(&m->cell[cell], &s, reference);
	for (unsigned i = 0; i < count; i++)
		(s.rate ? print_rate_row : print_time_row)(&m->cell[cell], &s, &rows[i], limit,
							   best);
	print_lines(peers, r);
	fflush(stdout);
}

static void print_string(const char *text)
{
	putchar('"');
	for (; *text != '\0'; text++)
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else
			putchar((unsigned char)*text < ' ' ? ' ' : *text);
	putchar('"');
}

static void print_json_peer(const struct peer_is *peer, const struct of_peer *of, bool first)
{
	printf("%s\n    {\"name\": \"%s\", \"counted\": %u, \"failed\": %s, "
	       "\"failures\": %u, \"why\": ",
	       first ? "" : ",", peer->name, of->counted, of->failed ? "true" : "false",
	       of->failures);
	print_string(of->why);
	printf(", \"runs\": [");
	for (unsigned i = 0; i < of->runs; i++)
		printf("%s\n     {\"counts\": %s, %s", i == 0 ? "" : ",",
		       of->run[i].counts ? "true" : "false", of->run[i].line + 1);
	printf("]}");
}

static void print_json_cell(const struct matrix *m, const struct peers *peers, unsigned cell,
			    const struct results *r)
{
	const struct cell *c = &m->cell[cell];
	bool first = true;

	printf("%s\n  {\"title\": \"%s\", \"what\": \"%s\", \"wait\": \"%s\", \"size\": %zu, "
	       "\"clients\": %u, \"servers\": %u, \"batch\": %u, \"header\": %d, "
	       "\"footprint\": %zu, \"resident\": %zu, \"pace_ns\": %llu, \"stop_ns\": %llu, "
	       "\"limit\": \"%s\", "
	       "\"canary_ns\": %.0f, "
	       "\"peers\": [",
	       cell == 0 ? "" : ",", m->title[cell], c->what, c->wait, c->size, c->clients,
	       c->servers, c->batch, c->header, c->footprint, c->resident,
	       (unsigned long long)c->pace_ns, (unsigned long long)c->stop_ns,
	       c->reference == NULL ? "" : c->reference, r->canary_ns);
	for (unsigned i = 0; i < peers->count; i++)
		if (r->peer[i].runs > 0 || r->peer[i].failures > 0) {
			print_json_peer(&peers->is[i], &r->peer[i], first);
			first = false;
		}
	printf("]}");
	fflush(stdout);
}

void print_cell(const struct matrix *m, const struct peers *peers, unsigned cell,
		const struct results *r)
{
	(m->json ? print_json_cell : print_table)(m, peers, cell, r);
}

void print_foot(const struct matrix *m, const struct peers *peers)
{
	(void)peers;
	if (m->json)
		printf("]}\n");
}
