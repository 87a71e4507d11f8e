/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lib_peer - another process (helper_peer.c), which does what it is told
 *
 *	struct peer server = peer_start(NULL);
 *	struct peer_answer a = peer_do(&server, PEER_PUBLISH, .type = "t", .name = "n");
 *	peer_post(&server, PEER_LISTEN, .handle = a.handle, .timeout = INFINITE_TIMEOUT);
 *	peer_asleep(&server);
 *	peer_kill(&server);
 *
 * A peer works on one thing at a time and answers in order. Its numbers are its own.
 */
#ifndef DCM_TESTS_API_LIB_PEER_H
#define DCM_TESTS_API_LIB_PEER_H

#include "tests/api/lib_api.h"

enum peer_op {
	PEER_INIT,
	PEER_FINI,
	PEER_SETENV,	/* type = value "name" */
	PEER_PUBLISH,	/* type, name, handle (0: own) -> handle */
	PEER_LISTEN,	/* handle, timeout -> handle: request, other: client, sid, name */
	PEER_CALLABLE,	/* other: riid -> handle: callable, other: listener */
	PEER_ACCEPT,	/* handle: request, other: callable */
	PEER_CLOSE,	/* handle, DCM */
	PEER_KCLOSE,	/* handle */
	PEER_SUBSCRIBE, /* type, name (or null) -> handle */
	PEER_READ,   /* handle, timeout -> other: status, handle: server, sid, type: server, name */
	PEER_CREATE, /* type, name, other: server handle or 0, handle: client or 0 -> handle */
	PEER_CONNECT,	/* handle, timeout -> handle: session */
	PEER_LOAN,	/* handle, size, timeout: kept by the peer -> other: place */
	PEER_SEND,	/* handle, other: place, timeout */
	PEER_CALL,	/* handle, size, timeout; filled with seed, the reply is compared */
	PEER_KEEP,	/* as call, but the reply is kept -> other: place */
	PEER_RECEIVE,	/* handle, timeout -> other: place, size, status, riid in sid */
	PEER_REPLY,	/* other: place of a request; its contents come back */
	PEER_RELEASE,	/* other: place of a request or message */
	PEER_USER,	/* other: rights (0: to show itself by) -> handle */
	PEER_COPY,	/* handle (0: own), other: rights -> handle */
	PEER_REVOKE,	/* handle (0: own) */
	PEER_SID,	/* handle -> sid */
	PEER_ECHO,	/* handle: listener; receives and echoes for ever */
	PEER_DENY,	/* other: system call that is refused from now on, size: errno (0: EPERM) */
	PEER_DENY_AT,	/* from now on nothing is opened relative to a directory */
	PEER_USER_IS,	/* handle: uid and gid, without a way back */
	PEER_OTHER_NET, /* moves into a network namespace of its own, if it may */
	PEER_WHO,	/* handle -> status: verified, other: pid, size: uid, sid: gid, name */
	PEER_INFO,  /* handle -> status: transfer, size: capacity, sid: committed, other: largest */
	PEER_EXEC,  /* becomes another program, without DcmFini */
	PEER_LIMIT, /* other: RLIMIT_..., size: its soft limit; free numbers of RLIMIT_NOFILE */
	PEER_LEAVE, /* the thread that answered until now ends, another goes on */
	PEER_DUMP,  /* size: so many bytes of memory are touched, then SIGABRT with a core dump */
	PEER_HOLDS, /* -> other: descriptors, size: mappings, sid: threads */
	PEER_GROUP_PUBLISH,   /* type: interfaces "a b", name: of each, handle (0: own) -> handle */
	PEER_GROUP_LISTEN,    /* as listen -> size: place in the group, from 1 */
	PEER_GROUP_SUBSCRIBE, /* type: interfaces "a b" -> handle */
	PEER_GROUP_READ,      /* as read -> name: of the endpoints, "x y" */
	PEER_CONNECT_ANY, /* type, name (or null), timeout: of finding, handle: client or 0 -> handle */
};

/* Times are milliseconds; INFINITE_TIMEOUT waits for ever. */
struct peer_ask {
	uint32_t op;
	uint32_t timeout;
	uint64_t handle, other, size, seed;
	const char *type, *name;
};

struct peer_answer {
	Retcode rc;
	int32_t status;
	uint64_t handle, other, size, sid;
	char type[DCM_NAME_SIZE], name[DCM_NAME_SIZE];
	char detail[512];
};

/* What goes over the socket. */
struct peer_wire {
	struct peer_ask ask;
	uint32_t has_type, has_name;
	char type[DCM_NAME_SIZE], name[DCM_NAME_SIZE];
};

struct peer {
	pid_t pid;
	int fd;
};

/* Starts one; with @process_name not null under this name. It is not attached yet. */
struct peer peer_start(const char *process_name);
/* The same, attached. */
struct peer peer_attached(const char *process_name);

void peer_send(struct peer *peer, const struct peer_ask *ask);
struct peer_answer peer_wait(struct peer *peer);
struct peer_answer peer_talk(struct peer *peer, const struct peer_ask *ask);
/* An answer that must be rcOk. */
struct peer_answer peer_need(struct peer *peer, const struct peer_ask *ask);

#define peer_post(peer, ...) peer_send(peer, &(struct peer_ask){ .op = __VA_ARGS__ })
#define peer_do(peer, ...)   peer_talk(peer, &(struct peer_ask){ .op = __VA_ARGS__ })
#define peer_must(peer, ...) peer_need(peer, &(struct peer_ask){ .op = __VA_ARGS__ })

/* Whether an answer is there, without waiting. */
bool peer_answered(struct peer *peer);
/* Waits until it sleeps in what it was last told to do. */
void peer_asleep(struct peer *peer);

void peer_kill(struct peer *peer);
/* Lets it end by itself; its exit status. */
int peer_end(struct peer *peer);

/* is_rc() of an answer: the detail is the peer's. */
int is_answer(Retcode wanted, const struct peer_answer *seen, const char *format, ...)
	TAP_PRINTF(3, 4);

/* Whether pidfd_getfd is refused already, between processes of one user. */
bool getfd_is_denied(void);

/* Whether this process may be that user: root, unless a user namespace does not have that one. */
bool can_be_user(unsigned int user);

/* A filter of system calls for this thread, or with @all_threads for the process: EPERM. */
int deny_system_call(long number, bool all_threads);
int deny_with_error(long number, int error, bool all_threads);
/* The same for openat() with a directory's descriptor: EACCES. */
int deny_open_at(bool all_threads);

#endif
