/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The names of all files that a server has.
 */
#ifndef DCM_FILES_NAMES_H
#define DCM_FILES_NAMES_H

#include "dcm-files_ask.h"

struct files_name {
	char *name;
	uint64_t file_bytes;
	int64_t modified_ns;
};

struct files_names {
	struct files_name *names;
	size_t count, room;
};

bool files_names_add(struct files_names *names, const char *name, size_t name_bytes,
		     uint64_t file_bytes, int64_t modified_ns);
void files_names_free(struct files_names *names);

/* Fetches them, page by page. */
enum files_outcome files_names_fetch(struct files_names *names, Handle session);

#endif
