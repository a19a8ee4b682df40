/* SPDX-License-Identifier: Apache-2.0 */
/* skerry artifact diff: what changed between two versions, and what it will cost to bring it to a node. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/table.h"
#include "cli/artifact.h"
#include "cli/print.h"
#include "codec/json.h"
#include "repo/chunk/index.h"
#include "repo/payload.h"

#define LINES_MAX 40 /* of changes, for people; -o json has all */

struct settings {
        struct repo_globals globals;
        char *platform, *output;
        bool all;
};
static const struct option_spec options[] = {
        REPO_OPTIONS,
        {"platform", 'p', OPTION_STRING, offsetof(struct settings, platform), "PLATFORM", NULL,
         "Only this platform (default: every one that both have)"},
        {"all", 'a', OPTION_BOOL, offsetof(struct settings, all), NULL, NULL,
         "Show every change, however many"},
        {"output", 'o', OPTION_CHOICE, offsetof(struct settings, output), "FORMAT", "table", "How to print",
         "table,json,yaml"},
        OPTIONS_END,
};

/* ---- what it costs */

static int read_index(const struct artifact_set *s, const char *sha256, struct chunk_index **ret,
                      int64_t *ret_length) {
        _cleanup_(x_freep) char *below = repository_chunk_index(sha256),
                                *path = artifact_public_path(s, below);
        _cleanup_(x_freep) char *data = NULL;
        size_t len = 0;
        int r = path ? file_read(path, CHUNK_INDEX_MAX, &data, &len, NULL) : -ENOMEM;
        if (r == 0)
                r = chunk_index_parse(data, len, ret, NULL);
        *ret_length = (int64_t)len;
        return r;
}

/* Bytes of the pack whose chunks the old version does not hold, and the index itself; -1: there are no
 * chunks. */
static int64_t predict_chunks(const struct artifact_set *s, const struct artifact *old,
                              const struct artifact *new) {
        _cleanup_(chunk_index_freep) struct chunk_index *had = NULL, *wanted = NULL;
        _cleanup_(table_freep) struct table *known = table_new(NULL);
        char hex[33];
        int64_t bytes = 0, ignored = 0;
        if (!known || read_index(s, new->sha256, &wanted, &bytes) < 0 ||
            read_index(s, old->sha256, &had, &ignored) < 0 || !wanted || !had)
                return -1;
        for (size_t i = 0; i < had->n_chunks; i++) {
                hex_encode(had->chunks[i].digest, 16, hex);
                if (had->chunks[i].kind == CHUNK_FRAME && table_set(known, hex, had) < 0)
                        return -1;
        }
        for (size_t i = 0; i < wanted->n_chunks; i++) {
                hex_encode(wanted->chunks[i].digest, 16, hex);
                if (wanted->chunks[i].kind == CHUNK_FRAME && !table_get(known, hex))
                        bytes += wanted->chunks[i].packed;
        }
        return bytes;
}

static int64_t predict_delta(const struct artifact_set *s, const struct artifact *old,
                             const struct artifact *new) {
        _cleanup_json_ json_t *list = NULL;
        return artifact_delta_list(s, new->sha256, &list, NULL) < 0
                       ? -1
                       : artifact_delta_length(list, old->sha256);
}

/* ---- one platform */

struct changes {
        json_t *list;
        size_t added, removed, changed;
        int error;
};

static void note(void *arg, const struct payload_change *c) {
        static const char *const names[] = {
                [PAYLOAD_ADDED] = "added", [PAYLOAD_REMOVED] = "removed", [PAYLOAD_CHANGED] = "changed"};
        struct changes *x = arg;
        _cleanup_(buf_done) struct buf path = BUF_INIT;
        (c->what == PAYLOAD_ADDED ? x->added++ : c->what == PAYLOAD_REMOVED ? x->removed++ : x->changed++);
        /* Names on disks are bytes; JSON wants text. */
        text_put_safe(&path, c->path);
        json_t *o = json_pack("{s:s,s:s}", "what", names[c->what], "path", buf_str(&path));
        if (c->old_size >= 0)
                (void)json_object_set_new(o, "oldSize", json_integer(c->old_size));
        if (c->new_size >= 0)
                (void)json_object_set_new(o, "newSize", json_integer(c->new_size));
        if (*c->note) {
                buf_clear(&path);
                text_put_safe(&path, c->note);
                (void)json_object_set_new(o, "note", json_string(buf_str(&path)));
        }
        if (json_array_append_new(x->list, o) < 0)
                x->error = -ENOMEM;
}

static int compare(const struct artifact_set *s, const struct artifact *old, const struct artifact *new,
                   json_t **ret, struct err **err) {
        _cleanup_(x_closep) int old_fd = -1, new_fd = -1;
        struct changes x = {.list = json_array()};
        _cleanup_json_ _unused_ json_t *list = x.list;
        int r = 0;
        if (old->type != new->type)
                return err_set(err, EINVAL,
                               "%s:%s is of type %s, %s:%s of type %s; there is nothing to compare",
                               old->name, old->version, artifact_type_name(old->type), new->name,
                               new->version, artifact_type_name(new->type));
        if ((r = artifact_open_payload(s, old, &old_fd, err)) < 0 ||
            (r = artifact_open_payload(s, new, &new_fd, err)) < 0)
                return r;
        r = str_eq(old->sha256, new->sha256) ? 0 : payload_diff(new->type, old_fd, new_fd, note, &x, err);
        if (r == 0 && x.error)
                r = err_set_errno(err, -x.error, "compare");
        if (r < 0)
                return r;
        int64_t chunks = predict_chunks(s, old, new), delta = predict_delta(s, old, new);
        json_t *bytes = json_pack("{s:I}", "whole", (json_int_t) new->length);
        if (chunks >= 0)
                (void)json_object_set_new(bytes, "chunks", json_integer(chunks));
        if (delta >= 0)
                (void)json_object_set_new(bytes, "delta", json_integer(delta));
        *ret = json_pack("{s:s,s:s,s:I,s:I,s:o,s:I,s:I,s:I,s:O}", "platform", new->platform, "type",
                         artifact_type_name(new->type), "oldLength", (json_int_t)old->length, "newLength",
                         (json_int_t) new->length, "predictedBytes", bytes, "added", (json_int_t)x.added,
                         "removed", (json_int_t)x.removed, "changed", (json_int_t)x.changed, "changes",
                         x.list);
        return *ret ? 0 : err_set_errno(err, ENOMEM, "compare");
}

/* ---- for people */

static void put_bytes(struct buf *out, const char *name, const json_t *o, const char *key,
                      const char *otherwise) {
        char text[32];
        if (json_object_get(o, key))
                buf_printf(out, "  %-8s %10s\n", name, bytes_format(field_int(o, key), text, sizeof(text)));
        else
                buf_printf(out, "  %-8s %10s  %s\n", name, "-", otherwise);
}

static void put_change(struct buf *out, const json_t *c, bool colour) {
        const char *what = field_text(c, "what"), *path = field_text(c, "path"),
                   *text = field_text(c, "note");
        enum style style = *what == 'a' ? STYLE_GOOD : *what == 'r' ? STYLE_BAD : STYLE_WARN;
        char a[32], b[32];
        style_printf(out, colour, style, "  %c %s",
                     *what == 'a'   ? '+'
                     : *what == 'r' ? '-'
                                    : '~',
                     *path ? path : "the whole");
        bool had = json_object_get(c, "oldSize"), has = json_object_get(c, "newSize");
        int64_t old = field_int(c, "oldSize"), new = field_int(c, "newSize");
        if (had && has && old != new)
                buf_printf(out, "  %s -> %s", bytes_format(old, a, sizeof(a)),
                           bytes_format(new, b, sizeof(b)));
        else if ((had || has) && (old || new))
                buf_printf(out, "  %s", bytes_format(has ? new : old, a, sizeof(a)));
        if (*text)
                buf_printf(out, "  %s", text);
        buf_putc(out, '\n');
}

static void put_platform(struct buf *out, const json_t *o, bool all, bool colour) {
        const json_t *bytes = json_object_get(o, "predictedBytes"), *changes = json_object_get(o, "changes");
        size_t i, n = json_array_size(changes);
        json_t *c;
        style_printf(out, colour, STYLE_BOLD, "%s", field_text(o, "platform"));
        buf_printf(out, "  %lld added, %lld removed, %lld changed\n", (long long)field_int(o, "added"),
                   (long long)field_int(o, "removed"), (long long)field_int(o, "changed"));
        json_array_foreach (changes, i, c) {
                if (!all && i == LINES_MAX && n > LINES_MAX + 1) {
                        buf_printf(out, "  ... and %zu more (--all shows them)\n", n - i);
                        break;
                }
                put_change(out, c, colour);
        }
        buf_puts(out, "\n  Bytes to a node that has the old one:\n");
        put_bytes(out, "delta", bytes, "delta", "none made yet; 'skerry artifact delta' makes it");
        put_bytes(out, "chunks", bytes, "chunks", "one of the two was pushed without chunks");
        put_bytes(out, "whole", bytes, "whole", "");
}

/* ---- the command */

static int compare_all(const struct settings *s, const struct artifact_set *set, char **arguments,
                       json_t *list, struct err **err) {
        _cleanup_(x_freep) char *old_name = NULL, *old_version = NULL, *new_name = NULL, *new_version = NULL;
        _cleanup_(x_freep) const struct artifact **old = NULL, **new = NULL;
        char platform[PLATFORM_MAX];
        size_t n_old = 0, n_new = 0;
        int r = s->platform ? platform_parse(s->platform, platform, err) : 0;
        if (r == 0)
                r = artifact_argument(arguments[0], &old_name, &old_version, err);
        if (r == 0 && strchr(arguments[1], ':'))
                r = artifact_reference_parse(arguments[1], &new_name, &new_version, err);
        else if (r == 0 && (!(new_name = str_dup(old_name)) || !(new_version = str_dup(arguments[1]))))
                r = err_set_errno(err, ENOMEM, "compare");
        if (r == 0)
                r = artifact_set_find(set, old_name, old_version, &old, &n_old, err);
        if (r == 0)
                r = artifact_set_find(set, new_name, new_version, &new, &n_new, err);
        for (size_t i = 0; r == 0 && i < n_new; i++) {
                const struct artifact *before = artifact_of_platform(old, n_old, new[i]->platform);
                json_t *o = NULL;
                if (!before || (s->platform && !str_eq(platform, new[i]->platform)))
                        continue;
                if ((r = compare(set, before, new[i], &o, err)) == 0 && json_array_append_new(list, o) < 0)
                        r = err_set_errno(err, ENOMEM, "compare");
        }
        if (r == 0 && json_array_size(list) == 0)
                r = err_set(err, ENOENT, "%s:%s and %s:%s have no platform in common%s%s", old[0]->name,
                            old[0]->version, new[0]->name, new[0]->version, s->platform ? " that is " : "",
                            s->platform ? platform : "");
        return r;
}

static int run(void *settings, char **arguments, size_t n) {
        const struct settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(artifact_set_freep) struct artifact_set *set = NULL;
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        _cleanup_json_ json_t *list = json_array();
        if (artifact_set_open(&s->globals, true, &set, &err) < 0 ||
            compare_all(s, set, arguments, list, &err) < 0)
                return cli_fail(err);
        enum output output = output_from_text(s->output);
        if (output != OUTPUT_TABLE) {
                _cleanup_json_ json_t *o = json_pack("{s:O}", "platforms", list);
                return o ? print_json(o, output) : EXIT_FAILURE;
        }
        struct columns_look look = look_of_stdout(false);
        size_t i;
        json_t *o;
        json_array_foreach (list, i, o) {
                if (i > 0)
                        buf_putc(&out, '\n');
                put_platform(&out, o, s->all, look.colour);
        }
        return print_buf(&out);
}

const struct command_spec artifact_diff_command = {
        .name = "artifact diff",
        .arguments = "NAME:OLD [NAME:]NEW",
        .summary = "Show what changed between two versions, and what it costs to bring it",
        .details = "Trees and images are compared file by file. The bytes are those that a node which has "
                   "the old version "
                   "will fetch for the new one, by delta where one was made, else by chunks.",
        .options = options,
        .settings_size = sizeof(struct settings),
        .min_arguments = 2,
        .max_arguments = 2,
        .completes = "-",
        .run = run,
};
