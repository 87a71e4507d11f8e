// SPDX-License-Identifier: BSD-2-Clause
/*
 * The other side of dcm-files, as no dcm-files would behave.
 *
 *	helper_files ask         asks the server what no client asks; a line for each: words, status
 *	helper_files lie WHICH   is a server that lies, until it is killed
 *	helper_files deny COMMAND ARGUMENT...
 *	                         runs a command in a kernel that has no openat2()
 */
#define _GNU_SOURCE
#include "tools/dcm-files_protocol.h"
#include <dcm/dcm.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int ask_all(void);
static void lie(const char *which) __attribute__((noreturn));
static int deny(char **command);

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "ask") == 0)
		return ask_all();
	if (argc == 3 && strcmp(argv[1], "lie") == 0)
		lie(argv[2]);
	if (argc > 2 && strcmp(argv[1], "deny") == 0)
		return deny(argv + 2);
	fprintf(stderr, "see the beginning of helper_files.c\n");
	return 1;
}

static void need(Retcode rc, const char *what)
{
	if (rc == rcOk)
		return;
	fprintf(stderr, "%s: %s: %s\n", what, RetcodeName(rc), DcmLastDetail());
	exit(1);
}

/* Sends size bytes of data; prints what came. */
static void ask(Handle session, const char *words, const void *data, size_t size)
{
	DcmMessage message, reply;

	need(DcmLoan(session, size, -1, &message), "DcmLoan");
	if (size > 0)
		memcpy(message.data, data, size);
	need(DcmCall(session, &message, -1, &reply), words);
	printf("%s: %d %zu\n", words, reply.status,
	       reply.status == FILES_OK ? reply.size - sizeof(struct files_reply) : reply.size);
	need(DcmRelease(&reply), "DcmRelease");
}

static void ask_name(Handle session, const char *words, struct files_request request,
		     const char *name, size_t bytes)
{
	static char data[sizeof(request) + 2 * FILES_NAME_MAX];

	request.name_bytes = (uint32_t)bytes;
	memcpy(data, &request, sizeof(request));
	memcpy(data + sizeof(request), name, bytes);
	ask(session, words, data, sizeof(request) + bytes);
}

/* The file "hello" has 6 bytes, "deep/er/file" is there as well. */
static void ask_names(Handle session)
{
	static const char *const bad[] = { "..", "../hello", "deep/../hello", "/hello",
					   "/",	 "hello/",   "./hello",	      ".",
					   "//", "deep//er", "deep/er/.." };
	struct files_request request = { .version = FILES_VERSION,
					 .op = FILES_READ,
					 .data_bytes = 1000 };
	static char name[FILES_NAME_MAX + 1];
	const char *names[] = { "read", "hash", "list" };
	static const uint32_t ops[] = { FILES_READ, FILES_HASH, FILES_LIST };

	for (size_t op = 0; op < 3; op++) {
		request.op = ops[op];
		for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
			char words[64];

			snprintf(words, sizeof(words), "%s %s", names[op], bad[i]);
			ask_name(session, words, request, bad[i], strlen(bad[i]));
		}
	}
	request.op = FILES_READ;
	ask_name(session, "no name", request, "", 0);
	ask_name(session, "a zero in it", request, "hello\0x", 7);
	ask_name(session, "a zero behind it", request, "hello", 6);
	memset(name, 'x', sizeof(name));
	ask_name(session, "a component of 256", request, name, 256);
	ask_name(session, "a component of 255", request, name, 255);
	for (size_t i = 1; i < sizeof(name); i += 2)
		name[i] = '/';
	ask_name(session, "4096 bytes", request, name, 4096);
	ask_name(session, "4095 bytes", request, name, 4095);
}

static void ask_shapes(Handle session)
{
	struct files_request request = { .version = FILES_VERSION,
					 .op = FILES_READ,
					 .data_bytes = 1000 };
	struct files_request wrong;

	ask(session, "nothing", NULL, 0);
	ask(session, "half a request", &request, sizeof(request) / 2);
	wrong = request;
	wrong.name_bytes = 1;
	ask(session, "a name that is not there", &wrong, sizeof(wrong));
	wrong.name_bytes = UINT32_MAX;
	ask(session, "a name that cannot be", &wrong, sizeof(wrong));
	wrong = request;
	wrong.version++;
	ask_name(session, "another version", wrong, "hello", 5);
	wrong = request;
	wrong.op = 99;
	ask_name(session, "another question", wrong, "hello", 5);
	wrong = request;
	wrong.data_bytes = UINT32_MAX;
	ask_name(session, "all that can be", wrong, "hello", 5);
	wrong.offset = UINT64_MAX;
	ask_name(session, "behind everything", wrong, "hello", 5);
	wrong.offset = 4;
	ask_name(session, "the rest", wrong, "hello", 5);
	wrong.data_bytes = 0;
	ask_name(session, "no bytes", wrong, "hello", 5);
}

static int ask_all(void)
{
	DcmHandle connection;
	DcmMessage message;
	Handle session;

	need(DcmInit(), "DcmInit");
	need(DcmCreateConnection(FILES_TYPE, FILES_NAME, INVALID_HANDLE, INVALID_HANDLE,
				 &connection),
	     "DcmCreateConnection");
	need(DcmConnect(connection, INFINITE_TIMEOUT, &session), "DcmConnect");
	need(DcmCloseHandle(connection), "DcmCloseHandle");
	ask_names(session);
	/* One that nobody answers must not stop the rest. */
	need(DcmLoan(session, 100, -1, &message), "DcmLoan");
	memset(message.data, 0xff, 100);
	need(DcmSend(session, &message, -1), "DcmSend");
	ask_shapes(session);
	need(KnHandleClose(session), "KnHandleClose");
	DcmFini();
	return fflush(stdout) != 0;
}

/* A name and 6 bytes that are right unless the lie says otherwise. */
static const char file_name[] = "hello";
static const char file_data[] = "hello\n";
static const uint8_t file_sha256[FILES_HASH_SIZE] = { 0x58, 0x91, 0xb5, 0xb5, 0x22, 0xd5, 0xdf,
						      0x08, 0x6d, 0x0f, 0xf0, 0xb1, 0x10, 0xfb,
						      0xd9, 0xd2, 0x1b, 0xb4, 0xfc, 0x71, 0x63,
						      0xaf, 0x34, 0xd0, 0x82, 0x86, 0xa2, 0xe8,
						      0x46, 0xf6, 0xbe, 0x03 };

static size_t lie_list(const char *which, char *data, const struct files_request *asked)
{
	struct files_head page = { .version = FILES_VERSION };
	struct files_entry entry = { .file_bytes = 6, .name_bytes = sizeof(file_name) - 1 };
	const char *name = file_name;
	size_t padded;

	if (strcmp(which, "outside") == 0)
		name = "../outside";
	else if (strcmp(which, "absolute") == 0)
		name = "/tmp/outside";
	else if (strcmp(which, "endless") == 0 || strcmp(which, "nothing more") == 0)
		page.flags = FILES_HAS_MORE;
	entry.name_bytes = (uint32_t)strlen(name);
	padded = (entry.name_bytes + 7u) & ~7u;
	page.data_bytes = (uint32_t)(sizeof(entry) + padded);
	if (strcmp(which, "long entry") == 0)
		entry.name_bytes = UINT32_MAX;
	else if (strcmp(which, "zero") == 0)
		entry.name_bytes++;
	else if (strcmp(which, "half an entry") == 0)
		page.data_bytes -= (uint32_t)padded + 4;
	else if (strcmp(which, "nothing more") == 0 && asked->name_bytes > 0)
		page.data_bytes = 0;
	else if (strcmp(which, "long page") == 0)
		page.data_bytes = UINT32_MAX;
	memcpy(data, &page, sizeof(page));
	memcpy(data + sizeof(page), &entry, sizeof(entry));
	strncpy(data + sizeof(page) + sizeof(entry), name, padded);
	return sizeof(page) + sizeof(entry) + padded;
}

static size_t lie_read(const char *which, char *data, const struct files_request *asked)
{
	struct files_reply fixed = { .head.version = FILES_VERSION,
				     .head.flags = FILES_HAS_HASH,
				     .head.data_bytes = asked->op == FILES_READ ? 6 : 0,
				     .stamp.file_bytes = 6 };
	static int64_t changes;

	memcpy(fixed.sha256, file_sha256, sizeof(file_sha256));
	if (strcmp(which, "hash") == 0)
		fixed.sha256[31] ^= 1;
	else if (strcmp(which, "no hash") == 0)
		fixed.head.flags = 0;
	else if (strcmp(which, "version") == 0)
		fixed.head.version++;
	else if (strcmp(which, "long") == 0)
		fixed.head.data_bytes = UINT32_MAX;
	else if (strcmp(which, "too much") == 0)
		fixed.stamp.file_bytes = 5;
	else if (strcmp(which, "no progress") == 0)
		fixed.head.data_bytes = 0;
	else if (strcmp(which, "changes") == 0)
		fixed.stamp.modified_ns = ++changes, fixed.stamp.file_bytes = 12;
	memcpy(data, &fixed, sizeof(fixed));
	memcpy(data + sizeof(fixed), file_data, 6);
	if (strcmp(which, "data") == 0)
		data[sizeof(fixed)] = 'H';
	if (strcmp(which, "short") == 0)
		return sizeof(fixed) / 2;
	return sizeof(fixed) + fixed.head.data_bytes % 1000;
}

static void answer(const char *which, DcmRequest *request)
{
	struct files_request asked;
	DcmMessage reply;

	memcpy(&asked, request->message.data, sizeof(asked));
	if (strcmp(which, "silent") == 0) {
		need(DcmRelease(&request->message), "DcmRelease");
		return;
	}
	need(DcmLoanReply(request, 4096, &reply), "DcmLoanReply");
	if (asked.op == FILES_LIST)
		reply.size = lie_list(which, reply.data, &asked);
	else
		reply.size = lie_read(which, reply.data, &asked);
	if (strcmp(which, "status") == 0 && asked.op != FILES_LIST)
		reply.status = -12345;
	DcmReply(request, &reply);
}

static void lie(const char *which)
{
	DcmHandle publication, request;
	Handle listener, callable;
	DcmRequest asked;

	need(DcmInit(), "DcmInit");
	need(KnHandleCreateListener(&listener), "KnHandleCreateListener");
	need(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL, listener, 1,
					&callable),
	     "KnHandleCreateUserObjectEx");
	need(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), FILES_TYPE, FILES_NAME,
				&publication),
	     "DcmPublishEndpoint");
	for (;;) {
		if (DcmListen(publication, 10, NULL, NULL, &request) == rcOk) {
			if (strcmp(which, "refuse") != 0)
				DcmAccept(request, callable, INVALID_HANDLE);
			DcmCloseHandle(request);
		}
		while (DcmReceive(listener, 10000000, &asked) == rcOk)
			answer(which, &asked);
	}
}

static int deny(char **command)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		perror("seccomp");
	else
		execvp(command[0], command);
	perror(command[0]);
	return 1;
}
