/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "api/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "shm/channel.h"
#include "shm/kernel.h"
#include "shm/process.h"

/* The kernel's own abstract names: a zero and five hex digits. */
enum { AUTOBIND_DIGITS = 5 };

/* So many strangers are turned away in one look; the listen queue is one deep. */
enum { VISITORS_MAX = 64 };

#define SEALS_NEEDED (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* Is it the sealed memfd of the offer? Its nonce is looked at when it is mapped. */
static int verify(int fd, const struct dcm_offer *offer)
{
	struct stat st;
	int seals;

	if (fstat(fd, &st) < 0)
		return -errno;
	seals = fcntl(fd, F_GET_SEALS);
	if (!S_ISREG(st.st_mode) || seals < 0 || (seals & SEALS_NEEDED) != SEALS_NEEDED ||
	    st.st_dev != offer->device || st.st_ino != offer->inode ||
	    st.st_size < 0 || (uint64_t)st.st_size != offer->bytes ||
	    offer->bytes > DCM_CHANNEL_BYTES_MAX)
		return -EBADMSG;
	return fd;
}

static int verified_or_closed(int fd, const struct dcm_offer *offer)
{
	int r = verify(fd, offer);

	if (r < 0)
		close(fd);
	return r;
}

/* Process numbers mean something only between processes of one namespace. */
static bool same_namespace(const struct dcm_segment *seg, uint32_t a, uint32_t b)
{
	return dcm_load(&dcm_process_at(seg, a)->pid_namespace, acquire) ==
	       dcm_load(&dcm_process_at(seg, b)->pid_namespace, acquire);
}

int dcm_transfer_fetch(const struct dcm_segment *seg, uint32_t self, struct dcm_ref server,
		       const struct dcm_offer *offer)
{
	struct dcm_process *process = dcm_process_at(seg, server.index);
	int pidfd, fd = -1;

	if (process == NULL)
		return -ESRCH;
	if (!same_namespace(seg, self, server.index))
		return -EPERM;
	pidfd = (int)syscall(SYS_pidfd_open, dcm_load(&process->pid, acquire), 0);
	/* Alive behind the open: so the number was still the server's when it was opened. */
	if (pidfd < 0)
		return errno == ESRCH ? -ESRCH : -EPERM;
	if (!dcm_process_there(seg, server)) {
		close(pidfd);
		return -ESRCH;
	}
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, (int)offer->fd, 0);
	if (fd < 0)
		fd = errno == EBADF || errno == ESRCH ? -ESRCH : -errno;
	close(pidfd);
	return fd < 0 ? fd : verified_or_closed(fd, offer);
}

int dcm_transfer_listen(uint64_t *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t length = sizeof address;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)) < 0 || listen(fd, 1) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &length) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	*name = 0;
	memcpy(name, address.sun_path + 1, AUTOBIND_DIGITS);
	return fd;
}

/* Is the other end of @fd the process that holds slot @ref? Numbers compare in one namespace only. */
static bool peer_is(const struct dcm_segment *seg, int fd, struct dcm_ref ref)
{
	struct dcm_process *process = dcm_process_at(seg, ref.index);
	struct ucred peer;
	socklen_t length = sizeof peer;

	if (process == NULL || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
		return false;
	return (peer.pid == 0 || (uint32_t)peer.pid == dcm_load(&process->pid, acquire)) &&
	       peer.uid == dcm_load(&process->uid, acquire) && dcm_process_there(seg, ref);
}

/* Room for one descriptor, aligned as the kernel wants it. */
union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

int dcm_transfer_send(const struct dcm_segment *seg, struct dcm_ref client, uint64_t name, int fd,
		      uint64_t nonce)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	union control control = { .bytes = { 0 } };
	struct iovec data = { .iov_base = &nonce, .iov_len = sizeof nonce };
	struct msghdr message = { .msg_iov = &data,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof control };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int r = 0, to = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (to < 0)
		return -errno;
	memcpy(address.sun_path + 1, &name, AUTOBIND_DIGITS);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(header), &fd, sizeof fd);
	if (connect(to, (struct sockaddr *)&address,
		    offsetof(struct sockaddr_un, sun_path) + 1 + AUTOBIND_DIGITS) < 0)
		r = -errno;
	else if (!peer_is(seg, to, client))
		r = -EACCES;
	else if (sendmsg(to, &message, MSG_NOSIGNAL) < 0)
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
	int fd;

	if (bytes < 0)
		return -errno;
	fd = take_descriptor(&message);
	if (fd >= 0 && bytes == sizeof data && data == nonce)
		return fd;
	if (fd >= 0)
		close(fd);
	return -EBADMSG;
}

int dcm_transfer_receive(const struct dcm_segment *seg, int listener, struct dcm_ref server,
			 const struct dcm_offer *offer)
{
	int from, fd;

	/* Strangers may connect to an abstract name: those that are not the server are sent away. */
	for (int visitors = 0; visitors < VISITORS_MAX; visitors++) {
		from = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (from < 0)
			return -errno;
		fd = peer_is(seg, from, server) ? receive(from, offer->nonce) : -EBADMSG;
		close(from);
		if (fd >= 0)
			return verified_or_closed(fd, offer);
	}
	return -EAGAIN;
}
