/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hot - for the few functions that every message goes through
 *
 * Such a function begins with what is done when nothing stands in the way, all of it in one piece;
 * what is seldom needed stays outside. Neither changes what a function does.
 */
#ifndef DCM_API_HOT_H
#define DCM_API_HOT_H

#define DCM_HOT	   __attribute__((hot, flatten))
#define DCM_SELDOM __attribute__((cold, noinline))

#endif
