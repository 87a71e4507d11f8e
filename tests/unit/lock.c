/* SPDX-License-Identifier: BSD-2-Clause */
/* The lock that favours a thread: one is in at a time, whoever the favourite is, was or becomes. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/lock.h"
#include "tests/tap.h"

enum { THREADS = 4, LOCKS = 3, BURST_MOST = 60 };

static struct dcm_lock lock;
static uint64_t count; /* under the lock */

static void enter_and_leave(unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		dcm_lock_enter(&lock);
		count++;
		dcm_lock_leave(&lock);
	}
}

static void *once(void *arg)
{
	enter_and_leave(1);
	return arg;
}

static void *often(void *arg)
{
	enter_and_leave(100);
	return arg;
}

static void in_thread(void *(*work)(void *))
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, work, NULL) != 0)
		sysbail("pthread_create");
	pthread_join(thread, NULL);
}

/* Is anybody ever favoured: in this build, and where this test is run. */
static bool favours(void)
{
	int saved = errno;
	bool can = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0) == 0;

	errno = saved;
	return DCM_LOCK_FAVOURS && can;
}

static bool favours_me(void)
{
	return dcm_lock_favourite(&lock) / DCM_LOCK_SEATS == dcm_lock_self() / DCM_LOCK_SEATS;
}

static void one_thread(void)
{
	dcm_lock_init(&lock);
	count = 0;
	errno = 0;
	enter_and_leave(1);
	ok(!favours_me(), "once is not enough to be favoured");
	enter_and_leave(100);
	is_bool(favours(), favours_me(), "who enters again and again is favoured");
	in_thread(once);
	ok(!favours_me(), "until another thread enters");
	in_thread(often);
	ok(!favours_me() && (!favours() || dcm_lock_favourite(&lock) != 0),
	   "which may be favoured in its turn, and end so");
	enter_and_leave(1000);
	is_bool(favours(), favours_me(), "and the first again");
	is_uint(1202, count, "nothing was lost");
	is_int(0, errno, "errno is left alone");
	dcm_lock_destroy(&lock);
}

static void *visit(void *arg)
{
	for (unsigned i = 0; i < 100; i++) {
		dcm_lock_visit(&lock);
		count++;
		dcm_lock_leave(&lock);
	}
	return arg;
}

static void visitor(void)
{
	unsigned lost = 0, kept = 0;

	dcm_lock_init(&lock);
	count = 0;
	errno = 0;
	visit(NULL);
	ok(dcm_lock_favourite(&lock) == 0, "a visitor is not favoured, however often it comes");
	enter_and_leave(100);
	for (unsigned i = 0; i < 40; i++) {
		in_thread(visit);
		kept += favours_me();
		enter_and_leave(1);
		lost += !favours_me();
	}
	is_uint(0, kept, "nobody is while one is in");
	is_uint(favours() ? 0 : 40, lost, "who was is again with its next entry, each time");
	is_uint(100 + 100 + 40 * 101, count, "nothing was lost");
	is_int(0, errno, "errno is left alone");
	dcm_lock_destroy(&lock);
}

/* More threads than there are seats, one after the other but all alive at once. */
static _Atomic unsigned tried, favoured, over;

static void *try(void *arg)
{
	for (unsigned i = 0; i < 100000 && !favours_me(); i++)
		enter_and_leave(1);
	atomic_fetch_add(&favoured, favours_me() ? 1u : 0u);
	atomic_fetch_add(&tried, 1u);
	while (!atomic_load(&over))
		usleep(1000);
	return arg;
}

static void seats(void)
{
	enum { TRY = DCM_LOCK_SEATS + 2 };
	pthread_t threads[TRY];

	dcm_lock_init(&lock);
	for (unsigned i = 0; i < TRY; i++) {
		if (pthread_create(&threads[i], NULL, try, NULL) != 0)
			sysbail("pthread_create");
		while (atomic_load(&tried) == i)
			usleep(1000);
	}
	atomic_store(&over, 1);
	for (unsigned i = 0; i < TRY; i++)
		pthread_join(threads[i], NULL);
	is_uint(favours() ? DCM_LOCK_SEATS : 0, favoured,
		"as many threads are favoured as there are seats, the others do without");
	dcm_lock_destroy(&lock);
}

/* A favourite that stays inside: whoever comes waits. */
static _Atomic int came;

static void *come(void *arg)
{
	dcm_lock_enter(&lock);
	atomic_store(&came, 1);
	dcm_lock_leave(&lock);
	return arg;
}

static void stays_inside(void)
{
	pthread_t threads[2];

	dcm_lock_init(&lock);
	enter_and_leave(100);
	dcm_lock_enter(&lock);
	for (unsigned i = 0; i < 2; i++)
		if (pthread_create(&threads[i], NULL, come, NULL) != 0)
			sysbail("pthread_create");
	for (unsigned i = 0; i < 50; i++)
		usleep(1000);
	is_int(0, atomic_load(&came), "who comes while the favourite is in waits");
	dcm_lock_leave(&lock);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	is_int(1, atomic_load(&came), "and is woken when it leaves");
	dcm_lock_destroy(&lock);
}

/* Bursts of many threads on few locks, so that favour is given and taken all the time. */
static struct {
	struct dcm_lock lock;
	uint64_t count;
	unsigned in;
} many[LOCKS];
static _Atomic unsigned together;
static unsigned rounds;

static void *bursts(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	uint64_t mine = 0;

	for (unsigned round = 0; round < rounds; round++) {
		unsigned which = (unsigned)rand_r(&seed) % LOCKS;
		unsigned burst = (unsigned)rand_r(&seed) % BURST_MOST;

		for (unsigned i = 0; i < burst; i++) {
			if (i == 0 && round % 8 == 0)
				dcm_lock_visit(&many[which].lock);
			else
				dcm_lock_enter(&many[which].lock);
			if (many[which].in++ != 0)
				atomic_fetch_add(&together, 1);
			many[which].count++;
			mine++;
			many[which].in--;
			dcm_lock_leave(&many[which].lock);
		}
		/* Or else the doubling would soon end it. */
		if (round % 4 == 0) {
			dcm_lock_enter(&many[which].lock);
			many[which].lock.enough = 16;
			dcm_lock_leave(&many[which].lock);
			sched_yield();
		}
	}
	return (void *)(uintptr_t)mine;
}

static void many_threads(unsigned seed)
{
	pthread_t threads[THREADS];
	uint64_t wanted = 0, seen = 0;

	rounds = 30000 * (unsigned)tap_scaled(1);
	note("seed %u", seed);
	for (unsigned i = 0; i < LOCKS; i++)
		dcm_lock_init(&many[i].lock);
	for (unsigned i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, bursts, (void *)(uintptr_t)(seed + i)) != 0)
			sysbail("pthread_create");
	for (unsigned i = 0; i < THREADS; i++) {
		void *mine;

		pthread_join(threads[i], &mine);
		wanted += (uintptr_t)mine;
	}
	for (unsigned i = 0; i < LOCKS; i++) {
		seen += many[i].count;
		dcm_lock_destroy(&many[i].lock);
	}
	is_uint(0, together, "never two in one lock");
	is_uint(wanted, seen, "every entry counted");
}

static void deny_membarrier(void)
{
	struct sock_filter rules[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(rules) / sizeof(rules[0]), rules };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		sysbail("seccomp");
}

/* In a child: favoured, then denied; a second thread comes in all the same, and nobody after it. */
static void denied_later(void)
{
	int status;
	pid_t pid;

	if (TAP_TSAN) {
		skip("ThreadSanitizer cannot fork beside threads");
		return;
	}
	dcm_lock_init(&lock);
	count = 0;
	pid = fork();
	if (pid == 0) {
		enter_and_leave(100);
		deny_membarrier();
		in_thread(often);
		enter_and_leave(1000);
		_exit(count == 1200 && dcm_lock_favourite(&lock) == 0 ? 0 : 1);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		sysbail("a child");
	is_int(0, status, "membarrier denied to a process that has a favourite: none any more");
	dcm_lock_destroy(&lock);
}

int main(void)
{
	plan_lazy();
	denied_later();
	one_thread();
	visitor();
	seats();
	stays_inside();
	many_threads((unsigned)getpid());
	return 0;
}
