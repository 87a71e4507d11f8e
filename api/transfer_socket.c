/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * transfer_socket - the hand-over through a Unix socket that the client listens on
 *
 * Its name is abstract, drawn by the kernel, and anybody in the network namespace may call: each
 * side looks who the other is, in what the kernel wrote down when it called listen() or connect().
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/transfer.h"
#include "shm/kernel.h"
#include "shm/process.h"

/* The kernel's own abstract names: a zero and five hex digits. */
enum { AUTOBIND_DIGITS = 5 };

/* So many callers can wait; so many strangers are turned away in one look. */
enum { BACKLOG = 32, VISITORS_MAX = 2 * BACKLOG };

int dcm_transfer_listen(uint64_t *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t length = sizeof address;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)) < 0 ||
	    listen(fd, BACKLOG) < 0 || getsockname(fd, (struct sockaddr *)&address, &length) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	*name = 0;
	memcpy(name, address.sun_path + 1, AUTOBIND_DIGITS);
	return fd;
}

enum verdict { UNKNOWN, IS, IS_NOT };

/* Is @process at the other end, by what the kernel keeps of it since listen() or connect()? */
static enum verdict judge_pidfd(int fd, const struct dcm_process *process)
{
	uint64_t claimed = dcm_load(&process->pidfd_inode, acquire), inode;
	struct pollfd on = { .fd = -1, .events = POLLIN };
	socklen_t length = sizeof on.fd;
	bool ended;

	/* Kernels that do not know the option say ENOPROTOOPT; those that do, ESRCH of the dead. */
	if (!DCM_KERNEL_NEW || getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &on.fd, &length) < 0)
		return DCM_KERNEL_NEW && (errno == ESRCH || errno == EINVAL) ? IS_NOT : UNKNOWN;
	ended = poll(&on, 1, 0) == 1 && (on.revents & POLLIN) != 0;
	inode = dcm_process_pidfd_inode(on.fd);
	close(on.fd);
	if (ended)
		return IS_NOT;
	if (inode == 0 || claimed == 0)
		return UNKNOWN;
	return inode == claimed ? IS : IS_NOT;
}

/*
 * Is the other end of @fd the process that holds slot @ref? By its pidfd's inode; else by its
 * number, where that means something: two that are there at one time have two; else by its user.
 */
static int check_peer(const struct dcm_segment *seg, uint32_t self, int fd, struct dcm_ref ref,
		      struct dcm_credentials *who)
{
	const struct dcm_process *process = dcm_process_at(seg, ref.index);
	enum verdict verdict;
	struct ucred peer;
	socklen_t length = sizeof peer;

	if (process == NULL || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
		return DCM_TRANSFER_STRANGER;
	verdict = judge_pidfd(fd, process);
	if (verdict == UNKNOWN && dcm_transfer_comparable(seg, self, ref.index))
		verdict = (uint32_t)peer.pid == dcm_load(&process->pid, acquire) ? IS : IS_NOT;
	else if (verdict == UNKNOWN)
		verdict = peer.uid == dcm_load(&process->uid, acquire) ? IS : IS_NOT;
	/* There behind the look at the other end: at that moment both were. */
	if (verdict != IS || !dcm_process_there(seg, ref))
		return DCM_TRANSFER_STRANGER;
	*who = (struct dcm_credentials){
		.verified = true, .pid = peer.pid, .uid = peer.uid, .gid = peer.gid
	};
	return 0;
}

static bool same(const struct dcm_credentials *a, const struct dcm_credentials *b)
{
	return a->pid == b->pid && a->uid == b->uid && a->gid == b->gid;
}

/* A connection to the client's socket, and to nobody else's. */
static int call_client(const struct dcm_segment *seg, uint32_t self, struct dcm_ref client,
		       uint64_t name, struct dcm_credentials *who)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct dcm_credentials seen = { .verified = false };
	int r = 0, to = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (to < 0)
		return -errno;
	memcpy(address.sun_path + 1, &name, AUTOBIND_DIGITS);
	if (connect(to, (struct sockaddr *)&address,
		    offsetof(struct sockaddr_un, sun_path) + 1 + AUTOBIND_DIGITS) < 0)
		r = -errno;
	else
		r = check_peer(seg, self, to, client, &seen);
	if (r == 0 && who->verified && !same(who, &seen))
		r = DCM_TRANSFER_STRANGER;
	if (r < 0) {
		close(to);
		return r;
	}
	*who = seen;
	return to;
}

int dcm_transfer_probe(const struct dcm_segment *seg, uint32_t self, struct dcm_ref client,
		       uint64_t name, struct dcm_credentials *who)
{
	int to = call_client(seg, self, client, name, who);

	if (to < 0)
		return to;
	close(to);
	return 0;
}

/* Room for one descriptor, aligned as the kernel wants it. */
union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

int dcm_transfer_send(const struct dcm_segment *seg, uint32_t self, struct dcm_ref client,
		      uint64_t name, int fd, uint64_t nonce, struct dcm_credentials *who)
{
	union control control = { .bytes = { 0 } };
	struct iovec data = { .iov_base = &nonce, .iov_len = sizeof nonce };
	struct msghdr message = { .msg_iov = &data,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof control };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int r = 0, to = call_client(seg, self, client, name, who);

	if (to < 0)
		return to;
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(header), &fd, sizeof fd);
	if (sendmsg(to, &message, MSG_NOSIGNAL) < 0)
		r = -errno;
	close(to);
	return r;
}

/* The first descriptor of a message; all others that it holds are closed. */
static int take_descriptor(struct msghdr *message)
{
	int first = -1, fd;

	for (struct cmsghdr *h = CMSG_FIRSTHDR(message); h != NULL; h = CMSG_NXTHDR(message, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = CMSG_LEN(0); at + sizeof fd <= h->cmsg_len; at += sizeof fd) {
			memcpy(&fd, (unsigned char *)h + at, sizeof fd);
			if (first < 0)
				first = fd;
			else
				close(fd);
		}
	}
	return first;
}

/* Return: descriptor; -EAGAIN it has said nothing yet; -EMFILE the kernel had to drop it; -ENODATA it
   is not what is waited for. */
static int receive(int from, uint64_t nonce)
{
	union control control;
	uint64_t data = 0;
	struct iovec iov = { .iov_base = &data, .iov_len = sizeof data };
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof control };
	ssize_t bytes = recvmsg(from, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	int fd = bytes < 0 ? -1 : take_descriptor(&message);

	if (bytes < 0 && errno == EAGAIN)
		return -EAGAIN;
	if (bytes == sizeof data && data == nonce) {
		if (fd >= 0)
			return fd;
		return (message.msg_flags & MSG_CTRUNC) != 0 ? -EMFILE : -ENODATA;
	}
	if (fd >= 0)
		close(fd);
	return -ENODATA;
}

/* The next who calls and is the server, checked; or negative errno, ENODATA: a stranger. */
static int next_caller(const struct dcm_segment *seg, uint32_t self, int listener,
		       struct dcm_ref server, struct dcm_credentials *who)
{
	int from = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (from < 0)
		return errno == ECONNABORTED ? -ENODATA : -errno;
	if (check_peer(seg, self, from, server, who) == 0)
		return from;
	close(from);
	return -ENODATA;
}

int dcm_transfer_receive(const struct dcm_segment *seg, uint32_t self, int listener, int *caller,
			 struct dcm_ref server, const struct dcm_offer *offer,
			 struct dcm_credentials *who)
{
	int fd;

	for (int visitors = 0; visitors < VISITORS_MAX; visitors++) {
		if (*caller < 0)
			*caller = next_caller(seg, self, listener, server, who);
		if (*caller == -ENODATA)
			continue;
		if (*caller < 0)
			return *caller;
		fd = receive(*caller, offer->nonce);
		/* Between its connect and its send: it is heard out. */
		if (fd == -EAGAIN)
			return fd;
		close(*caller);
		*caller = -1;
		if (fd >= 0)
			return dcm_transfer_verified(fd, offer);
		if (fd == -EMFILE)
			return fd;
	}
	return -EBUSY;
}

/* Of the 32 bits of an answer, 8 say what, and 24 about which socket. */
enum { ANSWER_BITS = 8, ANSWER_SENT = 1, ANSWER_MAX = 255 };

static uint32_t about(uint64_t nonce, uint64_t name)
{
	return (uint32_t)(((nonce ^ name) * UINT64_C(0x9e3779b97f4a7c15)) >> 40) << ANSWER_BITS;
}

uint32_t dcm_transfer_answer(uint64_t nonce, uint64_t name, int result)
{
	uint32_t code = ANSWER_SENT + (uint32_t)-result;

	return about(nonce, name) | (code > ANSWER_MAX ? ANSWER_MAX : code);
}

int dcm_transfer_answered(uint32_t answer, uint64_t nonce, uint64_t name)
{
	uint32_t code = answer & ANSWER_MAX;

	if (code == 0 || (answer & ~(uint32_t)ANSWER_MAX) != about(nonce, name))
		return 1;
	return -(int)(code - ANSWER_SENT);
}
