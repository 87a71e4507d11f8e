/* SPDX-License-Identifier: BSD-2-Clause */
/* Who may attach: what the files of a fabric are given when they are made, and have to have. */
#define _GNU_SOURCE
#include "shm/segment_file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OTHERS_ATTACH 0022u
#define AGREE	      "agree with DCM_MODE, DCM_OWNER and DCM_GROUP, or choose another DCM_FABRIC"

static const struct dcm_access own = { .mode = 0600, .owner = DCM_ANYONE, .group = DCM_ANYONE };

const struct dcm_access *dcm_access_of(const struct dcm_segment_options *options)
{
	return options->access != NULL ? options->access : &own;
}

bool dcm_access_shared(uint32_t mode)
{
	return (mode & OTHERS_ATTACH) != 0;
}

uint32_t dcm_access_user_share(const struct dcm_access *access)
{
	if (access->user_share != 0)
		return access->user_share;
	return dcm_access_shared(access->mode) ? 50 : 100;
}

int dcm_access_give(int fd, const char *path, const struct dcm_access *access,
		    struct dcm_detail *why)
{
	uid_t owner = access->owner == DCM_ANYONE ? (uid_t)-1 : access->owner;
	gid_t group = access->group == DCM_ANYONE ? (gid_t)-1 : access->group;

	if ((owner != (uid_t)-1 || group != (gid_t)-1) && fchown(fd, owner, group) < 0)
		return dcm_segment_refuse(
			why, -errno,
			"cannot give %s to user %d and group %d (-1: as it is): %s; "
			"DCM_OWNER needs root, DCM_GROUP a group of this user's",
			dcm_segment_shown(path), (int)owner, (int)group, dcm_segment_error(errno));
	if (fchmod(fd, access->mode) < 0)
		return dcm_segment_refuse(why, -errno, "cannot give %s mode %04o: %s",
					  dcm_segment_shown(path), access->mode,
					  dcm_segment_error(errno));
	return 0;
}

bool dcm_access_by_name(const struct dcm_segment_options *options)
{
	return options->fabric == NULL || strchr(options->fabric, '/') == NULL;
}

/*
 * Root's is as good as one's own; and root, unless told whose it is to be, uses everybody's that it
 * was given the path of. What a name stands for is a place of this user's own: who put a file there
 * first would have root map it.
 */
static bool owner_is_right(const struct stat *st, const struct dcm_segment_options *options)
{
	uint32_t owner = dcm_access_of(options)->owner;

	if (owner != DCM_ANYONE)
		return st->st_uid == owner;
	return st->st_uid == geteuid() || st->st_uid == 0 ||
	       (geteuid() == 0 && !dcm_access_by_name(options));
}

int dcm_access_denied(const char *path, struct dcm_detail *why)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return 0;
	return dcm_segment_refuse(
		why, -EACCES,
		"may not open %s: it belongs to user %u and group %u with mode %04o, this "
		"process is user %u and group %u; whoever makes a fabric lets others in "
		"with DCM_MODE and DCM_GROUP; or choose another DCM_FABRIC",
		dcm_segment_shown(path), st.st_uid, st.st_gid, st.st_mode & 07777, geteuid(),
		getegid());
}

int dcm_access_check(const char *path, const struct stat *st,
		     const struct dcm_segment_options *options, struct dcm_detail *why)
{
	const struct dcm_access *access = dcm_access_of(options);
	const char *shown = dcm_segment_shown(path);
	uint32_t mode = st->st_mode & 07777;

	if (!owner_is_right(st, options))
		return dcm_segment_refuse(
			why, -EACCES,
			"%s belongs to user %u, and user %u is expected; run as its "
			"owner, set DCM_OWNER, or choose another DCM_FABRIC",
			shown, st->st_uid, access->owner != DCM_ANYONE ? access->owner : geteuid());
	if ((mode & ~access->mode) != 0)
		return dcm_segment_refuse(why, -EACCES,
					  "%s has mode %04o, which lets more users in than "
					  "DCM_MODE=%04o; " AGREE,
					  shown, mode, access->mode);
	if (access->group != DCM_ANYONE && (mode & 0070) != 0 && st->st_gid != access->group)
		return dcm_segment_refuse(why, -EACCES,
					  "%s belongs to group %u, and DCM_GROUP says %u; " AGREE,
					  shown, st->st_gid, access->group);
	return 0;
}
