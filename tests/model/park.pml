/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The event count of shm/park.c: two wakers, one of which may die at any step and is then followed
 * by a reaper, and two sleepers. Nobody else wakes anybody, so a lost wake-up shows as somebody who
 * sleeps, when nothing can move any more, on something that is there.
 *
 *   -DONE          wakers add work and wake one
 *   -DALL          wakers change a state each and wake all
 * Mutants, each of which must fail:
 *   -DUNORDERED    the waker looks at the event count before its store is seen
 *   -DNO_LOOK      the sleeper does not look again between prepare and sleep
 *   -DNO_COUNT     the waker wakes, and does not change the word
 *   -DTWO_STEPS    the bit is cleared first, and the sleepers woken later (only with -DALL)
 *   -DLATE_CLEAR   woken first, and the bit cleared later
 */
#define WAKERS 2
#define SLEEPERS 2

byte ec = 0;		/* odd: somebody may sleep */
byte work = 0;
bool state[WAKERS], seen[SLEEPERS * WAKERS];
bool asleep[SLEEPERS];
byte running = WAKERS;	/* wakers, and reapers of them */

#define DIE if :: mortal -> goto dead :: true fi

inline wake_everybody()
{
	asleep[0] = false;
	asleep[1] = false
}

inline add_and_wake_all(n)
{
	atomic { ec = ec + n; wake_everybody() }
}

inline wake_all()
{
	atomic { looked = ec };
	if
	:: (looked & 1) == 0
	:: else ->
#if defined(TWO_STEPS)
		atomic { if :: ec == looked -> ec = ec + 1 :: else fi };
		DIE;
		atomic { wake_everybody() }
#elif defined(LATE_CLEAR)
		atomic { ec = ec + 2; wake_everybody() };
		DIE;
		atomic { if :: ec == looked + 2 -> ec = ec + 1 :: else fi }
#elif defined(NO_COUNT)
		atomic { wake_everybody() }
#else
		add_and_wake_all(1)
#endif
	fi
}

inline wake_one()
{
	atomic { looked = ec };
	if
	:: (looked & 1) == 0
	:: else ->
#ifndef NO_COUNT
		atomic { ec = ec + 2 };
		DIE;
#endif
		atomic {
			if
			:: asleep[0] -> asleep[0] = false; woke = true
			:: asleep[1] -> asleep[1] = false; woke = true
			:: !asleep[0] && !asleep[1] -> woke = false
			fi
		};
#ifndef NO_COUNT
		DIE;
		if
		:: woke
#ifdef LATE_CLEAR
		:: !woke -> atomic { if :: ec == looked + 2 -> ec = ec + 1 :: else fi }
#else
		:: !woke -> add_and_wake_all(1)
#endif
		fi
#endif
	fi
}

inline make_true(i)
{
#ifdef ALL
	state[i] = true
#else
	atomic { work++ }
#endif
}

proctype Waker(byte i; bool mortal)
{
	byte looked = 0;
	bool woke = false;

#ifdef UNORDERED
	looked = ec;
	make_true(i);
	if :: (looked & 1) -> add_and_wake_all(1) :: else fi;
#else
	make_true(i);
	DIE;
#ifdef ALL
	wake_all();
#else
	wake_one();
#endif
#endif
	goto over;
dead:
	/* Its reaper announces again what it may have left untold. */
	looked = ec;
	if :: (looked & 1) -> add_and_wake_all(1) :: else fi;
over:
	running--
}

#ifdef ALL
#define FOUND (state[0] != seen[2 * i] || state[1] != seen[2 * i + 1])
#define TAKE atomic { seen[2 * i] = state[0]; seen[2 * i + 1] = state[1] }
#else
#define FOUND (work > 0)
#define TAKE atomic { if :: work > 0 -> work-- :: else fi }
#endif

proctype Sleeper(byte i)
{
	byte key;

end:	do
	:: atomic { ec = ec | 1; key = ec };
#ifndef NO_LOOK
	   if :: FOUND -> TAKE; goto again :: else fi;
#endif
	   atomic { if :: ec == key -> asleep[i] = true :: else fi };
end_sleep: !asleep[i];
	   if :: FOUND -> TAKE :: else fi;
again:	   skip
	od
}

/* When nothing else moves. */
proctype Quiet()
{
	byte i = 0;

	timeout;
	assert(running == 0);
	do
	:: i < SLEEPERS -> assert(!FOUND); i++
	:: else -> break
	od
}

init {
	atomic { run Waker(0, false); run Waker(1, true); run Sleeper(0); run Sleeper(1); run Quiet() }
}
