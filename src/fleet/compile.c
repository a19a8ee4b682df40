/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/compile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "codec/yaml.h"
#include "fleet/compiler.h"

/* YAML that is no fleet file may be larger than a fleet file may be; past this nobody looks. */
#define LOOK_MAX (4 * (size_t)YAML_MAX_BYTES)
#define PATH_SIZE 4097
#define SUGGESTIONS_MAX 200

/* ---- The model's lifetime */

struct model {
        struct fleet_model model;
        struct parsed **parsed; /* what its strings live in */
        size_t n_parsed, cap_parsed;
};

struct fleet_model *fleet_model_free(struct fleet_model *m) {
        struct model *owner;

        if (!m)
                return NULL;
        owner = CONTAINER_OF(m, struct model, model);
        for (size_t i = 0; i < m->n_fleets; i++) {
                revision_free(m->fleets[i].revision);
                free(m->fleets[i].revision_json);
        }
        for (size_t i = 0; i < owner->n_parsed; i++)
                parsed_unref(owner->parsed[i]);
        free(owner->parsed);
        diagnostics_free(m->diagnostics);
        arena_free(m->arena);
        free(owner);
        return NULL;
}

static int model_new(struct fleet_model **ret) {
        _cleanup_(x_freep) struct model *owner = calloc(1, sizeof *owner);
        struct model *m;

        if (!owner)
                return -ENOMEM;
        owner->model.arena = arena_new(0);
        owner->model.diagnostics = diagnostics_new();
        m = TAKE_PTR(owner);
        if (!m->model.arena || !m->model.diagnostics) {
                fleet_model_free(&m->model);
                return -ENOMEM;
        }
        *ret = &m->model;
        return 0;
}

/* The model keeps what it was made of. */
static int model_keep(struct fleet_model *m, struct parsed *p) {
        struct model *owner = CONTAINER_OF(m, struct model, model);

        if (owner->n_parsed == owner->cap_parsed) {
                size_t cap = owner->cap_parsed ? owner->cap_parsed * 2 : 64;
                struct parsed **grown = reallocarray(owner->parsed, cap, sizeof *grown);
                if (!grown)
                        return -ENOMEM;
                owner->parsed = grown;
                owner->cap_parsed = cap;
        }
        owner->parsed[owner->n_parsed++] = parsed_ref(p);
        return 0;
}

/* ---- The cache */

struct cache_item {
        struct parsed *parsed;
        uint64_t generation; /* of the last compile that wanted it */
};
struct fleet_cache {
        struct table *items;
        uint64_t generation;
};

static void cache_item_free(void *p) {
        struct cache_item *item = p;
        parsed_unref(item->parsed);
        free(item);
}

struct fleet_cache *fleet_cache_new(void) {
        _cleanup_(fleet_cache_freep) struct fleet_cache *c = calloc(1, sizeof *c);
        if (!c)
                return NULL;
        c->items = table_new(cache_item_free);
        return c->items ? TAKE_PTR(c) : NULL;
}

struct fleet_cache *fleet_cache_free(struct fleet_cache *c) {
        if (!c)
                return NULL;
        table_free(c->items);
        free(c);
        return NULL;
}

static struct parsed *cache_get(struct fleet_cache *cache, const char *key) {
        struct cache_item *item = cache && key ? table_get(cache->items, key) : NULL;
        if (!item)
                return NULL;
        item->generation = cache->generation;
        return item->parsed;
}

/* A failure only means that the file is read again next time. */
static void cache_put(struct fleet_cache *cache, const char *key, struct parsed *p) {
        struct cache_item *item;

        if (!cache || !key || !(item = calloc(1, sizeof *item)))
                return;
        item->parsed = parsed_ref(p);
        item->generation = cache->generation;
        if (table_set(cache->items, key, item) < 0)
                cache_item_free(item);
}

static void cache_sweep(struct fleet_cache *cache) {
        const char *key;
        void *value;

        for (size_t i = 0; cache && table_next(cache->items, &i, &key, &value);)
                if (((struct cache_item *)value)->generation != cache->generation)
                        table_remove(cache->items, key);
}

/* ---- Reporting */

void compiler_error(struct compiler *c, const struct position *where, const char *suggestion,
                    const char *format, ...) {
        char message[1024];
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(message, sizeof message, format, ap);
        va_end(ap);
        diagnostics_add(c->diagnostics, SEVERITY_ERROR, where, suggestion, "%s", message);
}

void compiler_warning(struct compiler *c, const struct position *where, const char *suggestion,
                      const char *format, ...) {
        char message[1024];
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(message, sizeof message, format, ap);
        va_end(ap);
        diagnostics_add(c->diagnostics, SEVERITY_WARNING, where, suggestion, "%s", message);
}

/* Looking for what is near takes a walk over all names: not for more faults than anybody will read. */
static bool may_suggest(const struct compiler *c) {
        return diagnostics_errors(c->diagnostics) < SUGGESTIONS_MAX;
}

static bool seems_to_be_there(const struct compiler *c, int kind, const char *name) {
        char key[80];
        (void)snprintf(key, sizeof key, "%d%s", kind, name);
        return table_get(c->seeming, key) != NULL;
}

void compiler_missing(struct compiler *c, enum fleet_kind kind, const struct located *name) {
        const struct named *k = &c->kinds[kind];
        char suggestion[SUGGESTION_SIZE];

        if (seems_to_be_there(c, (int)kind, name->text) || seems_to_be_there(c, -1, name->text))
                return;
        compiler_error(c, &name->where,
                       may_suggest(c)
                               ? suggest_nearest(name->text, k->names, k->n, suggestion, sizeof suggestion)
                               : NULL,
                       "there is no %s \"%s\"", fleet_kind_names[kind], name->text);
}

/* ---- Files of the tree */

int compiler_parse(struct compiler *c, enum parsed_kind kind, const struct fleet_tree_entry *e, size_t limit,
                   const struct parsed **ret) {
        _cleanup_(x_freep) char *key = NULL, *cache_key = NULL;
        _cleanup_(parsed_unrefp) struct parsed *fresh = NULL;
        struct parsed *p;
        int r;

        key = str_format("%d%s", (int)kind, e->path);
        cache_key = e->content_id ? str_format("%d%s\n%s", (int)kind, e->path, e->content_id) : NULL;
        if (!key || (e->content_id && !cache_key))
                return err_set_errno(c->err, ENOMEM, "compile %s", e->path);
        p = table_get(c->parsed, key);
        if (p) {
                *ret = p;
                return 0;
        }
        p = cache_get(c->cache, cache_key);
        if (!p) {
                char *text = NULL;
                size_t len = 0;

                if (e->size >= 0 && (uint64_t)e->size > limit)
                        return -EFBIG;
                r = c->tree->read(c->tree->arg, e, limit, &text, &len, c->err);
                if (r == -EFBIG) {
                        if (c->err)
                                *c->err = err_free(*c->err);
                        return r;
                }
                if (r < 0)
                        return err_wrap(c->err, "compile %s", e->path);
                r = parsed_new(kind, e->path, text, len, &fresh);
                if (r < 0)
                        return err_set_errno(c->err, -r, "compile %s", e->path);
                p = fresh;
                cache_put(c->cache, cache_key, p);
        }
        if (model_keep(c->model, p) < 0 || table_set(c->parsed, key, p) < 0)
                return err_set_errno(c->err, ENOMEM, "compile %s", e->path);
        for (size_t i = 0; i < diagnostics_len(p->diagnostics); i++) {
                const struct diagnostic *g = diagnostics_at(p->diagnostics, i);
                const struct position where = {g->file, g->line, g->column};
                diagnostics_add(c->diagnostics, g->severity, &where, g->suggestion, "%s", g->message);
        }
        *ret = p;
        return 0;
}

static int compare_entries(const void *a, const void *b) {
        return strcmp((*(const struct fleet_tree_entry *const *)a)->path,
                      (*(const struct fleet_tree_entry *const *)b)->path);
}

static const struct fleet_tree_entry *find_entry(const struct compiler *c, const char *path) {
        const struct fleet_tree_entry key = {.path = path}, *k = &key, **found;
        found = bsearch(&k, c->entries, c->tree->n, sizeof *c->entries, compare_entries);
        return found ? *found : NULL;
}

/* "fleet/shops.yaml" and "../files/motd" give "files/motd". -EXDEV when that leaves the root. */
static int resolve(const char *beside, const char *name, char out[PATH_SIZE]) {
        const char *slash = strrchr(beside, '/');
        size_t len = slash ? (size_t)(slash - beside) : 0;

        if (len >= PATH_SIZE)
                return -ENAMETOOLONG;
        memcpy(out, beside, len);
        for (const char *p = name; *p;) {
                size_t n = strcspn(p, "/");
                if (n == 2 && p[0] == '.' && p[1] == '.') {
                        if (len == 0)
                                return -EXDEV;
                        while (len > 0 && out[len - 1] != '/')
                                len--;
                        len -= len > 0; /* the slash */
                } else if (n > 0 && !(n == 1 && p[0] == '.')) {
                        if (len + n + 2 > PATH_SIZE)
                                return -ENAMETOOLONG;
                        if (len > 0)
                                out[len++] = '/';
                        memcpy(out + len, p, n);
                        len += n;
                }
                p += n + (p[n] == '/');
        }
        out[len] = '\0';
        return 0;
}

/* A file of that folder with a name that is near, or one anywhere with the same name. */
static const char *suggest_file(const struct compiler *c, const char *path, char *buf, size_t size) {
        const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path, *nearest = NULL,
                   *same_name = NULL;
        size_t folder = (size_t)(name - path), limit = 1 + strlen(name) / 4, best = limit + 1;

        for (size_t i = 0; i < c->tree->n; i++) {
                const char *candidate = c->entries[i]->path;
                const char *slash = strrchr(candidate, '/'), *last = slash ? slash + 1 : candidate;

                if ((size_t)(last - candidate) == folder && strncmp(candidate, path, folder) == 0) {
                        size_t distance = str_distance(name, last, limit);
                        if (distance < best) {
                                best = distance;
                                nearest = candidate;
                        }
                } else if (!same_name && str_eq(last, name)) {
                        same_name = candidate;
                }
        }
        if (!nearest)
                nearest = same_name;
        if (!nearest)
                return NULL;
        (void)snprintf(buf, size, "did you mean \"%s\"?", nearest);
        return buf;
}

int compiler_find_file(struct compiler *c, const struct located *name, const struct fleet_tree_entry **ret) {
        char path[PATH_SIZE], suggestion[SUGGESTION_SIZE];
        const struct fleet_tree_entry *e;
        int r;

        *ret = NULL;
        if (name->text[0] == '/') {
                compiler_error(c, &name->where, "write it relative to this file",
                               "path \"%.200s\" is absolute", name->text);
                return 0;
        }
        r = resolve(name->where.file, name->text, path);
        if (r == -EXDEV) {
                compiler_error(c, &name->where, "files come from the repository alone",
                               "path \"%.200s\" leaves the repository", name->text);
                return 0;
        }
        e = r == 0 ? find_entry(c, path) : NULL;
        if (!e) {
                compiler_error(c, &name->where,
                               r == 0 && may_suggest(c) ? suggest_file(c, path, suggestion, sizeof suggestion)
                                                        : NULL,
                               "there is no file \"%.200s\"", r == 0 ? path : name->text);
                return 0;
        }
        *ret = e;
        return 0;
}

/* Part of a hidden folder, or hidden itself? */
static bool is_hidden(const char *path) {
        return path[0] == '.' || strstr(path, "/.");
}

static int index_tree(struct compiler *c) {
        bool sorted = true;

        c->entries = arena_calloc(c->arena, c->tree->n, sizeof *c->entries);
        c->unread_files = arena_calloc(c->arena, c->tree->n, sizeof(struct parsed *));
        if (!c->entries || !c->unread_files)
                return err_set_errno(c->err, ENOMEM, "compile");
        for (size_t i = 0; i < c->tree->n; i++) {
                c->entries[i] = &c->tree->entries[i];
                sorted = sorted && (i == 0 || strcmp(c->entries[i - 1]->path, c->entries[i]->path) < 0);
        }
        /* Git's order puts "a.b" before "a/b" only sometimes; we search by bytes. */
        if (!sorted)
                qsort(c->entries, c->tree->n, sizeof *c->entries, compare_entries);
        return 0;
}

/* ---- Documents by kind and name */

struct gathering {
        const struct document **items;
        size_t n, cap;
};

static int gather(struct gathering *g, const struct document *d) {
        if (g->n == g->cap) {
                size_t cap = g->cap ? g->cap * 2 : 64;
                const struct document **grown = reallocarray(g->items, cap, sizeof *grown);
                if (!grown)
                        return -ENOMEM;
                g->items = grown;
                g->cap = cap;
        }
        g->items[g->n++] = d;
        return 0;
}

/* By name, those without one last; equal names in the order they were found. */
static int compare_documents(const void *a, const void *b) {
        const struct document *x = *(const struct document *const *)a,
                              *y = *(const struct document *const *)b;
        const char *x_name = x->metadata.name.text, *y_name = y->metadata.name.text;
        int r = x_name && y_name ? strcmp(x_name, y_name) : !x_name - !y_name;
        if (r == 0)
                r = strcmp(x->where.file, y->where.file);
        if (r == 0)
                r = (x->where.line > y->where.line) - (x->where.line < y->where.line);
        return r;
}

static int name_documents(struct compiler *c, enum fleet_kind kind, struct gathering *g) {
        const struct document **others = arena_calloc(c->arena, g->n + 1, sizeof *others);
        struct named *k = &c->kinds[kind];
        size_t n_others = 0;

        if (g->n > 1)
                qsort(g->items, g->n, sizeof *g->items, compare_documents);
        k->items = arena_calloc(c->arena, g->n + 1, sizeof *k->items);
        k->names = arena_calloc(c->arena, g->n + 1, sizeof *k->names);
        if (!others || !k->items || !k->names)
                return err_set_errno(c->err, ENOMEM, "compile");
        for (size_t i = 0; i < g->n; i++) {
                const struct document *d = g->items[i], *first = k->n ? k->items[k->n - 1] : NULL;
                const char *name = d->metadata.name.text;

                if (name && first && str_eq(first->metadata.name.text, name)) {
                        compiler_error(c, &d->where, NULL, "%s \"%s\" is there twice, first at %s:%" PRIu32,
                                       fleet_kind_names[kind], name, first->where.file, first->where.line);
                        name = NULL;
                }
                if (name) {
                        k->items[k->n] = d;
                        k->names[k->n++] = name;
                } else {
                        others[n_others++] = d;
                }
        }
        k->n_all = k->n + n_others;
        if (n_others)
                memcpy(k->items + k->n, others, n_others * sizeof *others);
        return 0;
}

static int compare_names(const void *a, const void *b) {
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

ssize_t compiler_find(const struct compiler *c, enum fleet_kind kind, const char *name) {
        const struct named *k = &c->kinds[kind];
        const char **found = k->n ? bsearch(&name, k->names, k->n, sizeof *k->names, compare_names) : NULL;
        return found ? found - k->names : -1;
}

static bool may_be_fleet_file(const char *path) {
        return !is_hidden(path) && (str_has_suffix(path, ".yaml") || str_has_suffix(path, ".yml"));
}

static int note_unread(struct compiler *c, const struct parsed *p) {
        if (p->fault_message)
                c->unread_files[c->n_unread_files++] = p;
        for (int kind = 0; kind < FLEET_KINDS; kind++)
                c->unread[kind] |= p->unread[kind];
        for (size_t i = 0; i < p->n_seeming; i++) {
                char key[80];
                (void)snprintf(key, sizeof key, "%d%s", p->seeming[i].kind, p->seeming[i].name);
                if (table_set(c->seeming, key, &p->seeming[i]) < 0)
                        return err_set_errno(c->err, ENOMEM, "compile");
        }
        return 0;
}

/* Does a document name the file, as a manifest or as content? Then its faults are told there. */
static int is_named(const struct compiler *c, const char *path, bool *ret) {
        *ret = false;
        for (int kind = PARSED_MANIFEST; kind <= PARSED_TEMPLATE; kind++) {
                _cleanup_(x_freep) char *key = str_format("%d%s", kind, path);
                if (!key)
                        return err_set_errno(c->err, ENOMEM, "compile");
                *ret |= table_get(c->parsed, key) != NULL;
        }
        return 0;
}

/* Files that nobody reads: another tool's, or ours in a bad state. */
static int warn_of_unread_files(struct compiler *c) {
        for (size_t i = 0; i < c->n_unread_files; i++) {
                const struct parsed *p = c->unread_files[i];
                bool named;

                if (is_named(c, p->fault.file, &named) < 0)
                        return -ENOMEM;
                if (!named)
                        compiler_warning(c, &p->fault,
                                         p->looks_like_template ? "it looks like a template of another tool"
                                                                : "mend it if it belongs to the fleet",
                                         "the file is not YAML and was passed over: %s", p->fault_message);
        }
        return 0;
}

static int read_files(struct compiler *c, struct gathering gathered[FLEET_KINDS]) {
        for (size_t i = 0; i < c->tree->n; i++) {
                const struct fleet_tree_entry *e = c->entries[i];
                const struct position where = {.file = e->path};
                const struct parsed *p = NULL;
                int r;

                if (!may_be_fleet_file(e->path))
                        continue;
                r = compiler_parse(c, PARSED_FLEET_FILE, e, LOOK_MAX, &p);
                if (r == -EFBIG)
                        compiler_warning(c, &where, "split it, if it belongs to the fleet",
                                         "the file is larger than %zu MiB and was not read", LOOK_MAX >> 20);
                else if (r < 0)
                        return r;
                for (size_t j = 0; p && j < p->n_documents; j++)
                        if (gather(&gathered[p->documents[j].kind], &p->documents[j]) < 0)
                                return err_set_errno(c->err, ENOMEM, "compile");
                if (p && note_unread(c, p) < 0)
                        return -ENOMEM;
        }
        return 0;
}

static int read_documents(struct compiler *c) {
        struct gathering gathered[FLEET_KINDS] = {0};
        int r = read_files(c, gathered);

        for (int kind = 0; kind < FLEET_KINDS; kind++) {
                if (r == 0)
                        r = name_documents(c, (enum fleet_kind)kind, &gathered[kind]);
                free(gathered[kind].items);
        }
        return r;
}

/* ---- Known nodes: what Git declares lies over what the server knows. */

static int compare_nodes(const void *a, const void *b) {
        return strcmp(((const struct fleet_node *)a)->name, ((const struct fleet_node *)b)->name);
}

static int gather_nodes(struct compiler *c, const struct fleet_node *inventory, size_t n_inventory) {
        const struct named *k = &c->kinds[FLEET_KIND_NODE];
        struct fleet_model *m = c->model;

        m->nodes = arena_calloc(c->arena, k->n + 1, sizeof *m->nodes);
        c->nodes = arena_calloc(c->arena, k->n + n_inventory + 1, sizeof *c->nodes);
        if (!m->nodes || !c->nodes)
                return err_set_errno(c->err, ENOMEM, "compile");
        for (size_t i = 0; i < k->n; i++)
                m->nodes[m->n_nodes++] = c->nodes[c->n_nodes++] = (struct fleet_node){
                        .name = k->names[i],
                        .labels = k->items[i]->metadata.labels,
                        .variables = k->items[i]->node->variables,
                        .where = k->items[i]->where,
                };
        for (size_t i = 0; i < n_inventory; i++) {
                ssize_t declared = compiler_find(c, FLEET_KIND_NODE, inventory[i].name);
                struct fleet_node *node = declared < 0 ? &c->nodes[c->n_nodes++] : &c->nodes[declared];

                if (declared < 0) {
                        *node = inventory[i];
                        node->where = (struct position){0};
                        continue;
                }
                node->recipient = inventory[i].recipient;
                if (pairs_merge(c->arena, &inventory[i].labels, &m->nodes[declared].labels, &node->labels) <
                    0)
                        return err_set_errno(c->err, ENOMEM, "compile");
        }
        if (c->n_nodes > m->n_nodes)
                qsort(c->nodes, c->n_nodes, sizeof *c->nodes, compare_nodes);
        return 0;
}

/* ---- The whole */

static int compile(struct compiler *c, const struct fleet_node *inventory, size_t n_inventory) {
        int r;

        if (c->tree->n > FLEET_FILES_MAX)
                return err_set(c->err, EFBIG,
                               "the repository holds %zu files, at most %d are read: use a sub-folder",
                               c->tree->n, FLEET_FILES_MAX);
        c->parsed = table_new(NULL);
        c->objects = table_new(NULL);
        c->seeming = table_new(NULL);
        if (!c->parsed || !c->objects || !c->seeming)
                return err_set_errno(c->err, ENOMEM, "compile");
        r = index_tree(c);
        if (r == 0)
                r = read_documents(c);
        if (r == 0)
                r = gather_nodes(c, inventory, n_inventory);
        if (r == 0)
                r = link_apps(c);
        if (r == 0)
                r = link_fleets(c);
        if (r == 0 && c->check_artifacts)
                check_artifact_versions(c);
        if (r == 0)
                r = warn_of_unread_files(c);
        if (r == 0)
                r = check_reach(c);
        if (r == 0)
                r = build_model(c);
        return r;
}

int fleet_compile(const struct fleet_tree *tree, const struct fleet_node *inventory, size_t n_inventory,
                  struct fleet_cache *cache, struct fleet_model **ret, struct err **err) {
        return fleet_compile_with(tree,
                                  &(struct fleet_compile_options){
                                          .inventory = inventory, .n_inventory = n_inventory, .cache = cache},
                                  ret, err);
}

int fleet_compile_with(const struct fleet_tree *tree, const struct fleet_compile_options *options,
                       struct fleet_model **ret, struct err **err) {
        _cleanup_(fleet_model_freep) struct fleet_model *m = NULL;
        struct fleet_cache *cache = options->cache;
        struct compiler c = {.tree = tree,
                             .cache = cache,
                             .check_artifacts = options->check_artifacts,
                             .catalog = options->catalog,
                             .why_no_catalog = options->why_no_catalog,
                             .err = err};
        int r;

        r = model_new(&m);
        if (r < 0)
                return err_set_errno(err, -r, "compile");
        c.model = m;
        c.arena = m->arena;
        c.diagnostics = m->diagnostics;
        if (cache)
                cache->generation++;
        r = compile(&c, options->inventory, options->n_inventory);
        table_free(c.parsed);
        table_free(c.objects);
        table_free(c.seeming);
        if (r < 0)
                return r;
        cache_sweep(cache);
        diagnostics_sort(m->diagnostics);
        *ret = TAKE_PTR(m);
        return 0;
}

/* ---- Looking things up */

/* All three begin with their name. */
static const void *find_named(const void *items, size_t n, size_t size, const char *name) {
        const char *base = items;
        size_t low = 0, high = n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                const char *const *candidate = (const void *)(base + middle * size);
                int r = strcmp(*candidate, name);
                if (r == 0)
                        return candidate;
                if (r < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return NULL;
}

const struct fleet_spec *fleet_model_fleet(const struct fleet_model *m, const char *name) {
        return name ? find_named(m->fleets, m->n_fleets, sizeof *m->fleets, name) : NULL;
}

const struct rollout_policy *fleet_model_policy(const struct fleet_model *m, const char *name) {
        return name ? find_named(m->policies, m->n_policies, sizeof *m->policies, name) : NULL;
}

const struct fleet_node *fleet_model_node(const struct fleet_model *m, const char *name) {
        return name ? find_named(m->nodes, m->n_nodes, sizeof *m->nodes, name) : NULL;
}

size_t fleet_model_owner(const struct fleet_model *m, const struct pairs *labels,
                         const struct fleet_spec **ret) {
        size_t n = 0;

        *ret = NULL;
        for (size_t i = 0; i < m->n_fleets; i++)
                if (selector_matches(&m->fleets[i].selector, labels) && n++ == 0)
                        *ret = &m->fleets[i];
        return n;
}
