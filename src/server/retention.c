/* SPDX-License-Identifier: Apache-2.0 */
#include "server/retention.h"

#include <errno.h>

#include "base/log.h"
#include "base/table.h"
#include "fleet/revision.h"
#include "repo/object_store.h"
#include "server/assignments.h"
#include "server/fleets.h"
#include "server/inventory.h"
#include "server/memory.h"
#include "server/revisions.h"
#include "server/rollouts.h"
#include "server/sources.h"

#define DAY_MS ((msec_t)24 * 3600 * 1000)
#define BUSY_RETRY_MS ((msec_t)60 * 1000)

struct retention {
        struct loop_timer *timer;
        bool running;
};

struct sweep { /* one run; its middle is on the worker pool */
        struct control *control;
        struct table *kept; /* digests of revisions, then of their files too */
        size_t removed;
        struct err *error;
        void (*done)(void *arg, size_t removed);
        void *arg;
};

static void keep(void *arg, const char *digest) {
        struct sweep *s = arg;
        if (digest && *digest)
                must_do(table_set(s->kept, digest, s));
}

/* What is in use, whatever its age. */
static void keep_used(struct sweep *s) {
        struct control *c = s->control;
        struct fleet *f;
        struct node *n;
        for (size_t i = 0; fleets_next(c, &i, &f);) {
                keep(s, fleet_desired(f) ? fleet_desired(f)->revision : NULL);
                keep(s, fleet_stable(f) ? fleet_stable(f)->revision : NULL);
        }
        for (size_t i = 0; inventory_next(c, &i, &n);) {
                keep(s, n->assigned ? n->assigned->revision : NULL);
                keep(s, n->fallback ? n->fallback->revision : NULL);
                /* What a node says may be anything: the digest of a file would end the run. */
                if (revisions_have(c, n->report.revision))
                        keep(s, n->report.revision);
        }
        rollouts_each_revision(c, keep, s);
}

static bool is_kept(void *arg, const char *sha256) {
        return table_get(arg, sha256) != NULL;
}

/* On a worker: the files of the kept revisions are kept too, the rest goes. A revision that cannot be read
 * ends the run: its files are not known. */
static void sweep_work(void *arg) {
        struct sweep *s = arg;
        _cleanup_(strv_freep) char **revisions = NULL;
        const char *digest;
        void *value;
        for (size_t i = 0; table_next(s->kept, &i, &digest, &value);)
                must_do(strv_push(&revisions, digest));
        for (size_t i = 0; revisions && revisions[i]; i++) {
                _cleanup_(revision_freep) struct revision *r = NULL;
                _cleanup_(x_freep) char *text = NULL;
                size_t len = 0;
                if (!object_store_has(s->control->objects, revisions[i]))
                        continue; /* reported by a node, unknown here */
                if (object_store_read(s->control->objects, revisions[i], REVISION_MAX, &text, &len,
                                      &s->error) < 0 ||
                    revision_decode(text, len, &r, &s->error) < 0)
                        return;
                for (size_t a = 0; a < r->n_apps; a++) {
                        for (size_t k = 0; k < r->apps[a].n_files; k++)
                                keep(s, r->apps[a].files[k].sha256);
                        for (size_t k = 0; k < r->apps[a].n_secrets; k++)
                                keep(s, r->apps[a].secrets[k].sha256);
                }
        }
        (void)object_store_sweep(s->control->objects, is_kept, s->kept, &s->removed, &s->error);
}

static void sweep_done(void *arg) {
        struct sweep *s = arg;
        struct control *c = s->control;
        char text[24];
        (void)snprintf(text, sizeof(text), "%zu", s->removed);
        c->retention->running = false;
        sources_hold(c, false);
        if (s->error)
                log_error("old objects could not be removed", "error", err_message(s->error), NULL);
        else
                log_info("removed objects that nobody needs any more", "objects", text, NULL);
        if (s->done)
                s->done(s->arg, s->removed);
        table_free(s->kept);
        err_free(s->error);
        free(s);
}

int retention_run(struct control *c, msec_t older_than_ms, void (*done)(void *arg, size_t removed),
                  void *arg) {
        if (c->retention->running || sources_busy(c))
                return -EBUSY;
        struct sweep *s = NEW(struct sweep);
        *s = (struct sweep){.control = c, .kept = must(table_new(NULL)), .done = done, .arg = arg};
        c->retention->running = true;
        /* A compile that finds an object present must not have it taken away afterwards. */
        sources_hold(c, true);
        keep_used(s);
        revisions_forget(c, control_now(c) - older_than_ms, s->kept);
        must_do(loop_work(c->loop, sweep_work, sweep_done, s));
        return 0;
}

static void due(void *arg) {
        struct control *c = arg;
        int r = retention_run(c, RETENTION_DAYS * DAY_MS, NULL, NULL);
        loop_timer_set(c->retention->timer, r == -EBUSY ? BUSY_RETRY_MS : DAY_MS);
}

void retention_start(struct control *c) {
        c->retention = NEW(struct retention);
        c->retention->timer = must(loop_timer_new(c->loop, due, c));
        loop_timer_set(c->retention->timer, DAY_MS / 24);
}

void retention_stop(struct control *c) {
        if (c->retention)
                c->retention->timer = loop_timer_free(c->retention->timer);
}

struct retention *retention_free(struct retention *r) {
        free(r);
        return NULL;
}
