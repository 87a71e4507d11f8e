/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lib_elsewhere - peers that are another user, or in other namespaces, or that have a given number
 *
 * All need rights that a test may not have: then the answer is no, and errno says why. Without
 * CAP_SYS_ADMIN every other namespace comes with a user namespace of its own.
 */
#ifndef DCM_TESTS_API_LIB_ELSEWHERE_H
#define DCM_TESTS_API_LIB_ELSEWHERE_H

#include "tests/api/lib_peer.h"

/* New namespaces (CLONE_NEW...) for this process, or its children with CLONE_NEWPID. */
bool elsewhere_enter(int namespaces);

/* A peer in new namespaces, and with @uid not 0 as that user. Its pid is that of who waits for it. */
bool peer_start_elsewhere(struct peer *peer, int namespaces, uid_t uid);

/*
 * Runs a function as process 1 of a new PID namespace with its own /proc; its results count.
 * Return: whether there is such a namespace to be had.
 */
bool as_process_one(void (*run)(void));

/* A peer with the number @pid, by who has the right to give it: process 1, say. */
bool peer_start_as(struct peer *peer, pid_t pid);

#endif
