/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "tests/api/lib_elsewhere.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOT_TO_BE_HAD = 77, COMMANDS = 3 };

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return good;
}

bool elsewhere_enter(int namespaces)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char map[64];

	if ((namespaces & CLONE_NEWUSER) == 0 && unshare(namespaces) == 0)
		return true;
	if (unshare(namespaces | CLONE_NEWUSER) < 0 || !write_text("/proc/self/setgroups", "deny"))
		return false;
	snprintf(map, sizeof(map), "%u %u 1\n", uid, uid);
	if (!write_text("/proc/self/uid_map", map))
		return false;
	snprintf(map, sizeof(map), "%u %u 1\n", gid, gid);
	return write_text("/proc/self/gid_map", map);
}

static void become_peer(int fd, const char *path)
{
	/* A dup2() to itself would leave the close-on-exec flag. */
	if (fd == COMMANDS)
		fcntl(fd, F_SETFD, 0);
	else
		dup2(fd, COMMANDS);
	execl(path, path, (char *)NULL);
	_exit(NOT_TO_BE_HAD);
}

/* In a child: what is between it and the peer. */
static void start_there(int fd, const char *path, int namespaces, uid_t uid)
{
	int status = 0;
	pid_t pid;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (namespaces != 0 && !elsewhere_enter(namespaces))
		_exit(NOT_TO_BE_HAD);
	if (uid != 0 && (setgroups(0, NULL) < 0 || setgid(uid) < 0 || setuid(uid) < 0))
		_exit(NOT_TO_BE_HAD);
	if ((namespaces & CLONE_NEWPID) == 0)
		become_peer(fd, path);
	pid = fork();
	if (pid == 0)
		become_peer(fd, path);
	close(fd);
	if (waitpid(pid, &status, 0) != pid)
		_exit(NOT_TO_BE_HAD);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

/* It answers, or it is gone. */
static bool is_there(struct peer *peer)
{
	struct peer_answer answer = peer_do(peer, PEER_HOLDS);
	int status = 0;

	if (answer.rc == rcOk)
		return true;
	waitpid(peer->pid, &status, 0);
	close(peer->fd);
	errno = EPERM;
	return false;
}

bool peer_start_elsewhere(struct peer *peer, int namespaces, uid_t uid)
{
	const char *path = tap_helper("peer");
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		sysbail("socketpair");
	peer->pid = fork();
	if (peer->pid < 0)
		sysbail("fork");
	if (peer->pid == 0)
		start_there(fds[1], path, namespaces, uid);
	close(fds[1]);
	peer->fd = fds[0];
	return is_there(peer);
}

static void process_one(void (*run)(void))
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		_exit(NOT_TO_BE_HAD);
	run();
	_exit(0);
}

bool as_process_one(void (*run)(void))
{
	pid_t outer = fork(), inner;
	int status = 0;

	if (outer == 0) {
		if (!elsewhere_enter(CLONE_NEWPID | CLONE_NEWNS))
			_exit(NOT_TO_BE_HAD);
		inner = fork();
		if (inner == 0)
			process_one(run);
		waitpid(inner, &status, 0);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
	}
	waitpid(outer, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_TO_BE_HAD)
		return false;
	is_int(0, status, "process 1 of a PID namespace ends in order");
	return true;
}

bool peer_start_as(struct peer *peer, pid_t pid)
{
	const char *path = tap_helper("peer");
	struct clone_args args = { .exit_signal = SIGCHLD,
				   .set_tid = (uintptr_t)&pid,
				   .set_tid_size = 1 };
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		sysbail("socketpair");
	peer->pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (peer->pid == 0)
		become_peer(fds[1], path);
	close(fds[1]);
	peer->fd = fds[0];
	if (peer->pid > 0)
		return true;
	close(fds[0]);
	return false;
}
