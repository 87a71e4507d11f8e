/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * layout - every structure that lies in the segment, frozen
 *
 * The segment is one file: a header page, then the tables in the order of struct dcm_places. The
 * first 64 bytes of the header keep their meaning in every layout. Everything behind them is found
 * from the capacities alone, by dcm_layout_places(), the same in creator and joiner; there is no
 * pointer and no stored offset in the segment.
 *
 * A slot of any table begins with its state word (shm/slot.h). Fields that the state word guards
 * are written only by the slot's owner before it makes the slot visible.
 */
#ifndef DCM_SHM_LAYOUT_H
#define DCM_SHM_LAYOUT_H

#include "shm/atomics.h"

#define DCM_MAGIC 0x31304d43444d4853ull /* "SHMDCM01" in memory */
#define DCM_LAYOUT 6u			/* rises with any change of meaning */
#define DCM_HASH_XXH3 1u
#define DCM_CACHELINE 64u
#define DCM_PAGE 4096u
#define DCM_NAME_WORDS 32u /* 255 bytes and a zero */

/* Features of a segment: an unknown incompatible bit is a refusal, an unknown compatible one is not. */
#define DCM_FEATURE_INCOMPAT_KNOWN 0u

/* Table sizes, fixed when the segment is made. */
struct dcm_capacity {
	uint32_t processes;
	uint32_t endpoints;
	uint32_t subscriptions;
	uint32_t connections;
	uint32_t listeners;
	uint16_t ring_shift; /* cells of a hint ring: 1 << ring_shift */
	uint16_t gift_shift; /* gifts: 1 << gift_shift */
};

#define DCM_CAPACITY_DEFAULT                                                                       \
	((struct dcm_capacity){ .processes = 512,                                                  \
				.endpoints = 4096,                                                 \
				.subscriptions = 1024,                                             \
				.connections = 2048,                                               \
				.listeners = 512,                                                  \
				.ring_shift = 8,                                                   \
				.gift_shift = 13 })

enum {
	DCM_LOCK_BYTES = 32768, /* in every layout */
	DCM_PROCESSES_MAX = 1023, /* the kernel walks 2,048 words of a robust list */
	DCM_ENDPOINTS_MAX = 524288, /* 19 bits of an endpoint reference */
	DCM_SUBSCRIPTIONS_MAX = 65536,
	DCM_CONNECTIONS_MAX = 65536,
	DCM_LISTENERS_MAX = 8192,
	DCM_RING_SHIFT_MAX = 16,
	DCM_GIFT_SHIFT_MAX = 20,
	DCM_BUCKETS = 256, /* of interface hashes */
	DCM_REGION = 1024, /* endpoint slots that have rows of their own: shm/catalog.h */
};

struct dcm_header {
	/* The first 64 bytes: the same in every layout, for ever. */
	uint64_t magic;
	uint32_t layout;
	uint32_t fingerprint; /* of sizes and offsets: dcm_layout_fingerprint() */
	uint64_t bytes;	      /* of the whole file */
	uint32_t compat;
	uint32_t incompat;
	uint8_t boot_id[16];
	uint64_t created_ns;	  /* CLOCK_REALTIME */
	uint32_t library_version; /* of the creator */
	uint32_t hash;		  /* DCM_HASH_XXH3 */
	/* From here on, of this layout. Written before the file has a name, never after. */
	struct dcm_capacity capacity;
	uint64_t lock_inode; /* of the lock file that belongs to this segment */
	uint64_t uuid[2];
	uint32_t user_share; /* percent of each table that one user may hold */
	uint32_t reserved;
	/* Counters, each on a line of its own. */
	alignas(DCM_CACHELINE) dcm_atomic64 ticket; /* of connection requests: first come, first served */
	alignas(DCM_CACHELINE) dcm_atomic64 overflows; /* hints that became a resync */
	dcm_atomic64 reaped;			       /* processes cleaned up after */
};

/* 255 bytes and a zero as words, so that a reader can copy it while it may be torn, and check. */
struct dcm_name {
	dcm_atomic64 words[DCM_NAME_WORDS];
};

struct dcm_process {
	alignas(DCM_CACHELINE) dcm_atomic64 word;
	dcm_atomic32 pid;
	dcm_atomic32 tid; /* of the keeper, as in the alive word */
	dcm_atomic32 uid;
	dcm_atomic32 gid;
	dcm_atomic64 pid_namespace; /* inode */
	dcm_atomic64 pidfd_inode;   /* the kernel's own name for the process; 0: before 6.9 */
	dcm_atomic64 start_time;    /* field 22 of /proc/PID/stat */
	dcm_atomic64 sid_base;
	/* Event count: whoever bumps it asks this process's keeper to look around. */
	alignas(DCM_CACHELINE) dcm_atomic32 control;
	dcm_atomic32 asked; /* DCM_KICK_...: how far it is to look; stored before control is bumped */
	alignas(DCM_CACHELINE) struct dcm_name name;
};

/*
 * A row for each process, of robust futexes of its keeper: tid, FUTEX_OWNER_DIED by the kernel, 0
 * when left in order. Word 0 tells at a look; on the next words, one for each process, sleep its
 * calls alone, and on the last, again one for each, its keeper (dcm_alive_calls(), ..._keeper()),
 * which set FUTEX_WAITERS first. The kernel wakes one sleeper for each word: none of another
 * process's, stopped or about to die, can swallow it. What the words say is proved elsewhere.
 */
struct dcm_alive {
	dcm_atomic32 word;
	dcm_atomic32 reserved; /* as far apart as the nodes of the keeper's list: shm/process.c */
};

struct dcm_endpoint {
	alignas(DCM_CACHELINE) dcm_atomic64 word;
	dcm_atomic64 type_hash;
	dcm_atomic64 name_hash;
	dcm_atomic64 sid;
	dcm_atomic64 published_ns;	       /* CLOCK_MONOTONIC, for people */
	dcm_atomic64 gift_key;		       /* shm/gift.h: who finds it is given the server's */
	dcm_atomic32 gift;		       /* identity by that */
	alignas(DCM_CACHELINE) dcm_atomic32 ec; /* DcmListen waits here */
	dcm_atomic32 bell;			/* shm/bell.h: a request was aimed at it */
	dcm_atomic32 told_at; /* 0; or 1 + the slot of the same process's whose ec and bell serve */
};

struct dcm_endpoint_names {
	alignas(DCM_CACHELINE) struct dcm_name type;
	struct dcm_name name;
};

struct dcm_ring {
	alignas(DCM_CACHELINE) dcm_atomic64 tail;
	alignas(DCM_CACHELINE) dcm_atomic64 head;
	/* 1 << ring_shift cells of 8 bytes follow on the next line. */
};

struct dcm_subscription {
	alignas(DCM_CACHELINE) dcm_atomic64 word;
	/* What hints it wants: written in CLAIMED. */
	dcm_atomic64 type_hash; /* of a group: of its first interface */
	dcm_atomic64 name_hash; /* 0: any */
	dcm_atomic64 sid;	/* of the server; 0: any */
	dcm_atomic32 types;	/* interfaces; more than one: a group */
	dcm_atomic32 resync; /* 1: the ring is not the whole truth, look at everything */
	dcm_atomic32 bell;   /* shm/bell.h: a hint or a resync was given */
	dcm_atomic32 ec;      /* DcmReadGroupPubQueue waits here; DcmReadPubQueue at its bucket */
	dcm_atomic32 resyncs; /* how often that happened, for people */
	alignas(DCM_CACHELINE) dcm_atomic64 buckets[DCM_BUCKETS / 64]; /* rows that it is in */
	struct dcm_ring ring;
};

/* How a connection's memory goes from server to client. */
enum { DCM_TRANSFER_AUTO = 0, DCM_TRANSFER_GETFD = 1, DCM_TRANSFER_PROCFS = 2, DCM_TRANSFER_SOCKET = 3 };

struct dcm_connection {
	alignas(DCM_CACHELINE) dcm_atomic64 word;
	dcm_atomic64 target; /* endpoint it was sent to, or parked: shm/rendezvous.h */
	dcm_atomic64 ticket;
	dcm_atomic32 ec; /* the client waits here for the decision */
	dcm_atomic32 client;
	dcm_atomic32 server; /* valid from TAKEN on */
	dcm_atomic32 listener;
	dcm_atomic32 bell; /* shm/bell.h: whenever the client is woken at ec */
	dcm_atomic32 declined; /* 1: if it is refused, its server did that, and not its end */
	/* The request: written in CLAIMED. */
	alignas(DCM_CACHELINE) dcm_atomic64 type_hash;
	dcm_atomic64 name_hash;
	dcm_atomic64 client_sid;
	dcm_atomic64 server_sid; /* 0: any */
	dcm_atomic64 socket;	 /* abstract name the client listens on: 5 hex digits; 0: none */
	dcm_atomic32 transfer;	 /* what the client asks for, then what was used */
	dcm_atomic32 client_uid; /* whose share of the table it is in */
	dcm_atomic64 gift_key;	 /* shm/gift.h: the server is given the client's identity by that */
	dcm_atomic32 gift;
	/* The answer: written in TAKEN. */
	alignas(DCM_CACHELINE) dcm_atomic32 fd; /* number in the server */
	dcm_atomic32 sent;			/* what came of sending it to the socket; 0: nothing yet */
	dcm_atomic64 device;
	dcm_atomic64 inode;
	dcm_atomic64 bytes;
	dcm_atomic64 nonce;
	dcm_atomic64 opened_ns; /* CLOCK_MONOTONIC, for people */
	struct dcm_name type;
	struct dcm_name name;
};

/* A listener's ready bits, one for each connection slot, follow on the next line. */
struct dcm_listener {
	alignas(DCM_CACHELINE) dcm_atomic64 word;
	alignas(DCM_CACHELINE) dcm_atomic32 ec; /* DcmReceive waits here */
	dcm_atomic32 bell;			/* shm/bell.h: a ready bit was set */
	dcm_atomic32 owner; /* the process that the bell tells: on the ringer's line */
};

enum { DCM_GIFT_REVOKED_KEYS = 5 };

/* A handle by which its process shows itself to others, who hold what descends from it: shm/gift.h. */
struct dcm_gift_slot {
	alignas(DCM_CACHELINE) dcm_atomic64 word;
	dcm_atomic64 key; /* of the slot's use, and of nothing else ever */
	/* Keys that were revoked here last, of this use or earlier ones; 0: none. */
	dcm_atomic64 revoked[DCM_GIFT_REVOKED_KEYS];
	dcm_atomic32 revocations; /* so many, by whoever had the slot: the next's place */
};

/* One wake word for all that sleep on one bucket of interfaces: a publication costs one wake. */
struct dcm_bucket {
	alignas(DCM_CACHELINE) dcm_atomic32 ec;
};

static_assert(sizeof(struct dcm_capacity) == 24, "layout 6");
static_assert(offsetof(struct dcm_header, layout) == 8, "frozen in every layout");
static_assert(offsetof(struct dcm_header, fingerprint) == 12, "frozen in every layout");
static_assert(offsetof(struct dcm_header, bytes) == 16, "frozen in every layout");
static_assert(offsetof(struct dcm_header, compat) == 24, "frozen in every layout");
static_assert(offsetof(struct dcm_header, boot_id) == 32, "frozen in every layout");
static_assert(offsetof(struct dcm_header, library_version) == 56, "frozen in every layout");
static_assert(offsetof(struct dcm_header, capacity) == 64, "layout 6");
static_assert(offsetof(struct dcm_header, lock_inode) == 88,
	      "frozen in every layout: read before one of another layout is replaced");
static_assert(sizeof(struct dcm_header) <= DCM_PAGE, "one page");
static_assert(sizeof(struct dcm_process) == 384, "layout 6");
static_assert(sizeof(struct dcm_endpoint) == 128, "layout 6");
static_assert(sizeof(struct dcm_endpoint_names) == 512, "layout 6");
static_assert(sizeof(struct dcm_subscription) == 256, "layout 6");
static_assert(sizeof(struct dcm_connection) == 704, "layout 6");
static_assert(sizeof(struct dcm_listener) == 128, "layout 6");
static_assert(sizeof(struct dcm_gift_slot) == 64, "layout 6");

/* Where each table begins, in bytes from the start of the file, and how far its slots are apart. */
struct dcm_place {
	uint64_t start;
	uint64_t stride;
};

struct dcm_places {
	struct dcm_place process, endpoint, endpoint_names, subscription, connection, listener, gift;
	struct dcm_place alive; /* rows of dcm_alive_words() */
	struct dcm_place marked; /* bitmaps: a row of connections for each process */
	struct dcm_place bucket;
	/* Bitmaps: a row of words for each bucket. */
	struct dcm_place subscription_index, connection_index;
	/* The same for each region of endpoints, and a row of its regions for each kind. */
	struct dcm_place by_type, by_type_regions, by_name, by_name_regions;
	/* Bitmaps of slots in use, one row each. */
	struct dcm_place process_used, endpoint_used, subscription_used, connection_used, listener_used,
		gift_used;
	uint64_t bytes; /* of the whole file, whole pages */
};

/* Words of a bitmap of @bits bits. */
static inline uint32_t dcm_bitmap_words(uint32_t bits)
{
	return (bits + 63) / 64;
}

/* Regions of a table of @endpoints. */
static inline uint32_t dcm_regions(uint32_t endpoints)
{
	return (endpoints + DCM_REGION - 1) / DCM_REGION;
}

/* Of a row of alive words in a table of @processes. */
static inline uint32_t dcm_alive_words(uint32_t processes)
{
	return 1 + 2 * processes;
}

/*
 * dcm_layout_places() - where everything lies in a segment of these capacities
 * Return: true, or false when a capacity is out of its bounds (then @out is not touched).
 */
bool dcm_layout_places(const struct dcm_capacity *capacity, struct dcm_places *out);

/* dcm_layout_fingerprint() - a number that differs when any size or offset of this layout differs */
uint32_t dcm_layout_fingerprint(void);

#endif
