/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "tests/env/env_seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

#if defined(__x86_64__)
#define NATIVE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE AUDIT_ARCH_AARCH64
#else
#error "the audit architecture of this machine"
#endif

/* Of newer headers than Debian 12's. */
enum {
	FIRST_AFTER_6_1 = 451, /* cachestat, of 6.5 */
	EXEC_FLAGS = 0x18,     /* MFD_NOEXEC_SEAL | MFD_EXEC, of 6.3 */
	PASS_PIDFD = 76,       /* SO_PASSPIDFD, of 6.5 */
	PEER_PIDFD = 77,       /* SO_PEERPIDFD, of 6.5 */
};

#define NAMESPACE_FLAGS                                                                            \
	((uint32_t)(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |  \
		    CLONE_NEWPID | CLONE_NEWNET))

#define CALL(name)                                                                                 \
	{                                                                                          \
#name, SYS_##name                                                                  \
	}
#define COUNT(array) (sizeof(array) / sizeof(array[0]))
#define INSTRUCTIONS (ENV_RULES * 8 + 16)

static const struct {
	const char *name;
	uint32_t number;
} asked[] = {
	CALL(membarrier),   CALL(futex_waitv),	   CALL(pidfd_open),	  CALL(pidfd_getfd),
	CALL(memfd_create), CALL(set_robust_list), CALL(get_robust_list), CALL(getrandom),
	CALL(fallocate),    CALL(statx),	   CALL(clone3),	  CALL(rseq),
	CALL(prctl),	    CALL(fchmod),	   CALL(eventfd2),	  CALL(socket),
};

static const struct {
	const char *name;
	int error;
} errors[] = { { "EPERM", EPERM },   { "EACCES", EACCES }, { "ENOSYS", ENOSYS },
	       { "EINVAL", EINVAL }, { "EMFILE", EMFILE }, { "ENOMEM", ENOMEM } };

/* Without the capabilities of CAP_SYS_ADMIN, _BOOT, _MODULE, _PACCT, _TIME, _TTY_CONFIG, ... */
static const uint32_t denied_by_docker[] = {
	SYS_acct,
	SYS_add_key,
	SYS_bpf,
	SYS_clock_adjtime,
	SYS_clock_settime,
	SYS_delete_module,
	SYS_fanotify_init,
	SYS_finit_module,
	SYS_fsconfig,
	SYS_fsmount,
	SYS_fsopen,
	SYS_fspick,
	SYS_get_mempolicy,
	SYS_init_module,
	SYS_io_uring_enter,
	SYS_io_uring_register,
	SYS_io_uring_setup,
	SYS_kcmp,
	SYS_kexec_file_load,
	SYS_kexec_load,
	SYS_keyctl,
	SYS_lookup_dcookie,
	SYS_mbind,
	SYS_migrate_pages,
	SYS_mount,
	SYS_mount_setattr,
	SYS_move_mount,
	SYS_move_pages,
	SYS_nfsservctl,
	SYS_open_by_handle_at,
	SYS_open_tree,
	SYS_perf_event_open,
	SYS_pidfd_getfd,
	SYS_pivot_root,
	SYS_process_madvise,
	SYS_process_vm_readv,
	SYS_process_vm_writev,
	SYS_ptrace,
	SYS_quotactl,
	SYS_reboot,
	SYS_request_key,
	SYS_set_mempolicy,
	SYS_setdomainname,
	SYS_sethostname,
	SYS_setns,
	SYS_settimeofday,
	SYS_swapoff,
	SYS_swapon,
	SYS_syslog,
	SYS_umount2,
	SYS_unshare,
	SYS_userfaultfd,
	SYS_vhangup,
#ifdef __x86_64__
	SYS_ioperm,
	SYS_iopl,
	SYS_sysfs,
	SYS_uselib,
	SYS_ustat,
#endif
};

static void add(struct env_filter *filter, struct env_rule rule)
{
	if (filter->count == ENV_RULES)
		abort();
	filter->rules[filter->count++] = rule;
}

static bool deny_one(struct env_filter *filter, const char *name, size_t length, int error)
{
	for (size_t i = 0; i < COUNT(asked); i++) {
		if (strlen(asked[i].name) == length && strncmp(asked[i].name, name, length) == 0) {
			add(filter, (struct env_rule){ .number = asked[i].number, .error = error });
			return true;
		}
	}
	return false;
}

bool env_filter_deny(struct env_filter *filter, const char *text)
{
	const char *colon = strchr(text, ':');
	int error = 0;

	for (size_t i = 0; colon != NULL && i < COUNT(errors); i++)
		if (strcmp(errors[i].name, colon + 1) == 0)
			error = errors[i].error;
	if (error == 0)
		return false;
	while (text < colon) {
		size_t length = strcspn(text, ",:");

		if (!deny_one(filter, text, length, error))
			return false;
		text += length + 1;
	}
	return true;
}

void env_filter_docker(struct env_filter *filter)
{
	for (size_t i = 0; i < COUNT(denied_by_docker); i++)
		add(filter, (struct env_rule){ .number = denied_by_docker[i], .error = EPERM });
	/* Its flags lie in memory, where a filter cannot look: clone() is to be used. */
	add(filter, (struct env_rule){ .number = SYS_clone3, .error = ENOSYS });
	add(filter, (struct env_rule){ .number = SYS_clone,
				       .error = EPERM,
				       .when = { { ENV_ANY_BIT, 0, NAMESPACE_FLAGS } } });
	add(filter, (struct env_rule){ .number = SYS_socket,
				       .error = EPERM,
				       .when = { { ENV_EQUAL, 0, AF_VSOCK } } });
}

void env_filter_kernel_6_1(struct env_filter *filter)
{
	const struct env_condition level = { ENV_EQUAL, 1, SOL_SOCKET };

	filter->unknown_from = FIRST_AFTER_6_1;
	add(filter, (struct env_rule){ .number = SYS_memfd_create,
				       .error = EINVAL,
				       .when = { { ENV_ANY_BIT, 1, EXEC_FLAGS } } });
	add(filter, (struct env_rule){ .number = SYS_getsockopt,
				       .error = ENOPROTOOPT,
				       .when = { level, { ENV_EQUAL, 2, PEER_PIDFD } } });
	add(filter, (struct env_rule){ .number = SYS_setsockopt,
				       .error = ENOPROTOOPT,
				       .when = { level, { ENV_EQUAL, 2, PASS_PIDFD } } });
}

struct program {
	struct sock_filter code[INSTRUCTIONS];
	unsigned short length;
};

static void emit(struct program *p, struct sock_filter instruction)
{
	p->code[p->length++] = instruction;
}

static void emit_load(struct program *p, size_t offset)
{
	emit(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void emit_refusal(struct program *p, int error)
{
	emit(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
					     SECCOMP_RET_ERRNO | ((uint32_t)error & 0xffff)));
}

/* Each condition that does not hold jumps behind the rule's refusal: two instructions a condition. */
static void emit_rule(struct program *p, const struct env_rule *rule)
{
	unsigned int conditions = 0;

	while (conditions < COUNT(rule->when) && rule->when[conditions].how != ENV_ALWAYS)
		conditions++;
	emit_load(p, offsetof(struct seccomp_data, nr));
	emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, rule->number, 0,
					     (uint8_t)(2 * conditions + 1)));
	for (unsigned int i = 0; i < conditions; i++) {
		const struct env_condition *when = &rule->when[i];
		uint16_t test = when->how == ENV_ANY_BIT ? BPF_JSET : BPF_JEQ;

		emit_load(p, offsetof(struct seccomp_data, args) + 8 * when->argument);
		emit(p,
		     (struct sock_filter)BPF_JUMP((uint16_t)(BPF_JMP | test | BPF_K), when->value,
						  0, (uint8_t)(2 * (conditions - i) - 1)));
	}
	emit_refusal(p, rule->error);
}

bool env_filter_load(const struct env_filter *filter)
{
	struct program p = { .length = 0 };
	struct sock_fprog program = { .filter = p.code };

	if (filter->count == 0 && filter->unknown_from == 0)
		return true;
	emit_load(&p, offsetof(struct seccomp_data, arch));
	emit(&p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE, 1, 0));
	emit(&p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
	if (filter->unknown_from != 0) {
		emit_load(&p, offsetof(struct seccomp_data, nr));
		emit(&p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K,
						      filter->unknown_from, 0, 1));
		emit_refusal(&p, ENOSYS);
	}
	for (unsigned int i = 0; i < filter->count; i++)
		emit_rule(&p, &filter->rules[i]);
	emit(&p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
	program.len = p.length;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}
