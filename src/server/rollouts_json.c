/* SPDX-License-Identifier: Apache-2.0 */
/* Rollouts as the database keeps them and as the API shows them (docs/api.md, "Shapes"). */
#include <errno.h>
#include <string.h>

#include "base/table.h"
#include "codec/json.h"
#include "fleet/rollout.h"
#include "server/assignments.h"
#include "server/rollout_record.h"
#include "server/shapes.h"

static json_t *members_from_rows(const struct db_rows *rows) {
        json_t *list = json_array_new();
        for (size_t i = 0; rows && i < db_rows_len(rows); i++) {
                json_t *j = NULL;
                const char *text = db_text(rows, i, 0);
                if (text && json_decode(text, strlen(text), &j, NULL) == 0)
                        json_add(list, j);
        }
        return list;
}

int rollout_record_read(const char *state, const struct db_rows *rows, struct rollout **ret,
                        struct err **err) {
        json_t *j = NULL;
        int r = state ? json_decode(state, strlen(state), &j, err) : err_set(err, EINVAL, "no state");
        if (r < 0)
                return r;
        json_t *members = members_from_rows(rows);
        r = rollout_from_json(j, members, ret, err);
        json_decref(members);
        json_decref(j);
        return r;
}

enum rollout_phase rollout_record_phase(const char *state) {
        json_t *j = NULL;
        enum rollout_phase phase = ROLLOUT_FAILED;
        if (json_decode(state, strlen(state), &j, NULL) < 0)
                return phase;
        const char *name = json_string_value(json_object_get(j, "phase"));
        if (name)
                (void)rollout_phase_from_name(name, &phase);
        json_decref(j);
        return phase;
}

/* Times leave as RFC 3339; the state machine keeps milliseconds, 0 for "not yet". */
static void times_show(json_t *j) {
        static const char *const times[] = {"createdAt", "startedAt",  "finishedAt", "soakUntil", "healthyAt",
                                            "passedAt",  "since",      "accepted",   "offered",   "deadline",
                                            "goneAt",    "acceptedAt", "offeredAt",  "at"};
        for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
                const json_t *value = json_object_get(j, times[i]);
                if (json_is_integer(value))
                        json_put(j, times[i], json_time(json_integer_value(value)));
        }
}

static void move(json_t *from, json_t *to, const char *key) {
        json_t *value = json_object_get(from, key);
        if (!value)
                return;
        must_do(json_object_set(to, key, value));
        json_object_del(from, key);
}

/* Members show what matters to people; the rest is the state machine's memory. */
static void members_show(json_t *status) {
        static const char *const shown[] = {"node", "wave", "state", "reason", "since", "connected"};
        json_t *members = json_object_get(status, "members"), *member, *list;
        size_t i;
        if (!members)
                return;
        list = json_array_new();
        json_array_foreach (members, i, member) {
                json_t *j = json_object_new();
                times_show(member);
                for (size_t k = 0; k < ARRAY_SIZE(shown); k++) {
                        json_t *value = json_object_get(member, shown[k]);
                        json_put(j, shown[k], value ? json_incref(value) : json_text(NULL));
                }
                json_add(list, j);
        }
        json_put(status, "members", list);
}

/* Takes state, the flat object of rollout_to_json(). */
static json_t *record_show(const struct rollout_record *r, json_t *state) {
        json_t *metadata = json_object_new(), *spec = json_object_new(), *wave;
        size_t i;
        json_put(metadata, "name", json_text(r->id));
        json_put(metadata, "createdAt", json_time(r->created_at));
        json_put(spec, "fleet", json_text(r->fleet));
        json_put(spec, "revision", json_text(r->target.revision));
        json_put(spec, "source", json_text(r->target.source));
        json_put(spec, "commit", json_text(r->target.commit));
        json_put(spec, "commitSubject", json_text(r->target.subject));
        json_put(spec, "commitAuthor", json_text(r->target.author));
        move(state, spec, "policy");
        json_object_del(state, "id");
        json_object_del(state, "fleet");
        json_object_del(state, "revision");
        json_object_del(state, "createdAt");
        times_show(state);
        json_array_foreach (json_object_get(state, "waves"), i, wave)
                times_show(wave);
        json_array_foreach (json_object_get(state, "approvals"), i, wave)
                times_show(wave);
        members_show(state);
        return shape("Rollout", metadata, spec, state);
}

static json_t *record_state(const struct rollout_record *r, bool with_members) {
        json_t *j = NULL;
        if (r->rollout)
                return must(rollout_to_json(r->rollout, with_members));
        if (!r->state_text || json_decode(r->state_text, strlen(r->state_text), &j, NULL) < 0)
                j = json_object_new();
        return j;
}

json_t *rollouts_one_json(const struct rollout_record *r, const struct db_rows *members) {
        json_t *state = record_state(r, true);
        if (!r->rollout && members) {
                /* Through the state machine, which says waves by name as it does for those in memory. */
                struct rollout *read = NULL;
                if (rollout_record_read(r->state_text, members, &read, NULL) == 0) {
                        json_decref(state);
                        state = must(rollout_to_json(read, true));
                }
                rollout_free(read);
        }
        return record_show(r, state);
}

json_t *rollouts_json(const struct control *c, const char *fleet, bool only_active) {
        json_t *list = json_array_new();
        const char *id;
        void *value;
        for (size_t i = 0; table_next(c->rollouts->all, &i, &id, &value);) {
                const struct rollout_record *r = value;
                bool active = r->rollout && !rollout_phase_is_final(r->rollout->phase);
                if ((!fleet || str_eq(fleet, r->fleet)) && (!only_active || active))
                        must_do(json_array_insert_new(list, 0, record_show(r, record_state(r, false))));
        }
        return list;
}

json_t *rollouts_transfer_json(const struct control *c, const struct rollout_record *r) {
        int64_t nodes = 0, predicted = 0, fetched = 0, total = 0;
        json_t *ways = json_object_new();
        struct node *n;
        for (size_t i = 0; inventory_next(c, &i, &n);) {
                if (!n->assigned || !str_eq(n->assigned->rollout, r->id) || n->report.artifacts.n == 0)
                        continue;
                nodes++;
                for (size_t k = 0; k < n->report.artifacts.n; k++) {
                        const struct report_artifact *a = &n->report.artifacts.items[k];
                        predicted += a->predicted;
                        fetched += a->fetched;
                        total += a->total;
                        if (a->way)
                                json_put(ways, a->way,
                                         json_number(json_integer_value(json_object_get(ways, a->way)) + 1));
                }
        }
        if (nodes == 0) {
                json_decref(ways);
                return NULL;
        }
        json_t *j = json_object_new();
        json_put(j, "nodes", json_number(nodes));
        json_put(j, "bytesPredicted", json_number(predicted));
        json_put(j, "bytesFetched", json_number(fetched));
        json_put(j, "bytesTotal", json_number(total));
        json_put(j, "ways", ways);
        return j;
}
