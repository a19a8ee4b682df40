/* SPDX-License-Identifier: Apache-2.0 */
/* skerry audit list | head | verify. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "cli/kinds.h"
#include "codec/json.h"
#include "fleet/audit_chain.h"

#define PAGE 1000
#define EXPORT_MAX ((size_t)1 << 30)

/* ---- reading the log, page by page */

/* Calls each() with every record after `after`; stops when it says so. */
static int each_record(struct api *api, const char *query, int64_t after, int64_t limit,
                       int (*each)(void *arg, const json_t *record, struct err **err), void *arg,
                       struct err **err) {
        for (;;) {
                _cleanup_json_ json_t *list = NULL;
                _cleanup_(buf_done) struct buf path = BUF_INIT;
                int64_t wanted = limit > 0 ? MIN(limit, (int64_t)PAGE) : PAGE;
                buf_printf(&path, "/audit?after=%" PRId64 "&limit=%" PRId64 "%s", after, wanted, query);
                int r = api_call(api, "GET", buf_str(&path), NULL, &list, err);
                if (r < 0)
                        return r;
                const json_t *items = field(list, "items"), *record;
                size_t i, n = json_array_size(items);
                int64_t before = after;
                json_array_foreach (items, i, record) {
                        r = each(arg, record, err);
                        if (r < 0)
                                return r;
                        after = MAX(after, field_int(record, "sequence"));
                }
                if (n < (size_t)wanted || after == before)
                        return 0;
                if (limit > 0) {
                        limit -= (int64_t)n;
                        if (limit <= 0)
                                return 0;
                }
        }
}

/* ---- list */

struct list_settings {
        struct cli_globals globals;
        char *since, *output;
        int64_t after, limit;
};

static const struct option_spec list_options[] = {
        {"since", 0, OPTION_STRING, offsetof(struct list_settings, since), "TIME", NULL,
         "Only what was done since then: 2h, 7d, 2026-01-31T12:00:00Z"},
        {"after", 0, OPTION_INT, offsetof(struct list_settings, after), "SEQUENCE", "0",
         "Only records after this one"},
        {"limit", 0, OPTION_INT, offsetof(struct list_settings, limit), "N", "0", "How many at most; 0: all"},
        {"output", 'o', OPTION_CHOICE, offsetof(struct list_settings, output), "FORMAT", "table",
         "How to print", "table,wide,json,yaml"},
        OPTIONS_END,
};

static const struct column columns[] = {
        {"SEQ", COLUMN_RIGHT},    {"TIME", 0},
        {"ACTOR", COLUMN_SHRINK}, {"ACT", 0},
        {"ON", COLUMN_SHRINK},    {"REASON", COLUMN_TEXT},
        {"ADDRESS", COLUMN_WIDE}, {"TOKEN", COLUMN_WIDE},
        {"DIGEST", COLUMN_WIDE},
};

static void put_row(struct columns *t, const json_t *record) {
        _cleanup_(buf_done) struct buf on = BUF_INIT;
        const char *kind = field_text(record, "on.kind");
        if (*kind)
                buf_printf(&on, "%s/%s", kind, field_text(record, "on.name"));
        columns_cellf(t, STYLE_NONE, "%" PRId64, field_int(record, "sequence"));
        columns_cell(t, STYLE_NONE, field_text(record, "time"));
        columns_cell(t, STYLE_NONE, field_text(record, "actor"));
        columns_cell(t, STYLE_NONE,
                     field_bool(record, "unreadable") ? "(unreadable)" : field_text(record, "act"));
        columns_cell(t, STYLE_NONE, buf_str(&on));
        columns_cell(t, STYLE_NONE, field_text(record, "reason"));
        columns_cell(t, STYLE_NONE, field_text(record, "address"));
        columns_cell(t, STYLE_NONE, field_text(record, "token"));
        columns_cell(t, STYLE_NONE, field_text(record, "digest"));
}

static int gather(void *arg, const json_t *record, struct err **err) {
        return json_array_append(arg, (json_t *)record) < 0 ? err_set_errno(err, ENOMEM, "audit log") : 0;
}

static int put_since(struct buf *query, const char *text, struct err **err) {
        int64_t ms;
        msec_t at;
        char when[TIME_TEXT_SIZE];
        if (time_parse(text, &at) < 0) {
                if (str_to_duration_ms(text, &ms) < 0 || ms < 0)
                        return err_set(err, EINVAL,
                                       "--since: %.60s is neither a time (2026-01-31T12:00:00Z) nor "
                                       "how long ago (90s, 2h, 7d)",
                                       text);
                at = MAX(clock_wall_ms(clock_system()) - ms, 0);
        }
        buf_puts(query, "&since=");
        url_put(query, time_format(at, when));
        return 0;
}

static int run_list(void *settings, char **arguments, size_t n) {
        const struct list_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_(buf_done) struct buf query = BUF_INIT;
        _cleanup_json_ json_t *items = json_array(), *list = NULL;
        enum output output = output_from_text(s->output);
        if (s->after < 0 || s->limit < 0)
                return cli_usage("audit list", "--after and --limit take numbers from 0 on");
        if (s->since && put_since(&query, s->since, &err) < 0)
                return cli_usage("audit list", "%s", err_message(err));
        if (!items || api_open(&s->globals, &api, &err) < 0 ||
            each_record(api, buf_str(&query), s->after, s->limit, gather, items, &err) < 0)
                return cli_fail(err);
        if (output == OUTPUT_JSON || output == OUTPUT_YAML) {
                list = json_pack("{s:s, s:O}", "kind", "AuditList", "items", items);
                return list ? print_json(list, output) : EXIT_FAILURE;
        }
        if (json_array_size(items) == 0) {
                fputs(s->since || s->after ? "Nothing was done in that time.\n" : "Nothing was done yet.\n",
                      stderr);
                return EXIT_SUCCESS;
        }
        _cleanup_(columns_freep) struct columns *t = columns_new(columns, ARRAY_SIZE(columns));
        size_t i;
        const json_t *record;
        if (!t)
                return EXIT_FAILURE;
        json_array_foreach (items, i, record)
                put_row(t, record);
        return print_columns(t, output == OUTPUT_WIDE);
}

const struct command_spec audit_list_command = {
        "audit list",
        "",
        "Show what people did, oldest first",
        "Who (the name of the token), from which address, what, on what, and why. With -o json the answer "
        "can be "
        "kept and verified later, without the server: 'skerry audit verify FILE'.",
        list_options,
        sizeof(struct list_settings),
        0,
        0,
        NULL,
        run_list,
};

/* ---- head */

struct head_settings {
        struct cli_globals globals;
        char *output;
};
static const struct option_spec head_options[] = {
        {"output", 'o', OPTION_CHOICE, offsetof(struct head_settings, output), "FORMAT", "table",
         "How to print", "table,json,yaml"},
        OPTIONS_END,
};

static int read_head(struct api *api, json_t **ret, struct audit_head *head, struct err **err) {
        _cleanup_json_ json_t *answer = NULL;
        int r = api_call(api, "GET", "/audit/head", NULL, &answer, err);
        if (r < 0)
                return r;
        const char *digest = field_text(answer, "digest");
        if (!sha256_hex_is_valid(digest))
                return err_set(err, EPROTO, "the server's audit head is no digest");
        head->sequence = field_int(answer, "sequence");
        (void)snprintf(head->digest, sizeof(head->digest), "%s", digest);
        if (ret)
                *ret = TAKE_PTR(answer);
        return 0;
}

static int run_head(void *settings, char **arguments, size_t n) {
        const struct head_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_json_ json_t *answer = NULL;
        struct audit_head head;
        enum output output = output_from_text(s->output);
        if (api_open(&s->globals, &api, &err) < 0 || read_head(api, &answer, &head, &err) < 0)
                return cli_fail(err);
        if (output == OUTPUT_JSON || output == OUTPUT_YAML)
                return print_json(answer, output);
        printf("%" PRId64 ":%s\n", head.sequence, head.digest);
        return EXIT_SUCCESS;
}

const struct command_spec audit_head_command = {
        "audit head",
        "",
        "Print the newest record's number and digest, to be noted elsewhere",
        "Whoever can write the server's database could make the whole chain anew. A head that was noted "
        "where "
        "they cannot write shows it: 'skerry audit verify --head SEQUENCE:DIGEST'.",
        head_options,
        sizeof(struct head_settings),
        0,
        0,
        NULL,
        run_head,
};

/* ---- verify */

struct verify_settings {
        struct cli_globals globals;
        char **heads;
        char *output;
};
static const struct option_spec verify_options[] = {
        {"head", 0, OPTION_STRINGS, offsetof(struct verify_settings, heads), "SEQUENCE:DIGEST", NULL,
         "A head that was noted before: the log must hold it; may be given again"},
        {"output", 'o', OPTION_CHOICE, offsetof(struct verify_settings, output), "FORMAT", "table",
         "How to print", "table,json,yaml"},
        OPTIONS_END,
};

struct verifying {
        struct audit_check check;
        struct audit_head *heads;
        size_t n_heads;
};

static int verify_record(void *arg, const json_t *record, struct err **err) {
        struct verifying *v = arg;
        int r = audit_check_record(&v->check, record, err);
        for (size_t i = 0; r == 0 && i < v->n_heads; i++)
                if (v->heads[i].sequence == v->check.head.sequence &&
                    !str_eq(v->heads[i].digest, v->check.head.digest))
                        r = err_set(err, EBADMSG,
                                    "record %" PRId64
                                    " is not the one whose digest was noted: it, or one before "
                                    "it, was replaced",
                                    v->check.head.sequence);
        return r;
}

static int verify_end(struct verifying *v, struct err **err) {
        for (size_t i = 0; i < v->n_heads; i++) {
                int r = audit_check_end(&v->check, &v->heads[i], err);
                if (r == 0 && v->check.first > 0 && v->heads[i].sequence < v->check.first)
                        r = err_set(err, EINVAL,
                                    "the head of record %" PRId64 " cannot be checked: the log given "
                                    "begins with record %" PRId64,
                                    v->heads[i].sequence, v->check.first);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* What 'audit list -o json' printed, or its records one a line. */
static int verify_file(struct verifying *v, const char *path, struct err **err) {
        _cleanup_(x_freep) char *text = NULL;
        _cleanup_json_ json_t *whole = NULL;
        size_t len = 0, i;
        const json_t *record;
        int r = file_read(path, EXPORT_MAX, &text, &len, err);
        if (r < 0)
                return r;
        if (json_decode(text, len, &whole, NULL) == 0 && !json_object_get(whole, "sequence")) {
                const json_t *items = json_is_array(whole) ? whole : json_object_get(whole, "items");
                if (!json_is_array(items))
                        return err_set(err, EINVAL,
                                       "%s holds no audit log: expected what 'skerry audit list -o "
                                       "json' prints",
                                       path);
                json_array_foreach (items, i, record) {
                        r = verify_record(v, record, err);
                        if (r < 0)
                                return r;
                }
                return 0;
        }
        size_t number = 0;
        for (char *line = text, *end; line && *line; line = end ? end + 1 : NULL) {
                _cleanup_json_ json_t *one = NULL;
                end = strchr(line, '\n');
                size_t n = end ? (size_t)(end - line) : strlen(line);
                number++;
                if (n == 0)
                        continue;
                r = json_decode(line, n, &one, err);
                if (r < 0)
                        return err_wrap(err, "%s: line %zu", path, number);
                r = verify_record(v, one, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int verify_server(struct verifying *v, const struct cli_globals *globals, struct err **err) {
        _cleanup_(api_freep) struct api *api = NULL;
        struct audit_head newest;
        int r = api_open(globals, &api, err);
        if (r >= 0) /* first: the log may grow while it is read */
                r = read_head(api, NULL, &newest, err);
        if (r >= 0)
                r = each_record(api, "", 0, 0, verify_record, v, err);
        if (r < 0)
                return r;
        if (v->check.first > 1)
                return err_set(err, EBADMSG, "record 1 is missing: the log begins with record %" PRId64,
                               v->check.first);
        r = audit_check_end(&v->check, &newest, err);
        if (r == 0 && v->check.head.sequence == newest.sequence && newest.sequence > 0 &&
            !str_eq(v->check.head.digest, newest.digest))
                r = err_set(err, EBADMSG,
                            "record %" PRId64 " is not the one that the server wrote last: it was "
                            "replaced",
                            newest.sequence);
        return r;
}

static int print_verdict(const struct verifying *v, enum output output, int result, const struct err *err) {
        _cleanup_json_ json_t *j = json_pack(
                "{s:s, s:b, s:I, s:I, s:s, s:s?}", "kind", "AuditVerification", "whole", result == 0, "first",
                (json_int_t)v->check.first, "last", (json_int_t)v->check.head.sequence, "digest",
                v->check.head.digest, "problem", result < 0 ? err_message(err) : NULL);
        if (j)
                (void)print_json(j, output);
        return result < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int run_verify(void *settings, char **arguments, size_t n) {
        const struct verify_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        struct verifying v = {.check.head = AUDIT_HEAD_NONE};
        enum output output = output_from_text(s->output);
        while (s->heads && s->heads[v.n_heads])
                v.n_heads++;
        v.heads = calloc(v.n_heads + 1, sizeof(*v.heads));
        if (!v.heads)
                return EXIT_FAILURE;
        for (size_t i = 0; i < v.n_heads; i++)
                if (audit_head_parse(s->heads[i], &v.heads[i], &err) < 0) {
                        free(v.heads);
                        return cli_usage("audit verify", "--head: %s", err_message(err));
                }
        int r = n > 0 ? verify_file(&v, arguments[0], &err) : verify_server(&v, &s->globals, &err);
        if (r == 0)
                r = verify_end(&v, &err);
        free(v.heads);
        if (output == OUTPUT_JSON || output == OUTPUT_YAML)
                if (r == 0 || r == -EBADMSG)
                        return print_verdict(&v, output, r, err);
        if (r < 0)
                return cli_fail(err);
        if (v.check.first == 0)
                printf("The audit log is empty.\n");
        else
                printf("Records %" PRId64 " to %" PRId64 " are whole%s. Head: %" PRId64 ":%s\n",
                       v.check.first, v.check.head.sequence,
                       v.check.first > 1 ? "; what came before them is not in the file" : "",
                       v.check.head.sequence, v.check.head.digest);
        return EXIT_SUCCESS;
}

const struct command_spec audit_verify_command = {
        "audit verify",
        "[FILE]",
        "Make sure that nobody tampered with the audit log",
        "Computes the chain of digests anew, here, from what the server sends or from a FILE that 'audit "
        "list -o "
        "json' "
        "made, and names the first record that was altered, removed or moved. Fails then.",
        verify_options,
        sizeof(struct verify_settings),
        0,
        1,
        "file",
        run_verify,
};
