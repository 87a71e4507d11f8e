/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The regular files below a directory, in the order of files_path_compare(), from any name on: a
 * walk that begins behind a name reads only the directories on the way to it and those after it.
 *
 *	walk = files_walk_begin(root, after);
 *	while ((rc = files_walk_next(walk, &name, &st)) > 0)
 *		...
 *	files_walk_end(walk);
 */
#ifndef DCM_FILES_WALK_H
#define DCM_FILES_WALK_H

#include <sys/stat.h>

struct files_walk;

/* after: "" begins at the beginning. Null: the root cannot be read; errno says why. */
struct files_walk *files_walk_begin(int root, const char *after);
/*
 * 1: the next file; 0: there is none; else a negative errno. The name is valid until the next call.
 * Other directories that cannot be read are left out with a warning.
 */
int files_walk_next(struct files_walk *walk, const char **name, struct stat *st);
void files_walk_end(struct files_walk *walk);

#endif
