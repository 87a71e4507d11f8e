/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Edges of this file
 *   S  segment:  watch and unwatch -> is_ours(), in a handler on any thread
 *   L  lost:     the handler's mark, then its zero pages -> a call's reads, then its look at it
 */
#define _GNU_SOURCE
#include "api/guard.h"

#include <dcm/fabric.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "api/fork.h"
#include "api/keeper.h"
#include "api/retcode.h"
#include "api/server.h"
#include "api/session.h"

/* The mapping: bytes 0 while base is not to be believed. */
static dcm_atomic64 watched_base, watched_bytes;
static dcm_atomic32 lost;
static dcm_atomic32 told; /* 1: what was blocked when it was lost has been woken */

/* What stood there before us. A handler may be reading one: they are kept for ever. */
struct previous {
	struct sigaction action;
	struct previous *next;
};

static struct previous by_default = { .action.sa_handler = SIG_DFL };
static struct previous *previous = &by_default; /* atomic builtins only */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct previous *all; /* under lock */

void dcm_guard_watch(const struct dcm_segment *seg)
{
	/* seq, S: bytes last. A reader that sees one base twice and bytes between saw a pair. */
	dcm_store(&watched_base, (uint64_t)(uintptr_t)seg->base, seq);
	dcm_store(&watched_bytes, seg->bytes, seq);
}

void dcm_guard_unwatch(void)
{
	dcm_store(&watched_bytes, 0ull, seq);
	dcm_store(&lost, 0u, seq);
	dcm_store(&told, 0u, seq);
}

bool dcm_guard_lost(void)
{
	return dcm_load(&lost, seq) != 0;
}

Retcode dcm_guard_fail(void)
{
	return dcm_fail(rcFail,
			"the fabric's segment was truncated, or its memory failed: leave it "
			"with DcmFini, and have its file removed");
}

/* From here to on_sigbus(): only what may be done in a handler, on any thread, at any place. */

/* An access of this process to the segment failed, for good. */
static bool is_ours(const siginfo_t *info)
{
	uint64_t at = (uint64_t)(uintptr_t)info->si_addr;
	uint64_t base = dcm_load(&watched_base, seq), bytes = dcm_load(&watched_bytes, seq);

	if (info->si_code != BUS_ADRERR && info->si_code != BUS_MCEERR_AR)
		return false;
	/* A forked child has no segment yet, and may have anything at that address. */
	if (__atomic_load_n(__atomic_load_n(&dcm_fork_word, __ATOMIC_ACQUIRE), __ATOMIC_ACQUIRE) !=
	    DCM_FORK_SETTLED)
		return false;
	return base == dcm_load(&watched_base, seq) && at - base < bytes;
}

/* Zero pages over all of it: whoever was about to fault next does not. */
static bool replace(void)
{
	void *base = (void *)(uintptr_t)dcm_load(&watched_base, seq);
	uint64_t bytes = dcm_load(&watched_bytes, seq);

	/* seq, L: before the first zero is there to be read. */
	dcm_store(&lost, 1u, seq);
	if (mmap(base, bytes, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		return false;
	(void)madvise(base, bytes, MADV_DONTFORK);
	/* It wakes those who sleep on words that nobody will change any more. */
	dcm_keeper_kick();
	return true;
}

/* The default: the process dies of this signal, as if there had been no handler. */
static void die_of(int number, siginfo_t *info)
{
	struct sigaction action = { .sa_handler = SIG_DFL };

	sigaction(number, &action, NULL);
	/* Delivered where the handler returns to, so that a core dump shows the place; for a fault
	   without it, the same instruction fails again. */
	if (syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), number, info) < 0)
		raise(number);
}

/* The kernel does not let a program ignore its own fault. */
static bool can_be_ignored(const siginfo_t *info)
{
	return info->si_code <= 0 || info->si_code == BUS_MCEERR_AO;
}

/* To whoever had the signal before, as the kernel would have called it: mask, stack and restart of
   system calls are in our own action. */
static void pass_on(int number, siginfo_t *info, void *context)
{
	struct previous *to = __atomic_load_n(&previous, __ATOMIC_ACQUIRE);

	if ((to->action.sa_flags & (int)SA_RESETHAND) != 0 &&
	    !__atomic_compare_exchange_n(&previous, &to, &by_default, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		to = &by_default; /* another thread has had the one call */
	if (to->action.sa_handler == SIG_IGN && can_be_ignored(info))
		return;
	if (to->action.sa_handler == SIG_DFL || to->action.sa_handler == SIG_IGN)
		die_of(number, info);
	else if ((to->action.sa_flags & SA_SIGINFO) != 0)
		to->action.sa_sigaction(number, info, context);
	else
		to->action.sa_handler(number);
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
	int saved = errno;
	bool done = is_ours(info) && replace();

	errno = saved;
	if (!done)
		pass_on(number, info, context);
}

/* Wake what is blocked on an object: it looks again, and sees that all is lost. */
static void wake(struct dcm_object *object, void *arg)
{
	struct dcm_blocker *blocker = &((struct dcm_blockable *)object)->blocker;

	(void)arg;
	if (object->type->kind == DCM_KIND_SESSION)
		blocker = &((struct dcm_session *)object)->client->blocker;
	else if (object->type->kind == DCM_KIND_LISTENER)
		blocker = &((struct dcm_listener_object *)object)->blocker;
	dcm_park_poke(&blocker->poke);
}

/*
 * The keeper's part. Those who sleep touch nothing: it does, at the end of the segment, which every
 * truncation takes away. What goes to sleep behind its round of wakes has seen the mark.
 */
static uint32_t look_after(bool second)
{
	uint64_t base = dcm_load(&watched_base, seq), bytes = dcm_load(&watched_bytes, seq);

	(void)second;
	if (bytes != 0)
		(void)*(volatile unsigned char *)(uintptr_t)(base + bytes - 1);
	if (dcm_guard_lost() && dcm_swap(&told, 1u) == 0)
		dcm_handle_each(DCM_KINDS_BLOCKABLE | 1u << DCM_KIND_LISTENER |
					1u << DCM_KIND_SESSION,
				wake, NULL);
	return 0;
}

static void reset_in_child(void)
{
	pthread_mutex_init(&lock, NULL);
	dcm_guard_unwatch();
	dcm_keeper_forked();
}

static bool is_handler(const struct sigaction *action)
{
	return action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN;
}

/* With the lock: did this handler stand there before the guard? Then it does not call the guard. */
static bool was_before(const struct sigaction *action)
{
	for (const struct previous *p = all; p != NULL; p = p->next)
		if (p->action.sa_handler == action->sa_handler)
			return true;
	return false;
}

/* With the lock: a copy of @action that lasts. Null: no memory. */
static struct previous *remember(const struct sigaction *action)
{
	struct previous *p;

	for (p = all; p != NULL; p = p->next)
		if (p->action.sa_handler == action->sa_handler &&
		    p->action.sa_flags == action->sa_flags)
			return p;
	p = malloc(sizeof *p);
	if (p == NULL)
		return NULL;
	*p = (struct previous){ .action = *action, .next = all };
	all = p;
	return p;
}

/* Ours, with all that the kernel does for @before on the way. */
static struct sigaction in_front_of(const struct sigaction *before)
{
	struct sigaction action = { .sa_sigaction = on_sigbus,
				    .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART };

	sigemptyset(&action.sa_mask);
	if (!is_handler(before))
		return action;
	action.sa_mask = before->sa_mask;
	action.sa_flags = SA_SIGINFO | (before->sa_flags & (SA_ONSTACK | SA_RESTART | SA_NODEFER));
	return action;
}

/* With the lock. */
static Retcode install(void)
{
	struct sigaction now, action;
	struct previous *p;

	if (sigaction(SIGBUS, NULL, &now) < 0)
		return dcm_fail_errno(-errno, "SIGBUS");
	if (is_handler(&now) && now.sa_sigaction == on_sigbus)
		return rcOk;
	/* In front of it we might be called by it, and it by us, without end. */
	if (all != NULL && is_handler(&now) && !was_before(&now))
		return dcm_fail(
			rcInvalidOperation,
			"the program has put another SIGBUS handler in front of the guard: it "
			"stays there, and the guard works if that handler calls the one before");
	p = remember(&now);
	if (p == NULL)
		return dcm_fail(rcOutOfMemory, "no memory for the guard");
	__atomic_store_n(&previous, p, __ATOMIC_RELEASE);
	action = in_front_of(&now);
	if (sigaction(SIGBUS, &action, NULL) < 0)
		return dcm_fail_errno(-errno, "SIGBUS");
	return rcOk;
}

Retcode DcmGuardSegment(void)
{
	int saved = errno;
	Retcode rc;

	dcm_fork_check();
	if (!dcm_fork_register(reset_in_child))
		return dcm_fail(rcFail, "no place for the fork handler");
	pthread_mutex_lock(&lock);
	rc = install();
	pthread_mutex_unlock(&lock);
	if (rc == rcOk) {
		dcm_keeper_chore(look_after);
		dcm_keeper_take_sigbus();
	}
	errno = saved;
	return rc;
}
