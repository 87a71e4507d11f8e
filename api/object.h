/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * object - what everything behind a number of the Handle space has: rights, a resource, a place
 *          among its descendants
 *
 * A resource may have many handles, each an object of its own, that share what belongs to the
 * resource. It is there while one of its handles is neither closed nor revoked.
 */
#ifndef DCM_API_OBJECT_H
#define DCM_API_OBJECT_H

#include <coresrv/handle/handle_api.h>
#include <dcm/types.h>

#include "api/handle.h"
#include "api/source.h"
#include "api/tree.h"
#include "shm/atomics.h"
#include "shm/channel.h"
#include "shm/gift.h"

/* What the handles of one resource share: an object without a number. */
struct dcm_resource {
	struct dcm_object object;
	dcm_atomic32 handles;	  /* neither closed nor revoked */
	struct dcm_source source; /* of its events, if dcm_kernel_tells() */
	/* Of a peer's identity: that process, and in which fabric it is; by which gift it was shown,
	   and 1 once that is known to be revoked. Else 0. */
	struct dcm_ref process;
	uint64_t attachment;
	struct dcm_gift gift;
	dcm_atomic32 revoked;
};

#define DCM_RIGHTS_KNOWN                                                                           \
	(OCAP_HANDLE_TRANSFER | OCAP_HANDLE_COPY | OCAP_HANDLE_GET_SID | OCAP_HANDLE_GET_EVENT |   \
	 OCAP_HANDLE_SET_EVENT | 0xffff0000u)

/* Why a handle is of no use any more; or that another process may have revoked it: api/gift.h says. */
enum { DCM_HANDLE_CLOSED = 1, DCM_HANDLE_REVOKED = 2, DCM_HANDLE_SHOWN = 4 };

struct dcm_kernel_object {
	struct dcm_object object;
	uint32_t rights;
	dcm_atomic32 gone; /* DCM_HANDLE_... */
	Sid sid;
	struct dcm_resource *resource; /* held */
	/* Of a session: where its giver says, in shared memory, that it has revoked what it gave. */
	struct dcm_channel *given;
	struct dcm_node node;
	struct dcm_giving *giving; /* what others hold of it: api/gift.h; null: nothing */
};

/* All kinds in the Handle space. */
#define DCM_KINDS_HANDLE                                                                           \
	(1u << DCM_KIND_TASK | 1u << DCM_KIND_USER | 1u << DCM_KIND_CALLABLE |                     \
	 1u << DCM_KIND_LISTENER | 1u << DCM_KIND_IDENTITY | 1u << DCM_KIND_SESSION |              \
	 1u << DCM_KIND_BADGE)

/*
 * dcm_kernel_new() - an object of @bytes for a new resource, or for another handle of @of's
 * One count for the caller. Null: out of memory, with the detail set.
 */
struct dcm_kernel_object *dcm_kernel_new(const struct dcm_object_type *type, size_t bytes,
					 const struct dcm_kernel_object *of);

/*
 * dcm_kernel_insert() - into the tree, and a number; takes the caller's count
 * @parent: of which it is a descendant, under @tally or null; null: of nothing
 * On failure the count is dropped as well, and *@out is INVALID_HANDLE.
 * Return: rcOk; rcInvalidArgument the parent was closed or revoked meanwhile; rcOutOfMemory,
 * rcQuotaExceeded; with the detail set.
 */
Retcode dcm_kernel_insert(struct dcm_kernel_object *object, struct dcm_kernel_object *parent,
			  struct dcm_tally *tally, Handle *out);

/*
 * dcm_kernel_find_as() - what every public function does with a handle that it was given
 * @kinds:  bit set of (1u << kind) that will do
 * @rights: that the handle must have, all of them
 * @what:   the parameter's name, for the detail
 * Return: rcOk with *@out held; rcInvalidArgument no such number, or of another kind;
 * rcHandleRevoked; rcNoCapability; with *@out null and the detail set.
 */
Retcode dcm_kernel_find_as(Handle number, uint32_t kinds, uint32_t rights, const char *what,
			   struct dcm_kernel_object **out);

/* dcm_kernel_find() - the same where there is but one handle */
static inline Retcode dcm_kernel_find(Handle number, uint32_t kinds, uint32_t rights,
				      struct dcm_kernel_object **out)
{
	return dcm_kernel_find_as(number, kinds, rights, "the handle", out);
}

/* dcm_kernel_gone() - DCM_HANDLE_...: why calls that are going on through a session end; 0 */
static inline uint32_t dcm_kernel_gone(const struct dcm_kernel_object *object)
{
	/* seq: behind the key of a sleep, which whoever sets it wakes (api/wait.h) */
	return dcm_load(&object->gone, seq);
}

/* dcm_shown_revoked() - what this process was shown by another: is it revoked, as far as it knows;
   from then on it is. Only while the process is attached does it hear of it. */
bool dcm_shown_revoked(struct dcm_resource *resource);

/* Has it been revoked, here or by its giver? */
static inline bool dcm_kernel_revoked(const struct dcm_kernel_object *object)
{
	uint32_t gone = dcm_kernel_gone(object);

	return (gone & DCM_HANDLE_REVOKED) != 0 ||
	       (object->given != NULL && dcm_channel_revoked(object->given)) ||
	       ((gone & DCM_HANDLE_SHOWN) != 0 && dcm_shown_revoked(object->resource));
}

/* dcm_kernel_refuse() - why not, with the detail set: rcHandleRevoked, rcNoCapability */
Retcode dcm_kernel_refuse(const struct dcm_kernel_object *object, uint32_t rights,
			  const char *what);

/* dcm_kernel_check() - of an object that was found: rcOk, rcHandleRevoked, rcNoCapability */
static inline Retcode dcm_kernel_check(const struct dcm_kernel_object *object, uint32_t rights,
				       const char *what)
{
	return !dcm_kernel_revoked(object) && (object->rights & rights) == rights
		       ? rcOk
		       : dcm_kernel_refuse(object, rights, what);
}

/* dcm_kernel_tells() - of a new one: its resource has these events */
void dcm_kernel_tells(struct dcm_kernel_object *object, const struct dcm_source_type *type);
/* dcm_kernel_source() - for object types; null: it has none */
struct dcm_source *dcm_kernel_source(struct dcm_object *object);
/* dcm_kernel_destroyed() - the resource is gone: EVENT_OBJECT_DESTROYED, the last */
void dcm_kernel_destroyed(struct dcm_kernel_object *object);

/* For object types: the number is being closed; what the object holds is let go of, and in a child. */
void dcm_kernel_close(struct dcm_object *object);
void dcm_kernel_release(struct dcm_object *object);
void dcm_kernel_forget(struct dcm_object *object);

/* dcm_number() - dcm_handle_insert() with its failures as codes, with the detail set */
Retcode dcm_number(struct dcm_object *object);

/* dcm_kernel_forked() - in a forked child */
void dcm_kernel_forked(void);

#endif
