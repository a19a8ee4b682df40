/* SPDX-License-Identifier: Apache-2.0 */
#include "server/fleets.h"

#include <string.h>

#include "base/log.h"
#include "base/table.h"
#include "codec/json.h"
#include "fleet/revision.h"
#include "server/assignments.h"
#include "server/delta_worker.h"
#include "server/director.h"
#include "server/fleet_record.h"
#include "server/memory.h"
#include "server/revisions.h"
#include "server/rollouts.h"

/* ---- targets */

void target_done(struct target *t) {
        free(t->source);
        free(t->commit);
        free(t->subject);
        free(t->author);
        *t = (struct target){0};
}

void target_copy(struct target *to, const struct target *from) {
        struct target copy = {.length = from->length,
                              .source = copy_text(from->source),
                              .commit = copy_text(from->commit),
                              .subject = copy_text(from->subject),
                              .author = copy_text(from->author)};
        memcpy(copy.revision, from->revision, sizeof(copy.revision));
        memcpy(copy.key, from->key, sizeof(copy.key));
        target_done(to);
        *to = copy;
}

json_t *target_to_json(const struct target *t) {
        json_t *j = json_object_new();
        json_put(j, "revision", json_text(t->revision));
        json_put(j, "length", json_number(t->length));
        json_put(j, "key", json_text(t->key));
        json_put(j, "source", json_text(t->source));
        json_put(j, "commit", json_text(t->commit));
        json_put(j, "subject", json_text(t->subject));
        json_put(j, "author", json_text(t->author));
        return j;
}

bool target_from_json(const json_t *j, struct target *ret) {
        const char *revision = NULL, *key = NULL, *source = NULL, *commit = NULL, *subject = NULL,
                   *author = NULL;
        int64_t length = 0;
        if (!json_is_object(j) || json_read_string(j, "revision", &revision, NULL) < 0 ||
            json_read_string(j, "key", &key, NULL) < 0 || json_read_int(j, "length", &length, NULL) < 0 ||
            strlen(revision) != 64 || strlen(key) != 64)
                return false;
        (void)json_read_optional_string(j, "source", &source, NULL);
        (void)json_read_optional_string(j, "commit", &commit, NULL);
        (void)json_read_optional_string(j, "subject", &subject, NULL);
        (void)json_read_optional_string(j, "author", &author, NULL);
        struct target t = {.length = length,
                           .source = (char *)source,
                           .commit = (char *)commit,
                           .subject = (char *)subject,
                           .author = (char *)author};
        memcpy(t.revision, revision, sizeof(t.revision));
        memcpy(t.key, key, sizeof(t.key));
        target_copy(ret, &t);
        return true;
}

static bool target_is_set(const struct target *t) {
        return t->revision[0] != '\0';
}

/* ---- records */

static void fleet_destroy(void *p) {
        struct fleet *f = p;
        free(f->name);
        free(f->source);
        free(f->spec_text);
        free(f->waits_for);
        json_decref(f->spec);
        arena_free(f->arena);
        target_done(&f->desired);
        target_done(&f->stable);
        fleet_pin_done(&f->pin);
        free(f);
}

/* Takes the spec over: selector and policy are read into a fresh arena. */
static int fleet_take_spec(struct fleet *f, const char *text, struct err **err) {
        _cleanup_(arena_freep) struct arena *arena = must(arena_new(0));
        json_t *spec = NULL;
        struct selector selector = {0};
        struct rollout_policy policy;
        int r = json_decode(text, strlen(text), &spec, err);
        if (r >= 0)
                r = selector_from_json(arena, json_object_get(spec, "selector"), &selector, err);
        if (r >= 0)
                r = rollout_policy_from_json(arena, json_object_get(spec, "policy"), &policy, err);
        if (r < 0) {
                json_decref(spec);
                return err_wrap(err, "fleet %s", f->name);
        }
        json_decref(f->spec);
        f->spec = spec;
        replace_text(&f->spec_text, text);
        arena_free(f->arena);
        f->arena = TAKE_PTR(arena);
        f->selector = selector;
        f->policy = policy;
        return 0;
}

void fleet_store(struct control *c, const struct fleet *f) {
        _cleanup_(x_freep) char *desired = NULL, *stable = NULL, *pin = NULL;
        if (f->pin.at) {
                json_t *j = fleet_pin_to_json(&f->pin);
                pin = must(json_encode_compact(j));
                json_decref(j);
        }
        if (target_is_set(&f->desired)) {
                json_t *j = target_to_json(&f->desired);
                desired = must(json_encode_compact(j));
                json_decref(j);
        }
        if (target_is_set(&f->stable)) {
                json_t *j = target_to_json(&f->stable);
                stable = must(json_encode_compact(j));
                json_decref(j);
        }
        turns_write(c->turns,
                    "INSERT INTO fleets (name, source, spec, desired, stable, failed_key, pin) VALUES ($1, "
                    "$2, $3, $4, $5, $6, $7) "
                    "ON CONFLICT (name) DO UPDATE SET source = excluded.source, spec = excluded.spec, "
                    "desired = excluded.desired, stable = excluded.stable, failed_key = excluded.failed_key, "
                    "pin = excluded.pin",
                    "sssssss", f->name, f->source, f->spec_text, desired, stable,
                    f->failed_key[0] ? f->failed_key : NULL, pin);
}

struct fleet *fleets_find(const struct control *c, const char *name) {
        return name ? table_get(c->fleets->all, name) : NULL;
}

bool fleets_next(const struct control *c, size_t *position, struct fleet **ret) {
        const char *key;
        void *value;
        if (!table_next(c->fleets->all, position, &key, &value))
                return false;
        *ret = value;
        return true;
}

const char *fleet_name(const struct fleet *f) {
        return f->name;
}
const char *fleet_source(const struct fleet *f) {
        return f->source;
}
const struct rollout_policy *fleet_policy(const struct fleet *f) {
        return &f->policy;
}
const struct target *fleet_desired(const struct fleet *f) {
        return target_is_set(&f->desired) ? &f->desired : NULL;
}
const struct target *fleet_stable(const struct fleet *f) {
        return target_is_set(&f->stable) ? &f->stable : NULL;
}

/* Did the newest target fail, so that things stay as they are? */
static bool fleet_has_failed(const struct fleet *f) {
        return f->failed_key[0] && strcmp(f->failed_key, f->desired.key) == 0;
}

/* ---- who owns a node, and what it gets outside of its rollout's waves */

static size_t owners_of(const struct control *c, const struct node *n, struct fleet **ret_first) {
        size_t owners = 0;
        struct fleet *f;
        static const struct pairs none;
        for (size_t i = 0; fleets_next(c, &i, &f);)
                if (selector_matches(&f->selector, n->traits ? n->traits : &none)) {
                        if (owners == 0)
                                *ret_first = f;
                        owners++;
                }
        return owners;
}

char *fleets_owners_text(const struct control *c, const struct node *n) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        struct fleet *f;
        static const struct pairs none;
        for (size_t i = 0; fleets_next(c, &i, &f);)
                if (selector_matches(&f->selector, n->traits ? n->traits : &none))
                        buf_printf(&text, "%s%s", text.len ? ", " : "", f->name);
        return must(text.len ? buf_take(&text, NULL) : str_dup(""));
}

static void node_give(struct control *c, struct fleet *f, struct node *n, const struct target *t,
                      const char *rollout, bool keep_fallback) {
        const struct revision *revision = revisions_decoded(c, t->revision);
        if (!revision)
                return;
        (void)assignments_give(c, n,
                               &(struct assignment_offer){.fleet = f->name,
                                                          .rollout = rollout,
                                                          .commit = t->commit,
                                                          .revision = revision,
                                                          .length = t->length},
                               keep_fallback);
}

static bool may_give(const struct control *c, const struct fleet *f, const struct target *t) {
        _cleanup_(x_freep) char *why = NULL;
        return director_may_give(c, f->name, t->revision, t->length, &why);
}

/* Sees to it that a node of the fleet has what it should have by now. */
static void fleet_offer(struct control *c, struct fleet *f, struct node *n) {
        if (n->revoked_at)
                return;
        struct rollout_record *active = rollouts_active(c, f->name);
        if (active && rollouts_has_member(active, n->name)) {
                /* Its wave's turn comes. When it has come, new labels reach it under the same rollout. */
                const struct revision *revision = revisions_decoded(c, rollouts_target(active)->revision);
                if (n->assigned && str_eq(n->assigned->rollout, rollouts_id(active)) && revision &&
                    str_eq(n->assigned->revision, revision->digest) &&
                    assignment_standing(c, n, revision) == ASSIGNMENT_OTHER)
                        node_give(c, f, n, rollouts_target(active), rollouts_id(active), true);
                return;
        }
        if (!target_is_set(&f->stable))
                return; /* waits for the fleet's first rollout */
        bool ours = n->assigned && str_eq(n->assigned->fleet, f->name);
        if (ours && fleet_has_failed(f)) { /* what it has stays, under the labels of now */
                const struct revision *held = revisions_decoded(c, n->assigned->revision);
                if (held)
                        (void)assignments_rebind(c, n, held);
                return;
        }
        const struct revision *revision = revisions_decoded(c, f->stable.revision);
        if (!revision || !may_give(c, f, &f->stable))
                return;
        enum assignment_standing standing = assignment_standing(c, n, revision);
        if (standing == ASSIGNMENT_BLOCKED || (ours && standing == ASSIGNMENT_CURRENT))
                return;
        node_give(c, f, n, &f->stable, NULL, false);
}

static void settle_node(struct control *c, struct node *n) {
        struct fleet *owner = NULL, *before = n->fleet;
        n->n_owners = owners_of(c, n, &owner);
        n->fleet = n->n_owners == 1 && !n->revoked_at ? owner : NULL;
        if (before && before != n->fleet)
                rollouts_node_removed(c, before->name, n);
        if (n->fleet)
                fleet_offer(c, n->fleet, n);
}

void fleets_settle_node(struct control *c, struct node *n) {
        settle_node(c, n);
        if (n->fleet && n->fleet->waits_for) /* for a node that can take it, perhaps */
                fleet_advance(c, n->fleet, false);
}

void fleets_drop_node(struct control *c, struct node *n) {
        if (n->fleet)
                rollouts_node_removed(c, n->fleet->name, n);
        n->fleet = NULL;
        n->n_owners = 0;
}

static void settle_all(struct control *c) {
        struct node *n;
        for (size_t i = 0; inventory_next(c, &i, &n);)
                settle_node(c, n);
}

/* ---- a new target */

/* The nodes for which the target is a change, and that can take it; malloc'ed. ret_blocked: one that cannot.
 */
static struct node **nodes_to_change(struct control *c, const struct fleet *f,
                                     const struct revision *revision, size_t *ret_n,
                                     const struct node **ret_blocked) {
        struct node **list = must(calloc(inventory_size(c) + 1, sizeof(void *))), *n;
        size_t count = 0;
        *ret_blocked = NULL;
        for (size_t i = 0; inventory_next(c, &i, &n);) {
                if (n->fleet != f || n->revoked_at)
                        continue;
                enum assignment_standing standing = assignment_standing(c, n, revision);
                if (standing == ASSIGNMENT_BLOCKED)
                        *ret_blocked = n;
                else if (standing == ASSIGNMENT_OTHER || !str_eq(n->assigned->fleet, f->name))
                        list[count++] = n;
        }
        *ret_n = count;
        return list;
}

static void fleet_wait(struct control *c, struct fleet *f, const char *what) {
        if (str_eq(f->waits_for, what))
                return;
        replace_text(&f->waits_for, what);
        if (!what)
                return;
        events_add(c->events,
                   &(struct event){
                           .type = "FleetWaits", .message = what, .fleet = f->name, .source = f->source});
        log_info(what, "event", "FleetWaits", "fleet", f->name, NULL);
}

static void fleet_become_stable(struct control *c, struct fleet *f, const struct target *t) {
        struct node *n;
        target_copy(&f->stable, t);
        f->failed_key[0] = '\0';
        fleet_store(c, f);
        for (size_t i = 0; inventory_next(c, &i, &n);)
                if (n->fleet == f)
                        fleet_offer(c, f, n);
}

/* Decides what the fleet's newest target means: nothing, a rollout, or stable at once. is_new: the commit
 * changed the target. */
void fleet_advance(struct control *c, struct fleet *f, bool is_new) {
        struct rollout_record *active = rollouts_active(c, f->name);
        const struct revision *revision = revisions_decoded(c, f->desired.revision);
        _cleanup_(x_freep) char *why = NULL;
        if (!revision || fleet_has_failed(f) ||
            (active && strcmp(rollouts_target(active)->key, f->desired.key) == 0)) {
                fleet_wait(c, f, NULL); /* it failed, or is under way already */
                return;
        }
        if (!director_may_give(c, f->name, f->desired.revision, f->desired.length, &why) ||
            (target_is_set(&f->stable) &&
             !director_may_turn_to(c, f->name, f->desired.revision, f->stable.revision, &why))) {
                fleet_wait(c, f, why); /* what runs, or rolls out, goes on */
                return;
        }
        const struct node *blocked = NULL;
        size_t n = 0;
        struct node **nodes = nodes_to_change(c, f, revision, &n, &blocked);
        bool is_stable = strcmp(f->stable.key, f->desired.key) == 0;
        if (n == 0 && blocked && !is_stable) {
                /* Not stable: nobody has tried it. Waves are kept for when somebody can. */
                why = must(str_format("no node of fleet %s can take revision %.12s; node %s: %s", f->name,
                                      f->desired.revision, blocked->name, blocked->blocked));
                fleet_wait(c, f, why);
                free(nodes);
                return;
        }
        fleet_wait(c, f, NULL);
        if (active)
                rollouts_supersede(c, active, f->desired.commit);
        if (n == 0) {
                if (!is_stable || active)
                        fleet_become_stable(c, f, &f->desired);
        } else if (is_new || active || !is_stable)
                rollouts_begin(c, f, &f->desired, nodes, n);
        /* else: a node out of step catches up by itself */
        free(nodes);
}

static bool fleet_retarget(struct control *c, struct fleet *f, const struct compiled *compiled,
                           const struct compiled_fleet *from) {
        struct target *wanted = f->pin.at ? &f->pin.git : &f->desired;
        bool is_new = strcmp(wanted->key, from->key) != 0;
        struct target t = {.length = from->length,
                           .source = compiled->source,
                           .commit = compiled->commit,
                           .subject = compiled->subject,
                           .author = compiled->author};
        memcpy(t.revision, from->digest, sizeof(t.revision));
        memcpy(t.key, from->key, sizeof(t.key));
        if (is_new) {
                target_copy(wanted, &t);
                if (!f->pin.at)
                        f->failed_key[0] = '\0';
        }
        fleet_store(c, f);
        return is_new && !f->pin.at;
}

static void fleet_remove(struct control *c, struct fleet *f) {
        struct node *n;
        rollouts_fleet_removed(c, f->name);
        for (size_t i = 0; inventory_next(c, &i, &n);)
                if (n->fleet == f)
                        n->fleet = NULL;
        log_info("fleet removed", "fleet", f->name, "source", f->source, NULL);
        turns_write(c->turns, "DELETE FROM fleets WHERE name = $1", "s", f->name);
        table_remove(c->fleets->all, f->name);
}

static int compiled_order(const void *key, const void *item) {
        return strcmp(key, ((const struct compiled_fleet *)item)->name);
}

/* Removes the source's fleets that its commit declares no more (all of them for compiled NULL). */
static void fleets_prune(struct control *c, const char *source, const struct compiled *compiled) {
        char **gone = NULL;
        struct fleet *f;
        for (size_t i = 0; fleets_next(c, &i, &f);)
                if (str_eq(f->source, source) && !(compiled && compiled->n_fleets &&
                                                   bsearch(f->name, compiled->fleets, compiled->n_fleets,
                                                           sizeof(*compiled->fleets), compiled_order)))
                        must_do(strv_push(&gone, f->name));
        for (size_t i = 0; gone && gone[i]; i++)
                fleet_remove(c, fleets_find(c, gone[i]));
        strv_free(gone);
}

static struct fleet *fleet_upsert(struct control *c, const char *source, const struct compiled_fleet *from) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct fleet *f = fleets_find(c, from->name);
        if (!f) {
                f = NEW(struct fleet);
                f->name = copy_text(from->name);
                f->source = copy_text(source);
                must_do(table_set(c->fleets->all, f->name, f));
        }
        if (!str_eq(f->spec_text, from->spec) && fleet_take_spec(f, from->spec, &err) < 0) {
                log_error("a compiled fleet cannot be read back", "fleet", f->name, "error", err_message(err),
                          NULL);
                if (!f->spec)
                        table_remove(c->fleets->all, from->name);
                return NULL;
        }
        return f;
}

void fleets_apply(struct control *c, const char *source, const struct compiled *compiled) {
        bool *is_new = must(calloc(compiled->n_fleets + 1, sizeof(*is_new)));
        fleets_prune(c, source, compiled);
        inventory_declare(c, source, compiled->nodes, compiled->n_nodes);
        for (size_t i = 0; i < compiled->n_fleets; i++) {
                struct compiled_fleet *from = &compiled->fleets[i];
                revisions_add(c,
                              &(struct revision_about){.digest = from->digest,
                                                       .fleet = from->name,
                                                       .source = source,
                                                       .commit = compiled->commit,
                                                       .apps = from->apps,
                                                       .bytes = from->length},
                              TAKE_PTR(from->revision));
                struct fleet *f = fleet_upsert(c, source, from);
                if (f)
                        is_new[i] = fleet_retarget(c, f, compiled, from);
        }
        /* Whose is whose comes before what is new: a rollout's members are the nodes the fleet has now. */
        struct node *n;
        for (size_t i = 0; inventory_next(c, &i, &n);) {
                struct fleet *owner = NULL, *before = n->fleet;
                n->n_owners = owners_of(c, n, &owner);
                n->fleet = n->n_owners == 1 && !n->revoked_at ? owner : NULL;
                if (before && before != n->fleet)
                        rollouts_node_removed(c, before->name, n);
        }
        for (size_t i = 0; i < compiled->n_fleets; i++) {
                struct fleet *f = fleets_find(c, compiled->fleets[i].name);
                if (f)
                        fleet_advance(c, f, is_new[i]);
        }
        free(is_new);
        settle_all(c);
        revisions_trim(c);
        delta_worker_wake(c);
}

void fleets_repository_changed(struct control *c) {
        struct fleet *f;
        for (size_t i = 0; fleets_next(c, &i, &f);)
                if (target_is_set(&f->desired))
                        fleet_advance(c, f, true); /* what has changed for its nodes goes in waves, too */
        settle_all(c);
        revisions_trim(c);
        delta_worker_wake(c);
}

void fleets_remove_source(struct control *c, const char *source) {
        fleets_prune(c, source, NULL);
        inventory_declare(c, source, NULL, 0);
        settle_all(c);
        revisions_trim(c);
}

/* ---- how rollouts end */

void fleets_rollout_succeeded(struct control *c, struct fleet *f, const struct target *t) {
        fleet_become_stable(c, f, t);
        revisions_trim(c);
}

void fleets_rollout_failed(struct control *c, struct fleet *f, const struct target *t) {
        struct node *n;
        memcpy(f->failed_key, t->key, sizeof(f->failed_key));
        fleet_store(c, f);
        for (size_t i = 0; inventory_next(c, &i, &n);)
                if (n->fleet == f)
                        fleet_offer(c, f, n);
}

void fleets_rollout_retried(struct control *c, struct fleet *f) {
        f->failed_key[0] = '\0';
        fleet_store(c, f);
}

/* ---- loading */

int fleets_open(struct control *c, struct err **err) {
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        struct node *n;
        c->fleets = NEW(struct fleets);
        c->fleets->all = must(table_new(fleet_destroy));
        int r = db_query_now(
                c->db, &rows, err,
                "SELECT name, source, spec, desired, stable, failed_key, pin FROM fleets ORDER BY name", "");
        for (size_t i = 0; r >= 0 && i < db_rows_len(rows); i++) {
                struct fleet *f = NEW(struct fleet);
                f->name = copy_text(db_text(rows, i, 0));
                f->source = copy_text(db_text(rows, i, 1));
                must_do(table_set(c->fleets->all, f->name, f));
                r = fleet_take_spec(f, db_text(rows, i, 2), err);
                const char *failed = db_text(rows, i, 5);
                if (failed && strlen(failed) == 64)
                        memcpy(f->failed_key, failed, sizeof(f->failed_key));
                json_t *pin = NULL;
                const char *pin_text = db_text(rows, i, 6);
                if (pin_text && json_decode(pin_text, strlen(pin_text), &pin, NULL) == 0)
                        fleet_pin_from_json(pin, &f->pin);
                json_decref(pin);
                for (int k = 0; k < 2; k++) {
                        json_t *j = NULL;
                        const char *text = db_text(rows, i, 3 + (size_t)k);
                        if (text && json_decode(text, strlen(text), &j, NULL) == 0)
                                (void)target_from_json(j, k == 0 ? &f->desired : &f->stable);
                        json_decref(j);
                }
        }
        if (r < 0)
                return r;
        for (size_t i = 0; inventory_next(c, &i, &n);) {
                struct fleet *owner = NULL;
                n->n_owners = owners_of(c, n, &owner);
                n->fleet = n->n_owners == 1 && !n->revoked_at ? owner : NULL;
        }
        return 0;
}

struct fleets *fleets_free(struct fleets *f) {
        if (!f)
                return NULL;
        table_free(f->all);
        free(f);
        return NULL;
}
