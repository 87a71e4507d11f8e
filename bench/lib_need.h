/* SPDX-License-Identifier: BSD-2-Clause */
/* need - calls of the library that must not fail */
#ifndef DCM_BENCH_NEED_H
#define DCM_BENCH_NEED_H

#include <dcm/types.h>

/* bench_need() - or fail, with the name of the code and its detail */
void bench_need(Retcode wanted, Retcode seen, const char *what);

#endif
