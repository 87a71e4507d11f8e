/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lib_sigbus - children that have a segment taken away from them, and how they fare
 */
#ifndef DCM_TESTS_API_LIB_SIGBUS_H
#define DCM_TESTS_API_LIB_SIGBUS_H

#include "tests/api/lib_api.h"

/* The segment's path, once fabric_begin() was called. */
extern char fabric[512];
void fabric_begin(void);
off_t fabric_bytes(void);
/* Truncates it. */
void cut(off_t bytes);

/*
 * Runs @act in a child that has nothing yet: no segment, no library, no handler of SIGBUS, no core
 * dump. One result: it comes back and so lives; or it dies of SIGBUS.
 */
void lives(void (*act)(void), const char *what);
void dies(void (*act)(void), const char *what);

#endif
