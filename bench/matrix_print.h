/* SPDX-License-Identifier: BSD-2-Clause */
/* print - what was measured, as tables or as JSON */
#ifndef DCM_BENCH_MATRIX_PRINT_H
#define DCM_BENCH_MATRIX_PRINT_H

#include "bench/matrix_results.h"

void print_head(const struct matrix *m, const struct peers *peers);
void print_cell(const struct matrix *m, const struct peers *peers, unsigned cell,
		const struct results *r);
void print_foot(const struct matrix *m, const struct peers *peers);

#endif
