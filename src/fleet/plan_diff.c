/* SPDX-License-Identifier: Apache-2.0 */
/* Differences between two apps: their JSON is walked side by side, members of lists are matched by what names
 * them, and longer text is compared line by line. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "fleet/app_json.h"
#include "fleet/plan_internal.h"

#define VALUE_MAX 200        /* of one value, as shown */
#define DIFF_BYTES_MAX 65536 /* larger files are told by size */
#define DIFF_LINES_MAX 500
#define CONTEXT_LINES 2

struct comparer {
        const struct plan_source *source;
        struct plan_changes *changes;
        int failed;
};

static struct plan_change *add(struct comparer *c, const char *path) {
        struct plan_changes *l = c->changes;

        if (l->n == l->cap) {
                size_t cap = l->cap ? l->cap * 2 : 8;
                struct plan_change *grown = arena_calloc(c->source->arena, cap, sizeof *grown);
                if (!grown) {
                        c->failed = -ENOMEM;
                        return NULL;
                }
                if (l->n)
                        memcpy(grown, l->items, l->n * sizeof *grown);
                l->items = grown;
                l->cap = cap;
        }
        l->items[l->n] = (struct plan_change){.path = arena_strdup(c->source->arena, path)};
        if (!l->items[l->n].path) {
                c->failed = -ENOMEM;
                return NULL;
        }
        return &l->items[l->n++];
}

/* ---- Lines (longest common subsequence; sizes are bounded) */

struct line {
        const char *text;
        size_t len;
};

static size_t split_lines(const char *text, size_t len, struct line lines[DIFF_LINES_MAX]) {
        size_t n = 0;

        for (size_t at = 0; at < len;) {
                const char *end = memchr(text + at, '\n', len - at);
                size_t next = end ? (size_t)(end - text) + 1 : len;
                if (n == DIFF_LINES_MAX)
                        return SIZE_MAX;
                lines[n++] = (struct line){text + at, next - at - (end != NULL)};
                at = next;
        }
        return n;
}

static bool same_line(const struct line *a, const struct line *b) {
        return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

struct edit {
        char sign;
        const struct line *line;
};

static size_t make_edits(const struct line *a, size_t n, const struct line *b, size_t m,
                         const uint16_t *common, struct edit *edits) {
        size_t i = 0, j = 0, count = 0;

        while (i < n || j < m) {
                if (i < n && j < m && same_line(&a[i], &b[j])) {
                        edits[count++] = (struct edit){' ', &a[i]};
                        i++;
                        j++;
                } else if (i < n &&
                           (j == m || common[(i + 1) * (m + 1) + j] >= common[i * (m + 1) + j + 1])) {
                        edits[count++] = (struct edit){'-', &a[i++]};
                } else {
                        edits[count++] = (struct edit){'+', &b[j++]};
                }
        }
        return count;
}

static bool near_change(const struct edit *edits, size_t n, size_t i) {
        size_t from = i < CONTEXT_LINES ? 0 : i - CONTEXT_LINES, to = MIN(n, i + CONTEXT_LINES + 1);
        for (size_t j = from; j < to; j++)
                if (edits[j].sign != ' ')
                        return true;
        return false;
}

static void show_edits(struct comparer *c, struct plan_change *change, const struct edit *edits, size_t n) {
        bool gap = false;

        change->lines = arena_calloc(c->source->arena, n + 1, sizeof *change->lines);
        if (!change->lines) {
                c->failed = -ENOMEM;
                return;
        }
        for (size_t i = 0; i < n; i++) {
                const char *line;
                if (!near_change(edits, n, i)) {
                        if (!gap)
                                change->lines[change->n_lines++] = " ...";
                        gap = true;
                        continue;
                }
                gap = false;
                line = arena_printf(c->source->arena, "%c%.*s", edits[i].sign,
                                    (int)MIN(edits[i].line->len, (size_t)VALUE_MAX), edits[i].line->text);
                if (!line) {
                        c->failed = -ENOMEM;
                        return;
                }
                change->lines[change->n_lines++] = line;
        }
}

/* Gives change its lines; false when the texts are too large or no text. */
static bool compare_lines(struct comparer *c, struct plan_change *change, const char *before,
                          size_t before_len, const char *after, size_t after_len) {
        _cleanup_(x_freep) struct line *a = NULL, *b = NULL;
        _cleanup_(x_freep) uint16_t *common = NULL;
        _cleanup_(x_freep) struct edit *edits = NULL;
        size_t n, m;

        if (before_len > DIFF_BYTES_MAX || after_len > DIFF_BYTES_MAX || memchr(before, '\0', before_len) ||
            memchr(after, '\0', after_len) || !utf8_is_valid(before, before_len) ||
            !utf8_is_valid(after, after_len))
                return false;
        a = calloc(DIFF_LINES_MAX, sizeof *a);
        b = calloc(DIFF_LINES_MAX, sizeof *b);
        if (!a || !b)
                return false;
        n = split_lines(before, before_len, a);
        m = split_lines(after, after_len, b);
        if (n == SIZE_MAX || m == SIZE_MAX)
                return false;
        common = calloc((n + 1) * (m + 1), sizeof *common);
        edits = calloc(n + m + 1, sizeof *edits);
        if (!common || !edits)
                return false;
        for (size_t i = n; i-- > 0;)
                for (size_t j = m; j-- > 0;) {
                        uint16_t down = common[(i + 1) * (m + 1) + j], right = common[i * (m + 1) + j + 1];
                        common[i * (m + 1) + j] = same_line(&a[i], &b[j])
                                                          ? (uint16_t)(common[(i + 1) * (m + 1) + j + 1] + 1)
                                                          : MAX(down, right);
                }
        show_edits(c, change, edits, make_edits(a, n, b, m, common, edits));
        return true;
}

/* ---- Values as people write them */

static const char *cut(struct comparer *c, const char *text) {
        size_t len = strlen(text), n = MIN(len, (size_t)VALUE_MAX);

        while (n > 0 && n < len && ((unsigned char)text[n] & 0xc0) == 0x80)
                n--;
        text = arena_printf(c->source->arena, "%.*s%s", (int)n, text, n < len ? "..." : "");
        if (!text)
                c->failed = -ENOMEM;
        return text;
}

static bool is_text_list(const json_t *v) {
        size_t i;
        json_t *item;

        if (!json_is_array(v))
                return false;
        json_array_foreach ((json_t *)v, i, item)
                if (!json_is_string(item))
                        return false;
        return true;
}

/* A command as one would type it: words with blanks, and empty ones, in quotes. */
static const char *show_words(struct comparer *c, const json_t *list) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        size_t i;
        json_t *item;

        json_array_foreach ((json_t *)list, i, item) {
                const char *word = json_string_value(item);
                bool quote = !*word || strpbrk(word, " \t\n\"'");
                buf_printf(&out, "%s%s%s%s", i ? " " : "", quote ? "\"" : "", word, quote ? "\"" : "");
        }
        if (buf_failed(&out) < 0) {
                c->failed = -ENOMEM;
                return NULL;
        }
        return cut(c, buf_str(&out));
}

/* A file that came or went; its path is told by the place. */
static const char *show_file(struct comparer *c, const json_t *file) {
        const char *owner = json_string_value(json_object_get(file, "owner")),
                   *group = json_string_value(json_object_get(file, "group"));
        const char *text = arena_printf(
                c->source->arena, "%" JSON_INTEGER_FORMAT " bytes, %.12s, mode 0%03o%s%s%s%s",
                json_integer_value(json_object_get(file, "size")),
                json_string_value(json_object_get(file, "sha256")),
                (unsigned)json_integer_value(json_object_get(file, "mode")) & 07777, owner ? ", owner " : "",
                owner ? owner : "", group ? ", group " : "", group ? group : "");

        if (!text)
                c->failed = -ENOMEM;
        return text;
}

static bool is_artifact(const json_t *v) {
        return json_is_string(json_object_get(v, "name")) && json_is_string(json_object_get(v, "version"));
}

/* An artifact that came or went; its name is told by the place. */
static const char *show_artifact(struct comparer *c, const json_t *v) {
        const char *path = json_string_value(json_object_get(v, "path"));
        const char *text = arena_printf(c->source->arena, "%.*s%s%.*s", VALUE_MAX,
                                        json_string_value(json_object_get(v, "version")), path ? " at " : "",
                                        VALUE_MAX, path ? path : "");
        if (!text)
                c->failed = -ENOMEM;
        return text;
}

/* key: the member's own name, which tells what a number counts. */
static const char *show(struct comparer *c, const char *key, const json_t *v) {
        _cleanup_(x_freep) char *compact = NULL;
        char text[64];

        if (!v)
                return NULL;
        if (json_is_string(v))
                return cut(c, json_string_value(v));
        if (json_is_integer(v) && str_has_suffix(key, "Ms"))
                return cut(c, duration_format(json_integer_value(v), text, sizeof text));
        if (json_is_integer(v) && str_eq(key, "mode")) {
                (void)snprintf(text, sizeof text, "0%03o", (unsigned)json_integer_value(v) & 07777);
                return cut(c, text);
        }
        if (is_text_list(v))
                return show_words(c, v);
        if (str_eq(key, "artifacts") && is_artifact(v))
                return show_artifact(c, v);
        if (json_is_object(v) && json_object_get(v, "sha256") && json_object_get(v, "mode"))
                return show_file(c, v);
        compact = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
        if (!compact) {
                c->failed = -ENOMEM;
                return NULL;
        }
        return cut(c, compact);
}

/* "readyTimeoutMs" is written readyTimeout in fleet files. */
static void trim_unit(char *path) {
        static const char *const units[] = {"Ms", "Bytes", "Millis"};
        for (size_t i = 0; i < ARRAY_SIZE(units); i++)
                if (str_has_suffix(path, units[i])) {
                        path[strlen(path) - strlen(units[i])] = '\0';
                        return;
                }
}

/* ---- The walk */

static void compare_values(struct comparer *c, const char *path, const char *key, const json_t *before,
                           const json_t *after);

static void compare_leaf(struct comparer *c, const char *path, const char *key, const json_t *before,
                         const json_t *after) {
        struct plan_change *change;
        _cleanup_(x_freep) char *shown = str_dup(path);

        if (!shown) {
                c->failed = -ENOMEM;
                return;
        }
        trim_unit(shown);
        change = add(c, shown);
        if (!change)
                return;
        if (json_is_string(before) && json_is_string(after) &&
            (strchr(json_string_value(before), '\n') || strchr(json_string_value(after), '\n')) &&
            compare_lines(c, change, json_string_value(before), json_string_length(before),
                          json_string_value(after), json_string_length(after)))
                return;
        change->before = show(c, key, before);
        change->after = show(c, key, after);
}

static void compare_maps(struct comparer *c, const char *path, const json_t *before, const json_t *after) {
        const char *key;
        json_t *value;

        json_object_foreach ((json_t *)before, key, value) {
                _cleanup_(x_freep) char *member = str_format("%s%s%s", path, *path ? "." : "", key);
                if (member)
                        compare_values(c, member, key, value, json_object_get(after, key));
                else
                        c->failed = -ENOMEM;
        }
        json_object_foreach ((json_t *)after, key, value) {
                _cleanup_(x_freep) char *member = NULL;
                if (json_object_get(before, key))
                        continue;
                member = str_format("%s%s%s", path, *path ? "." : "", key);
                if (member)
                        compare_values(c, member, key, NULL, value);
                else
                        c->failed = -ENOMEM;
        }
}

/* What tells a member of a list from the others: a Kubernetes object's kind and name, a path, a name. */
static bool identity(const json_t *v, char *out, size_t size) {
        static const char *const names[] = {"path", "name", "containerPort", "mountPath"};
        const json_t *kind = json_object_get(v, "kind"),
                     *name = json_object_get(json_object_get(v, "metadata"), "name");

        if (is_artifact(v)) { /* it may show elsewhere and still be the same */
                (void)snprintf(out, size, "%s", json_string_value(json_object_get(v, "name")));
                return true;
        }

        if (json_is_string(kind) && json_is_string(name)) {
                (void)snprintf(out, size, "%s/%s", json_string_value(kind), json_string_value(name));
                return true;
        }
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                const json_t *id = json_object_get(v, names[i]);
                if (json_is_string(id)) {
                        (void)snprintf(out, size, "%s", json_string_value(id));
                        return true;
                }
        }
        return false;
}

static const json_t *find_identical(const json_t *list, const char *id) {
        char other[512];
        size_t i;
        json_t *item;

        json_array_foreach ((json_t *)list, i, item)
                if (identity(item, other, sizeof other) && str_eq(other, id))
                        return item;
        return NULL;
}

static void compare_lists(struct comparer *c, const char *path, const char *key, const json_t *before,
                          const json_t *after) {
        char id[512];
        size_t i;
        json_t *item;

        json_array_foreach ((json_t *)before, i, item)
                if (!identity(item, id, sizeof id)) {
                        compare_leaf(c, path, key, before, after);
                        return;
                }
        json_array_foreach ((json_t *)after, i, item)
                if (!identity(item, id, sizeof id)) {
                        compare_leaf(c, path, key, before, after);
                        return;
                }
        json_array_foreach ((json_t *)before, i, item) {
                _cleanup_(x_freep) char *member = NULL;
                (void)identity(item, id, sizeof id);
                member = str_format("%s[%s]", path, id);
                if (member)
                        compare_values(c, member, key, item, find_identical(after, id));
                else
                        c->failed = -ENOMEM;
        }
        json_array_foreach ((json_t *)after, i, item) {
                _cleanup_(x_freep) char *member = NULL;
                (void)identity(item, id, sizeof id);
                if (find_identical(before, id))
                        continue;
                member = str_format("%s[%s]", path, id);
                if (member)
                        compare_values(c, member, key, NULL, item);
                else
                        c->failed = -ENOMEM;
        }
}

/* Recursion goes as deep as the JSON, which was read with a limit. */
static void compare_values(struct comparer *c, const char *path, const char *key, const json_t *before,
                           const json_t *after) {
        if (c->failed || (before && after && json_equal(before, after)))
                return;
        if (json_is_object(before) && json_is_object(after))
                compare_maps(c, path, before, after);
        else if (json_is_array(before) && json_is_array(after) && !is_text_list(before) &&
                 !is_text_list(after))
                compare_lists(c, path, key, before, after);
        else
                compare_leaf(c, path, key, before, after);
}

/* ---- Files: by content */

static const struct fleet_object *find_object(const struct fleet_model *m, const char *sha256) {
        for (size_t low = 0, high = m->n_objects; low < high;) {
                size_t middle = low + (high - low) / 2;
                int r = strcmp(m->objects[middle].sha256, sha256);
                if (r == 0)
                        return &m->objects[middle];
                if (r < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return NULL;
}

static void compare_content(struct comparer *c, const struct app_file *before, const struct app_file *after) {
        const struct plan_contents *contents = c->source->contents;
        const struct fleet_object *new_content = find_object(c->source->model, after->sha256),
                                  *old_content = find_object(c->source->model, before->sha256);
        _cleanup_(x_freep) char *fetched = NULL, *path = str_format("files[%s]", after->path);
        const char *old_data = old_content ? old_content->data : NULL;
        size_t old_len = old_content ? old_content->len : 0;
        struct plan_change *change;

        if (!path) {
                c->failed = -ENOMEM;
                return;
        }
        if (!old_content && contents && before->size <= DIFF_BYTES_MAX &&
            contents->read(contents->arg, before->sha256, &fetched, &old_len) == 0)
                old_data = fetched;
        change = add(c, path);
        if (!change || (old_data && new_content &&
                        compare_lines(c, change, old_data, old_len, new_content->data, new_content->len)))
                return;
        change->before =
                arena_printf(c->source->arena, "%" PRId64 " bytes, %.12s", before->size, before->sha256);
        change->after =
                arena_printf(c->source->arena, "%" PRId64 " bytes, %.12s", after->size, after->sha256);
}

static const struct app_file *find_file(const struct app_spec *a, const char *path) {
        for (size_t i = 0; a && i < a->n_files; i++)
                if (str_eq(a->files[i].path, path))
                        return &a->files[i];
        return NULL;
}

static void compare_files(struct comparer *c, const struct app_spec *before, const struct app_spec *after) {
        for (size_t i = 0; i < before->n_files; i++) {
                const struct app_file *other = find_file(after, before->files[i].path);
                if (other && !str_eq(other->sha256, before->files[i].sha256))
                        compare_content(c, &before->files[i], other);
        }
}

/* Digest and size are shown by the content; the rest of a file as any other field. A file that came or went
 * is one line. */
static void simplify_files(json_t *app, const json_t *other) {
        size_t i;
        json_t *file, *files = json_object_get(app, "files");

        json_array_foreach (files, i, file) {
                char id[512];
                if (other && identity(file, id, sizeof id) &&
                    find_identical(json_object_get(other, "files"), id)) {
                        json_object_del(file, "sha256");
                        json_object_del(file, "size");
                }
        }
}

int plan_compare_apps(const struct plan_source *s, const struct app_spec *before,
                      const struct app_spec *after, struct plan_changes *ret) {
        struct comparer c = {.source = s, .changes = ret};
        json_t *a, *b;

        if (!before || !after)
                return 0;
        a = app_spec_to_json(before);
        b = app_spec_to_json(after);
        if (a && b && !json_equal(a, b)) {
                compare_files(&c, before, after);
                simplify_files(a, b);
                simplify_files(b, a);
                compare_values(&c, "", "", a, b);
        }
        if (!a || !b)
                c.failed = -ENOMEM;
        json_decref(a);
        json_decref(b);
        return c.failed;
}

int plan_compare_variables(const struct plan_source *s, const struct pairs *before, const struct pairs *after,
                           struct plan_changes *ret) {
        struct comparer c = {.source = s, .changes = ret};
        json_t *a = pairs_to_json(before), *b = pairs_to_json(after);

        if (a && b)
                compare_maps(&c, "", a, b);
        else
                c.failed = -ENOMEM;
        json_decref(a);
        json_decref(b);
        return c.failed;
}
