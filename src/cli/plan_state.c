/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/plan_state.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "cli/kinds.h"
#include "codec/json.h"

#define NODES_MAX 1000000u

void plan_state_done(struct plan_state *s) {
        for (size_t i = 0; i < s->n_revisions; i++)
                revision_free(s->revisions[i]);
        free(s->revisions);
        fleet_model_free(s->model);
        api_free(s->api);
        arena_free(s->arena);
        *s = (struct plan_state){0};
}

static int no_memory(struct err **err) {
        return err_set_errno(err, ENOMEM, "read how things stand now");
}

static const char *keep(struct plan_state *s, const char *text) {
        return *text ? arena_strdup(s->arena, text) : NULL;
}

/* ---- the server's */

int plan_state_read_revision(struct api *a, const char *digest, struct revision **ret, char **ret_fleet,
                             struct err **err) {
        _cleanup_(buf_done) struct buf path = BUF_INIT, canonical = BUF_INIT;
        _cleanup_json_ json_t *answer = NULL;
        buf_puts(&path, "/revisions/");
        url_put(&path, digest);
        int r = api_call(a, "GET", buf_str(&path), NULL, &answer, err);
        if (r < 0) {
                (void)err_wrap(err, "read revision %s", digest);
                return r;
        }
        const json_t *spec = field(answer, "spec");
        if (!spec)
                return err_set(err, EPROTO, "read revision %s: the server's answer has no content", digest);
        r = json_encode_canonical(spec, &canonical, err);
        if (r == 0)
                r = revision_decode(buf_str(&canonical), canonical.len, ret, err);
        if (r < 0)
                (void)err_wrap(err, "read revision %s", digest);
        else if (ret_fleet && !(*ret_fleet = str_dup(field_text(answer, "status.fleet")))) {
                *ret = revision_free(*ret);
                r = no_memory(err);
        }
        return r;
}

static int read_fleets(struct api *a, const char *source, struct plan_state *s, struct err **err) {
        _cleanup_json_ json_t *list = NULL;
        int r = kind_list(a, kind_find("fleets", NULL), "", &list, err);
        if (r < 0)
                return r;
        const json_t *items = field(list, "items");
        size_t n = json_array_size(items), i;
        json_t *o;
        s->before = arena_calloc(s->arena, n + 1, sizeof(*s->before));
        s->revisions = calloc(n + 1, sizeof(struct revision *));
        if (!s->before || !s->revisions)
                return no_memory(err);
        json_array_foreach ((json_t *)items, i, o) {
                const char *digest = field_text(o, "status.desiredRevision");
                struct plan_fleet_before *b = &s->before[s->n_before];
                if (!str_eq(field_text(o, "status.source"), source))
                        continue;
                b->fleet = keep(s, object_name(o));
                if (!b->fleet)
                        return no_memory(err);
                if (*digest) {
                        r = plan_state_read_revision(a, digest, &s->revisions[s->n_revisions], NULL, err);
                        if (r < 0)
                                return r;
                        b->revision = s->revisions[s->n_revisions++];
                }
                s->n_before++;
        }
        return 0;
}

static const struct revision *revision_by_digest(const struct plan_state *s, const char *digest) {
        for (size_t i = 0; digest && i < s->n_revisions; i++)
                if (str_eq(s->revisions[i]->digest, digest))
                        return s->revisions[i];
        return NULL;
}

/* Owned by no fleet, or by one that is looked at. */
static bool is_concerned(const struct plan_state *s, const json_t *node) {
        const char *fleet = field_text(node, "status.fleet");
        for (size_t i = 0; i < s->n_before; i++)
                if (str_eq(s->before[i].fleet, fleet))
                        return true;
        return !*fleet;
}

/* What it was told to have lies there, or will. */
static int read_seeds(struct plan_state *s, const json_t *artifacts, struct plan_node *n) {
        size_t i;
        json_t *one;
        const char **seeds = arena_calloc(s->arena, json_array_size(artifacts) + 1, sizeof(*seeds));
        n->seeds = seeds;
        json_array_foreach ((json_t *)artifacts, i, one) {
                const char *sha256 = seeds ? keep(s, field_text(one, "sha256")) : NULL;
                if (!sha256)
                        return -ENOMEM;
                seeds[n->n_seeds++] = sha256;
        }
        return seeds ? 0 : -ENOMEM;
}

static int read_node(struct plan_state *s, const json_t *o, struct plan_node *n, struct fleet_node *known,
                     struct err **err) {
        n->name = keep(s, object_name(o));
        n->connected = field_bool(o, "status.connected");
        n->fleet = keep(s, field_text(o, "status.fleet"));
        n->revision = keep(s, field_text(o, "status.desired.revision"));
        n->platform = keep(s, field_text(o, "status.platform"));
        if (read_seeds(s, field(o, "status.desired.artifacts"), n) < 0)
                return no_memory(err);
        if (!n->name)
                return err_set(err, EPROTO, "the server names a node that has no name");
        int r = pairs_from_json(s->arena, field(o, "metadata.labels"), NULL, NULL, &n->labels, err);
        if (r == 0)
                r = pairs_from_json(s->arena, field(o, "spec.variables"), NULL, NULL, &n->variables, err);
        if (r < 0) {
                (void)err_wrap(err, "node %s", n->name);
                return r;
        }
        const struct revision *revision = revision_by_digest(s, n->revision);
        if (revision) {
                const struct binding b = {n->name, n->labels, n->variables};
                char fingerprint[65];
                r = revision_binding_fingerprint(revision, &b, fingerprint);
                if (r < 0 || !(n->fingerprint = arena_strdup(s->arena, fingerprint)))
                        return no_memory(err);
        }
        *known = (struct fleet_node){.name = n->name,
                                     .labels = n->labels,
                                     .variables = n->variables,
                                     .recipient = keep(s, field_text(o, "status.facts.recipient"))};
        return 0;
}

static int read_nodes(struct api *a, struct plan_state *s, struct err **err) {
        _cleanup_json_ json_t *list = NULL;
        int r = kind_list(a, kind_find("nodes", NULL), "", &list, err);
        if (r < 0)
                return r;
        const json_t *items = field(list, "items");
        size_t n = json_array_size(items), i;
        json_t *o;
        if (n > NODES_MAX)
                return err_set(err, E2BIG, "the server knows more than %u nodes", NODES_MAX);
        s->nodes = arena_calloc(s->arena, n + 1, sizeof(*s->nodes));
        s->inventory = arena_calloc(s->arena, n + 1, sizeof(*s->inventory));
        if (!s->nodes || !s->inventory)
                return no_memory(err);
        json_array_foreach ((json_t *)items, i, o) {
                if (field_bool(o, "status.revoked") || !is_concerned(s, o))
                        continue;
                r = read_node(s, o, &s->nodes[s->n_nodes], &s->inventory[s->n_nodes], err);
                if (r < 0)
                        return r;
                s->n_nodes++;
        }
        return 0;
}

int plan_state_from_server(struct api *a, const char *source, struct plan_state *ret, struct err **err) {
        struct plan_state s = {.arena = arena_new(0), .api = a};
        int r = s.arena ? read_fleets(a, source, &s, err) : no_memory(err);
        if (r == 0)
                r = read_nodes(a, &s, err);
        if (r < 0) {
                plan_state_done(&s);
                return r;
        }
        *ret = s;
        return 0;
}

/* ---- another folder's */

static int fill_from_model(struct plan_state *s, struct err **err) {
        const struct fleet_model *m = s->model;
        s->before = arena_calloc(s->arena, m->n_fleets + 1, sizeof(*s->before));
        s->nodes = arena_calloc(s->arena, m->n_nodes + 1, sizeof(*s->nodes));
        if (!s->before || !s->nodes)
                return no_memory(err);
        for (size_t i = 0; i < m->n_fleets; i++)
                s->before[s->n_before++] =
                        (struct plan_fleet_before){m->fleets[i].name, m->fleets[i].revision};
        for (size_t i = 0; i < m->n_nodes; i++) {
                const struct fleet_node *from = &m->nodes[i];
                const struct fleet_spec *owner = NULL;
                struct plan_node *n = &s->nodes[s->n_nodes++];
                *n = (struct plan_node){
                        .name = from->name, .labels = from->labels, .variables = from->variables};
                if (fleet_model_owner(m, &from->labels, &owner) != 1)
                        continue;
                const struct binding b = {from->name, from->labels, from->variables};
                char fingerprint[65];
                n->fleet = owner->name;
                n->revision = owner->revision->digest;
                if (revision_binding_fingerprint(owner->revision, &b, fingerprint) < 0 ||
                    !(n->fingerprint = arena_strdup(s->arena, fingerprint)))
                        return no_memory(err);
        }
        return 0;
}

int plan_state_from_model(struct fleet_model *model, struct plan_state *ret, struct err **err) {
        struct plan_state s = {.arena = arena_new(0), .model = model};
        int r = s.arena ? fill_from_model(&s, err) : no_memory(err);
        if (r < 0) {
                plan_state_done(&s);
                return r;
        }
        *ret = s;
        return 0;
}

int plan_state_read_object(void *arg, const char *sha256, char **ret_data, size_t *ret_len) {
        const struct plan_state *s = arg;
        if (s->api) {
                _cleanup_(x_freep) char *path = str_format("/objects/%s", sha256);
                return path ? api_get_bytes(s->api, path, ret_data, ret_len, NULL) : -ENOMEM;
        }
        for (size_t i = 0; s->model && i < s->model->n_objects; i++) {
                const struct fleet_object *o = &s->model->objects[i];
                if (!str_eq(o->sha256, sha256))
                        continue;
                char *copy = malloc(o->len + 1);
                if (!copy)
                        return -ENOMEM;
                memcpy(copy, o->data, o->len);
                copy[o->len] = '\0';
                *ret_data = copy;
                *ret_len = o->len;
                return 0;
        }
        return -ENOENT;
}
