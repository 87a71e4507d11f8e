/* SPDX-License-Identifier: BSD-2-Clause */
/* peers - the programs of bench/peers, and one run of one of them */
#ifndef DCM_BENCH_PEERS_H
#define DCM_BENCH_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/lib_place.h"

enum { PEERS_MAX = 40, RUN_TEXT = 96 * 1024 };

enum peers_kind { PEERS_LIMIT, PEERS_SELF, PEERS_OTHER }; /* as in bench/peers/peer.h */

struct peer_is {
	char name[32], package[64], what[160];
	enum peers_kind kind;
	bool absent; /* its library was not there */
};

struct peers {
	struct peer_is is[PEERS_MAX]; /* limits, DCM, and the others by name */
	unsigned count;
};

/* peers_find() - those that were built, and of them those in @wanted (a list with commas; null:
 * all); fails when one of these is not there */
void peers_find(struct peers *peers, const char *wanted);

/* What is measured in one run. Null and 0: the default of bench/peers/driver_job.c. */
struct cell {
	const char *what, *wait;
	size_t size, footprint, resident;
	uint32_t clients, servers, batch;
	bool header, free;
	bool beside; /* the cell before: in turns with it, and compared in the same placement */
	uint64_t pace_ns, gap_ns, stop_ns;
	uint32_t ms, warm_ms;
	struct place place;
	const char *reference;	 /* the limit that it is compared with; null: none */
	const char *limits_wait; /* how limits do; null: as the others */
	/* Limits are what one spinning producer gets through, whatever the others do. */
	bool limits_spin_alone;
};

enum run_state { RUN_MADE, RUN_CANNOT, RUN_ABSENT, RUN_FAILED };

/* peers_run() - @line, of RUN_TEXT bytes, gets what it printed, or why it failed */
enum run_state peers_run(const struct peer_is *peer, const struct cell *cell, char *line);

/* peers_number() - of a line that was printed: "key" behind "in" (null: anywhere); 0: not there */
double peers_number(const char *line, const char *in, const char *key);

#endif
