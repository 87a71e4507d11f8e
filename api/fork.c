/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "api/fork.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include "api/handle.h"
#include "api/identity.h"
#include "api/object.h"
#include "api/spare.h"

enum { RESETS_MAX = 8 };

/* NEW for ever: dcm_fork_check() comes here until there is a word in a page of its own. */
static uint32_t no_word = DCM_FORK_NEW;
/* Where no page can be had: only fork() is then noticed, not _Fork() nor a raw clone. */
static uint32_t plain_word = DCM_FORK_SETTLED;

uint32_t *dcm_fork_word = &no_word;

static void (*resets[RESETS_MAX])(void);
static _Thread_local bool settling;

/* Kernels before 4.14 know no MADV_WIPEONFORK; there this is all, elsewhere it is only sooner. */
static void forked(void)
{
	/* A child that never calls the library would keep it as long as it lives. */
	dcm_spare_shut();
	__atomic_store_n(dcm_fork_word, DCM_FORK_NEW, __ATOMIC_RELEASE);
}

static uint32_t *make_word(size_t bytes)
{
	uint32_t *word =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (word == MAP_FAILED)
		return &plain_word;
	(void)madvise(word, bytes, MADV_WIPEONFORK);
	*word = DCM_FORK_SETTLED;
	return word;
}

static void first_use(void)
{
	size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
	uint32_t *word = make_word(bytes), *old = &no_word;

	if (__atomic_compare_exchange_n(&dcm_fork_word, &old, word, false, __ATOMIC_ACQ_REL,
					__ATOMIC_ACQUIRE))
		(void)pthread_atfork(NULL, NULL, forked);
	else if (word != &plain_word)
		munmap(word, bytes);
}

static void run_resets(void)
{
	dcm_handle_forked();
	dcm_kernel_forked();
	dcm_identity_forked();
	for (unsigned i = 0; i < RESETS_MAX; i++) {
		void (*reset)(void) = __atomic_load_n(&resets[i], __ATOMIC_ACQUIRE);

		if (reset != NULL)
			reset();
	}
}

void dcm_fork_settle(void)
{
	int saved = errno;
	uint32_t *word, seen = DCM_FORK_NEW;

	if (settling)
		return;
	if (__atomic_load_n(&dcm_fork_word, __ATOMIC_ACQUIRE) == &no_word)
		first_use();
	word = __atomic_load_n(&dcm_fork_word, __ATOMIC_ACQUIRE);
	if (__atomic_compare_exchange_n(word, &seen, DCM_FORK_BUSY, false, __ATOMIC_ACQ_REL,
					__ATOMIC_ACQUIRE)) {
		settling = true;
		run_resets();
		settling = false;
		__atomic_store_n(word, DCM_FORK_SETTLED, __ATOMIC_RELEASE);
	}
	/* Threads of the child itself: whoever settles is one of them, and alive. */
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != DCM_FORK_SETTLED)
		sched_yield();
	errno = saved;
}

bool dcm_fork_register(void (*reset)(void))
{
	dcm_fork_check();
	for (unsigned i = 0; i < RESETS_MAX; i++) {
		void (*old)(void) = NULL;

		if (__atomic_compare_exchange_n(&resets[i], &old, reset, false, __ATOMIC_ACQ_REL,
						__ATOMIC_ACQUIRE) ||
		    old == reset)
			return true;
	}
	return false;
}
