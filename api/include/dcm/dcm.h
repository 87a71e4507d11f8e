/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All of DCM for Linux.
 */
#ifndef DCM_DCM_H
#define DCM_DCM_H

#include <coresrv/handle/handle_api.h>
#include <coresrv/handle/notice_api.h>
#include <coresrv/task/task_api.h>
#include <dcm/channel.h>
#include <dcm/dcm_api.h>
#include <dcm/fabric.h>
#include <dcm/groups/pub.h>
#include <dcm/groups/subscr.h>
#include <dcm/helpers/connect.h>
#include <dcm/types.h>

#endif
