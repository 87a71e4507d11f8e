/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dcm-files serve: publishes one directory until SIGINT or SIGTERM.
 */
#ifndef DCM_FILES_SERVE_H
#define DCM_FILES_SERVE_H

#include "dcm-files_common.h"

struct serve_options {
	const char *directory;
	const char *name; /* of the endpoint */
	unsigned int threads;
	uint64_t bytes_per_second; /* 0: no limit */
};

/* Returns the exit code. */
int files_serve(const struct serve_options *options);

#endif
