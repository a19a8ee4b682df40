/* SPDX-License-Identifier: Apache-2.0 */
#include "server/control.h"

#include <errno.h>

#include "base/fs.h"
#include "base/log.h"
#include "repo/object_store.h"
#include "server/assignments.h"
#include "server/audit.h"
#include "server/authority.h"
#include "server/catalog_reader.h"
#include "server/delta_worker.h"
#include "server/director.h"
#include "server/fleets.h"
#include "server/inventory.h"
#include "server/memory.h"
#include "server/migrations.h"
#include "server/notify.h"
#include "server/relays.h"
#include "server/repository.h"
#include "server/retention.h"
#include "server/revisions.h"
#include "server/rollouts.h"
#include "server/sources.h"
#include "server/tokens.h"

#define HEARTBEAT_MS 60000 /* how exactly the length of a downtime is known */

static void heartbeat(void *arg) {
        struct control *c = arg;
        turns_write(c->turns,
                    "INSERT INTO settings (key, value) VALUES ('heartbeat', $1) "
                    "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                    "s", time_format(control_now(c), (char[TIME_TEXT_SIZE]){0}));
        tokens_prune(c);
        audit_take_pending(c);
        loop_timer_set(c->heartbeat, HEARTBEAT_MS);
}

static msec_t last_heartbeat(struct control *c) {
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        msec_t t = 0;
        if (db_query_now(c->db, &rows, NULL, "SELECT value FROM settings WHERE key = 'heartbeat'", "") < 0 ||
            db_rows_len(rows) == 0 || !db_text(rows, 0, 0) || time_parse(db_text(rows, 0, 0), &t) < 0)
                return 0;
        return t;
}

static int control_load(struct control *c, struct err **err) {
        const struct settings *s = c->settings;
        _cleanup_(x_freep) char *database = must(str_format("sqlite:%s/skerry.db", s->state)),
                                *store = must(path_join(s->state, "store"));
        int r = authority_open(s->state, s->domain, s->passphrase, s->bundle_sequence, control_now(c),
                               &c->authority, err);
        if (r >= 0)
                r = object_store_open(store, 0, &c->objects, err);
        if (r >= 0)
                r = db_open(c->loop, database, migrations, migrations_len, &c->db, err);
        if (r < 0)
                return r;
        c->turns = turns_new(c->loop, c->db);
        r = events_open(c->loop, c->db, c->turns, &c->events, err);
        /* In this order: each finds what it refers to. */
        static int (*const open[])(struct control *, struct err **) = {
                audit_open,     tokens_open,     inventory_open, relays_open,         assignments_open,
                revisions_open, repository_open, director_open,  catalog_reader_open, delta_worker_open,
                fleets_open,    notify_open,     rollouts_open,  sources_open,
        };
        for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(open); i++)
                r = open[i](c, err);
        return r;
}

int control_open(struct loop *l, const struct settings *s, struct control **ret, struct err **err) {
        struct control *c = NEW(struct control);
        c->loop = l;
        c->clock = loop_clock(l);
        c->settings = s;
        int r = control_load(c, err);
        if (r < 0) {
                control_close(c);
                control_free(c);
                return r;
        }
        c->heartbeat = must(loop_timer_new(l, heartbeat, c));
        *ret = c;
        return 0;
}

void control_start(struct control *c) {
        msec_t last = last_heartbeat(c), now = control_now(c);
        rollouts_start(c, last > 0 && now > last ? now - last : 0);
        repository_start(c);
        catalog_reader_start(c);
        director_start(c);
        sources_start(c);
        retention_start(c);
        heartbeat(c);
}

void control_close(struct control *c) {
        if (c->sources)
                sources_stop(c);
        retention_stop(c);
        catalog_reader_stop(c);
        delta_worker_stop(c);
        repository_stop(c);
        if (c->assignments)
                assignments_stop(c);
        if (c->rollouts)
                rollouts_stop(c);
        notify_stop(c);
        if (c->events)
                events_stop(c->events);
        c->heartbeat = loop_timer_free(c->heartbeat);
        if (c->turns)
                turns_finish(c->turns);
        c->db = db_close(c->db);
}

struct control *control_free(struct control *c) {
        if (!c)
                return NULL;
        turns_free(c->turns);
        retention_free(c->retention);
        sources_free(c->sources);
        delta_worker_free(c->delta_worker);
        catalog_reader_free(c->catalog_reader);
        director_free(c->director);
        rollouts_free(c->rollouts);
        fleets_free(c->fleets);
        revisions_free(c->revisions);
        assignments_free(c->assignments);
        inventory_free(c->inventory);
        relays_free(c->relays);
        tokens_free(c->tokens);
        notify_free(c->notify);
        audit_free(c->audit);
        events_free(c->events);
        repository_free(c->repository);
        object_store_free(c->objects);
        authority_free(c->authority);
        free(c);
        return NULL;
}
