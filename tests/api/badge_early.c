/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/*
 * A client that the kernel has begun to end, and whose memory takes it long to free: its beacon is out,
 * and nothing is proved yet. The badge's event does not wait for the proof, and nothing that the
 * client sent is received behind it.
 */
#define _GNU_SOURCE
#include <coresrv/handle/notice_api.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "shm/process.h"
#include "tests/api/lib_api.h"
#include "tests/api/lib_inside.h"
#include "tests/api/lib_peer.h"

enum { WAIT_MS = 20 * 1000 };

static struct inside inside;

static uint32_t slot_of(pid_t pid)
{
	for (uint32_t i = 0; i < inside.seg.process.count; i++)
		if (dcm_process_alive(&inside.seg, i) &&
		    dcm_load(&dcm_process_at(&inside.seg, i)->pid, seq) == (uint32_t)pid)
			return i;
	bail("process %d is not in the fabric", (int)pid);
}

/* As the kernel does it first of all, for the robust list of the thread that ends. */
static void put_beacon_out(uint32_t slot)
{
	dcm_or(dcm_alive_at(&inside.seg, slot, 0), (uint32_t)FUTEX_OWNER_DIED);
	dcm_process_kick(&inside.seg, slot_of(getpid()));
}

static bool no_channel(void *arg)
{
	(void)arg;
	return mapping_count("/memfd:dcm-channel") == 0;
}

int main(void)
{
	DcmHandle publication, request;
	struct peer_answer made;
	Handle listener, callable, badge;
	struct peer client;
	EventDesc event;
	Notice notice;
	uint64_t generation;
	DcmRequest none;
	uint32_t slot;
	size_t count;

	plan_lazy();
	tap_fabric_dir();
	must(DcmInit());
	inside = inside_open();
	must(KnNoticeCreate(&notice));
	must(KnHandleCreateBadge(notice, 3, NULL, &badge));
	must(KnHandleCreateListener(&listener));
	must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL, listener, 1,
					&callable));
	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), "badge.Early", "e",
				&publication));
	client = peer_attached("client");
	slot = slot_of(client.pid);
	generation = dcm_process_generation(&inside.seg, slot);
	made = peer_must(&client, PEER_CREATE, .type = "badge.Early", .name = "e");
	peer_post(&client, PEER_CONNECT, .handle = made.handle, .timeout = INFINITE_TIMEOUT);
	must(DcmListen(publication, INFINITE_TIMEOUT, NULL, NULL, &request));
	must(DcmAccept(request, callable, badge));
	must(DcmCloseHandle(request));
	made = peer_wait(&client);
	peer_post(&client, PEER_CALL, .handle = made.handle, .size = 8,
		  .timeout = INFINITE_TIMEOUT);
	peer_asleep(&client);
	kill(client.pid, SIGSTOP);
	is_rc(rcTimeout, KnNoticeGetEvent(notice, 0, 1, &event, &count), "all is well before");
	put_beacon_out(slot);
	is_rc(rcOk, KnNoticeGetEvent(notice, WAIT_MS, 1, &event, &count), "its badge is closed");
	is_uint(EVENT_BADGE_CLOSED, event.eventMask, "which is what the event says");
	is_uint(generation, dcm_process_generation(&inside.seg, slot),
		"and its slot is its own still: nothing is proved");
	is_rc(rcTimeout, DcmReceive(listener, 0, &none),
	      "the call that it had sent is not received");
	ok(until(no_channel, NULL), "the server's memory for it is free");
	peer_kill(&client);
	must(KnHandleClose(badge));
	must(KnNoticeRelease(notice));
	must(KnHandleClose(callable));
	must(KnHandleClose(listener));
	must(DcmCloseHandle(publication));
	inside_close(&inside);
	DcmFini();
	return 0;
}
