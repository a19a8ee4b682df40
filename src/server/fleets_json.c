/* SPDX-License-Identifier: Apache-2.0 */
/* Fleets and apps as the API shows them (docs/api.md, "Shapes"). One pass over the nodes counts for all. */
#include <string.h>

#include "base/table.h"
#include "server/assignments.h"
#include "server/fleet_record.h"
#include "server/rollouts.h"
#include "server/shapes.h"

struct counts {
        int64_t nodes, connected, healthy, updated, deferred, failed, blocked;
};

static void count_node(struct counts *k, const struct fleet *f, const struct node *n) {
        const struct report *r = &n->report;
        bool is_updated = f->desired.revision[0] && str_eq(r->revision, f->desired.revision);
        k->nodes++;
        k->connected += n->connected;
        k->healthy += r->has_state && r->state == MEMBER_HEALTHY;
        k->failed += r->has_state && (r->state == MEMBER_FAILED || r->state == MEMBER_ROLLED_BACK);
        k->updated += is_updated;
        k->blocked += n->blocked != NULL;
}

static json_t *fleet_json(const struct control *c, const struct fleet *f, const struct counts *k) {
        json_t *metadata = json_object_new(), *spec = json_object_new(), *status = json_object_new();
        static const char *const shown[] = {"selector", "rolloutPolicy", "policy", "apps", "variables"};
        json_put(metadata, "name", json_text(f->name));
        json_put(metadata, "labels", must(json_deep_copy(json_object_get(f->spec, "labels"))));
        for (size_t i = 0; i < ARRAY_SIZE(shown); i++) {
                json_t *member = json_object_get(f->spec, shown[i]);
                json_put(spec, shown[i], member ? must(json_deep_copy(member)) : json_text(NULL));
        }
        const struct rollout_record *latest = rollouts_latest(c, f->name);
        json_put(status, "nodes", json_number(k->nodes));
        json_put(status, "connected", json_number(k->connected));
        json_put(status, "healthy", json_number(k->healthy));
        json_put(status, "updated", json_number(k->updated));
        json_put(status, "deferred", json_number(latest ? rollouts_deferred(latest) : 0));
        json_put(status, "failed", json_number(k->failed));
        json_put(status, "stableRevision", json_text(f->stable.revision[0] ? f->stable.revision : NULL));
        json_put(status, "desiredRevision", json_text(f->desired.revision[0] ? f->desired.revision : NULL));
        json_put(status, "rollout", json_text(latest ? rollouts_id(latest) : NULL));
        json_put(status, "waitsFor", json_text(f->waits_for));
        json_put(status, "blocked", json_number(k->blocked));
        json_put(status, "source", json_text(f->source));
        json_put(status, "commit", json_text(f->desired.commit));
        json_t *pinned = json_text(NULL);
        if (f->pin.at) {
                json_decref(pinned);
                pinned = json_object_new();
                json_put(pinned, "by", json_text(f->pin.by));
                json_put(pinned, "reason", json_text(f->pin.reason));
                json_put(pinned, "at", json_time(f->pin.at));
                json_put(pinned, "gitRevision", json_text(f->pin.git.revision));
                json_put(pinned, "gitCommit", json_text(f->pin.git.commit));
        }
        json_put(status, "pinned", pinned);
        return shape("Fleet", metadata, spec, status);
}

json_t *fleets_json(const struct control *c, const struct fleet *only) {
        _cleanup_(table_freep) struct table *all = must(table_new(free));
        json_t *list = json_array_new();
        struct fleet *f;
        struct node *n;
        for (size_t i = 0; fleets_next(c, &i, &f);)
                if (!only || f == only)
                        must_do(table_set(all, f->name, NEW(struct counts)));
        for (size_t i = 0; inventory_next(c, &i, &n);) {
                struct counts *k = n->fleet ? table_get(all, fleet_name(n->fleet)) : NULL;
                if (k)
                        count_node(k, n->fleet, n);
        }
        for (size_t i = 0; fleets_next(c, &i, &f);)
                if (!only || f == only)
                        json_add(list, fleet_json(c, f, table_get(all, f->name)));
        return list;
}

/* ---- apps: those that fleets want, with what their nodes report of them */

struct app_counts {
        const char *fleet, *name;
        const char *driver;
        int64_t nodes, healthy, failed, progressing, restarts, drift;
};

static char *app_key(const char *fleet, const char *app) {
        return must(str_format("%s/%s", fleet, app));
}

static void count_app(struct app_counts *k, const struct report_app *a) {
        k->nodes++;
        k->restarts += a->restarts;
        k->drift += a->drift_corrected;
        switch (a->state) {
        case MEMBER_HEALTHY: k->healthy++; break;
        case MEMBER_FAILED:
        case MEMBER_ROLLED_BACK: k->failed++; break;
        case MEMBER_PENDING:
        case MEMBER_OFFERED:
        case MEMBER_DOWNLOADING:
        case MEMBER_STAGED:
        case MEMBER_WAITING_WINDOW:
        case MEMBER_APPLYING:
        case MEMBER_CONFIRMING:
        case MEMBER_TIMED_OUT:
        case MEMBER_DEFERRED:
        default: k->progressing++; break;
        }
}

static json_t *app_json(const struct app_counts *k) {
        json_t *metadata = json_object_new(), *spec = json_object_new(), *status = json_object_new();
        json_put(metadata, "name", json_text(k->name));
        json_put(spec, "fleet", json_text(k->fleet));
        json_put(spec, "driver", json_text(k->driver));
        json_put(status, "nodes", json_number(k->nodes));
        json_put(status, "healthy", json_number(k->healthy));
        json_put(status, "progressing", json_number(k->progressing));
        json_put(status, "failed", json_number(k->failed));
        json_put(status, "restarts", json_number(k->restarts));
        json_put(status, "driftCorrected", json_number(k->drift));
        return shape("App", metadata, spec, status);
}

json_t *fleets_apps_json(const struct control *c, const char *fleet, const char *app) {
        _cleanup_(table_freep) struct table *all = must(table_new(free));
        json_t *list = json_array_new();
        struct fleet *f;
        struct node *n;
        for (size_t i = 0; fleets_next(c, &i, &f);) {
                if (fleet && !str_eq(fleet, f->name))
                        continue;
                size_t k;
                const json_t *name;
                json_array_foreach (json_object_get(f->spec, "apps"), k, name) {
                        const char *text = json_string_value(name);
                        if (!text || (app && !str_eq(app, text)))
                                continue;
                        _cleanup_(x_freep) char *key = app_key(f->name, text);
                        struct app_counts *counts = NEW(struct app_counts);
                        counts->fleet = f->name;
                        counts->name = text;
                        counts->driver =
                                json_string_value(json_object_get(json_object_get(f->spec, "drivers"), text));
                        must_do(table_set(all, key, counts));
                }
        }
        for (size_t i = 0; inventory_next(c, &i, &n);)
                for (size_t k = 0; n->fleet && k < n->report.n_apps; k++) {
                        _cleanup_(x_freep) char *key = app_key(fleet_name(n->fleet), n->report.apps[k].name);
                        struct app_counts *counts = table_get(all, key);
                        if (counts)
                                count_app(counts, &n->report.apps[k]);
                }
        const char *key;
        void *value;
        for (size_t i = 0; table_next(all, &i, &key, &value);)
                json_add(list, app_json(value));
        return list;
}
