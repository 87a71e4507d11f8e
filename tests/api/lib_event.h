/* SPDX-License-Identifier: BSD-2-Clause */
/* lib_event - whether an event comes, or a descriptor becomes readable, or not */
#ifndef DCM_TESTS_API_LIB_EVENT_H
#define DCM_TESTS_API_LIB_EVENT_H

#include <coresrv/handle/notice_api.h>

#include "tests/api/lib_api.h"

Notice new_notice(void);

/* One result: within 20 seconds an event of that id comes, with all of @mask. */
int event_comes(Notice notice, uintptr_t id, uint32_t mask, const char *what);
/* One result: none is there, nor comes soon. */
int event_is_not(Notice notice, const char *what);

/* The descriptor of a handle, or the test dies. */
int fd_of(uint64_t handle);
/* One result: it becomes readable within 20 seconds. */
int fd_becomes_readable(int fd, const char *what);
/* One result: it is not readable, nor becomes so soon. */
int fd_is_silent(int fd, const char *what);

#endif
