/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include <coresrv/handle/handle_api.h>
#include <coresrv/task/task_api.h>
#include <dcm/fabric.h>

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/fork.h"
#include "api/identity.h"
#include "api/retcode.h"
#include "tests/tap.h"

enum { USER = HANDLE_TYPE_USER_FIRST };

#define ALL_RIGHTS                                                                                 \
	(OCAP_HANDLE_TRANSFER | OCAP_HANDLE_COPY | OCAP_HANDLE_GET_SID | OCAP_HANDLE_GET_EVENT |   \
	 OCAP_HANDLE_SET_EVENT | OCAP_IPC_CALL)

static Sid sid_of(Handle handle)
{
	Sid sid = 0;

	return KnHandleGetSidByHandle(handle, &sid) == rcOk ? sid : 0;
}

static Handle user(uint32_t rights)
{
	Handle handle = 0;

	return KnHandleCreateUserObject(USER, rights, NULL, &handle) == rcOk ? handle : 0;
}

static void codes(void)
{
	is_string("", DcmLastDetail(), "a thread without an error has no detail");
	is_string("rcOk", RetcodeName(rcOk), "codes have names");
	is_string("rcNotConnected", RetcodeName(rcNotConnected), "each its own");
	is_string("rcFail", RetcodeName(rcFail), "to the last");
	is_string("unknown Retcode", RetcodeName(1), "a positive number has none");
	is_string("unknown Retcode", RetcodeName(rcFail - 1), "nor has one below the last");
	is_string("unknown Retcode", RetcodeName(INT32_MIN), "nor the smallest");
	is_uint(DCM_VERSION_MAJOR << 16 | DCM_VERSION_MINOR << 8 | DCM_VERSION_PATCH, DcmVersion(),
		"the version is that of the headers");
}

static void details(void)
{
	static const struct {
		int error;
		Retcode rc;
	} map[] = {
		{ EACCES, rcSecurityDisallow },
		{ EPERM, rcSecurityDisallow },
		{ EROFS, rcSecurityDisallow },
		{ ENOSPC, rcOutOfMemory },
		{ ENOMEM, rcOutOfMemory },
		{ EMFILE, rcQuotaExceeded },
		{ ENFILE, rcQuotaExceeded },
		{ EBADMSG, rcFail },
		{ EPROTO, rcFail },
		{ ESTALE, rcFail },
		{ ENOENT, rcResourceNotFound },
		{ ENODEV, rcInvalidArgument },
		{ EINVAL, rcInvalidArgument },
		{ ENAMETOOLONG, rcInvalidArgument },
		{ ETIMEDOUT, rcTimeout },
		{ EEXIST, rcInvalidOperation },
		{ EIO, rcFail },
		{ 12345, rcFail },
	};
	char longer[2 * DCM_DETAIL_SIZE];

	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
		is_int(map[i].rc, dcm_fail_errno(-map[i].error, "x"), "errno %d", map[i].error);
	is_int(rcFail, dcm_fail_errno(INT32_MIN, "x"), "and what is none");
	errno = 77;
	is_int(rcTimeout, dcm_fail(rcTimeout, "after %d ms\nsharp", 5), "the code comes back");
	is_int(77, errno, "errno stays");
	is_string("after 5 ms sharp", DcmLastDetail(), "the detail is one line");
	is_int(rcSecurityDisallow, dcm_fail_errno(-EACCES, "cannot open %s", "it"), "with errno");
	is_string("cannot open it: Permission denied", DcmLastDetail(),
		  "the kernel's words follow");
	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	(void)dcm_fail_errno(-EACCES, "%s", longer);
	is_uint(DCM_DETAIL_SIZE - 1, strlen(DcmLastDetail()), "a long one is cut");
}

static void names(void)
{
	static const char *const good[] = {
		"a",
		"A name",
		"\xc3\xa4",
		"\xc2\xa0",
		"\xe2\x82\xac",
		"\xed\x9f\xbf",
		"\xee\x80\x80",
		"\xf0\x90\x80\x80",
		"\xf4\x8f\xbf\xbf",
		"\xe0\xa0\x80",
	};
	static const char *const bad[] = {
		"",
		"a\n",
		"\x1f",
		"\x7f",
		"\xc2\x80",
		"\xc2\x9f",
		"\x80",
		"\xc0\x80",
		"\xc1\xbf",
		"\xe0\x80\x80",
		"\xe0\x9f\xbf",
		"\xed\xa0\x80",
		"\xed\xbf\xbf",
		"\xf0\x8f\xbf\xbf",
		"\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80",
		"\xff",
		"\xc3",
		"\xe2\x82",
		"\xf0\x90\x80",
		"a\xc3"
		"a",
		"\xe2"
		"a\x82",
	};
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *map =
		mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *at;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		ok(dcm_name_valid(good[i]), "good name %zu", i);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok(!dcm_name_valid(bad[i]), "bad name %zu", i);
	ok(!dcm_name_valid(NULL), "null is no name");
	if (map == MAP_FAILED || mprotect(map + page, page, PROT_NONE) != 0)
		sysbail("guard page");
	at = map + page - DCM_NAME_SIZE;
	memset(at, 'n', DCM_NAME_SIZE);
	ok(!dcm_name_valid(at), "256 bytes are too many, and no more are read");
	at[255] = '\0';
	ok(dcm_name_valid(at), "255 are not");
	at[254] = '\xc3';
	ok(!dcm_name_valid(at), "a character that the end cuts off is bad");
	at = map + page - 2;
	memcpy(at, "\xf0", 2);
	ok(!dcm_name_valid(at), "and nothing behind the end is read");
	munmap(map, 2 * page);
}

static void task(void)
{
	KosTask *self = KosTaskGetSelf();
	Handle own = KosTaskGetHandle(self);
	Sid sid = sid_of(own);

	ok(self != NULL && self == KosTaskGetSelf(), "a process has a task");
	ok(own != 0 && own != INVALID_HANDLE, "and that a handle");
	is_uint(own, KosTaskGetHandle(self), "the same each time");
	ok(sid != 0, "with a SID");
	is_int(rcOk, KnHandleClose(own), "closing it is rcOk");
	is_int(rcOk, KnHandleClose(own), "any number of times");
	is_uint(own, KosTaskGetHandle(self), "and does nothing");
	is_uint(sid, sid_of(own), "to the SID either");
	is_uint(INVALID_HANDLE, KosTaskGetHandle(NULL), "no task has no handle");
	is_uint(INVALID_HANDLE, KosTaskGetHandle((KosTask *)(void *)&own), "nor has a wrong one");
}

static void user_objects(void)
{
	Handle a = 0, b = 0, none = 5;
	Sid sid = 0;

	is_int(rcOk, KnHandleCreateUserObject(USER, ALL_RIGHTS, &a, &a), "a user object");
	is_int(rcOk, KnHandleCreateUserObject(HANDLE_TYPE_USER_LAST, ALL_RIGHTS, NULL, &b),
	       "another");
	ok(sid_of(a) != 0 && sid_of(a) == sid_of(a), "its SID is stable");
	ok(sid_of(a) != sid_of(b) && sid_of(a) != sid_of(KosTaskGetHandle(KosTaskGetSelf())),
	   "and its own");
	is_int(rcInvalidArgument, KnHandleGetSidByHandle(a, NULL), "a SID goes somewhere");
	is_int(rcOk, KnHandleClose(a), "it is closed");
	is_int(rcInvalidArgument, KnHandleClose(a), "once");
	is_int(rcInvalidArgument, KnHandleGetSidByHandle(a, &sid), "and is invalid then");
	is_int(rcInvalidArgument, KnHandleCreateUserObject(USER - 1, 0, NULL, &none), "type below");
	is_uint(INVALID_HANDLE, none, "gives no handle");
	is_int(rcInvalidArgument,
	       KnHandleCreateUserObject(HANDLE_TYPE_USER_LAST + 1, 0, NULL, &none), "type above");
	is_int(rcInvalidArgument, KnHandleCreateUserObject(USER, 0, NULL, NULL), "null output");
	is_int(rcInvalidArgument, KnHandleCreateUserObject(USER, 1u << 5, NULL, &none),
	       "a right that does not exist");
	is_int(rcOk, KnHandleCreateUserObject(USER, 0xffff0000u, NULL, &none), "rights of its own");
	is_int(rcNoCapability, KnHandleGetSidByHandle(none, &sid), "the SID needs its right");
	ok(strstr(DcmLastDetail(), "OCAP_HANDLE_GET_SID") != NULL, "which the detail names");
	is_uint(0, sid, "nothing is given");
	is_int(rcOk, KnHandleClose(none), "closing needs none");
	is_int(rcOk, KnHandleClose(b), "nor here");
}

static const struct dcm_object_type listener_type = { .kind = DCM_KIND_LISTENER,
						      .space = DCM_SPACE_HANDLE };
static const struct dcm_object_type publication_type = { .kind = DCM_KIND_PUBLICATION,
							 .space = DCM_SPACE_DCM };
static const struct dcm_object_type notice_type = { .kind = DCM_KIND_SESSION,
						    .space = DCM_SPACE_NOTICE };

/* Objects of other modules, as far as this one looks at them; the caller's count stays. */
static struct dcm_kernel_object *stand_in(const struct dcm_object_type *type)
{
	struct dcm_kernel_object *object;

	object = (struct dcm_kernel_object *)(void *)dcm_object_new(type, sizeof(*object));
	if (object == NULL || dcm_handle_insert(&object->object) != 0)
		bail("no memory");
	return object;
}

static void callables(void)
{
	struct dcm_kernel_object *listener = stand_in(&listener_type);
	Handle where = listener->object.number, made = 5, other = user(ALL_RIGHTS);
	struct dcm_identity *callable;
	int context;

	listener->sid = dcm_sid_next();
	listener->rights = OCAP_HANDLE_GET_SID;
	is_uint(listener->sid, sid_of(where), "a listener has a SID");
	is_int(rcInvalidArgument,
	       KnHandleCreateUserObjectEx(USER, 0, NULL, where, INVALID_RIID, &made), "no riid");
	is_uint(INVALID_HANDLE, made, "no handle");
	is_int(rcInvalidArgument,
	       KnHandleCreateUserObjectEx(USER, 0, NULL, INVALID_HANDLE, 1, &made), "no listener");
	is_int(rcInvalidArgument, KnHandleCreateUserObjectEx(USER, 0, NULL, other, 1, &made),
	       "not a listener");
	is_int(rcInvalidArgument, KnHandleCreateUserObjectEx(USER, 0, NULL, where, 1, NULL),
	       "null output");
	is_int(rcOk, KnHandleCreateUserObjectEx(USER, ALL_RIGHTS, &context, where, 7, &made),
	       "callable");
	is_uint(3, listener->object.count, "it holds the listener");
	callable = (struct dcm_identity *)(void *)dcm_handle_find(made, 1u << DCM_KIND_CALLABLE);
	ok(callable != NULL && callable->riid == 7 && callable->context == &context &&
		   callable->listener == &listener->object && callable->process == DCM_OWN_PROCESS,
	   "and knows riid, context and listener");
	is_int(rcOk, KnHandleClose(made), "it is closed");
	is_uint(3, listener->object.count, "what is in use keeps the listener");
	dcm_object_drop(&callable->kernel.object);
	is_uint(2, listener->object.count, "then it goes");
	is_int(rcOk, KnHandleCreateUserObjectEx(USER, 0, NULL, INVALID_HANDLE, INVALID_RIID, &made),
	       "neither: a user object");
	is_int(rcOk, KnHandleClose(made), "closed");
	is_int(rcOk, KnHandleClose(where), "so is the listener");
	is_int(rcInvalidArgument, KnHandleCreateUserObjectEx(USER, 0, NULL, where, 1, &made),
	       "which is none any more");
	is_uint(1, listener->object.count, "nothing holds it");
	dcm_object_drop(&listener->object);
	is_int(rcOk, KnHandleClose(other), "done");
}

static void other_spaces(void)
{
	struct dcm_kernel_object *publication = stand_in(&publication_type);
	struct dcm_kernel_object *notice = stand_in(&notice_type);
	static const uint64_t never[] = { 0, 1, UINT64_C(1) << 61, UINT64_MAX - 1, UINT64_MAX };
	Handle made;
	Sid sid;

	is_int(rcInvalidArgument, KnHandleClose(publication->object.number),
	       "a DcmHandle is no Handle");
	is_int(rcInvalidArgument, KnHandleGetSidByHandle(publication->object.number, &sid),
	       "nor here");
	is_int(rcInvalidArgument,
	       KnHandleCreateUserObjectEx(USER, 0, NULL, publication->object.number, 1, &made),
	       "nor here");
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
		is_int(rcInvalidArgument, KnHandleClose(never[i]), "never valid: %zu", i);
		is_int(rcInvalidArgument, KnHandleGetSidByHandle(never[i], &sid),
		       "nor for its SID");
	}
	dcm_handle_close_all(1u << DCM_KIND_PUBLICATION | 1u << DCM_KIND_SESSION);
	dcm_object_drop(&publication->object);
	dcm_object_drop(&notice->object);
}

static void identities(void)
{
	Handle handle = 0;
	struct dcm_identity *identity;

	is_int(rcOk,
	       dcm_identity_new(42, (struct dcm_ref){ 3, 9 }, (struct dcm_gift){ 0, 0 }, &handle),
	       "a peer's identity");
	is_uint(42, sid_of(handle), "has the peer's SID");
	identity = (struct dcm_identity *)(void *)dcm_handle_find(handle, 1u << DCM_KIND_IDENTITY);
	ok(identity != NULL && identity->process == 3 && identity->process_generation == 9,
	   "and says whose it is");
	if (identity != NULL)
		dcm_object_drop(&identity->kernel.object);
	is_int(rcOk, KnHandleClose(handle), "it is closed");
	is_int(rcInvalidArgument, KnHandleClose(handle), "once");
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void forever_invalid(void)
{
	enum { ROUNDS = 20000 };
	Handle *old = calloc(ROUNDS, sizeof(*old));
	Sid *sids = calloc(ROUNDS, sizeof(*sids));
	unsigned valid = 0, twice = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		old[i] = user(OCAP_HANDLE_GET_SID);
		sids[i] = sid_of(old[i]);
		(void)KnHandleClose(old[i]);
	}
	for (unsigned i = 0; i < ROUNDS; i++)
		valid += KnHandleClose(old[i]) != rcInvalidArgument;
	qsort(sids, ROUNDS, sizeof(*sids), by_value);
	for (unsigned i = 1; i < ROUNDS; i++)
		twice += sids[i] == sids[i - 1] || sids[i] == 0;
	is_uint(0, valid, "closed handles stay invalid");
	is_uint(0, twice, "no SID comes twice, nor is it 0");
	free(old);
	free(sids);
}

/* What parent and child tell each other of, in memory that both have. */
static struct shared {
	Handle own, fresh;
	Sid own_sid, fresh_sid, user_sid;
	uint64_t base;
} * shared;

static unsigned hooks_run, hooks_done;

/* Slow, so that other threads would be seen going on before it is done. */
static void hook(void)
{
	hooks_run++;
	usleep(20000);
	/* A call out of a reset does not wait for its own end. */
	(void)KosTaskGetHandle(KosTaskGetSelf());
	__atomic_store_n(&hooks_done, 1, __ATOMIC_RELAXED);
}

static Handle parent_own, parent_user, parent_callable, parent_listener;
static Sid parent_sid, parent_user_sid;

static void child(void)
{
	Sid sid;

	shared->user_sid = sid_of(parent_user);
	is_uint(1, hooks_run, "the resets ran once");
	shared->own = KosTaskGetHandle(KosTaskGetSelf());
	shared->own_sid = sid_of(shared->own);
	shared->fresh = user(OCAP_HANDLE_GET_SID);
	shared->fresh_sid = sid_of(shared->fresh);
	shared->base = dcm_sid_base();
	is_uint(1, hooks_run, "and not again");
	is_int(rcInvalidArgument, KnHandleGetSidByHandle(parent_own, &sid),
	       "the parent's own handle");
	is_int(rcInvalidArgument, KnHandleClose(parent_own), "is none of the child's");
	is_int(rcInvalidArgument, KnHandleClose(parent_callable), "nor is its callable handle");
	is_int(rcInvalidArgument, KnHandleClose(parent_listener), "nor its listener");
	is_int(rcOk, KnHandleClose(parent_user), "its user object is, and can be closed");
	is_int(rcOk, KnHandleClose(shared->own), "closing the own handle does nothing here either");
	is_uint(shared->own, KosTaskGetHandle(KosTaskGetSelf()), "as ever");
}

static void check_child(const char *how, pid_t pid)
{
	int status = -1;

	ok(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "%s: the child ended well",
	   how);
	is_uint(parent_user_sid, shared->user_sid, "%s: a user object keeps its SID", how);
	ok(shared->own != 0 && shared->own != parent_own, "%s: it has another handle", how);
	ok(shared->own_sid != 0 && shared->own_sid != parent_sid, "%s: and another SID", how);
	ok(shared->fresh_sid != 0 && shared->base != dcm_sid_base(), "%s: and another base", how);
	is_uint(parent_user_sid, sid_of(parent_user), "%s: the parent's are untouched", how);
	is_uint(0, hooks_run, "%s: and its resets did not run", how);
}

static void forks(void)
{
	struct dcm_kernel_object *listener = stand_in(&listener_type);
	pid_t pid;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		sysbail("mmap");
	ok(dcm_fork_register(hook) && dcm_fork_register(hook), "a reset is registered");
	parent_own = KosTaskGetHandle(KosTaskGetSelf());
	parent_sid = sid_of(parent_own);
	parent_user = user(ALL_RIGHTS);
	parent_user_sid = sid_of(parent_user);
	parent_listener = listener->object.number;
	(void)KnHandleCreateUserObjectEx(USER, ALL_RIGHTS, NULL, parent_listener, 1,
					 &parent_callable);
	pid = fork();
	if (pid == 0) {
		child();
		_exit(0);
	}
	check_child("fork", pid);
	memset(shared, 0, sizeof(*shared));
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		child();
		_exit(0);
	}
	check_child("clone", pid);
	is_int(rcOk, KnHandleClose(parent_callable), "the parent closes");
	is_int(rcOk, KnHandleClose(parent_listener), "what is its own");
	is_int(rcOk, KnHandleClose(parent_user), "in the end");
	dcm_object_drop(&listener->object);
	munmap(shared, sizeof(*shared));
}

/* In a child, whose threads all come first: one runs the resets, the others wait. */
static void *first_call(void *arg)
{
	*(Handle *)arg = KosTaskGetHandle(KosTaskGetSelf());
	if (__atomic_load_n(&hooks_done, __ATOMIC_RELAXED) == 0)
		return NULL;
	return strcmp(DcmLastDetail(), "") == 0 ? arg : NULL;
}

static void many_first_calls(void)
{
	enum { THREADS = 8 };
	pthread_t threads[THREADS];
	Handle seen[THREADS] = { 0 };
	unsigned other = 0;

	for (unsigned i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, first_call, &seen[i]) != 0)
			bail("no thread");
	for (unsigned i = 0; i < THREADS; i++) {
		void *clean = NULL;

		pthread_join(threads[i], &clean);
		other += clean == NULL || seen[i] != seen[0] || seen[i] == 0 ||
			 seen[i] == parent_own;
	}
	is_uint(0, other,
		"all threads see one new handle, when the resets are done, and each its own "
		"detail");
	is_uint(1, hooks_run, "the resets ran once");
}

static void threads_in_a_child(void)
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		many_first_calls();
		_exit(0);
	}
	ok(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "the child ended well");
}

/* In a process of its own: what was noticed once cannot be noticed in the old way. */
static void on_an_old_kernel(void)
{
	struct sock_filter rules[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(rules) / sizeof(rules[0]), rules };
	int status = -1;
	Handle own;
	pid_t pid;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		sysbail("seccomp");
	own = KosTaskGetHandle(KosTaskGetSelf());
	pid = fork();
	if (pid == 0)
		_exit(KosTaskGetHandle(KosTaskGetSelf()) == own);
	ok(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0,
	   "without MADV_WIPEONFORK a child of fork() is noticed too");
}

static void old_kernel(void)
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		on_an_old_kernel();
		_exit(0);
	}
	ok(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "it ended well");
}

int main(void)
{
	plan_lazy();
	old_kernel();
	codes();
	details();
	names();
	task();
	user_objects();
	callables();
	other_spaces();
	identities();
	forever_invalid();
	forks();
	threads_in_a_child();
	return 0;
}
