/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * segment_file - what segment.c, segment_check.c and segment_file.c share; for them alone
 *
 * The lock file, PATH.lock, is older than any segment and outlives it. Its offsets mean the same to
 * every version of the library, whatever the layout of the segment:
 *
 *	0 .. DCM_LOCK_BYTES - 1	byte i is held by the process in slot i
 *	1 << 30				the gate: shared while attaching, exclusive while making
 */
#ifndef DCM_SHM_SEGMENT_FILE_H
#define DCM_SHM_SEGMENT_FILE_H

#include "shm/segment.h"

#include <sys/types.h>

enum { DCM_VACANT = 1 }; /* there is no segment, or one that may be replaced */

enum dcm_gate { DCM_GATE_OPEN, DCM_GATE_SHARED, DCM_GATE_EXCLUSIVE };

/* dcm_segment_refuse() - put a line into @why and pass @result through */
int dcm_segment_refuse(struct dcm_detail *why, int result, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* What a detail shows of a path: its end, so that there is room for the advice. */
const char *dcm_segment_shown(const char *path);
const char *dcm_segment_error(int error);

/*
 * dcm_segment_gate() - take, change or let go of the gate, without waiting
 * From exclusive to shared there is no moment without it.
 * Return: 0; -EAGAIN another process is in the way; other negative errno.
 */
int dcm_segment_gate(const struct dcm_segment *seg, enum dcm_gate wanted);

/* Who holds something: a pid, DCM_NOBODY, or DCM_SOMEBODY whose pid is not known here. */
enum { DCM_NOBODY = 0, DCM_SOMEBODY = -1 };
pid_t dcm_segment_gate_holder(const struct dcm_segment *seg);
pid_t dcm_segment_byte_holder(const struct dcm_segment *seg); /* this process counts */

/* dcm_segment_lock_file_open() - open PATH.lock for seg->path, making it if it is not there */
int dcm_segment_lock_file_open(struct dcm_segment *seg, const struct dcm_segment_options *options,
			       struct dcm_detail *why);
void dcm_segment_lock_file_close(struct dcm_segment *seg);
/* true while the open lock file is the one at its path */
bool dcm_segment_lock_file_linked(const struct dcm_segment *seg);

/*
 * dcm_segment_adopt() - check the file at seg->path and map it
 * Return: 0; DCM_VACANT; -EAGAIN it lost its name meanwhile; or as dcm_segment_open().
 */
int dcm_segment_adopt(struct dcm_segment *seg, const struct dcm_segment_options *options,
		      struct dcm_detail *why);

/* segment_access.c: who may attach */
const struct dcm_access *dcm_access_of(const struct dcm_segment_options *options);
bool dcm_access_shared(uint32_t mode); /* does it let other users attach */
uint32_t dcm_access_user_share(const struct dcm_access *access);
/* dcm_access_give() - to a file that was made. Return: 0 or negative errno */
int dcm_access_give(int fd, const char *path, const struct dcm_access *access,
		    struct dcm_detail *why);
/* dcm_access_check() - has a file that is there what it has to have. Return: 0 or -EACCES */
struct stat;
int dcm_access_check(const char *path, const struct stat *st,
		     const struct dcm_segment_options *options, struct dcm_detail *why);
/* dcm_access_denied() - say whom a file lets in that could not be opened. 0: it cannot be told */
int dcm_access_denied(const char *path, struct dcm_detail *why);
/* dcm_access_by_name() - is it a place of this user's own, no path that was chosen for several */
bool dcm_access_by_name(const struct dcm_segment_options *options);

/* All zero where the kernel does not tell. */
void dcm_segment_boot_id(uint8_t id[16]);

bool dcm_segment_in_memory(long file_system_type);

#endif
