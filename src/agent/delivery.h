/* SPDX-License-Identifier: Apache-2.0 */
/* Brings to the node everything that a source needs, before anything of it is begun: the objects (revision
 * and files), the image role's word for its artifacts, and their payloads, unpacked and ready. What was
 * brought and vouched for before costs nothing: without any network it is ready at once.
 *
 * Artifacts come one after the other, so that a thin link finishes one rather than none. */
#pragma once

#include "agent/artifact_fetch.h"
#include "agent/fetch.h"
#include "agent/repository.h"

struct delivery;
struct delivery_host {
        struct fetch_host fetch;
        const char *node;
        /* NULL: this agent has no artifacts (tests); a source that names some is refused. */
        struct artifact_store *artifacts;
        struct repository *repository;
        struct artifact_fetch_host artifact;
};
struct delivery_listener {
        void (*ready)(void *arg);
        /* It does not go on at the moment, and is tried again. refused: not for want of a network: what was
         * assigned does not fit, and will not before assignment or repository change. */
        void (*delayed)(void *arg, const char *message, bool refused);
        /* The revision itself is not usable: it will not become better. */
        void (*failed)(void *arg, const char *message);
        void (*changed)(void *arg); /* progress */
        void *arg;
};

/* No listener is called from within. */
int delivery_new(const struct delivery_host *host, const struct source *s,
                 const struct delivery_listener *listener, struct delivery **ret, struct err **err);
/* Try again now, without waiting (the edge is reachable again, something was imported). */
void delivery_hurry(struct delivery *d);
struct delivery *delivery_free(struct delivery *d);
/* Are all payloads that the source names there? */
bool delivery_has_artifacts(const struct delivery_host *host, const struct source *s);

struct delivery_artifact {
        const char *name, *version;
        struct artifact_fetch_progress progress;
};
/* Artifacts of the source: for (size_t i = 0; delivery_artifact(d, i, &a); i++) */
bool delivery_artifact(const struct delivery *d, size_t i, struct delivery_artifact *ret);
