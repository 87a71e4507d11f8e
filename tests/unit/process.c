/* SPDX-License-Identifier: BSD-2-Clause */
/* Who is attached, alive, dead: real processes, killed, stopped, replaced. */
#define _GNU_SOURCE
#include "shm/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/kernel.h"
#include "tests/tap.h"
#include "tests/unit/lib_process.h"
#include "tests/unit/lib_world.h"

static void child_claims(int pipe_fd)
{
	proc_tell(pipe_fd, proc_join(true));
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
	proc_tell(pipe_fd, proc_join(false));
	sigwait(&wanted, &signal);
	execl("/bin/sleep", "sleep", "1000", (char *)NULL);
	_exit(9);
}

static void *keeper(void *report)
{
	*(struct proc_report *)report = proc_join(false);
	return NULL;
}

/* The keeper thread ends, without having put out its beacon; the process goes on. */
static void child_loses_keeper(int pipe_fd)
{
	struct proc_report report = { -1, 0, 0 };
	pthread_t thread;

	if (pthread_create(&thread, NULL, keeper, &report) == 0)
		pthread_join(thread, NULL);
	proc_tell(pipe_fd, report);
	for (;;)
		pause();
}

/* What a reaper does with a process that owned nothing. */
static void reap(struct dcm_ref ref)
{
	uint64_t word = dcm_load(dcm_slot_word(&proc_seg.process, ref.index), seq);

	ok(dcm_slot_step(&proc_seg.process, ref, ref.index, dcm_word_state(word), 7, DCM_REAP),
	   "it is taken over");
	ok(!dcm_process_dead(&proc_seg, ref), "while it is being taken apart it is not dead again");
	dcm_slot_yield(&proc_seg.process, ref);
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
	struct dcm_process_self self = proc_describe("me");
	struct dcm_segment again;
	struct dcm_ref ref, other = { 99, 99 };
	struct dcm_process *p;
	char name[256];

	proc_begin("yourself");
	is_uint((uint64_t)getpid(), self.pid, "the pid is known");
	ok(self.pid_namespace != 0 && self.start_time != 0, "and what tells it from others");
	is_int(0, dcm_process_claim(&proc_seg, &self, &ref), "a slot is claimed");
	p = dcm_process_at(&proc_seg, ref.index);
	is_uint(dcm_word(ref.generation, ref.index, DCM_CLAIMED), dcm_load(&p->word, seq),
		"by its own index");
	is_uint(self.start_time, dcm_load(&p->start_time, seq), "with the start time");
	is_uint(77, dcm_load(&p->sid_base, seq), "and the base of the SIDs");
	dcm_name_load(name, &p->name);
	is_string("me", name, "and the name");
	ok(!dcm_process_alive(&proc_seg, ref.index), "it is not alive yet");
	ok(!dcm_process_dead(&proc_seg, ref), "but not dead");
	is_int(0, proc_attach(&again), "a second copy of the library attaches");
	is_int(-EEXIST, dcm_process_claim(&again, &self, &other), "and is found out");
	is_int(0, dcm_beacon_arm(&proc_seg, ref, &proc_beacon), "the beacon is lit");
	is_int(-EEXIST, dcm_process_claim(&again, &self, &other), "it is still found out");
	dcm_segment_close(&again);
	is_uint(99, other.index, "and got nothing");
	is_int(1, dcm_segment_locked(&proc_seg, ref.index), "its leaving did not drop the byte");
	ok(dcm_process_alive(&proc_seg, ref.index), "the first is alive");
	ok(!dcm_process_dead(&proc_seg, ref), "and not dead");
	is_int(-EBADMSG,
	       dcm_beacon_arm(&proc_seg, (struct dcm_ref){ ref.index, 99 }, &proc_beacon),
	       "another generation cannot be made alive");
	dcm_beacon_disarm(&proc_seg, ref, &proc_beacon);
	ok(!dcm_process_alive(&proc_seg, ref.index), "the beacon is put out");
	ok(!dcm_process_dead(&proc_seg, ref), "which is not death");
	dcm_process_yield(&proc_seg, ref);
	is_uint(dcm_word(ref.generation, 0, DCM_FREE), dcm_load(&p->word, seq), "given back");
	is_int(0, dcm_segment_locked(&proc_seg, ref.index), "with its byte");
	is_uint(0, dcm_load(&proc_seg.process.used[0], seq), "and its bit");
	is_uint(0, dcm_process_generation(&proc_seg, ref.index), "nobody is there");
	is_int(0, proc_attach(&again), "the second copy comes back");
	is_int(0, dcm_process_claim(&again, &self, &other), "and may stay");
	is_uint(ref.generation + 1, other.generation, "in a new generation");
	dcm_process_yield(&again, other);
	dcm_segment_close(&again);
	ok(!dcm_process_alive(&proc_seg, 8) && !dcm_alive_at(&proc_seg, 8, 0) &&
		   !dcm_process_dead(&proc_seg, (struct dcm_ref){ 8, 1 }),
	   "there is no ninth");
	dcm_process_kick(&proc_seg, 8);
	proc_end();
}

static void killed(void)
{
	struct proc_child child;

	proc_begin("killed");
	child = proc_start(proc_lives);
	ok(dcm_process_alive(&proc_seg, child.ref.index), "a process is alive");
	is_hex((uint32_t)child.pid, dcm_load(dcm_alive_at(&proc_seg, child.ref.index, 0), seq),
	       "as its thread says");
	is_hex((uint32_t)child.pid, dcm_load(dcm_alive_at(&proc_seg, child.ref.index, 8), seq),
	       "to everybody's calls");
	is_hex((uint32_t)child.pid, dcm_load(dcm_alive_at(&proc_seg, child.ref.index, 16), seq),
	       "and keepers");
	ok(dcm_alive_at(&proc_seg, child.ref.index, 17) == NULL, "and that is all");
	is_uint(child.ref.generation, dcm_process_generation(&proc_seg, child.ref.index),
		"it is there");
	ok(!dcm_process_dead(&proc_seg, child.ref), "not dead");
	kill(child.pid, SIGSTOP);
	waitpid(child.pid, NULL, WUNTRACED);
	ok(dcm_process_alive(&proc_seg, child.ref.index), "stopped, it is alive");
	ok(!dcm_process_dead(&proc_seg, child.ref), "and not dead");
	kill(child.pid, SIGKILL);
	proc_wait_marked(child.ref.index);
	ok(!dcm_process_alive(&proc_seg, child.ref.index), "killed, it is not alive");
	proc_wait_dead(child.ref);
	ok(kill(child.pid, 0) == 0, "and dead while it is a zombie");
	waitpid(child.pid, NULL, 0);
	ok(dcm_process_dead(&proc_seg, child.ref), "and when that is gone");
	ok(!dcm_process_dead(&proc_seg, (struct dcm_ref){ child.ref.index, 99 }),
	   "one of another generation is not");
	reap(child.ref);
	ok(!dcm_process_dead(&proc_seg, child.ref), "what is free is not dead");
	proc_end();
}

static void executed(void)
{
	struct proc_child child;

	proc_begin("executed");
	child = proc_start(child_executes);
	ok(!dcm_process_dead(&proc_seg, child.ref), "a process is not dead");
	kill(child.pid, SIGUSR1);
	proc_wait_marked(child.ref.index);
	proc_wait_dead(child.ref);
	is_int(0, waitpid(child.pid, NULL, WNOHANG), "after execve it runs and is dead");
	proc_end_child(child);
	proc_end();
}

static void keeper_ended(void)
{
	struct proc_child child;

	proc_begin("keeper");
	child = proc_start(child_loses_keeper);
	proc_wait_marked(child.ref.index);
	ok(!dcm_process_alive(&proc_seg, child.ref.index), "without its keeper it is not alive");
	ok(!dcm_process_dead(&proc_seg, child.ref), "but not proved dead");
	proc_end_child(child);
	ok(dcm_process_dead(&proc_seg, child.ref), "killed, it is");
	proc_end();
}

static void claimers(void)
{
	struct dcm_process_self self = proc_describe("filler");
	struct dcm_ref refs[7], ref, last;
	struct proc_child child;
	bool others = true;

	proc_begin("claimers");
	child = proc_start(child_claims);
	ok(!dcm_process_dead(&proc_seg, child.ref), "one that has claimed is not dead");
	proc_end_child(child);
	ok(dcm_process_dead(&proc_seg, child.ref), "killed, it is");
	is_uint(DCM_CLAIMED, dcm_word_state(dcm_load(dcm_slot_word(&proc_seg.process, 0), seq)),
		"and leaves its slot claimed");
	for (unsigned i = 0; i < 7; i++) {
		self.start_time++; /* another process each time */
		is_int(0, dcm_process_claim(&proc_seg, &self, &refs[i]), "one claims");
		others = others && refs[i].index != child.ref.index;
	}
	ok(others, "as long as there are free slots, they are taken");
	self.start_time++;
	is_int(0, dcm_process_claim(&proc_seg, &self, &ref), "then");
	is_uint(child.ref.index, ref.index, "the dead one's");
	is_uint(child.ref.generation + 1, ref.generation, "in a new generation");
	ok(!dcm_process_dead(&proc_seg, child.ref), "the dead one is over");
	self.start_time++;
	is_int(-ENOSPC, dcm_process_claim(&proc_seg, &self, &last), "then the table is full");
	dcm_process_yield(&proc_seg, ref);
	for (unsigned i = 0; i < 7; i++)
		dcm_process_yield(&proc_seg, refs[i]);
	is_uint(0, dcm_load(&proc_seg.process.used[0], seq), "and after all have left, empty");
	proc_end();
}

static void see_byte(uint32_t index)
{
	pid_t pid = fork();
	struct dcm_segment own;

	if (pid == 0) {
		ok(proc_attach(&own) == 0 && dcm_segment_locked(&own, index) == 1,
		   "the byte is held, as another process sees it");
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

static void forks(void)
{
	struct dcm_process_self self = proc_describe("parent");
	struct dcm_ref ref;
	pid_t pid;

	proc_begin("forks");
	is_int(0, dcm_process_claim(&proc_seg, &self, &ref), "a process claims");
	pid = fork();
	if (pid == 0) {
		dcm_segment_forked(&proc_seg);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	see_byte(ref.index);
	dcm_process_yield(&proc_seg, ref);
	proc_end();
}

/* Slots in memory without a lock file: only the process's number can prove anything. */
static void by_number(void)
{
	struct dcm_process_self self = proc_describe("n");
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
	dcm_layout_places(&proc_capacity, &places);
	memory = mmap(NULL, places.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	if (!dcm_segment_view(&view, memory, places.bytes, &proc_capacity))
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
	struct proc_child living, dead;
	pid_t pid;

	proc_begin("denied");
	living = proc_start(proc_lives);
	dead = proc_start(proc_lives);
	proc_end_child(dead);
	pid = fork();
	if (pid == 0) {
		if (proc_attach(&proc_seg) < 0) /* there is no mapping after fork */
			_exit(1);
		if (!deny_pidfd_open()) {
			skip("no seccomp filter");
			_exit(0);
		}
		ok(!dcm_process_dead(&proc_seg, living.ref), "denied, the living is not dead");
		ok(dcm_process_dead(&proc_seg, dead.ref), "and the dead is");
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	proc_end_child(living);
	proc_end();
}

/* A participant in a PID namespace of its own, whose number here is another. */
static void other_namespace(void)
{
	struct proc_report report = { -1, 0, 0 };
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
	proc_begin("namespace");
	if (pipe2(fds, O_CLOEXEC) < 0)
		sysbail("pipe");
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWPID) < 0)
			_exit(9);
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			proc_lives(fds[1]);
		}
		pause();
		_exit(0);
	}
	close(fds[1]);
	if (read(fds[0], &report, sizeof report) != (ssize_t)sizeof report || report.result != 0)
		bail("a child could not attach: %d", report.result);
	close(fds[0]);
	ref = (struct dcm_ref){ report.index, report.generation };
	is_uint(1, dcm_load(&dcm_process_at(&proc_seg, ref.index)->pid, seq),
		"it is number 1 there");
	ok(dcm_process_alive(&proc_seg, ref.index), "it is alive");
	ok(!dcm_process_dead(&proc_seg, ref), "and not dead");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	proc_wait_marked(ref.index);
	proc_wait_dead(ref);
	ok(dcm_process_dead(&proc_seg, ref), "killed, it is proved dead from here");
	proc_end();
}

/* Started again by execve, in the process that was attached before. */
static int second_life(const char *where)
{
	snprintf(proc_fabric, sizeof proc_fabric, "%s", where);
	return proc_join(false).result == 0 ? 0 : 1;
}

static void child_begins_again(int pipe_fd)
{
	proc_tell(pipe_fd, proc_join(false));
	execl("/proc/self/exe", "again", proc_fabric, (char *)NULL);
	_exit(9);
}

static void former_life(void)
{
	struct proc_child child;
	int status = 0;

	proc_begin("former");
	child = proc_start(child_begins_again);
	waitpid(child.pid, &status, 0);
	is_int(0, status, "after execve a process may attach again");
	proc_end();
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
	former_life();
	return 0;
}
