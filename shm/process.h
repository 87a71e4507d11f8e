/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * process - who is attached to the segment, who is alive, who is proved dead
 *
 *   FREE -> CLAIMED -> ALIVE -> REAP -> FREE
 *
 * Death is learnt at two levels. The alive words, robust futexes of the process's keeper thread,
 * get FUTEX_OWNER_DIED from the kernel within the same instant in which the process dies or calls
 * execve; that wakes those who wait for that process, and errors are returned on its word. Every
 * process that may wait has two words of its own there, for its calls and for its keeper: the
 * kernel wakes one sleeper for each word, and so each waiting process, whatever became of the
 * others; calls first, before the keepers begin to reap.
 * What a dead process owned is taken over only on proof (dcm_process_dead): the lock byte, or the
 * identity of the process as the kernel tells it.
 *
 * A process claims slot i by taking lock byte i first, so a slot found CLAIMED whose byte is free
 * was left by a process that died while it attached.
 *
 * Watching is a ring: each keeper sleeps on alive words of the next DCM_WATCH living processes in
 * the table, in cyclic order. Every process is so watched by as many others, without any election:
 * one of them may be stopped, and when one dies its own watchers inherit its charges.
 */
#ifndef DCM_SHM_PROCESS_H
#define DCM_SHM_PROCESS_H

#include <linux/futex.h>

#include "shm/park.h"
#include "shm/segment.h"

enum { DCM_PROCESS_ALIVE = 2 };
enum { DCM_WATCH = DCM_PARK_DEATHS };

/* What the kernel says about this process, and what it calls itself. */
struct dcm_process_self {
	uint32_t pid, uid, gid;
	uint64_t pid_namespace, pidfd_inode, start_time, sid_base;
	const char *name; /* 1 to 255 bytes */
};

/* dcm_process_describe() - fill all but sid_base and name from /proc/self; missing facts are 0 */
void dcm_process_describe(struct dcm_process_self *self);

/* dcm_process_pidfd_inode() - what the kernel calls the process behind a pidfd, never used again
 * before it reboots, and in every namespace the same; 0: this kernel does not say */
uint64_t dcm_process_pidfd_inode(int pidfd);

/*
 * dcm_process_claim() - a slot for this process, with its lock byte held and all fields written
 * Slots left by dead claimers are taken over. Another copy of the library in this very process
 * (same pid, start time and namespace, alive) is found and refused.
 * Return: 0; -ENOSPC the table is full; -EDQUOT the user's share of it is; -EEXIST another copy of
 * the library is attached.
 */
int dcm_process_claim(const struct dcm_segment *seg, const struct dcm_process_self *self,
		      struct dcm_ref *out);

/*
 * dcm_process_appear() - of dcm_beacon_arm(), what is not the kernel's: the alive words name @tid, those
 * who are to watch the newcomer are asked to, CLAIMED -> ALIVE. Return: false: the slot is not ours.
 */
bool dcm_process_appear(const struct dcm_segment *seg, struct dcm_ref self, uint32_t tid);
/* dcm_process_yield() - the slot back, after all that this process owned is gone */
void dcm_process_yield(const struct dcm_segment *seg, struct dcm_ref self);

/*
 * dcm_process_alive() - level 1: is the process at @index there, as far as its alive word says
 * Return: false as soon as the kernel has marked it, or when nobody is attached there.
 */
bool dcm_process_alive(const struct dcm_segment *seg, uint32_t index);

/* dcm_process_generation() - of the use of slot @index that is not free yet; 0: free */
uint64_t dcm_process_generation(const struct dcm_segment *seg, uint32_t index);

/* dcm_process_there() - is that very process there; as dcm_process_alive(), of one generation */
static inline bool dcm_process_there(const struct dcm_segment *seg, struct dcm_ref ref)
{
	/* The alive word first: the slot may change hands behind it. */
	return dcm_process_alive(seg, ref.index) &&
	       dcm_process_generation(seg, ref.index) == ref.generation;
}

/* dcm_alive_names_living() - an alive word names a thread that was alive when it was read */
static inline bool dcm_alive_names_living(uint32_t alive)
{
	return (alive & FUTEX_OWNER_DIED) == 0 && (alive & FUTEX_TID_MASK) != 0;
}

/* A process that is looked at again and again: where its words lie. Null: nowhere. */
struct dcm_process_sight {
	const dcm_atomic64 *word;
	const dcm_atomic32 *alive;
	uint64_t generation;
};

struct dcm_process_sight dcm_process_sight(const struct dcm_segment *seg, struct dcm_ref ref);

/* dcm_process_sighted() - dcm_process_there() of what @sight is of */
static inline bool dcm_process_sighted(const struct dcm_process_sight *sight)
{
	uint64_t word;

	/* acquire, pairs A, and the alive word first, as there; seq, R */
	if (sight->word == NULL || !dcm_alive_names_living(dcm_load(sight->alive, acquire)))
		return false;
	word = dcm_load(sight->word, seq);
	return dcm_word_state(word) == DCM_PROCESS_ALIVE &&
	       dcm_word_generation(word) == sight->generation;
}

/*
 * dcm_process_guard() - have a sleep of a call of process @self end with the death of @ref
 * @word: set to what ends it; null: only look
 * Return: true, or false: it is not there.
 */
bool dcm_process_guard(const struct dcm_segment *seg, struct dcm_ref ref, uint32_t self,
		       struct dcm_park_word *word);

/* dcm_process_made_sid() - does a SID come from the process that is or was last at @index */
bool dcm_process_made_sid(const struct dcm_segment *seg, uint32_t index, uint64_t sid);

/* dcm_process_of_sid() - the attached process that a SID comes from; generation 0: none */
struct dcm_ref dcm_process_of_sid(const struct dcm_segment *seg, uint64_t sid);

/*
 * dcm_process_owned() - may a reaper of @dead step on from @word, which it has just read
 * The word names its owner by index alone. It is the dead one's if the dead one's slot is not free
 * yet now, after the word was read: whoever has the index later finds the slot in a later
 * generation, for claiming raises it and so does reaping, so a step from exactly this word is a
 * step for the dead. That is what makes any number of reapers safe, the stopped ones too that wake
 * up when the index is long another's.
 */
static inline bool dcm_process_owned(const struct dcm_segment *seg, uint64_t word,
				     struct dcm_ref dead)
{
	return dcm_word_state(word) != DCM_FREE && dcm_word_owner(word) == dead.index &&
	       DCM_ORDER(owned_by_that_use,
			 dcm_process_generation(seg, dead.index) == dead.generation, true);
}

/*
 * dcm_process_dead() - level 2: is the process at @index, in its use @generation, proved dead
 * Return: true only on the kernel's word; false is "not proved".
 */
bool dcm_process_dead(const struct dcm_segment *seg, struct dcm_ref ref);

/* What a keeper is asked for, a set: to look at the bells that rang (shm/bell.h); at all that can
   tell of something; for the dead and the newcomers; at the connections that are marked
   (dcm_rendezvous_tell_server()). With AROUND goes all the rest. */
enum {
	DCM_KICK_BELL = 0,
	DCM_KICK_SOURCES = 1,
	DCM_KICK_AROUND = 2,
	DCM_KICK_MARKED = 4,
	DCM_KICK_ALL = DCM_KICK_SOURCES | DCM_KICK_AROUND,
};

/* dcm_process_kick_for() - ask the keeper of process @index to look, as far as @what (wakes it) */
void dcm_process_kick_for(const struct dcm_segment *seg, uint32_t index, uint32_t what);

/* dcm_process_kick() - ask the keeper of process @index to look around: DCM_KICK_ALL */
static inline void dcm_process_kick(const struct dcm_segment *seg, uint32_t index)
{
	dcm_process_kick_for(seg, index, DCM_KICK_ALL);
}

/*
 * dcm_process_next() - the processes that the one at @self watches: living ones, and newcomers that
 * are about to be ALIVE
 * Return: how many of @out[DCM_WATCH] were set (fewer when there are fewer others).
 */
unsigned dcm_process_next(const struct dcm_segment *seg, uint32_t self, struct dcm_ref *out);

/* dcm_process_kick_watchers() - ask those before the process at @self to watch it */
void dcm_process_kick_watchers(const struct dcm_segment *seg, uint32_t self);

/*
 * dcm_process_watch() - have a sleep of the keeper at @self end with the death of those it watches
 * @again: counts those on whom no sleep can be, since the segment is damaged: look again soon
 * Return: true, or false: one of them died meanwhile, look again.
 */
bool dcm_process_watch(const struct dcm_segment *seg, uint32_t self, struct dcm_park_guard *guard,
		       uint32_t *again);

/* dcm_name_store()/dcm_name_load() - names in the segment; load always ends in a zero within size */
void dcm_name_store(struct dcm_name *to, const char *from);
void dcm_name_load(char to[256], const struct dcm_name *from);
bool dcm_name_equal(const struct dcm_name *in_segment, const char *name);

#endif
