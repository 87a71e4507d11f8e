/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * matrix - cells (what is measured), each by all peers in turns, several times
 *
 * A run of each peer is made before the second of any, and so of each cell beside another. What is
 * compared was made in one placement of the two processors: a canary, the round trip of a bounced
 * cache line, is taken before and after each run, and those runs count whose canaries lie within a
 * third of one that most peers, and before them DCM and the limit, have had. The others are marked and made again, ten
 * times at most, and only while there is time.
 */
#ifndef DCM_BENCH_MATRIX_H
#define DCM_BENCH_MATRIX_H

#include "bench/lib_options.h"
#include "bench/lib_peers.h"

enum { CELLS_MAX = 128, RUNS_MAX = 30, BESIDE_MAX = LIST_MAX };

struct matrix {
	const char *subcommand;
	struct cell cell[CELLS_MAX];
	char title[CELLS_MAX][160];
	unsigned cells;
	/* As asked for. */
	struct place place;
	struct list runs, ms, within;
	const char *peers;
	bool json;
};

/* matrix_options() - those that all have, behind @own (ends with a null name), into @all */
void matrix_options(struct matrix *m, const struct option_is *own, struct option_is *all);

/* matrix_add() - a cell with its title; the place is the matrix's */
struct cell *matrix_add(struct matrix *m, const struct cell *cell, const char *title, ...)
	__attribute__((format(printf, 3, 4)));

/* matrix_run() - measure and print. Return: an exit status */
int matrix_run(struct matrix *m);

#endif
