/* SPDX-License-Identifier: Apache-2.0 */
/* Fleets against nodes: no node in two fleets, every reference known wherever a fleet reaches, no wave that
 * can never take a node. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "fleet/compiler.h"

#define NAMED_MAX 5 /* nodes that a message names */
#define NAMES_TEXT_SIZE 512
#define CANDIDATES_MAX 256

static int no_memory(struct compiler *c) {
        return err_set_errno(c->err, ENOMEM, "compile");
}

/* ---- Names of nodes in a message: the first few, and how many more. */

struct node_list {
        const struct fleet_node *first[NAMED_MAX];
        size_t n;
};

static void node_list_add(struct node_list *l, const struct fleet_node *node) {
        if (l->n < NAMED_MAX)
                l->first[l->n] = node;
        l->n++;
}

static const char *node_list_text(const struct node_list *l, char out[NAMES_TEXT_SIZE]) {
        size_t used = (size_t)snprintf(out, NAMES_TEXT_SIZE, "node%s ", l->n == 1 ? "" : "s");
        for (size_t i = 0; i < l->n && i < NAMED_MAX && used < NAMES_TEXT_SIZE; i++)
                used += (size_t)snprintf(out + used, NAMES_TEXT_SIZE - used, "%s%s", i ? ", " : "",
                                         l->first[i]->name);
        if (l->n > NAMED_MAX && used < NAMES_TEXT_SIZE)
                (void)snprintf(out + used, NAMES_TEXT_SIZE - used, " and %zu more", l->n - NAMED_MAX);
        return out;
}

/* ---- Owners */

struct overlap {
        const struct fleet_entry *a, *b;
        struct node_list nodes;
};

static int note_overlap(struct compiler *c, struct table *overlaps, const struct fleet_entry *a,
                        const struct fleet_entry *b, const struct fleet_node *node) {
        char key[160];
        struct overlap *o;

        (void)snprintf(key, sizeof key, "%s %s", a->document->called, b->document->called);
        o = table_get(overlaps, key);
        if (!o) {
                o = arena_alloc(c->arena, sizeof *o);
                if (!o || table_set(overlaps, key, o) < 0)
                        return no_memory(c);
                o->a = a;
                o->b = b;
        }
        node_list_add(&o->nodes, node);
        return 0;
}

static void report_overlaps(struct compiler *c, const struct table *overlaps) {
        char names[NAMES_TEXT_SIZE], way_out[SUGGESTION_SIZE];
        void *value;

        for (size_t i = 0; table_next(overlaps, &i, NULL, &value);) {
                const struct overlap *o = value;
                const struct position *other = &o->a->document->fleet->selector.where;

                (void)snprintf(way_out, sizeof way_out, "narrow this selector, or the other at %s:%" PRIu32,
                               other->file, other->line);
                compiler_error(c, &o->b->document->fleet->selector.where, way_out,
                               "%s: in fleet \"%s\" and in fleet \"%s\"", node_list_text(&o->nodes, names),
                               o->a->document->called, o->b->document->called);
        }
}

/* Was the selector read as it was written? Else nobody knows whom it selects. */
static bool selector_is_sure(const struct fleet_entry *f) {
        const struct selector_document *s = &f->document->fleet->selector;
        return s->where.line > 0 && !s->broken;
}

/* A fleet under a name that is taken is as a rule a copy: that it selects the same nodes goes without saying.
 */
static bool is_copy(const struct compiler *c, size_t fleet) {
        return fleet >= c->kinds[FLEET_KIND_FLEET].n && c->fleets[fleet].document->metadata.name.text;
}

static int reach_nodes(struct compiler *c, const struct fleet_entry **owners, struct table *overlaps) {
        size_t n_labelled = 0;

        for (size_t i = 0; i < c->n_nodes; i++)
                n_labelled += c->nodes[i].labels.n > 0;
        for (size_t i = 0; i < c->kinds[FLEET_KIND_FLEET].n_all; i++) {
                struct fleet_entry *f = &c->fleets[i];
                const struct selector *selector = &f->document->fleet->selector.selector;

                if (!selector_is_sure(f))
                        continue;
                f->nodes = calloc(c->n_nodes + 1, sizeof *f->nodes);
                if (!f->nodes)
                        return no_memory(c);
                for (size_t j = 0; j < c->n_nodes; j++) {
                        if (!selector_matches(selector, &c->nodes[j].labels))
                                continue;
                        f->nodes[f->n_nodes++] = j;
                        if (!owners[j])
                                owners[j] = f;
                        else if (!is_copy(c, i) && note_overlap(c, overlaps, owners[j], f, &c->nodes[j]) < 0)
                                return -ENOMEM;
                }
                if (f->n_nodes == 0 && n_labelled > 0 && !c->unread[FLEET_KIND_NODE])
                        compiler_warning(c, &f->document->fleet->selector.where, NULL,
                                         "fleet \"%s\" selects none of the %zu known node%s",
                                         f->document->called, n_labelled, n_labelled == 1 ? "" : "s");
        }
        return 0;
}

/* A node without labels in Git gets them elsewhere. */
static void report_unowned(struct compiler *c, const struct fleet_entry *const *owners) {
        struct node_list unowned = {0};
        char names[NAMES_TEXT_SIZE];

        for (size_t i = 0; i < c->n_nodes; i++)
                if (!owners[i] && c->nodes[i].where.file && c->nodes[i].labels.n > 0)
                        node_list_add(&unowned, &c->nodes[i]);
        for (size_t i = 0; i < c->kinds[FLEET_KIND_FLEET].n_all; i++)
                if (!selector_is_sure(&c->fleets[i]))
                        return; /* it may have been theirs */
        if (unowned.n > 0 && !c->unread[FLEET_KIND_FLEET])
                compiler_warning(c, &unowned.first[0]->where, "look at the fleets' selectors",
                                 "no fleet selects %s", node_list_text(&unowned, names));
}

/* ---- References */

/* One name, with the places in the fleet's template and its apps where it stands without a default. */
struct usage {
        const char *name;
        bool required;
        struct position *places;
        size_t n, cap;
};

static int note_reference(struct compiler *c, struct table *usages, const struct located_reference *r) {
        struct usage *u = table_get(usages, r->name);

        if (!u) {
                u = arena_alloc(c->arena, sizeof *u);
                if (!u || table_set(usages, r->name, u) < 0)
                        return no_memory(c);
                u->name = r->name;
        }
        if (r->has_default)
                return 0;
        u->required = true;
        if (u->n == u->cap) {
                size_t cap = u->cap ? u->cap * 2 : 4;
                struct position *grown = arena_calloc(c->arena, cap, sizeof *grown);
                if (!grown)
                        return no_memory(c);
                if (u->n)
                        memcpy(grown, u->places, u->n * sizeof *grown);
                u->places = grown;
                u->cap = cap;
        }
        u->places[u->n++] = r->where;
        return 0;
}

static int note_texts(struct compiler *c, struct table *usages, const struct app_entry *e) {
        for (size_t i = 0; i < e->n_texts; i++)
                for (size_t j = 0; j < e->texts[i]->n_references; j++)
                        if (note_reference(c, usages, &e->texts[i]->references[j]) < 0)
                                return -ENOMEM;
        return 0;
}

static int note_document(struct compiler *c, struct table *usages, const struct document *d) {
        for (size_t i = 0; i < d->n_references; i++)
                if (note_reference(c, usages, &d->references[i]) < 0)
                        return -ENOMEM;
        return 0;
}

static int gather_usages(struct compiler *c, struct table *usages, const struct fleet_entry *f) {
        int r = note_document(c, usages, f->document);

        if (r == 0 && f->files)
                r = note_texts(c, usages, f->files);
        for (size_t i = 0; i < f->n_apps && r == 0; i++) {
                r = note_document(c, usages, f->apps[i]->document);
                if (r == 0)
                        r = note_texts(c, usages, f->apps[i]);
        }
        return r;
}

struct candidates {
        const char *names[CANDIDATES_MAX];
        size_t n;
};

static void add_candidates(struct candidates *list, const struct pairs *pairs) {
        for (size_t i = 0; i < pairs->n && list->n < CANDIDATES_MAX; i++)
                list->names[list->n++] = pairs->items[i].key;
}

/* What the fleet and the first node that it reaches know under a near name. */
static const char *suggest_reference(struct compiler *c, const struct fleet_entry *f, const char *name,
                                     char *buf, size_t size) {
        const char *variable = str_after_prefix(name, "vars."), *label = str_after_prefix(name, "labels.");
        const char *own = variable ? variable : label, *nearest;
        struct candidates variables = {0}, labels = {0};

        add_candidates(&variables, &f->document->fleet->template_.variables);
        if (f->n_nodes > 0) {
                add_candidates(&variables, &c->nodes[f->nodes[0]].variables);
                add_candidates(&labels, &c->nodes[f->nodes[0]].labels);
        }
        if ((nearest = str_nearest(own, variables.names, variables.n)) && !(variable && str_eq(nearest, own)))
                (void)snprintf(buf, size, "did you mean ${vars.%s}?", nearest);
        else if ((nearest = str_nearest(own, labels.names, labels.n)) && !(label && str_eq(nearest, own)))
                (void)snprintf(buf, size, "did you mean ${labels.%s}?", nearest);
        else if (variable)
                (void)snprintf(buf, size,
                               "set it in the fleet's variables or the node's, or give a default: ${%s:-...}",
                               name);
        else
                (void)snprintf(buf, size,
                               "set the label, let the selector demand it, or give a default: ${%s:-...}",
                               name);
        return buf;
}

/* A declared node may get the labels by which a fleet selects it elsewhere: from its join token. */
static bool any_node_sets(const struct compiler *c, const char *variable) {
        for (size_t i = 0; i < c->n_nodes; i++)
                if (pairs_get(&c->nodes[i].variables, variable))
                        return true;
        return false;
}

/* A node whose document has faults may have what is missing in one of them. */
static bool is_broken_node(const struct compiler *c, const struct fleet_node *node) {
        ssize_t i = node->where.file ? compiler_find(c, FLEET_KIND_NODE, node->name) : -1;
        return i >= 0 && c->kinds[FLEET_KIND_NODE].items[i]->broken;
}

/* A label that the selector does not demand, or a variable that the fleet does not set: do the nodes have it?
 */
static void check_usage(struct compiler *c, const struct fleet_entry *f, const struct usage *u) {
        const struct fleet_document *d = f->document->fleet;
        const char *variable = str_after_prefix(u->name, "vars."),
                   *label = str_after_prefix(u->name, "labels.");
        char names[NAMES_TEXT_SIZE], way_out[SUGGESTION_SIZE];
        struct node_list missing = {0};

        if (!u->required || (!variable && !label) || (variable && d->template_.variables_unsure) ||
            (variable && pairs_get(&d->template_.variables, variable)) ||
            (label && selector_guarantees(&d->selector.selector, label)))
                return;
        for (size_t i = 0; i < f->n_nodes; i++) {
                const struct fleet_node *node = &c->nodes[f->nodes[i]];
                if (!pairs_get(variable ? &node->variables : &node->labels, variable ? variable : label) &&
                    !is_broken_node(c, node))
                        node_list_add(&missing, node);
        }
        if (missing.n > 0) {
                for (size_t i = 0; i < u->n; i++)
                        compiler_error(c, &u->places[i],
                                       suggest_reference(c, f, u->name, way_out, sizeof way_out),
                                       "${%s} is not known on %s of fleet \"%s\"", u->name,
                                       node_list_text(&missing, names), f->document->called);
        } else if (f->n_nodes == 0 && variable && !any_node_sets(c, variable) &&
                   !c->unread[FLEET_KIND_NODE]) {
                /* Nodes that nobody declared have no variables, so none could ever know it. */
                for (size_t i = 0; i < u->n; i++)
                        compiler_error(c, &u->places[i],
                                       suggest_reference(c, f, u->name, way_out, sizeof way_out),
                                       "${%s} is set neither by fleet \"%s\" nor by any known node", u->name,
                                       f->document->called);
        } else if (f->n_nodes == 0 && label) {
                for (size_t i = 0; i < u->n; i++)
                        compiler_warning(c, &u->places[i],
                                         suggest_reference(c, f, u->name, way_out, sizeof way_out),
                                         "${%s} may be unknown: the selector of fleet \"%s\" does not demand "
                                         "the label",
                                         u->name, f->document->called);
        }
}

static int compare_names(const void *a, const void *b) {
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_references(struct compiler *c, struct fleet_entry *f) {
        _cleanup_(table_freep) struct table *usages = table_new(NULL);
        void *value;
        int r = usages ? gather_usages(c, usages, f) : no_memory(c);

        if (r < 0)
                return r;
        f->uses = arena_calloc(c->arena, table_len(usages) + 1, sizeof *f->uses);
        f->requires_ = arena_calloc(c->arena, table_len(usages) + 1, sizeof *f->requires_);
        if (!f->uses || !f->requires_)
                return no_memory(c);
        for (size_t i = 0; table_next(usages, &i, NULL, &value);) {
                const struct usage *u = value;
                f->uses[f->n_uses++] = u->name;
                if (u->required)
                        f->requires_[f->n_requires++] = u->name;
                if (selector_is_sure(f))
                        check_usage(c, f, u);
        }
        if (f->n_uses)
                qsort(f->uses, f->n_uses, sizeof *f->uses, compare_names);
        if (f->n_requires)
                qsort(f->requires_, f->n_requires, sizeof *f->requires_, compare_names);
        return 0;
}

/* ---- Waves */

static void check_waves(struct compiler *c, const struct fleet_entry *f) {
        const struct rollout_document *r;

        if (!f->rollout || f->rollout->broken || !selector_is_sure(f))
                return;
        r = f->rollout->rollout;
        for (size_t i = 0; i < r->n_waves; i++) {
                const struct wave_document *w = &r->waves[i];
                const struct selector *selector = &w->selector.selector;
                bool disjoint, matches = false;

                if (w->selector.where.line == 0)
                        continue;
                disjoint = selector_disjoint(selector, &f->document->fleet->selector.selector);
                for (size_t j = 0; j < f->n_nodes && !matches && !disjoint; j++)
                        matches = selector_matches(selector, &c->nodes[f->nodes[j]].labels);
                if (disjoint)
                        compiler_warning(c, &w->selector.where, NULL,
                                         "wave \"%s\" can never take a node of fleet \"%s\": their selectors "
                                         "exclude each other",
                                         w->name, f->document->called);
                else if (!matches && f->n_nodes > 0 && !c->unread[FLEET_KIND_NODE])
                        compiler_warning(c, &w->selector.where, NULL,
                                         "wave \"%s\" takes none of the %zu known nodes of fleet \"%s\"",
                                         w->name, f->n_nodes, f->document->called);
        }
}

int check_reach(struct compiler *c) {
        _cleanup_(x_freep) const struct fleet_entry **owners = calloc(c->n_nodes + 1, sizeof *owners);
        _cleanup_(table_freep) struct table *overlaps = table_new(NULL);
        int r = owners && overlaps ? reach_nodes(c, owners, overlaps) : no_memory(c);

        if (r == 0) {
                report_overlaps(c, overlaps);
                report_unowned(c, owners);
        }
        for (size_t i = 0; i < c->kinds[FLEET_KIND_FLEET].n_all; i++) {
                struct fleet_entry *f = &c->fleets[i];
                if (r == 0)
                        r = check_references(c, f);
                if (r == 0 && c->check_artifacts)
                        r = check_bound_versions(c, f);
                if (r == 0) {
                        check_waves(c, f);
                        check_recipients(c, f);
                }
                free(f->nodes); /* as large as the fleet times the nodes; nobody needs it later */
                f->nodes = NULL;
                f->n_nodes = 0;
        }
        return r;
}
