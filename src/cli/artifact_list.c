/* SPDX-License-Identifier: Apache-2.0 */
/* skerry artifact list | show */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cli/artifact.h"
#include "cli/print.h"
#include "codec/json.h"
#include "repo/payload.h"

static json_t *to_json(const struct artifact_set *s, const struct artifact *a, bool more) {
        _cleanup_json_ json_t *custom = artifact_custom(a);
        json_t *o = json_incref(json_object_get(custom, "skerry"));
        (void)json_object_del(o, "kind");
        (void)json_object_set_new(o, "length", json_integer(a->length));
        (void)json_object_set_new(o, "sha256", json_string(a->sha256));
        if (!more)
                return o;
        _cleanup_json_ json_t *list = NULL;
        int64_t index = artifact_public_size(s, repository_chunk_index(a->sha256));
        int64_t pack = artifact_public_size(s, repository_chunk_pack(a->sha256));
        if (index >= 0 && pack >= 0)
                (void)json_object_set_new(o, "chunks",
                                          json_pack("{s:I,s:I}", "indexLength", (json_int_t)index,
                                                    "packLength", (json_int_t)pack));
        if (artifact_delta_list(s, a->sha256, &list, NULL) == 0)
                (void)json_object_set(o, "deltas", json_object_get(list, "deltas"));
        return o;
}

static int print_all_json(const struct artifact_set *s, const struct artifact *const *all, size_t n,
                          bool more, enum output output) {
        _cleanup_json_ json_t *items = json_array();
        for (size_t i = 0; i < n; i++)
                if (json_array_append_new(items, to_json(s, all[i], more)) < 0)
                        return EXIT_FAILURE;
        _cleanup_json_ json_t *o = json_pack("{s:O}", "items", items);
        return o ? print_json(o, output) : EXIT_FAILURE;
}

/* ---- list */

struct list_settings {
        struct repo_globals globals;
        char *output;
};
static const struct option_spec list_options[] = {
        REPO_OPTIONS,
        {"output", 'o', OPTION_CHOICE, offsetof(struct list_settings, output), "FORMAT", "table",
         "How to print", OUTPUT_CHOICES},
        OPTIONS_END,
};

static int print_names(const struct artifact_set *s, const struct artifact *const *all, size_t n) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        for (size_t i = 0; i < n; i++)
                if (i == 0 || !str_eq(all[i]->name, all[i - 1]->name) ||
                    !str_eq(all[i]->version, all[i - 1]->version))
                        buf_printf(&out, "%s:%s\n", all[i]->name, all[i]->version);
        return print_buf(&out);
}

static int print_table(const struct artifact *const *all, size_t n, bool wide) {
        static const struct column columns[] = {
                {"NAME", 0},
                {"VERSION", COLUMN_SHRINK},
                {"PLATFORM", 0},
                {"TYPE", 0},
                {"SIZE", COLUMN_RIGHT},
                {"COUNTER", COLUMN_RIGHT | COLUMN_OPTIONAL},
                {"STATE", COLUMN_SHRINK},
                {"HARDWARE", COLUMN_WIDE},
                {"SHA256", COLUMN_WIDE},
        };
        _cleanup_(columns_freep) struct columns *t = columns_new(columns, ARRAY_SIZE(columns));
        if (!t)
                return EXIT_FAILURE;
        for (size_t i = 0; i < n; i++) {
                const struct artifact *a = all[i];
                _cleanup_(buf_done) struct buf hardware = BUF_INIT;
                char size[32];
                if (a->hardware)
                        put_labels(&hardware, a->hardware);
                columns_cell(t, STYLE_NONE, a->name);
                columns_cell(t, STYLE_NONE, a->version);
                columns_cell(t, STYLE_NONE, a->platform);
                columns_cell(t, STYLE_NONE, artifact_type_name(a->type));
                columns_cell(t, STYLE_NONE, bytes_format(a->length, size, sizeof(size)));
                columns_cellf(t, STYLE_NONE, "%lld", (long long)a->release_counter);
                if (a->yanked)
                        columns_cellf(t, STYLE_BAD, "yanked%s%s", a->replaced_by ? ", use " : "",
                                      a->replaced_by ? a->replaced_by : "");
                else
                        columns_cell(t, STYLE_GOOD, "good");
                columns_cell(t, STYLE_NONE, buf_str(&hardware));
                columns_cell(t, STYLE_DIM, a->sha256);
        }
        return print_columns(t, wide);
}

static int run_list(void *settings, char **arguments, size_t n) {
        const struct list_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(artifact_set_freep) struct artifact_set *set = NULL;
        if (artifact_set_open(&s->globals, true, &set, &err) < 0)
                return cli_fail(err);
        _cleanup_(x_freep) const struct artifact **all = calloc(set->n + 1, sizeof(struct artifact *));
        size_t found = 0;
        if (!all)
                return EXIT_FAILURE;
        for (size_t i = 0; i < set->n; i++)
                if (n == 0 || str_eq(set->all[i]->name, arguments[0]))
                        all[found++] = set->all[i];
        const struct artifact **none = NULL;
        size_t n_none = 0;
        if (n > 0 && found == 0 && artifact_set_find(set, arguments[0], NULL, &none, &n_none, &err) < 0)
                return cli_fail(err);
        enum output output = output_from_text(s->output);
        if (output == OUTPUT_JSON || output == OUTPUT_YAML)
                return print_all_json(set, all, found, false, output);
        if (output == OUTPUT_NAME)
                return print_names(set, all, found);
        if (found == 0) {
                printf("No artifacts yet; 'skerry artifact push' publishes one.\n");
                return EXIT_SUCCESS;
        }
        return print_table(all, found, output == OUTPUT_WIDE);
}

const struct command_spec artifact_list_command = {
        .name = "artifact list",
        .arguments = "[NAME]",
        .summary = "List the artifacts of a repository",
        .options = list_options,
        .settings_size = sizeof(struct list_settings),
        .max_arguments = 1,
        .completes = "-",
        .run = run_list,
};

/* ---- show */

static const struct option_spec show_options[] = {
        REPO_OPTIONS,
        {"output", 'o', OPTION_CHOICE, offsetof(struct list_settings, output), "FORMAT", "table",
         "How to print", "table,json,yaml"},
        OPTIONS_END,
};

static void put_field(struct buf *out, const char *name, const char *text) {
        buf_printf(out, "  %-12s ", name);
        text_put_safe(out, text);
        buf_putc(out, '\n');
}

static void put_image(struct buf *out, const struct artifact_set *s, const struct artifact *a) {
        _cleanup_(x_closep) int fd = -1;
        struct oci_summary image;
        if (artifact_open_payload(s, a, &fd, NULL) < 0 || payload_oci_summary(fd, &image, NULL) < 0)
                return;
        buf_printf(out, "  %-12s sha256:%s, %zu layers\n", "Image", image.config_sha256, image.n_layers);
        if (*image.reference)
                put_field(out, "Reference", image.reference);
}

static void put_deltas(struct buf *out, const struct artifact_set *s, const struct artifact *a) {
        _cleanup_json_ json_t *list = NULL;
        size_t i;
        json_t *d;
        if (artifact_delta_list(s, a->sha256, &list, NULL) < 0)
                return;
        json_array_foreach (json_object_get(list, "deltas"), i, d) {
                const char *from = field_text(d, "from"), *version = NULL;
                char size[32];
                for (size_t k = 0; k < s->n; k++)
                        if (str_eq(s->all[k]->sha256, from))
                                version = s->all[k]->version;
                buf_printf(out, "  %-12s from %s, %s\n", "Delta", version ? version : from,
                           bytes_format(field_int(d, "length"), size, sizeof(size)));
        }
}

static void put_one(struct buf *out, const struct artifact_set *s, const struct artifact *a) {
        char size[32], other[32];
        int64_t index = artifact_public_size(s, repository_chunk_index(a->sha256));
        int64_t pack = artifact_public_size(s, repository_chunk_pack(a->sha256));
        buf_printf(out, "%s\n", a->platform);
        put_field(out, "Type", artifact_type_name(a->type));
        buf_printf(out, "  %-12s %s (%lld bytes)\n", "Size", bytes_format(a->length, size, sizeof(size)),
                   (long long)a->length);
        put_field(out, "SHA-256", a->sha256);
        buf_printf(out, "  %-12s %lld\n", "Counter", (long long)a->release_counter);
        if (a->yanked) {
                buf_printf(out, "  %-12s yes, use ", "Yanked");
                text_put_safe(out, a->replaced_by ? a->replaced_by : "another version");
                buf_putc(out, '\n');
        }
        if (a->reason)
                put_field(out, "Reason", a->reason);
        if (a->hardware) {
                buf_printf(out, "  %-12s ", "Hardware");
                put_labels(out, a->hardware);
                buf_putc(out, '\n');
        }
        if (a->type == ARTIFACT_FILE)
                buf_printf(out, "  %-12s %s, mode %04o\n", "File", a->file_name ? a->file_name : a->name,
                           a->mode);
        if (a->type == ARTIFACT_OCI)
                put_image(out, s, a);
        if (a->sbom)
                put_field(out, "SBOM", a->sbom);
        if (a->provenance)
                put_field(out, "Provenance", a->provenance);
        if (index >= 0 && pack >= 0)
                buf_printf(out, "  %-12s %s, and an index of %s\n", "Chunks",
                           bytes_format(pack, size, sizeof(size)), bytes_format(index, other, sizeof(other)));
        put_deltas(out, s, a);
}

static int run_show(void *settings, char **arguments, size_t n) {
        const struct list_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(artifact_set_freep) struct artifact_set *set = NULL;
        _cleanup_(x_freep) char *name = NULL, *version = NULL;
        _cleanup_(x_freep) const struct artifact **all = NULL;
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        size_t found = 0;
        if (artifact_argument(arguments[0], &name, &version, &err) < 0)
                return cli_usage("artifact show", "%s", err_message(err));
        if (artifact_set_open(&s->globals, true, &set, &err) < 0 ||
            artifact_set_find(set, name, version, &all, &found, &err) < 0)
                return cli_fail(err);
        enum output output = output_from_text(s->output);
        if (output != OUTPUT_TABLE)
                return print_all_json(set, all, found, true, output);
        buf_printf(&out, "%s:%s\n\n", all[0]->name, all[0]->version);
        for (size_t i = 0; i < found; i++)
                put_one(&out, set, all[i]);
        return print_buf(&out);
}

const struct command_spec artifact_show_command = {
        .name = "artifact show",
        .arguments = "NAME[:VERSION]",
        .summary = "Show one version of an artifact, platform by platform",
        .details = "Without a version, the newest that is not yanked.",
        .options = show_options,
        .settings_size = sizeof(struct list_settings),
        .min_arguments = 1,
        .max_arguments = 1,
        .completes = "-",
        .run = run_show,
};
