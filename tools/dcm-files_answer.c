// SPDX-License-Identifier: BSD-2-Clause
#define _GNU_SOURCE
#include "dcm-files_answer.h"
#include "dcm-files_path.h"
#include "dcm-files_walk.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define SECOND_NS 1000000000

/* One request under way. The client can change its message; this is what was checked. */
struct asked {
	DcmRequest *request;
	struct files_request head;
	char name[FILES_NAME_MAX + 1];
};

static int32_t status_of(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
	case ENAMETOOLONG:
		return FILES_MISSING;
	case ELOOP:
	case EXDEV:
		return FILES_REFUSED;
	case EACCES:
	case EPERM:
		return FILES_DENIED;
	default:
		return FILES_ERROR;
	}
}

/*
 * Room for a reply: fixed_bytes and up to data_bytes more, fewer if the client's channel is short
 * of room. If there is none at all the request is released, and its caller gets rcNotConnected.
 */
static bool make_room(DcmRequest *request, size_t fixed_bytes, size_t data_bytes, DcmMessage *reply)
{
	Retcode rc = DcmLoanReply(request, fixed_bytes + data_bytes, reply);

	while (rc == rcQuotaExceeded && data_bytes > 4096) {
		data_bytes /= 2;
		rc = DcmLoanReply(request, fixed_bytes + data_bytes, reply);
	}
	if (rc == rcOk)
		return true;
	if (rc != rcNotConnected)
		files_warn_code(rc, "a request cannot be answered");
	DcmRelease(&request->message);
	return false;
}

/* rcNotConnected is a client that has left: nothing to be done. */
static void send_reply(struct server *server, DcmRequest *request, DcmMessage *reply)
{
	Retcode rc = DcmReply(request, reply);

	if (rc != rcOk && rc != rcNotConnected)
		files_warn_code(rc, "a reply cannot be sent");
	atomic_fetch_add(&server->requests, 1);
}

static void answer_status(struct server *server, DcmRequest *request, int32_t status)
{
	DcmMessage reply;

	if (!make_room(request, 0, 0, &reply))
		return;
	reply.status = status;
	send_reply(server, request, &reply);
}

static bool stamp_file(int fd, struct files_stamp *stamp)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	stamp->device = st.st_dev;
	stamp->inode = st.st_ino;
	stamp->file_bytes = (uint64_t)st.st_size;
	stamp->modified_ns = st.st_mtim.tv_sec * SECOND_NS + st.st_mtim.tv_nsec;
	stamp->changed_ns = st.st_ctim.tv_sec * SECOND_NS + st.st_ctim.tv_nsec;
	return true;
}

static bool same_stamp(const struct files_stamp *a, const struct files_stamp *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* The file, opened, and its stamp; or -1 and what to answer. */
static int open_file(int root, const char *name, struct files_stamp *stamp, int32_t *status)
{
	/* O_NONBLOCK: a pipe must not hold the thread. */
	int fd = files_open_beneath(root, name, O_RDONLY | O_NONBLOCK | O_NOCTTY);

	if (fd < 0) {
		*status = status_of(-fd);
		return -1;
	}
	if (stamp_file(fd, stamp))
		return fd;
	close(fd);
	*status = FILES_REFUSED;
	return -1;
}

/* Fewer bytes than asked for: the file became shorter. */
static ssize_t read_at(int fd, void *data, size_t bytes, uint64_t offset)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t more = pread(fd, (char *)data + done, bytes - done, (off_t)(offset + done));

		if (more < 0 && errno == EINTR)
			continue;
		if (more < 0)
			return -1;
		if (more == 0)
			break;
		done += (size_t)more;
	}
	return (ssize_t)done;
}

/* Reads straight from the file into the reply, behind its fixed part, and completes that apart. */
static int32_t fill_reply(int fd, struct files_hash *hash, uint64_t offset, DcmMessage *reply,
			  struct files_reply *fixed)
{
	void *data = (char *)reply->data + sizeof(*fixed);
	size_t bytes = reply->size - sizeof(*fixed);
	struct files_stamp after;
	ssize_t got = read_at(fd, data, bytes, offset);

	if (got < 0)
		return FILES_ERROR;
	if ((size_t)got < bytes || !stamp_file(fd, &after) || !same_stamp(&after, &fixed->stamp))
		return FILES_CHANGED;
	fixed->head.data_bytes = (uint32_t)bytes;
	if (offset > 0 || bytes < fixed->stamp.file_bytes)
		return FILES_OK;
	if (!files_hash_begin(hash) || !files_hash_add(hash, data, bytes) ||
	    !files_hash_end(hash, fixed->sha256))
		return FILES_ERROR;
	fixed->head.flags = FILES_HAS_HASH;
	return FILES_OK;
}

static void answer_read(struct server *server, struct files_hash *hash, struct asked *asked)
{
	struct files_reply fixed = { .head.version = FILES_VERSION };
	uint64_t bytes = asked->head.data_bytes;
	uint64_t offset = asked->head.offset;
	int32_t status;
	DcmMessage reply;
	int fd = open_file(server->root, asked->name, &fixed.stamp, &status);

	if (fd < 0) {
		answer_status(server, asked->request, status);
		return;
	}
	if (offset > fixed.stamp.file_bytes)
		offset = fixed.stamp.file_bytes;
	if (bytes > files_limit_chunk(&server->limit))
		bytes = files_limit_chunk(&server->limit);
	if (bytes > fixed.stamp.file_bytes - offset)
		bytes = fixed.stamp.file_bytes - offset;
	if (make_room(asked->request, sizeof(fixed), bytes, &reply)) {
		reply.status = fill_reply(fd, hash, offset, &reply, &fixed);
		if (reply.status == FILES_OK)
			memcpy(reply.data, &fixed, sizeof(fixed));
		else
			reply.size = 0;
		atomic_fetch_add(&server->bytes, fixed.head.data_bytes);
		files_limit_wait(&server->limit, reply.size);
		send_reply(server, asked->request, &reply);
	}
	close(fd);
}

/* Not answered at all, because the server ends. */
#define ABANDONED -1

static int32_t hash_file(struct server *server, struct files_hash *hash, int fd,
			 struct files_reply *fixed)
{
	unsigned char buffer[64 * 1024];
	struct files_stamp after;
	uint64_t offset = 0;
	ssize_t got;

	if (!files_hash_begin(hash))
		return FILES_ERROR;
	do {
		got = read_at(fd, buffer, sizeof(buffer), offset);
		if (atomic_load(&server->stopping))
			return ABANDONED;
		if (got < 0 || !files_hash_add(hash, buffer, (size_t)got))
			return FILES_ERROR;
		offset += (uint64_t)got;
	} while (got == sizeof(buffer) && offset <= fixed->stamp.file_bytes);
	if (!stamp_file(fd, &after) || !same_stamp(&after, &fixed->stamp))
		return FILES_CHANGED;
	fixed->head.flags = FILES_HAS_HASH;
	return files_hash_end(hash, fixed->sha256) ? FILES_OK : FILES_ERROR;
}

static void answer_hash(struct server *server, struct files_hash *hash, struct asked *asked)
{
	struct files_reply fixed = { .head.version = FILES_VERSION };
	int32_t status;
	DcmMessage reply;
	int fd = open_file(server->root, asked->name, &fixed.stamp, &status);

	if (fd >= 0) {
		status = hash_file(server, hash, fd, &fixed);
		close(fd);
	}
	if (status == ABANDONED) {
		DcmRelease(&asked->request->message);
	} else if (status != FILES_OK) {
		answer_status(server, asked->request, status);
	} else if (make_room(asked->request, sizeof(fixed), 0, &reply)) {
		memcpy(reply.data, &fixed, sizeof(fixed));
		send_reply(server, asked->request, &reply);
	}
}

/* Writes entries as long as they fit; whether more follow is in the page's flags. */
static int32_t fill_page(struct files_walk *walk, char *data, size_t room, struct files_head *page)
{
	struct stat st;
	const char *name;
	int rc;

	while ((rc = files_walk_next(walk, &name, &st)) > 0) {
		struct files_entry entry = {
			.file_bytes = (uint64_t)st.st_size,
			.modified_ns = st.st_mtim.tv_sec * SECOND_NS + st.st_mtim.tv_nsec,
			.name_bytes = (uint32_t)strlen(name),
		};
		size_t padded = (entry.name_bytes + 7u) & ~(size_t)7;

		if (sizeof(entry) + padded > room - page->data_bytes) {
			page->flags = FILES_HAS_MORE;
			return FILES_OK;
		}
		memcpy(data + page->data_bytes, &entry, sizeof(entry));
		strncpy(data + page->data_bytes + sizeof(entry), name, padded);
		page->data_bytes += (uint32_t)(sizeof(entry) + padded);
	}
	return rc < 0 ? FILES_ERROR : FILES_OK;
}

static void answer_list(struct server *server, struct asked *asked)
{
	struct files_head page = { .version = FILES_VERSION };
	uint32_t room = asked->head.data_bytes;
	struct files_walk *walk;
	DcmMessage reply;

	/* One name fits always. */
	if (room < sizeof(struct files_entry) + FILES_NAME_MAX + 1)
		room = sizeof(struct files_entry) + FILES_NAME_MAX + 1;
	if (room > FILES_CHUNK_MAX)
		room = FILES_CHUNK_MAX;
	walk = files_walk_begin(server->root, asked->name);
	if (!walk) {
		answer_status(server, asked->request, status_of(errno));
		return;
	}
	if (make_room(asked->request, sizeof(page), room, &reply)) {
		reply.status = fill_page(walk, (char *)reply.data + sizeof(page),
					 reply.size - sizeof(page), &page);
		memcpy(reply.data, &page, sizeof(page));
		reply.size = reply.status == FILES_OK ? sizeof(page) + page.data_bytes : 0;
		send_reply(server, asked->request, &reply);
	}
	files_walk_end(walk);
}

/* Copies the request out of shared memory, and checks the copy. */
static int32_t take_request(struct asked *asked)
{
	const DcmMessage *message = &asked->request->message;
	struct files_request *head = &asked->head;

	if (message->size < sizeof(*head))
		return FILES_BAD_REQUEST;
	memcpy(head, message->data, sizeof(*head));
	if (head->version != FILES_VERSION || head->op < FILES_LIST || head->op > FILES_HASH ||
	    head->name_bytes > message->size - sizeof(*head))
		return FILES_BAD_REQUEST;
	if (head->name_bytes > FILES_NAME_MAX)
		return FILES_REFUSED;
	memcpy(asked->name, (const char *)message->data + sizeof(*head), head->name_bytes);
	asked->name[head->name_bytes] = '\0';
	if (head->op == FILES_LIST && head->name_bytes == 0)
		return FILES_OK;
	return files_name_ok(asked->name, head->name_bytes) ? FILES_OK : FILES_REFUSED;
}

void files_answer(struct server *server, struct files_hash *hash, DcmRequest *request)
{
	struct asked asked;
	int32_t status;

	if (request->flags & DCM_REQUEST_ONE_WAY) {
		DcmRelease(&request->message);
		return;
	}
	asked.request = request;
	status = take_request(&asked);
	if (status != FILES_OK)
		answer_status(server, request, status);
	else if (asked.head.op == FILES_READ)
		answer_read(server, hash, &asked);
	else if (asked.head.op == FILES_HASH)
		answer_hash(server, hash, &asked);
	else
		answer_list(server, &asked);
}
