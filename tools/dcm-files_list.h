/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dcm-files list: a table of the files that a server has.
 */
#ifndef DCM_FILES_LIST_H
#define DCM_FILES_LIST_H

#include "dcm-files_find.h"

struct list_options {
	struct finder_options find;
	bool json, raw, noheadings, bytes;
};

/* Returns the exit code. */
int files_list(const struct list_options *options);

#endif
