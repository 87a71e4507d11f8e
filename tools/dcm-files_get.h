/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dcm-files get: fetches files, from one server after the other if it must be.
 */
#ifndef DCM_FILES_GET_H
#define DCM_FILES_GET_H

#include "dcm-files_find.h"

struct get_options {
	struct finder_options find;
	char **names; /* if not all */
	size_t count;
	bool all;
	const char *target;
	unsigned int jobs;
	uint64_t bytes_per_second; /* 0: no limit */
};

/* Returns the exit code. */
int files_get(const struct get_options *options);

#endif
