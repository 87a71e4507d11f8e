/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writers hold a mutex; readers hold nothing but liburcu's read lock, from the loads between a slot
 * and the count of its object to the end of a call that does not block.
 *
 * Counts. The top bit of a count says that the object is dead: the one step from 1 to DEAD, by
 * whoever drops the last count, decides that alone. A finder adds 1 and looks: on a dead object it
 * takes the 1 back, and the memory is still there, since it is inside its read-side section. So
 * finding never loops.
 *
 * liburcu (0.13.2) ends the process where membarrier() fails that it has once been promised. It
 * makes that call only in synchronize_rcu(), so we try it just before, and leave the memory waiting
 * where it fails. A filter that another thread installs in that very moment, or one that kills
 * instead of refusing, remains.
 *
 * fork: the handlers below hold liburcu's locks and ours across it, and prune liburcu's list of
 * readers in the child. They take no other lock, and nothing may call dcm_handle_reclaim() with
 * a lock held that an atfork handler of its own takes. A program must not have handlers that call
 * urcu_bp_before_fork() too: that function's locks are not recursive.
 */
#define _GNU_SOURCE
#include "api/handle.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <urcu/urcu-bp.h>
/* A thread's place in liburcu's list is not aligned as its type says: that is liburcu's to know. */
#define LEAVES_ALIGNMENT_ALONE __attribute__((no_sanitize("alignment")))
static inline void _urcu_bp_read_lock_update(unsigned long tmp) LEAVES_ALIGNMENT_ALONE;
static inline void _urcu_bp_read_lock(void) LEAVES_ALIGNMENT_ALONE;
static inline void _urcu_bp_read_unlock(void) LEAVES_ALIGNMENT_ALONE;
/* For two functions of a few lines each, which it grants to callers of any licence. */
#include <urcu/static/urcu-bp.h>

#include "api/hot.h"

/* ThreadSanitizer cannot see what membarrier() orders. */
#if defined(__SANITIZE_THREAD__)
#define DCM__TSAN
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define DCM__TSAN
#endif
#endif
#ifdef DCM__TSAN
#include <sanitizer/tsan_interface.h>
#define TSAN_RELEASE(p) __tsan_release(p)
#define TSAN_ACQUIRE(p) __tsan_acquire(p)
#else
#define TSAN_RELEASE(p) ((void)0)
#define TSAN_ACQUIRE(p) ((void)0)
#endif

enum {
	INDEX_BITS = 20,
	INDEX_COUNT = 1 << INDEX_BITS,
	GENERATION_BITS = 41,
	CHUNK_SLOTS = 1024,
	RECLAIM_AT = 64,
};

#define GENERATION_LAST ((UINT64_C(1) << GENERATION_BITS) - 1)
#define DEAD		(UINT32_C(1) << 31)

struct slot {
	struct dcm_object *object;
	uint64_t generation; /* of the number given out last */
	uint32_t next_free;  /* 1 + index */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct slot *chunks[INDEX_COUNT / CHUNK_SLOTS]; /* allocated in order, never freed */
static uint32_t used;				       /* indices that were ever in use */
static uint32_t first_free;			       /* 1 + index */

static struct dcm_object *retired;
static uint32_t retired_count;
static void (*on_retire)(void);

static pthread_once_t hooks_once = PTHREAD_ONCE_INIT;
static int hooks_result = -EAGAIN;
static bool fork_locked; /* with the mutex: it and liburcu's locks are held for a fork */
static bool fork_child;	 /* our handler has run in this child */
static bool no_grace;	 /* liburcu's list of readers may hold threads of a parent */

static void before_fork(void)
{
	if (no_grace)
		return;
	urcu_bp_before_fork();
	pthread_mutex_lock(&mutex);
	fork_locked = true;
}

static void after_fork_parent(void)
{
	if (!fork_locked)
		return;
	fork_locked = false;
	pthread_mutex_unlock(&mutex);
	urcu_bp_after_fork_parent();
}

static void after_fork_child(void)
{
	if (!fork_locked)
		return;
	fork_locked = false;
	pthread_mutex_unlock(&mutex);
	urcu_bp_after_fork_child();
	fork_child = true;
}

static void install_hooks(void)
{
	hooks_result = -pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

struct dcm_object *dcm_object_new(const struct dcm_object_type *type, size_t bytes)
{
	struct dcm_object *object;

	object = calloc(1, bytes < sizeof(*object) ? sizeof(*object) : bytes);
	if (object == NULL)
		return NULL;
	object->type = type;
	object->count = 1;
	return object;
}

void dcm_object_hold(struct dcm_object *object)
{
	/* relaxed: the caller has a count, through which it sees the object. */
	__atomic_fetch_add(&object->count, 1, __ATOMIC_RELAXED);
}

bool dcm_object_keep(struct dcm_object *object)
{
	if ((__atomic_fetch_add(&object->count, 1, __ATOMIC_ACQUIRE) & DEAD) == 0)
		return true;
	__atomic_fetch_sub(&object->count, 1, __ATOMIC_RELAXED);
	return false;
}

static void push_retired(struct dcm_object *object)
{
	struct dcm_object *head = __atomic_load_n(&retired, __ATOMIC_RELAXED);

	/* Emptied as a whole, so an object that comes again at the same address is harmless. */
	do
		object->next_retired = head;
	while (!__atomic_compare_exchange_n(&retired, &head, object, true, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED));
}

static void retire(struct dcm_object *object)
{
	void (*notify)(void) = __atomic_load_n(&on_retire, __ATOMIC_ACQUIRE);
	uint32_t waiting;

	if (object->type->release != NULL)
		object->type->release(object);
	waiting = __atomic_add_fetch(&retired_count, 1, __ATOMIC_RELAXED);
	push_retired(object);
	if (waiting % RECLAIM_AT != 0)
		return; /* not worth a grace period yet */
	if (notify != NULL)
		notify();
	else
		dcm_handle_reclaim();
}

void dcm_object_drop(struct dcm_object *object)
{
	uint32_t count = __atomic_load_n(&object->count, __ATOMIC_RELAXED), next;

	do
		next = count == 1 ? DEAD : count - 1;
	while (!__atomic_compare_exchange_n(&object->count, &count, next, true, __ATOMIC_ACQ_REL,
					    __ATOMIC_RELAXED));
	if (next == DEAD)
		retire(object);
}

static struct slot *slot_at(uint32_t index)
{
	struct slot *chunk = __atomic_load_n(&chunks[index / CHUNK_SLOTS], __ATOMIC_ACQUIRE);

	return chunk == NULL ? NULL : &chunk[index % CHUNK_SLOTS];
}

/* With the mutex. Return: 1 + an index with a generation left, or 0 with *result set. */
static uint32_t take_index(int *result)
{
	uint32_t index = first_free;
	struct slot **chunk;

	if (index != 0) {
		first_free = slot_at(index - 1)->next_free;
		return index;
	}
	*result = -ENOSPC;
	if (used == INDEX_COUNT)
		return 0;
	chunk = &chunks[used / CHUNK_SLOTS];
	if (*chunk == NULL) {
		struct slot *slots = calloc(CHUNK_SLOTS, sizeof(*slots));

		*result = -ENOMEM;
		if (slots == NULL)
			return 0;
		__atomic_store_n(chunk, slots, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&used, used + 1, __ATOMIC_RELEASE);
	return used;
}

/* With the mutex, of a slot that holds no object. */
static void give_index(uint32_t index)
{
	struct slot *slot = slot_at(index);

	if (slot->generation >= GENERATION_LAST)
		return;
	slot->next_free = first_free;
	first_free = index + 1;
}

enum dcm_space dcm_handle_space(uint64_t number)
{
	return (enum dcm_space)(number >> (GENERATION_BITS + INDEX_BITS));
}

int dcm_handle_insert(struct dcm_object *object)
{
	uint32_t index;
	struct slot *slot;
	int result = 0;

	pthread_once(&hooks_once, install_hooks);
	if (hooks_result != 0)
		return -ENOMEM;
	pthread_mutex_lock(&mutex);
	index = take_index(&result);
	if (index != 0) {
		result = 0;
		slot = slot_at(--index);
		slot->generation++;
		/* relaxed: but for a revocation that comes before it, all see it behind the store below. */
		__atomic_store_n(&object->number,
				 (uint64_t)object->type->space << (GENERATION_BITS + INDEX_BITS) |
					 slot->generation << INDEX_BITS | index,
				 __ATOMIC_RELAXED);
		dcm_object_hold(object);
		/* release: who finds the object sees its number and what its maker wrote. */
		__atomic_store_n(&slot->object, object, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&mutex);
	return result;
}

static bool is_kind(const struct dcm_object *object, uint32_t kinds)
{
	return (kinds >> object->type->kind & 1) != 0;
}

/* liburcu takes a place for the thread, and to have more of them may try in vain to grow a mapping. */
static DCM_SELDOM void enter_first(void)
{
	int saved = errno;

	_urcu_bp_read_lock();
	errno = saved;
}

void dcm_handle_enter(void)
{
	if (URCU_TLS(urcu_bp_reader) == NULL)
		enter_first();
	else
		_urcu_bp_read_lock();
}

void dcm_handle_leave(void)
{
	TSAN_RELEASE(&retired);
	_urcu_bp_read_unlock();
}

/* The object at an index; number 0 is any. */
static struct dcm_object *peek_at(uint32_t index, uint64_t number, uint32_t kinds)
{
	struct slot *slot = slot_at(index);
	struct dcm_object *object =
		slot != NULL ? __atomic_load_n(&slot->object, __ATOMIC_ACQUIRE) : NULL;

	if (object == NULL || (number != 0 && object->number != number) || !is_kind(object, kinds))
		return NULL;
	return object;
}

static struct dcm_object *hold_at(uint32_t index, uint64_t number, uint32_t kinds)
{
	struct dcm_object *object;

	dcm_handle_enter();
	object = peek_at(index, number, kinds);
	if (object != NULL && !dcm_object_keep(object))
		object = NULL;
	dcm_handle_leave();
	return object;
}

static uint32_t index_of(uint64_t number)
{
	return (uint32_t)(number % INDEX_COUNT);
}

struct dcm_object *dcm_handle_peek(uint64_t number, uint32_t kinds)
{
	return number == 0 ? NULL : peek_at(index_of(number), number, kinds);
}

struct dcm_object *dcm_handle_find(uint64_t number, uint32_t kinds)
{
	return number == 0 ? NULL : hold_at(index_of(number), number, kinds);
}

bool dcm_handle_close(uint64_t number, uint32_t kinds)
{
	struct slot *slot = slot_at(index_of(number));
	struct dcm_object *object;

	if (slot == NULL)
		return false;
	pthread_mutex_lock(&mutex);
	/* The table's count keeps what is in the table alive. */
	object = slot->object;
	if (object != NULL && (object->number != number || !is_kind(object, kinds)))
		object = NULL;
	if (object != NULL) {
		__atomic_store_n(&slot->object, NULL, __ATOMIC_RELAXED);
		give_index(index_of(number));
	}
	pthread_mutex_unlock(&mutex);
	if (object == NULL)
		return false;
	if (object->type->close != NULL)
		object->type->close(object);
	dcm_object_drop(object);
	return true;
}

void dcm_handle_each(uint32_t kinds, void (*visit)(struct dcm_object *object, void *arg), void *arg)
{
	uint32_t end = __atomic_load_n(&used, __ATOMIC_ACQUIRE);

	for (uint32_t index = 0; index < end; index++) {
		struct dcm_object *object = hold_at(index, 0, kinds);

		if (object == NULL)
			continue;
		visit(object, arg);
		dcm_object_drop(object);
	}
}

static void close_one(struct dcm_object *object, void *kinds)
{
	(void)dcm_handle_close(object->number, *(const uint32_t *)kinds);
}

void dcm_handle_close_all(uint32_t kinds)
{
	dcm_handle_each(kinds, close_one, &kinds);
}

/* Whether synchronize_rcu() cannot end the process, nor wait for threads that are not there. */
static bool may_synchronize(void)
{
	if (no_grace || urcu_bp_read_ongoing())
		return false;
	/* Whether liburcu relies on it; where it was built to require it that is a constant. */
	if (urcu_bp_has_sys_membarrier == 0)
		return true;
	return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0) == 0;
}

void dcm_handle_reclaim(void)
{
	struct dcm_object *object, *next;
	uint32_t freed = 0;
	int saved = errno;

	if (__atomic_load_n(&retired, __ATOMIC_RELAXED) == NULL || !may_synchronize()) {
		errno = saved;
		return;
	}
	object = __atomic_exchange_n(&retired, NULL, __ATOMIC_ACQUIRE);
	urcu_bp_synchronize_rcu();
	TSAN_ACQUIRE(&retired);
	for (; object != NULL; object = next, freed++) {
		next = object->next_retired;
		if (object->type->reclaim != NULL)
			object->type->reclaim(object);
		free(object);
	}
	__atomic_fetch_sub(&retired_count, freed, __ATOMIC_RELAXED);
	errno = saved;
}

void dcm_handle_on_retire(void (*notify)(void))
{
	__atomic_store_n(&on_retire, notify, __ATOMIC_RELEASE);
}

/* A child that was made without fork(): its parent's other threads may have been anywhere. */
static void repair(void)
{
	no_grace = true;
	pthread_mutex_init(&mutex, NULL);
	first_free = 0;
	for (uint32_t index = used; index-- > 0;)
		if (slot_at(index)->object == NULL)
			give_index(index);
}

void dcm_handle_forked(void)
{
	struct dcm_object *gone = NULL, *next;

	if (hooks_result == 0 && !fork_child)
		repair();
	fork_child = false;
	dcm_handle_on_retire(NULL);
	for (uint32_t index = used; index-- > 0;) {
		struct slot *slot = slot_at(index);
		struct dcm_object *object = slot->object;

		if (object == NULL || object->type->survives_fork)
			continue;
		__atomic_store_n(&slot->object, NULL, __ATOMIC_RELAXED);
		give_index(index);
		/* The table's count stays, so that no drop is the last one: forget is all. */
		object->next_retired = gone;
		gone = object;
	}
	for (; gone != NULL; gone = next) {
		next = gone->next_retired;
		if (gone->type->forget != NULL)
			gone->type->forget(gone);
		__atomic_add_fetch(&retired_count, 1, __ATOMIC_RELAXED);
		push_retired(gone);
	}
}
