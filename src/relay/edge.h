/* SPDX-License-Identifier: Apache-2.0 */
/* The edge interface: everything that faces nodes (docs/protocol.md). skerry-relay serves it in a region,
 * skerry-server embeds it; nodes cannot tell the difference.
 *
 * The edge speaks HTTP with nodes (and with relays, when a server embeds it), knows who is connected,
 * and fans events out. What it cannot answer itself it asks its backend: the server's core, or a
 * relay's upstream link. All calls and callbacks happen on the loop's thread. */
#pragma once

#include <jansson.h>

#include "crypto/spiffe_id.h"
#include "net/http_server.h"

struct edge;
struct repository_path;

/* Answers a backend request, once, now or later: status 200 with a JSON body (reference taken), or an
 * HTTP error status with code and message. */
struct edge_reply;
void edge_reply_json(struct edge_reply *r, json_t *body);
void edge_reply_error(struct edge_reply *r, int status, const char *code, const char *message);

struct edge_peer {        /* who speaks */
        const char *name; /* node or relay name */
        bool is_relay;
        const char *serial; /* of its certificate; NULL for a node behind a relay: judge by its name */
        const char *address;
};

/* What somebody wants of the repository (docs/formats/repository.md). Borrowed until the call returns. */
struct edge_repository_request {
        const char *path;                    /* below the published folder */
        const struct repository_path *named; /* what it names */
        const char *range;                   /* a Range field that holds for it; NULL: all of it */
        bool head;                           /* its length is enough */
        bool fresh;                          /* what is kept may be old or damaged: look again */
        bool only_if_cached;                 /* from another relay: nothing is fetched for it */
};
struct edge_repository_file {
        int error;      /* 0; -ENOENT: there is none; -ENODEV: nor any other file, for there is no repository;
                           -EHOSTUNREACH: not here, and nobody to be asked;      -EINPROGRESS:        on its way,
                           ask      again; -ENOSPC: here it cannot be kept, take it by `block`
                         */
        int fd;         /* taken; what was asked for can be read from it */
        int64_t length; /* of the whole */
        const char *etag; /* without quotes */
        bool immutable;
        const char *message; /* in words; may be NULL */
};

struct edge_backend {
        void *arg;
        /* Join token + CSR, from a machine without a certificate. */
        void (*enrol)(void *arg, const json_t *request, const char *address, struct edge_reply *reply);
        /* New certificate against proof of the old key; may come through a relay. */
        void (*renew)(void *arg, const json_t *request, struct edge_reply *reply);
        /* The serial number of the certificate with which a node connects here, told right before its
         * presence. May be NULL. */
        void (*certificate)(void *arg, const char *node, const char *serial);
        /* A node came or went. via: the relay's name, or NULL when it is connected here. version: the
         * assignment it holds already (0: none). Disconnects carry version 0. */
        void (*presence)(void *arg, const char *node, bool connected, const char *via, const char *address,
                         int64_t version);
        /* A node's status report (docs/protocol.md); validated only as a JSON object. */
        void (*status)(void *arg, const char *node, const char *via, const json_t *status);
        /* Calls done(done_arg, 0) once all that presence and status were given so far is durable, or with
         * -Exxx when it was lost; only then is the peer told that it has been heard. NULL: heard is enough.
         */
        void (*settle)(void *arg, void (*done)(void *done_arg, int error), void *done_arg);
        /* A relay's own link came or went (server only; may be NULL). */
        void (*relay_presence)(void *arg, const char *relay, bool connected, const char *address);
        /* Opens an object by digest: calls done once with a descriptor or -Exxx (-ENOENT: unknown,
         * -EHOSTUNREACH: not in the cache and upstream away). */
        void (*object)(void *arg, const char *sha256, void (*done)(void *done_arg, int fd), void *done_arg);
        /* A file of the artifact repository: calls done once, maybe at once. NULL: there is no repository. */
        void (*repository)(void *arg, const struct edge_repository_request *q,
                           void (*done)(void *done_arg, const struct edge_repository_file *f),
                           void *done_arg);
        /* Up to EDGE_BLOCK_MAX bytes of it from an offset on, straight from its origin: error and bytes (some
         * of what was asked for, borrowed until done returns). NULL where -ENOSPC above is never said. */
        void (*repository_block)(void *arg, const char *path, int64_t offset, size_t n,
                                 void (*done)(void *done_arg, int error, const char *p, size_t n),
                                 void *done_arg);
        /* May this certificate still speak? false: revoked or unknown. */
        bool (*admit)(void *arg, const struct edge_peer *peer);
        /* Trust bundle and assignment keys as the protocol's "bundle" body; new reference or NULL. */
        json_t *(*bundle)(void *arg);
};

#define EDGE_BLOCK_MAX ((size_t)512 << 10)
/* Answers that go by `repository_block` at a time; more are answered 503. */
#define EDGE_PASSING_MAX 16

struct edge_options {
        const char *address;    /* "127.0.0.1:8444" */
        struct tls_config *tls; /* TLS_PEER_OPTIONAL: enrolment has no certificate yet */
        const char *trust_domain;
        msec_t heartbeat_ms; /* 0: 240 s */
        bool accept_relays;  /* server: true */
        struct http_limits limits;
};

/* Reports that are taken of one node in a window of time; more are answered 429, for each is written to a
 * disk somewhere. An agent sends one after the other, and rarely. */
#define EDGE_REPORTS_MAX 300
#define EDGE_REPORTS_WINDOW_MS 10000

/* Enrolments and renewals that may wait for the backend at a time; more are answered 503. */
#define EDGE_PENDING_MAX 256

int edge_start(struct loop *l, const struct edge_options *o, const struct edge_backend *backend,
               struct edge **ret, struct err **err);
uint16_t edge_port(const struct edge *e);
/* Graceful: events streams end, other exchanges get a moment; frees, then done(). The backend hears of no
 * presence any more; replies it still owes may come after and are dropped. */
void edge_stop(struct edge *e, void (*done)(void *arg), void *arg);

/* Sends an event line to a node wherever it is connected (directly or through a relay): `type` of the
 * protocol, body (reference taken; "type" and, through a relay, "node" are added). false: not connected
 * now. Lines to a stalled peer are bounded: the newest assignment replaces older ones. */
bool edge_send(struct edge *e, const char *node, const char *type, json_t *body);
/* To every directly connected peer (and so, through relays, to all). */
void edge_broadcast(struct edge *e, const char *type, json_t *body);
/* To every relay that is connected. */
void edge_send_relays(struct edge *e, const char *type, json_t *body);
/* Closes a peer's connections (revocation): a node's anywhere, or a relay's. */
void edge_drop(struct edge *e, enum identity_kind kind, const char *name);

struct edge_stats {
        uint64_t nodes_direct, nodes_via_relay, relays, events_sent, status_received, objects_served;
        uint64_t repository_served; /* answers with content */
        struct http_server_stats http;
};
void edge_stats(const struct edge *e, struct edge_stats *ret);
