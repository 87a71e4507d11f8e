/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * iceoryx - iceoryx 2.0 by its C binding, with a RouDi (its daemon) of this run's own
 *
 * Messages lie in chunks of shared memory, are written and read there, and only their places go
 * through queues. Calls: its client and server. One-way and publications: publisher and subscriber;
 * queues of 256 and policies that lose nothing (the producer waits). Spinning: to take in a loop.
 * Sleeping: to take, and when there is nothing a WaitSet. Who finds a queue full is let wait by
 * iceoryx; who finds no chunk left tries again after sched_yield(), sleeping or not.
 *
 * RouDi has one pool, of chunks that fit; it is monitoring, as by default. It and all processes are
 * in names of the run's own, if this process may have them (see lib_private); otherwise there must
 * not be another RouDi. It has no processor of its own here, which does matter to it when a process
 * begins, connects or offers, and not when messages go.
 *
 * That a service appears is told by RouDi, which looks around every 100 ms. Of a death nothing
 * comes to who is blocked in a WaitSet: by itself iceoryx never tells it. It can ask for the state
 * of its connection. So it does here, every 10 ms and only with PEER_DEATH; RouDi finds a process
 * dead when it has been silent for 1.5 s.
 */
#define _GNU_SOURCE
#if __has_include(<iceoryx_binding_c/client.h>)

#include <errno.h>
#include <grp.h>
#include <iceoryx_binding_c/client.h>
#include <iceoryx_binding_c/log.h>
#include <iceoryx_binding_c/publisher.h>
#include <iceoryx_binding_c/runtime.h>
#include <iceoryx_binding_c/server.h>
#include <iceoryx_binding_c/service_discovery.h>
#include <iceoryx_binding_c/subscriber.h>
#include <iceoryx_binding_c/wait_set.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench/peers/lib_private.h"

enum { QUEUE = 256, HELD = 8, EXTRA = 256, UP_MS = 10 * 1000, LOOK_NS = 10 * 1000 * 1000 };

#define SERVICE "dcm-bench"
#define ROUDI	"/tmp/roudi"

struct own {
	iox_client_storage_t client_memory;
	iox_server_storage_t server_memory;
	iox_pub_storage_t publisher_memory;
	iox_sub_storage_t subscriber_memory;
	iox_ws_storage_t set_memory;
	iox_service_discovery_storage_t discovery_memory;
	iox_client_t client;
	iox_server_t server;
	iox_pub_t publisher;
	iox_sub_t subscriber;
	iox_ws_t set; /* null: spins */
	iox_service_discovery_t discovery;
	char instance[16];
	bool looks; /* for the end of its connection */
	bool is_in; /* a subscriber that has said so */
	long rounds;
};

/* Of the parent: so are its children called. */
static pid_t parent;

static void nap(long ns)
{
	nanosleep(&(struct timespec){ 0, ns }, NULL);
}

static void configure(const struct peer_job *job, const char *path)
{
	size_t size = (job->size + EXTRA + 63) / 64 * 64;
	size_t ends = job->clients + job->servers;
	FILE *file = fopen(path, "we");

	if (file == NULL)
		peer_fail("%s: %s", path, strerror(errno));
	fprintf(file, "[general]\nversion = 1\n[[segment]]\n[[segment.mempool]]\n");
	fprintf(file, "size = %zu\ncount = %zu\n", size,
		(job->size > 1 << 16 ? QUEUE / 8 : QUEUE) + 2 * HELD * ends);
	fclose(file);
}

static void remove_names(void)
{
	const struct group *group = getgrgid(getegid());
	char path[128];

	unlink("/dev/shm/iceoryx_mgmt");
	if (group != NULL) {
		snprintf(path, sizeof(path), "/dev/shm/%s", group->gr_name);
		unlink(path);
	}
	unlink(ROUDI);
	unlink(ROUDI ".lock");
	unlink("/tmp/iox-unique-roudi.lock");
}

static void prepare(struct peer_job *job)
{
	static char path[256];
	static const char *const command[] = { "/usr/bin/iox-roudi", "-c", path, NULL };
	struct stat status;

	if (access("/usr/bin/iox-roudi", X_OK) != 0)
		peer_absent("iceoryx");
	if (!private_names(job) && stat("/dev/shm/iceoryx_mgmt", &status) == 0)
		peer_fail("there is a RouDi here already, or what one left");
	parent = getpid();
	job->shared = peer_shared(sizeof(_Atomic uint32_t)); /* subscribers that are in */
	snprintf(path, sizeof(path), "%s", peer_path(job, "roudi.toml"));
	configure(job, path);
	peer_daemon(command);
	for (int ms = 0; stat(ROUDI, &status) != 0; ms++) {
		if (ms == UP_MS)
			peer_fail("iox-roudi does not come up");
		nap(1000 * 1000);
	}
	for (int i = 0; i < 10; i++)
		nap(20 * 1000 * 1000); /* it has a name before it listens */
}

static void name_process(const struct peer_end *e, char *name, size_t bytes)
{
	snprintf(name, bytes, "dcm-bench-%d-%c%u", (int)parent, e->serves ? 's' : 'c', e->number);
}

/* What a process that is killed leaves. */
static void clean(struct peer_job *job)
{
	char path[128], name[64];

	for (uint32_t i = 0; i < 2 * (job->clients + job->servers); i++) {
		struct peer_end e = { .serves = i % 2 == 1, .number = i / 2 };

		name_process(&e, name, sizeof(name));
		snprintf(path, sizeof(path), "/tmp/%s", name);
		unlink(path);
		snprintf(path, sizeof(path), "/tmp/%s.lock", name);
		unlink(path);
	}
	remove_names();
}

static void begin(struct peer_end *e)
{
	struct own *o = peer_memory(sizeof(*o));
	const struct peer_job *job = e->job;
	bool first = job->what == PEER_FAN || (!e->serves && job->servers == 1);
	char name[64];

	iox_set_loglevel(Iceoryx_LogLevel_Off);
	name_process(e, name, sizeof(name));
	iox_runtime_init(name);
	snprintf(o->instance, sizeof(o->instance), "%u", first ? 0 : e->number);
	o->looks = job->what == PEER_DEATH;
	if (job->wait == PEER_SLEEP)
		o->set = iox_ws_init(&o->set_memory);
	e->own = o;
}

static void start_server(struct own *o, bool offer)
{
	iox_server_options_t options;

	iox_server_options_init(&options);
	options.requestQueueCapacity = QUEUE;
	options.requestQueueFullPolicy = QueueFullPolicy_BLOCK_PRODUCER;
	options.clientTooSlowPolicy = ConsumerTooSlowPolicy_WAIT_FOR_CONSUMER;
	options.offerOnCreate = offer;
	o->server = iox_server_init(&o->server_memory, SERVICE, o->instance, "call", &options);
	if (o->set != NULL && iox_ws_attach_server_state(o->set, o->server, ServerState_HAS_REQUEST,
							 0, NULL) != WaitSetResult_SUCCESS)
		peer_fail("the WaitSet does not take the server");
}

static void subscribe(struct own *o)
{
	iox_sub_options_t options;

	iox_sub_options_init(&options);
	options.queueCapacity = QUEUE;
	options.queueFullPolicy = QueueFullPolicy_BLOCK_PRODUCER;
	o->subscriber = iox_sub_init(&o->subscriber_memory, SERVICE, o->instance, "data", &options);
	if (o->set != NULL &&
	    iox_ws_attach_subscriber_state(o->set, o->subscriber, SubscriberState_HAS_DATA, 0,
					   NULL) != WaitSetResult_SUCCESS)
		peer_fail("the WaitSet does not take the subscriber");
}

static bool calls(const struct peer_job *job)
{
	return (job->what & (PEER_CALL | PEER_CONNECT | PEER_DEATH)) != 0;
}

static void serve(struct peer_end *e)
{
	if (calls(e->job))
		start_server(e->own, true);
	else
		subscribe(e->own);
}

static void connect_client(struct own *o)
{
	iox_client_options_t options;

	iox_client_options_init(&options);
	options.responseQueueFullPolicy = QueueFullPolicy_BLOCK_PRODUCER;
	options.serverTooSlowPolicy = ConsumerTooSlowPolicy_WAIT_FOR_CONSUMER;
	o->client = iox_client_init(&o->client_memory, SERVICE, o->instance, "call", &options);
	if (o->set != NULL &&
	    iox_ws_attach_client_state(o->set, o->client, ClientState_HAS_RESPONSE, 0, NULL) !=
		    WaitSetResult_SUCCESS)
		peer_fail("the WaitSet does not take the client");
	while (iox_client_get_connection_state(o->client) != ConnectionState_CONNECTED)
		sched_yield();
}

/* RouDi brings subscribers one by one: who is not in yet would miss what is published. That they
   are, one publisher cannot ask; subscribers say it. */
static void publish_from(struct own *o, const struct peer_job *job)
{
	iox_pub_options_t options;

	iox_pub_options_init(&options);
	options.subscriberTooSlowPolicy = ConsumerTooSlowPolicy_WAIT_FOR_CONSUMER;
	o->publisher = iox_pub_init(&o->publisher_memory, SERVICE, o->instance, "data", &options);
	while (!iox_pub_has_subscribers(o->publisher))
		nap(1000 * 1000);
	if (job->what == PEER_FAN)
		while (atomic_load((_Atomic uint32_t *)job->shared) < job->servers)
			nap(1000 * 1000);
}

static void be_in(struct own *o, const struct peer_job *job)
{
	while (iox_sub_get_subscription_state(o->subscriber) != SubscribeState_SUBSCRIBED)
		nap(1000 * 1000);
	o->is_in = true;
	atomic_fetch_add((_Atomic uint32_t *)job->shared, 1);
}

static void open_link(struct peer_end *e)
{
	if (calls(e->job))
		connect_client(e->own);
	else
		publish_from(e->own, e->job);
}

static void close_end(struct peer_end *e)
{
	struct own *o = e->own;

	if (o->client != NULL) {
		if (o->set != NULL)
			iox_ws_detach_client_state(o->set, o->client, ClientState_HAS_RESPONSE);
		iox_client_deinit(o->client);
	}
	if (o->server != NULL) {
		if (o->set != NULL)
			iox_ws_detach_server_state(o->set, o->server, ServerState_HAS_REQUEST);
		iox_server_deinit(o->server);
	}
	o->client = NULL;
	o->server = NULL;
}

/* False: it was time to look up. */
static bool wait_set(const struct own *o)
{
	iox_notification_info_t info[4];
	uint64_t missed;

	if (o->set == NULL)
		return true;
	if (!o->looks) {
		iox_ws_wait(o->set, info, 4, &missed);
		return true;
	}
	return iox_ws_timed_wait(o->set, (struct timespec){ 0, LOOK_NS }, info, 4, &missed) > 0;
}

static void take(struct peer_end *e, struct peer_message *m)
{
	struct own *o = e->own;
	const void *data;

	if (e->job->what == PEER_FAN && !o->is_in)
		be_in(o, e->job);
	if (o->server != NULL)
		while (iox_server_take_request(o->server, &data) != ServerRequestResult_SUCCESS)
			wait_set(o);
	else
		while (iox_sub_take_chunk(o->subscriber, &data) != ChunkReceiveResult_SUCCESS)
			wait_set(o);
	m->data = (void *)(uintptr_t)data;
	m->size = e->job->size; /* that of the chunk is not asked for */
}

static void give_back(struct peer_end *e, struct peer_message *m)
{
	iox_sub_release_chunk(((struct own *)e->own)->subscriber, m->data);
}

static void room(struct peer_end *e, struct peer_message *request, size_t size,
		 struct peer_message *reply)
{
	struct own *o = e->own;

	while (iox_server_loan_response(o->server, request->data, &reply->data, (uint32_t)size) !=
	       AllocationResult_SUCCESS)
		sched_yield();
	reply->size = size;
}

static void answer(struct peer_end *e, struct peer_message *request, struct peer_message *reply)
{
	struct own *o = e->own;

	iox_server_send(o->server, reply->data);
	iox_server_release_request(o->server, request->data);
}

static void loan(struct peer_end *e, size_t size, struct peer_message *m)
{
	struct own *o = e->own;

	if (o->client != NULL)
		while (iox_client_loan_request(o->client, &m->data, (uint32_t)size) !=
		       AllocationResult_SUCCESS)
			sched_yield();
	else
		while (iox_pub_loan_chunk(o->publisher, &m->data, (uint32_t)size) !=
		       AllocationResult_SUCCESS)
			sched_yield();
	m->size = size;
}

static bool call(struct peer_end *e, struct peer_message *m, struct peer_message *reply)
{
	struct own *o = e->own;
	const void *data;

	iox_client_send(o->client, m->data);
	while (iox_client_take_response(o->client, &data) != ChunkReceiveResult_SUCCESS)
		if (!wait_set(o) &&
		    iox_client_get_connection_state(o->client) != ConnectionState_CONNECTED)
			return false;
	reply->data = (void *)(uintptr_t)data;
	reply->size = e->job->size;
	return true;
}

static void release(struct peer_end *e, struct peer_message *reply)
{
	iox_client_release_response(((struct own *)e->own)->client, reply->data);
}

static void send(struct peer_end *e, struct peer_message *m, bool more)
{
	(void)more;
	iox_pub_publish_chunk(((struct own *)e->own)->publisher, m->data);
}

static bool is_there(struct own *o)
{
	iox_service_description_t found[2];
	uint64_t missed;

	if (o->discovery == NULL)
		o->discovery = iox_service_discovery_init(&o->discovery_memory);
	return iox_service_discovery_find_service(o->discovery, SERVICE, o->instance, "call", found,
						  2, &missed, MessagingPattern_REQ_RES) > 0;
}

static void announce(struct peer_end *e)
{
	struct own *o = e->own;

	if (o->server == NULL)
		start_server(o, false);
	iox_server_offer(o->server);
}

/*
 * Until RouDi has told all: or the next announcement would be of nothing new. And then some time
 * out of the 100 ms between its rounds, or all announcements would have to wait for a whole one.
 */
static void withdraw(struct peer_end *e)
{
	struct own *o = e->own;

	iox_server_stop_offer(o->server);
	while (is_there(o))
		nap(1000 * 1000);
	nap(o->rounds++ * 37 % 100 * 1000 * 1000);
}

static void watch(struct peer_end *e)
{
	struct own *o = e->own;

	is_there(o);
	if (o->set != NULL &&
	    iox_ws_attach_service_discovery_event(o->set, o->discovery,
						  ServiceDiscoveryEvent_SERVICE_REGISTRY_CHANGED, 0,
						  NULL) != WaitSetResult_SUCCESS)
		peer_fail("the WaitSet does not take the discovery of services");
}

static void told(struct peer_end *e)
{
	struct own *o = e->own;

	while (!is_there(o))
		wait_set(o);
}

const struct peer peer = {
	.name = "iceoryx",
	.what = "iceoryx 2.0, with a RouDi of its own",
	.package = "libiceoryx-binding-c-dev",
	.kind = PEER_OTHER,
	.can = PEER_CALL | PEER_SEND | PEER_MANY | PEER_FAN | PEER_CONNECT | PEER_APPEAR |
	       PEER_DEATH,
	.waits = PEER_SPIN | PEER_SLEEP,
	.prepare = prepare,
	.clean = clean,
	.begin = begin,
	.close = close_end,
	.serve = serve,
	.take = take,
	.give_back = give_back,
	.room = room,
	.answer = answer,
	.open = open_link,
	.loan = loan,
	.call = call,
	.release = release,
	.send = send,
	.announce = announce,
	.withdraw = withdraw,
	.watch = watch,
	.told = told,
};

#else

#include "bench/peers/peer.h"

PEER_ABSENT("iceoryx", "iceoryx 2.0, with a RouDi of its own", "libiceoryx-binding-c-dev");

#endif
