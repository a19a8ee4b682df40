/* SPDX-License-Identifier: Apache-2.0 */
/* skerry node import: make nodes known before they come. And node replace. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "cli/csv.h"
#include "cli/reason.h"
#include "codec/json.h"

#define IMPORT_FILE_MAX ((size_t)8 << 20)

struct list { /* what a file says, and where */
        json_t *nodes;
        size_t *lines; /* of each node; 0: told by number instead */
        size_t n, cap;
};

static int add(struct list *l, json_t *node, size_t line, struct err **err) {
        if (l->n == l->cap) {
                size_t cap = MAX(2 * l->cap, (size_t)64);
                size_t *lines = reallocarray(l->lines, cap, sizeof(*lines));
                if (!lines) {
                        json_decref(node);
                        return err_set_errno(err, ENOMEM, "import");
                }
                l->lines = lines;
                l->cap = cap;
        }
        if (json_array_append_new(l->nodes, node) < 0)
                return err_set_errno(err, ENOMEM, "import");
        l->lines[l->n++] = line;
        return 0;
}

/* ---- CSV: the first line names the columns: name, machineId, and labels */

static int read_record(struct list *l, char **titles, char **fields, size_t line, struct err **err) {
        json_t *node = json_object(), *labels = json_object();
        if (!node || json_object_set_new(node, "labels", labels) < 0) {
                json_decref(node);
                return err_set_errno(err, ENOMEM, "import");
        }
        for (size_t i = 0; fields[i]; i++) {
                if (!titles[i]) {
                        json_decref(node);
                        return err_set(err, EINVAL, "line %zu: more fields than the first line has", line);
                }
                bool is_label = !str_eq(titles[i], "name") && !str_eq(titles[i], "machineId");
                if (!*fields[i] && !str_eq(titles[i], "name"))
                        continue; /* no such label on this node */
                if (json_object_set_new(is_label ? labels : node, titles[i], json_string(fields[i])) < 0) {
                        json_decref(node);
                        return err_set(err, EINVAL, "line %zu: column %s is not text in UTF-8", line,
                                       titles[i]);
                }
        }
        return add(l, node, line, err);
}

static int read_csv(struct list *l, const char *text, size_t len, struct err **err) {
        _cleanup_(strv_freep) char **titles = NULL;
        struct csv_reader reader;
        csv_init(&reader, text, len);
        int r = csv_next(&reader, &titles, err);
        if (r < 0)
                return r;
        if (r == 0 || !strv_has(titles, "name"))
                return err_set(
                        err, EINVAL,
                        "line 1: the first line must name the columns, one of them 'name'; 'machineId' is "
                        "the machine, each other column is a label");
        for (size_t i = 0; titles[i]; i++)
                for (size_t k = 0; k < i; k++)
                        if (str_eq(titles[i], titles[k]))
                                return err_set(err, EINVAL, "line 1: the column %s is there twice",
                                               titles[i]);
        for (;;) {
                _cleanup_(strv_freep) char **fields = NULL;
                r = csv_next(&reader, &fields, err);
                if (r > 0)
                        r = read_record(l, titles, fields, reader.line, err);
                else
                        return r;
                if (r < 0)
                        return r;
        }
}

/* ---- JSON: a list, or an object with "nodes" or "items" that is one */

static int read_json(struct list *l, const char *text, size_t len, struct err **err) {
        _cleanup_json_ json_t *whole = NULL;
        int r = json_decode(text, len, &whole, err);
        if (r < 0)
                return r;
        json_t *items = json_is_array(whole)                             ? whole
                        : json_is_array(json_object_get(whole, "nodes")) ? json_object_get(whole, "nodes")
                                                                         : json_object_get(whole, "items");
        const json_t *item;
        size_t i;
        if (!json_is_array(items))
                return err_set(err, EINVAL, "expected a list of {\"name\", \"labels\", \"machineId\"}");
        json_array_foreach (items, i, item) {
                r = add(l, json_incref((json_t *)item), 0, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int read_list(struct list *l, const char *path, struct err **err) {
        _cleanup_(x_freep) char *text = NULL;
        size_t len = 0;
        int r = file_read(path, IMPORT_FILE_MAX, &text, &len, err);
        if (r < 0)
                return r;
        size_t blank = strspn(text, " \t\r\n");
        bool is_json = len > blank && (text[blank] == '[' || text[blank] == '{');
        r = is_json ? read_json(l, text, len, err) : read_csv(l, text, len, err);
        return r < 0 ? err_wrap(err, "%s", path) : 0;
}

/* ---- the command */

struct import_settings {
        struct cli_globals globals;
        char *reason, *output;
        bool dry_run;
};
static const struct option_spec import_options[] = {
        {"dry-run", 'n', OPTION_BOOL, offsetof(struct import_settings, dry_run), NULL, NULL,
         "Only say whether the list would do"},
        REASON_OPTION(struct import_settings),
        {"output", 'o', OPTION_CHOICE, offsetof(struct import_settings, output), "FORMAT", "table",
         "How to print", "table,json,yaml"},
        OPTIONS_END,
};

static int tell_errors(const struct list *l, const char *path, const json_t *errors) {
        const json_t *e;
        size_t i;
        json_array_foreach (errors, i, e) {
                size_t at = (size_t)field_int(e, "index");
                _cleanup_(buf_done) struct buf words = BUF_INIT;
                text_put_safe(&words, field_text(e, "message"));
                if (at < l->n && l->lines[at])
                        fprintf(stderr, "%s:%zu: %s\n", path, l->lines[at], buf_str(&words));
                else
                        fprintf(stderr, "%s: node %zu: %s\n", path, at + 1, buf_str(&words));
        }
        fprintf(stderr, "skerry: %zu of %zu nodes will not do; nothing was changed\n",
                json_array_size(errors), l->n);
        return EXIT_FAILURE;
}

static int import(const struct import_settings *s, const char *path, const struct list *l) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_(reason_done) struct reason why = {.given = s->reason};
        _cleanup_json_ json_t *answer = NULL, *checked = NULL;
        _cleanup_json_ json_t *check = json_pack("{s:O, s:b}", "nodes", l->nodes, "dryRun", 1),
                              *body = json_pack("{s:O, s:b}", "nodes", l->nodes, "dryRun", (int)s->dry_run);
        enum output output = output_from_text(s->output);
        if (!check || !body)
                return EXIT_FAILURE;
        /* Looked at first, where the answer tells of every line; the import itself is all or nothing. */
        if (api_open(&s->globals, &api, &err) < 0 ||
            api_call(api, "POST", "/nodes/check", check, &checked, &err) < 0)
                return cli_fail(err);
        if (json_array_size(field(checked, "errors")) > 0)
                return tell_errors(l, path, field(checked, "errors"));
        if (reason_call(api, "POST", "/nodes/import", body, &why, &answer, &err) < 0)
                return cli_fail(err);
        if (output == OUTPUT_JSON || output == OUTPUT_YAML)
                return print_json(answer, output);
        if (s->dry_run)
                printf("%zu nodes would be made known.\n", l->n);
        else
                printf("%zu nodes are known now, and waited for: each gets its labels when it enrols.\n",
                       l->n);
        return EXIT_SUCCESS;
}

static int run_import(void *settings, char **arguments, size_t n) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct list l = {.nodes = json_array()};
        int code = l.nodes && read_list(&l, arguments[0], &err) == 0 ? import(settings, arguments[0], &l)
                                                                     : cli_fail(err);
        json_decref(l.nodes);
        free(l.lines);
        return code;
}

const struct command_spec node_import_command = {
        "node import",
        "FILE",
        "Make nodes known before they come",
        "FILE is CSV, whose first line names the columns (name, machineId, and a column for each label), or "
        "JSON: "
        "[{\"name\", \"labels\": {}, \"machineId\"}]. Each line that will not do is told; then nothing is "
        "changed. "
        "A name is held for the machine whose id (/etc/machine-id) is given, and a machine that enrols "
        "without a "
        "name gets the one that is listed for its id.",
        import_options,
        sizeof(struct import_settings),
        1,
        1,
        "file",
        run_import,
};

/* ---- replace */

struct replace_settings {
        struct cli_globals globals;
        char *reason;
        int64_t within;
        bool cancel;
};
static const struct option_spec replace_options[] = {
        {"within", 't', OPTION_DURATION, offsetof(struct replace_settings, within), "DURATION", "24h",
         "How long the other machine may take to come, 30d at most"},
        {"cancel", 0, OPTION_BOOL, offsetof(struct replace_settings, cancel), NULL, NULL, "Take it back"},
        REASON_OPTION(struct replace_settings),
        OPTIONS_END,
};

static int run_replace(void *settings, char **arguments, size_t n) {
        const struct replace_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_(reason_done) struct reason why = {.given = s->reason};
        if (!s->cancel && (s->within < 1000 || s->within > (int64_t)30 * 24 * 3600 * 1000))
                return cli_usage("node replace", "--within takes one second to 30 days");
        _cleanup_json_ json_t *body =
                json_pack("{s:I}", "ttlSeconds", (json_int_t)(s->cancel ? 0 : (s->within + 999) / 1000));
        char within[32];
        if (!body)
                return EXIT_FAILURE;
        if (api_open(&s->globals, &api, &err) < 0 ||
            reason_kind_call(api, kind_find("node", NULL), "POST", arguments[0], "/replace", body, &why, NULL,
                             &err) < 0)
                return cli_fail(err);
        if (s->cancel)
                printf("No other machine may take the place of node %s.\n", arguments[0]);
        else
                printf("The next machine that enrols as %s within %s takes its place: its name, its labels, "
                       "its "
                       "revision. The machine that has it now is shut out then.\n",
                       arguments[0], duration_format(s->within, within, sizeof(within)));
        return EXIT_SUCCESS;
}

const struct command_spec node_replace_command = {
        "node replace",
        "NAME",
        "Let another machine take a node's place",
        "For broken hardware: the new machine enrols with a join token under the same name, which is refused "
        "otherwise while the old one may come back. Also where the node was revoked.",
        replace_options,
        sizeof(struct replace_settings),
        1,
        1,
        "nodes",
        run_replace,
};
