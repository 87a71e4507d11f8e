/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs a command in an environment that has less than this one:
 *
 *	helper_confine [OPTION]... -- COMMAND [ARGUMENT]...
 *
 *	--user			as user and group 65534, if it is root now
 *	--namespaces		in a new user, PID, network and mount namespace, with their own /proc
 *	--shm=SIZE		with a /dev/shm of that size (tmpfs: 64K), in a mount namespace
 *	--tmpfs=DIRECTORY	likewise with a tmpfs of 64 MiB there
 *	--seccomp=docker	with the capabilities and system calls that Docker leaves by default
 *	--kernel=6.1		without what came to the kernel after 6.1, as far as the library asks
 *	--deny=NAME,...:ERRNO	without these system calls; any number of times
 *
 * Its status is the command's; 77, with a line that says why: there is no such environment here.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/env/env_seccomp.h"
#include "tests/tap.h"

enum { NOT_TO_BE_HAD = 77, NOBODY = 65534 };

struct wanted {
	bool user, namespaces, docker, old_kernel;
	const char *shm, *tmpfs;
};

static void not_to_be_had(const char *format, ...) TAP_PRINTF(1, 2) __attribute__((noreturn));
static void not_to_be_had(const char *format, ...)
{
	const char *error = strerrordesc_np(errno);
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, ": %s\n", error != NULL ? error : "unknown error");
	exit(NOT_TO_BE_HAD);
}

static void write_map(const char *path, unsigned int id)
{
	char line[64];
	int length = snprintf(line, sizeof line, "%u %u 1\n", id, id);
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, line, (size_t)length) != length)
		not_to_be_had("%s", path);
	close(fd);
}

static void deny_setgroups(void)
{
	int fd = open("/proc/self/setgroups", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "deny", 4) != 4)
		not_to_be_had("/proc/self/setgroups");
	close(fd);
}

/* The same user inside, with all rights there until execve. */
static void enter_namespaces(int more)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS | more) < 0)
		not_to_be_had("no new user and mount namespace");
	deny_setgroups();
	write_map("/proc/self/uid_map", uid);
	write_map("/proc/self/gid_map", gid);
}

static void keep_mounts_here(void)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		not_to_be_had("mounts cannot be made private");
}

static void mount_tmpfs(const char *where, const char *size)
{
	char options[64];

	snprintf(options, sizeof options, "mode=1777,size=%s", size);
	if (mount("tmpfs", where, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
		not_to_be_had("no tmpfs can be mounted on %s", where);
}

static int status_of(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* This process stays outside; the child goes on as number 1 of the new PID namespace. */
static void become_init(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid < 0)
		not_to_be_had("no process in a new PID namespace");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
			not_to_be_had("no /proc of a new PID namespace can be mounted");
		return;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	exit(status_of(status));
}

static void become_nobody(void)
{
	if (geteuid() != 0)
		return;
	if (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
		not_to_be_had("cannot become user %d", NOBODY);
}

/* What a container of Docker's has, in its order of numbers. */
static void drop_capabilities(void)
{
	static const int kept[] = { CAP_CHOWN,	     CAP_DAC_OVERRIDE, CAP_FOWNER,
				    CAP_FSETID,	     CAP_KILL,	       CAP_SETGID,
				    CAP_SETUID,	     CAP_SETPCAP,      CAP_NET_BIND_SERVICE,
				    CAP_NET_RAW,     CAP_SYS_CHROOT,   CAP_MKNOD,
				    CAP_AUDIT_WRITE, CAP_SETFCAP };

	if (geteuid() != 0)
		return;
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
		bool keep = false;

		for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
			keep = keep || kept[i] == cap;
		if (!keep && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			not_to_be_had("capability %d cannot be dropped", cap);
	}
}

/* Numbers of pidfds tell processes apart since 6.9; a filter of system calls cannot undo that. */
static void preload_pidfd(void)
{
	char path[4096];
	ssize_t bytes = readlink("/proc/self/exe", path, sizeof path - 32);
	char *slash;

	path[bytes > 0 ? bytes : 0] = '\0';
	slash = strrchr(path, '/');
	if (slash == NULL)
		not_to_be_had("/proc/self/exe");
	strcpy(slash + 1, "preload_pidfd.so");
	if (access(path, R_OK) < 0)
		not_to_be_had("%s", path);
	setenv("LD_PRELOAD", path, 1);
}

/* As process 1: the command, and whoever is left to it. */
static int run_as_init(char **argv)
{
	int status = 0, result = -1;
	pid_t command = fork(), pid;

	if (command < 0)
		not_to_be_had("fork");
	if (command == 0) {
		execvp(argv[0], argv);
		not_to_be_had("%s", argv[0]);
	}
	while ((pid = wait(&status)) > 0 || errno == EINTR) {
		if (pid == command) {
			result = status_of(status);
			break; /* the end of process 1 ends the others */
		}
	}
	return result;
}

static void parse(int argc, char **argv, struct wanted *wanted, struct env_filter *filter)
{
	static const struct option options[] = {
		{ "user", no_argument, NULL, 'u' },
		{ "namespaces", no_argument, NULL, 'n' },
		{ "shm", required_argument, NULL, 's' },
		{ "tmpfs", required_argument, NULL, 't' },
		{ "seccomp", required_argument, NULL, 'f' },
		{ "kernel", required_argument, NULL, 'k' },
		{ "deny", required_argument, NULL, 'd' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		bool good = true;

		switch (c) {
		case 'u':
			wanted->user = true;
			break;
		case 'n':
			wanted->namespaces = true;
			break;
		case 's':
			wanted->shm = optarg;
			break;
		case 't':
			wanted->tmpfs = optarg;
			break;
		case 'f':
			wanted->docker = good = strcmp(optarg, "docker") == 0;
			break;
		case 'k':
			wanted->old_kernel = good = strcmp(optarg, "6.1") == 0;
			break;
		case 'd':
			good = env_filter_deny(filter, optarg);
			break;
		default:
			exit(2);
		}
		if (!good) {
			fprintf(stderr, "helper_confine: what is \"%s\"?\n", optarg);
			exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	struct env_filter filter = { .count = 0 };
	struct wanted wanted = { .user = false };

	parse(argc, argv, &wanted, &filter);
	if (optind >= argc)
		return 2;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (wanted.namespaces)
		enter_namespaces(CLONE_NEWPID | CLONE_NEWNET);
	else if ((wanted.shm != NULL || wanted.tmpfs != NULL) && unshare(CLONE_NEWNS) < 0)
		enter_namespaces(0);
	if (wanted.namespaces || wanted.shm != NULL || wanted.tmpfs != NULL)
		keep_mounts_here();
	if (wanted.namespaces)
		become_init();
	if (wanted.shm != NULL)
		mount_tmpfs("/dev/shm", wanted.shm);
	if (wanted.tmpfs != NULL)
		mount_tmpfs(wanted.tmpfs, "64M");
	if (wanted.user)
		become_nobody();
	if (wanted.docker) {
		drop_capabilities();
		env_filter_docker(&filter);
	}
	if (wanted.old_kernel) {
		preload_pidfd();
		env_filter_kernel_6_1(&filter);
	}
	if (!env_filter_load(&filter))
		not_to_be_had("no seccomp filter can be set");
	if (wanted.namespaces)
		return run_as_init(argv + optind);
	execvp(argv[optind], argv + optind);
	not_to_be_had("%s", argv[optind]);
}
