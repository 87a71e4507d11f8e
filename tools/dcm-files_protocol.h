/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What dcm-files says over a channel: version 1.
 *
 * A server publishes the interface files.FileServer under any endpoint name. A request is one
 * struct files_request with a name right behind it; a reply's DcmMessage.status is one of the
 * codes below, and only FILES_OK has contents. Both ends are on one machine, so numbers are in its
 * byte order. Nothing is kept between two requests: a client may ask the next server to go on.
 *
 *	FILES_LIST  regular files below the served directory, in the order of files_path_compare(),
 *	            beginning behind the name; reply: struct files_head, then entries
 *	FILES_READ  bytes of one file; reply: struct files_reply, then the bytes, which are fewer
 *	            than asked for at the end of the file, or when the channel is short of room
 *	FILES_HASH  the SHA-256 of one whole file; reply: struct files_reply
 *
 * A name is a relative path of 1 to FILES_NAME_MAX bytes without a zero: components of 1 to 255
 * bytes, none of them "." or "..". Symbolic links are neither listed nor followed.
 *
 * Whoever reads a message expects anything in it, and that it changes meanwhile: the fixed part is
 * copied once, checked, and used.
 */
#ifndef DCM_FILES_PROTOCOL_H
#define DCM_FILES_PROTOCOL_H

#include <stdint.h>

#define FILES_TYPE    "files.FileServer"
#define FILES_NAME    "files" /* unless --name says another */
#define FILES_VERSION 1u

/* Most bytes of a name, and most that one reply carries besides its fixed part. */
#define FILES_NAME_MAX	4095u
#define FILES_CHUNK_MAX (1u << 20)
#define FILES_HASH_SIZE 32u

/* files_request.op */
#define FILES_LIST 1u
#define FILES_READ 2u
#define FILES_HASH 3u

/* DcmMessage.status of a reply */
enum {
	FILES_OK = 0,
	FILES_BAD_REQUEST = 1, /* not a request of this version */
	FILES_REFUSED = 2,     /* the name leads outside, or is no regular file's */
	FILES_MISSING = 3,     /* there is no such file */
	FILES_DENIED = 4,      /* the server may not read it */
	FILES_CHANGED = 5,     /* it changed while it was read */
	FILES_ERROR = 6	       /* reading it failed */
};

struct files_request {
	uint32_t version;
	uint32_t op;
	uint64_t offset;     /* FILES_READ: first byte */
	uint32_t data_bytes; /* FILES_READ, FILES_LIST: at most so many behind the fixed part */
	uint32_t name_bytes; /* length of the name that follows; 0 only for FILES_LIST */
};

/* Which contents a file had: as long as this is the same, they are too. */
struct files_stamp {
	uint64_t device;
	uint64_t inode;
	uint64_t file_bytes;
	int64_t modified_ns; /* since 1970 */
	int64_t changed_ns;
};

/* What every reply of FILES_OK begins with. */
struct files_head {
	uint32_t version;
	uint32_t flags;
	uint32_t data_bytes; /* of what follows the fixed part */
	uint32_t reserved;
};

/* flags: sha256 is that of the whole file; more names follow the last one. */
#define FILES_HAS_HASH 1u
#define FILES_HAS_MORE 2u

/* FILES_READ and FILES_HASH. FILES_LIST has the head alone, and then entries. */
struct files_reply {
	struct files_head head;
	struct files_stamp stamp;
	uint8_t sha256[FILES_HASH_SIZE];
};

/* The name follows, and zeros up to a multiple of 8 bytes. */
struct files_entry {
	uint64_t file_bytes;
	int64_t modified_ns;
	uint32_t name_bytes;
	uint32_t reserved;
};

#endif
