/* SPDX-License-Identifier: Apache-2.0 */
#include "server/rollouts.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/random.h"
#include "base/table.h"
#include "codec/json.h"
#include "fleet/revision.h"
#include "fleet/rollout.h"
#include "server/assignments.h"
#include "server/revisions.h"
#include "server/rollout_record.h"
#include "server/shapes.h"

/* After a start, nodes have this long to connect again before they count as away. */
#define SETTLE_MS 30000
#define TICK_MAX_MS 60000 /* wall time may jump: look again at least this often */

static int record_step(struct control *c, struct rollout_record *r, const struct rollout_event *event,
                       const char *actor, struct err **err);

static void record_destroy(void *p) {
        struct rollout_record *r = p;
        free(r->fleet);
        free(r->state_text);
        target_done(&r->target);
        rollout_free(r->rollout);
        free(r);
}

static bool record_is_active(const struct rollout_record *r) {
        return r->rollout && !rollout_phase_is_final(r->rollout->phase);
}

struct rollout_record *rollouts_find(const struct control *c, const char *id) {
        return id ? table_get(c->rollouts->all, id) : NULL;
}

struct rollout_record *rollouts_latest(const struct control *c, const char *fleet) {
        return table_get(c->rollouts->latest, fleet);
}

struct rollout_record *rollouts_active(const struct control *c, const char *fleet) {
        struct rollout_record *r = rollouts_latest(c, fleet);
        return r && record_is_active(r) ? r : NULL;
}

const char *rollouts_id(const struct rollout_record *r) {
        return r->id;
}
const char *rollouts_wave(const struct rollout_record *r) {
        return r->rollout && r->rollout->n_waves > 0 ? r->rollout->waves[r->rollout->wave].name : NULL;
}
const char *rollouts_fleet(const struct rollout_record *r) {
        return r->fleet;
}
const struct target *rollouts_target(const struct rollout_record *r) {
        return &r->target;
}
bool rollouts_is_loaded(const struct rollout_record *r) {
        return r->rollout != NULL;
}

bool rollouts_has_member(const struct rollout_record *r, const char *node) {
        return r->rollout && rollout_find_member(r->rollout, node) != SIZE_MAX;
}

int64_t rollouts_deferred(const struct rollout_record *r) {
        struct wave_counts k = {0};
        if (r->rollout)
                rollout_count(r->rollout, SIZE_MAX, &k);
        return (int64_t)k.deferred;
}

void rollouts_each_revision(const struct control *c, void (*each)(void *arg, const char *digest), void *arg) {
        const char *id;
        void *value;
        for (size_t i = 0; table_next(c->rollouts->all, &i, &id, &value);)
                each(arg, ((struct rollout_record *)value)->target.revision);
}

bool rollouts_use_revision(const struct control *c, const char *digest) {
        const char *fleet;
        void *value;
        for (size_t i = 0; table_next(c->rollouts->latest, &i, &fleet, &value);)
                if (str_eq(((struct rollout_record *)value)->target.revision, digest))
                        return true;
        return false;
}

/* ---- storing */

static void rollout_store(struct control *c, struct rollout_record *r) {
        json_t *state = must(rollout_to_json(r->rollout, false)), *about = target_to_json(&r->target);
        _cleanup_(x_freep) char *state_text = must(json_encode_compact(state)),
                                *about_text = must(json_encode_compact(about));
        json_decref(state);
        json_decref(about);
        turns_write(c->turns,
                    "INSERT INTO rollouts (id, fleet, about, state, active, created_at) VALUES ($1, $2, $3, "
                    "$4, $5, $6) "
                    "ON CONFLICT (id) DO UPDATE SET state = excluded.state, active = excluded.active",
                    "ssssii", r->id, r->fleet, about_text, state_text, (int64_t)record_is_active(r),
                    (int64_t)r->created_at);
}

static void member_store(struct control *c, const struct rollout_record *r, size_t member) {
        json_t *j = must(rollout_member_to_json(r->rollout, member));
        _cleanup_(x_freep) char *text = must(json_encode_compact(j));
        json_decref(j);
        turns_write(c->turns,
                    "INSERT INTO rollout_members (rollout, node, state) VALUES ($1, $2, $3) "
                    "ON CONFLICT (rollout, node) DO UPDATE SET state = excluded.state",
                    "sss", r->id, r->rollout->members[member].node, text);
}

/* ---- stepping */

/* Is what the node was last given known to be good, so that a rollback may bring it back? */
static bool assigned_is_good(const struct control *c, const struct node *n,
                             const struct rollout_record *now) {
        const struct assignment *a = n->assigned;
        if (!a)
                return false;
        if (!a->rollout)
                return true;
        if (now && str_eq(a->rollout, now->id))
                return false;
        const struct rollout_record *by = rollouts_find(c, a->rollout);
        if (by)
                return by->succeeded;
        const struct fleet *f = fleets_find(c, a->fleet);
        const struct target *stable = f ? fleet_stable(f) : NULL;
        return stable && str_eq(stable->revision, a->revision);
}

/* A member that cannot take the revision when its turn comes (its labels changed, or what the repository has)
 * is no member: it would only be waited for. Not within the step that offers it. */
struct leaving {
        struct control *control;
        char *rollout, *node;
};

static void leave(void *arg) {
        struct leaving *l = arg;
        struct control *c = l->control;
        struct rollout_record *r = rollouts_find(c, l->rollout);
        if (c->rollouts->timer && r && record_is_active(r) && rollouts_has_member(r, l->node))
                (void)record_step(
                        c, r, &(struct rollout_event){.type = ROLLOUT_EVENT_NODE_REMOVED, .node = l->node},
                        NULL, NULL);
        free(l->rollout);
        free(l->node);
        free(l);
}

static void leave_later(struct control *c, const struct rollout_record *r, const char *node) {
        struct leaving *l = NEW(struct leaving);
        *l = (struct leaving){c, copy_text(r->id), copy_text(node)};
        must_do(loop_post(c->loop, leave, l));
}

static void effect_assign(struct control *c, struct rollout_record *r, const struct rollout_member *m) {
        struct node *n = inventory_node(c, m->node);
        const struct revision *revision = revisions_decoded(c, r->target.revision);
        if (!n || n->revoked_at || !revision)
                return;
        const struct schedule *schedule = r->rollout->policy.schedule;
        json_t *schedule_json = schedule ? must(schedule_to_json(schedule)) : NULL;
        if (!assignments_give(c, n,
                              &(struct assignment_offer){.fleet = r->fleet,
                                                         .rollout = r->id,
                                                         .commit = r->target.commit,
                                                         .revision = revision,
                                                         .length = r->target.length,
                                                         .waits = !m->granted,
                                                         .schedule = schedule_json},
                              !assigned_is_good(c, n, r)))
                leave_later(c, r, n->name);
        json_decref(schedule_json);
}

static void effect_assign_back(struct control *c, struct rollout_record *r, const struct rollout_member *m) {
        struct node *n = inventory_node(c, m->node);
        if (n && !n->revoked_at && n->assigned && str_eq(n->assigned->rollout, r->id))
                (void)assignments_give_back(c, n, r->id);
}

struct before { /* how things stood before a step */
        enum rollout_phase phase;
        bool paused;
        size_t wave;
};

static const char *event_type(const struct rollout *r, const struct before *b,
                              enum rollout_event_type cause) {
        static const char *const by_phase[] = {
                [ROLLOUT_PENDING] = "RolloutStarted",
                [ROLLOUT_PROGRESSING] = "RolloutStarted",
                [ROLLOUT_SOAKING] = "RolloutWave",
                [ROLLOUT_AWAITING_APPROVAL] = "RolloutAwaitingApproval",
                [ROLLOUT_SUCCEEDED] = "RolloutSucceeded",
                [ROLLOUT_FAILED] = "RolloutFailed",
                [ROLLOUT_ABORTED] = "RolloutAborted",
                [ROLLOUT_ROLLING_BACK] = "RolloutRollingBack",
                [ROLLOUT_ROLLED_BACK] = "RolloutRolledBack",
                [ROLLOUT_SUPERSEDED] = "RolloutSuperseded",
        };
        switch (cause) {
        case ROLLOUT_EVENT_RETRY: return "RolloutRetried";
        case ROLLOUT_EVENT_APPROVE: return "RolloutApproved";
        case ROLLOUT_EVENT_PROMOTE: return "RolloutPromoted";
        case ROLLOUT_EVENT_EMERGENCY: return "RolloutEmergency";
        default: break;
        }
        if (r->paused != b->paused)
                return r->paused ? "RolloutPaused" : "RolloutResumed";
        if (r->phase != b->phase && !(r->phase == ROLLOUT_PROGRESSING && b->phase != ROLLOUT_PENDING))
                return by_phase[r->phase];
        return "RolloutWave";
}

static void tell(struct control *c, const struct rollout_record *r, const char *type, const char *message,
                 const char *actor) {
        events_add(c->events, &(struct event){.type = type,
                                              .message = message,
                                              .fleet = r->fleet,
                                              .rollout = r->id,
                                              .source = r->target.source,
                                              .actor = actor});
        log_info(message, "event", type, "rollout", r->id, "fleet", r->fleet, "revision", r->target.revision,
                 NULL);
}

static void timer_arm(struct control *c) {
        msec_t now = control_now(c), next = 0;
        const char *fleet;
        void *value;
        for (size_t i = 0; table_next(c->rollouts->latest, &i, &fleet, &value);) {
                const struct rollout_record *r = value;
                msec_t wake = r->rollout ? rollout_next_wake(r->rollout) : 0;
                if (wake > 0 && (next == 0 || wake < next))
                        next = wake;
        }
        if (next == 0)
                loop_timer_cancel(c->rollouts->timer);
        else
                loop_timer_set(c->rollouts->timer, MIN(MAX(next - now, 0), TICK_MAX_MS));
}

static void rollout_finished(struct control *c, struct rollout_record *r) {
        struct fleet *f = fleets_find(c, r->fleet);
        r->succeeded = r->rollout->phase == ROLLOUT_SUCCEEDED;
        if (!f || rollouts_latest(c, r->fleet) != r)
                return;
        if (r->succeeded)
                fleets_rollout_succeeded(c, f, &r->target);
        else if (r->rollout->phase != ROLLOUT_SUPERSEDED)
                fleets_rollout_failed(c, f, &r->target);
}

static int record_step(struct control *c, struct rollout_record *r, const struct rollout_event *event,
                       const char *actor, struct err **err) {
        _cleanup_(rollout_effects_done) struct rollout_effects effects = {0};
        struct before before = {r->rollout->phase, r->rollout->paused, r->rollout->wave};
        bool changed = false, finished = false, told = false;
        int k = rollout_step(r->rollout, event, control_now(c), &effects, err);
        if (k == -ENOMEM)
                must(NULL);
        if (k < 0)
                return k;
        const char *type = event_type(r->rollout, &before, event->type);
        for (size_t i = 0; i < effects.n; i++) {
                const struct rollout_effect *e = &effects.items[i];
                switch (e->type) {
                case ROLLOUT_EFFECT_ASSIGN: effect_assign(c, r, &r->rollout->members[e->member]); break;
                case ROLLOUT_EFFECT_ASSIGN_BACK:
                        effect_assign_back(c, r, &r->rollout->members[e->member]);
                        break;
                case ROLLOUT_EFFECT_MEMBER: member_store(c, r, e->member); break;
                case ROLLOUT_EFFECT_CHANGED: changed = true; break;
                case ROLLOUT_EFFECT_NOTE:
                        /* One step may end a wave and the rollout: what speaks of a wave is told as that. */
                        tell(c, r, str_has_prefix(e->text, "wave ") ? "RolloutWave" : type, e->text, actor);
                        told = true;
                        break;
                case ROLLOUT_EFFECT_FINISHED: finished = true; break;
                default: break;
                }
        }
        if (!told && (r->rollout->phase != before.phase || r->rollout->paused != before.paused)) {
                _cleanup_(x_freep) char *message = must(str_format("rollout of fleet %s is %s%s", r->fleet,
                                                                   rollout_phase_name(r->rollout->phase),
                                                                   r->rollout->paused ? ", paused" : ""));
                tell(c, r, type, message, actor);
        }
        if (changed || finished)
                rollout_store(c, r);
        if (finished)
                rollout_finished(c, r);
        timer_arm(c);
        return 0;
}

/* For events of the world, where there is nobody to answer: what makes no sense any more is dropped. */
static void record_event(struct control *c, struct rollout_record *r, const struct rollout_event *event) {
        (void)record_step(c, r, event, NULL, NULL);
}

static void rollouts_tick(void *arg) {
        struct control *c = arg;
        msec_t now = control_now(c);
        const char *fleet;
        void *value;
        for (size_t i = 0; table_next(c->rollouts->latest, &i, &fleet, &value);) {
                struct rollout_record *r = value;
                msec_t wake = r->rollout ? rollout_next_wake(r->rollout) : 0;
                if (wake > 0 && wake <= now)
                        record_event(c, r, &(struct rollout_event){.type = ROLLOUT_EVENT_TICK});
        }
        timer_arm(c);
}

/* ---- beginnings and ends */

/* Only the newest of a fleet can be taken up again, so only that one keeps its members in memory; the
 * oldest finished ones go. */
static void history_trim(struct control *c, const char *fleet) {
        struct rollout_record *latest = rollouts_latest(c, fleet);
        const char *id;
        void *value;
        size_t n = 0;
        for (size_t i = 0; table_next(c->rollouts->all, &i, &id, &value);) {
                struct rollout_record *r = value;
                if (!str_eq(r->fleet, fleet) || r == latest)
                        continue;
                n++;
                if (r->rollout) {
                        json_t *j = must(rollout_to_json(r->rollout, false));
                        r->state_text = must(json_encode_compact(j));
                        json_decref(j);
                        r->rollout = rollout_free(r->rollout);
                }
        }
        for (size_t i = 0; n > ROLLOUTS_KEPT && table_next(c->rollouts->all, &i, &id, &value);) {
                struct rollout_record *r = value;
                if (!str_eq(r->fleet, fleet) || r == latest)
                        continue;
                turns_write(c->turns, "DELETE FROM rollouts WHERE id = $1", "s", r->id);
                table_remove(c->rollouts->all, r->id);
                n--;
        }
}

static int rollout_make(const struct control *c, struct rollout_record *r, const struct fleet *f,
                        struct node *const *nodes, size_t n, struct err **err) {
        struct rollout_candidate *candidates = must(calloc(n + 1, sizeof(*candidates)));
        static const struct pairs none;
        for (size_t i = 0; i < n; i++) {
                const struct assignment *back =
                        assigned_is_good(c, nodes[i], NULL) ? nodes[i]->assigned : nodes[i]->fallback;
                candidates[i] =
                        (struct rollout_candidate){.node = nodes[i]->name,
                                                   .labels = nodes[i]->traits ? *nodes[i]->traits : none,
                                                   .connected = nodes[i]->connected,
                                                   .previous_revision = back ? back->revision : NULL,
                                                   .unavailable = report_is_applying(&nodes[i]->report)};
        }
        int k = rollout_new(r->id, r->fleet, r->target.revision, fleet_policy(f), candidates, n,
                            r->created_at, &r->rollout, err);
        free(candidates);
        return k;
}

void rollouts_begin(struct control *c, struct fleet *f, const struct target *t, struct node *const *nodes,
                    size_t n) {
        _cleanup_(err_freep) struct err *err = NULL;
        const struct rollout_record *before = rollouts_latest(c, fleet_name(f));
        struct rollout_record *r = NEW(struct rollout_record);
        /* Later than the one before even within a millisecond: the newest is known by its time. */
        r->created_at = MAX(control_now(c), before ? before->created_at + 1 : 0);
        id_make(r->created_at, r->id);
        r->fleet = copy_text(fleet_name(f));
        target_copy(&r->target, t);
        if (rollout_make(c, r, f, nodes, n, &err) < 0) {
                log_error("a rollout cannot begin", "fleet", r->fleet, "error", err_message(err), NULL);
                record_destroy(r);
                return;
        }
        must_do(table_set(c->rollouts->all, r->id, r));
        must_do(table_set(c->rollouts->latest, r->fleet, r));
        rollout_store(c, r);
        for (size_t i = 0; i < r->rollout->n_members; i++)
                member_store(c, r, i);
        record_event(c, r, &(struct rollout_event){.type = ROLLOUT_EVENT_START});
        history_trim(c, r->fleet);
}

void rollouts_supersede(struct control *c, struct rollout_record *r, const char *commit) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *reason = must(str_format("commit %.12s took over", commit ? commit : "?"));
        if (record_step(c, r, &(struct rollout_event){.type = ROLLOUT_EVENT_SUPERSEDE, .reason = reason},
                        NULL, &err) < 0)
                log_warning("a rollout was not superseded", "rollout", r->id, "error", err_message(err),
                            NULL);
}

void rollouts_fleet_removed(struct control *c, const char *fleet) {
        struct rollout_record *r = rollouts_active(c, fleet);
        if (r)
                record_event(c, r,
                             &(struct rollout_event){.type = ROLLOUT_EVENT_ABORT,
                                                     .reason = "the fleet was removed from its repository"});
}

/* ---- what nodes do */

void rollouts_node_presence(struct control *c, struct node *n) {
        struct rollout_record *r = n->fleet ? rollouts_latest(c, fleet_name(n->fleet)) : NULL;
        if (!r || !rollouts_has_member(r, n->name))
                return;
        record_event(c, r,
                     &(struct rollout_event){.type = n->connected ? ROLLOUT_EVENT_CONNECTED
                                                                  : ROLLOUT_EVENT_DISCONNECTED,
                                             .node = n->name});
}

void rollouts_node_report(struct control *c, struct node *n) {
        struct rollout_record *r = n->fleet ? rollouts_latest(c, fleet_name(n->fleet)) : NULL;
        if (!r || !n->assigned || !str_eq(n->assigned->rollout, r->id) || !rollouts_has_member(r, n->name))
                return;
        /* Its newest assignment names the revision it is at: the rollout's, or on the way back the one
         * before. */
        enum member_state state;
        if (!report_member_state(&n->report, n->version, n->assigned->revision, &state))
                return;
        record_event(c, r,
                     &(struct rollout_event){.type = ROLLOUT_EVENT_NODE_STATE,
                                             .node = n->name,
                                             .revision = n->assigned->revision,
                                             .state = state,
                                             .reason = n->report.message});
}

void rollouts_node_removed(struct control *c, const char *fleet, struct node *n) {
        struct rollout_record *r = rollouts_active(c, fleet);
        if (r && rollouts_has_member(r, n->name))
                record_event(c, r,
                             &(struct rollout_event){.type = ROLLOUT_EVENT_NODE_REMOVED, .node = n->name});
}

/* ---- what people say */

int rollouts_command(struct control *c, struct rollout_record *r, const struct rollout_command *command,
                     struct err **err) {
        static const struct {
                const char *verb;
                enum rollout_event_type type;
        } verbs[] = {
                {"pause", ROLLOUT_EVENT_PAUSE},         {"resume", ROLLOUT_EVENT_RESUME},
                {"abort", ROLLOUT_EVENT_ABORT},         {"retry", ROLLOUT_EVENT_RETRY},
                {"approve", ROLLOUT_EVENT_APPROVE},     {"promote", ROLLOUT_EVENT_PROMOTE},
                {"emergency", ROLLOUT_EVENT_EMERGENCY},
        };
        struct fleet *f = fleets_find(c, r->fleet);
        if (!f || !r->rollout || rollouts_latest(c, r->fleet) != r)
                return err_set(err, EINVAL,
                               "cannot %s: rollout %s is history, a newer one has taken its place",
                               command->verb, r->id);
        struct rollout_event event = {.reason = command->reason,
                                      .rollback = command->rollback,
                                      .by = command->actor,
                                      .wave = command->wave};
        size_t i = 0;
        while (i < ARRAY_SIZE(verbs) && !str_eq(verbs[i].verb, command->verb))
                i++;
        if (i == ARRAY_SIZE(verbs))
                return err_set(
                        err, EINVAL,
                        "a rollout can pause, resume, abort, retry, approve, promote or emergency, not %s",
                        command->verb);
        event.type = verbs[i].type;
        bool was_final = !record_is_active(r);
        if (event.type == ROLLOUT_EVENT_RETRY && was_final &&
            !(fleet_desired(f) && str_eq(fleet_desired(f)->key, r->target.key)))
                return err_set(err, EINVAL, "cannot retry: the repository has moved on from rollout %s",
                               r->id);
        int k = record_step(c, r, &event, command->actor, err);
        if (k < 0)
                return k;
        if (was_final && record_is_active(r)) {
                r->succeeded = false;
                fleets_rollout_retried(c, f);
        }
        return 0;
}

/* ---- loading */

static int record_load(struct control *c, struct rollout_record *r, const char *state, struct err **err) {
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        int k = db_query_now(c->db, &rows, err,
                             "SELECT state FROM rollout_members WHERE rollout = $1 ORDER BY node", "s",
                             r->id);
        if (k < 0)
                return k;
        return rollout_record_read(state, rows, &r->rollout, err);
}

static int records_load(struct control *c, const struct db_rows *rows, struct err **err) {
        for (size_t i = 0; i < db_rows_len(rows); i++) {
                struct rollout_record *r = NEW(struct rollout_record);
                json_t *about = NULL;
                const char *id = db_text(rows, i, 0), *text = db_text(rows, i, 2),
                           *state = db_text(rows, i, 3);
                memcpy(r->id, id, MIN(strlen(id), sizeof(r->id) - 1));
                r->fleet = copy_text(db_text(rows, i, 1));
                r->state_text = copy_text(state);
                r->created_at = db_int(rows, i, 4);
                if (json_decode(text, strlen(text), &about, NULL) == 0)
                        (void)target_from_json(about, &r->target);
                json_decref(about);
                must_do(table_set(c->rollouts->all, r->id, r));
                must_do(table_set(c->rollouts->latest, r->fleet, r));
                r->succeeded = rollout_record_phase(state) == ROLLOUT_SUCCEEDED;
        }
        const char *fleet;
        void *value;
        for (size_t i = 0; table_next(c->rollouts->latest, &i, &fleet, &value);) {
                struct rollout_record *r = value;
                int k = record_load(c, r, r->state_text, err);
                if (k < 0)
                        return err_wrap(err, "rollout %s in the database", r->id);
                r->state_text = (free(r->state_text), NULL);
        }
        return 0;
}

int rollouts_open(struct control *c, struct err **err) {
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        c->rollouts = NEW(struct rollouts);
        c->rollouts->all = must(table_new(record_destroy));
        c->rollouts->latest = must(table_new(NULL));
        c->rollouts->timer = must(loop_timer_new(c->loop, rollouts_tick, c));
        int r = db_query_now(
                c->db, &rows, err,
                "SELECT id, fleet, about, state, created_at FROM rollouts ORDER BY created_at, id", "");
        return r < 0 ? r : records_load(c, rows, err);
}

/* Who did not come back is away. */
static void rollouts_settled(void *arg) {
        struct control *c = arg;
        const char *fleet;
        void *value;
        c->rollouts->settle = loop_timer_free(c->rollouts->settle);
        for (size_t i = 0; table_next(c->rollouts->latest, &i, &fleet, &value);) {
                struct rollout_record *r = value;
                for (size_t k = 0; r->rollout && k < r->rollout->n_members; k++) {
                        const struct rollout_member *m = &r->rollout->members[k];
                        const struct node *n = inventory_node(c, m->node);
                        if (m->connected && !(n && n->connected))
                                record_event(c, r,
                                             &(struct rollout_event){.type = ROLLOUT_EVENT_DISCONNECTED,
                                                                     .node = m->node});
                }
        }
}

void rollouts_start(struct control *c, msec_t away_ms) {
        const char *fleet;
        void *value;
        for (size_t i = 0; table_next(c->rollouts->latest, &i, &fleet, &value);) {
                struct rollout_record *r = value;
                if (r->rollout && away_ms > 0)
                        record_event(
                                c, r,
                                &(struct rollout_event){.type = ROLLOUT_EVENT_TIME_GAP, .gap_ms = away_ms});
        }
        c->rollouts->settle = must(loop_timer_new(c->loop, rollouts_settled, c));
        loop_timer_set(c->rollouts->settle, SETTLE_MS);
        timer_arm(c);
}

void rollouts_stop(struct control *c) {
        c->rollouts->timer = loop_timer_free(c->rollouts->timer);
        c->rollouts->settle = loop_timer_free(c->rollouts->settle);
}

struct rollouts *rollouts_free(struct rollouts *r) {
        if (!r)
                return NULL;
        table_free(r->latest);
        table_free(r->all);
        free(r);
        return NULL;
}
