/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "api/handle.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <urcu/urcu-bp.h>

#include "tests/tap.h"

#define ALL	  (~0u)
#define BIT(kind) (1u << (kind))

enum { MAGIC = 0x600d600d, BIG = 1 << 20 };

struct thing {
	struct dcm_object object;
	uint32_t magic; /* 0 once it is released */
	uint32_t id;
};

enum { IDS = 1 << 20 };

static uint8_t *closed, *released, *forgotten; /* how often, for each id */
static uint32_t next_id;

static void count(uint8_t *counts, struct dcm_object *object)
{
	__atomic_fetch_add(&counts[((struct thing *)(void *)object)->id % IDS], 1,
			   __ATOMIC_RELAXED);
}

static void on_close(struct dcm_object *object)
{
	count(closed, object);
}

static void on_release(struct dcm_object *object)
{
	count(released, object);
	__atomic_store_n(&((struct thing *)(void *)object)->magic, 0, __ATOMIC_RELAXED);
}

static void on_forget(struct dcm_object *object)
{
	count(forgotten, object);
}

#define COUNTED .close = on_close, .release = on_release, .forget = on_forget

static const struct dcm_object_type user = {
	.kind = DCM_KIND_USER,
	.space = DCM_SPACE_HANDLE,
	.survives_fork = true,
	COUNTED,
};
static const struct dcm_object_type session = {
	.kind = DCM_KIND_SESSION,
	.space = DCM_SPACE_HANDLE,
	COUNTED,
};
static const struct dcm_object_type publication = {
	.kind = DCM_KIND_PUBLICATION,
	.space = DCM_SPACE_DCM,
	COUNTED,
};
static const struct dcm_object_type channel = {
	.kind = DCM_KIND_CHANNEL,
	.space = DCM_SPACE_CHANNEL,
};

/* The number of a new object that only the table holds, and the object's id. */
static uint64_t put(const struct dcm_object_type *type, size_t bytes, uint32_t *id)
{
	struct thing *thing = (struct thing *)(void *)dcm_object_new(type, bytes);
	uint64_t number;

	if (thing == NULL)
		sysbail("no memory");
	thing->magic = MAGIC;
	thing->id = __atomic_fetch_add(&next_id, 1, __ATOMIC_RELAXED);
	if (id != NULL)
		*id = thing->id;
	if (dcm_handle_insert(&thing->object) != 0)
		bail("no handle");
	number = thing->object.number;
	dcm_object_drop(&thing->object);
	return number;
}

static uint64_t number_of(const struct dcm_object_type *type)
{
	return put(type, sizeof(struct thing), NULL);
}

static void spaces_and_kinds(void)
{
	uint64_t number = number_of(&user), other = number_of(&publication), third;
	struct dcm_object *object;

	is_uint(DCM_SPACE_HANDLE, number >> 61, "the space stands in the number");
	is_uint(DCM_SPACE_DCM, other >> 61, "each has its own");
	object = dcm_handle_find(number, BIT(DCM_KIND_USER));
	ok(object != NULL && object->number == number, "an object is found");
	is_uint(2, object->count, "and held");
	dcm_object_drop(object);
	ok(dcm_handle_find(number, ALL & ~BIT(DCM_KIND_USER)) == NULL, "not as another kind");
	ok(dcm_handle_find(number ^ UINT64_C(3) << 61, ALL) == NULL, "nor in another space");
	ok(dcm_handle_find(number + (1 << 20), ALL) == NULL, "nor in another generation");
	ok(dcm_handle_find(0, ALL) == NULL, "0 is no number");
	ok(dcm_handle_find(UINT64_MAX, ALL) == NULL, "nor is UINT64_MAX");
	ok(dcm_handle_find(1 << 20, ALL) == NULL, "nor is one without a space");
	ok(!dcm_handle_close(0, ALL) && !dcm_handle_close(UINT64_MAX, ALL),
	   "nor can they be closed");
	ok(!dcm_handle_close(number, BIT(DCM_KIND_SESSION)), "as another kind it is not closed");
	object = dcm_handle_find(number, ALL);
	ok(dcm_handle_close(number, ALL), "it is closed");
	ok(!dcm_handle_close(number, ALL), "once");
	ok(dcm_handle_find(number, ALL) == NULL, "and no longer found");
	is_int(MAGIC, ((struct thing *)(void *)object)->magic, "but there while it is held");
	is_uint(0, released[0], "not released");
	dcm_object_drop(object);
	is_uint(1, released[0], "then it is");
	is_uint(1, closed[0], "and was closed once");
	third = number_of(&channel);
	is_uint(number % (1 << 20), third % (1 << 20), "an index is used again");
	ok(dcm_handle_find(number, ALL) == NULL, "the old number is not");
	ok(dcm_handle_close(third, ALL) && dcm_handle_close(other, ALL),
	   "types may do without calls");
	object = dcm_object_new(&user, sizeof(struct thing));
	dcm_object_drop(object);
	is_uint(2, released[0], "what was in no table is released too");
	released[0] = 1;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void never_twice(void)
{
	static const struct dcm_object_type *const types[] = { &user, &session, &publication,
							       &channel };
	uint64_t rounds = tap_scaled(1000000), twice = 0, found = 0, seed = tap_seed();
	uint64_t *numbers = calloc(rounds, sizeof(*numbers)), open[8] = { 0 };

	if (numbers == NULL)
		sysbail("no memory");
	for (uint64_t i = 0; i < rounds; i++) {
		seed = seed * UINT64_C(6364136223846793005) + 1;
		if (open[seed >> 61] != 0)
			(void)dcm_handle_close(open[seed >> 61], ALL);
		numbers[i] = number_of(types[seed >> 32 & 3]);
		open[seed >> 61] = numbers[i];
	}
	dcm_handle_close_all(ALL);
	for (uint64_t i = 0; i < rounds; i += 97)
		found += dcm_handle_find(numbers[i], ALL) != NULL;
	qsort(numbers, rounds, sizeof(*numbers), by_value);
	for (uint64_t i = 1; i < rounds; i++)
		twice += numbers[i] == numbers[i - 1];
	is_uint(0, twice, "of %" PRIu64 " numbers none came twice", rounds);
	is_uint(0, found, "all are closed");
	ok(numbers[0] != 0 && numbers[rounds - 1] != UINT64_MAX, "none is 0 or UINT64_MAX");
	free(numbers);
}

static void count_one(struct dcm_object *object, void *arg)
{
	*(uint32_t *)arg += object->type->kind;
}

static void each_and_all(void)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < 3; i++)
		(void)number_of(&user);
	(void)number_of(&publication);
	dcm_handle_each(ALL, count_one, &sum);
	is_uint(3 * DCM_KIND_USER + DCM_KIND_PUBLICATION, sum, "each visits every object");
	sum = 0;
	dcm_handle_each(BIT(DCM_KIND_USER), count_one, &sum);
	is_uint(3 * DCM_KIND_USER, sum, "or those of a kind");
	dcm_handle_close_all(BIT(DCM_KIND_USER));
	sum = 0;
	dcm_handle_each(ALL, count_one, &sum);
	is_uint(DCM_KIND_PUBLICATION, sum, "close_all leaves the others");
	dcm_handle_close_all(ALL);
}

static void full_table(void)
{
	struct dcm_object *object;
	uint32_t made = 0, before = next_id;
	int result;

	do {
		object = dcm_object_new(&channel, sizeof(*object));
		if (object == NULL)
			sysbail("no memory");
		result = dcm_handle_insert(object);
		dcm_object_drop(object);
		made += result == 0;
	} while (result == 0);
	is_int(-ENOSPC, result, "the table can be full");
	is_uint(1 << 20, made, "with 2^20 objects");
	dcm_handle_close_all(BIT(DCM_KIND_CHANNEL));
	ok(dcm_handle_close(number_of(&user), ALL), "closing makes room");
	dcm_handle_reclaim();
	next_id = before;
}

/* Bytes in large allocations of the C library; 0 where another allocator stands in for it. */
static size_t large_bytes(void)
{
	return mallinfo2().hblkhd;
}

static uint32_t notices;

static void on_retire(void)
{
	__atomic_fetch_add(&notices, 1, __ATOMIC_RELAXED);
}

static void told_of_retired(void)
{
	size_t before;

	dcm_handle_reclaim();
	before = large_bytes();
	dcm_handle_on_retire(on_retire);
	for (unsigned i = 0; i < 130; i++)
		(void)dcm_handle_close(put(&user, BIG, NULL), ALL);
	is_uint(2, notices, "the keeper is told whenever another 64 wait");
	ok(large_bytes() == 0 || large_bytes() >= before + 130u * BIG, "and nobody else frees");
	dcm_handle_on_retire(NULL);
	dcm_handle_reclaim();
	is_uint(before, large_bytes(), "until it does");
	for (unsigned i = 0; i < 1000; i++)
		(void)dcm_handle_close(put(&user, BIG, NULL), ALL);
	ok(large_bytes() <= before + 64u * BIG, "without a keeper every 64th does it");
	dcm_handle_reclaim();
}

/* The exit status of a child that runs this, or 256 + the signal that ended it. */
static int in_child(void (*run)(void))
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		sysbail("fork");
	if (pid == 0) {
		run();
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid)
		sysbail("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

static void deny_membarrier(uint32_t error)
{
	struct sock_filter rules[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(rules) / sizeof(rules[0]), rules };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		sysbail("seccomp");
}

static uint32_t denial;

static void denied(void)
{
	size_t before;
	uint64_t number;

	(void)dcm_handle_close(number_of(&user), ALL);
	dcm_handle_reclaim();
	before = large_bytes();
	deny_membarrier(denial);
	errno = 0;
	for (unsigned i = 0; i < 200; i++)
		(void)dcm_handle_close(put(&user, BIG, NULL), ALL);
	dcm_handle_reclaim();
	is_int(0, errno, "errno is left alone");
	ok(large_bytes() == 0 || large_bytes() >= before + 200u * BIG, "the memory waits");
	number = number_of(&user);
	ok(dcm_handle_find(number, ALL) != NULL, "and the table works on");
}

static void liburcu_alone(void)
{
	struct rlimit none = { 0, 0 };

	(void)setrlimit(RLIMIT_CORE, &none);
	urcu_bp_register_thread();
	deny_membarrier(EPERM);
	if (freopen("/dev/null", "w", stderr) == NULL)
		_exit(1);
	urcu_bp_synchronize_rcu();
}

static void membarrier_denied(void)
{
	int known = (int)syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0);

	if (known < 0 || (known & MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0) {
		skip_block(3, "this kernel has no membarrier()");
		return;
	}
	denial = EPERM;
	is_int(0, in_child(denied), "membarrier denied with EPERM: no abort");
	denial = ENOSYS;
	is_int(0, in_child(denied), "membarrier denied with ENOSYS: no abort");
	is_int(256 + SIGABRT, in_child(liburcu_alone), "where liburcu alone would abort");
}

static uint64_t kept, lost;
static uint32_t gone_id, told;
static struct dcm_object *in_use; /* what lost stands for, held by a call that the child has not */

static void check_forked(uint64_t fresh)
{
	ok(dcm_handle_find(kept, ALL) != NULL, "what survives keeps its number");
	ok(dcm_handle_find(lost, ALL) == NULL, "what does not is closed");
	is_uint(1, forgotten[gone_id % IDS], "by forget");
	is_uint(0, closed[gone_id % IDS] + released[gone_id % IDS], "and by nothing else");
	dcm_object_drop(in_use);
	is_uint(0, released[gone_id % IDS], "nor when a count on it is dropped");
	ok(fresh != lost && fresh != kept, "its number is not given out again");
	ok(dcm_handle_close(fresh, ALL) && dcm_handle_close(kept, ALL), "closing works");
	for (unsigned i = 0; i < 64; i++)
		(void)dcm_handle_close(number_of(&channel), ALL);
	is_uint(told, notices, "and does not call the parent's keeper");
}

static void after_fork(void)
{
	size_t before;
	uint64_t fresh;

	dcm_handle_forked();
	fresh = number_of(&session);
	check_forked(fresh);
	is_uint(fresh % (1 << 20), lost % (1 << 20), "but its index is");
	dcm_handle_reclaim();
	before = large_bytes();
	(void)dcm_handle_close(put(&user, BIG, NULL), ALL);
	dcm_handle_reclaim();
	is_uint(before, large_bytes(), "grace periods work in a child");
	is_int(0, in_child(dcm_handle_forked), "and a child of its own does too");
}

static void after_raw_clone(void)
{
	size_t before;
	uint64_t fresh;

	dcm_handle_forked();
	fresh = number_of(&session);
	check_forked(fresh);
	before = large_bytes();
	(void)dcm_handle_close(put(&user, BIG, NULL), ALL);
	dcm_handle_reclaim();
	ok(large_bytes() == 0 || large_bytes() > before, "after a raw clone memory waits for ever");
}

static void forks(void)
{
	pid_t pid;
	int status = 0;

	lost = put(&session, sizeof(struct thing), &gone_id);
	in_use = dcm_handle_find(lost, ALL);
	kept = number_of(&user);
	dcm_handle_on_retire(on_retire);
	told = notices;
	is_int(0, in_child(after_fork), "a child of fork() ends well");
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		after_raw_clone();
		_exit(0);
	}
	ok(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "a child of clone() too");
	dcm_handle_on_retire(NULL);
	dcm_object_drop(in_use);
	ok(dcm_handle_close(lost, ALL) && dcm_handle_close(kept, ALL), "the parent has both still");
	is_uint(1, released[gone_id % IDS], "and releases what it closes");
}

static uint32_t reclaimed;

static void *reclaim(void *arg)
{
	dcm_handle_reclaim();
	__atomic_store_n(&reclaimed, 1, __ATOMIC_RELEASE);
	return arg;
}

static void grace_period(void)
{
	size_t before;
	pthread_t thread;

	dcm_handle_reclaim();
	before = large_bytes();
	urcu_bp_read_lock();
	(void)dcm_handle_close(put(&user, BIG, NULL), ALL);
	if (pthread_create(&thread, NULL, reclaim, NULL) != 0)
		bail("no thread");
	usleep(100000);
	is_uint(0, __atomic_load_n(&reclaimed, __ATOMIC_ACQUIRE), "reclaim waits for a reader");
	ok(large_bytes() == 0 || large_bytes() >= before + BIG,
	   "and has not freed what it may see");
	urcu_bp_read_unlock();
	pthread_join(thread, NULL);
	is_uint(before, large_bytes(), "then it frees");
}

/* Many threads on few numbers. */
enum { CELLS = 32, THREADS = 6 };

static struct {
	uint64_t numbers[CELLS];
	uint64_t found, closes, bad;
	uint64_t rounds;
	uint32_t stop;
} crowd;

static void step(uint64_t draw)
{
	uint64_t *cell = &crowd.numbers[draw >> 40 & (CELLS - 1)];
	uint64_t number = __atomic_load_n(cell, __ATOMIC_RELAXED);
	struct thing *thing;

	if ((draw >> 32 & 7) == 0) {
		uint64_t fresh = number_of((draw >> 31 & 1) != 0 ? &user : &publication);

		number = __atomic_exchange_n(cell, fresh, __ATOMIC_RELAXED);
	}
	if ((draw >> 32 & 7) <= 1) {
		if (dcm_handle_close(number, ALL))
			__atomic_fetch_add(&crowd.closes, 1, __ATOMIC_RELAXED);
		return;
	}
	thing = (struct thing *)(void *)dcm_handle_find(number, ALL);
	if (thing == NULL)
		return;
	if ((draw & 0xff00) == 0)
		sched_yield();
	if (__atomic_load_n(&thing->magic, __ATOMIC_RELAXED) != MAGIC ||
	    thing->object.number != number)
		__atomic_fetch_add(&crowd.bad, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&crowd.found, 1, __ATOMIC_RELAXED);
	dcm_object_drop(&thing->object);
}

static void *member(void *arg)
{
	uint64_t seed = tap_seed() + (uintptr_t)arg;

	for (uint64_t i = 0; i < crowd.rounds; i++) {
		if (__atomic_load_n(&crowd.stop, __ATOMIC_RELAXED) != 0)
			break;
		seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		step(seed);
	}
	return NULL;
}

static void *keeper(void *arg)
{
	while (__atomic_load_n(&crowd.stop, __ATOMIC_ACQUIRE) == 0) {
		dcm_handle_reclaim();
		sched_yield();
	}
	return arg;
}

static void run_crowd(bool with_keeper)
{
	pthread_t threads[THREADS], reclaimer;
	uint32_t first = next_id, wrong = 0;
	const char *how = with_keeper ? "with a keeper" : "without";

	memset(&crowd, 0, sizeof(crowd));
	crowd.rounds = tap_scaled(200000);
	dcm_handle_on_retire(with_keeper ? on_retire : NULL);
	if (with_keeper && pthread_create(&reclaimer, NULL, keeper, NULL) != 0)
		bail("no thread");
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, member, (void *)i) != 0)
			bail("no thread");
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	__atomic_store_n(&crowd.stop, 1, __ATOMIC_RELEASE);
	if (with_keeper)
		pthread_join(reclaimer, NULL);
	dcm_handle_on_retire(NULL);
	note("%" PRIu64 " found, %" PRIu64 " closed", crowd.found, crowd.closes);
	dcm_handle_close_all(ALL);
	for (uint32_t id = first; id < next_id; id++)
		wrong += closed[id] != 1 || released[id] != 1;
	ok(crowd.found > 0 && crowd.closes > 0 && next_id <= IDS, "%s: the threads met", how);
	is_uint(0, crowd.bad, "%s: what was found was alive and the right one", how);
	is_uint(0, wrong, "%s: each was closed once and released once", how);
	dcm_handle_reclaim();
}

/* What a child of a busy process does: it hangs if a lock was left behind. */
static void busy_child(void)
{
	uint64_t number;

	alarm(60);
	dcm_handle_forked();
	number = number_of(&session);
	if (dcm_handle_find(number, ALL) == NULL || !dcm_handle_close(number, ALL))
		_exit(1);
	dcm_handle_reclaim();
}

static void forks_in_a_crowd(void)
{
	pthread_t threads[THREADS];
	unsigned bad = 0;

	memset(&crowd, 0, sizeof(crowd));
	crowd.rounds = UINT64_MAX;
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, member, (void *)i) != 0)
			bail("no thread");
	for (unsigned i = 0; i < tap_scaled(100); i++)
		bad += in_child(busy_child) != 0;
	__atomic_store_n(&crowd.stop, 1, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	is_uint(0, bad, "fork() in the middle of everything leaves a child that works");
	dcm_handle_close_all(ALL);
	dcm_handle_reclaim();
}

int main(void)
{
	plan_lazy();
	/* Fixed, so that large allocations stay countable. */
	(void)mallopt(M_MMAP_THRESHOLD, BIG / 2);
	closed = calloc(IDS, 1);
	released = calloc(IDS, 1);
	forgotten = calloc(IDS, 1);
	if (closed == NULL || released == NULL || forgotten == NULL)
		sysbail("no memory");
	spaces_and_kinds();
	each_and_all();
	told_of_retired();
	/* Before there are threads, for ThreadSanitizer. */
	membarrier_denied();
	forks();
	full_table();
	never_twice();
	memset(closed, 0, IDS);
	memset(released, 0, IDS);
	next_id = 0;
	grace_period();
	run_crowd(false);
	run_crowd(true);
	if (!TAP_TSAN)
		forks_in_a_crowd();
	else
		skip("ThreadSanitizer cannot fork beside threads");
	return 0;
}
