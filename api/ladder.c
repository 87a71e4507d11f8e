/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "api/ladder.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/retcode.h"
#include "shm/process.h"

/* So many times what the server says it sent may not be there. */
enum { LOST_MAX = 3 };

/* What is wrong with what was offered, or with this process: no other way will do better. */
static bool is_final(int result)
{
	return result >= 0 || result == -ESRCH || result == -EBADMSG || result == -EMFILE ||
	       result == -ENFILE || result == -ENOMEM;
}

int dcm_ladder_begin(struct dcm_ladder *l, const struct dcm_fabric *fabric)
{
	*l = (struct dcm_ladder){ .socket = -1, .caller = -1 };
	if (!fabric->seg.shared && fabric->settings.transfer != DCM_TRANSFER_SOCKET)
		return 0;
	l->socket = dcm_transfer_listen(&l->socket_name);
	if (l->socket >= 0)
		return 0;
	l->why_not[DCM_TRANSFER_SOCKET] = l->socket;
	return l->socket;
}

void dcm_ladder_end(struct dcm_ladder *l)
{
	if (l->caller >= 0)
		close(l->caller);
	if (l->socket >= 0)
		close(l->socket);
	l->socket = l->caller = -1;
	l->socket_name = 0;
}

/* A new socket for the server to send to; the one before, if any, is deaf from now on. */
static int ask_for_socket(struct dcm_ladder *l, const struct dcm_segment *seg,
			  struct dcm_ref connection, uint32_t server)
{
	uint64_t name;
	int fd = dcm_transfer_listen(&name);

	if (fd < 0)
		return fd;
	dcm_ladder_end(l);
	l->socket = fd;
	l->socket_name = name;
	/* The slot stays ours until we leave, whatever the server does. */
	dcm_store(&dcm_connection_at(seg, connection.index)->socket, name, release);
	dcm_rendezvous_tell_server(seg, connection.index, server);
	return -EAGAIN;
}

/*
 * What came to the socket. Strangers that fill its queue can only delay: each time that they do,
 * another socket takes its place, whose name they have to find out before the server, who is told.
 */
static int from_socket(struct dcm_ladder *l, const struct dcm_fabric *fabric,
		       struct dcm_ref connection, struct dcm_ref server,
		       const struct dcm_offer *offer)
{
	const struct dcm_segment *seg = &fabric->seg;
	/* Read before the look: if it says sent, then what was sent is there. */
	int answer = dcm_transfer_answered(offer->sent, offer->nonce, l->socket_name);
	int fd = dcm_transfer_receive(seg, fabric->self.index, l->socket, &l->caller, server, offer,
				      &l->who);

	if (fd != -EAGAIN && fd != -EBUSY)
		return fd;
	if (fd == -EBUSY || answer == -EAGAIN)
		return ask_for_socket(l, seg, connection, server.index);
	if (answer > 0)
		return -EAGAIN;
	if ((answer == 0 || answer == -EPIPE || answer == -ECONNRESET) && l->lost++ < LOST_MAX)
		return ask_for_socket(l, seg, connection, server.index);
	l->server_says = answer != 0;
	return answer != 0 ? answer : DCM_TRANSFER_STRANGER;
}

bool dcm_ladder_may_fetch(const struct dcm_ladder *l, const struct dcm_offer *offer)
{
	return l->socket < 0 ||
	       dcm_transfer_answered(offer->sent, offer->nonce, l->socket_name) <= 0;
}

static bool is_wanted(const struct dcm_fabric *fabric, uint32_t way)
{
	return fabric->settings.transfer == DCM_TRANSFER_AUTO || fabric->settings.transfer == way;
}

void dcm_ladder_ahead(const struct dcm_ladder *l, const struct dcm_fabric *fabric,
		      struct dcm_ref server, struct dcm_ahead *ahead)
{
	if (l->socket < 0 && is_wanted(fabric, DCM_TRANSFER_GETFD))
		dcm_transfer_ahead(&fabric->seg, fabric->self.index, server, ahead);
}

int dcm_ladder_fetch(struct dcm_ladder *l, const struct dcm_fabric *fabric,
		     struct dcm_ref connection, struct dcm_ref server,
		     const struct dcm_offer *offer, struct dcm_ahead *ahead)
{
	const struct dcm_segment *seg = &fabric->seg;
	uint32_t self = fabric->self.index;
	int r = -EAGAIN;

	if (l->socket >= 0) {
		l->transfer = DCM_TRANSFER_SOCKET;
		r = from_socket(l, fabric, connection, server, offer);
		if (r < 0 && r != -EAGAIN)
			l->why_not[DCM_TRANSFER_SOCKET] = r;
		return r;
	}
	for (uint32_t way = DCM_TRANSFER_GETFD; way <= DCM_TRANSFER_PROCFS; way++) {
		if (!is_wanted(fabric, way))
			continue;
		l->transfer = way;
		r = way == DCM_TRANSFER_GETFD ? dcm_transfer_getfd(seg, self, server, offer, ahead)
					      : dcm_transfer_procfs(seg, self, server, offer);
		if (is_final(r))
			return r;
		l->why_not[way] = r;
	}
	if (fabric->settings.transfer != DCM_TRANSFER_AUTO)
		return r;
	r = ask_for_socket(l, seg, connection, server.index);
	if (r != -EAGAIN)
		l->why_not[DCM_TRANSFER_SOCKET] = r;
	return r;
}

static const char *words(int result)
{
	const char *text = strerrordesc_np(-result);

	if (result == -EXDEV)
		return "the server is of another PID namespace";
	if (result == DCM_TRANSFER_STRANGER)
		return "at its other end is another process";
	if (result == -ESTALE)
		return "the server's number is another process's";
	return text != NULL ? text : "unknown error";
}

/* "pidfd_getfd: Operation not permitted; /proc: Permission denied" */
static void say_why_not(const struct dcm_ladder *l, char *text, size_t size)
{
	static const char *const names[] = { "", "pidfd_getfd", "/proc", "socket" };
	size_t used = 0;

	text[0] = '\0';
	for (uint32_t way = DCM_TRANSFER_GETFD; way <= DCM_TRANSFER_SOCKET; way++) {
		bool remote = way == DCM_TRANSFER_SOCKET && l->server_says;

		if (l->why_not[way] == 0 || used >= size)
			continue;
		used += (size_t)snprintf(
			text + used, size - used, "%s%s: %s%s", used == 0 ? "" : "; ", names[way],
			remote ? "the server could not send: " : "", words(l->why_not[way]));
	}
}

Retcode dcm_ladder_failed(const struct dcm_ladder *l, int result)
{
	char why_not[DCM_DETAIL_SIZE / 2];

	if (result == -ESRCH)
		return dcm_fail(rcNotConnected, "the server died while it accepted");
	if (result == -EBADMSG || result == -EBADF)
		return dcm_fail(rcNotConnected, "what the server handed over is not the channel it "
						"offered");
	if (!l->server_says && (result == -EMFILE || result == -ENFILE))
		return dcm_fail(rcQuotaExceeded, "no descriptor is free to receive the channel");
	if (!l->server_says && result == -ENOMEM)
		return dcm_fail(rcOutOfMemory, "no memory to receive the channel");
	say_why_not(l, why_not, sizeof why_not);
	return dcm_fail(rcSecurityDisallow,
			"the channel's memory could be had by no way that DCM_TRANSFER and the "
			"fabric allow: %s",
			why_not);
}
