// SPDX-License-Identifier: BSD-2-Clause
/*
 * boost - Boost.Interprocess message_queue, one into each server and one back to each client
 *
 * In shared memory, with a mutex and conditions that processes share. A message is copied into the
 * queue and out of it. Queues hold as many messages as the bare ring. A frame of 8 bytes says who
 * asks. Producers share the queue of their server; a publication is sent to one queue for each
 * subscriber. Spinning: try_send() and try_receive() in a loop.
 *
 * To connect is to open the two queues by their names; they are there before, and the server has
 * opened them both, which a program would have to arrange in a way of its own. Nobody learns of a
 * death (who dies inside leaves the mutex locked), and there is nothing that appears.
 */
#if __has_include(<boost/interprocess/ipc/message_queue.hpp>)

#include <boost/interprocess/ipc/message_queue.hpp>
#include <cstring>
#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

#include "bench/peers/lib_depth.h"
#include "bench/peers/lib_private.h"

using boost::interprocess::interprocess_exception;
using boost::interprocess::message_queue;

namespace
{

enum : size_t { FRAME = 8 };

struct own {
	std::vector<std::unique_ptr<message_queue>> to;
	std::unique_ptr<message_queue> from;
	// The data is aligned, with its frame in front of it.
	unsigned char *in, *out;
	bool spins;
};

own *own_of(peer_end *e)
{
	return static_cast<own *>(e->own);
}

// Of the parent: its children have the same names.
pid_t parent;

std::string name_of(const char *kind, uint32_t number)
{
	return "dcm-bench-" + std::to_string(parent) + "-" + kind + "-" + std::to_string(number);
}

void make(const peer_job *job, const std::string &name)
{
	message_queue queue(boost::interprocess::create_only, name.c_str(),
			    depth_of(job, FRAME + job->size), FRAME + job->size);
}

void clean(peer_job *job)
{
	for (uint32_t i = 0; i < job->servers; i++)
		message_queue::remove(name_of("server", i).c_str());
	for (uint32_t i = 0; i < job->clients; i++)
		message_queue::remove(name_of("client", i).c_str());
}

void prepare(peer_job *job)
{
	parent = getpid();
	private_names(job);
	try {
		for (uint32_t i = 0; i < job->servers; i++)
			make(job, name_of("server", i));
		for (uint32_t i = 0; i < job->clients; i++)
			make(job, name_of("client", i));
	} catch (const interprocess_exception &error) {
		clean(job);
		peer_fail("message_queue: %s", error.what());
	}
}

void begin(peer_end *e)
{
	own *o = new own();

	o->in = static_cast<unsigned char *>(peer_memory(64 + e->job->size)) + 64 - FRAME;
	o->out = static_cast<unsigned char *>(peer_memory(64 + e->job->size)) + 64 - FRAME;
	o->spins = e->job->wait == PEER_SPIN;
	e->own = o;
}

std::unique_ptr<message_queue> open_one(const std::string &name)
{
	try {
		return std::make_unique<message_queue>(boost::interprocess::open_only,
						       name.c_str());
	} catch (const interprocess_exception &error) {
		peer_fail("%s: %s", name.c_str(), error.what());
	}
}

void open_all(peer_end *e, const char *here, const char *there, uint32_t count)
{
	own *o = own_of(e);
	uint32_t first = count == 1 && e->job->servers > 1 ? e->number : 0;

	o->from = open_one(name_of(here, e->number));
	for (uint32_t i = 0; i < count; i++)
		o->to.push_back(open_one(name_of(there, first + i)));
}

void serve(peer_end *e)
{
	bool publication = e->job->what == PEER_FAN;

	open_all(e, "server", "client",
		 publication		? 0
		 : e->job->servers == 1 ? e->job->clients
					: 1);
}

void open_queues(peer_end *e)
{
	open_all(e, "client", "server", e->job->what == PEER_FAN ? e->job->servers : 1);
}

void close_queues(peer_end *e)
{
	own_of(e)->from.reset();
	own_of(e)->to.clear();
}

void put(const own *o, message_queue &queue, size_t size)
{
	if (o->spins)
		while (!queue.try_send(o->out, FRAME + size, 0))
			;
	else
		queue.send(o->out, FRAME + size, 0);
}

void take(peer_end *e, peer_message *m)
{
	own *o = own_of(e);
	message_queue::size_type got;
	unsigned priority;

	if (o->spins)
		while (!o->from->try_receive(o->in, FRAME + e->job->size, got, priority))
			;
	else
		o->from->receive(o->in, FRAME + e->job->size, got, priority);
	m->data = o->in + FRAME;
	m->size = got - FRAME;
	std::memcpy(&m->own[0], o->in, FRAME);
}

void loan(peer_end *e, size_t size, peer_message *m)
{
	uint64_t from = e->number;

	std::memcpy(own_of(e)->out, &from, FRAME);
	m->data = own_of(e)->out + FRAME;
	m->size = size;
}

void room(peer_end *e, peer_message *, size_t size, peer_message *reply)
{
	loan(e, size, reply);
}

void answer(peer_end *e, peer_message *request, peer_message *reply)
{
	own *o = own_of(e);

	put(o, *o->to[o->to.size() > 1 ? request->own[0] : 0], reply->size);
}

bool call(peer_end *e, peer_message *m, peer_message *reply)
{
	put(own_of(e), *own_of(e)->to[0], m->size);
	take(e, reply);
	return true;
}

void send_one(peer_end *e, peer_message *m, bool)
{
	for (auto &queue : own_of(e)->to)
		put(own_of(e), *queue, m->size);
}

struct peer describe()
{
	struct peer p = {};

	p.name = "boost";
	p.what = "Boost.Interprocess message_queue in shared memory";
	p.package = "libboost-dev";
	p.kind = PEER_OTHER;
	p.can = PEER_CALL | PEER_SEND | PEER_MANY | PEER_FAN | PEER_CONNECT;
	p.waits = PEER_SPIN | PEER_SLEEP;
	p.prepare = prepare;
	p.clean = clean;
	p.begin = begin;
	p.close = close_queues;
	p.serve = serve;
	p.take = take;
	p.room = room;
	p.answer = answer;
	p.open = open_queues;
	p.loan = loan;
	p.call = call;
	p.send = send_one;
	return p;
}

} // namespace

const struct peer peer = describe();

#else

#include "bench/peers/peer.h"

const struct peer peer = []() {
	struct peer p = {};

	p.name = "boost";
	p.what = "Boost.Interprocess message_queue in shared memory";
	p.package = "libboost-dev";
	p.kind = PEER_OTHER;
	return p;
}();

#endif
