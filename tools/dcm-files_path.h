/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Files below a directory, and never outside: what the server reads, and what the client writes.
 *
 * Names come from the other side and have passed files_name_ok(). No symbolic link is followed,
 * wherever in a name it stands; the directory itself may be one. Functions return a descriptor or
 * 0, or a negative errno: ELOOP for a link in the way.
 */
#ifndef DCM_FILES_PATH_H
#define DCM_FILES_PATH_H

#include <stdint.h>

/* Opens what stands under that name; "" is the directory itself. */
int files_open_beneath(int root, const char *name, int flags);

/* A file of the client's that appears under its name only when it is whole. */
struct files_target {
	int fd;
	int parent;	  /* the directory that it goes into */
	const char *leaf; /* its name there */
	char temporary[48];
};

/* Makes the directories that are missing, and in the last one a file under a temporary name. */
int files_target_open(struct files_target *target, int root, const char *name);
/* Gives it its name, in place of a file that has it already. */
int files_target_keep(struct files_target *target);
void files_target_drop(struct files_target *target);

#endif
