/* SPDX-License-Identifier: Apache-2.0 */
/* The control plane: what the modules of this folder share.
 *
 * Memory is the truth while the process lives, loaded from the database at start; every change goes
 * through turns.h, so that nobody is told of what could still be lost. Modules are by noun, all on the
 * loop's thread:
 *
 *   sources -> (worker: git_fetch, compile_job) -> fleets -> rollouts -> assignments -> edge
 *                                                  ^                        |
 *   edge -> edge_backend -> inventory ------------ + -- reports ----------- +
 */
#pragma once

#include "net/loop.h"
#include "server/events.h"
#include "server/settings.h"
#include "server/turns.h"

struct audit;
struct authority;
struct assignments;
struct catalog_reader;
struct delta_worker;
struct director;
struct edge;
struct fleets;
struct http_server;
struct inventory;
struct notify;
struct object_store;
struct relays;
struct repository;
struct retention;
struct revisions;
struct rollouts;
struct sources;
struct tokens;

struct control {
        struct loop *loop;
        const struct clock *clock;
        const struct settings *settings;
        struct db *db;
        struct turns *turns;
        struct events *events;
        struct audit *audit;
        struct notify *notify; /* NULL: nobody is told */
        struct authority *authority;
        struct tokens *tokens;
        struct inventory *inventory;
        struct relays *relays;
        struct assignments *assignments;
        struct revisions *revisions;
        struct fleets *fleets;
        struct rollouts *rollouts;
        struct sources *sources;
        struct retention *retention;           /* set by control_start() */
        struct catalog_reader *catalog_reader; /* as director */
        struct delta_worker *delta_worker;     /* NULL: there is no repository that we may write */
        struct director *director;             /* NULL: there is no repository */
        struct repository *repository;         /* NULL: there is none */
        struct object_store *objects;
        struct edge *edge;       /* set once it listens */
        struct http_server *api; /* set once it listens */
        struct loop_timer *heartbeat;
        unsigned hooks; /* webhooks that are being read */
};

/* Opens the state and loads everything; nothing listens yet. */
int control_open(struct loop *l, const struct settings *s, struct control **ret, struct err **err);
/* Begins to act: polls sources, goes on with rollouts. The edge and the API are up. */
void control_start(struct control *c);
/* The end has two steps. loop_run() has returned: writes what is left, closes the database and lets go of the
 * loop. */
void control_close(struct control *c);
/* After the loop is freed, which may still call what was posted to it. */
struct control *control_free(struct control *c);

static inline msec_t control_now(const struct control *c) {
        return clock_wall_ms(c->clock);
}
