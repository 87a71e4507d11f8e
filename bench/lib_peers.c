/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "bench/lib_peers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/lib_child.h"

enum { EXIT_ABSENT = 77, EXIT_CANNOT = 78, ARGUMENTS = 20, ARGUMENT_BYTES = 64 };

/* What a run may take besides its time; a victim writes its memory slower than this. */
enum { SLACK_MS = 15 * 1000, END_MS = 5000, RESIDENT_BYTES_A_MS = 1 << 16 };

/* The directory of the programs: beside this one. */
static const char *programs(void)
{
	static char path[512];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 16);
	char *slash;

	path[length < 0 ? 0 : length] = '\0';
	slash = strrchr(path, '/');
	if (slash == NULL)
		bench_fail("/proc/self/exe: where am I?");
	strcpy(slash, "/bench");
	return path;
}

/* The program's own, which dies with us; what it leaves it takes away when it is told to end. */
static void become(const char *path, char **arguments, int out)
{
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	execv(path, arguments);
	_exit(EXIT_ABSENT);
}

/* Return: how much it says until it ends, or until then. */
static size_t read_until(int from, char *text, size_t size, int64_t until_ns)
{
	struct pollfd ready = { .fd = from, .events = POLLIN };
	size_t used = 0;

	while (used < size) {
		int64_t left_ms = (until_ns - bench_now()) / 1000000;
		int seen = poll(&ready, 1, left_ms < 0 ? 0 : (int)left_ms);
		ssize_t got = seen > 0 ? read(from, text + used, size - used) : 0;

		bench_check_ended();
		if (got > 0)
			used += (size_t)got;
		else if (seen == 0 || (seen > 0 && (got == 0 || errno != EINTR)))
			break;
	}
	return used;
}

/* One that does not end is told to, and then killed. */
static int end_of(pid_t pid, int64_t until_ns)
{
	int status = 0, signal_number = SIGTERM;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		bench_check_ended();
		bench_nap(1000 * 1000);
		if (bench_now() < until_ns)
			continue;
		kill(pid, signal_number);
		signal_number = SIGKILL;
		until_ns = bench_now() + END_MS * INT64_C(1000000);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Return: its exit status, or -1. @text: all that it said. */
static int run_program(const char *name, char **arguments, char *text, size_t size, uint32_t ms)
{
	char path[640];
	int64_t until_ns = bench_now() + ms * INT64_C(1000000);
	int both[2], status;
	size_t used;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/%s", programs(), name);
	if (pipe2(both, O_CLOEXEC) < 0)
		bench_fail("pipe: %s", strerror(errno));
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		bench_fail("fork: %s", strerror(errno));
	if (pid == 0)
		become(path, arguments, both[1]);
	close(both[1]);
	used = read_until(both[0], text, size - 1, until_ns);
	text[used] = '\0';
	status = end_of(pid, until_ns);
	close(both[0]);
	if (bench_now() > until_ns)
		snprintf(text, size, "it was not through after %u ms", ms);
	return status;
}

static bool describe(const char *name, struct peer_is *peer)
{
	char *arguments[] = { (char *)(uintptr_t)name, (char *)(uintptr_t) "describe", NULL };
	char text[512];
	int kind, absent;

	if (run_program(name, arguments, text, sizeof(text), SLACK_MS) != 0 ||
	    sscanf(text, "%31[^\t]\t%d\t%d\t%63[^\t]\t%159[^\n]", peer->name, &kind, &absent,
		   peer->package, peer->what) != 5)
		return false;
	peer->kind = (enum peers_kind)kind;
	peer->absent = absent != 0;
	return true;
}

static int by_kind(const void *a, const void *b)
{
	const struct peer_is *x = a, *y = b;

	return x->kind != y->kind ? (int)x->kind - (int)y->kind : strcmp(x->name, y->name);
}

static bool is_wanted(const char *wanted, const char *name)
{
	size_t length = strlen(name);

	for (const char *at = wanted; at != NULL && *at != '\0'; at += strspn(at, ",")) {
		size_t item = strcspn(at, ",");

		if (item == length && strncmp(at, name, length) == 0)
			return true;
		at += item;
	}
	return wanted == NULL;
}

/* All that were asked for are there. */
static void check_wanted(const struct peers *peers, const char *wanted)
{
	for (const char *at = wanted; at != NULL && *at != '\0'; at += strspn(at, ",")) {
		int item = (int)strcspn(at, ",");
		unsigned i = 0;

		while (i < peers->count && ((int)strlen(peers->is[i].name) != item ||
					    strncmp(at, peers->is[i].name, (size_t)item) != 0))
			i++;
		if (i == peers->count)
			bench_fail("--peers: there is no \"%.*s\"", item, at);
		at += item;
	}
}

void peers_find(struct peers *peers, const char *wanted)
{
	DIR *directory = opendir(programs());
	struct dirent *entry;

	if (directory == NULL)
		bench_fail("%s: %s (ninja builds the peers there)", programs(), strerror(errno));
	peers->count = 0;
	while ((entry = readdir(directory)) != NULL && peers->count < PEERS_MAX) {
		struct peer_is *peer = &peers->is[peers->count];

		if (strchr(entry->d_name, '.') == NULL && is_wanted(wanted, entry->d_name) &&
		    describe(entry->d_name, peer))
			peers->count++;
	}
	closedir(directory);
	check_wanted(peers, wanted);
	qsort(peers->is, peers->count, sizeof(peers->is[0]), by_kind);
}

/* Arguments for one program. */
struct arguments {
	char text[ARGUMENTS][ARGUMENT_BYTES];
	char *of[ARGUMENTS + 2];
	unsigned count;
};

static void put(struct arguments *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct arguments *a, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(a->text[a->count], ARGUMENT_BYTES, format, list);
	va_end(list);
	a->of[a->count + 1] = a->text[a->count];
	a->count++;
}

static void put_number(struct arguments *a, const char *key, uint64_t number)
{
	if (number != 0)
		put(a, "%s=%llu", key, (unsigned long long)number);
}

/* Libraries say things of their own. False: there is no result. */
static bool keep_result(char *text)
{
	char *result = strstr(text, "{\"peer\": ");

	if (result == NULL)
		return false;
	result[strcspn(result, "\n")] = '\0';
	memmove(text, result, strlen(result) + 1);
	return true;
}

enum run_state peers_run(const struct peer_is *peer, const struct cell *cell, char *line)
{
	struct arguments a = { .count = 0 };
	int status;

	line[0] = '\0';
	if (peer->absent)
		return RUN_ABSENT;
	a.of[0] = (char *)(uintptr_t)peer->name;
	put(&a, "what=%s", cell->what);
	put(&a, "wait=%s", cell->wait);
	put(&a, "cpus=%u,%u", cell->place.near, cell->place.far);
	put_number(&a, "size", cell->size);
	put_number(&a, "footprint", cell->footprint);
	put_number(&a, "resident", cell->resident);
	put_number(&a, "clients", cell->clients);
	put_number(&a, "servers", cell->servers);
	put_number(&a, "batch", cell->batch);
	put_number(&a, "header", cell->header);
	put_number(&a, "free", cell->free);
	put_number(&a, "pace", cell->pace_ns);
	put_number(&a, "gap", cell->gap_ns);
	put_number(&a, "stop", cell->stop_ns);
	put_number(&a, "ms", cell->ms);
	put_number(&a, "warm", cell->warm_ms);
	status = run_program(peer->name, a.of, line, RUN_TEXT,
			     SLACK_MS + cell->ms + cell->warm_ms +
				     (uint32_t)(cell->resident / RESIDENT_BYTES_A_MS));
	if (status == EXIT_CANNOT)
		return RUN_CANNOT;
	return status == 0 && keep_result(line) ? RUN_MADE : RUN_FAILED;
}

double peers_number(const char *line, const char *in, const char *key)
{
	char quoted[64];
	const char *at = line;

	if (in != NULL) {
		snprintf(quoted, sizeof(quoted), "\"%s\": {", in);
		at = strstr(at, quoted);
	}
	snprintf(quoted, sizeof(quoted), "\"%s\": ", key);
	at = at == NULL ? NULL : strstr(at, quoted);
	return at == NULL ? 0 : strtod(at + strlen(quoted), NULL);
}
