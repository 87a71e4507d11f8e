/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * exchange - one message there and one back, by turns, each told of by a word of its own
 *
 * The limits that sleep are made of it: futex, futex2, spin-futex. They differ in how an end waits
 * until a word has changed, and in when who changes it wakes.
 */
#ifndef DCM_BENCH_EXCHANGE_H
#define DCM_BENCH_EXCHANGE_H

#include "bench/peers/lib_futex.h"
#include "bench/peers/peer.h"

/* alive is never written: a limit may wait for it as well. */
struct exchange {
	struct word there, back, alive;
	_Alignas(128) unsigned char payload[]; /* the request and, behind it, the reply */
};

/* What a limit defines. exchange_wait() returns when @word is not @seen any more. */
void exchange_wait(struct exchange *x, struct word *word, uint32_t seen);
void exchange_tell(struct word *word, int sleepers);

/* The operations of a struct peer. */
void exchange_prepare(struct peer_job *job);
void exchange_begin(struct peer_end *e);
void exchange_nothing(struct peer_end *e);
void exchange_loan(struct peer_end *e, size_t size, struct peer_message *m);
bool exchange_call(struct peer_end *e, struct peer_message *m, struct peer_message *reply);
void exchange_send(struct peer_end *e, struct peer_message *m, bool more);
void exchange_take(struct peer_end *e, struct peer_message *m);
void exchange_room(struct peer_end *e, struct peer_message *request, size_t size,
		   struct peer_message *reply);
void exchange_answer(struct peer_end *e, struct peer_message *request, struct peer_message *reply);
void exchange_announce(struct peer_end *e);
void exchange_told(struct peer_end *e);

/* All of them that go with one word told of to one or many. */
#define EXCHANGE_CALLS                                                                             \
	.prepare = exchange_prepare, .begin = exchange_begin, .serve = exchange_nothing,           \
	.open = exchange_nothing, .loan = exchange_loan, .call = exchange_call,                    \
	.take = exchange_take, .room = exchange_room, .answer = exchange_answer
#define EXCHANGE_TELLS                                                                             \
	.send = exchange_send, .announce = exchange_announce, .withdraw = exchange_nothing,        \
	.watch = exchange_nothing, .told = exchange_told

#endif
