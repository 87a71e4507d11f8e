/* SPDX-License-Identifier: BSD-2-Clause */
/* Who is attached, alive, dead: real processes, killed, stopped, replaced. */
#define _GNU_SOURCE
#include "shm/process.h"
#include "shm/park.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/tap.h"
#include "tests/unit/lib_world.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

#define SECOND INT64_C(1000000000)

enum { CHILDREN = 5 };

/* What a child that attached tells. */
struct report {
	int result;
	uint32_t index;
	uint64_t generation;
};

struct child {
	pid_t pid;
	struct dcm_ref ref;
};

static const struct dcm_capacity small = { .processes = 8,
					   .endpoints = 4,
					   .subscriptions = 4,
					   .connections = 4,
					   .listeners = 4,
					   .ring_shift = 3 };

static struct dcm_segment seg; /* attached by the test itself, without a slot */
static char fabric[256];

static struct dcm_beacon beacon;

static int attach(struct dcm_segment *to)
{
	struct dcm_segment_options options = { .fabric = fabric, .capacity = small };
	struct dcm_detail why;
	int r = dcm_segment_open(to, &options, &why);

	if (r < 0)
		diag("%s", why.text);
	return r;
}

static struct dcm_process_self describe(const char *name)
{
	struct dcm_process_self self = { .sid_base = 77, .name = name };

	dcm_process_describe(&self);
	return self;
}

static void begin(const char *name)
{
	snprintf(fabric, sizeof fabric, "%s/%s", tap_fabric_dir(), name);
	if (attach(&seg) < 0)
		bail("no segment");
	dcm_segment_settled(&seg);
}

static void end(void)
{
	char lock[300];

	dcm_segment_close(&seg);
	snprintf(lock, sizeof lock, "%s.lock", fabric);
	unlink(fabric);
	unlink(lock);
}

static void tell(int pipe_fd, struct report report)
{
	if (write(pipe_fd, &report, sizeof report) != (ssize_t)sizeof report)
		_exit(9);
}

/* Attaches, claims and, unless @claim_only, becomes alive. */
static struct report join(bool claim_only)
{
	static struct dcm_segment own;
	struct dcm_process_self self = describe("child");
	struct dcm_ref ref = { 0, 0 };
	int r = attach(&own);

	if (r == 0)
		r = dcm_process_claim(&own, &self, &ref);
	if (r == 0 && !claim_only)
		r = dcm_process_beacon_arm(&own, ref, &beacon);
	dcm_segment_settled(&own);
	return (struct report){ r, ref.index, ref.generation };
}

static void child_lives(int pipe_fd)
{
	tell(pipe_fd, join(false));
	for (;;)
		pause();
}

static void child_claims(int pipe_fd)
{
	tell(pipe_fd, join(true));
	for (;;)
		pause();
}

static void child_executes(int pipe_fd)
{
	sigset_t wanted;
	int signal;

	sigemptyset(&wanted);
	sigaddset(&wanted, SIGUSR1);
	sigprocmask(SIG_BLOCK, &wanted, NULL);
	tell(pipe_fd, join(false));
	sigwait(&wanted, &signal);
	execl("/bin/sleep", "sleep", "1000", (char *)NULL);
	_exit(9);
}

static void *keeper(void *report)
{
	*(struct report *)report = join(false);
	return NULL;
}

/* The keeper thread ends, without having put out its beacon; the process goes on. */
static void child_loses_keeper(int pipe_fd)
{
	struct report report = { -1, 0, 0 };
	pthread_t thread;

	if (pthread_create(&thread, NULL, keeper, &report) == 0)
		pthread_join(thread, NULL);
	tell(pipe_fd, report);
	for (;;)
		pause();
}

static struct child start(void (*life)(int))
{
	struct report report = { -1, 0, 0 };
	struct child child = { 0, { 0, 0 } };
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		sysbail("pipe");
	child.pid = fork();
	if (child.pid == 0) {
		life(fds[1]);
		_exit(0);
	}
	close(fds[1]);
	if (read(fds[0], &report, sizeof report) != (ssize_t)sizeof report || report.result != 0)
		bail("a child could not attach: %d", report.result);
	close(fds[0]);
	child.ref = (struct dcm_ref){ report.index, report.generation };
	return child;
}

static void end_child(struct child child)
{
	kill(child.pid, SIGKILL);
	waitpid(child.pid, NULL, 0);
}

/* Until the process is proved dead, for as long as the watchdog lets us. */
static void wait_dead(struct dcm_ref ref)
{
	while (!dcm_process_dead(&seg, ref))
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

static void wait_marked(uint32_t index)
{
	/* The last to be marked; the test sleeps there, so it counts. */
	dcm_atomic32 *alive = dcm_alive_at(&seg, index, seg.process.count);
	uint32_t seen;

	while (((seen = dcm_or(alive, FUTEX_WAITERS) | FUTEX_WAITERS) & FUTEX_OWNER_DIED) == 0)
		dcm_park_sleep(alive, seen, NULL, dcm_park_deadline(SECOND));
}

/* What a reaper does with a process that owned nothing. */
static void reap(struct dcm_ref ref)
{
	uint64_t word = dcm_load(dcm_slot_word(&seg.process, ref.index), seq);

	ok(dcm_slot_step(&seg.process, ref, ref.index, dcm_word_state(word), 7, DCM_REAP),
	   "it is taken over");
	ok(!dcm_process_dead(&seg, ref), "while it is being taken apart it is not dead again");
	dcm_slot_yield(&seg.process, ref);
}

static void names(void)
{
	static struct dcm_name name;
	char text[300], out[256];

	for (size_t length = 1; length < sizeof text - 1; length += 127) {
		memset(text, 'n', length);
		text[length] = '\0';
		dcm_name_store(&name, text);
		text[length < 255 ? length : 255] = '\0';
		dcm_name_load(out, &name);
		is_string(text, out, "a name of %zu bytes", length);
		ok(dcm_name_equal(&name, text), "is equal to itself");
		ok(!dcm_name_equal(&name, "other"), "and not to another");
	}
	dcm_name_store(&name, "short");
	dcm_name_load(out, &name);
	is_string("short", out, "a shorter name leaves nothing of a longer");
	for (unsigned i = 0; i < DCM_NAME_WORDS; i++)
		dcm_store(&name.words[i], UINT64_MAX, relaxed);
	memset(out, 0, sizeof out);
	dcm_name_load(out, &name);
	is_uint(255, strlen(out), "garbage without a zero gets one");
}

static void yourself(void)
{
	struct dcm_process_self self = describe("me");
	struct dcm_segment again;
	struct dcm_ref ref, other = { 99, 99 };
	struct dcm_process *p;
	char name[256];

	begin("yourself");
	is_uint((uint64_t)getpid(), self.pid, "the pid is known");
	ok(self.pid_namespace != 0 && self.start_time != 0, "and what tells it from others");
	is_int(0, dcm_process_claim(&seg, &self, &ref), "a slot is claimed");
	p = dcm_process_at(&seg, ref.index);
	is_uint(dcm_word(ref.generation, ref.index, DCM_CLAIMED), dcm_load(&p->word, seq),
		"by its own index");
	is_uint(self.start_time, dcm_load(&p->start_time, seq), "with the start time");
	is_uint(77, dcm_load(&p->sid_base, seq), "and the base of the SIDs");
	dcm_name_load(name, &p->name);
	is_string("me", name, "and the name");
	ok(!dcm_process_alive(&seg, ref.index), "it is not alive yet");
	ok(!dcm_process_dead(&seg, ref), "but not dead");
	is_int(0, attach(&again), "a second copy of the library attaches");
	is_int(-EEXIST, dcm_process_claim(&again, &self, &other), "and is found out");
	is_int(0, dcm_process_beacon_arm(&seg, ref, &beacon), "the beacon is lit");
	is_int(-EEXIST, dcm_process_claim(&again, &self, &other), "it is still found out");
	dcm_segment_close(&again);
	is_uint(99, other.index, "and got nothing");
	is_int(1, dcm_segment_locked(&seg, ref.index), "its leaving did not drop the byte");
	ok(dcm_process_alive(&seg, ref.index), "the first is alive");
	ok(!dcm_process_dead(&seg, ref), "and not dead");
	is_int(-EBADMSG, dcm_process_beacon_arm(&seg, (struct dcm_ref){ ref.index, 99 }, &beacon),
	       "another generation cannot be made alive");
	dcm_process_beacon_disarm(&seg, ref, &beacon);
	ok(!dcm_process_alive(&seg, ref.index), "the beacon is put out");
	ok(!dcm_process_dead(&seg, ref), "which is not death");
	dcm_process_yield(&seg, ref);
	is_uint(dcm_word(ref.generation, 0, DCM_FREE), dcm_load(&p->word, seq), "given back");
	is_int(0, dcm_segment_locked(&seg, ref.index), "with its byte");
	is_uint(0, dcm_load(&seg.process.used[0], seq), "and its bit");
	is_uint(0, dcm_process_generation(&seg, ref.index), "nobody is there");
	is_int(0, attach(&again), "the second copy comes back");
	is_int(0, dcm_process_claim(&again, &self, &other), "and may stay");
	is_uint(ref.generation + 1, other.generation, "in a new generation");
	dcm_process_yield(&again, other);
	dcm_segment_close(&again);
	ok(!dcm_process_alive(&seg, 8) && !dcm_alive_at(&seg, 8, 0) &&
		   !dcm_process_dead(&seg, (struct dcm_ref){ 8, 1 }),
	   "there is no ninth");
	dcm_process_kick(&seg, 8);
	end();
}

static void killed(void)
{
	struct child child;

	begin("killed");
	child = start(child_lives);
	ok(dcm_process_alive(&seg, child.ref.index), "a process is alive");
	is_hex((uint32_t)child.pid, dcm_load(dcm_alive_at(&seg, child.ref.index, 0), seq),
	       "as its thread says");
	is_hex((uint32_t)child.pid, dcm_load(dcm_alive_at(&seg, child.ref.index, 8), seq),
	       "to everybody");
	is_uint(child.ref.generation, dcm_process_generation(&seg, child.ref.index), "it is there");
	ok(!dcm_process_dead(&seg, child.ref), "not dead");
	kill(child.pid, SIGSTOP);
	waitpid(child.pid, NULL, WUNTRACED);
	ok(dcm_process_alive(&seg, child.ref.index), "stopped, it is alive");
	ok(!dcm_process_dead(&seg, child.ref), "and not dead");
	kill(child.pid, SIGKILL);
	wait_marked(child.ref.index);
	ok(!dcm_process_alive(&seg, child.ref.index), "killed, it is not alive");
	wait_dead(child.ref);
	ok(kill(child.pid, 0) == 0, "and dead while it is a zombie");
	waitpid(child.pid, NULL, 0);
	ok(dcm_process_dead(&seg, child.ref), "and when that is gone");
	ok(!dcm_process_dead(&seg, (struct dcm_ref){ child.ref.index, 99 }),
	   "one of another generation is not");
	reap(child.ref);
	ok(!dcm_process_dead(&seg, child.ref), "what is free is not dead");
	end();
}

static void executed(void)
{
	struct child child;

	begin("executed");
	child = start(child_executes);
	ok(!dcm_process_dead(&seg, child.ref), "a process is not dead");
	kill(child.pid, SIGUSR1);
	wait_marked(child.ref.index);
	wait_dead(child.ref);
	is_int(0, waitpid(child.pid, NULL, WNOHANG), "after execve it runs and is dead");
	end_child(child);
	end();
}

static void keeper_ended(void)
{
	struct child child;

	begin("keeper");
	child = start(child_loses_keeper);
	wait_marked(child.ref.index);
	ok(!dcm_process_alive(&seg, child.ref.index), "without its keeper it is not alive");
	ok(!dcm_process_dead(&seg, child.ref), "but not proved dead");
	end_child(child);
	ok(dcm_process_dead(&seg, child.ref), "killed, it is");
	end();
}

static void claimers(void)
{
	struct dcm_process_self self = describe("filler");
	struct dcm_ref refs[7], ref, last;
	struct child child;
	bool others = true;

	begin("claimers");
	child = start(child_claims);
	ok(!dcm_process_dead(&seg, child.ref), "one that has claimed is not dead");
	end_child(child);
	ok(dcm_process_dead(&seg, child.ref), "killed, it is");
	is_uint(DCM_CLAIMED, dcm_word_state(dcm_load(dcm_slot_word(&seg.process, 0), seq)),
		"and leaves its slot claimed");
	for (unsigned i = 0; i < 7; i++) {
		self.start_time++; /* another process each time */
		is_int(0, dcm_process_claim(&seg, &self, &refs[i]), "one claims");
		others = others && refs[i].index != child.ref.index;
	}
	ok(others, "as long as there are free slots, they are taken");
	self.start_time++;
	is_int(0, dcm_process_claim(&seg, &self, &ref), "then");
	is_uint(child.ref.index, ref.index, "the dead one's");
	is_uint(child.ref.generation + 1, ref.generation, "in a new generation");
	ok(!dcm_process_dead(&seg, child.ref), "the dead one is over");
	self.start_time++;
	is_int(-ENOSPC, dcm_process_claim(&seg, &self, &last), "then the table is full");
	dcm_process_yield(&seg, ref);
	for (unsigned i = 0; i < 7; i++)
		dcm_process_yield(&seg, refs[i]);
	is_uint(0, dcm_load(&seg.process.used[0], seq), "and after all have left, empty");
	end();
}

static void see_byte(uint32_t index)
{
	pid_t pid = fork();
	struct dcm_segment own;

	if (pid == 0) {
		ok(attach(&own) == 0 && dcm_segment_locked(&own, index) == 1,
		   "the byte is held, as another process sees it");
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

static void forks(void)
{
	struct dcm_process_self self = describe("parent");
	struct dcm_ref ref;
	pid_t pid;

	begin("forks");
	is_int(0, dcm_process_claim(&seg, &self, &ref), "a process claims");
	pid = fork();
	if (pid == 0) {
		dcm_segment_forked(&seg);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	see_byte(ref.index);
	dcm_process_yield(&seg, ref);
	end();
}

/* Slots in memory without a lock file: only the process's number can prove anything. */
static void by_number(void)
{
	struct dcm_process_self self = describe("n");
	struct dcm_places places;
	struct dcm_segment view;
	struct dcm_ref ref = { 0, 1 };
	struct dcm_process *p;
	void *memory;
	pid_t pid;

	if (!world_has_pidfds()) {
		skip("pidfd_open is denied: a number proves nothing");
		return;
	}
	dcm_layout_places(&small, &places);
	memory = mmap(NULL, places.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	if (!dcm_segment_view(&view, memory, places.bytes, &small))
		bail("no view");
	pid = fork();
	if (pid == 0)
		for (;;)
			pause();
	p = dcm_process_at(&view, 0);
	dcm_store(&p->word, dcm_word(1, 0, DCM_PROCESS_ALIVE), seq);
	dcm_store(dcm_alive_at(&view, 0, 0), (uint32_t)getpid(), seq);
	dcm_store(&p->pid, (uint32_t)getpid(), seq);
	dcm_store(&p->pid_namespace, self.pid_namespace, seq);
	dcm_store(&p->start_time, self.start_time, seq);
	ok(!dcm_process_dead(&view, ref), "a process of that number and start time lives");
	dcm_store(&p->start_time, self.start_time + 1, seq);
	ok(dcm_process_dead(&view, ref), "of another start time it is another process");
	dcm_store(&p->pid_namespace, self.pid_namespace + 1, seq);
	ok(!dcm_process_dead(&view, ref), "in another namespace its number says nothing");
	dcm_store(&p->pid_namespace, self.pid_namespace, seq);
	dcm_store(&p->start_time, 0, seq);
	ok(!dcm_process_dead(&view, ref), "an unknown start time neither");
	dcm_store(&p->pid, (uint32_t)pid, seq);
	ok(!dcm_process_dead(&view, ref), "a child lives");
	dcm_store(&p->word, dcm_word(1, 0, DCM_CLAIMED), seq);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	ok(!dcm_process_dead(&view, ref), "of a claimed slot the fields say nothing");
	dcm_store(&p->word, dcm_word(1, 0, DCM_PROCESS_ALIVE), seq);
	ok(dcm_process_dead(&view, ref), "gone, it is dead");
	dcm_store(&p->pid, UINT32_MAX, seq);
	ok(!dcm_process_dead(&view, ref), "a number that cannot be proves nothing");
	munmap(memory, places.bytes);
}

static bool deny_pidfd_open(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof code / sizeof code[0], code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 &&
	       syscall(SYS_pidfd_open, getpid(), 0) < 0 && errno == EPERM;
}

/* Where pidfd_open is denied the lock byte is all there is. */
static void denied(void)
{
	struct child living, dead;
	pid_t pid;

	begin("denied");
	living = start(child_lives);
	dead = start(child_lives);
	end_child(dead);
	pid = fork();
	if (pid == 0) {
		if (attach(&seg) < 0) /* there is no mapping after fork */
			_exit(1);
		if (!deny_pidfd_open()) {
			skip("no seccomp filter");
			_exit(0);
		}
		ok(!dcm_process_dead(&seg, living.ref), "denied, the living is not dead");
		ok(dcm_process_dead(&seg, dead.ref), "and the dead is");
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	end_child(living);
	end();
}

/* A participant in a PID namespace of its own, whose number here is another. */
static void other_namespace(void)
{
	struct report report = { -1, 0, 0 };
	struct dcm_ref ref;
	int fds[2], status;
	pid_t pid, probe;

	probe = fork();
	if (probe == 0)
		_exit(unshare(CLONE_NEWPID) != 0);
	waitpid(probe, &status, 0);
	if (status != 0) {
		skip("no right to make a PID namespace");
		return;
	}
	begin("namespace");
	if (pipe2(fds, O_CLOEXEC) < 0)
		sysbail("pipe");
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWPID) < 0)
			_exit(9);
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			child_lives(fds[1]);
		}
		pause();
		_exit(0);
	}
	close(fds[1]);
	if (read(fds[0], &report, sizeof report) != (ssize_t)sizeof report || report.result != 0)
		bail("a child could not attach: %d", report.result);
	close(fds[0]);
	ref = (struct dcm_ref){ report.index, report.generation };
	is_uint(1, dcm_load(&dcm_process_at(&seg, ref.index)->pid, seq), "it is number 1 there");
	ok(dcm_process_alive(&seg, ref.index), "it is alive");
	ok(!dcm_process_dead(&seg, ref), "and not dead");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	wait_marked(ref.index);
	wait_dead(ref);
	ok(dcm_process_dead(&seg, ref), "killed, it is proved dead from here");
	end();
}

static void left(void)
{
	struct dcm_process_self self = describe("leaver");
	struct dcm_ref ref;
	struct timespec pause = { .tv_nsec = 20000000 };
	int status = 0;
	pid_t pid;

	begin("left");
	is_int(0, dcm_process_claim(&seg, &self, &ref), "a process claims");
	is_int(0, dcm_process_beacon_arm(&seg, ref, &beacon), "and is alive");
	pid = fork();
	if (pid == 0) {
		struct dcm_park_guard guard = { .poke.word = NULL };
		dcm_atomic32 ec = 0;

		if (attach(&seg) < 0)
			_exit(1);
		dcm_segment_settled(&seg);
		while (dcm_process_guard(&seg, ref, 5, &guard.alive[0]))
			dcm_park_sleep(&ec, 0, &guard, DCM_FOREVER);
		_exit(0);
	}
	nanosleep(&pause, NULL);
	dcm_process_beacon_disarm(&seg, ref, &beacon);
	dcm_process_yield(&seg, ref);
	waitpid(pid, &status, 0);
	is_int(0, status, "who sleeps on an alive word wakes when its owner leaves");
	end();
}

static uint32_t control_of(struct child child)
{
	return dcm_load(&dcm_process_at(&seg, child.ref.index)->control, seq);
}

static void ring(void)
{
	struct child children[CHILDREN];
	struct dcm_ref out[DCM_WATCH + 1];
	uint32_t before[CHILDREN];
	bool followed = true;

	begin("ring");
	is_uint(0, dcm_process_next(&seg, 0, out), "nobody is there to be watched");
	for (unsigned i = 0; i < CHILDREN; i++)
		children[i] = start(child_lives);
	for (unsigned i = 0; i < CHILDREN; i++) {
		is_uint(DCM_WATCH, dcm_process_next(&seg, children[i].ref.index, out),
			"each has its neighbours to watch");
		followed = followed && out[0].index == children[(i + 1) % CHILDREN].ref.index &&
			   out[1].index == children[(i + 2) % CHILDREN].ref.index;
	}
	ok(followed, "the next in the table first, around its end");
	end_child(children[1]);
	dcm_process_next(&seg, children[0].ref.index, out);
	is_uint(children[2].ref.index, out[0].index, "a dead one is passed over");
	for (unsigned i = 0; i < CHILDREN; i++)
		before[i] = control_of(children[i]);
	dcm_process_kick_watchers(&seg, children[2].ref.index);
	ok(control_of(children[0]) != before[0], "the one before it is kicked");
	ok(control_of(children[4]) != before[4], "and the one before that");
	is_uint(before[1], control_of(children[1]), "the dead one is not");
	is_uint(before[2], control_of(children[2]), "nor itself");
	is_uint(before[3], control_of(children[3]), "nor the one behind it");
	for (unsigned i = 0; i < CHILDREN; i++)
		end_child(children[i]);
	is_uint(0, dcm_process_next(&seg, 0, out), "when all are dead, nobody is left");
	end();
}

static void kicks(void)
{
	struct dcm_process_self self = describe("sleeper");
	struct timespec pause = { .tv_nsec = 20000000 };
	dcm_atomic32 *control;
	struct dcm_ref ref;
	int status = 0;
	uint32_t key;
	pid_t pid;

	begin("kicks");
	is_int(0, dcm_process_claim(&seg, &self, &ref), "a process claims");
	control = &dcm_process_at(&seg, ref.index)->control;
	pid = fork();
	if (pid == 0) {
		if (attach(&seg) < 0)
			_exit(1);
		nanosleep(&pause, NULL);
		dcm_process_kick(&seg, ref.index);
		_exit(0);
	}
	key = dcm_park_prepare(control);
	while (dcm_load(control, seq) == key)
		dcm_park_sleep(control, key, NULL, DCM_FOREVER);
	waitpid(pid, &status, 0);
	is_int(0, status, "who sleeps on its control word is woken by a kick");
	dcm_process_yield(&seg, ref);
	end();
}

/* Started again by execve, in the process that was attached before. */
static int second_life(const char *where)
{
	snprintf(fabric, sizeof fabric, "%s", where);
	return join(false).result == 0 ? 0 : 1;
}

static void child_begins_again(int pipe_fd)
{
	tell(pipe_fd, join(false));
	execl("/proc/self/exe", "again", fabric, (char *)NULL);
	_exit(9);
}

static void former_life(void)
{
	struct child child;
	int status = 0;

	begin("former");
	child = start(child_begins_again);
	waitpid(child.pid, &status, 0);
	is_int(0, status, "after execve a process may attach again");
	end();
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[0], "again") == 0)
		return second_life(argv[1]);
	plan_lazy();
	names();
	yourself();
	killed();
	executed();
	keeper_ended();
	claimers();
	forks();
	by_number();
	denied();
	other_namespace();
	left();
	ring();
	kicks();
	former_life();
	return 0;
}
