/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * private - /dev/shm and /tmp that only this run sees, for libraries that put names there
 *
 * They go with the last process of the run, however it ends; what the run cannot meet is what other
 * runs left, or a daemon of the machine's.
 */
#ifndef DCM_BENCH_PRIVATE_H
#define DCM_BENCH_PRIVATE_H

#include "bench/peers/peer.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * private_names() - in prepare(), any number of times
 *
 * By a mount namespace, of an ordinary user in a user namespace. job->directory is in the new
 * /dev/shm and has the same path. Return: false: this process may not, and has the names of all.
 */
bool private_names(const struct peer_job *job);

#ifdef __cplusplus
}
#endif

#endif
