/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A line of progress on a terminal's standard error.
 */
#ifndef DCM_FILES_PROGRESS_H
#define DCM_FILES_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
	size_t files, files_all;
	uint64_t bytes, bytes_all; /* bytes_all 0: not known */
	uint64_t elapsed_ns;
};

/* Whether there is a terminal to draw on, and nobody asked for quiet. */
bool progress_wanted(void);
void progress_draw(const struct progress *progress);
void progress_clear(void);

#endif
