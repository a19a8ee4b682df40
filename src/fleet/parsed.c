/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/parsed.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/str.h"
#include "codec/yaml.h"
#include "crypto/digest.h"

/* Faulty documents of a file that are taken out of it, one after the other, to read the rest. */
#define ATTEMPTS_MAX 8
#define SEEMING_MAX 63 /* bytes of a name */
#define SEEMING_NAMES_MAX 10000

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

/* ---- Names that seem to be given */

static int note_seeming(struct parsed *p, int kind, const char *name, size_t len) {
        char *copy;

        if (len == 0 || len > SEEMING_MAX || p->n_seeming == SEEMING_NAMES_MAX)
                return 0;
        if (p->n_seeming == p->cap_seeming) {
                size_t cap = p->cap_seeming ? p->cap_seeming * 2 : 4;
                struct seeming_name *grown = arena_calloc(p->arena, cap, sizeof *grown);
                if (!grown)
                        return -ENOMEM;
                if (p->n_seeming)
                        memcpy(grown, p->seeming, p->n_seeming * sizeof *grown);
                p->seeming = grown;
                p->cap_seeming = cap;
        }
        copy = arena_strndup(p->arena, name, len);
        if (!copy)
                return -ENOMEM;
        /* As its writer will mend it: "Web_App" is what others call "web-app". */
        for (char *c = copy; *c; c++)
                if (*c >= 'A' && *c <= 'Z')
                        *c = (char)(*c | 0x20);
                else if (*c == '_' || *c == '.' || *c == ' ')
                        *c = '-';
        p->seeming[p->n_seeming++] = (struct seeming_name){kind, copy};
        return 0;
}

/* A document that is not read as one of a kind (-1: of any). */
static int note_unread(struct parsed *p, int kind, const struct value *v) {
        const char *name = text_of(value_get(value_get(v, "metadata"), "name"));

        for (int i = 0; i < FLEET_KINDS; i++)
                p->unread[i] |= kind < 0 || kind == i;
        return name ? note_seeming(p, kind, name, strlen(name)) : 0;
}

/* As note_unread(), for text that is no YAML: every word behind "name:". */
static int note_unread_text(struct parsed *p, const char *text, size_t len) {
        const char *end = text + len;

        for (int i = 0; i < FLEET_KINDS; i++)
                p->unread[i] = true;
        for (const char *c = text; (c = memmem(c, (size_t)(end - c), "name:", 5));) {
                const char *start = c += 5;
                while (c < end && (*c == ' ' || *c == '"' || *c == '\''))
                        start = ++c;
                while (c < end && ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                                   (*c >= '0' && *c <= '9') || *c == '-' || *c == '_' || *c == '.'))
                        c++;
                if (note_seeming(p, -1, start, (size_t)(c - start)) < 0)
                        return -ENOMEM;
        }
        return 0;
}

/* ---- Documents */

/* Is the document one of ours? Reports those that only nearly are; with *ret_unread they cannot be read. */
static bool classify(struct schema_decoder *d, const struct value *v, enum fleet_kind *ret,
                     bool *ret_unread) {
        const struct value *api_version = value_get(v, "apiVersion"), *kind = value_get(v, "kind");
        char suggestion[SUGGESTION_SIZE];
        int k = text_of(kind) ? kind_from_name(kind->text) : -1;

        *ret_unread = false;
        if (v->type != VALUE_MAP)
                return false;
        if (!text_of(api_version)) {
                if (api_version || k < 0 || !value_get(v, "metadata") || !value_get(v, "spec"))
                        return false;
                *ret_unread = true;
                schema_error(d, &v->position, "begin it with apiVersion: " FLEET_API_VERSION,
                             "%s: field \"apiVersion\" is missing", kind->text);
                return false;
        }
        if (!str_eq(api_version->text, FLEET_API_VERSION)) {
                if (!looks_like_ours(api_version->text))
                        return false;
                *ret_unread = true;
                schema_error(d, &api_version->position, "did you mean \"" FLEET_API_VERSION "\"?",
                             "unknown apiVersion \"%.80s\"", api_version->text);
                /* Another version may well have other fields; a slip of the keyboard has not. */
                if (k < 0 || str_has_prefix(api_version->text, "skerry/"))
                        return false;
        }
        *ret_unread = true;
        if (!text_of(kind)) {
                schema_error(d, kind ? &kind->position : &v->position,
                             "kinds are Fleet, App, Node, Rollout and Schedule",
                             kind ? "field \"kind\": expected text" : "field \"kind\" is missing");
                return false;
        }
        if (k < 0) {
                const char *near = suggest_nearest(kind->text, fleet_kind_names, FLEET_KINDS, suggestion,
                                                   sizeof suggestion);
                schema_error(d, &kind->position,
                             near ? near : "kinds are Fleet, App, Node, Rollout and Schedule",
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
                struct document *document = &p->documents[p->n_documents];
                enum fleet_kind kind;
                bool unread;
                int r = 0;

                if (classify(d, values[i], &kind, &unread)) {
                        r = document_decode(d, kind, values[i], document);
                        p->n_documents++;
                        if (r == 0 && !document->metadata.name.text)
                                r = note_unread(p, (int)kind, values[i]);
                } else if (unread) {
                        const char *name = text_of(value_get(values[i], "kind"));
                        r = note_unread(p, name ? kind_from_name(name) : -1, values[i]);
                }
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- Files that are not YAML throughout */

static bool is_marker(const char *line, const char *end) {
        return end - line >= 3 && memcmp(line, "---", 3) == 0 &&
               (end - line == 3 || strchr(" \t\r\n", line[3]));
}

/* Blanks the document that the fault is in, so that the others can be read: nothing but line ends stays, and
 * places stay right. False when there was nothing left to blank. */
static bool take_out(const struct source *source, char *text, const struct position *fault,
                     const char **ret_start, size_t *ret_len) {
        const char *end = text + source->len;
        size_t line = MIN((size_t)MAX(fault->line, (uint32_t)1), source->n_lines) - 1, first, last;
        bool anything = false;

        /* An end that was not expected is told of where the next document begins. */
        if (line > 0 && fault->column <= 1 && is_marker(text + source->lines[line], end))
                line--;
        for (first = line; first > 0 && !is_marker(text + source->lines[first], end);)
                first--;
        for (last = line + 1; last < source->n_lines && !is_marker(text + source->lines[last], end);)
                last++;
        *ret_start = source->text + source->lines[first];
        *ret_len = (last < source->n_lines ? source->lines[last] : source->len) - source->lines[first];
        for (char *c = text + source->lines[first]; *ret_len && c < text + source->lines[first] + *ret_len;
             c++)
                if (*c != '\n' && *c != '\r') {
                        anything |= *c != ' ';
                        *c = ' ';
                }
        return anything;
}

/* Every document that is YAML, and every fault of the others. */
static int read_faulty_file(struct parsed *p, struct schema_decoder *d, const struct source *source,
                            struct position where, struct err *first) {
        _cleanup_(err_freep) struct err *err = first;
        _cleanup_(x_freep) char *text = malloc(source->len + 1);

        if (!text)
                return -ENOMEM;
        memcpy(text, source->text, source->len);
        text[source->len] = '\0';
        for (size_t attempt = 1;; attempt++) {
                struct value **values = NULL;
                const char *start = text;
                size_t n = 0, len = source->len;
                bool more;
                int r;

                diagnostics_add(p->diagnostics, SEVERITY_ERROR, &where, NULL, "%s", err_message(err));
                more = attempt < ATTEMPTS_MAX && source->len <= YAML_MAX_BYTES &&
                       take_out(source, text, &where, &start, &len);
                if (!more) {
                        start = text;
                        len = source->len;
                }
                if (note_unread_text(p, start, len) < 0)
                        return -ENOMEM;
                if (!more)
                        return 0;
                err = err_free(err);
                where = (struct position){.file = source->path};
                r = yaml_decode(p->arena, source->path, text, source->len, &values, &n, &where, &err);
                if (r == -ENOMEM)
                        return r;
                if (r == 0)
                        return read_fleet_documents(p, d, values, n);
        }
}

/* Templates of other tools often end in .yaml too and are no YAML at all; a fleet file may have been cut off.
 * The compiler warns of it where nobody names the file. */
static int note_fault(struct parsed *p, const struct source *source) {
        _cleanup_(err_freep) struct err *err = NULL;
        int r = yaml_check(source->path, source->text, source->len, &p->fault, &err);

        if (r != -EINVAL)
                return r;
        p->looks_like_template = memmem(source->text, source->len, "{{", 2) != NULL;
        p->fault_message = arena_strdup(p->arena, err_message(err));
        return p->fault_message ? 0 : -ENOMEM;
}

static bool says_that_it_is_ours(const char *text, size_t len) {
        return memmem(text, len, "skerry/v", 8);
}

/* Most YAML of a repository is not ours; what has no "kind" cannot be. */
static bool may_be_ours(const char *text, size_t len) {
        return memmem(text, len, "kind", 4) || says_that_it_is_ours(text, len);
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
        if (r < 0 && p->kind == PARSED_FLEET_FILE) {
                if (says_that_it_is_ours(source->text, source->len))
                        return read_faulty_file(p, d, source, where, TAKE_PTR(err));
                return note_fault(p, source);
        }
        if (r < 0) {
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
        else if (p->kind == PARSED_FLEET_FILE && !may_be_ours(text, len))
                r = note_fault(p, &source);
        else
                r = read_yaml(p, &d, &source);
        p->references = d.references;
        p->n_references = d.n_references;
        return r < 0 ? r : d.failed;
}

/* Most files of a repository tell us nothing: they are not to take memory while they are kept. */
static void forget_what_is_not_ours(struct parsed *p) {
        if (p->n_documents > 0 || p->n_seeming > 0 || p->fault_message)
                return;
        p->arena = arena_free(p->arena);
        p->documents = NULL;
        p->references = NULL;
        p->n_references = 0;
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
        if (kind != PARSED_CONTENT)
                r = read_text(p, path, text, len);
        if (r < 0)
                return r;
        if (kind == PARSED_FLEET_FILE)
                forget_what_is_not_ours(p);
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
