/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * attach - this process in a fabric: the segment it maps, its slot there, how long it stays
 *
 * A fabric is counted: one for DcmInit as a whole, one for every object that needs the mapping. The
 * last DcmFini takes its one away; when the last object follows, the keeper detaches and ends. So a
 * call that holds an object has the mapping under its feet, whoever calls DcmFini meanwhile.
 */
#ifndef DCM_API_ATTACH_H
#define DCM_API_ATTACH_H

#include <dcm/types.h>

#include "api/settings.h"
#include "shm/segment.h"

struct dcm_fabric {
	struct dcm_segment seg;
	struct dcm_ref self; /* this process's slot */
	struct dcm_settings settings;
	dcm_atomic32 count;
};

/*
 * dcm_fabric_enter() - the fabric that DcmInit attached to, for a call that makes a handle in it
 * The last DcmFini waits for dcm_fabric_leave() before it closes all there are: never block between.
 * Return: rcOk; else *@out is null: as dcm_fabric_check().
 */
Retcode dcm_fabric_enter(struct dcm_fabric **out);
void dcm_fabric_leave(void);

/* dcm_fabric_ready() - is DcmInit in effect; if not, the detail says so */
bool dcm_fabric_ready(void);

/*
 * dcm_fabric_check() - the same, for calls that need the segment behind it
 * Return: rcOk; rcNotConnected DcmInit was not called; rcFail the segment is lost (api/guard.h).
 */
Retcode dcm_fabric_check(void);

/* dcm_fabric_attachment() - by a holder of the fabric: what tells it from those before and after */
uint64_t dcm_fabric_attachment(void);

/*
 * dcm_fabric_peek() - the fabric of that attachment, held, for those who do not keep it
 * DCM_ANY_ATTACHMENT: whichever there is. Never waits. Null: the process has left it.
 */
#define DCM_ANY_ATTACHMENT 0u
struct dcm_fabric *dcm_fabric_peek(uint64_t attachment);

void dcm_fabric_hold(struct dcm_fabric *fabric);
/* dcm_fabric_drop() - true when that was the last count: the keeper detaches */
bool dcm_fabric_drop(struct dcm_fabric *fabric);

#endif
