/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/parsed.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/str.h"
#include "codec/yaml.h"
#include "crypto/digest.h"

static const char *text_of(const struct value *v) {
        return v && v->type == VALUE_STRING ? v->text : NULL;
}

static int kind_from_name(const char *name) {
        for (int i = 0; i < FLEET_KINDS; i++)
                if (str_eq(fleet_kind_names[i], name))
                        return i;
        return -1;
}

/* A slip of the keyboard in `skerry/v1alpha1`, or another version of it. */
static bool looks_like_ours(const char *api_version) {
        return str_has_prefix(api_version, "skerry") || str_distance(api_version, FLEET_API_VERSION, 3) <= 3;
}

/* Is the document one of ours? Reports those that only nearly are. */
static bool classify(struct schema_decoder *d, const struct value *v, enum fleet_kind *ret) {
        const struct value *api_version = value_get(v, "apiVersion"), *kind = value_get(v, "kind");
        char suggestion[SUGGESTION_SIZE];
        int k = text_of(kind) ? kind_from_name(kind->text) : -1;

        if (v->type != VALUE_MAP)
                return false;
        if (!text_of(api_version)) {
                if (api_version || k < 0 || !value_get(v, "metadata") || !value_get(v, "spec"))
                        return false;
                schema_error(d, &v->position, "begin it with apiVersion: " FLEET_API_VERSION,
                             "%s: field \"apiVersion\" is missing", kind->text);
                return false;
        }
        if (!str_eq(api_version->text, FLEET_API_VERSION)) {
                if (looks_like_ours(api_version->text))
                        schema_error(d, &api_version->position, "did you mean \"" FLEET_API_VERSION "\"?",
                                     "unknown apiVersion \"%.80s\"", api_version->text);
                return false;
        }
        if (!text_of(kind)) {
                schema_error(d, kind ? &kind->position : &v->position,
                             "kinds are Fleet, App, Node and Rollout",
                             kind ? "field \"kind\": expected text" : "field \"kind\" is missing");
                return false;
        }
        if (k < 0) {
                const char *near = suggest_nearest(kind->text, fleet_kind_names, FLEET_KINDS, suggestion,
                                                   sizeof suggestion);
                schema_error(d, &kind->position, near ? near : "kinds are Fleet, App, Node and Rollout",
                             "unknown kind \"%.80s\"", kind->text);
                return false;
        }
        *ret = (enum fleet_kind)k;
        return true;
}

static int read_fleet_documents(struct parsed *p, struct schema_decoder *d, struct value *const *values,
                                size_t n) {
        p->documents = arena_calloc(p->arena, n + 1, sizeof *p->documents);
        if (!p->documents)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                enum fleet_kind kind;
                int r;

                if (!classify(d, values[i], &kind))
                        continue;
                r = document_decode(d, kind, values[i], &p->documents[p->n_documents]);
                if (r < 0)
                        return r;
                p->n_documents++;
        }
        return 0;
}

static int read_yaml(struct parsed *p, struct schema_decoder *d, const struct source *source) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct value **values = NULL;
        struct position where = {.file = source->path};
        size_t n = 0;
        int r;

        r = yaml_decode(p->arena, source->path, source->text, source->len, &values, &n, &where, &err);
        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                /* Templates of other tools often end in .yaml too and are no YAML at all. */
                if (p->kind == PARSED_FLEET_FILE && !memmem(source->text, source->len, "skerry/v", 8))
                        return 0;
                diagnostics_add(p->diagnostics, SEVERITY_ERROR, &where, NULL, "%s", err_message(err));
                return 0;
        }
        if (p->kind == PARSED_FLEET_FILE)
                return read_fleet_documents(p, d, values, n);
        r = manifest_decode(d, values, n, &p->manifest);
        if (r == 0 && n == 0) {
                where = (struct position){.file = source->path};
                diagnostics_add(p->diagnostics, SEVERITY_ERROR, &where, NULL, "the manifest is empty");
        }
        return r;
}

static int read_text(struct parsed *p, const char *path, const char *text, size_t len) {
        struct source source;
        struct schema_decoder d = {.arena = p->arena, .diagnostics = p->diagnostics, .source = &source};
        int r;

        path = arena_strdup(p->arena, path);
        if (!path)
                return -ENOMEM;
        if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 && p->kind <= PARSED_MANIFEST) {
                text += 3;
                len -= 3;
        }
        r = source_init(&source, p->arena, path, text, len);
        if (r < 0)
                return r;
        if (p->kind == PARSED_TEMPLATE)
                schema_collect_content_references(&d, &source);
        else
                r = read_yaml(p, &d, &source);
        p->references = d.references;
        p->n_references = d.n_references;
        return r < 0 ? r : d.failed;
}

/* Most YAML of a repository is not ours; what has no "kind" cannot be. */
static bool may_be_ours(const char *text, size_t len) {
        return memmem(text, len, "kind", 4) || memmem(text, len, "skerry/v", 8);
}

int parsed_new(enum parsed_kind kind, const char *path, char *text, size_t len, struct parsed **ret) {
        _cleanup_(x_freep) char *owned = text;
        _cleanup_(parsed_unrefp) struct parsed *p = calloc(1, sizeof *p);
        int r = 0;

        if (!p)
                return -ENOMEM;
        p->kind = kind;
        p->count = 1;
        p->diagnostics = diagnostics_new();
        p->arena = arena_new(0);
        if (!p->diagnostics || !p->arena)
                return -ENOMEM;
        if (kind == PARSED_TEMPLATE || kind == PARSED_MANIFEST ||
            (kind == PARSED_FLEET_FILE && may_be_ours(text, len)))
                r = read_text(p, path, text, len);
        if (r < 0)
                return r;
        if (kind == PARSED_CONTENT || kind == PARSED_TEMPLATE) {
                sha256_hex(text, len, p->sha256);
                p->data = TAKE_PTR(owned);
                p->len = len;
                p->has_references = memmem(text, len, "${", 2) != NULL;
        }
        *ret = TAKE_PTR(p);
        return 0;
}

struct parsed *parsed_ref(struct parsed *p) {
        (void)atomic_fetch_add(&p->count, 1);
        return p;
}

struct parsed *parsed_unref(struct parsed *p) {
        if (!p || atomic_fetch_sub(&p->count, 1) > 1)
                return NULL;
        for (size_t i = 0; i < p->manifest.n_objects; i++)
                json_decref(p->manifest.objects[i].json);
        diagnostics_free(p->diagnostics);
        arena_free(p->arena);
        free(p->data);
        free(p);
        return NULL;
}
