/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "tests/api/lib_api.h"

#include <dirent.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

enum { PATIENCE_MS = 20 * 1000 };

int is_rc(Retcode wanted, Retcode seen, const char *format, ...)
{
	const char *detail = DcmLastDetail();
	bool good = wanted == seen && (seen == rcOk || *detail != '\0');
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	ok(good, "%s: %s", text, RetcodeName(wanted));
	if (!good)
		diag("  seen: %s, detail: %s", RetcodeName(seen), detail);
	return good;
}

void pause_ms(unsigned int ms)
{
	struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&time, NULL);
}

bool until(bool (*is)(void *arg), void *arg)
{
	for (int ms = 0; ms < PATIENCE_MS; ms++) {
		if (is(arg))
			return true;
		pause_ms(1);
	}
	return false;
}

uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

void pattern_fill(void *data, size_t bytes, uint64_t seed)
{
	unsigned char *to = data;
	uint64_t state = seed * 2 + 1;

	for (size_t i = 0; i < bytes; i += 8) {
		uint64_t word = random_next(&state);

		memcpy(to + i, &word, bytes - i < 8 ? bytes - i : 8);
	}
}

bool pattern_is(const void *data, size_t bytes, uint64_t seed)
{
	const unsigned char *from = data;
	uint64_t state = seed * 2 + 1;

	for (size_t i = 0; i < bytes; i += 8) {
		uint64_t word = random_next(&state);

		if (memcmp(from + i, &word, bytes - i < 8 ? bytes - i : 8) != 0)
			return false;
	}
	return true;
}

static void *task_main(void *arg)
{
	struct task *task = arg;

	atomic_store(&task->tid, (int)syscall(SYS_gettid));
	task->run(task->arg);
	atomic_store(&task->over, 1);
	return NULL;
}

void task_start(struct task *task, void (*run)(void *arg), void *arg)
{
	atomic_store(&task->tid, 0);
	atomic_store(&task->over, 0);
	task->run = run;
	task->arg = arg;
	if (pthread_create(&task->thread, NULL, task_main, task) != 0)
		sysbail("pthread_create");
}

void task_join(struct task *task)
{
	pthread_join(task->thread, NULL);
}

/* In a futex call now? The kernel tells the number of the call that a thread sleeps in. */
static bool in_futex(const char *path)
{
	FILE *file = fopen(path, "re");
	long number = -1;
	bool is;

	if (file == NULL)
		return false;
	is = fscanf(file, "%ld", &number) == 1 &&
	     (number == SYS_futex || number == SYS_futex_waitv);
	fclose(file);
	return is;
}

struct sleeper {
	struct task *task;
	char path[64];
	int times;
};

/* Twice in a row: a lock that is held for a moment is not what is meant. */
static bool sleeps(void *arg)
{
	struct sleeper *s = arg;

	if (s->task != NULL && atomic_load(&s->task->over))
		return true;
	if (s->task != NULL)
		snprintf(s->path, sizeof(s->path), "/proc/self/task/%d/syscall",
			 atomic_load(&s->task->tid));
	s->times = in_futex(s->path) ? s->times + 1 : 0;
	return s->times == 2;
}

bool task_asleep(struct task *task)
{
	struct sleeper s = { .task = task };

	return until(sleeps, &s) && !atomic_load(&task->over);
}

bool process_asleep(pid_t pid)
{
	struct sleeper s = { .task = NULL };

	snprintf(s.path, sizeof(s.path), "/proc/%d/syscall", (int)pid);
	return until(sleeps, &s);
}

int keeper_tid(void)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *entry;
	int tid = 0;

	while (tasks != NULL && (entry = readdir(tasks)) != NULL) {
		char path[300], name[32] = "";
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
		file = fopen(path, "re");
		if (file == NULL)
			continue;
		if (fgets(name, sizeof(name), file) != NULL && strcmp(name, "dcm-keeper\n") == 0)
			tid = atoi(entry->d_name);
		fclose(file);
	}
	if (tasks != NULL)
		closedir(tasks);
	return tid;
}

void must_be_ok(Retcode rc, const char *what)
{
	if (rc != rcOk)
		die("%s is %s: %s", what, RetcodeName(rc), DcmLastDetail());
}

Handle new_identity(void)
{
	Handle handle;

	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST,
				      OCAP_HANDLE_TRANSFER | OCAP_HANDLE_GET_SID, NULL, &handle));
	return handle;
}

Sid sid_of(Handle handle)
{
	Sid sid = 0;

	must(KnHandleGetSidByHandle(handle, &sid));
	return sid;
}

Handle pair_connect(struct pair *pair)
{
	DcmHandle connection, request;
	Handle session;
	Retcode rc;

	must(DcmCreateConnection(PAIR_TYPE, pair->name, INVALID_HANDLE, INVALID_HANDLE, &connection));
	rc = DcmConnect(connection, 0, &session);
	if (rc != rcTimeout)
		die("the request is not waiting: %s", RetcodeName(rc));
	must(DcmListen(pair->publication, INFINITE_TIMEOUT, NULL, NULL, &request));
	must(DcmAccept(request, pair->callable, INVALID_HANDLE));
	must(DcmCloseHandle(request));
	must(DcmConnect(connection, INFINITE_TIMEOUT, &session));
	must(DcmCloseHandle(connection));
	return session;
}

void pair_open(struct pair *pair)
{
	static _Atomic unsigned int count;

	snprintf(pair->name, sizeof(pair->name), "pair %u", atomic_fetch_add(&count, 1));
	must(KnHandleCreateListener(&pair->listener));
	must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, PAIR_CONTEXT,
					pair->listener, PAIR_RIID, &pair->callable));
	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), PAIR_TYPE, pair->name,
				&pair->publication));
	pair->session = pair_connect(pair);
}

void pair_close(struct pair *pair)
{
	must(KnHandleClose(pair->session));
	must(KnHandleClose(pair->callable));
	must(KnHandleClose(pair->listener));
	must(DcmCloseHandle(pair->publication));
}

DcmMessage must_loan(Handle session, size_t size)
{
	DcmMessage message;

	must(DcmLoan(session, size, FOREVER_NS, &message));
	return message;
}

DcmRequest must_receive(Handle listener)
{
	DcmRequest request;

	must(DcmReceive(listener, FOREVER_NS, &request));
	return request;
}

void must_reply(DcmRequest *request, const void *data, size_t size, int32_t status)
{
	DcmMessage reply;

	must(DcmLoanReply(request, size, &reply));
	memcpy(reply.data, data, size);
	reply.status = status;
	must(DcmReply(request, &reply));
}

unsigned int mapping_count(const char *name)
{
	FILE *file = fopen("/proc/self/maps", "re");
	unsigned int count = 0;
	char line[4096];

	if (file == NULL)
		sysbail("/proc/self/maps");
	while (fgets(line, sizeof(line), file) != NULL)
		count += strstr(line, name) != NULL;
	fclose(file);
	return count;
}

size_t mapped_kib(const char *name)
{
	FILE *file = fopen("/proc/self/smaps", "re");
	size_t sum = 0, kib;
	bool inside = false;
	char line[4096];

	if (file == NULL)
		sysbail("/proc/self/smaps");
	while (fgets(line, sizeof(line), file) != NULL) {
		if (strchr(line, '-') != NULL && strchr(line, ':') > strchr(line, '-'))
			inside = strstr(line, name) != NULL;
		else if (inside && sscanf(line, "Rss: %zu kB", &kib) == 1)
			sum += kib;
	}
	fclose(file);
	return sum;
}

static unsigned int count_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	unsigned int count = 0;

	if (dir == NULL)
		sysbail("/proc/self/task");
	while ((entry = readdir(dir)) != NULL)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

static void *nothing(void *arg)
{
	return arg;
}

struct holdings holdings_now(void)
{
	pthread_t thread;

	/* The first thread of a program makes a sanitizer start one of its own: not now, before. */
	if (pthread_create(&thread, NULL, nothing, NULL) == 0)
		pthread_join(thread, NULL);
	return (struct holdings){ .fds = tap_count_fds(),
				  .threads = count_threads(),
				  .mappings = mapping_count("/dev/shm/") +
					      mapping_count("/memfd:") };
}

static bool holds_no_more(void *arg)
{
	const struct holdings *before = arg;
	struct holdings now = holdings_now();

	return now.fds <= before->fds && now.threads <= before->threads &&
	       now.mappings <= before->mappings;
}

int holdings_are(const struct holdings *before, const char *what)
{
	struct holdings copy = *before, now;
	int good = ok(until(holds_no_more, &copy), "%s: no descriptor, thread or mapping is left", what);

	if (!good) {
		now = holdings_now();
		diag("  descriptors %u, %u before; threads %u, %u; mappings %u, %u", now.fds,
		     before->fds, now.threads, before->threads, now.mappings, before->mappings);
	}
	return good;
}
