/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/*
 * A server that is started again and again, and each time revokes what it showed itself by, in a
 * fabric with one place for that: what the earlier ones revoked stays revoked for those who hold it,
 * also if they never looked before; and what one did not revoke stays good.
 */
#define _GNU_SOURCE
#include <stdlib.h>

#include "tests/api/lib_peer.h"

#define TYPE "test.ShownAgain"

enum { LIVES = 5, GIVE = OCAP_HANDLE_TRANSFER | OCAP_HANDLE_GET_SID };

/* What the next server is known by; it is dead when this is back. */
static Handle one_life(DcmHandle subscription, bool revokes)
{
	struct peer server = peer_attached("server");
	uint64_t user = peer_must(&server, PEER_USER, .other = GIVE).handle;
	Handle seen;

	peer_must(&server, PEER_PUBLISH, .type = TYPE, .name = "n", .handle = user);
	must(DcmReadPubQueue(subscription, 20000, NULL, &seen, NULL, NULL));
	if (revokes)
		peer_must(&server, PEER_REVOKE, .handle = user);
	peer_kill(&server);
	must(DcmReadPubQueue(subscription, 20000, NULL, NULL, NULL, NULL));
	return seen;
}

int main(void)
{
	Handle seen[LIVES], good;
	DcmHandle subscription;
	Sid sid;

	plan_lazy();
	tap_watchdog(120);
	tap_fabric_dir();
	setenv("DCM_MAX_GIFTS", "1", 1);
	must(DcmInit());
	must(DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &subscription));
	good = one_life(subscription, false);
	for (int i = 0; i < LIVES; i++)
		seen[i] = one_life(subscription, true);
	for (int i = 0; i < LIVES; i++) {
		is_rc(rcHandleRevoked, KnHandleGetSidByHandle(seen[i], &sid),
		      "revoked %d lives ago", LIVES - i);
		must(KnHandleClose(seen[i]));
	}
	is_rc(rcOk, KnHandleGetSidByHandle(good, &sid), "what nobody revoked");
	must(KnHandleClose(good));
	must(DcmCloseHandle(subscription));
	DcmFini();
	return 0;
}
