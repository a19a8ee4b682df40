/* SPDX-License-Identifier: Apache-2.0 */
/* Brings objects from the edge into the object store: the revision, then the files it names. Each is
 * verified against its digest while it is written; those that are there already are not asked for again,
 * so a fetch that was cut off goes on with the next object. Failures are tried again, with backoff and
 * jitter, until the fetch is freed. */
#pragma once

#include "agent/desired.h"
#include "net/http_client.h"
#include "net/loop.h"

struct fetch;
struct fetch_host {
        struct loop *loop;
        struct object_store *objects;
        /* The client and the address of a path on the edge at the moment (malloc'ed); false: there is no
         * edge to ask now, try later. */
        bool (*edge)(void *arg, const char *path, struct http_client **ret_client, char **ret_url);
        void *arg;
};
struct fetch_listener {
        /* Everything the source needs is in the store. Never called from within fetch_new(). */
        void (*ready)(void *arg);
        /* An object could not be had; it is tried again. */
        void (*delayed)(void *arg, const char *message);
        /* The revision itself is not usable: it will not become better. */
        void (*failed)(void *arg, const char *message);
        void *arg;
};

int fetch_new(const struct fetch_host *host, const struct source *s, const struct fetch_listener *listener,
              struct fetch **ret, struct err **err);
/* Try again now, without waiting (the edge is reachable again). */
void fetch_hurry(struct fetch *f);
struct fetch *fetch_free(struct fetch *f);
