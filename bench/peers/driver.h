/* SPDX-License-Identifier: BSD-2-Clause */
/* driver - what the process that starts a run (driver.c) and its ends (driver_*.c) share */
#ifndef DCM_BENCH_DRIVER_H
#define DCM_BENCH_DRIVER_H

#include <stdatomic.h>
#include <sys/types.h>

#include "bench/lib_clock.h"
#include "bench/lib_hist.h"
#include "bench/lib_place.h"
#include "bench/peers/peer.h"

enum { ENDS_MAX = 256 };

/* What one client has measured, on lines that it alone writes. */
struct of_client {
	_Alignas(128) uint64_t count; /* after the warm-up; one-way: as the server counted it */
	uint64_t began, ended;	      /* ticks, of what is counted */
	struct hist time;	      /* of what is measured */
	struct hist other;	      /* of what is measured beside it */
};

/* One that is told of something, or that ends, by itself. */
struct of_server {
	_Alignas(128) _Atomic uint64_t told; /* number of the last publication that it has read */
	uint64_t told_ns;
};

struct run {
	struct peer_job job;
	struct place place;
	bool free;	       /* all ends on both processors, as the kernel likes */
	bool header;	       /* 8 bytes of each message are written and read, not all */
	uint64_t warm, length; /* ticks */
	uint64_t pace;	       /* ticks from one call to the next; 0: at once */
	uint64_t gap_ns;       /* between publications */
	uint64_t stop_ns;      /* for which one producer after the other is stopped; 0: none is */
	size_t resident;       /* bytes, of the server that is killed */
	struct clock_is clock;
	_Alignas(128) _Atomic uint32_t served; /* servers that have */
	_Atomic uint32_t opened;	       /* clients that have */
	_Atomic uint32_t done;		       /* ends that have closed */
	_Atomic uint32_t turn;		       /* PEER_APPEAR, PEER_DEATH: whose turn it is */
	int64_t turn_ns;
	_Alignas(128) _Atomic uint32_t stop; /* one-way: clients send their last */
	uint64_t held;			     /* ticks, the longest that the consumer got nothing */
	struct of_client *client;
	struct of_server *server;
};

/* What a client or server does, from open or serve to close. */
typedef void end_part(struct run *run, struct peer_end *e);
end_part calls_client, calls_server;
end_part sends_client, sends_server;
end_part fan_client, fan_server;
end_part connect_client, connect_server;
end_part appear_client, appear_server;
end_part death_client, death_server;

/* trip() - a call, and everything that it asks of a program: room, the request, the reply read and
 * given back */
void trip(struct run *run, struct peer_end *e, uint64_t word);

/*
 * payload - words that count up from a first one
 *
 * The first word says whose message it is and which; a reply has all its bits turned.
 */
enum { PAYLOAD_CLIENT = 48 }; /* shift of the client's number */
#define PAYLOAD_LAST UINT64_C(0x0000fffffffffff0)

static inline uint64_t payload_word(uint32_t client, uint64_t number)
{
	return (uint64_t)client << PAYLOAD_CLIENT | number;
}

static inline uint64_t payload_number(uint64_t word)
{
	return word & ((UINT64_C(1) << PAYLOAD_CLIENT) - 1);
}

void payload_write(const struct run *run, struct peer_message *m, uint64_t first);
/* payload_read() - its first word; fails when the others are not what they should be */
uint64_t payload_read(const struct run *run, const struct peer_message *m);

#endif
