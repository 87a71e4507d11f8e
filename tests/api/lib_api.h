/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lib_api - what tests of the public API share: results with their detail, a client and a server
 * in one process, threads that are known to be asleep, what a process holds.
 */
#ifndef DCM_TESTS_API_LIB_API_H
#define DCM_TESTS_API_LIB_API_H

#include <coresrv/handle/handle_api.h>
#include <coresrv/task/task_api.h>
#include <dcm/dcm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "tests/tap.h"

#define S_NS INT64_C(1000000000)
#define MS_NS INT64_C(1000000)
#define FOREVER_NS INT64_C(-1)

/* One result: the code is as wanted and, if it is an error, this thread's detail says something. */
int is_rc(Retcode wanted, Retcode seen, const char *format, ...) TAP_PRINTF(3, 4);

/* Waits for @is, looking each millisecond; false after 20 seconds, which is a failed test. */
bool until(bool (*is)(void *arg), void *arg);

void pause_ms(unsigned int ms);

/* A random number from *@state (not 0). */
uint64_t random_next(uint64_t *state);
/* Fills and checks @bytes that are different for each @seed. */
void pattern_fill(void *data, size_t bytes, uint64_t seed);
bool pattern_is(const void *data, size_t bytes, uint64_t seed);

/* A thread, and whether it sleeps in the kernel on a futex. */
struct task {
	pthread_t thread;
	_Atomic int tid;
	_Atomic int over;
	void (*run)(void *arg);
	void *arg;
};
void task_start(struct task *task, void (*run)(void *arg), void *arg);
void task_join(struct task *task);
/* Comes back when it sleeps, or is over: false. */
bool task_asleep(struct task *task);
/* The same of the first thread of another process. */
bool process_asleep(pid_t pid);
/* The library's thread of this process; 0: there is none. */
int keeper_tid(void);

/* A server and a client of it in this process, with a channel between them. */
struct pair {
	char name[32];
	DcmHandle publication;
	Handle listener, callable, session;
};
#define PAIR_TYPE "test.Pair"
#define PAIR_CONTEXT ((void *)0x1234)
enum { PAIR_RIID = 77 };

/* All that is needed for one more client; dies where it cannot. DcmInit must be in effect. */
void pair_open(struct pair *pair);
/* One more session of the same listener. */
Handle pair_connect(struct pair *pair);
void pair_close(struct pair *pair);

/* A call that cannot go wrong, or the test dies. */
DcmMessage must_loan(Handle session, size_t size);
DcmRequest must_receive(Handle listener);
void must_reply(DcmRequest *request, const void *data, size_t size, int32_t status);
#define must(call) must_be_ok((call), #call)
void must_be_ok(Retcode rc, const char *what);

/* KnHandleCreateUserObject() with the rights to publish or connect. */
Handle new_identity(void);
Sid sid_of(Handle handle);

/* What this process holds now. */
struct holdings {
	unsigned int fds, threads, mappings; /* mappings: of files in /dev/shm and memfds */
};
struct holdings holdings_now(void);
/* Waits until no more is held than @before; then one result. */
int holdings_are(const struct holdings *before, const char *what);

/* KiB that are in memory of the mappings whose name ends in @name, from /proc/self/smaps. */
size_t mapped_kib(const char *name);
/* Lines of /proc/self/maps that hold @name. */
unsigned int mapping_count(const char *name);

#endif
