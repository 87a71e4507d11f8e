/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "tests/api/lib_sigbus.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

char fabric[512];

void fabric_begin(void)
{
	snprintf(fabric, sizeof(fabric), "%s/fabric", tap_fabric_dir());
}

/* Its wait status. */
static int in_child(void (*act)(void))
{
	struct rlimit none = { 0, 0 };
	int status = -1;
	pid_t pid;

	unlink(fabric);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &none);
		signal(SIGBUS, SIG_DFL); /* a sanitizer has its own */
		act();
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		sysbail("fork");
	return status;
}

void lives(void (*act)(void), const char *what)
{
	int status = in_child(act);

	if (!ok(status == 0, "%s: the process lives", what))
		diag("  wait status 0x%x", (unsigned int)status);
}

void dies(void (*act)(void), const char *what)
{
	int status = in_child(act);

	if (!ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS, "%s: dies of SIGBUS", what))
		diag("  wait status 0x%x", (unsigned int)status);
}

off_t fabric_bytes(void)
{
	struct stat st;

	if (stat(fabric, &st) < 0)
		sysbail("%s", fabric);
	return st.st_size;
}

void cut(off_t bytes)
{
	if (truncate(fabric, bytes) < 0)
		sysbail("%s", fabric);
}
