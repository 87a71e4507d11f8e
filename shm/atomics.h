/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * atomics - the ordering vocabulary of the segment, and the one hook that tests hang on
 *
 * Every word that two processes share is _Atomic uint32_t or _Atomic uint64_t and is touched only
 * through the calls below; the order stands on the access, never in a fence of its own.
 *
 *   dcm_load(p, order)          order: relaxed, acquire, seq
 *   dcm_store(p, v, order)      order: relaxed, release, seq
 *   dcm_cas(p, &old, new)       seq; on failure *old is what was there (also seq)
 *   dcm_swap / dcm_add / dcm_or / dcm_and (p, v)        seq; give the old value
 *
 * A build with DCM_HOOKS sends every access through dcm_hooks when that is set, so that the same
 * source runs as a simulation (each access is a scheduling point, stores wait in a store buffer)
 * and under kill enumeration (each access is a place to die). DCM_LINE(name) marks a statement
 * that such a build can leave out, DCM_ORDER(name, strong, weak) an order that it can weaken: the
 * mutants that the tests must kill. A release build contains nothing of either.
 */
#ifndef DCM_SHM_ATOMICS_H
#define DCM_SHM_ATOMICS_H

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef _Atomic uint32_t dcm_atomic32;
typedef _Atomic uint64_t dcm_atomic64;

static_assert(ATOMIC_INT_LOCK_FREE == 2 && ATOMIC_LLONG_LOCK_FREE == 2,
	      "a lock would live in one process only");
static_assert(sizeof(dcm_atomic32) == 4 && sizeof(dcm_atomic64) == 8, "same on all ABIs");

enum dcm_order { relaxed, acquire, release, seq };
enum dcm_rmw { DCM_RMW_SWAP, DCM_RMW_ADD, DCM_RMW_OR, DCM_RMW_AND };

#ifdef DCM_HOOKS

struct dcm_park_word;

struct dcm_hooks {
	uint64_t (*load)(const volatile void *word, unsigned bytes, enum dcm_order order);
	void (*store)(volatile void *word, unsigned bytes, uint64_t value, enum dcm_order order);
	bool (*cas)(volatile void *word, unsigned bytes, uint64_t *expected, uint64_t desired);
	uint64_t (*rmw)(volatile void *word, unsigned bytes, enum dcm_rmw op, uint64_t operand);
	/* The kernel as the protocols see it; null: the real one. Return as in shm/park.h. */
	int (*futex_wait)(const struct dcm_park_word *words, unsigned count, int64_t deadline_ns);
	int (*futex_wake)(dcm_atomic32 *word, int count);
	/* Add and wake all, in one step of the kernel. */
	int (*futex_add_wake)(dcm_atomic32 *word, uint32_t add);
	/* shm/barrier.h; null: the real one */
	void (*barrier)(void);
	int64_t (*now_ns)(void);
	void (*pause)(void);
	/* The proof of a death: dcm_process_dead(). */
	bool (*process_dead)(uint32_t index, uint64_t generation);
};

extern const struct dcm_hooks *dcm_hooks; /* null: straight to the machine */
extern const char *dcm_mutant;		  /* the DCM_LINE or DCM_ORDER to break; null: none */

#define DCM_HOOKED(member) (dcm_hooks != NULL && dcm_hooks->member != NULL)
#define DCM__BROKEN(name) (dcm_mutant != NULL && __builtin_strcmp(dcm_mutant, #name) == 0)
#define DCM_LINE(name) if (!DCM__BROKEN(name))
#define DCM_ORDER(name, strong, weak) (DCM__BROKEN(name) ? (weak) : (strong))

#else

#define DCM_LINE(name)
#define DCM_ORDER(name, strong, weak) (strong)

#endif

/* What stands at the head of each access: the hook, where tests have set it. */
#ifdef DCM_HOOKS
#define DCM__HOOK_LOAD(bits)                                                                       \
	if (DCM_HOOKED(load))                                                                      \
		return (uint##bits##_t)dcm_hooks->load(p, bits / 8, o);
#define DCM__HOOK_STORE(bits)                                                                      \
	if (DCM_HOOKED(store)) {                                                                   \
		dcm_hooks->store(p, bits / 8, v, o);                                               \
		return;                                                                            \
	}
#define DCM__HOOK_CAS(bits)                                                                        \
	if (DCM_HOOKED(cas)) {                                                                     \
		uint64_t wide = *old;                                                              \
		bool done = dcm_hooks->cas(p, bits / 8, &wide, v);                                 \
		*old = (uint##bits##_t)wide;                                                       \
		return done;                                                                       \
	}
#define DCM__HOOK_RMW(bits)                                                                        \
	if (DCM_HOOKED(rmw))                                                                       \
		return (uint##bits##_t)dcm_hooks->rmw(p, bits / 8, op, v);
#else
#define DCM__HOOK_LOAD(bits)
#define DCM__HOOK_STORE(bits)
#define DCM__HOOK_CAS(bits)
#define DCM__HOOK_RMW(bits)
#endif

#define DCM__DEFINE(bits)                                                                          \
	static inline uint##bits##_t dcm__load##bits(const dcm_atomic##bits *p, enum dcm_order o)  \
	{                                                                                          \
		DCM__HOOK_LOAD(bits)                                                               \
		if (o == relaxed)                                                                  \
			return atomic_load_explicit(p, memory_order_relaxed);                      \
		if (o == acquire)                                                                  \
			return atomic_load_explicit(p, memory_order_acquire);                      \
		return atomic_load_explicit(p, memory_order_seq_cst);                              \
	}                                                                                          \
	static inline void dcm__store##bits(dcm_atomic##bits *p, uint##bits##_t v,                 \
					    enum dcm_order o)                                      \
	{                                                                                          \
		DCM__HOOK_STORE(bits)                                                              \
		if (o == relaxed)                                                                  \
			atomic_store_explicit(p, v, memory_order_relaxed);                         \
		else if (o == release)                                                             \
			atomic_store_explicit(p, v, memory_order_release);                         \
		else                                                                               \
			atomic_store_explicit(p, v, memory_order_seq_cst);                         \
	}                                                                                          \
	static inline bool dcm__cas##bits(dcm_atomic##bits *p, uint##bits##_t *old,                \
					  uint##bits##_t v)                                        \
	{                                                                                          \
		DCM__HOOK_CAS(bits)                                                                \
		return atomic_compare_exchange_strong_explicit(p, old, v, memory_order_seq_cst,    \
							       memory_order_seq_cst);              \
	}                                                                                          \
	static inline uint##bits##_t dcm__rmw##bits(dcm_atomic##bits *p, enum dcm_rmw op,          \
						    uint##bits##_t v)                              \
	{                                                                                          \
		DCM__HOOK_RMW(bits)                                                                \
		if (op == DCM_RMW_SWAP)                                                            \
			return atomic_exchange_explicit(p, v, memory_order_seq_cst);               \
		if (op == DCM_RMW_ADD)                                                             \
			return atomic_fetch_add_explicit(p, v, memory_order_seq_cst);              \
		if (op == DCM_RMW_OR)                                                              \
			return atomic_fetch_or_explicit(p, v, memory_order_seq_cst);               \
		return atomic_fetch_and_explicit(p, v, memory_order_seq_cst);                      \
	}

DCM__DEFINE(32)
DCM__DEFINE(64)

#define DCM__PICK(p, name)                                                                         \
	_Generic((p), dcm_atomic32 *: name##32, const dcm_atomic32 *: name##32,                    \
		 dcm_atomic64 *: name##64, const dcm_atomic64 *: name##64)

#define dcm_load(p, order) (DCM__PICK(p, dcm__load)((p), (order)))
#define dcm_store(p, v, order) (DCM__PICK(p, dcm__store)((p), (v), (order)))
#define dcm_cas(p, old, v) (DCM__PICK(p, dcm__cas)((p), (old), (v)))
#define dcm_swap(p, v) (DCM__PICK(p, dcm__rmw)((p), DCM_RMW_SWAP, (v)))
#define dcm_add(p, v) (DCM__PICK(p, dcm__rmw)((p), DCM_RMW_ADD, (v)))
#define dcm_or(p, v) (DCM__PICK(p, dcm__rmw)((p), DCM_RMW_OR, (v)))
#define dcm_and(p, v) (DCM__PICK(p, dcm__rmw)((p), DCM_RMW_AND, (v)))

#endif
