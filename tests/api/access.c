/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who may attach: mode, owner and group of a fabric are set when it is made and checked by everyone
 * who attaches; one user of a shared fabric cannot fill its tables. asan: no, tsan: no (setuid)
 */
#define _GNU_SOURCE
#include <dcm/dcm.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/api/lib_peer.h"
#include "tests/tap.h"

enum { FIRST = 65531, SECOND = 65532, TEAM = 65533 };

static char path[128];

static void set(const char *mode, const char *owner, const char *group)
{
	const char *const names[] = { "DCM_MODE", "DCM_OWNER", "DCM_GROUP" };
	const char *const values[] = { mode, owner, group };

	for (int i = 0; i < 3; i++)
		if (values[i] != NULL)
			setenv(names[i], values[i], 1);
		else
			unsetenv(names[i]);
}

/* A fresh place that everybody may use, sticky as /dev/shm is. */
static void begin(const char *name)
{
	snprintf(path, sizeof path, "%s/%s", tap_fabric_dir(), name);
	if (chmod(tap_fabric_dir(), 01777) < 0)
		sysbail("chmod");
	setenv("DCM_FABRIC", path, 1);
	unsetenv("DCM_USER_SHARE");
}

static void become(uint32_t user, uint32_t group)
{
	gid_t none = group;

	if (setgroups(1, &none) < 0 || setgid(group) < 0 || setuid(user) < 0)
		die("cannot become user %u", user);
}

static void as(uint32_t user, uint32_t group, void (*body)(void))
{
	pid_t pid = fork();

	if (pid == 0) {
		become(user, group);
		body();
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

static void attaches(void)
{
	is_int(rcOk, DcmInit(), "user %u, group %u attaches: %s", geteuid(), getegid(),
	       DcmLastDetail());
	DcmFini();
}

static void is_refused(const char *reason)
{
	is_int(rcSecurityDisallow, DcmInit(), "user %u, group %u does not", geteuid(), getegid());
	ok(strstr(DcmLastDetail(), reason) != NULL, "  since \"%s\" stands in: %s", reason,
	   DcmLastDetail());
}

static void refused_by_kernel(void)
{
	is_refused(".lock: it belongs to user");
}

static void refused_by_mode(void)
{
	is_refused("DCM_MODE=0600");
}

static void refused_by_owner(void)
{
	is_refused("DCM_OWNER");
}

static void refused_by_group(void)
{
	is_refused("DCM_GROUP");
}

static void has(const char *ending, uint32_t mode, uint32_t owner, uint32_t group)
{
	char file[160];
	struct stat st;

	snprintf(file, sizeof file, "%s%s", path, ending);
	if (stat(file, &st) < 0)
		sysbail("%s", file);
	is_hex(mode, st.st_mode & 07777, "the mode of fabric%s is %04o", ending, mode);
	is_uint(owner, st.st_uid, "its owner %u", owner);
	is_uint(group, st.st_gid, "its group %u", group);
}

static void test_private(void)
{
	begin("private");
	set(NULL, NULL, NULL);
	as(FIRST, TEAM, attaches);
	has("", 0600, FIRST, TEAM);
	has(".lock", 0600, FIRST, TEAM);
	as(FIRST, TEAM, attaches);
	as(SECOND, TEAM, refused_by_kernel);
	set("0660", NULL, NULL);
	as(SECOND, TEAM, refused_by_kernel);
}

static void test_group(void)
{
	mode_t before = umask(077);

	begin("group");
	set("0660", NULL, NULL);
	as(FIRST, TEAM, attaches);
	umask(before);
	has("", 0660, FIRST, TEAM);
	has(".lock", 0660, FIRST, TEAM);
	as(SECOND, SECOND, refused_by_kernel);
	as(SECOND, TEAM, refused_by_owner);
	set("0660", "65531", NULL);
	as(SECOND, TEAM, attaches);
	set(NULL, "65531", NULL);
	as(SECOND, TEAM, refused_by_mode);
	set("0660", "65531", "65532");
	as(SECOND, TEAM, refused_by_group);
	set("0660", "65531", "65533");
	as(SECOND, TEAM, attaches);
}

static void test_roots(void)
{
	begin("roots");
	set("0660", NULL, "65533");
	attaches();
	has("", 0660, 0, TEAM);
	has(".lock", 0660, 0, TEAM);
	as(SECOND, TEAM, attaches);
	as(SECOND, SECOND, refused_by_kernel);
	begin("given");
	set("0600", "65531", NULL);
	attaches();
	has("", 0600, FIRST, getegid());
	as(FIRST, TEAM, attaches);
	as(SECOND, TEAM, refused_by_kernel);
	begin("widened");
	set(NULL, NULL, NULL);
	as(FIRST, TEAM, attaches);
	if (chmod(path, 0666) < 0)
		sysbail("chmod");
	as(FIRST, TEAM, refused_by_mode);
	set("0666", NULL, NULL);
	as(FIRST, TEAM, attaches);
}

/* What a name stands for is root's alone: whoever put a file there first is not trusted for it. */
static void test_squatter(void)
{
	char name[64];

	if (access("/run/user/0", F_OK) == 0) {
		skip("root has a directory for this that nobody else can write to");
		return;
	}
	set(NULL, NULL, NULL);
	snprintf(name, sizeof name, "test-squat-%d", (int)getpid());
	snprintf(path, sizeof path, "/dev/shm/dcm-0-%s", name);
	setenv("DCM_FABRIC", path, 1);
	as(FIRST, TEAM, attaches);
	attaches();
	setenv("DCM_FABRIC", name, 1);
	refused_by_owner();
	unlink(path);
	strcat(path, ".lock");
	refused_by_owner();
	unlink(path);
	setenv("DCM_FABRIC", name, 1);
	attaches();
	unlink(path);
	path[strlen(path) - 5] = '\0';
	unlink(path);
}

/* A group whose members fill more than a page. */
static void big_group(void)
{
	char file[160];
	FILE *out;

	snprintf(file, sizeof file, "%s/members", tap_fabric_dir());
	out = fopen(file, "w");
	if (out == NULL)
		sysbail("%s", file);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		_exit(77);
	fputs("dcm-crowd:x:65533:", out);
	for (int i = 0; i < 5000; i++)
		fprintf(out, "%smember%d", i == 0 ? "" : ",", i);
	fputs("\n", out);
	fclose(out);
	if (mount(file, "/etc/group", NULL, MS_BIND, NULL) < 0)
		_exit(77);
	begin("crowd");
	set("0660", NULL, "dcm-crowd");
	attaches();
	has("", 0660, 0, TEAM);
	_exit(0);
}

static void test_names(void)
{
	char file[160];
	int status;
	pid_t pid = fork();

	if (pid == 0)
		big_group();
	waitpid(pid, &status, 0);
	snprintf(file, sizeof file, "%s/members", tap_fabric_dir());
	unlink(file);
	if (WEXITSTATUS(status) == 77)
		skip("no mount namespace to have a large group in");
}

static void bad(const char *variable, const char *value)
{
	setenv(variable, value, 1);
	is_int(rcInvalidArgument, DcmInit(), "%s=%s is refused", variable, value);
	ok(strstr(DcmLastDetail(), variable) != NULL, "  by name: %s", DcmLastDetail());
	unsetenv(variable);
}

static void test_settings(void)
{
	begin("settings");
	set(NULL, NULL, NULL);
	bad("DCM_MODE", "0640x");
	bad("DCM_MODE", "0060");
	bad("DCM_MODE", "0620");
	bad("DCM_MODE", "0700");
	bad("DCM_MODE", "1660");
	bad("DCM_MODE", "-1");
	bad("DCM_OWNER", "no such user");
	bad("DCM_OWNER", "4294967295");
	bad("DCM_GROUP", "no such group");
	bad("DCM_USER_SHARE", "0");
	bad("DCM_USER_SHARE", "101");
	setenv("DCM_FABRIC", "name", 1);
	setenv("DCM_MODE", "0660", 1);
	is_int(rcInvalidArgument, DcmInit(), "a shared fabric needs a path");
	ok(strstr(DcmLastDetail(), "path") != NULL, "  and says so: %s", DcmLastDetail());
	ok(access(path, F_OK) < 0, "nothing was made");
	set(NULL, NULL, NULL);
}

/* How many endpoints this user gets; all are given back. */
static unsigned publish_all(unsigned want)
{
	Handle self = KosTaskGetHandle(KosTaskGetSelf());
	DcmHandle publication;
	unsigned got = 0;
	char name[16];

	while (got < want) {
		snprintf(name, sizeof name, "%u", got);
		if (DcmPublishEndpoint(self, "type", name, &publication) != rcOk)
			break;
		got++;
	}
	return got;
}

static void fills_its_share(void)
{
	is_int(rcOk, DcmInit(), "user %u attaches", geteuid());
	is_uint(8, publish_all(16), "it gets half of the 16 endpoints");
	ok(strstr(DcmLastDetail(), "8 of the 16 endpoints") != NULL &&
		   strstr(DcmLastDetail(), "DCM_USER_SHARE") != NULL,
	   "and hears why: %s", DcmLastDetail());
}

static void finds_the_rest(void)
{
	is_int(rcOk, DcmInit(), "user %u attaches", geteuid());
	is_uint(8, publish_all(8), "and has its own share");
	DcmFini();
}

static void hogs(void)
{
	pid_t other;

	fills_its_share();
	other = fork();
	if (other == 0) {
		is_int(rcOk, DcmInit(), "another process of that user attaches");
		is_uint(0, publish_all(1), "but has no share of its own");
		DcmFini();
		_exit(0);
	}
	waitpid(other, NULL, 0);
	DcmFini();
}

static void hold_process_slots(void)
{
	pid_t pids[3];
	int ready[2], done[2];
	char byte;

	if (pipe(ready) < 0 || pipe(done) < 0)
		sysbail("pipe");
	for (int i = 0; i < 3; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			Retcode rc = DcmInit();

			close(done[1]);
			if (write(ready[1], rc == rcOk ? "y" : "n", 1) != 1 ||
			    read(done[0], &byte, 1) < 0)
				_exit(1);
			DcmFini();
			_exit(0);
		}
	}
	for (int i = 0; i < 3; i++)
		if (read(ready[0], &byte, 1) != 1 || byte != 'y')
			ok(0, "process %d of 3 attaches", i);
	is_int(rcQuotaExceeded, DcmInit(), "the fourth of one user does not get the fourth of six");
	ok(strstr(DcmLastDetail(), "3 of the 6 process slots") != NULL, "which is said: %s",
	   DcmLastDetail());
	close(done[1]);
	for (int i = 0; i < 3; i++)
		waitpid(pids[i], NULL, 0);
	is_int(rcOk, DcmInit(), "when they are gone it does");
	DcmFini();
}

/* Three that nobody gives the process slots back for: there is nobody else in the fabric. */
static void leave_dead_behind(void)
{
	int ready[2];
	char byte;

	if (pipe(ready) < 0)
		sysbail("pipe");
	for (int i = 0; i < 3; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			if (DcmInit() != rcOk || write(ready[1], "y", 1) != 1)
				_exit(1);
			raise(SIGSTOP);
		}
		if (read(ready[0], &byte, 1) != 1)
			sysbail("read");
		waitpid(pid, NULL, WUNTRACED);
	}
	kill(0, SIGKILL);
}

static void dead_are_nobodys(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		setpgid(0, 0);
		leave_dead_behind();
	}
	waitpid(pid, NULL, 0);
	is_int(rcOk, DcmInit(), "a user whose share died attaches: %s", DcmLastDetail());
	DcmFini();
	setenv("DCM_USER_SHARE", "100", 1);
	is_int(rcOk, DcmInit(), "and again");
	DcmFini();
	unsetenv("DCM_USER_SHARE");
}

static void test_share(void)
{
	pid_t hog;

	begin("share");
	set("0666", NULL, NULL);
	setenv("DCM_MAX_ENDPOINTS", "16", 1);
	attaches();
	hog = fork();
	if (hog == 0) {
		become(FIRST, TEAM);
		hogs();
		_exit(0);
	}
	waitpid(hog, NULL, 0);
	as(SECOND, TEAM, finds_the_rest);
	begin("half");
	setenv("DCM_MAX_PROCESSES", "6", 1);
	attaches();
	as(FIRST, TEAM, hold_process_slots);
	as(FIRST, TEAM, dead_are_nobodys);
	has("", 0666, 0, getegid());
	unsetenv("DCM_MAX_PROCESSES");
	unsetenv("DCM_MAX_ENDPOINTS");
}

int main(void)
{
	plan_lazy();
	tap_fabric_dir();
	test_settings();
	if (geteuid() != 0 || !can_be_user(FIRST)) {
		skip("not root, or of a user namespace with one user: cannot be several users");
		return 0;
	}
	test_private();
	test_group();
	test_roots();
	test_squatter();
	test_names();
	test_share();
	return 0;
}
