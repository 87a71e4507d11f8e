// SPDX-License-Identifier: BSD-2-Clause
#define _GNU_SOURCE
#include "dcm-files_fetch.h"
#include "dcm-files_path.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* How often a file is tried that changes while it is read. */
#define ATTEMPTS_MAX 3

/* One attempt at one file. */
struct attempt {
	const struct fetching *fetching;
	struct files_hash *hash;
	const char *name;
	struct files_target target;
	bool opened; /* the target is */
	bool changed;
	uint64_t done;			 /* bytes */
	struct files_stamp stamp;	 /* of the first reply */
	uint8_t sha256[FILES_HASH_SIZE]; /* the server's */
	bool has_sha256;
};

static enum files_outcome complain(const struct attempt *attempt, enum files_outcome outcome,
				   const char *what)
{
	char shown[FILES_SHOWN_SIZE];

	files_warn("%s: %s", files_shown(attempt->name, shown), what);
	return outcome;
}

static enum files_outcome by_status(struct attempt *attempt, int32_t status)
{
	switch (status) {
	case FILES_REFUSED:
		return complain(attempt, FILES_BAD,
				"refused: not the name of a regular file in the served directory");
	case FILES_MISSING:
		return complain(attempt, FILES_TROUBLE, "the server has no such file");
	case FILES_DENIED:
		return complain(attempt, FILES_TROUBLE, "the server may not read it");
	case FILES_CHANGED:
		attempt->changed = true;
		return FILES_BAD;
	case FILES_ERROR:
		return complain(attempt, FILES_TROUBLE, "the server cannot read it");
	default:
		return complain(attempt, FILES_BAD, "the server does not understand the request");
	}
}

static enum files_outcome write_all(struct attempt *attempt, const char *data, size_t bytes)
{
	while (bytes > 0) {
		ssize_t more = write(attempt->target.fd, data, bytes);

		if (more < 0 && errno == EINTR)
			continue;
		if (more < 0)
			return complain(attempt, FILES_TROUBLE, strerror(errno));
		data += more;
		bytes -= (size_t)more;
	}
	return FILES_DONE;
}

/*
 * Takes what one FILES_READ brought. The server may change it meanwhile, but then it would only
 * cheat about its own file: the hash to compare with comes from it as well.
 */
static enum files_outcome take(struct attempt *attempt, const struct files_reply *fixed,
			       const char *data, uint32_t asked_bytes)
{
	uint32_t bytes = fixed->head.data_bytes;
	enum files_outcome outcome;

	if (attempt->done == 0)
		attempt->stamp = fixed->stamp;
	if (memcmp(&fixed->stamp, &attempt->stamp, sizeof(attempt->stamp)) != 0) {
		attempt->changed = true;
		return FILES_BAD;
	}
	if (bytes > asked_bytes || bytes > attempt->stamp.file_bytes - attempt->done ||
	    (bytes == 0 && attempt->done < attempt->stamp.file_bytes))
		return complain(attempt, FILES_BAD, "the server's reply is damaged");
	outcome = write_all(attempt, data, bytes);
	if (outcome != FILES_DONE)
		return outcome;
	if (!files_hash_add(attempt->hash, data, bytes))
		return complain(attempt, FILES_TROUBLE, "OpenSSL cannot compute SHA-256");
	attempt->done += bytes;
	atomic_fetch_add(attempt->fetching->bytes, bytes);
	return FILES_DONE;
}

static enum files_outcome open_target(struct attempt *attempt)
{
	int rc = files_target_open(&attempt->target, attempt->fetching->target, attempt->name);

	if (rc == -ELOOP || rc == -ENOTDIR)
		return complain(attempt, FILES_TROUBLE,
				"a link or a file is in the way of one of its directories; "
				"move it, or choose another --to");
	if (rc < 0)
		return complain(attempt, FILES_TROUBLE, strerror(-rc));
	attempt->opened = true;
	return FILES_DONE;
}

/* One question about the file, and what to do with its answer. */
static enum files_outcome ask(struct attempt *attempt, uint32_t op)
{
	struct files_limit *limit = attempt->fetching->limit;
	struct files_question question = {
		.op = op,
		.data_bytes = op == FILES_READ ? files_limit_chunk(limit) : 0,
		.offset = attempt->done,
		.name = attempt->name,
	};
	struct files_reply fixed;
	DcmMessage reply;
	enum files_outcome outcome =
		files_ask(attempt->fetching->session, &question, &fixed, sizeof(fixed), &reply);

	if (outcome != FILES_DONE)
		return outcome;
	files_limit_wait(limit, reply.size);
	if (reply.status != FILES_OK)
		outcome = by_status(attempt, reply.status);
	if (outcome == FILES_DONE && !attempt->opened)
		outcome = open_target(attempt);
	if (outcome == FILES_DONE)
		outcome = take(attempt, &fixed, (const char *)reply.data + sizeof(fixed),
			       question.data_bytes);
	DcmRelease(&reply);
	if (outcome == FILES_DONE && (fixed.head.flags & FILES_HAS_HASH)) {
		memcpy(attempt->sha256, fixed.sha256, FILES_HASH_SIZE);
		attempt->has_sha256 = true;
	}
	return outcome;
}

static enum files_outcome check(struct attempt *attempt)
{
	uint8_t sha256[FILES_HASH_SIZE];
	int rc;

	if (!files_hash_end(attempt->hash, sha256))
		return complain(attempt, FILES_TROUBLE, "OpenSSL cannot compute SHA-256");
	if (!attempt->has_sha256 || memcmp(sha256, attempt->sha256, FILES_HASH_SIZE) != 0)
		return complain(attempt, FILES_BAD,
				"what came is not what the server has (SHA-256); not kept");
	attempt->opened = false;
	rc = files_target_keep(&attempt->target);
	return rc == 0 ? FILES_DONE : complain(attempt, FILES_TROUBLE, strerror(-rc));
}

static enum files_outcome try_once(struct attempt *attempt)
{
	enum files_outcome outcome;

	if (!files_hash_begin(attempt->hash))
		return complain(attempt, FILES_TROUBLE, "OpenSSL cannot compute SHA-256");
	do {
		outcome = ask(attempt, FILES_READ);
	} while (outcome == FILES_DONE && attempt->done < attempt->stamp.file_bytes);
	/* The last reply of a file that fits into one has it. */
	if (outcome == FILES_DONE && !attempt->has_sha256)
		outcome = ask(attempt, FILES_HASH);
	if (outcome == FILES_DONE)
		outcome = check(attempt);
	if (attempt->opened)
		files_target_drop(&attempt->target);
	if (outcome != FILES_DONE)
		atomic_fetch_sub(attempt->fetching->bytes, attempt->done);
	return outcome;
}

enum files_outcome files_fetch(const struct fetching *fetching, struct files_hash *hash,
			       const char *name)
{
	struct attempt attempt;

	for (int number = 0; number < ATTEMPTS_MAX; number++) {
		enum files_outcome outcome;

		memset(&attempt, 0, sizeof(attempt));
		attempt.fetching = fetching;
		attempt.hash = hash;
		attempt.name = name;
		outcome = try_once(&attempt);
		if (!attempt.changed)
			return outcome;
	}
	return complain(&attempt, FILES_BAD,
			"it changes while it is read; not kept, try again when it is at rest");
}
