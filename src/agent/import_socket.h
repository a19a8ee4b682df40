/* SPDX-License-Identifier: Apache-2.0 */
/* How `skerry-agent import` speaks to an agent that runs: <state>/import.sock, a stream socket for root and
 * the agent's own user alone. The command sends one line, {"folder":"/media/usb"}; the agent answers with
 * lines
 * {"say":text} and in the end {"error":0|-Exxx,"message":text|null}. One import at a time. */
#pragma once

#include "agent/import.h"

struct import_socket;
/* host.say, done and report_arg are filled in here. -EADDRINUSE and friends: imports have to wait until the
 * agent is stopped. */
int import_socket_listen(const struct import_host *host, const char *state, struct import_socket **ret,
                         struct err **err);
struct import_socket *import_socket_free(struct import_socket *s);

/* The command's side: prints what is said, returns the exit code. Blocking. -ECONNREFUSED, -ENOENT: no agent
 * listens. */
int import_socket_ask(const char *state, const char *folder, struct err **err);
