/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * handle - numbers for the objects of this process
 *
 *   number = space:3 | generation:41 | index:20
 *
 * Three public number spaces, disjoint (Handle, DcmHandle, Notice), and one of our own for channels
 * that outlive their handles. A number is never given out twice while the process lives: the
 * generation of an index rises with each use and an index whose generations are used up is retired.
 * The table is read under RCU. An object that was found is held by a count, or, for as long as a call
 * does not block, by its read section alone (dcm_handle_enter()): a count costs two locked
 * instructions, which wait until all that was written before has reached memory. The object is freed
 * by dcm_handle_reclaim() when no reader can see it.
 */
#ifndef DCM_API_HANDLE_H
#define DCM_API_HANDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dcm_space { DCM_SPACE_HANDLE = 1, DCM_SPACE_DCM = 2, DCM_SPACE_NOTICE = 3, DCM_SPACE_CHANNEL = 4 };

enum dcm_kind {
	DCM_KIND_TASK = 1,   /* the process's own handle */
	DCM_KIND_USER,	     /* KnHandleCreateUserObject */
	DCM_KIND_CALLABLE,   /* KnHandleCreateUserObjectEx: server side */
	DCM_KIND_LISTENER,
	DCM_KIND_IDENTITY,   /* a peer's identity, got from DcmListen or DcmReadPubQueue */
	DCM_KIND_SESSION,    /* a client's callable handle */
	DCM_KIND_PUBLICATION,
	DCM_KIND_REQUEST,    /* a request taken by DcmListen */
	DCM_KIND_SUBSCRIPTION,
	DCM_KIND_CONNECTION,
	DCM_KIND_CHANNEL,
	DCM_KIND_NOTICE,
	DCM_KIND_BADGE,	     /* KnHandleCreateBadge */
	DCM_KIND_RESOURCE,   /* what the handles of one resource share; has no number */
	DCM_KIND_GROUP_PUBLICATION,
	DCM_KIND_GROUP_SUBSCRIPTION,
};

/* All kinds in the DcmHandle space; and those of them that calls block on (struct dcm_blockable). */
#define DCM_KINDS_DCM (DCM_KINDS_BLOCKABLE | 1u << DCM_KIND_REQUEST)
#define DCM_KINDS_BLOCKABLE                                                                        \
	(1u << DCM_KIND_PUBLICATION | 1u << DCM_KIND_SUBSCRIPTION | 1u << DCM_KIND_CONNECTION |    \
	 1u << DCM_KIND_GROUP_PUBLICATION | 1u << DCM_KIND_GROUP_SUBSCRIPTION)

/* Those whose calls wait for what one alone gets: type->pass_on. */
#define DCM_KINDS_ONE_WOKEN                                                                        \
	(1u << DCM_KIND_LISTENER | 1u << DCM_KIND_PUBLICATION | 1u << DCM_KIND_GROUP_PUBLICATION)

struct dcm_object;
struct dcm_source;

struct dcm_object_type {
	enum dcm_kind kind;
	enum dcm_space space;
	bool survives_fork; /* the child keeps it */
	/* The number is being closed: end blocked calls, undo what others see. Called once, with no
	   lock of the table held; calls that hold the object may still run. May be null. */
	void (*close)(struct dcm_object *object);
	/* The last count is gone: free what the object owns. Runs on any thread, must not block. The
	   memory of the object itself is freed by the table after a grace period. May be null. */
	void (*release)(struct dcm_object *object);
	/* The same in a forked child, where neither the segment nor the channels are mapped and only
	   this thread exists: free memory and close descriptors, no more. May be null. */
	void (*forget)(struct dcm_object *object);
	/* Behind either, after the grace period: free what who finds the object in a read section may
	   still look at. May be null. */
	void (*reclaim)(struct dcm_object *object);
	/* Does the program's use of it keep the process in its fabric when DCM handles do not? Null: no. */
	bool (*pins)(struct dcm_object *object);
	/* What tells of its events, the same each time; may be of another object that this one holds.
	   Null, or giving null: it has none. */
	struct dcm_source *(*source)(struct dcm_object *object);
	/* Its calls are woken one at a time: by the keeper, once a second, while calls are blocked, have
	   one more woken if there is something for it (shm/baton.h). Null: nothing is lost there. */
	void (*pass_on)(struct dcm_object *object);
	/* Of the Handle space (api/object.h): closed or revoked, once. Calls that go on through it
	   end; with @last no other handle to its resource is left. No lock is held but that of
	   revocations (api/tree.h). Null: the resource tells of its end, if it tells of anything. */
	void (*left)(struct dcm_object *object, bool last);
	/* Of the Handle space: another handle to its resource, without rights and number yet, for
	   KnHandleCopy; null result: out of memory, with the detail set. Null: it is never copied. */
	struct dcm_object *(*copy)(const struct dcm_object *object);
};

/* The head of every object; allocated by dcm_object_new(). */
struct dcm_object {
	const struct dcm_object_type *type;
	uint64_t number; /* 0: not in the table yet */
	uint32_t count;	 /* atomic builtins only, through dcm_object_hold/drop */
	struct dcm_object *next_retired;
};

/* dcm_object_new() - zeroed, of @bytes, with one count for the caller; null: out of memory */
struct dcm_object *dcm_object_new(const struct dcm_object_type *type, size_t bytes);
void dcm_object_hold(struct dcm_object *object);
void dcm_object_drop(struct dcm_object *object);

/* dcm_handle_space() - the space that a number is of, whether or not it was ever given out */
enum dcm_space dcm_handle_space(uint64_t number);

/*
 * dcm_handle_insert() - give the object a number in its type's space; the table takes a count
 * Return: 0 with object->number set; -ENOMEM; -ENOSPC no index is left.
 */
int dcm_handle_insert(struct dcm_object *object);

/*
 * dcm_handle_find() - the object behind a number, held
 * @kinds: bit set of (1u << kind) that will do
 * Progress: wait-free.
 * Return: the object with one count for the caller, or null: no such number (now), or another kind.
 */
struct dcm_object *dcm_handle_find(uint64_t number, uint32_t kinds);

/*
 * dcm_handle_enter() - a read section: what dcm_handle_peek() finds in it stays in memory until
 * dcm_handle_leave()
 * The object's own memory, that is, and what its type frees in reclaim; what it owns may be released
 * at any time, unless something else holds it. Sections may lie in one another. In none may the
 * thread sleep for more than a lock.
 */
void dcm_handle_enter(void);
void dcm_handle_leave(void);
/* dcm_handle_peek() - dcm_handle_find() without a count, in a read section */
struct dcm_object *dcm_handle_peek(uint64_t number, uint32_t kinds);
/* dcm_object_keep() - a count on what was peeked at; false: it is being released */
bool dcm_object_keep(struct dcm_object *object);

/*
 * dcm_handle_close() - take the number out of the table, then type->close, then drop the table's count
 * Return: true, or false: not a number of those kinds now (another thread was first).
 */
bool dcm_handle_close(uint64_t number, uint32_t kinds);

/* dcm_handle_close_all() - dcm_handle_close() on every number of these kinds */
void dcm_handle_close_all(uint32_t kinds);

/* dcm_handle_each() - call @visit on each object of these kinds, held for the call */
void dcm_handle_each(uint32_t kinds, void (*visit)(struct dcm_object *object, void *arg), void *arg);

/*
 * dcm_handle_reclaim() - free retired objects after a grace period; may sleep for one
 * Does nothing in a read section. Called by the keeper, or, while there is none, by whoever retires another 64th object. Does nothing
 * when the kernel denies the membarrier call that liburcu would abort without.
 */
void dcm_handle_reclaim(void);
/* dcm_handle_on_retire() - called, if not null, whenever another 64 wait for dcm_handle_reclaim() */
void dcm_handle_on_retire(void (*notify)(void));

/* dcm_handle_forked() - in a forked child: every number whose type does not survive is closed by forget */
void dcm_handle_forked(void);

#endif
