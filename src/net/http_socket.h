/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the HTTP server: a connection on its TCP socket, with TLS or without. State is list membership:
 * in `sockets` all, in `flush` those with something to send, in `warm` those that were busy lately. */
#pragma once

#include "net/address_count.h"
#include "net/http_connection.h"
#include "net/peer_connections.h"

struct http_server {
        struct http_service service;
        struct tls_config *tls;
        struct address_count *addresses;
        struct peer_connections *peers;
        struct list sockets, flush, warm;
        char *scratch; /* for reading and writing, by one socket at a time */
        uv_idle_t flusher;
        struct loop_timer *cooler;
        int listen_fd, spare_fd;
        uv_poll_t listener;
        struct loop_timer *grace;
        bool stopping, closing;
        unsigned open_handles;
        void (*done)(void *arg);
        void *done_arg;
};

#define HTTP_SCRATCH_BYTES (64 * 1024)

struct http_socket;

/* Takes the descriptor, whatever comes. */
void http_socket_open(struct http_server *s, int fd, const char *address);
void http_socket_flush_all(struct http_server *s); /* those in `flush` */
void http_socket_cool_all(struct http_server *s);  /* those in `warm` that were quiet since */
/* All: finish what is open and close. */
void http_socket_shut_down_all(struct http_server *s);
void http_socket_fail_all(struct http_server *s); /* soon, from the loop */
size_t http_socket_fail_peer(struct http_server *s, const char *spiffe_id);
/* The last socket of a stopping server is gone. */
void http_server_finish(struct http_server *s);
/* Has http_socket_flush_all() called soon. */
void http_server_flush_soon(struct http_server *s);
void http_server_cool_later(struct http_server *s);
