/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * file - real segments in the test's private directory: made, opened, scribbled on, refused
 */
#ifndef DCM_TESTS_UNIT_FILE_H
#define DCM_TESTS_UNIT_FILE_H

#include <sys/types.h>

#include "shm/segment.h"

extern const struct dcm_capacity file_capacity; /* of all that are made here */
extern struct dcm_detail file_why;		/* of the last open */

/* A path in the test's directory, in one of many buffers in turn. */
const char *file_at(const char *name);

int file_open(struct dcm_segment *seg, const char *path);
/* The same, to look only. */
int file_look(struct dcm_segment *seg, const char *path);
/* Opens and closes. */
int file_try(const char *path);
/* Two results: @result, and a detail with @word in it. */
void file_refused(int result, const char *word, const char *path, const char *what);

/* Removes a segment and what belongs to it. */
void file_clean(const char *path);
bool file_exists(const char *path, const char *end);
void file_write(const char *path, const void *data, size_t bytes);
/* Changes a part of a file. */
void file_poke(const char *path, size_t offset, const void *data, size_t bytes);
void file_poke32(const char *path, size_t offset, uint32_t value);
void file_peek(const char *path, struct dcm_header *header);

/* Runs in a child, where results count as here. */
pid_t file_start(void (*work)(const char *), const char *argument);
void file_finish(pid_t pid);
void file_in_child(void (*work)(const char *), const char *argument);

#endif
