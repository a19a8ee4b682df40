/* SPDX-License-Identifier: Apache-2.0 */
/* skerry artifact delta | prune */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/str.h"
#include "base/table.h"
#include "cli/artifact.h"
#include "cli/delta_rows.h"
#include "cli/print.h"
#include "cli/progress.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "repo/delta/make.h"

#define DELTAS_MAX 256 /* in a list (docs/formats/repository.md) */

struct settings {
        struct repo_globals globals;
        char *platform, *all_from, *output;
        int64_t threads, memory_mb;
};
static const struct option_spec options[] = {
        REPO_OPTIONS,
        {"platform", 'p', OPTION_STRING, offsetof(struct settings, platform), "PLATFORM", NULL,
         "Only this platform (default: every one that both versions have)"},
        {"all-from", 0, OPTION_STRING, offsetof(struct settings, all_from), "VERSION", NULL,
         "From this version and every later one"},
        {"threads", 'j', OPTION_INT, offsetof(struct settings, threads), "N", "0",
         "Threads to use (0: as many as there are processors)"},
        {"memory", 'm', OPTION_INT, offsetof(struct settings, memory_mb), "MIB", "3072",
         "Memory it may take, in MiB"},
        {"output", 'o', OPTION_CHOICE, offsetof(struct settings, output), "FORMAT", "table",
         "How to print where the bytes go", "table,json,yaml"},
        OPTIONS_END,
};

/* ---- the list of deltas to a target */

static int put_in_list(const struct artifact_set *s, const char *target, const char *from, int64_t length,
                       const char *sha256, struct err **err) {
        _cleanup_json_ json_t *list = NULL;
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        int r = artifact_delta_list(s, target, &list, err);
        if (r < 0)
                return r;
        json_t *deltas = json_object_get(list, "deltas");
        for (size_t i = json_array_size(deltas); i-- > 0;)
                if (str_eq(json_string_value(json_object_get(json_array_get(deltas, i), "from")), from))
                        (void)json_array_remove(deltas, i);
        /* The newest first; the oldest give way. */
        if (length >= 0 && json_array_insert_new(deltas, 0,
                                                 json_pack("{s:s,s:I,s:s}", "from", from, "length",
                                                           (json_int_t)length, "sha256", sha256)) < 0)
                return err_set_errno(err, ENOMEM, "list the delta");
        while (json_array_size(deltas) > DELTAS_MAX)
                (void)json_array_remove(deltas, DELTAS_MAX);
        if ((r = json_encode_canonical(list, &text, err)) < 0)
                return r;
        _cleanup_(x_freep) char *below = repository_delta_list(target),
                                *path = artifact_public_path(s, below);
        return path ? file_write_atomic(path, buf_str(&text), text.len, 0644, err)
                    : err_set_errno(err, ENOMEM, "list the delta");
}

/* ---- one delta */

struct making {
        struct progress *bar;
        char label[512];
};

static void show(void *arg, const char *stage, int64_t done, int64_t total) {
        const struct making *m = arg;
        char label[640];
        (void)snprintf(label, sizeof(label), "%s %s", m->label, stage);
        progress_show(m->bar, label, done, total);
}

static int make_file(const struct settings *s, const struct artifact_set *set, const struct artifact *old,
                     const struct artifact *new, int fd, struct delta_report *report, struct err **err) {
        _cleanup_(x_closep) int seed = -1, target = -1;
        struct making m = {.bar = progress_new()};
        int r = artifact_open_payload(set, old, &seed, err);
        if (r == 0)
                r = artifact_open_payload(set, new, &target, err);
        (void)snprintf(m.label, sizeof(m.label), "%s %s -> %s %s:", new->name, old->version, new->version,
                       new->platform);
        const struct delta_make_options o = {.seed_fd = seed,
                                             .target_fd = target,
                                             .delta_fd = fd,
                                             .threads = (unsigned)s->threads,
                                             .memory_max = s->memory_mb << 20,
                                             .progress = show,
                                             .progress_arg = &m};
        if (r == 0)
                r = delta_make(&o, report, err);
        progress_free(m.bar);
        return r;
}

static int make(const struct settings *s, const struct artifact_set *set, const struct artifact *old,
                const struct artifact *new, struct delta_report *report, struct err **err) {
        _cleanup_(x_freep) char *below = repository_delta(new->sha256, old->sha256),
                                *path = artifact_public_path(set, below);
        _cleanup_(x_freep) char *temporary = path ? str_format("%s.new", path) : NULL,
                                *folder = str_dup(path);
        char sha256[SHA256_HEX_SIZE];
        struct stat st;
        if (!temporary || !folder)
                return err_set_errno(err, ENOMEM, "make the delta");
        *strrchr(folder, '/') = '\0';
        int r = dir_make(folder, 0755, err);
        if (r < 0)
                return r;
        _cleanup_(x_closep) int fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (fd < 0)
                return err_set_errno(err, errno, "write %s", temporary);
        r = make_file(s, set, old, new, fd, report, err);
        if (r == 0 && (fsync(fd) < 0 || fstat(fd, &st) < 0 || lseek(fd, 0, SEEK_SET) < 0))
                r = err_set_errno(err, errno, "write %s", temporary);
        if (r == 0 && (r = sha256_file_hex(fd, sha256)) < 0)
                r = err_set_errno(err, -r, "read %s", temporary);
        /* One that is no shorter than the whole would never be taken. */
        bool useful = r == 0 && st.st_size < new->length;
        if (useful && rename(temporary, path) < 0)
                r = err_set_errno(err, errno, "write %s", path);
        if (!useful || r < 0)
                (void)unlink(temporary);
        if (r == 0 && useful)
                r = put_in_list(set, new->sha256, old->sha256, st.st_size, sha256, err);
        return r < 0 ? err_wrap_code(err, r, "make the delta from %s:%s to %s for %s", old->name,
                                     old->version, new->version, new->platform)
                     : 0;
}

/* ---- the command */

static json_t *report_json(const struct artifact *old, const struct artifact *new,
                           const struct delta_report *report) {
        return json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:b,s:o}", "name", new->name, "from", old->version, "to",
                         new->version, "platform", new->platform, "length", (json_int_t)report->length,
                         "targetLength", (json_int_t) new->length, "published", report->length < new->length,
                         "kinds", delta_rows_json(report));
}

static void put_report(struct buf *out, const struct artifact *old, const struct artifact *new,
                       const struct delta_report *report) {
        char a[32], b[32];
        buf_printf(out, "%s %s -> %s, %s: %s instead of %s%s\n", new->name, old->version, new->version,
                   new->platform, bytes_format(report->length, a, sizeof(a)),
                   bytes_format(new->length, b, sizeof(b)),
                   report->length < new->length ? "" : "; not published, it saves nothing");
        delta_rows_put(out, "  ", report);
}

struct run {
        const struct settings *s;
        struct artifact_set *set;
        const char *platform; /* or NULL */
        struct delta_report *report;
        json_t *reports;
        struct buf *out;
        size_t made;
};

static int make_between(struct run *x, const struct artifact *const *old, size_t n_old,
                        const struct artifact *const *new, size_t n_new, struct err **err) {
        for (size_t i = 0; i < n_new; i++) {
                const struct artifact *from = artifact_of_platform(old, n_old, new[i]->platform);
                if (!from || (x->platform && !str_eq(x->platform, new[i]->platform)) ||
                    str_eq(from->sha256, new[i]->sha256))
                        continue;
                int r = make(x->s, x->set, from, new[i], x->report, err);
                if (r < 0)
                        return r;
                x->made++;
                if (json_array_append_new(x->reports, report_json(from, new[i], x->report)) < 0)
                        return err_set_errno(err, ENOMEM, "report");
                put_report(x->out, from, new[i], x->report);
        }
        return 0;
}

static int make_all(struct run *x, char **arguments, size_t n, struct err **err) {
        _cleanup_(x_freep) const struct artifact **old = NULL, **new = NULL;
        size_t n_old = 0, n_new = 0;
        const char *name = arguments[0], *from = x->s->all_from ? x->s->all_from : arguments[1];
        const char *to = n > 1 ? arguments[n - 1] : NULL;
        int r = artifact_set_find(x->set, name, from, &old, &n_old, err);
        if (r == 0)
                r = artifact_set_find(x->set, name, to, &new, &n_new, err);
        if (r < 0 || !old || !new)
                return r;
        if (!x->s->all_from)
                return make_between(x, old, n_old, new, n_new, err);
        int64_t lowest = old[0]->release_counter, highest = new[0]->release_counter;
        for (size_t i = 1; i < n_old; i++)
                lowest = MIN(lowest, old[i]->release_counter);
        for (size_t i = 0; r == 0 && i < x->set->n; i++) {
                const struct artifact *a = x->set->all[i];
                if (str_eq(a->name, name) && a->release_counter >= lowest && a->release_counter < highest)
                        r = make_between(x, &a, 1, new, n_new, err);
        }
        return r;
}

static int run_delta(void *settings, char **arguments, size_t n) {
        const struct settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(artifact_set_freep) struct artifact_set *set = NULL;
        _cleanup_(x_freep) struct delta_report *report = calloc(1, sizeof(*report));
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        _cleanup_json_ json_t *reports = json_array();
        char platform[PLATFORM_MAX];
        if (s->all_from ? n > 2 : n != 3)
                return cli_usage("artifact delta", "give NAME OLD NEW, or NAME [NEW] --all-from VERSION");
        if (s->threads < 0 || s->threads > 256 || s->memory_mb < 64 || s->memory_mb > 1 << 20)
                return cli_usage("artifact delta", "--threads takes 0 to 256, --memory at least 64");
        if (s->platform && platform_parse(s->platform, platform, &err) < 0)
                return cli_usage("artifact delta", "%s", err_message(err));
        struct run x = {.s = s,
                        .platform = s->platform ? platform : NULL,
                        .report = report,
                        .reports = reports,
                        .out = &out};
        int r = report && reports ? artifact_set_open(&s->globals, false, &set, &err) : -ENOMEM;
        x.set = set;
        if (r == 0)
                r = make_all(&x, arguments, n, &err);
        enum output output = output_from_text(s->output);
        if (r == 0 && x.made == 0)
                r = err_set(&err, ENOENT,
                            "there are no two payloads of %s between which a delta could be made",
                            arguments[0]);
        /* What was made before something failed stands, and is told. */
        int code = output == OUTPUT_TABLE ? print_buf(&out) : print_json(reports, output);
        return r < 0 ? cli_fail(err) : code;
}

const struct command_spec artifact_delta_command = {
        .name = "artifact delta",
        .arguments = "NAME [OLD] [NEW]",
        .summary = "Make deltas between versions, and publish them",
        .details = "Finds the shortest program that rebuilds NEW from OLD, proves it, and puts it beside the "
                   "chunks; nodes that "
                   "have OLD take it. With --all-from VERSION, from that version and every later one to NEW "
                   "(default: the "
                   "newest). Deltas need no signature: what they rebuild is checked against the signed "
                   "digest. Prints where "
                   "the bytes go.",
        .options = options,
        .settings_size = sizeof(struct settings),
        .min_arguments = 1,
        .max_arguments = 3,
        .completes = "-",
        .run = run_delta,
};
