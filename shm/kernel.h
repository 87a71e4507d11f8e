/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kernel - what Linux has that Debian 12's headers or kernel (6.1) have not
 *
 * Everything newer than 6.1 is probed where it is used and has a fallback. A build with
 * -DDCM_KERNEL_6_1 (configure.py --kernel=6.1) never finds it there, so that tests run the fallback.
 */
#ifndef DCM_SHM_KERNEL_H
#define DCM_SHM_KERNEL_H

#include <sys/syscall.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

#ifdef DCM_KERNEL_6_1
#define DCM_KERNEL_NEW 0
#else
#define DCM_KERNEL_NEW 1
#endif

/* 6.3: a memfd that can never be made executable. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif

/* 6.5: a pidfd of who is at the other end of a Unix socket. */
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

/* 6.9: pidfds have inodes of their own, one for each process since boot. */
#define DCM_PIDFS_MAGIC 0x50494446

#endif
