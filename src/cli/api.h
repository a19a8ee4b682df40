/* SPDX-License-Identifier: Apache-2.0 */
/* The server's REST API (docs/api.md) as the commands see it.
 *
 * Errors are told for people: where the server was looked for and what to try. Their codes:
 * -EHOSTUNREACH: no answer, or not from the server we trust (EXIT_UNREACHABLE); -EKEYREJECTED: the token does
 * not do (EXIT_FORBIDDEN); -ENOENT: 404; -EBUSY: 409; -ENODATA: it wants a reason (reason.h); -EINVAL: other
 * refusals; -EPROTO: an answer we do not understand. */
#pragma once

#include <jansson.h>

#include "base/buf.h"
#include "cli/context.h"
#include "net/loop.h"

struct api;

/* Resolves the context; does not connect yet. */
int api_open(const struct cli_globals *g, struct api **ret, struct err **err);
struct api *api_free(struct api *a);
DEFINE_CLEANUP(struct api, api_free)
const char *api_server(const struct api *a);
struct loop *api_loop(struct api *a);

/* Appends "segment" with what a path or query value cannot hold percent-encoded. */
void url_put(struct buf *out, const char *segment);

/* One call, waited for. path comes after "/api/v1" and is encoded already. body and ret may be NULL; *ret is
 * a new reference (JSON null for 204). */
int api_call(struct api *a, const char *method, const char *path, const json_t *body, json_t **ret,
             struct err **err);
/* As api_call(), for answers that may take long without a byte (waiting for a fetch): no stall limit. */
int api_call_slow(struct api *a, const char *method, const char *path, const json_t *body, json_t **ret,
                  struct err **err);

/* GET for an answer that is no JSON: malloc'ed bytes, NUL-terminated. */
int api_get_bytes(struct api *a, const char *path, char **ret_data, size_t *ret_len, struct err **err);

/* The same on a running loop: done() is called once with the answer or an error, both borrowed. */
typedef void (*api_done_fn)(void *arg, const json_t *answer, const struct err *error);
int api_get(struct api *a, const char *path, api_done_fn done, void *arg, struct err **err);

/* Follows GET path as server-sent events while the loop runs; reconnects with backoff and goes on after the
 * last event seen. The first connection must succeed: on_end is called with an error when it does not, or
 * when the server refuses; otherwise lost connections are told by on_lost (may be NULL) and mended. */
struct api_stream;
struct api_stream_handler {
        void (*on_event)(void *arg, const char *type, const json_t *event);
        void (*on_open)(void *arg);                          /* connected, again perhaps; may be NULL */
        void (*on_lost)(void *arg, const struct err *error); /* trying again */
        void (*on_end)(void *arg, const struct err *error);  /* nothing comes after it */
        void *arg;
};
int api_stream_open(struct api *a, const char *path, const struct api_stream_handler *h,
                    struct api_stream **ret, struct err **err);
struct api_stream *api_stream_free(struct api_stream *s);
DEFINE_CLEANUP(struct api_stream, api_stream_free)
