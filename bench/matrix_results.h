/* SPDX-License-Identifier: BSD-2-Clause */
/* results - of the runs of one cell, and what they come to */
#ifndef DCM_BENCH_MATRIX_RESULTS_H
#define DCM_BENCH_MATRIX_RESULTS_H

#include "bench/matrix.h"

struct one_run {
	char *line; /* as printed, of this table until results_drop() */
	double canary_before, canary_after;
	bool counts; /* its placement is that of most */
};

struct of_peer {
	struct one_run run[RUNS_MAX];
	unsigned runs, counted;
	unsigned failures;
	bool cannot, failed; /* failed: more often than may be by chance, so no more are made */
	char why[160];	     /* of the last failure */
};

struct results {
	struct of_peer peer[PEERS_MAX];
	unsigned wanted;    /* runs of each */
	unsigned reference; /* of which peer the limit is; PEERS_MAX: of none */
	unsigned self;	    /* which of them is DCM, likewise */
	double canary_ns;   /* of the placement that counts; 0: one processor */
};

enum { FAILURES_MAX = 2 };

/* results_add() - one more run; of RUN_MADE its line is copied */
void results_add(struct of_peer *p, enum run_state state, const char *line);

/* results_choose() - the placement in which most have their runs, of @cells beside each other, and
 * which of these count */
void results_choose(struct results *r, unsigned cells, unsigned peers);

/* A value over the runs that count. */
struct spread {
	double median, least, most;
};
struct spread results_spread(const struct of_peer *p, const char *in, const char *key);

void results_drop(struct results *r, unsigned peers);

#endif
