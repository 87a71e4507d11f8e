/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/*
 * A server that offers what is not a channel, by each way that it can go over: the client refuses,
 * at once, and has nothing left of it. And strangers at the client's socket, who can only delay.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/transfer.h"
#include "shm/channel.h"
#include "tests/api/lib_inside.h"
#include "tests/api/lib_peer.h"

#define TYPE  "test.Hostile"
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define BYTES DCM_CHANNEL_BYTES_MIN
#define NONCE UINT64_C(0x0123456789abcdef)

enum way { GETFD, PROCFS, SOCKET, WAYS };
static const char *const ways[WAYS] = { "getfd", "procfs", "socket" };

/* How a message to the client's socket looks. */
enum message { ONE, NONE, THREE, OTHER_NONCE };

/* What is offered, and what becomes of it. */
struct offered {
	const char *what;
	int fd;
	struct dcm_offer offer;
	enum message message;
	unsigned int refused; /* bit set of ways */
};

enum { EVERY = 1 << GETFD | 1 << PROCFS | 1 << SOCKET, NOT_SOCKET = 1 << GETFD | 1 << PROCFS };

static struct inside inside;
static DcmHandle publication;

/* A file as a channel is, but for @seals, flags and size; -1: the kernel has none of that kind. */
static int new_memfd(unsigned int flags, int seals, uint64_t bytes)
{
	int fd = memfd_create("dcm-channel", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
	void *base;

	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (base != MAP_FAILED) {
		if (flags == 0 && bytes >= sizeof(struct dcm_channel_header))
			dcm_channel_format(base, bytes, NONCE);
		munmap(base, bytes);
	}
	if (seals != 0 && fcntl(fd, F_ADD_SEALS, seals) < 0)
		sysbail("seals");
	return fd;
}

static int reopen_read_only(int fd)
{
	char path[40];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDONLY | O_CLOEXEC);
	close(fd);
	return again;
}

static int new_fifo(void)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/fifo", tap_fabric_dir());
	if (mkfifo(path, 0600) < 0)
		sysbail("%s", path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	unlink(path);
	return fd;
}

static int new_file(void)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/file", tap_fabric_dir());
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	unlink(path);
	return fd >= 0 && ftruncate(fd, (off_t)BYTES) == 0 ? fd : -1;
}

/* An honest offer of @fd. */
static struct offered offer_of(const char *what, int fd, unsigned int refused)
{
	struct offered o = { .what = what, .fd = fd, .refused = refused };
	struct stat st;

	if (fd < 0)
		return o;
	if (fstat(fd, &st) < 0)
		sysbail("%s", what);
	o.offer = (struct dcm_offer){ .fd = (uint32_t)fd,
				      .device = st.st_dev,
				      .inode = st.st_ino,
				      .bytes = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : BYTES,
				      .nonce = NONCE };
	return o;
}

/* As the server's library sends it, or nearly so. */
static int send_message(uint64_t name, const struct offered *o)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	uint64_t nonce = o->offer.nonce + (o->message == OTHER_NONCE);
	unsigned int count = o->message == NONE ? 0 : o->message == THREE ? 3 : 1;
	int fds[3] = { o->fd, o->fd, o->fd }, to = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(fds))];
	} control = { .bytes = { 0 } };
	struct iovec iov = { .iov_base = &nonce, .iov_len = sizeof(nonce) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	int r;

	if (count > 0) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		control.header = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
						   .cmsg_type = SCM_RIGHTS,
						   .cmsg_len = CMSG_LEN(count * sizeof(int)) };
		memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
	}
	memcpy(address.sun_path + 1, &name, 5);
	r = connect(to, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + 6);
	if (r == 0)
		r = sendmsg(to, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
	close(to);
	return r;
}

/* A connection that was accepted in the library's place, and the socket that was answered last. */
struct accepted {
	struct dcm_connection *connection;
	uint64_t socket;
};

static uint32_t answer_socket(struct accepted *a, const struct offered *o)
{
	a->socket = dcm_load(&a->connection->socket, seq);
	if (a->socket == 0)
		return 0;
	/* It may be gone by now: the client then says so. */
	send_message(a->socket, o);
	return dcm_transfer_answer(o->offer.nonce, a->socket, 0);
}

static struct accepted accept_with(const struct offered *o)
{
	struct dcm_ref connection = inside_connection(&inside, DCM_CONNECTION_TAKEN);
	struct accepted a = { .connection = dcm_connection_at(&inside.seg, connection.index) };
	uint32_t self = dcm_word_owner(dcm_load(&a.connection->word, seq));
	struct dcm_offer offer = o->offer;

	offer.sent = answer_socket(&a, o);
	if (!dcm_rendezvous_accept(&inside.seg, self, connection, &offer))
		die("cannot accept");
	return a;
}

/* Sends again what it sent, as often as the client makes another socket. */
static struct peer_answer keep_sending(struct peer *client, struct accepted *a,
				       const struct offered *o)
{
	while (!peer_answered(client)) {
		if (dcm_load(&a->connection->socket, seq) == a->socket) {
			pause_ms(1);
			continue;
		}
		dcm_store(&a->connection->sent, answer_socket(a, o), release);
		dcm_park_wake_all(&a->connection->ec);
	}
	return peer_wait(client);
}

static void test_offer(const struct offered *o, enum way way)
{
	struct peer client = peer_start("client");
	struct peer_answer before, a, after;
	struct accepted accepted;
	bool refused = (o->refused >> way & 1) != 0;
	DcmHandle request;
	uint64_t connection;

	if (o->fd < 0) {
		skip("%s by %s: this kernel has no such thing", o->what, ways[way]);
		peer_end(&client);
		return;
	}
	peer_must(&client, PEER_SETENV, .name = "DCM_TRANSFER", .type = ways[way]);
	peer_must(&client, PEER_INIT);
	before = peer_must(&client, PEER_HOLDS);
	connection = peer_must(&client, PEER_CREATE, .type = TYPE, .name = "n").handle;
	if (peer_do(&client, PEER_CONNECT, .handle = connection).rc != rcTimeout)
		die("connected to nobody");
	must(DcmListen(publication, INFINITE_TIMEOUT, NULL, NULL, &request));
	accepted = accept_with(o);
	/* Were it to block in what was offered, it would never come back. */
	peer_post(&client, PEER_CONNECT, .handle = connection, .timeout = INFINITE_TIMEOUT);
	a = keep_sending(&client, &accepted, o);
	if (refused && way == SOCKET && a.rc == rcSecurityDisallow)
		is_answer(rcSecurityDisallow, &a, "%s by %s: refused", o->what, ways[way]);
	else
		is_answer(refused ? rcNotConnected : rcOk, &a, "%s by %s: %s", o->what, ways[way],
			  refused ? "refused" : "taken");
	if (a.rc == rcOk)
		peer_must(&client, PEER_KCLOSE, .handle = a.handle);
	peer_must(&client, PEER_CLOSE, .handle = connection);
	after = peer_must(&client, PEER_HOLDS);
	is_uint(before.other, after.other, "  no descriptor is left of it");
	is_uint(before.size, after.size, "  and no mapping");
	must(DcmCloseHandle(request));
	peer_must(&client, PEER_FINI);
	peer_end(&client);
}

/* By every way, and what it had is closed. */
static void offer(struct offered o)
{
	for (enum way way = getfd_is_denied() ? PROCFS : GETFD; way < WAYS; way++)
		test_offer(&o, way);
	if (o.fd >= 0)
		close(o.fd);
}

static void test_offers(void)
{
	struct offered o;
	int taken;

	offer(offer_of("a channel", new_memfd(0, SEALS, BYTES), 0));
	offer(offer_of("one without seals", new_memfd(0, 0, BYTES), EVERY));
	offer(offer_of("one that can shrink", new_memfd(0, F_SEAL_GROW | F_SEAL_SEAL, BYTES),
		       EVERY));
	offer(offer_of("one sealed against writing", new_memfd(0, SEALS | F_SEAL_WRITE, BYTES),
		       EVERY));
	offer(offer_of("one in huge pages", new_memfd(MFD_HUGETLB, SEALS, 2 << 20), EVERY));
	offer(offer_of("one of a page", new_memfd(0, SEALS, DCM_PAGE), EVERY));
	offer(offer_of("a FIFO", new_fifo(), EVERY));
	offer(offer_of("a file", new_file(), EVERY));
	offer(offer_of("a device", open("/dev/zero", O_RDWR | O_CLOEXEC), EVERY));
	offer(offer_of("an event counter", eventfd(0, EFD_CLOEXEC), EVERY));
	/* What /proc opens is another description of the same file, to be written. */
	offer(offer_of("one open for reading", reopen_read_only(new_memfd(0, SEALS, BYTES)),
		       EVERY & ~(1u << PROCFS)));

	o = offer_of("a larger size", new_memfd(0, SEALS, BYTES), EVERY);
	o.offer.bytes *= 2;
	offer(o);
	o = offer_of("another inode", new_memfd(0, SEALS, BYTES), EVERY);
	o.offer.inode++;
	offer(o);
	o = offer_of("another device", new_memfd(0, SEALS, BYTES), EVERY);
	o.offer.device++;
	offer(o);
	taken = eventfd(0, EFD_CLOEXEC);
	o = offer_of("the wrong number", new_memfd(0, SEALS, BYTES), NOT_SOCKET);
	o.offer.fd = (uint32_t)taken;
	offer(o);
	close(taken);
	o = offer_of("a number that is not open", new_memfd(0, SEALS, BYTES), NOT_SOCKET);
	o.offer.fd = 100000;
	offer(o);
	o = offer_of("a number that cannot be", new_memfd(0, SEALS, BYTES), NOT_SOCKET);
	o.offer.fd = UINT32_MAX;
	offer(o);
	o = offer_of("another nonce", new_memfd(0, SEALS, BYTES), EVERY);
	o.offer.nonce++;
	offer(o);
}

static void test_messages(void)
{
	struct offered o =
		offer_of("a message without a descriptor", new_memfd(0, SEALS, BYTES), 1 << SOCKET);

	o.message = NONE;
	test_offer(&o, SOCKET);
	o.what = "a message with another nonce";
	o.message = OTHER_NONCE;
	test_offer(&o, SOCKET);
	o.what = "a message with three descriptors";
	o.message = THREE;
	o.refused = 0;
	test_offer(&o, SOCKET);
	close(o.fd);
}

/* Calls whoever listens for a channel, as fast as it can, and hangs up late. Never returns. */
static void be_stranger(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fds[256], at = 0;

	memset(fds, -1, sizeof(fds));
	for (;;) {
		for (uint32_t i = 0; i < inside.seg.connection.count; i++) {
			uint64_t name = dcm_load(&dcm_connection_at(&inside.seg, i)->socket, seq);

			if (name == 0)
				continue;
			if (fds[at] >= 0)
				close(fds[at]);
			fds[at] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
			memcpy(address.sun_path + 1, &name, 5);
			connect(fds[at], (struct sockaddr *)&address,
				offsetof(struct sockaddr_un, sun_path) + 6);
			at = (at + 1) % 256;
		}
	}
}

/* They know each name before the server does; it gets through all the same. */
static void test_strangers(void)
{
	enum { ROUNDS = 20 };
	unsigned int connected = 0;
	struct peer client;
	struct pair pair;
	pid_t stranger;

	must(DcmInit());
	pair_open(&pair);
	stranger = fork();
	if (stranger == 0)
		be_stranger();
	for (int i = 0; i < ROUNDS; i++) {
		struct peer_answer a;
		DcmHandle request;

		client = peer_start("client");
		peer_must(&client, PEER_SETENV, .name = "DCM_TRANSFER", .type = "socket");
		peer_must(&client, PEER_INIT);
		a = peer_must(&client, PEER_CREATE, .type = PAIR_TYPE, .name = pair.name);
		peer_post(&client, PEER_CONNECT, .handle = a.handle, .timeout = INFINITE_TIMEOUT);
		must(DcmListen(pair.publication, INFINITE_TIMEOUT, NULL, NULL, &request));
		pause_ms(5); /* for its queue to fill */
		must(DcmAccept(request, pair.callable, INVALID_HANDLE));
		a = peer_wait(&client);
		connected += a.rc == rcOk;
		if (a.rc != rcOk)
			diag("  %s", a.detail);
		must(DcmCloseHandle(request));
		peer_end(&client);
	}
	is_uint(ROUNDS, connected, "clients whose sockets strangers call are all connected");
	kill(stranger, SIGKILL);
	waitpid(stranger, NULL, 0);
	pair_close(&pair);
	DcmFini();
}

int main(void)
{
	struct holdings before;

	plan_lazy();
	tap_fabric_dir();
	before = holdings_now();
	must(DcmInit());
	inside = inside_open();
	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "n", &publication));
	if (getfd_is_denied())
		skip("pidfd_getfd is denied in this environment");
	test_offers();
	test_messages();
	must(DcmCloseHandle(publication));
	DcmFini();
	test_strangers();
	inside_close(&inside);
	holdings_are(&before, "after the end");
	return 0;
}
