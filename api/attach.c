/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "api/attach.h"

#include <dcm/dcm_api.h>
#include <dcm/fabric.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/fork.h"
#include "api/full.h"
#include "api/guard.h"
#include "api/handle.h"
#include "api/identity.h"
#include "api/keeper.h"
#include "api/retcode.h"
#include "api/spare.h"
#include "api/spin.h"
#include "shm/barrier.h"
#include "shm/bell.h"
#include "shm/gift.h"
#include "shm/process.h"

/* A full process table: how often to look again, while those who live reap the dead. */
enum { FULL_TRIES = 40, FULL_SLEEP_NS = 5 * 1000 * 1000 };

/* How often a waiting DcmInit looks whether what nobody tells has changed. */
enum { SLICE_NS = 20 * 1000 * 1000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
/* Inside of it, for the moment in which the two below change: who has to look at once waits for
   nothing else. */
static pthread_mutex_t current_lock = PTHREAD_MUTEX_INITIALIZER;
static struct dcm_fabric *current; /* under both; null: not attached */
static dcm_atomic64 attachments;	   /* changed under both: tells one fabric from the next */
static unsigned inits;		   /* under lock: DcmInit less DcmFini */
static unsigned entered;	   /* under lock: calls that are about to make a handle in it */
static bool closing;		   /* under lock: a last DcmFini is at work */
static dcm_atomic32 attached;	   /* inits > 0, for those who need no lock to hear "no" */
static char set_name[DCM_NAME_SIZE];

static void reset_in_child(void)
{
	struct dcm_fabric *fabric = current;

	pthread_mutex_init(&lock, NULL);
	pthread_mutex_init(&current_lock, NULL);
	pthread_cond_init(&changed, NULL);
	current = NULL;
	inits = 0;
	entered = 0;
	closing = false;
	dcm_store(&attached, 0u, relaxed);
	dcm_keeper_forked();
	dcm_spare_forked();
	dcm_guard_unwatch();
	if (fabric == NULL)
		return;
	dcm_segment_forked(&fabric->seg);
	free(fabric);
}

/* Under the lock. */
static void set_current(struct dcm_fabric *fabric)
{
	pthread_mutex_lock(&current_lock);
	current = fabric;
	if (fabric != NULL)
		dcm_add(&attachments, 1u);
	pthread_mutex_unlock(&current_lock);
}

/* The keeper's last act: everything back, nothing mapped. */
static void detach(void *arg)
{
	struct dcm_fabric *f = arg;

	dcm_spare_drop();
	dcm_gift_leave(&f->seg, f->self.index);
	dcm_process_yield(&f->seg, f->self);
	dcm_guard_unwatch();
	dcm_segment_close(&f->seg);
	pthread_mutex_lock(&lock);
	set_current(NULL);
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	free(f);
}

/* Every keeper that lives reaps what is dead. */
static void kick_everybody(const struct dcm_segment *seg)
{
	for (uint32_t i = 0; i < seg->process.count; i++)
		if (dcm_process_alive(seg, i))
			dcm_process_kick(seg, i);
}

/* Where several users meet, only the socket tells each side who the other is. */
static bool transfer_allowed(const struct dcm_fabric *f)
{
	uint32_t transfer = f->settings.transfer;

	if (!f->seg.shared || transfer == DCM_TRANSFER_AUTO || transfer == DCM_TRANSFER_SOCKET)
		return true;
	dcm_fail(rcSecurityDisallow,
		 "fabric %s is open to several users, where channels are handed over by socket "
		 "only: unset DCM_TRANSFER, or set it to auto or socket",
		 f->settings.fabric);
	return false;
}

/*
 * Open the segment and claim a slot in it. A full table of the living is refused; the dead in it
 * are reaped by those who live, for this process cannot own what it would take over without a
 * slot; and a table of the dead alone is replaced with its segment.
 */
static Retcode open_and_claim(struct dcm_fabric *f, const struct dcm_process_self *self)
{
	struct dcm_segment_options options = { .fabric = f->settings.fabric,
					       .capacity = f->settings.capacity,
					       .access = &f->settings.access,
					       .library_version = DcmVersion() };
	struct dcm_detail why;
	Retcode rc = rcOk;
	bool full;

	for (int tries = 0; tries < FULL_TRIES; tries++) {
		int r = dcm_segment_open(&f->seg, &options, &why);

		if (r == 0 && !transfer_allowed(f)) {
			dcm_segment_close(&f->seg);
			return rcSecurityDisallow;
		}
		full = r == -EPROTO && options.anew; /* somebody lives in it after all */
		if (r < 0 && !full)
			return dcm_fail_errno(r, "%s", why.text);
		if (r == 0) {
			dcm_guard_watch(&f->seg);
			r = dcm_process_claim(&f->seg, self, &f->self);
			if (r == 0)
				return rcOk;
			full = r == -ENOSPC || r == -EDQUOT;
			if (full)
				rc = dcm_fail_full(&f->seg, &f->seg.process, "process slots",
						   "DCM_MAX_PROCESSES");
			kick_everybody(&f->seg);
			dcm_guard_unwatch();
			dcm_segment_close(&f->seg);
		}
		if (!full)
			return dcm_fail(rcInvalidOperation, "another copy of libdcm in this process "
							    "is attached: link one only");
		/* Over one user's share there is room for others: the segment stays as it was made. */
		options.anew = r == -ENOSPC;
		nanosleep(&(struct timespec){ .tv_nsec = FULL_SLEEP_NS }, NULL);
	}
	return rc;
}

static Retcode join(struct dcm_fabric *f)
{
	struct dcm_process_self self = { .sid_base = dcm_sid_base(), .name = f->settings.name };
	Retcode rc;
	int r;

	dcm_process_describe(&self);
	/* As no other process does, and not as this one did when it was attached before. */
	dcm_bell_start((uint32_t)(self.sid_base + (uint64_t)dcm_park_now()));
	rc = open_and_claim(f, &self);
	if (rc != rcOk)
		return rc;
	/* While there may be one thread: it is much faster then. */
	dcm_barrier_join();
	r = dcm_keeper_start(&f->seg, f->self, detach, f);
	if (r < 0)
		dcm_process_yield(&f->seg, f->self);
	dcm_segment_settled(&f->seg);
	if (r == 0)
		return rcOk;
	dcm_guard_unwatch();
	dcm_segment_close(&f->seg);
	return dcm_fail_errno(r, "cannot start the library's thread");
}

static Retcode attach(void)
{
	struct dcm_fabric *f = calloc(1, sizeof *f);
	Retcode rc;

	if (f == NULL)
		return dcm_fail(rcOutOfMemory, "no memory for the fabric");
	rc = dcm_settings_read(&f->settings, set_name);
	if (rc == rcOk) {
		if (f->settings.wait != DCM_WAIT_UNSAID)
			dcm_spin_default(f->settings.wait);
		dcm_store(&f->count, 1u, relaxed);
		rc = join(f);
	}
	if (rc != rcOk) {
		free(f);
		return rc;
	}
	set_current(f);
	return rcOk;
}

/* A session or a listener kept the last fabric: go back to it, unless another is asked for. */
static Retcode reattach(void)
{
	struct dcm_settings settings;
	Retcode rc = dcm_settings_read(&settings, set_name);

	if (rc == rcOk && strcmp(settings.fabric, current->settings.fabric) != 0)
		rc = dcm_fail(rcInvalidOperation,
			      "sessions or listeners of fabric \"%s\" are still open: close them "
			      "before DcmInit with DCM_FABRIC=\"%s\"",
			      current->settings.fabric, settings.fabric);
	if (rc == rcOk && dcm_guard_lost())
		rc = dcm_guard_fail();
	if (rc != rcOk)
		dcm_fabric_drop(current);
	return rc;
}

/* Count up, unless the last count is gone and the keeper is about to detach. */
static bool hold_if_there(struct dcm_fabric *f)
{
	uint32_t count = dcm_load(&f->count, acquire);

	while (count != 0)
		if (dcm_cas(&f->count, &count, count + 1))
			return true;
	return false;
}

/* Is something of the program's still open that needs the fabric, DCM handles apart? */
static void look_for_pin(struct dcm_object *object, void *arg)
{
	bool *pinned = arg;

	*pinned = *pinned || (object->type->pins != NULL && object->type->pins(object));
}

static bool is_pinned(void)
{
	bool pinned = false;

	dcm_handle_each(1u << DCM_KIND_SESSION | 1u << DCM_KIND_LISTENER | 1u << DCM_KIND_CALLABLE |
				1u << DCM_KIND_CHANNEL,
			look_for_pin, &pinned);
	return pinned;
}

/*
 * True: there is no fabric to go back to, or there is, and it is held now. One that nothing but the
 * keeper's last work needs is on its way out: it is let go.
 */
static bool can_attach(void)
{
	return !closing && (current == NULL || (is_pinned() && hold_if_there(current)));
}

/*
 * Each wait may end with another thread having attached. In slices: a call that began before the
 * last DcmFini can still come to hold a message, which pins the fabric and tells nobody.
 */
static void wait_for_change(void)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += SLICE_NS;
	if (until.tv_nsec >= 1000 * 1000 * 1000) {
		until.tv_nsec -= 1000 * 1000 * 1000;
		until.tv_sec++;
	}
	pthread_cond_clockwait(&changed, &lock, CLOCK_MONOTONIC, &until);
}

Retcode DcmInit(void)
{
	Retcode rc = rcOk;
	int saved = errno;

	dcm_fork_check();
	if (!dcm_fork_register(reset_in_child))
		return dcm_fail(rcFail, "no place for the fork handler");
	pthread_mutex_lock(&lock);
	while (inits == 0 && !can_attach())
		wait_for_change();
	if (inits == 0)
		rc = current != NULL ? reattach() : attach();
	else if (dcm_guard_lost())
		rc = dcm_guard_fail();
	if (rc == rcOk) {
		inits++;
		dcm_store(&attached, 1u, release);
	}
	pthread_mutex_unlock(&lock);
	errno = saved;
	return rc;
}

void DcmFini(void)
{
	struct dcm_fabric *f = NULL;
	int saved = errno;
	uint64_t mine;
	bool last;

	dcm_fork_check();
	pthread_mutex_lock(&lock);
	if (inits > 0 && --inits == 0) {
		f = current;
		closing = true;
		dcm_store(&attached, 0u, release);
		/* Handles that are being made are closed with the rest. */
		while (entered != 0)
			pthread_cond_wait(&changed, &lock);
	}
	mine = dcm_load(&attachments, relaxed);
	pthread_mutex_unlock(&lock);
	if (f == NULL)
		return;
	dcm_handle_close_all(DCM_KINDS_DCM);
	last = dcm_fabric_drop(f);
	pthread_mutex_lock(&lock);
	closing = false;
	pthread_cond_broadcast(&changed);
	/* If nothing else held it, the keeper detaches at once: come back when it has. */
	while (last && current != NULL && dcm_load(&attachments, relaxed) == mine)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
	errno = saved;
}

bool dcm_fabric_ready(void)
{
	if (dcm_load(&attached, acquire) != 0)
		return true;
	dcm_fail(rcNotConnected, "DcmInit was not called, or DcmFini ended it");
	return false;
}

Retcode dcm_fabric_check(void)
{
	if (!dcm_fabric_ready())
		return rcNotConnected;
	return dcm_guard_lost() ? dcm_guard_fail() : rcOk;
}

Retcode dcm_fabric_enter(struct dcm_fabric **out)
{
	Retcode rc = dcm_fabric_check();

	*out = NULL;
	if (rc != rcOk)
		return rc;
	pthread_mutex_lock(&lock);
	if (inits > 0) {
		*out = current;
		entered++;
	}
	pthread_mutex_unlock(&lock);
	return *out != NULL ? rcOk : dcm_fail(rcNotConnected, "DcmFini ended it");
}

void dcm_fabric_leave(void)
{
	pthread_mutex_lock(&lock);
	if (--entered == 0)
		pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

uint64_t dcm_fabric_attachment(void)
{
	/* relaxed: it does not change while the fabric is held. */
	return dcm_load(&attachments, relaxed);
}

struct dcm_fabric *dcm_fabric_peek(uint64_t attachment)
{
	struct dcm_fabric *f = NULL;

	pthread_mutex_lock(&current_lock);
	if (current != NULL &&
	    (attachment == DCM_ANY_ATTACHMENT || dcm_load(&attachments, relaxed) == attachment) &&
	    hold_if_there(current))
		f = current;
	pthread_mutex_unlock(&current_lock);
	return f;
}

void dcm_fabric_hold(struct dcm_fabric *f)
{
	dcm_add(&f->count, 1u);
}

bool dcm_fabric_drop(struct dcm_fabric *f)
{
	if (dcm_add(&f->count, UINT32_MAX) != 1)
		return false;
	/* The keeper does the rest, and frees @f: it is not touched from here on. */
	dcm_keeper_stop();
	return true;
}

Retcode DcmSetProcessName(const char *name)
{
	Retcode rc = rcOk;

	dcm_fork_check();
	if (!dcm_name_valid(name))
		return dcm_fail(rcInvalidArgument, "a process name is 1 to 255 bytes of UTF-8 "
						   "without control characters");
	pthread_mutex_lock(&lock);
	if (inits > 0 || current != NULL)
		rc = dcm_fail(rcInvalidOperation,
			      "the process is attached already: set its name before DcmInit");
	else
		strcpy(set_name, name);
	pthread_mutex_unlock(&lock);
	return rc;
}
