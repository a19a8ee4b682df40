/* SPDX-License-Identifier: Apache-2.0 */
/* Apps: the files and manifests they name, and what they depend on. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "codec/yaml.h"
#include "crypto/digest.h"
#include "fleet/compiler.h"

#define CYCLE_TEXT_SIZE 512

static int no_memory(struct compiler *c) {
        return err_set_errno(c->err, ENOMEM, "compile");
}

/* ---- Files */

int compiler_keep_object(struct compiler *c, const char *sha256, const char *data, size_t len) {
        struct fleet_object *o;

        if (table_get(c->objects, sha256))
                return 0;
        o = arena_alloc(c->arena, sizeof *o);
        if (!o)
                return no_memory(c);
        memcpy(o->sha256, sha256, sizeof o->sha256);
        o->data = (char *)data;
        o->len = len;
        return table_set(c->objects, o->sha256, o) < 0 ? no_memory(c) : 0;
}

static int read_source(struct compiler *c, struct app_entry *e, const struct file_document *document,
                       struct app_file *file) {
        const struct fleet_tree_entry *entry = NULL;
        const struct parsed *content = NULL;
        int r;

        r = compiler_find_file(c, &document->source, &entry);
        if (r < 0 || !entry)
                return r;
        r = compiler_parse(c, document->expand ? PARSED_TEMPLATE : PARSED_CONTENT, entry, APP_FILE_MAX,
                           &content);
        if (r == -EFBIG) {
                compiler_error(c, &document->source.where, "publish large files another way",
                               "file \"%.200s\" is larger than %u MiB", entry->path, APP_FILE_MAX >> 20);
                return 0;
        }
        if (r < 0)
                return r;
        file->sha256 = content->sha256;
        file->size = (int64_t)content->len;
        if (document->expand && content->has_references)
                e->texts[e->n_texts++] = content;
        file->expand = document->expand && content->has_references;
        return compiler_keep_object(c, content->sha256, content->data, content->len);
}

static int use_content(struct compiler *c, const struct file_document *document, struct app_file *file) {
        size_t len = strlen(document->content.text);
        char sha256[SHA256_HEX_SIZE];

        sha256_hex(document->content.text, len, sha256);
        file->sha256 = arena_strdup(c->arena, sha256);
        file->size = (int64_t)len;
        file->expand = document->expand && strstr(document->content.text, "${");
        if (!file->sha256)
                return no_memory(c);
        return compiler_keep_object(c, sha256, document->content.text, len);
}

static const struct app_file *find_path(const struct app_entry *e, const char *path) {
        for (size_t i = 0; i < e->n_files; i++)
                if (str_eq(e->files[i].path, path))
                        return &e->files[i];
        return NULL;
}

int link_files(struct compiler *c, struct app_entry *e, const struct file_document *files, size_t n) {
        struct position *places = arena_calloc(c->arena, n + 1, sizeof *places);

        e->files = arena_calloc(c->arena, n + 1, sizeof *e->files);
        if (!e->files || !places)
                return no_memory(c);
        e->file_places = places;
        for (size_t i = 0; i < n; i++) {
                const struct file_document *d = &files[i];
                struct app_file file = {
                        .path = d->path.text,
                        .mode = d->mode,
                        .owner = d->owner,
                        .group = d->group,
                };
                const struct app_file *first;
                int r = 0;

                if (!d->path.text || !d->content.text == !d->source.text)
                        continue; /* reported when it was read */
                first = find_path(e, d->path.text);
                if (first) {
                        compiler_error(c, &d->path.where, NULL,
                                       "file \"%.200s\" is there twice, first in line %" PRIu32, d->path.text,
                                       e->file_places[first - e->files].line);
                        continue;
                }
                r = d->source.text ? read_source(c, e, d, &file) : use_content(c, d, &file);
                if (r < 0)
                        return r;
                if (!file.sha256)
                        continue;
                places[e->n_files] = d->path.where;
                e->files[e->n_files++] = file;
                e->content_size += file.size;
        }
        return 0;
}

/* ---- Manifests */

static void add_objects(struct compiler *c, struct app_entry *e, const struct parsed *manifest) {
        for (size_t i = 0; i < manifest->manifest.n_objects; i++) {
                const struct manifest_object *o = &manifest->manifest.objects[i], *first = NULL;

                for (size_t j = 0; j < e->n_objects && !first; j++)
                        if (str_eq(e->objects[j]->kind, o->kind) && str_eq(e->objects[j]->name, o->name))
                                first = e->objects[j];
                if (first)
                        compiler_error(c, &o->where, NULL,
                                       "%s \"%.80s\" is there twice in app \"%s\", first at %s:%" PRIu32,
                                       o->kind, o->name, e->name, first->where.file, first->where.line);
                else if (e->n_objects == MANIFEST_OBJECTS_MAX)
                        compiler_error(c, &o->where, "make two apps of it",
                                       "app \"%s\" has more than %d Kubernetes objects", e->name,
                                       MANIFEST_OBJECTS_MAX);
                else
                        e->objects[e->n_objects++] = o;
        }
}

static bool has_object(const struct app_entry *e, const char *kind, const char *name) {
        for (size_t i = 0; i < e->n_objects; i++)
                if (str_eq(e->objects[i]->kind, kind) && str_eq(e->objects[i]->name, name))
                        return true;
        return false;
}

/* ConfigMaps exist in manifests alone. Secrets may also have been made on the node by hand. */
static void check_use(struct compiler *c, const struct app_entry *e, const struct manifest_use *u) {
        const char *names[MANIFEST_OBJECTS_MAX];
        char suggestion[SUGGESTION_SIZE];
        size_t n = 0;

        if (u->kind == MANIFEST_USES_SECRET_ENVIRONMENT && has_object(e, "Secret", u->name))
                compiler_error(c, &u->where, "mount it as a volume, or use a ConfigMap",
                               "podman 4.3 cannot read Secret \"%.80s\" of a manifest into the environment",
                               u->name);
        if (u->kind == MANIFEST_USES_SECRET_VOLUME && has_object(e, "Secret", u->name))
                compiler_warning(
                        c, &u->where, "decode it in the container",
                        "podman 4.3 mounts the values of Secret \"%.80s\" as they are written, in base64",
                        u->name);
        if (u->kind != MANIFEST_USES_CONFIG_MAP || u->optional || has_object(e, "ConfigMap", u->name))
                return;
        for (size_t i = 0; i < e->n_objects; i++)
                if (str_eq(e->objects[i]->kind, "ConfigMap"))
                        names[n++] = e->objects[i]->name;
        compiler_error(c, &u->where, suggest_nearest(u->name, names, n, suggestion, sizeof suggestion),
                       "ConfigMap \"%.80s\" is in no manifest of app \"%s\"", u->name, e->name);
}

static void check_uses(struct compiler *c, const struct app_entry *e) {
        for (size_t i = 0; i < e->n_texts; i++)
                if (diagnostics_errors(e->texts[i]->diagnostics) > 0)
                        return; /* what is missing may stand in a broken object */
        for (size_t i = 0; i < e->n_texts; i++)
                for (size_t j = 0; j < e->texts[i]->manifest.n_uses; j++)
                        check_use(c, e, &e->texts[i]->manifest.uses[j]);
}

static int link_manifests(struct compiler *c, struct app_entry *e) {
        const struct located_list *manifests = &e->document->app->manifests;

        e->objects = arena_calloc(c->arena, MANIFEST_OBJECTS_MAX, sizeof *e->objects);
        if (!e->objects)
                return no_memory(c);
        for (size_t i = 0; i < manifests->n; i++) {
                const struct fleet_tree_entry *entry = NULL;
                const struct parsed *manifest = NULL;
                bool repeated = false;
                int r;

                r = compiler_find_file(c, &manifests->items[i], &entry);
                if (r < 0)
                        return r;
                if (!entry)
                        continue;
                r = compiler_parse(c, PARSED_MANIFEST, entry, YAML_MAX_BYTES, &manifest);
                if (r == -EFBIG) {
                        compiler_error(c, &manifests->items[i].where, "split it",
                                       "manifest \"%.200s\" is larger than %u MiB", entry->path,
                                       YAML_MAX_BYTES >> 20);
                        continue;
                }
                if (r < 0)
                        return r;
                for (size_t j = 0; j < e->n_texts && !repeated; j++)
                        repeated = e->texts[j] == manifest;
                if (repeated) {
                        compiler_error(c, &manifests->items[i].where, NULL,
                                       "manifest \"%.200s\" is listed twice", entry->path);
                        continue;
                }
                e->texts[e->n_texts++] = manifest;
                add_objects(c, e, manifest);
        }
        check_uses(c, e);
        return 0;
}

/* ---- Dependencies */

static int link_dependencies(struct compiler *c, struct app_entry *e) {
        const struct located_list *names = &e->document->app->depends_on;

        e->dependencies = arena_calloc(c->arena, names->n + 1, sizeof(struct app_entry *));
        if (!e->dependencies)
                return no_memory(c);
        for (size_t i = 0; i < names->n; i++) {
                ssize_t found = compiler_find(c, FLEET_KIND_APP, names->items[i].text);

                if (str_eq(names->items[i].text, FILES_APP))
                        compiler_error(c, &names->items[i].where, "leave it out",
                                       "every app depends on the fleet's files anyway");
                else if (found < 0)
                        compiler_missing(c, FLEET_KIND_APP, &names->items[i]);
                else
                        e->dependencies[e->n_dependencies++] = &c->apps[found];
        }
        return 0;
}

enum { UNSEEN, ON_PATH, DONE };
struct step {
        struct app_entry *app;
        size_t next; /* dependency to look at */
};

static void report_cycle(struct compiler *c, const struct step *from, const struct step *last) {
        const struct located_list *names = &from->app->document->app->depends_on;
        const struct position *where = &from->app->document->where;
        const struct step *second = from == last ? from : from + 1;
        char text[CYCLE_TEXT_SIZE];
        size_t used = 0;

        for (const struct step *s = from; s <= last && used < sizeof text; s++)
                used += (size_t)snprintf(text + used, sizeof text - used, "%s -> ", s->app->name);
        for (size_t i = 0; i < names->n; i++)
                if (str_eq(names->items[i].text, second->app->name))
                        where = &names->items[i].where;
        compiler_error(c, where, "take one of the dependsOn out",
                       "apps depend on each other in a circle: %s%s", text,
                       used < sizeof text ? from->app->name : "...");
}

/* Depth first, with a stack of our own: a chain of apps may be as long as a repository. */
static int find_cycles(struct compiler *c) {
        size_t n = c->kinds[FLEET_KIND_APP].n_all;
        _cleanup_(x_freep) struct step *path = calloc(n + 1, sizeof *path);

        if (!path)
                return no_memory(c);
        for (size_t i = 0; i < n; i++) {
                size_t depth = 0;

                if (c->apps[i].mark != UNSEEN)
                        continue;
                path[depth++] = (struct step){&c->apps[i], 0};
                c->apps[i].mark = ON_PATH;
                while (depth > 0) {
                        struct step *top = &path[depth - 1];
                        struct app_entry *next;

                        if (top->next == top->app->n_dependencies) {
                                top->app->mark = DONE;
                                depth--;
                                continue;
                        }
                        next = top->app->dependencies[top->next++];
                        if (next->mark == UNSEEN) {
                                next->mark = ON_PATH;
                                path[depth++] = (struct step){next, 0};
                        } else if (next->mark == ON_PATH) {
                                struct step *from = top;
                                while (from->app != next)
                                        from--;
                                report_cycle(c, from, top);
                        }
                }
        }
        return 0;
}

static int link_app(struct compiler *c, struct app_entry *e) {
        const struct app_document *a = e->document->app;
        int r;

        e->texts = arena_calloc(c->arena, a->n_files + a->manifests.n + 1, sizeof(struct parsed *));
        if (!e->texts)
                return no_memory(c);
        r = link_files(c, e, a->files, a->n_files);
        if (r == 0)
                r = link_secrets(c, e);
        if (r == 0 && a->manifests.n > 0)
                r = link_manifests(c, e);
        if (r == 0)
                r = link_dependencies(c, e);
        return r;
}

int link_apps(struct compiler *c) {
        const struct named *k = &c->kinds[FLEET_KIND_APP];

        c->apps = arena_calloc(c->arena, k->n_all + 1, sizeof *c->apps);
        if (!c->apps)
                return no_memory(c);
        for (size_t i = 0; i < k->n_all; i++) {
                c->apps[i].name = k->items[i]->called;
                c->apps[i].document = k->items[i];
        }
        for (size_t i = 0; i < k->n_all; i++) {
                int r;
                if (str_eq(c->apps[i].name, FILES_APP))
                        compiler_error(c, &k->items[i]->where, "choose another name",
                                       "the app name \"" FILES_APP
                                       "\" is kept for the files of a fleet's template");
                r = link_app(c, &c->apps[i]);
                if (r < 0)
                        return r;
        }
        return find_cycles(c);
}
