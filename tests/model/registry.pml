/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registry (shm/registry.c, api/known.c): two endpoint slots, each published and withdrawn by
 * a process that may die at any step and is then followed by a reaper; one subscriber that comes
 * at any moment; a ring of one hint for both. When nothing moves any more, the subscriber must
 * know what is live; it is told of each use of a slot once, and of its end once.
 *
 *   -DSMALL                the first publisher publishes once and lives
 * Mutants, each of which must fail:
 *   -DUNORDERED_PUBLISH    the publisher looks for subscribers before LIVE is seen
 *   -DUNORDERED_SUBSCRIBE  the subscriber looks for endpoints before ACTIVE is seen
 *   -DNO_RESYNC            a hint that finds the ring full is dropped
 *   -DCLEAR_LATE           resync is cleared after the look
 *   -DNO_REAP_HINT         the reaper does not announce
 *   -DNO_RETIRE_HINT       the end of a publication is not announced
 *   -DNO_FIRST_LOOK        the subscriber does not begin with "look at everything"
 */
#define SLOTS 2

mtype = { FREE, CLAIMED, LIVE, REAP };

mtype state[SLOTS] = FREE;
byte use[SLOTS];	  /* generation */
bool subscribed = false;
bool resync = false;
byte ring = 0;		  /* empty, or slot + 1 */
bool bell = false;	  /* a wake-up since the subscriber prepared to sleep */
byte known[SLOTS], last[SLOTS]; /* announced now; and before that */

#define DIE if :: mortal -> goto killed :: true fi

inline announce(i)
{
	if
	:: subscribed ->
		atomic {
			if
			:: ring == 0 -> ring = i + 1; crowded = false
			:: else -> crowded = true
			fi
		};
#ifndef NO_RESYNC
		if
		:: crowded -> DIE; resync = true
		:: else
		fi;
#endif
		bell = true
	:: else
	fi
}

/* A publisher, and behind its death its reaper. */
proctype Publisher(byte i; byte rounds; bool mortal)
{
	bool crowded = false, saw = false;

	do
	:: rounds > 0 ->
		atomic { state[i] = CLAIMED; use[i]++ };
#ifdef UNORDERED_PUBLISH
		saw = subscribed;
		state[i] = LIVE;
		if :: saw -> announce(i) :: else fi;
#else
		state[i] = LIVE;
		DIE;
		announce(i);
#endif
		if :: rounds == 1 -> break :: true fi;
		state[i] = REAP;
		DIE;
#ifndef NO_RETIRE_HINT
		announce(i);
#endif
		atomic { state[i] = FREE; rounds-- }
	:: else -> break
	od;
	DIE;
	goto over;
killed:
	atomic { mortal = false; if :: state[i] == FREE -> goto over :: else -> state[i] = REAP fi };
#ifndef NO_REAP_HINT
	announce(i);
#endif
	state[i] = FREE;
over:	atomic { crowded = false; saw = false; rounds = 0; mortal = false }
}

/* Make what is announced of a slot equal to what is there. One look is one snapshot: the word is
   read before and behind the copy. */
inline look(i)
{
	atomic {
		now = (state[i] == LIVE -> use[i] : 0);
		/* Each use is announced once. */
		assert(now == 0 || now == known[i] || now > last[i]);
		last[i] = (now != 0 -> now : last[i]);
		known[i] = now
	}
}

proctype Subscriber()
{
	byte now, hint;

#ifndef NO_FIRST_LOOK
	resync = true;
#endif
#ifdef UNORDERED_SUBSCRIBE
	resync = false;
	look(0);
	look(1);
	subscribed = true;
#else
	subscribed = true;
#endif
end:	do
	:: bell = false;
	   if
	   :: resync ->
#ifdef CLEAR_LATE
		look(0);
		look(1);
		resync = false
#else
		resync = false;
		look(0);
		look(1)
#endif
	   :: !resync && ring != 0 ->
		atomic { hint = ring - 1; ring = 0 };
		/* Behind a hint that was lost, there is no hint. */
		if
		:: resync -> resync = false; look(0); look(1)
		:: else -> look(hint)
		fi
	   :: !resync && ring == 0 ->
end_sleep:	bell
	   fi
	od
}

proctype Quiet()
{
	byte i = 0;

	timeout;
	do
	:: i < SLOTS ->
		assert(known[i] == (state[i] == LIVE -> use[i] : 0));
		assert(state[i] == LIVE || state[i] == FREE);
		i++
	:: else -> break
	od
}

init {
	atomic {
#ifdef SMALL
		run Publisher(0, 1, false);
#else
		run Publisher(0, 2, true);
#endif
		run Publisher(1, 1, true);
		run Subscriber();
		run Quiet()
	}
}
