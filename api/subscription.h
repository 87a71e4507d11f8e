/* SPDX-License-Identifier: BSD-2-Clause */
/* subscription - what else is asked of a subscription (api/subscribe.c) */
#ifndef DCM_API_SUBSCRIPTION_H
#define DCM_API_SUBSCRIPTION_H

#include <dcm/types.h>

/* dcm_subscription_waiting() - how many notices can be read now; 0 also when it is closed */
uint32_t dcm_subscription_waiting(DcmHandle subscription);

#endif
