/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who watches whom (shm/process.c, shm/reap.c, api/keeper.c): the keeper of each process sleeps on
 * the alive words of the next WATCH living ones, in cyclic order. Some are there from the start,
 * others come; any may leave, or die at any step, its reapers too; one may be stopped for ever at
 * any step. When nothing moves any more and somebody is left who runs, nothing of the dead is
 * left, but the slot that a stopped reaper is at. Nobody is reaped whose end is not proved, nor
 * twice.
 *
 * A newcomer that dies before it has asked to be watched is left out: it owns nothing but its slot,
 * and whoever next looks around for any reason frees that.
 *
 *   -DPROCESSES=n        2 to 4 in all
 *   -DOLD=n -DENDS=n     so many are there from the start; at most so many leave or die
 *   -DSTOPS=0            nobody is stopped
 *   -DWATCH=1            one is watched: enough as long as nobody is stopped
 * Mutants, each of which must fail:
 *   -DNO_KICK            a newcomer does not ask to be watched
 *   -DKICK_EARLY         it looks for whom to ask before its own step to ALIVE
 *   -DONE_WORD           those who watch one sleep on one word, of whom the kernel wakes one
 *   -DNO_NEW_CHOICE      whoever watched a dead one watches nobody instead
 *   -DCHOOSE_LATE        the keeper looks around, and then chooses whom to watch
 *   -DLATE_KEY           it looks around, and then takes the key of its sleep
 *   -DNO_SECOND_LOOK     it does not come back to the dying that are not proved dead yet
 *   -DMARK_IS_PROOF      it does not wait for the proof
 *   -DNO_HALF_REAPED     the process slots that a dead reaper had seized are not looked for
 *   -DZERO               who leaves sets its alive words to 0: killed then, the kernel wakes nobody
 */
#ifndef PROCESSES
#define PROCESSES 4
#endif
#ifndef WATCH
#define WATCH 2
#endif
#ifndef OLD
#define OLD 2
#endif
#ifndef ENDS
#define ENDS 2
#endif
#ifndef STOPS
#define STOPS 1
#endif
#define NOBODY 15

mtype = { FREE, CLAIMED, ALIVE, REAP };

mtype state[4] = FREE;
byte owner[4] = NOBODY; /* of a slot in REAP */
byte sleeps[4];	/* on whose alive words, in bits; ASLEEP: on its own control word */
bool kicked[4];		/* the control word is not as when its keeper took the key */
byte marked;			/* the alive word says: gone */
byte over;			/* the kernel confirms it, or it has left */
byte asked;			/* it has asked to be watched */
byte reaped;			/* the model alone knows */
byte stopped = NOBODY;
byte ends, stops;

#define ASLEEP 128
#define BIT(i) (1 << (i))
#define IS_ALIVE(i) (state[i] == ALIVE && !(marked & BIT(i)))

/* For ever: what comes before may take as long as one likes, so a short stop is nothing new. */
#define STOP :: atomic { stops > 0 -> stops--; stopped = me; goto end_stopped }
#define DIE :: atomic { ends > 0 -> ends--; goto killed }
#define MAY_END if STOP DIE :: true fi

/* All who sleep on alive words of @i; each has one of its own. */
inline wake_watchers(i)
{
	n = 0;
	do
	:: n < PROCESSES -> sleeps[n] = (sleeps[n] & BIT(i) -> 0 : sleeps[n]); n++
	:: else -> n = 0; break
	od
}

#ifdef ONE_WORD
inline kernel_wakes(i)
{
	if
	:: sleeps[0] & BIT(i) -> sleeps[0] = 0
	:: sleeps[1] & BIT(i) -> sleeps[1] = 0
	:: sleeps[2] & BIT(i) -> sleeps[2] = 0
	:: sleeps[3] & BIT(i) -> sleeps[3] = 0
	:: else
	fi
}
#else
#define kernel_wakes(i) wake_watchers(i)
#endif

inline seize(k, condition)
{
	atomic {
		if
		:: condition -> state[k] = REAP; owner[k] = me; done = true
		:: else
		fi
	};
	if
	:: done ->
		MAY_END;
		atomic {
			assert(state[k] == REAP && owner[k] == me);
			assert((over & BIT(k)) && !(reaped & BIT(k)));
			reaped = reaped | BIT(k);
			state[k] = FREE;
			owner[k] = NOBODY;
			done = false
		};
		MAY_END
	:: else
	fi
}

inline reap(i)
{
#ifndef NO_HALF_REAPED
	k = 0;
	do
	:: k < PROCESSES -> seize(k, state[k] == REAP && owner[k] == i); k++
	:: else -> k = 0; break
	od;
#endif
	seize(i, state[i] == ALIVE || state[i] == CLAIMED)
}

#ifdef MARK_IS_PROOF
#define PROVED(i) (marked & BIT(i))
#else
#define PROVED(i) (over & BIT(i))
#endif
#define TO_REAP(i) ((state[i] == ALIVE || state[i] == CLAIMED) && PROVED(i))
#define DYING(i) (state[i] == ALIVE && (marked & BIT(i)) && !(over & BIT(i)))

/* A look at all slots up to the next that is to be reaped is one step. It could be many, and see
   more than this one does of what happens meanwhile. */
inline scan()
{
	soon = 0;
	do
	:: atomic {
		do
		:: at < PROCESSES && !(at != me && TO_REAP(at)) ->
			soon = soon | (DYING(at) -> BIT(at) : 0);
			at++
		:: else -> break
		od };
		if
		:: at < PROCESSES ->
#ifdef ONE_WORD
			/* The baton: the kernel woke one, who wakes the others. */
			atomic { wake_watchers(at) };
#endif
			reap(at)
		:: else -> at = 0; break
		fi
	od
}

inline choose()
{
	atomic {
		watch = 0;
		left = WATCH;
		at = 1;
		do
		:: at < PROCESSES && left > 0 ->
			n = (me + at) % PROCESSES;
			if
			:: IS_ALIVE(n) -> watch = watch | BIT(n); left--
			:: else
			fi;
			at++
		:: else -> break
		od;
		n = 0;
		left = 0;
		at = 0
	}
}

#ifdef KICK_EARLY
#define FOUND(i) (watch & BIT(i))
#else
#define FOUND(i) IS_ALIVE(i)
#endif

inline kick_watchers()
{
	atomic { left = WATCH; at = 1 };
	do
	:: atomic { at < PROCESSES && left > 0 ->
		n = (me + PROCESSES - at) % PROCESSES;
		done = FOUND(n) && n != me;
		at++ };
		if
		:: done ->
			kicked[n] = true;
			MAY_END;
			atomic { sleeps[n] = 0; left--; done = false };
			MAY_END
		:: else
		fi;
		n = 0
	:: atomic { !(at < PROCESSES && left > 0) -> at = 0; left = 0; break }
	od
}

#define ENDED(i) ((soon & BIT(i)) && !DYING(i))
#ifdef NO_SECOND_LOOK
#define TIME_TO_LOOK false
#else
/* It looks again and again; what counts is the look behind the proof. */
#define TIME_TO_LOOK (ENDED(0) || ENDED(1) || ENDED(2) || ENDED(3))
#endif

#ifdef NO_NEW_CHOICE
#define FIRST_CHOICE watch = sleeps[me] & ~ASLEEP
#define CHOOSE_ANEW skip
#else
#define FIRST_CHOICE skip
#define CHOOSE_ANEW watch = 0
#endif

proctype Keeper(byte me; bool old)
{
	byte watch = 0, soon = 0, at = 0, left = 0, n = 0, k = 0;
	bool done = false;

	if
	:: old -> FIRST_CHOICE; goto end_sleep
	:: else ->
#ifdef KICK_EARLY
		atomic {
			n = 0;
			do
			:: n < PROCESSES ->
				watch = watch | (IS_ALIVE(n) -> BIT(n) : 0);
				n++
			:: else -> n = 0; break
			od
		};
#endif
		state[me] = ALIVE;
#ifndef NO_KICK
		MAY_END;
		kick_watchers();
#endif
		asked = asked | BIT(me);
#ifdef NO_NEW_CHOICE
		watch = NOBODY
#endif
	fi;
again:
#ifndef LATE_KEY
	kicked[me] = false;
#endif
#ifdef CHOOSE_LATE
	scan();
	choose();
#else
#ifdef NO_NEW_CHOICE
	if
	:: watch == NOBODY -> choose()
	:: else -> watch = watch & ~marked
	fi;
#else
	choose();
#endif
	/* Who dies from here on ends the sleep at once; who died before is found. */
	scan();
#endif
#ifdef LATE_KEY
	kicked[me] = false;
#endif
	atomic {
		if
		:: kicked[me] || (watch & marked) -> goto again
		:: else -> sleeps[me] = ASLEEP | watch
		fi;
		CHOOSE_ANEW
	};
end_sleep:
	if
	:: atomic { sleeps[me] == 0 || TIME_TO_LOOK -> sleeps[me] = 0; goto again }
	:: atomic { ends > 0 -> ends--; sleeps[me] = 0 } /* it leaves */
	STOP
	DIE
	fi;
	marked = marked | BIT(me);
	if
	STOP
#ifdef ZERO
	:: atomic { ends > 0 -> ends--; goto proved }
#else
	DIE
#endif
	:: true
	fi;
	atomic { wake_watchers(me) };
	MAY_END;
	atomic {
		assert(state[me] == ALIVE && !(reaped & BIT(me)));
		state[me] = FREE;
		over = over | BIT(me)
	};
	goto end;
killed:
	atomic { marked = marked | BIT(me); sleeps[me] = 0; kernel_wakes(me) };
proved:
	atomic {
		over = over | BIT(me);
		watch = 0;
		soon = 0;
		at = 0;
		left = 0;
		n = 0;
		k = 0;
		done = false
	};
	goto end;
end_stopped:
	false;
end:	skip
}

#define RUNS(i) (IS_ALIVE(i) && stopped != i)

proctype Quiet()
{
	byte i = 0;

	timeout;
	if
	:: !(RUNS(0) || RUNS(1) || RUNS(2) || RUNS(3)) -> goto over_with
	:: else
	fi;
	do
	:: i < PROCESSES ->
		assert(state[i] != REAP || owner[i] == stopped);
		assert(!(over & BIT(i)) || !(asked & BIT(i)) || state[i] == FREE || state[i] == REAP);
		i++
	:: else -> break
	od;
over_with:
	skip
}

init {
	atomic {
		byte i = 0;

		select(ends : 0 .. ENDS);
		select(stops : 0 .. STOPS);
		do
		:: i < OLD ->
			state[i] = ALIVE;
			asked = asked | BIT(i);
			sleeps[i] = BIT((i + 1) % OLD) | (WATCH > 1 -> BIT((i + 2) % OLD) : 0);
			sleeps[i] = ASLEEP | (sleeps[i] & ~BIT(i));
			run Keeper(i, true);
			i++
		:: i >= OLD && i < PROCESSES -> state[i] = CLAIMED; run Keeper(i, false); i++
		:: i == PROCESSES -> break
		od;
		run Quiet()
	}
}
