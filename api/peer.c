/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/peer.h"

#include <dcm/fabric.h>
#include <errno.h>
#include <string.h>

#include "api/fork.h"
#include "api/object.h"
#include "api/retcode.h"
#include "api/sized.h"
#include "shm/process.h"

#define KINDS_WITH_PEER                                                                            \
	(1u << DCM_KIND_REQUEST | 1u << DCM_KIND_CONNECTION | 1u << DCM_KIND_SESSION)

bool dcm_peer_ask(const struct dcm_segment *seg, struct dcm_ref ref, struct dcm_peer *out)
{
	const struct dcm_process *process = dcm_process_at(seg, ref.index);

	*out = (struct dcm_peer){ .who = { .verified = false } };
	if (process == NULL)
		return false;
	out->who.pid = (int32_t)dcm_load(&process->pid, acquire);
	out->who.uid = dcm_load(&process->uid, acquire);
	out->who.gid = dcm_load(&process->gid, acquire);
	dcm_name_load(out->name, &process->name);
	/* Behind the loads: else they may be of whoever had the slot next. */
	if (ref.generation != 0 && dcm_process_generation(seg, ref.index) == ref.generation)
		return true;
	*out = (struct dcm_peer){ .who = { .verified = false } };
	return false;
}

void dcm_peer_vouch(struct dcm_peer *peer, const struct dcm_credentials *who)
{
	if (who->verified)
		peer->who = *who;
}

static Retcode peer_of(struct dcm_object *object, struct dcm_peer *out)
{
	switch (object->type->kind) {
	case DCM_KIND_REQUEST:
		return dcm_request_peer(object, out);
	case DCM_KIND_CONNECTION:
		return dcm_connection_peer(object, out);
	default:
		return dcm_session_peer(object, out);
	}
}

static Retcode get_peer(uint64_t handle, DcmPeer *out)
{
	struct dcm_object *object = dcm_handle_find(handle, KINDS_WITH_PEER);
	struct dcm_peer peer;
	Retcode rc;

	if (object == NULL && dcm_handle_space(handle) == DCM_SPACE_DCM && !dcm_fabric_ready())
		return rcNotConnected;
	if (object == NULL)
		return dcm_fail(rcInvalidArgument,
				"not an open request, connection or session of this process");
	rc = object->type->kind == DCM_KIND_SESSION
		     ? dcm_kernel_check((struct dcm_kernel_object *)object, 0, "the session")
		     : rcOk;
	if (rc == rcOk)
		rc = peer_of(object, &peer);
	dcm_object_drop(object);
	if (rc == rcOk) {
		DcmPeer known = { .verified = peer.who.verified,
				  .pid = peer.who.pid,
				  .uid = peer.who.uid,
				  .gid = peer.who.gid };

		memcpy(known.name, peer.name, sizeof known.name);
		dcm_sized_put(out, &known, sizeof known);
	}
	return rc;
}

Retcode DcmGetPeer(uint64_t handle, DcmPeer *outPeer)
{
	int saved = errno;
	Retcode rc;

	dcm_fork_check();
	rc = dcm_sized_check(outPeer, sizeof *outPeer, "DcmPeer");
	if (rc == rcOk)
		rc = get_peer(handle, outPeer);
	errno = saved;
	return rc;
}
