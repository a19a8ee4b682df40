/* SPDX-License-Identifier: Apache-2.0 */
/* skerry delta make | apply | show: the delta engine on files, without a repository. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/delta_rows.h"
#include "cli/print.h"
#include "cli/progress.h"
#include "codec/json.h"
#include "repo/chunk/fetch.h"
#include "repo/delta/apply.h"
#include "repo/delta/make.h"

static int open_file(const char *path, int flags, int *ret_fd, struct err **err) {
        int fd = open(path, flags | O_CLOEXEC, 0644);
        if (fd < 0)
                return err_set_errno(err, errno, "open %s", path);
        *ret_fd = fd;
        return 0;
}

static int file_size(int fd, const char *path, int64_t *ret, struct err **err) {
        struct stat st;
        if (fstat(fd, &st) < 0)
                return err_set_errno(err, errno, "look at %s", path);
        *ret = st.st_size;
        return 0;
}

/* ---- make */

struct make_settings {
        struct cli_globals globals;
        char *output;
        int64_t threads, memory_mb;
};

static const struct option_spec make_options[] = {
        {"threads", 'j', OPTION_INT, offsetof(struct make_settings, threads), "N", "0",
         "Threads to use (0: as many as there are processors)"},
        {"memory", 'm', OPTION_INT, offsetof(struct make_settings, memory_mb), "MIB", "3072",
         "Memory it may take, in MiB"},
        {"output", 'o', OPTION_CHOICE, offsetof(struct make_settings, output), "FORMAT", "table",
         "How to print where the bytes go", "table,json,yaml"},
        OPTIONS_END,
};

static void show_stage(void *arg, const char *stage, int64_t done, int64_t total) {
        progress_show(arg, stage, done, total);
}

static int print_report(const struct delta_report *report, int64_t seed, int64_t target, enum output output) {
        if (output != OUTPUT_TABLE) {
                json_t *j = json_pack("{s:I, s:I, s:I, s:o}", "length", (json_int_t)report->length,
                                      "seedLength", (json_int_t)seed, "targetLength", (json_int_t)target,
                                      "kinds", delta_rows_json(report));
                int code = j ? print_json(j, output) : EXIT_FAILURE;
                json_decref(j);
                return code;
        }
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        char a[32], b[32];
        delta_rows_put(&out, "", report);
        buf_printf(&out, "%-32s %14s %14s\n", "all", bytes_format(target, a, sizeof(a)),
                   bytes_format(report->length, b, sizeof(b)));
        return print_buf(&out);
}

static int run_make(void *settings, char **arguments, size_t n) {
        const struct make_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_closep) int seed = -1, target = -1, delta = -1;
        if (s->threads < 0 || s->threads > 256 || s->memory_mb < 64 || s->memory_mb > 1 << 20)
                return cli_usage("delta make", "--threads takes 0 to 256, --memory at least 64");
        int64_t seed_size = 0, target_size = 0;
        int r = open_file(arguments[0], O_RDONLY, &seed, &err);
        if (r >= 0)
                r = open_file(arguments[1], O_RDONLY, &target, &err);
        if (r >= 0)
                r = file_size(seed, arguments[0], &seed_size, &err);
        if (r >= 0)
                r = file_size(target, arguments[1], &target_size, &err);
        if (r >= 0)
                r = open_file(arguments[2], O_RDWR | O_CREAT | O_TRUNC, &delta, &err);
        if (r < 0)
                return cli_fail(err);
        struct delta_report *report = calloc(1, sizeof(*report));
        if (!report)
                return EXIT_FAILURE;
        struct progress *bar = progress_new();
        const struct delta_make_options o = {.seed_fd = seed,
                                             .target_fd = target,
                                             .delta_fd = delta,
                                             .threads = (unsigned)s->threads,
                                             .memory_max = s->memory_mb << 20,
                                             .progress = show_stage,
                                             .progress_arg = bar};
        r = delta_make(&o, report, &err);
        progress_free(bar);
        int code = EXIT_FAILURE;
        if (r < 0) {
                (void)unlink(arguments[2]); /* half a delta is of no use */
                (void)err_wrap(&err, "make the delta from %s to %s", arguments[0], arguments[1]);
                code = cli_fail(err);
        } else {
                code = print_report(report, seed_size, target_size, output_from_text(s->output));
        }
        free(report);
        return code;
}

const struct command_spec delta_make_command = {
        .name = "delta make",
        .arguments = "SEED TARGET DELTA",
        .summary = "Find what turns one file into another",
        .details =
                "Writes into DELTA the shortest program known that rebuilds TARGET from SEED: disk images, "
                "archives, programs, any file. The result is applied once and compared before the command "
                "ends. Prints where the bytes go. Within a repository 'skerry artifact delta' makes deltas "
                "between versions and publishes them.",
        .options = make_options,
        .settings_size = sizeof(struct make_settings),
        .min_arguments = 3,
        .max_arguments = 3,
        .completes = "file",
        .run = run_make,
};

/* ---- apply */

struct apply_settings {
        struct cli_globals globals;
        char *journal;
};

static const struct option_spec apply_options[] = {
        {"journal", 0, OPTION_STRING, offsetof(struct apply_settings, journal), "FILE", NULL,
         "Where to note how far it is, to go on after an interruption (default: TARGET.journal)"},
        OPTIONS_END,
};

static void show_apply(void *arg, int64_t done, int64_t total) {
        progress_show(arg, "apply", done, total);
}

static int run_apply(void *settings, char **arguments, size_t n) {
        const struct apply_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_closep) int seed = -1, delta = -1, target = -1;
        _cleanup_(x_freep) char *beside = str_format("%s.journal", arguments[2]);
        struct delta_header header;
        int r = open_file(arguments[0], O_RDONLY, &seed, &err);
        if (r >= 0)
                r = open_file(arguments[1], O_RDONLY, &delta, &err);
        if (r >= 0)
                r = delta_read_header(delta, &header, &err);
        if (r >= 0)
                r = open_file(arguments[2], O_RDWR | O_CREAT, &target, &err);
        if (r < 0)
                return cli_fail(err);
        struct progress *bar = progress_new();
        const struct delta_apply_options o = {.delta_fd = delta,
                                              .seed_fd = seed,
                                              .target_fd = target,
                                              .journal = s->journal ? s->journal : beside,
                                              .target_length = header.target_length,
                                              .target_sha256 = header.target_sha256,
                                              .progress = show_apply,
                                              .progress_arg = bar};
        r = delta_apply(&o, &err);
        progress_free(bar);
        if (r < 0) {
                (void)err_wrap(&err, "apply %s to %s", arguments[1], arguments[0]);
                return cli_fail(err);
        }
        return EXIT_SUCCESS;
}

const struct command_spec delta_apply_command = {
        .name = "delta apply",
        .arguments = "SEED DELTA TARGET",
        .summary = "Rebuild a file from its seed and a delta",
        .details =
                "Writes TARGET, from its beginning to its end, and checks it against the digest that the "
                "delta "
                "names. Interrupted, the same command goes on where it was. The delta vouches for nothing: "
                "nodes check against the signed digest of the repository.",
        .options = apply_options,
        .settings_size = sizeof(struct apply_settings),
        .min_arguments = 3,
        .max_arguments = 3,
        .completes = "file",
        .run = run_apply,
};

/* ---- show */

struct show_settings {
        struct cli_globals globals;
        char *output;
};

static const struct option_spec show_options[] = {
        {"output", 'o', OPTION_CHOICE, offsetof(struct show_settings, output), "FORMAT", "table",
         "How to print", "table,json,yaml"},
        OPTIONS_END,
};

static int run_show(void *settings, char **arguments, size_t n) {
        const struct show_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_closep) int delta = -1;
        struct delta_header h;
        int64_t size = 0;
        int r = open_file(arguments[0], O_RDONLY, &delta, &err);
        if (r >= 0)
                r = file_size(delta, arguments[0], &size, &err);
        if (r >= 0)
                r = delta_read_header(delta, &h, &err);
        if (r < 0) {
                (void)err_wrap(&err, "read %s", arguments[0]);
                return cli_fail(err);
        }
        enum output output = output_from_text(s->output);
        if (output != OUTPUT_TABLE) {
                json_t *j = json_pack("{s:I, s:{s:I, s:s}, s:{s:I, s:s}}", "length", (json_int_t)size, "seed",
                                      "length", (json_int_t)h.seed_length, "sha256", h.seed_sha256, "target",
                                      "length", (json_int_t)h.target_length, "sha256", h.target_sha256);
                int code = j ? print_json(j, output) : EXIT_FAILURE;
                json_decref(j);
                return code;
        }
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        char text[32];
        buf_printf(&out, "delta   %s\n", bytes_format(size, text, sizeof(text)));
        buf_printf(&out, "seed    %s  sha256:%s\n", bytes_format(h.seed_length, text, sizeof(text)),
                   h.seed_sha256);
        buf_printf(&out, "target  %s  sha256:%s\n", bytes_format(h.target_length, text, sizeof(text)),
                   h.target_sha256);
        return print_buf(&out);
}

const struct command_spec delta_show_command = {
        .name = "delta show",
        .arguments = "DELTA",
        .summary = "Show what a delta leads from and to",
        .options = show_options,
        .settings_size = sizeof(struct show_settings),
        .min_arguments = 1,
        .max_arguments = 1,
        .completes = "file",
        .run = run_show,
};

/* ---- chunks */

struct chunks_settings {
        struct cli_globals globals;
        char *output;
};

static const struct option_spec chunks_options[] = {
        {"output", 'o', OPTION_CHOICE, offsetof(struct chunks_settings, output), "FORMAT", "table",
         "How to print", "table,json,yaml"},
        OPTIONS_END,
};

static void show_chunks(void *arg, int64_t done, int64_t total) {
        progress_show(arg, "chunks", done, total);
}

/* A file without a name: gone when it is closed. */
static int scratch_file(const char *folder, int *ret_fd, struct err **err) {
        return open_file(folder, O_TMPFILE | O_RDWR, ret_fd, err);
}

struct chunks_figures {
        int64_t index, pack, missing;
};

/* Makes index and pack of the target, and asks what a node that holds the seed would fetch of the pack. */
static int predict_chunks(const char *seed_path, const char *target_path, struct progress *bar,
                          struct chunks_figures *ret, struct err **err) {
        const char *wanted = getenv("TMPDIR"), *folder = wanted ? wanted : "/tmp";
        _cleanup_(x_closep) int seed = -1, target = -1, index_fd = -1, pack = -1, rebuilt = -1;
        _cleanup_(chunk_index_freep) struct chunk_index *index = NULL;
        _cleanup_(chunk_fetch_freep) struct chunk_fetch *fetch = NULL;
        _cleanup_(x_freep) char *bytes = NULL, *journal = NULL;
        int r = open_file(seed_path, O_RDONLY, &seed, err);
        if (r >= 0)
                r = open_file(target_path, O_RDONLY, &target, err);
        if (r >= 0)
                r = scratch_file(folder, &index_fd, err);
        if (r >= 0)
                r = scratch_file(folder, &pack, err);
        if (r >= 0)
                r = scratch_file(folder, &rebuilt, err);
        if (r >= 0)
                r = chunk_index_make(target, index_fd, pack, 0, show_chunks, bar, err);
        if (r >= 0)
                r = file_size(index_fd, "the index", &ret->index, err);
        if (r >= 0)
                r = file_size(pack, "the pack", &ret->pack, err);
        if (r < 0)
                return r;
        bytes = malloc((size_t)ret->index + 1);
        journal = str_format("%s/skerry-chunks-%d.journal", folder, (int)getpid());
        if (!bytes || !journal)
                return err_set(err, ENOMEM, "out of memory");
        if (pread(index_fd, bytes, (size_t)ret->index, 0) != (ssize_t)ret->index)
                return err_set(err, EIO, "the index cannot be read again");
        r = chunk_index_parse(bytes, (size_t)ret->index, &index, err);
        if (r >= 0)
                r = chunk_fetch_open(index, &seed, 1, rebuilt, journal, &fetch, err);
        if (r >= 0)
                ret->missing = chunk_fetch_missing(fetch);
        (void)unlink(journal);
        return r;
}

static int run_chunks(void *settings, char **arguments, size_t n) {
        const struct chunks_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        struct chunks_figures f = {0};
        struct progress *bar = progress_new();
        int r = predict_chunks(arguments[0], arguments[1], bar, &f, &err);
        progress_free(bar);
        if (r < 0)
                return cli_fail(err);
        enum output output = output_from_text(s->output);
        if (output != OUTPUT_TABLE) {
                json_t *j = json_pack("{s:I, s:I, s:I, s:I}", "index", (json_int_t)f.index, "pack",
                                      (json_int_t)f.pack, "missing", (json_int_t)f.missing, "wire",
                                      (json_int_t)(f.index + f.missing));
                int code = j ? print_json(j, output) : EXIT_FAILURE;
                json_decref(j);
                return code;
        }
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        char text[32];
        buf_printf(&out, "index         %s\n", bytes_format(f.index, text, sizeof(text)));
        buf_printf(&out, "whole pack    %s\n", bytes_format(f.pack, text, sizeof(text)));
        buf_printf(&out, "of it missing %s\n", bytes_format(f.missing, text, sizeof(text)));
        buf_printf(&out, "on the wire   %s\n", bytes_format(f.index + f.missing, text, sizeof(text)));
        return print_buf(&out);
}

const struct command_spec delta_chunks_command = {
        .name = "delta chunks",
        .arguments = "SEED TARGET",
        .summary = "Say what the way by chunks would cost",
        .details = "Cuts TARGET into chunks and counts which of them a machine that holds SEED would have to "
                   "fetch: "
                   "what an update costs where nobody made a delta for it.",
        .options = chunks_options,
        .settings_size = sizeof(struct chunks_settings),
        .min_arguments = 2,
        .max_arguments = 2,
        .completes = "file",
        .run = run_chunks,
};
