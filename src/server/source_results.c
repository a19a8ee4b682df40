/* SPDX-License-Identifier: Apache-2.0 */
#include "server/source_results.h"

#include <string.h>

#include "server/fleet_record.h"
#include "server/git_status_poster.h"
#include "server/memory.h"
#include "server/rollout_record.h"

struct result {
        enum status_state state;
        char *description;
};

/* Where the API is, as seen from this machine's name. */
static char *target_url(const struct control *c, const char *kind, const char *name) {
        const char *listen = c->settings->api_listen, *colon = listen ? strrchr(listen, ':') : NULL;
        if (!colon || !c->settings->name)
                return NULL;
        return must(str_format("https://%s%s/api/v1/%s/%s", c->settings->name, colon, kind, name));
}

static void result_put(const struct control *c, json_t *out, const struct source_result *about,
                       const char *fleet, struct result r) {
        _cleanup_(x_freep) char *context = fleet ? must(str_format("skerry/%s/%s", about->source, fleet))
                                                 : must(str_format("skerry/%s", about->source)),
                                *target = target_url(c, fleet ? "fleets" : "sources",
                                                     fleet ? fleet : about->source);
        json_t *j = json_object_new();
        json_put(j, "commit", json_text(about->commit));
        json_put(j, "state", json_text(status_state_name(r.state)));
        json_put(j, "description", json_text(r.description));
        if (target)
                json_put(j, "target", json_text(target));
        json_put(out, context, j);
        free(r.description);
}

static struct result source_state(const struct source_result *about, size_t fleets) {
        if (about->failure)
                return (struct result){STATUS_FAILURE, must(str_dup(about->failure))};
        if (!about->is_compiled)
                return (struct result){STATUS_PENDING, must(str_dup("being compiled"))};
        return (struct result){STATUS_SUCCESS,
                               must(str_format("compiled: %zu fleet%s", fleets, fleets == 1 ? "" : "s"))};
}

static struct result rollout_state(const struct rollout_record *record) {
        const struct rollout *r = record->rollout;
        const char *reason = r && r->reason ? r->reason : NULL;
        if (r && (r->gave_up || r->phase == ROLLOUT_ROLLING_BACK))
                return (struct result){STATUS_FAILURE,
                                       must(str_format("%s%s%s", rollout_phase_name(r->phase),
                                                       reason ? ": " : "", reason ? reason : ""))};
        if (r && r->paused)
                return (struct result){STATUS_PENDING, must(str_format("paused%s%s", reason ? ": " : "",
                                                                       reason ? reason : ""))};
        if (r && r->phase == ROLLOUT_AWAITING_APPROVAL)
                return (struct result){STATUS_PENDING, must(str_dup("waits for approval"))};
        return (struct result){STATUS_PENDING, must(str_dup("rolling out"))};
}

static struct result fleet_state(const struct control *c, const struct fleet *f) {
        const struct rollout_record *active = rollouts_active(c, f->name),
                                    *latest = rollouts_latest(c, f->name);
        if (f->failed_key[0] && strcmp(f->failed_key, f->desired.key) == 0) {
                const struct rollout *r = latest ? latest->rollout : NULL;
                return (struct result){STATUS_FAILURE,
                                       must(str_format("the rollout failed%s%s", r && r->reason ? ": " : "",
                                                       r && r->reason ? r->reason : ""))};
        }
        if (active && strcmp(rollouts_target(active)->key, f->desired.key) == 0)
                return rollout_state(active);
        if (f->waits_for)
                return (struct result){STATUS_PENDING, must(str_format("waits: %s", f->waits_for))};
        if (strcmp(f->stable.key, f->desired.key) == 0)
                return (struct result){STATUS_SUCCESS,
                                       must(str_format("revision %.12s is rolled out", f->stable.revision))};
        return (struct result){STATUS_PENDING, must(str_dup("waits for its turn"))};
}

json_t *source_results(const struct control *c, const struct source_result *about) {
        json_t *out = json_object_new();
        struct fleet *f;
        size_t n = 0;
        if (!about->commit)
                return out;
        for (size_t i = 0; fleets_next(c, &i, &f);)
                n += str_eq(f->source, about->source);
        result_put(c, out, about, NULL, source_state(about, n));
        if (!about->is_compiled || about->failure)
                return out;
        for (size_t i = 0; fleets_next(c, &i, &f) && json_object_size(out) < STATUS_CONTEXTS_MAX;)
                if (str_eq(f->source, about->source) && fleet_desired(f))
                        result_put(c, out, about, f->name, fleet_state(c, f));
        return out;
}
