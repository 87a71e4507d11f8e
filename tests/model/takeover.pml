/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reaping and takeover (shm/slot.c, shm/reap.c, dcm_process_owned in shm/process.h): a process
 * died and left two slots, one of them half given back. Reapers go through them at once,
 * each at its own pace: to be stopped in the middle is to be slow. One of them may die at any
 * step; the others then reap it too. As soon as the index of the first dead is free, a newcomer
 * takes it, reaps as the others do, and uses slots.
 *
 * Nobody steps on a slot that is not the dead one's that it reaps; none is freed twice or in use
 * by two; when nobody moves any more, nothing of the dead is left and the bitmap is exact. (The
 * model knows whose a slot is, in whose[]. The participants see the words only.)
 *
 *   -DSLOTS=1              only the one that was half given back
 *   -DREAPERS=n            2 or 3
 * Mutants, each of which must fail:
 *   -DSAME_GENERATION      seizing does not raise the generation
 *   -DANY_USE              the owned check does not ask for the use of the process slot
 *   -DOWNED_EARLY          the owned check comes before the word is read
 *   -DPROCESS_FIRST        the process slot is freed before what the process owned
 *   -DWORK_FIRST           the reaper takes the slot apart, and then makes itself the owner
 *   -DFREE_FIRST           the slot is free before its bit is cleared
 *   -DNO_HALF_REAPED       the process slots that a dead reaper had seized are not looked for
 */
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef REAPERS
#define REAPERS 2
#endif
#define INDICES (1 + REAPERS)
#define PLACES (SLOTS + INDICES)
#define PROCESS(i) (SLOTS + (i)) /* the process slot of an index */
#define NEWCOMER INDICES	 /* a life; others have the number of their index */
#define NOBODY (INDICES + 1)

mtype = { FREE, CLAIMED, LIVE, REAP };

/* The words, in parts. A generation counts uses and seizures. */
mtype state[PLACES];
byte generation[PLACES], owner[PLACES];
bool used[PLACES];
byte whose[PLACES];
bool dead[INDICES]; /* the process that has the index now */
bool mortal = true; /* one reaper may die */

#define DIE                                                                                        \
	if                                                                                         \
	:: atomic { mortal && me != NEWCOMER -> mortal = false; goto killed }                      \
	:: true                                                                                    \
	fi

inline set_bit(k)
{
	used[k] = true
}

/* From the word that was read into REAP under @by. */
inline seize(k, by, victim)
{
	atomic {
		done = (state[k] == saw_state && generation[k] == saw_generation &&
			owner[k] == saw_owner);
		if
		:: done ->
			assert(whose[k] == victim);
			whose[k] = me;
			state[k] = REAP;
#ifndef SAME_GENERATION
			generation[k] = generation[k] + (owner[k] != by -> 1 : 0);
#endif
			owner[k] = by
		:: else
		fi;
		saw_state = 0;
		saw_generation = 0;
		saw_owner = 0
	}
}

inline clear_bit(k)
{
	used[k] = false
}

inline free(k)
{
	atomic {
		assert(whose[k] == me);
		whose[k] = NOBODY;
		owner[k] = 0;
		state[k] = FREE
	}
}

inline yield(k)
{
#ifdef FREE_FIRST
	free(k);
	DIE;
	clear_bit(k)
#else
#ifndef WORK_FIRST
	clear_bit(k);
	DIE;
#endif
	free(k)
#endif
}

inline read(k)
{
	atomic {
		saw_state = state[k];
		saw_generation = generation[k];
		saw_owner = owner[k]
	}
}

#ifdef ANY_USE
#define STILL_THERE true
#else
#define STILL_THERE                                                                                \
	(state[PROCESS(victim)] != FREE && generation[PROCESS(victim)] == victim_use)
#endif

inline reap_plain(k)
{
#ifdef OWNED_EARLY
	mine = STILL_THERE;
	read(k);
	mine = mine && (saw_state != FREE && saw_owner == victim);
#else
	read(k);
	mine = (saw_state != FREE && saw_owner == victim) && STILL_THERE;
#endif
	if
	:: mine ->
#ifdef WORK_FIRST
		clear_bit(k);
#endif
		seize(k, index, victim_life);
		if
		:: done -> DIE; yield(k); DIE
		:: else
		fi
	:: else -> atomic { saw_state = 0; saw_generation = 0; saw_owner = 0 }
	fi;
	atomic { mine = false; done = false }
}

inline reap()
{
#ifdef PROCESS_FIRST
	reap_plain(PROCESS(victim));
#endif
	place = 0;
	do
	:: place < PLACES ->
		if
#ifdef NO_HALF_REAPED
		:: place < SLOTS -> reap_plain(place)
#else
		:: place != PROCESS(victim) -> reap_plain(place)
#endif
		:: else
		fi;
		place++
	:: else -> break
	od;
	place = 0;
	reap_plain(PROCESS(victim))
}

/* One of those that are proved dead, as of now. */
inline choose(i)
{
	dead[i] && state[PROCESS(i)] == LIVE ->
	victim = i;
	victim_use = generation[PROCESS(i)];
	victim_life = i
}

/* What a participant does with a slot of its own; index 0 only. */
inline claim(k)
{
	atomic {
		done = (state[k] == FREE);
		if
		:: done ->
			assert(whose[k] == NOBODY);
			whose[k] = me;
			generation[k]++;
			owner[k] = index;
			state[k] = CLAIMED
		:: else
		fi
	}
}

inline step(k, from, to)
{
	atomic {
		assert(state[k] == from && owner[k] == index && whose[k] == me);
		state[k] = to
	}
}

inline use(k)
{
	claim(k);
	if
	:: done ->
		set_bit(k);
		step(k, CLAIMED, LIVE);
		if
		:: true -> step(k, LIVE, REAP); yield(k)
		:: true
		fi
	:: else
	fi;
	done = false
}

proctype Participant(byte me; byte index)
{
	byte victim = 0, victim_use = 0, victim_life = 0, place = 0;
	byte saw_state = 0, saw_generation = 0, saw_owner = 0;
	bool mine = false, done = false;

	if
	:: me == NEWCOMER ->
end_absent:	state[PROCESS(0)] == FREE;
		claim(PROCESS(0));
		atomic { dead[0] = false; used[PROCESS(0)] = true; done = false };
		step(PROCESS(0), CLAIMED, LIVE);
		use(SLOTS - 1)
	:: else
	fi;
end_idle:
	do
	:: atomic {
		if
		:: choose(0)
		:: choose(1)
#if REAPERS > 1
		:: choose(2)
#endif
#if REAPERS > 2
		:: choose(3)
#endif
		fi
	   };
	   reap();
	   atomic { victim = 0; victim_use = 0; victim_life = 0 }
	od;
killed:
	atomic {
		dead[index] = true;
		victim = 0;
		victim_use = 0;
		victim_life = 0;
		place = 0;
		mine = false;
		done = false
	}
}

proctype Quiet()
{
	byte i = 0;

	timeout;
	do
	:: i < PLACES ->
		assert(used[i] == (state[i] != FREE));
		assert(state[i] == FREE || state[i] == LIVE);
		assert(state[i] == FREE || whose[i] == (owner[i] == 0 -> NEWCOMER : owner[i]));
		assert(i < SLOTS || state[i] == FREE || !dead[i - SLOTS]);
		i++
	:: else -> break
	od
}

inline had(k, by, in)
{
	state[k] = in;
	generation[k] = 1;
	owner[k] = by;
	whose[k] = by;
	used[k] = true
}

init {
	atomic {
		byte i = 1;

		had(SLOTS - 1, 0, REAP);
#if SLOTS > 1
		had(0, 0, LIVE);
#endif
		had(PROCESS(0), 0, LIVE);
		dead[0] = true;
		do
		:: i < INDICES -> had(PROCESS(i), i, LIVE); run Participant(i, i); i++
		:: else -> break
		od;
		run Participant(NEWCOMER, 0);
		run Quiet()
	}
}
