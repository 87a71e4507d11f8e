/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "tests/api/lib_peer.h"

#include <errno.h>
#include <grp.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct peer peer_start(const char *process_name)
{
	const char *path = tap_helper("peer");
	char *argv[] = { (char *)(uintptr_t)path, (char *)(uintptr_t)process_name, NULL };
	posix_spawn_file_actions_t actions;
	struct peer peer;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		sysbail("socketpair");
	posix_spawn_file_actions_init(&actions);
	/* glibc takes the close-on-exec flag off, also of one that is 3 already. */
	posix_spawn_file_actions_adddup2(&actions, fds[1], 3);
	errno = posix_spawn(&peer.pid, path, &actions, NULL, argv, environ);
	if (errno != 0)
		sysbail("%s", path);
	posix_spawn_file_actions_destroy(&actions);
	close(fds[1]);
	peer.fd = fds[0];
	return peer;
}

struct peer peer_attached(const char *process_name)
{
	struct peer peer = peer_start(process_name);

	peer_must(&peer, PEER_INIT);
	return peer;
}

static void copy_name(char *to, const char *from, uint32_t *has)
{
	*has = from != NULL;
	if (from != NULL)
		snprintf(to, DCM_NAME_SIZE, "%s", from);
}

void peer_send(struct peer *peer, const struct peer_ask *ask)
{
	struct peer_wire wire = { .ask = *ask };

	copy_name(wire.type, ask->type, &wire.has_type);
	copy_name(wire.name, ask->name, &wire.has_name);
	if (send(peer->fd, &wire, sizeof(wire), MSG_NOSIGNAL) != sizeof(wire))
		sysdiag("  telling peer %d", (int)peer->pid);
}

struct peer_answer peer_wait(struct peer *peer)
{
	struct peer_answer answer = { .rc = rcFail };
	ssize_t bytes;

	do
		bytes = recv(peer->fd, &answer, sizeof(answer), 0);
	while (bytes < 0 && errno == EINTR);
	if (bytes != sizeof(answer)) {
		answer.rc = rcFail;
		snprintf(answer.detail, sizeof(answer.detail), "(the peer is gone)");
	}
	return answer;
}

struct peer_answer peer_talk(struct peer *peer, const struct peer_ask *ask)
{
	peer_send(peer, ask);
	return peer_wait(peer);
}

struct peer_answer peer_need(struct peer *peer, const struct peer_ask *ask)
{
	struct peer_answer answer = peer_talk(peer, ask);

	if (answer.rc != rcOk)
		die("peer's operation %u is %s: %s", ask->op, RetcodeName(answer.rc),
		    answer.detail);
	return answer;
}

bool peer_answered(struct peer *peer)
{
	struct pollfd fd = { .fd = peer->fd, .events = POLLIN };

	return poll(&fd, 1, 0) == 1;
}

void peer_asleep(struct peer *peer)
{
	if (!process_asleep(peer->pid))
		die("peer %d does not sleep", (int)peer->pid);
}

void peer_kill(struct peer *peer)
{
	kill(peer->pid, SIGKILL);
	while (waitpid(peer->pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(peer->fd);
	peer->fd = -1;
}

int peer_end(struct peer *peer)
{
	int status = 0;

	shutdown(peer->fd, SHUT_RDWR);
	while (waitpid(peer->pid, &status, 0) < 0 && errno == EINTR)
		;
	close(peer->fd);
	peer->fd = -1;
	return status;
}

int is_answer(Retcode wanted, const struct peer_answer *seen, const char *format, ...)
{
	bool good = wanted == seen->rc && (seen->rc == rcOk || seen->detail[0] != '\0');
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	ok(good, "%s: %s", text, RetcodeName(wanted));
	if (!good)
		diag("  seen: %s, detail: %s", RetcodeName(seen->rc), seen->detail);
	return good;
}

bool can_be_user(unsigned int user)
{
	int status = -1;
	pid_t pid;

	if (user == geteuid())
		return true;
	pid = fork();
	if (pid == 0)
		_exit(setgroups(0, NULL) < 0 || setresgid(user, user, user) < 0 ||
		      setresuid(user, user, user) < 0);
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

bool getfd_is_denied(void)
{
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	int fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, pidfd, 0);

	if (fd >= 0)
		close(fd);
	if (pidfd >= 0)
		close(pidfd);
	return fd < 0;
}

static int install(const struct sock_fprog *program, bool all_threads)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			    all_threads ? SECCOMP_FILTER_FLAG_TSYNC : 0, program);
}

int deny_system_call(long number, bool all_threads)
{
	return deny_with_error(number, EPERM, all_threads);
}

int deny_with_error(long number, int error, bool all_threads)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = sizeof(filter) / sizeof(filter[0]), .filter = filter };

	return install(&program, all_threads);
}

int deny_open_at(bool all_threads)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)AT_FDCWD, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = sizeof(filter) / sizeof(filter[0]), .filter = filter };

	return install(&program, all_threads);
}
