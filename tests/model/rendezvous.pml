/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Asking and serving (shm/rendezvous.c, shm/publication.c): two clients ask once each, two
 * servers publish what both ask for, take what is sent to them, and withdraw it or die at any
 * step; the reaper of a dead one goes on for it. When nothing moves any more, no request waits
 * for an endpoint that is gone, and none is parked while one is live.
 *
 *   -DONE_CLIENT, -DONE_SERVER   smaller, so that every state is seen
 * Mutants, each of which must fail:
 *   -DUNORDERED_POST     the client looks for endpoints before POSTED is seen
 *   -DUNORDERED_PUBLISH  the publisher looks for requests before LIVE is seen
 *   -DNO_SERVE           the publisher does not look for parked requests
 *   -DNO_SECOND_LOOK     the client does not look again at the endpoint that it sent to
 *   -DNO_REFUSE          the end of a publication does not refuse what waits for it
 */
#define SLOTS 2
#define CLIENTS 2
#define PARKED(c) (128 + asks[c])
#define AIMED(e) (1 + (e) + SLOTS * use[e])

mtype = { NOTHING, CLAIMED, LIVE, REAP, POSTED, TAKEN, REFUSED };

mtype endpoint[SLOTS] = NOTHING, request[CLIENTS] = NOTHING;
byte use[SLOTS];       /* generation */
byte target[CLIENTS], asks[CLIENTS]; /* a parked request's target tells its use of the slot */
byte taken[CLIENTS];

#define DIE if :: mortal -> goto killed :: true fi

/* Aim the own request, parked, at a live endpoint. */
inline send(e)
{
	if
	:: endpoint[e] == LIVE && !sent ->
		aim = AIMED(e);
		atomic {
			if
			:: target[me] == PARKED(me) -> target[me] = aim
			:: else -> aim = 0 /* a publisher was faster */
			fi;
			sent = true
		};
#ifndef NO_SECOND_LOOK
		if
		:: aim != 0 && !(endpoint[e] == LIVE && AIMED(e) == aim) -> gone = true
		:: else
		fi
#endif
	:: else
	fi
}

proctype Client(byte me)
{
	byte aim = 0;
	bool sent, gone, first = false, second = false;

again:	sent = false;
	gone = false;
	atomic { asks[me]++; target[me] = PARKED(me) };
#ifdef UNORDERED_POST
	atomic { first = (endpoint[0] == LIVE); second = (endpoint[1] == LIVE) };
	request[me] = POSTED;
	if :: first -> send(0) :: else fi;
	if :: second -> send(1) :: else fi;
#else
	request[me] = POSTED;
	send(0);
	send(1);
#endif
	/* Ask anew, unless it was refused, or taken after all. */
	atomic {
		if
		:: gone && request[me] == POSTED -> request[me] = NOTHING
		:: else -> gone = false
		fi
	};
	if :: gone -> goto again :: else fi;
	atomic { aim = 0; sent = false; first = false; second = false }
}

inline serve(c)
{
	if
	:: atomic { request[c] == POSTED -> parked = PARKED(c) };
		atomic { if :: target[c] == parked -> target[c] = AIMED(me) :: else fi; parked = 0 }
	:: else
	fi
}

inline refuse(c)
{
	if
	:: target[c] == AIMED(me) ->
		atomic { if :: request[c] == POSTED -> request[c] = REFUSED :: else fi }
	:: else
	fi
}

#define MINE(c) (request[c] == POSTED && target[c] == AIMED(me))

proctype Server(byte me; byte rounds; bool mortal)
{
	bool first = false, second = false;
	byte parked = 0;

	do
	:: rounds > 0 ->
		atomic { endpoint[me] = CLAIMED; use[me]++; rounds-- };
#ifdef UNORDERED_PUBLISH
		atomic { first = (request[0] == POSTED); second = (request[1] == POSTED) };
		endpoint[me] = LIVE;
		if :: first -> serve(0) :: else fi;
		if :: second -> serve(1) :: else fi;
#else
		endpoint[me] = LIVE;
		DIE;
#ifndef NO_SERVE
		serve(0);
		DIE;
		serve(1);
#endif
#endif
		/* Some live on for ever, and serve. */
		if :: rounds == 0 -> mortal = false :: true fi;
end_listen:	do
		:: atomic { MINE(0) -> request[0] = TAKEN; taken[0]++; assert(taken[0] == 1) }
		:: atomic { MINE(1) -> request[1] = TAKEN; taken[1]++; assert(taken[1] == 1) }
		:: rounds > 0 -> break
		:: mortal -> goto killed
		od;
		endpoint[me] = REAP;
		DIE;
#ifndef NO_REFUSE
		refuse(0);
		DIE;
		refuse(1);
#endif
		endpoint[me] = NOTHING
	:: else -> break
	od;
	goto over;
killed:
	atomic { mortal = false; endpoint[me] = REAP };
#ifndef NO_REFUSE
	refuse(0);
	refuse(1);
#endif
	endpoint[me] = NOTHING;
over:	atomic { parked = 0; first = false; second = false; rounds = 0; mortal = false }
}

proctype Quiet()
{
	byte i = 0;

	timeout;
	do
	:: i < CLIENTS ->
		assert(request[i] != POSTED ||
		       (target[i] >= 128 && endpoint[0] != LIVE && endpoint[1] != LIVE));
		i++
	:: else -> break
	od
}

init {
	atomic {
		run Client(0);
#ifndef ONE_CLIENT
		run Client(1);
#endif
		run Server(0, 2, true);
#ifndef ONE_SERVER
		run Server(1, 1, true);
#endif
		run Quiet()
	}
}
