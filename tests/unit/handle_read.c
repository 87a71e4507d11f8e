/* SPDX-License-Identifier: BSD-2-Clause */
/* The read sections of the handle table: what is found in one stays there until it is left. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "api/handle.h"
#include "tests/tap.h"

#define ALL	  (~0u)
#define BIT(kind) (1u << (kind))

static uint32_t releases, reclaims;

static void on_release(struct dcm_object *object)
{
	(void)object;
	__atomic_fetch_add(&releases, 1, __ATOMIC_RELAXED);
}

static void on_reclaim(struct dcm_object *object)
{
	(void)object;
	__atomic_fetch_add(&reclaims, 1, __ATOMIC_RELAXED);
}

static const struct dcm_object_type listener = {
	.kind = DCM_KIND_LISTENER,
	.space = DCM_SPACE_HANDLE,
	.release = on_release,
	.reclaim = on_reclaim,
};

/* The number of a new object that only the table holds. */
static uint64_t new_number(void)
{
	struct dcm_object *object = dcm_object_new(&listener, sizeof(*object));
	uint64_t number;

	if (object == NULL || dcm_handle_insert(object) != 0)
		bail("no object, or no number for it");
	number = object->number;
	dcm_object_drop(object);
	return number;
}

enum { CROWD = 64, ERRNO = 77 };

static pthread_barrier_t crowd;

static void *enter_first(void *arg)
{
	int *seen = arg;

	errno = ERRNO;
	dcm_handle_enter();
	dcm_handle_leave();
	*seen = errno;
	pthread_barrier_wait(&crowd);
	return NULL;
}

/* More threads at once than liburcu has places for at first. */
static void first_sections(void)
{
	pthread_t threads[CROWD];
	int seen[CROWD], bad = 0;

	pthread_barrier_init(&crowd, NULL, CROWD);
	for (int i = 0; i < CROWD; i++)
		if (pthread_create(&threads[i], NULL, enter_first, &seen[i]) != 0)
			bail("no thread");
	for (int i = 0; i < CROWD; i++) {
		pthread_join(threads[i], NULL);
		bad += seen[i] != ERRNO;
	}
	pthread_barrier_destroy(&crowd);
	is_int(0, bad, "errno is left alone by the first section of each of %d threads", CROWD);
}

static void *reclaim_beside(void *arg)
{
	dcm_handle_reclaim();
	return arg;
}

static void read_sections(void)
{
	uint64_t number = new_number(), other = new_number();
	struct dcm_object *object;
	pthread_t thread;

	dcm_handle_enter();
	object = dcm_handle_peek(number, BIT(DCM_KIND_LISTENER));
	ok(object != NULL && object->number == number, "in a read section an object is found");
	is_uint(1, object->count, "and not held");
	ok(dcm_handle_peek(number, ALL & ~BIT(DCM_KIND_LISTENER)) == NULL &&
		   dcm_handle_peek(0, ALL) == NULL,
	   "as when it is held, by kind and number");
	ok(dcm_object_keep(object), "there it can be kept");
	dcm_object_drop(object);
	dcm_handle_enter();
	(void)dcm_handle_close(number, ALL);
	dcm_handle_leave();
	ok(dcm_handle_peek(number, ALL) == NULL, "closed, it is not found again");
	ok(!dcm_object_keep(object), "nor can it be kept");
	is_uint(1, releases, "it is released");
	dcm_handle_reclaim();
	if (pthread_create(&thread, NULL, reclaim_beside, NULL) != 0)
		sysbail("pthread_create");
	usleep(20000);
	is_uint(0, __atomic_load_n(&reclaims, __ATOMIC_RELAXED),
		"and its memory there, whoever reclaims, inside of a section or out");
	is_uint(number, object->number, "as it was");
	dcm_handle_leave();
	pthread_join(thread, NULL);
	dcm_handle_reclaim();
	is_uint(1, reclaims, "until the section is left");
	(void)dcm_handle_close(other, ALL);
	dcm_handle_reclaim();
	is_uint(2, reclaims, "where there is none, at once");
}

int main(void)
{
	plan_lazy();
	first_sections();
	read_sections();
	return 0;
}
