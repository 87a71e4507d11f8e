/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What only Linux needs: names of codes, details of errors, the process's name, the version, who a
 * peer is, what a session's channel is, which endpoints there are, and what to do when the segment
 * is truncated.
 *
 * All may be called from any thread at any time, but only RetcodeName() and DcmVersion() from a
 * signal handler.
 */
#ifndef DCM_FABRIC_H
#define DCM_FABRIC_H

#include <dcm/types.h>

DCM_BEGIN_DECLS

/**
 * RetcodeName() - the name of a result code
 * @rc: any number
 *
 * Threads:  any; also in a signal handler.
 * Blocks:   no.
 * Progress: wait-free.
 * Memory:   the text is constant.
 * Return:   "rcNotConnected" and so on; never null, also for a number that is no code.
 * Origin:   ours.
 */
DCM_API const char *RetcodeName(Retcode rc);

/**
 * DcmLastDetail() - what more is known about this thread's last error
 *
 * Threads:  any; each has its own.
 * Blocks:   no.
 * Progress: wait-free.
 * Memory:   one line of text, valid until the thread's next call into the library.
 * Return:   never null; empty if the thread had no error yet.
 * Origin:   ours.
 */
DCM_API const char *DcmLastDetail(void);

/**
 * DcmVersion() - the version of the library in use
 *
 * Threads:  any; also in a signal handler.
 * Blocks:   no.
 * Progress: wait-free.
 * Memory:   none.
 * Return:   major << 16 | minor << 8 | patch.
 * Origin:   ours.
 */
DCM_API uint32_t DcmVersion(void);

/**
 * DcmSetProcessName() - the name by which peers see this process
 * @name: 1 to 255 bytes
 *
 * To be called before DcmInit(). The environment variable DCM_PROCESS_NAME comes first; without
 * either it is the program's short name.
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: no other process is asked.
 * Memory:   the name is copied.
 * Return:   rcOk; rcInvalidArgument (the name); rcInvalidOperation (after DcmInit()).
 * Origin:   ours; in the original the system's description names processes.
 */
DCM_API Retcode DcmSetProcessName(const char *name);

/**
 * DcmGuardSegment() - live on when the fabric's segment is truncated
 *
 * Whoever may write the fabric's file may truncate it, and the kernel then sends SIGBUS to every
 * process that touches what is gone; without a guard that is its end. This installs a handler of
 * SIGBUS, for the whole process, that acts on one thing: an access to the mapped segment that failed
 * (BUS_ADRERR, also when a hole in the file cannot be filled, and BUS_MCEERR_AR, broken memory).
 * It puts zero pages where the segment was. For this process the fabric is lost then: calls that
 * are blocked, and all later ones that need the fabric, end with rcFail. Calls that were inside the
 * segment at that moment may still answer as if their peer were gone. Handles can be closed,
 * messages read and released, requests that were received be answered (channels are files of their
 * own, which nobody can truncate), and DcmFini() works. When all handles of the fabric are closed,
 * sessions and listeners too, DcmInit() attaches anew, once the file is removed or whole.
 *
 * Every other SIGBUS goes to the action that was there before, as it would have gone: to a handler
 * with its mask and flags; ignored, where it can be; or the process dies of it. Call this after
 * the program's own handler of SIGBUS is installed. A handler that is installed later stands in
 * front and stays there; it should call the one before for what is not its own. Not to be called
 * while another thread sets the action of SIGBUS.
 *
 * Once is enough, before DcmInit() or after; again changes nothing, and puts the guard back where
 * the program has since set SIG_DFL, SIG_IGN or the handler that was there before. A forked child
 * has it too; execve ends it, and so nothing ever takes it away again. A thread that blocks SIGBUS
 * is not guarded: the kernel ends the process when it faults. The library's own thread no longer
 * blocks it, so one that is sent to the process by kill() may run its handler there.
 *
 * Threads:  any; DcmInit() is not needed.
 * Blocks:   until the library's own thread has taken note; it is not waiting for others then.
 * Progress: no other process is asked. What is blocked is told at once if any thread touches what is
 *           gone, else within a second.
 * Memory:   as much as the segment, as far as it is touched, when it is lost.
 * Return:   rcOk; rcInvalidOperation: another handler stands in front of the guard, and stays;
 *           rcOutOfMemory; rcFail.
 * Origin:   ours.
 */
DCM_API Retcode DcmGuardSegment(void);

/**
 * DcmInterruptCall() - end what is blocked on a session or a listener
 * @handle: a session (DcmLoan, DcmCall, DcmStart, DcmFinish, DcmSend) or a listener (DcmReceive)
 *
 * As DcmInterruptBlockingCall() for DCM handles: every call that is blocked on the handle ends with
 * rcIpcInterrupt; if none is, the next call that would block on it does, once.
 *
 * Threads:  any; DcmInit() is not needed.
 * Blocks:   no.
 * Progress: lock-free.
 * Memory:   what the caller stored before is visible to the thread whose call ends.
 * Return:   rcOk.
 * Origin:   ours.
 */
DCM_API Retcode DcmInterruptCall(Handle handle);

/* How a call waits for what is not there yet. */
#define DCM_WAIT_ADAPTIVE 0u /* looks for a while, if that has been of use, then sleeps */
#define DCM_WAIT_SPIN	  1u /* looks again and again, and sleeps late or never */
#define DCM_WAIT_SLEEP	  2u /* sleeps at once */

/**
 * DcmSetWaitPolicy() - how calls on a session or a listener wait
 * @handle: a session: for all handles on it in this process; a listener; or INVALID_HANDLE: for all
 *          sessions and listeners of the process that have no policy of their own
 * @policy: DCM_WAIT_ADAPTIVE, DCM_WAIT_SPIN or DCM_WAIT_SLEEP
 * @spinNs: nanoseconds that a call looks before it sleeps; negative: as the policy says. With
 *          DCM_WAIT_ADAPTIVE it is the most, and negative is about what a sleep and a wake take;
 *          with DCM_WAIT_SPIN negative is for ever; with DCM_WAIT_SLEEP it does not matter
 *
 * A call that looks needs a processor all the time, and wakes within a cache line's way; one that
 * sleeps needs none, and is woken by a system call of its peer's. DCM_WAIT_ADAPTIVE learns: where
 * looking has been in vain, since the peer is slow or waits for the same processor, it sleeps at
 * once, and tries again now and then. DCM_WAIT_SPIN is for a processor that has nothing else to do:
 * where the peer needs that very processor, it waits until the kernel gives it a turn.
 *
 * DcmConnect() of a request that a server has waits by the process's policy too, for longer, since the
 * server may have to be woken; with DCM_WAIT_SPIN as with DCM_WAIT_ADAPTIVE, for in the end it sleeps.
 *
 * What is not said here is said by the environment variable DCM_WAIT at DcmInit(), and else is
 * DCM_WAIT_ADAPTIVE. Calls that are blocked already go on as they began. Whatever the policy, a call
 * ends with what it waited for, its time, an interruption, or its peer's death.
 *
 * Threads:  any; DcmInit() is not needed.
 * Blocks:   no.
 * Progress: wait-free.
 * Memory:   none.
 * Return:   rcOk; rcInvalidArgument (no such policy; another kind of handle); rcHandleRevoked.
 * Origin:   ours.
 */
DCM_API Retcode DcmSetWaitPolicy(Handle handle, uint32_t policy, int64_t spinNs);

/**
 * DcmGetFd() - a descriptor by which an event loop waits for a handle
 * @handle: a subscription (DcmReadPubQueue), publication (DcmListen), connection (DcmConnect),
 *          listener (DcmReceive), session (DcmFinish of DCM_ANY_CALL), or notice (KnNoticeGetEvent)
 * @outFd:  the descriptor, the same each time; -1 unless rcOk
 *
 * It is readable (POLLIN, EPOLLIN) no later than the call would return anything but rcTimeout:
 * something to take, a refusal, a death, an interruption. Make the call then, with timeout 0, until
 * it gives rcTimeout: that clears the descriptor, and is needed once too if it is readable although
 * another call took what there was. (A notice's is cleared already by the call that takes its last
 * event.) A program that takes one thing each time it is readable is woken again for the next,
 * unless it asked for EPOLLET or EPOLLONESHOT. A session whose server is gone stays readable: close it.
 *
 *	DcmGetFd(listener, &fd);
 *	epoll_ctl(loop, EPOLL_CTL_ADD, fd, &(struct epoll_event){ .events = EPOLLIN });
 *	while (epoll_wait(loop, &event, 1, -1) == 1)
 *		while (DcmReceive(listener, 0, &request) == rcOk)
 *			...
 *
 * poll, select, epoll and io_uring may wait on it; it is the library's, which writes, reads and
 * closes it. It is closed with its handle, DCM handles also by the last DcmFini(): take it out of the
 * loop before. A poll() or select() that is in progress then is woken; an epoll_wait() is not, as the
 * kernel takes what is closed out of the set without a word. It is closed by execve. A forked child
 * that inherits it must not use it.
 *
 * It costs nothing before it is asked for. From then on the library's thread makes it readable, woken
 * by whoever changes something, and looks around once a second for those who died or were stopped
 * before they could wake it.
 *
 * Threads:  any; DcmInit() is not needed for a listener, session or notice.
 * Blocks:   no.
 * Progress: no other process is asked.
 * Memory:   a descriptor until the handle is closed.
 * Return:   rcOk; rcInvalidArgument (a handle of another kind); rcNotConnected (before DcmInit(), for
 *           a DCM handle); rcQuotaExceeded (descriptors of the process or the system);
 *           rcHandleRevoked.
 * Origin:   ours.
 */
DCM_API Retcode DcmGetFd(uint64_t handle, int *outFd);

/*
 * Structures that may grow begin with structSize: the caller sets it to sizeof before the call. What
 * the caller's version has and the library does not know is set to zero.
 */

/* Who is on the other side. */
typedef struct DcmPeer {
	uint32_t structSize;
	uint32_t verified; /* 1: the kernel says so (the name apart); 0: that process says so itself */
	int32_t pid;	   /* 0 with verified 1: of a PID namespace that cannot be seen from here */
	uint32_t uid;
	uint32_t gid;
	uint32_t reserved;
	char name[DCM_NAME_SIZE]; /* what it calls itself */
} DcmPeer;

/**
 * DcmGetPeer() - who is on the other side of a request, a connection or a session
 * @handle:  a request (from DcmListen()): the client; a connection (from DcmCreateConnection()): the
 *           server that has its request, or that serverHandle names; a session: the server
 * @outPeer: with structSize set
 *
 * What a participant claims stands in the fabric, which every participant may write. The kernel
 * vouches for a peer where the channel is handed over by socket, which each side then makes sure of:
 * always in a fabric that is open to several users, else with DCM_TRANSFER=socket or where nothing
 * else is permitted. On a session it is then verified always. On a request it is verified before
 * DcmAccept(), because the client listens already; DcmAccept() then hands the channel to that very
 * process, or to none. (A stranger who floods the client's socket at that moment can make the
 * answer a claim: verified says so, and a later call asks again.)
 *
 * The kernel tells of the effective user and group of the process when it sent its request
 * (DcmConnect()) or handed the channel over (DcmAccept()); it may have changed them since, or have
 * ended. Numbers are those of the caller's namespaces if verified, else of the peer's.
 *
 * Threads:  any; DcmInit() is not needed for a session.
 * Blocks:   no.
 * Progress: the other process is not waited for.
 * Memory:   *@outPeer is written on rcOk only.
 * Return:   rcOk; rcInvalidArgument (structSize); rcNotConnected (before DcmInit(), for a request or
 *           a connection; no server has the connection's request yet).
 * Origin:   ours.
 */
DCM_API Retcode DcmGetPeer(uint64_t handle, DcmPeer *outPeer);

/* What a session's channel is. */
typedef struct DcmSessionInfo {
	uint32_t structSize;
	uint32_t transfer;     /* how its memory came: 1 pidfd_getfd, 2 through /proc, 3 by socket */
	size_t capacityBytes;  /* of its file, both sides' rooms together; the server sets it */
	size_t committedBytes; /* of it that the kernel has given memory for, as each side last said */
	size_t largestLoan;    /* the largest size that DcmLoan() can ever give */
} DcmSessionInfo;

/**
 * DcmGetSessionInfo() - what a session's channel is, and how its memory came
 * @session: a session
 * @outInfo: with structSize set
 *
 * Threads:  any; DcmInit() is not needed.
 * Blocks:   no.
 * Progress: no other process is asked.
 * Memory:   *@outInfo is written on rcOk only.
 * Return:   rcOk, also when the server is gone; rcInvalidArgument (structSize).
 * Origin:   ours.
 */
DCM_API Retcode DcmGetSessionInfo(Handle session, DcmSessionInfo *outInfo);

/* One published endpoint. */
typedef struct DcmEndpointInfo {
	uint32_t structSize;
	int32_t pid;  /* of the server's process, as it says itself, in its PID namespace */
	uint32_t uid; /* likewise */
	uint32_t reserved;
	Sid server; /* of the handle that it is published under */
	char endpointType[DCM_NAME_SIZE];
	char endpointName[DCM_NAME_SIZE];
	char serverName[DCM_NAME_SIZE];
} DcmEndpointInfo;

/**
 * DcmEnumEndpoints() - which endpoints are published now
 * @endpointType: only those of this interface, or null: all
 * @capacity:     elements of @out; 0: count only
 * @out:          or null if @capacity is 0; of the array's elements the first has structSize set,
 *                which is then also how far they are apart; the library sets that of the others
 * @outCount:     how many there are, also with rcBufferTooSmall: in @out if they all fit
 *
 * In no particular order. Each element is whole: of one endpoint, and of its own time. What is
 * published all the time that the call takes is there, once; what comes or goes meanwhile may be
 * there or not, so that a second call with the count of the first may again be told of more.
 * Nothing is of a process that is known to be dead, and nothing has a name that is none, which
 * another participant may have scribbled there. To be told of what comes and goes is what
 * DcmSetSubscription() is for.
 *
 *	size_t room = 0, count;
 *	DcmEndpointInfo *all = NULL;
 *
 *	while (DcmEnumEndpoints(NULL, room, all, &count) == rcBufferTooSmall) {
 *		room = count + 8;
 *		free(all);
 *		all = calloc(room, sizeof(*all));
 *		if (all == NULL)
 *			break;
 *		all[0].structSize = sizeof(*all);
 *	}
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: wait-free; bounded by the fabric's table of endpoints.
 * Memory:   writes @out[0] to @out[count - 1] on rcOk; on rcBufferTooSmall all of @out, to no use.
 * Return:   rcOk; rcBufferTooSmall (with the count that is needed, if nothing changes);
 *           rcNotConnected (before DcmInit()); rcInvalidArgument (a name; structSize).
 * Origin:   ours.
 */
DCM_API Retcode DcmEnumEndpoints(const char *endpointType, size_t capacity, DcmEndpointInfo *out,
				 size_t *outCount);

DCM_END_DECLS

#endif
