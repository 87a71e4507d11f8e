/* SPDX-License-Identifier: BSD-2-Clause */
/* channel - what the scenario channel is made of: its ends, and what is known of each message */
#ifndef DCM_TESTS_SIM_CHANNEL_H
#define DCM_TESTS_SIM_CHANNEL_H

#include "api/server.h"
#include "api/session.h"
#include "tests/sim/sim_api.h"

enum {
	CHANNELS = 2,
	MESSAGES = 48,
	CALLS_FREE = 2, /* call slots of a channel: all others are with the program for good */
	SMALL_FREE = 1, /* rooms for small requests, likewise */
};

/* A channel, and the two processes that it joins. */
struct channel {
	unsigned client, server;
	struct dcm_ref connection;
	struct dcm_client_end *client_end;
	struct dcm_server_end *server_end;
	Handle session;
	uint64_t server_end_number;
};

extern struct channel sim_channels[CHANNELS];
extern Handle sim_listener;

/* sim_channels_make() - a listener of @server, and an open channel to each of @clients */
void sim_channels_make(unsigned server, const unsigned clients[CHANNELS]);

/* sim_channel_of() - of a client process */
struct channel *sim_channel_of(unsigned process);

/* sim_channel_tend() - what the keeper of a process does about its ends */
uint32_t sim_channel_tend(unsigned process);

bool sim_channels_describe(const volatile void *word, char *text, size_t size);

/* One message of the program's, from its loan on. */
enum kind { CALL, STARTED, ONE_WAY };
struct message {
	struct channel *channel;
	enum kind kind;
	bool sent;     /* the call that sends it has begun */
	bool posted;   /* and said rcOk, where it does before the end */
	bool gave_up;  /* by time or interrupt */
	bool failed;   /* the caller was told rcNotConnected */
	bool answered; /* the caller has its reply */
	bool received, released, replied;
	bool reply_counts; /* DcmReply said rcOk */
};

extern struct message sim_messages[MESSAGES];

/* sim_message_new() - its number, never 0; 0: there are enough */
uint32_t sim_message_new(struct channel *channel, enum kind kind);

/* What messages and replies hold: their number, in a word at their start. */
void sim_payload_store(const DcmMessage *message, uint64_t value);
uint64_t sim_payload_load(const DcmMessage *message);
#define REPLY_MARK (1ull << 40)

#endif
