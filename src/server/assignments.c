/* SPDX-License-Identifier: Apache-2.0 */
#include "server/assignments.h"

#include <errno.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "fleet/revision.h"
#include "relay/edge.h"
#include "server/authority.h"
#include "server/director.h"
#include "server/fleets.h"
#include "server/memory.h"
#include "server/repository_ahead.h"

#define REMIND_MS 30000    /* how often is looked for nodes that are connected and did not take theirs */
#define SENDS_PER_TURN 128 /* a signature each: keeps the loop responsive when a wave is large */

struct send { /* one assignment on its way out */
        struct list link;
        struct control *control;
        char *node;
        struct assignment *assignment;
};

struct assignments {
        struct control *control;
        struct list queue; /* durable, to be signed and sent */
        bool posted;
        struct loop_timer *remind;
};

struct assignment *assignment_ref(struct assignment *a) {
        if (a)
                a->references++;
        return a;
}

struct assignment *assignment_unref(struct assignment *a) {
        if (!a || --a->references > 0)
                return NULL;
        free(a->fleet);
        free(a->rollout);
        free(a->commit);
        free(a->labels);
        free(a->variables);
        json_decref(a->artifacts);
        json_decref(a->schedule);
        free(a);
        return NULL;
}

/* What it may do when, where it may not do everything at once. */
static void leave_put(json_t *j, const struct assignment *a) {
        if (a->waits)
                json_put(j, "apply", json_text("Wait"));
        if (a->schedule)
                json_put(j, "schedule", json_incref(a->schedule));
}

json_t *assignment_to_json(const struct assignment *a) {
        json_t *j = json_object_new();
        json_put(j, "version", json_number(a->version));
        json_put(j, "issuedAt", json_number(a->issued_at));
        json_put(j, "fleet", json_text(a->fleet));
        json_put(j, "rollout", json_text(a->rollout));
        json_put(j, "commit", json_text(a->commit));
        json_put(j, "revision", json_text(a->revision));
        json_put(j, "length", json_number(a->length));
        json_put(j, "fingerprint", json_text(a->fingerprint));
        json_put(j, "labels", pairs_json(a->labels));
        json_put(j, "variables", pairs_json(a->variables));
        if (a->artifacts)
                json_put(j, "artifacts", json_incref(a->artifacts));
        leave_put(j, a);
        return j;
}

static void digest_copy(char out[65], const char *s) {
        if (s && strlen(s) == 64)
                memcpy(out, s, 65);
}

static struct pairs *pairs_member(const json_t *j, const char *key) {
        _cleanup_(x_freep) char *text = NULL;
        const json_t *o = json_object_get(j, key);
        if (o)
                text = must(json_encode_compact(o));
        return pairs_from_text(text);
}

struct assignment *assignment_from_text(const char *text) {
        json_t *j = NULL;
        const char *revision = NULL, *fingerprint = NULL, *fleet = NULL, *rollout = NULL, *commit = NULL;
        int64_t version = 0, issued_at = 0, length = 0;
        if (!text || json_decode(text, strlen(text), &j, NULL) < 0)
                return NULL;
        if (json_read_int(j, "version", &version, NULL) < 0 ||
            json_read_int(j, "issuedAt", &issued_at, NULL) < 0 ||
            json_read_int(j, "length", &length, NULL) < 0 ||
            json_read_string(j, "revision", &revision, NULL) < 0 ||
            json_read_string(j, "fingerprint", &fingerprint, NULL) < 0 ||
            json_read_optional_string(j, "fleet", &fleet, NULL) < 0 ||
            json_read_optional_string(j, "rollout", &rollout, NULL) < 0 ||
            json_read_optional_string(j, "commit", &commit, NULL) < 0) {
                json_decref(j);
                return NULL;
        }
        struct assignment *a = NEW(struct assignment);
        *a = (struct assignment){.references = 1,
                                 .version = version,
                                 .issued_at = issued_at,
                                 .length = length,
                                 .fleet = copy_text(fleet),
                                 .rollout = copy_text(rollout),
                                 .commit = copy_text(commit),
                                 .labels = pairs_member(j, "labels"),
                                 .variables = pairs_member(j, "variables")};
        const json_t *artifacts = json_object_get(j, "artifacts");
        if (json_is_array(artifacts))
                a->artifacts = json_incref((json_t *)artifacts);
        a->waits = str_eq(json_string_value(json_object_get(j, "apply")), "Wait");
        json_t *schedule = json_object_get(j, "schedule");
        if (json_is_object(schedule))
                a->schedule = json_incref(schedule);
        digest_copy(a->revision, revision);
        digest_copy(a->fingerprint, fingerprint);
        json_decref(j);
        return a;
}

/* The document that is signed (docs/protocol.md, "Assignment"). */
static json_t *assignment_document(const struct assignment *a, const char *node) {
        json_t *j = json_object_new(), *revision = json_object_new();
        json_put(revision, "sha256", json_text(a->revision));
        json_put(revision, "length", json_number(a->length));
        json_put(j, "_type", json_text("assignment"));
        json_put(j, "version", json_number(a->version));
        json_put(j, "node", json_text(node));
        json_put(j, "issuedAt", json_number(a->issued_at));
        json_put(j, "fleet", json_text(a->fleet));
        json_put(j, "rollout", json_text(a->rollout));
        json_put(j, "commit", json_text(a->commit));
        json_put(j, "revision", revision);
        json_put(j, "labels", pairs_json(a->labels));
        json_put(j, "variables", pairs_json(a->variables));
        if (a->artifacts)
                json_put(j, "artifacts", json_incref(a->artifacts));
        leave_put(j, a);
        return j;
}

json_t *assignments_signed(const struct control *c, const struct node *n) {
        return n->assigned ? authority_sign(c->authority, assignment_document(n->assigned, n->name)) : NULL;
}

/* ---- sending */

static void send_free(struct send *s) {
        list_remove(&s->link);
        assignment_unref(s->assignment);
        free(s->node);
        free(s);
}

static void send_one(struct control *c, const struct send *s) {
        const struct node *n = inventory_node(c, s->node);
        if (!c->edge || !n || !n->connected || n->revoked_at)
                return; /* it asks when it comes */
        json_t *envelope = authority_sign(c->authority, assignment_document(s->assignment, n->name));
        if (!envelope) {
                log_error("an assignment could not be signed", "node", n->name, NULL);
                return;
        }
        (void)edge_send(c->edge, n->name, "assignment", envelope);
}

static void sends_drain(void *arg) {
        struct assignments *a = arg;
        a->posted = false;
        for (size_t i = 0; i < SENDS_PER_TURN && !list_is_empty(&a->queue); i++) {
                struct send *s = LIST_ENTRY(a->queue.next, struct send, link);
                send_one(a->control, s);
                send_free(s);
        }
        if (!list_is_empty(&a->queue)) {
                a->posted = true;
                must_do(loop_post(a->control->loop, sends_drain, a));
        }
}

static void send_durable(void *arg, int error) {
        struct send *s = arg;
        struct assignments *a = s->control->assignments;
        if (error < 0) {
                send_free(s);
                return;
        }
        list_append(&a->queue, &s->link);
        if (!a->posted)
                sends_drain(a);
}

static void send_later(struct control *c, const struct node *n) {
        struct send *s = NEW(struct send);
        s->control = c;
        s->node = copy_text(n->name);
        s->assignment = assignment_ref(n->assigned);
        list_init(&s->link);
        turns_after(c->turns, send_durable, s);
}

void assignments_catch_up(struct control *c, struct node *n, int64_t version) {
        if (n->assigned && n->assigned->version > version)
                send_later(c, n);
}

/* ---- giving */

static struct binding node_binding(const struct node *n) {
        struct binding b = {.node_name = n->name};
        if (n->labels)
                b.labels = *n->labels;
        if (n->declaration && n->declaration->variables)
                b.variables = *n->declaration->variables;
        return b;
}

/* What the revision makes of this node: how it is bound, and the artifacts chosen for it. */
struct shape_for_node {
        char fingerprint[65];
        json_t *artifacts; /* or NULL */
};

static int node_shape(struct control *c, const struct node *n, const struct revision *revision,
                      struct shape_for_node *ret, struct err **err) {
        struct binding b = node_binding(n);
        char both[2 * 64 + 1], choice[65];
        json_t *artifacts = NULL;
        int r = director_choose(c, n, revision, &artifacts, choice, err);
        if (r < 0)
                return r;
        must_do(revision_binding_fingerprint(revision, &b, both));
        if (artifacts) {
                memcpy(both + 64, choice, sizeof(choice));
                sha256_hex(both, 128, ret->fingerprint);
        } else
                memcpy(ret->fingerprint, both, 65);
        ret->artifacts = artifacts;
        return 0;
}

/* Says it once, where people look for it; what is known again is taken back. */
static void note_blocked(struct control *c, struct node *n, int r, const struct err *err) {
        const char *why = r < 0 ? err_message(err) : NULL;
        if (str_eq(n->blocked, why))
                return;
        replace_text(&n->blocked, why);
        if (why && r != -EAGAIN) /* a node that has just come says soon what it is */
                events_add(c->events, &(struct event){.type = "NodeBlocked",
                                                      .message = why,
                                                      .node = n->name,
                                                      .fleet = n->fleet ? fleet_name(n->fleet) : NULL});
}

enum assignment_standing assignment_standing(struct control *c, struct node *n,
                                             const struct revision *revision) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct shape_for_node shape = {.artifacts = NULL};
        int r = node_shape(c, n, revision, &shape, &err);
        json_decref(shape.artifacts);
        note_blocked(c, n, r, err);
        if (r < 0)
                return ASSIGNMENT_BLOCKED;
        return n->assigned && str_eq(n->assigned->revision, revision->digest) &&
                               str_eq(n->assigned->fingerprint, shape.fingerprint)
                       ? ASSIGNMENT_CURRENT
                       : ASSIGNMENT_OTHER;
}

static void assignment_store(struct control *c, struct node *n) {
        _cleanup_(x_freep) char *fallback = NULL;
        json_t *j = assignment_to_json(n->assigned);
        _cleanup_(x_freep) char *current = must(json_encode_compact(j));
        json_decref(j);
        if (n->fallback) {
                j = assignment_to_json(n->fallback);
                fallback = must(json_encode_compact(j));
                json_decref(j);
        }
        turns_write(
                c->turns,
                "INSERT INTO assignments (node, version, current, fallback) VALUES ($1, $2, $3, $4) "
                "ON CONFLICT (node) DO UPDATE SET version = excluded.version, current = excluded.current, "
                "fallback = excluded.fallback",
                "siss", n->name, n->version, current, fallback);
}

/* Takes next over as the node's newest. Versions follow the clock where they can, so that a server put
 * back from a backup does not hand out numbers that its nodes have seen already. */
static void assignment_install(struct control *c, struct node *n, struct assignment *next) {
        msec_t now = control_now(c);
        n->version = MAX(n->version + 1, (int64_t)(now / 1000));
        next->version = n->version;
        next->issued_at = now;
        assignment_unref(n->assigned);
        n->assigned = next;
        assignment_store(c, n);
        send_later(c, n);
        repository_ahead(c, next->artifacts); /* the waves to come will want them, too */
}

bool assignments_give(struct control *c, struct node *n, const struct assignment_offer *offer,
                      bool keep_fallback) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct shape_for_node shape;
        int r = node_shape(c, n, offer->revision, &shape, &err);
        note_blocked(c, n, r, err);
        if (r < 0)
                return false;
        struct assignment *next = NEW(struct assignment);
        struct binding b = node_binding(n);
        *next = (struct assignment){.references = 1,
                                    .fleet = copy_text(offer->fleet),
                                    .rollout = copy_text(offer->rollout),
                                    .commit = copy_text(offer->commit),
                                    .length = offer->length,
                                    .labels = pairs_pack(&b.labels),
                                    .variables = pairs_pack(&b.variables),
                                    .artifacts = shape.artifacts,
                                    .waits = offer->waits,
                                    .schedule = json_incref(offer->schedule)};
        digest_copy(next->revision, offer->revision->digest);
        digest_copy(next->fingerprint, shape.fingerprint);
        if (!keep_fallback && n->assigned) {
                assignment_unref(n->fallback);
                n->fallback = assignment_ref(n->assigned);
        }
        assignment_install(c, n, next);
        return true;
}

bool assignments_rebind(struct control *c, struct node *n, const struct revision *held) {
        _cleanup_(err_freep) struct err *err = NULL;
        const struct assignment *from = n->assigned;
        struct shape_for_node shape;
        if (!from || pairs_same(from->labels, n->labels))
                return false;
        /* The variables that it has may be older than what Git says of it: those failed, perhaps. */
        const struct declaration as_given = {.variables = from->variables};
        struct node bound = *n;
        bound.declaration = &as_given;
        int r = node_shape(c, &bound, held, &shape, &err);
        note_blocked(c, n, r, err);
        if (r < 0)
                return false;
        if (str_eq(shape.fingerprint, from->fingerprint)) {
                json_decref(shape.artifacts);
                return false;
        }
        struct assignment *next = NEW(struct assignment);
        *next = (struct assignment){.references = 1,
                                    .fleet = copy_text(from->fleet),
                                    .rollout = copy_text(from->rollout),
                                    .commit = copy_text(from->commit),
                                    .length = from->length,
                                    .labels = pairs_pack(n->labels),
                                    .variables = pairs_pack(from->variables),
                                    .artifacts = shape.artifacts,
                                    .waits = from->waits,
                                    .schedule = json_incref(from->schedule)};
        digest_copy(next->revision, from->revision);
        digest_copy(next->fingerprint, shape.fingerprint);
        assignment_install(c, n, next);
        return true;
}

bool assignments_give_back(struct control *c, struct node *n, const char *rollout) {
        const struct assignment *from = n->fallback;
        if (!from)
                return false;
        struct assignment *next = NEW(struct assignment);
        *next = (struct assignment){.references = 1,
                                    .fleet = copy_text(from->fleet),
                                    .rollout = copy_text(rollout),
                                    .commit = copy_text(from->commit),
                                    .length = from->length,
                                    .labels = pairs_pack(from->labels),
                                    .variables = pairs_pack(from->variables),
                                    .artifacts = json_incref(from->artifacts)};
        digest_copy(next->revision, from->revision);
        digest_copy(next->fingerprint, from->fingerprint);
        assignment_install(c, n, next);
        return true;
}

/* A node acknowledges an assignment with its next report. One that is connected and does not (its disk was
 * full, say) is told again. */
static void remind(void *arg) {
        struct control *c = arg;
        struct node *n;
        for (size_t i = 0; inventory_next(c, &i, &n);)
                if (n->connected && n->assigned && n->report.assignment < n->assigned->version &&
                    control_now(c) - n->assigned->issued_at > REMIND_MS)
                        send_later(c, n);
        loop_timer_set(c->assignments->remind, REMIND_MS);
}

void assignments_stop(struct control *c) {
        c->assignments->remind = loop_timer_free(c->assignments->remind);
}

int assignments_open(struct control *c, struct err **err) {
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        struct assignments *a = NEW(struct assignments);
        a->control = c;
        list_init(&a->queue);
        a->remind = must(loop_timer_new(c->loop, remind, c));
        loop_timer_set(a->remind, REMIND_MS);
        c->assignments = a;
        int r = db_query_now(c->db, &rows, err, "SELECT node, version, current, fallback FROM assignments",
                             "");
        if (r < 0)
                return r;
        for (size_t i = 0; i < db_rows_len(rows); i++) {
                struct node *n = inventory_node(c, db_text(rows, i, 0));
                if (!n)
                        continue;
                n->version = db_int(rows, i, 1);
                n->assigned = assignment_from_text(db_text(rows, i, 2));
                n->fallback = assignment_from_text(db_text(rows, i, 3));
        }
        return 0;
}

struct assignments *assignments_free(struct assignments *a) {
        if (!a)
                return NULL;
        LIST_FOREACH (it, &a->queue)
                send_free(LIST_ENTRY(it, struct send, link));
        free(a);
        return NULL;
}
