/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Edges of this file
 *   I  identity:  claim's stores of the fields -> whoever reads them and then the state word again
 *   C  copies:    a claim, then a look at the others; both seq, in both of two copies of the library
 *                 in one process: at least one sees the other
 *   A  alive:     appear's store, or the kernel's -> alive, next, dead
 *   R  ring:      newcomer: alive word 0, then a look for who is ALIVE, to ask it; watcher: ALIVE,
 *                 then a look at alive words 0 (Dekker, all seq): it is asked, or sees for itself
 *   N  name:      name_store -> name_load; torn only if the state word changed meanwhile
 */
#define _GNU_SOURCE
#include "shm/process.h"
#include "shm/park.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "shm/kernel.h"
#include "shm/quota.h"

/* More than a process ever makes. */
#define SIDS_MAX (1ull << 40)

#define NAME_BYTES (DCM_NAME_WORDS * 8)

static bool read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t bytes;

	if (fd < 0)
		return false;
	bytes = read(fd, text, size - 1);
	close(fd);
	text[bytes > 0 ? bytes : 0] = '\0';
	return bytes > 0;
}

/* Field 22; the second is the program's name in parentheses and may hold anything. 0: not known. */
static uint64_t start_time_of(const char *stat_path)
{
	char text[1024];
	char *at;

	if (!read_text(stat_path, text, sizeof text))
		return 0;
	at = strrchr(text, ')');
	for (int field = 2; at != NULL && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at == NULL ? 0 : strtoull(at, NULL, 10);
}

static uint64_t own_pid_namespace(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}

static int open_pidfd(uint32_t pid)
{
	return (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
}

uint64_t dcm_process_pidfd_inode(int pidfd)
{
	struct statfs fs;
	struct stat st;

	if (!DCM_KERNEL_NEW || fstatfs(pidfd, &fs) < 0 || fs.f_type != DCM_PIDFS_MAGIC)
		return 0;
	return fstat(pidfd, &st) == 0 ? st.st_ino : 0;
}

static uint64_t own_pidfd_inode(void)
{
	int pidfd = open_pidfd((uint32_t)getpid());
	uint64_t inode = pidfd < 0 ? 0 : dcm_process_pidfd_inode(pidfd);

	if (pidfd >= 0)
		close(pidfd);
	return inode;
}

void dcm_process_describe(struct dcm_process_self *self)
{
	self->pid = (uint32_t)getpid();
	self->uid = geteuid();
	self->gid = getegid();
	self->pid_namespace = own_pid_namespace();
	self->pidfd_inode = own_pidfd_inode();
	self->start_time = start_time_of("/proc/self/stat");
}

void dcm_name_store(struct dcm_name *to, const char *from)
{
	uint64_t words[DCM_NAME_WORDS] = { 0 };

	memcpy(words, from, strnlen(from, NAME_BYTES - 1));
	/* release, N */
	for (unsigned i = 0; i < DCM_NAME_WORDS; i++)
		dcm_store(&to->words[i], words[i], release);
}

void dcm_name_load(char to[256], const struct dcm_name *from)
{
	uint64_t words[DCM_NAME_WORDS];

	/* acquire, pairs N: a word of a later name makes the later state word visible too. */
	for (unsigned i = 0; i < DCM_NAME_WORDS; i++)
		words[i] = dcm_load(&from->words[i], acquire);
	memcpy(to, words, NAME_BYTES);
	DCM_LINE(end_of_name) to[NAME_BYTES - 1] = '\0';
}

bool dcm_name_equal(const struct dcm_name *in_segment, const char *name)
{
	char copy[NAME_BYTES];

	dcm_name_load(copy, in_segment);
	return strcmp(copy, name) == 0;
}

static bool same_process(const struct dcm_process *p, const struct dcm_process_self *self)
{
	/* acquire, pairs I */
	return dcm_load(&p->pid, acquire) == self->pid &&
	       dcm_load(&p->start_time, acquire) == self->start_time &&
	       dcm_load(&p->pid_namespace, acquire) == self->pid_namespace;
}

/*
 * A slot of this very process, which holds its byte: by another copy of the library. One whose byte
 * is free is what an execve left of this process's former life.
 */
static bool another_copy_at(const struct dcm_segment *seg, uint32_t index,
			    const struct dcm_process_self *self)
{
	struct dcm_process *p = dcm_process_at(seg, index);
	/* seq, C */
	uint32_t state = dcm_word_state(dcm_load(&p->word, seq));

	return (state == DCM_CLAIMED || state == DCM_PROCESS_ALIVE) && same_process(p, self) &&
	       dcm_segment_locked_here(seg, index);
}

/* release, I: whoever reads one of these sees at least the state word under which it was written. */
static void store_fields(struct dcm_process *p, const struct dcm_process_self *self)
{
	dcm_store(&p->pid, self->pid, release);
	dcm_store(&p->pidfd_inode, self->pidfd_inode, release);
	dcm_store(&p->start_time, self->start_time, release);
	dcm_store(&p->pid_namespace, self->pid_namespace, release);
	dcm_store(&p->uid, self->uid, release);
	dcm_store(&p->gid, self->gid, release);
	dcm_store(&p->sid_base, self->sid_base, release);
	dcm_store(&p->tid, 0, release);
	dcm_name_store(&p->name, self->name);
}

static bool another_copy(const struct dcm_segment *seg, uint32_t but,
			 const struct dcm_process_self *self)
{
	for (uint32_t i = 0; i < seg->process.count; i++)
		if (i != but && another_copy_at(seg, i, self))
			return true;
	return false;
}

/* Under the byte. Return: 1 claimed, 0 not to be had, -EEXIST. */
static int claim_locked(const struct dcm_segment *seg, uint32_t index, uint64_t word,
			const struct dcm_process_self *self, struct dcm_ref *out)
{
	struct dcm_process *p = dcm_process_at(seg, index);
	uint64_t generation = dcm_word_generation(word) + 1;
	uint32_t state;

	/* acquire, pairs the steps of whoever had the byte after @word was read. */
	if (dcm_load(&p->word, acquire) != word)
		return 0;
	/* Before the claim, while the byte keeps others away: a second copy of the library must not
	   find a claim without a name on it. */
	store_fields(p, self);
	/* seq, C. Dying from here on leaves CLAIMED with a free byte. */
	if (dcm_cas(&p->word, &word, dcm_word(generation, index, DCM_CLAIMED))) {
		dcm_or(&seg->process.used[index / 64], 1ull << index % 64);
		*out = (struct dcm_ref){ .index = index, .generation = generation };
		return 1;
	}
	state = dcm_word_state(word);
	/* Claimed by somebody else with our byte: only this very process could do that. */
	return state == DCM_CLAIMED || state == DCM_PROCESS_ALIVE ? -EEXIST : 0;
}

/* A claimer holds its byte from before the claim: a slot seen CLAIMED, then its byte free, was left
   by a dead one. Return: as claim_locked(). */
static int claim_at(const struct dcm_segment *seg, uint32_t index, uint32_t wanted,
		    const struct dcm_process_self *self, struct dcm_ref *out)
{
	/* acquire, pairs the yield's release: what its last owner did there is over. */
	uint64_t word = dcm_load(&dcm_process_at(seg, index)->word, acquire);
	int r;

	if (dcm_word_state(word) != wanted || !dcm_segment_lock(seg, index))
		return 0;
	r = claim_locked(seg, index, word, self, out);
	/* After -EEXIST the byte is the other copy's too, and must stay. */
	if (r == 0)
		dcm_segment_unlock(seg, index);
	return r;
}

int dcm_process_claim(const struct dcm_segment *seg, const struct dcm_process_self *self,
		      struct dcm_ref *out)
{
	static const uint32_t passes[] = { DCM_FREE, DCM_CLAIMED };

	if (another_copy(seg, UINT32_MAX, self))
		return -EEXIST;
	for (uint32_t i = 0; i < 2 * seg->process.count; i++) {
		uint32_t index = i % seg->process.count;
		int r = claim_at(seg, index, passes[i / seg->process.count], self, out);

		if (r < 0)
			return r;
		if (r == 0)
			continue;
		/* Two copies that claim at once: each has claimed before it looks again. */
		r = another_copy(seg, index, self)		   ? -EEXIST
		    : dcm_quota_exceeded(seg, &seg->process, index) ? -EDQUOT
								    : 0;
		if (r < 0)
			dcm_process_yield(seg, *out);
		return r;
	}
	return -ENOSPC;
}

bool dcm_process_alive(const struct dcm_segment *seg, uint32_t index)
{
	const struct dcm_process *p = dcm_process_at(seg, index);

	/* seq, R */
	if (p == NULL || dcm_word_state(dcm_load(&p->word, seq)) != DCM_PROCESS_ALIVE)
		return false;
	/* acquire, pairs A */
	return dcm_alive_names_living(dcm_load(dcm_alive_at(seg, index, 0), acquire));
}

void dcm_process_kick_for(const struct dcm_segment *seg, uint32_t index, uint32_t what)
{
	struct dcm_process *p = dcm_process_at(seg, index);

	if (p == NULL)
		return;
	/* Before the keeper can wake: it takes what is asked for behind its key. */
	if (what != DCM_KICK_BELL)
		dcm_or(&p->asked, what);
	/* Dying between the two leaves the keeper asleep: it looks around in its own time. */
	dcm_add(&p->control, 2u);
	dcm_park_wake_all(&p->control);
}

static bool is_used(const struct dcm_segment *seg, uint32_t index)
{
	/* seq, R: the bit is set before the step to ALIVE */
	return (dcm_load(&seg->process.used[index / 64], seq) >> index % 64 & 1) != 0;
}

void dcm_process_kick_watchers(const struct dcm_segment *seg, uint32_t self)
{
	uint32_t count = seg->process.count;
	unsigned kicked = 0;

	for (uint32_t i = 1; i < count && kicked < DCM_WATCH; i++) {
		uint32_t index = (self + count - i) % count;

		if (is_used(seg, index) && dcm_process_alive(seg, index)) {
			dcm_process_kick(seg, index);
			kicked++;
		}
	}
}

bool dcm_process_appear(const struct dcm_segment *seg, struct dcm_ref self, uint32_t tid)
{
	/* release, A. Who sleeps on one sets FUTEX_WAITERS: without it the kernel wakes nobody. */
	for (uint32_t place = 1; place < dcm_alive_words(seg->process.count); place++)
		dcm_store(dcm_alive_at(seg, self.index, place), tid, release);
	/* seq, R; last, for it says that the others can be slept on. */
	dcm_store(dcm_alive_at(seg, self.index, 0), tid,
		  DCM_ORDER(newcomer_looks_in_order, seq, release));
	/* Before the step: who finds us ALIVE counts on us as a watcher, and so on ours. */
	DCM_LINE(newcomer_asks) dcm_process_kick_watchers(seg, self.index);
	/* seq, R. Dying before leaves CLAIMED with a free byte, after it a mark in the alive word. */
	return dcm_slot_step(&seg->process, self, self.index, DCM_CLAIMED, self.index,
			     DCM_PROCESS_ALIVE);
}

void dcm_process_yield(const struct dcm_segment *seg, struct dcm_ref self)
{
	/* In this order: a slot that is not free and whose byte is, counts as left by a dead one. */
	dcm_slot_yield(&seg->process, self);
	dcm_segment_unlock(seg, self.index);
}

uint64_t dcm_process_generation(const struct dcm_segment *seg, uint32_t index)
{
	const struct dcm_process *p = dcm_process_at(seg, index);
	/* seq: dcm_process_owned() needs it after the load before it */
	uint64_t word = p == NULL ? 0 : dcm_load(&p->word, seq);

	return dcm_word_state(word) == DCM_FREE ? 0 : dcm_word_generation(word);
}

static bool has_ended(int pidfd)
{
	struct pollfd on = { .fd = pidfd, .events = POLLIN };

	return poll(&on, 1, 0) == 1 && (on.revents & POLLIN) != 0;
}

/*
 * Start time of the process behind @pidfd; 0: not known. Its number in /proc is the one that /proc,
 * perhaps mounted in another PID namespace than ours, says in the pidfd's fdinfo.
 */
static uint64_t start_time_behind(int pidfd)
{
	char path[64], text[1024];
	const char *at;
	long pid;

	snprintf(path, sizeof path, "/proc/thread-self/fdinfo/%d", pidfd);
	if (!read_text(path, text, sizeof text))
		return 0;
	at = strstr(text, "\nPid:");
	pid = at == NULL ? 0 : strtol(at + 5, NULL, 10);
	if (pid <= 0)
		return 0;
	snprintf(path, sizeof path, "/proc/%ld/stat", pid);
	return start_time_of(path);
}

/* The process by its number, where that means anything here. Refusals of the kernel prove nothing. */
static bool gone_by_number(const struct dcm_process *p, bool byte_is_held)
{
	/* acquire, pairs I */
	uint32_t pid = dcm_load(&p->pid, acquire);
	uint64_t pid_namespace = dcm_load(&p->pid_namespace, acquire);
	uint64_t start_time = dcm_load(&p->start_time, acquire);
	uint64_t inode = dcm_load(&p->pidfd_inode, acquire);
	uint64_t found = 0, found_inode;
	bool ended;
	int pidfd;

	if (pid == 0 || pid > INT32_MAX || pid_namespace == 0 ||
	    pid_namespace != own_pid_namespace())
		return false;
	pidfd = open_pidfd(pid);
	if (pidfd < 0)
		return errno == ESRCH;
	found_inode = dcm_process_pidfd_inode(pidfd);
	if (inode != 0 && found_inode != 0) {
		ended = inode != found_inode || has_ended(pidfd);
		close(pidfd);
		return ended;
	}
	/* A held byte and another start time: the same process, seen from another time namespace. */
	if (!byte_is_held && start_time != 0)
		found = start_time_behind(pidfd);
	/* In this order: while the pidfd is not readable, what was read was of its process. */
	ended = has_ended(pidfd);
	close(pidfd);
	return ended || (found != 0 && found != start_time);
}

bool dcm_process_made_sid(const struct dcm_segment *seg, uint32_t index, uint64_t sid)
{
	const struct dcm_process *p = dcm_process_at(seg, index);

	/* acquire, pairs I; a process counts its SIDs up from its base. */
	return p != NULL && sid - dcm_load(&p->sid_base, acquire) < SIDS_MAX;
}

struct dcm_ref dcm_process_of_sid(const struct dcm_segment *seg, uint64_t sid)
{
	for (uint32_t i = 0; i < seg->process.count; i++) {
		struct dcm_ref ref = { i, dcm_process_generation(seg, i) };

		if (ref.generation != 0 && dcm_process_made_sid(seg, i, sid) &&
		    dcm_process_there(seg, ref))
			return ref;
	}
	return (struct dcm_ref){ 0, 0 };
}

bool dcm_process_dead(const struct dcm_segment *seg, struct dcm_ref ref)
{
	const struct dcm_process *p = dcm_process_at(seg, ref.index);
	uint64_t word;
	bool dead;
	int locked;

#ifdef DCM_HOOKS
	if (DCM_HOOKED(process_dead))
		return dcm_hooks->process_dead(ref.index, ref.generation);
#endif
	if (p == NULL)
		return false;
	/* acquire, pairs the claimer's and reaper's steps */
	word = dcm_load(&p->word, acquire);
	if (dcm_word_generation(word) != ref.generation)
		return false;
	locked = dcm_segment_locked(seg, ref.index);
	if (dcm_word_state(word) == DCM_CLAIMED)
		dead = locked == 0;
	else if (dcm_word_state(word) == DCM_PROCESS_ALIVE)
		/* acquire, pairs A */
		dead = (locked == 0 &&
			!dcm_alive_names_living(dcm_load(dcm_alive_at(seg, ref.index, 0), acquire))) ||
		       gone_by_number(p, locked == 1);
	else
		dead = false;
	/* If it changed, the fields may have been another process's. */
	return dead && dcm_load(&p->word, acquire) == word;
}

struct dcm_process_sight dcm_process_sight(const struct dcm_segment *seg, struct dcm_ref ref)
{
	struct dcm_process *p = dcm_process_at(seg, ref.index);

	return (struct dcm_process_sight){ .word = p != NULL ? &p->word : NULL,
					   .alive = dcm_alive_at(seg, ref.index, 0),
					   .generation = ref.generation };
}

/* The word at @place to sleep on until the process at @index dies. False: it has. */
static bool sleep_word(const struct dcm_segment *seg, uint32_t index, uint32_t place,
		       struct dcm_park_word *out)
{
	dcm_atomic32 *alive = dcm_alive_at(seg, index, place);
	uint32_t expected;

	if (alive == NULL)
		return false;
	expected = dcm_load(alive, acquire);
	/* Set before the kernel marks the word, or the mark is in @expected. */
	if ((expected & FUTEX_WAITERS) == 0)
		DCM_LINE(sleeper_is_counted)
	expected = dcm_or(alive, FUTEX_WAITERS) | FUTEX_WAITERS;
	*out = (struct dcm_park_word){ alive, expected };
	return dcm_alive_names_living(expected);
}

bool dcm_process_guard(const struct dcm_segment *seg, struct dcm_ref ref, uint32_t self,
		       struct dcm_park_word *word)
{
	if (!dcm_process_there(seg, ref))
		return false;
	if (word == NULL)
		return true;
	/* Again, behind the word: if the slot changes hands from here on, a sleep ends at once. */
	return sleep_word(seg, ref.index, dcm_alive_calls(DCM_ORDER(word_of_its_own, self, 0u)),
			  word) &&
	       DCM_ORDER(guard_looks_again, dcm_process_there(seg, ref), true);
}

/* Of which generation is the process at @index that can be watched, as it appears or later; 0: none */
static uint64_t watchable(const struct dcm_segment *seg, uint32_t index)
{
	/* seq, R: ours is ALIVE */
	uint64_t word = dcm_load(&dcm_process_at(seg, index)->word, seq);
	uint32_t state = dcm_word_state(word);

	/* seq, R */
	return (state == DCM_CLAIMED || state == DCM_PROCESS_ALIVE) &&
			       dcm_alive_names_living(dcm_load(dcm_alive_at(seg, index, 0), seq))
		       ? dcm_word_generation(word)
		       : 0;
}

unsigned dcm_process_next(const struct dcm_segment *seg, uint32_t self, struct dcm_ref *out)
{
	uint32_t count = seg->process.count;
	unsigned found = 0;

	for (uint32_t i = 1; i < count && found < DCM_WATCH; i++) {
		uint32_t index = (self + i) % count;
		uint64_t generation = is_used(seg, index) ? watchable(seg, index) : 0;

		if (generation != 0)
			out[found++] = (struct dcm_ref){ index, generation };
	}
	return found;
}

bool dcm_process_watch(const struct dcm_segment *seg, uint32_t self, struct dcm_park_guard *guard,
		       uint32_t *again)
{
	uint32_t place = dcm_alive_keeper(seg, DCM_ORDER(keeper_of_its_own, self, 0u));
	struct dcm_ref next[DCM_WATCH];

	for (unsigned i = dcm_process_next(seg, self, next); i-- > 0;) {
		bool living = sleep_word(seg, next[i].index, place, &guard->alive[i]);

		/* Again, behind the word, as dcm_process_guard(). */
		if (watchable(seg, next[i].index) != next[i].generation)
			return false;
		if (living)
			continue;
		/* It is there, and the word that is ours says that it is not: scribbled on, for the
		   kernel marks word 0 first. Not slept on, and not looked at without end either. */
		guard->alive[i].word = NULL;
		++*again;
	}
	return true;
}
