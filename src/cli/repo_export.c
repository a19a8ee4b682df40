/* SPDX-License-Identifier: Apache-2.0 */
/* skerry repo export: what some nodes need of a repository, in a folder to be carried to them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/fs.h"
#include "base/str.h"
#include "base/table.h"
#include "cli/api.h"
#include "cli/progress.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "net/http_client.h"
#include "repo/artifact.h"
#include "repo/tuf/client.h"

#define COPY_BYTES ((size_t)256 * 1024)
#define LIST_BYTES_MAX ((size_t)128 * 1024)
#define OBJECT_BYTES_MAX ((size_t)64 << 20)

struct export_settings {
        struct cli_globals globals;
        char *repository, *whom, *root;
        char **artifacts;
};

struct export {
        const struct export_settings *settings;
        const char *into;
        struct root_dir *folder; /* of the repository, or NULL: */
        char *url;               /* where it is served */
        struct loop *loop;       /* for the url */
        struct http_client *client;
        struct api *api; /* NULL: nobody is asked about nodes */
        struct tuf_client *tuf;
        struct tuf_folder *trusted; /* the client's */
        struct progress *progress;
        struct table *targets; /* path -> wanted */
        struct table *seeds;   /* digests of what the nodes run, for deltas */
        struct table *objects; /* digests of revisions and their files */
        unsigned n_nodes, n_files;
        int64_t bytes;
};

/* ---- one file of the repository to a place below OUT */

struct transfer {
        struct export *e;
        const char *path;
        int fd, error, status;
        int64_t length, most;
};

static int write_all(int fd, const char *p, size_t n) {
        while (n > 0) {
                ssize_t r = write(fd, p, n);
                if (r < 0 && errno == EINTR)
                        continue;
                if (r < 0)
                        return -errno;
                p += r;
                n -= (size_t)r;
        }
        return 0;
}

static int on_data(void *arg, const char *p, size_t n) {
        struct transfer *t = arg;
        t->length += (int64_t)n;
        if (t->length > t->most)
                return t->error = -EFBIG;
        progress_show(t->e->progress, t->path, t->length, 0);
        int r = write_all(t->fd, p, n);
        return r < 0 ? t->error = r : 0;
}

static void on_done(void *arg, const struct http_result *r) {
        struct transfer *t = arg;
        t->status = r->status;
        if (r->error < 0 && t->error == 0)
                t->error = r->error;
        loop_stop(t->e->loop, 0);
}

static int from_url(struct transfer *t) {
        struct buf url = BUF_INIT;
        _cleanup_(x_freep) char *text = NULL;
        (void)buf_puts(&url, t->e->url);
        for (const char *p = t->path; *p; p++)
                if (*p == '+' || *p == '%' || *p == '?' || *p == '#' || *p == ' ')
                        (void)buf_printf(&url, "%%%02X", (unsigned)(unsigned char)*p);
                else
                        (void)buf_putc(&url, *p);
        text = buf_take(&url, NULL);
        if (!text)
                return -ENOMEM;
        struct http_request q = {.url = text, .on_data = on_data, .done = on_done, .arg = t};
        int r = http_client_send(t->e->client, &q, NULL, NULL);
        if (r < 0)
                return r;
        (void)loop_run(t->e->loop);
        if (t->status == 404 || t->status == 403 || t->status == 410)
                return -ENOENT;
        if (t->error < 0)
                return t->error;
        return t->status == 200 ? 0 : -EIO;
}

static int from_folder(struct transfer *t) {
        _cleanup_(x_freep) char *block = malloc(COPY_BYTES);
        _cleanup_(x_closep) int fd = root_dir_openat(t->e->folder, t->path, O_RDONLY | O_NOFOLLOW, 0);
        if (fd < 0 || !block)
                return fd < 0 ? fd : -ENOMEM;
        for (;;) {
                ssize_t n = read(fd, block, COPY_BYTES);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : 0;
                int r = on_data(t, block, (size_t)n);
                if (r < 0)
                        return r;
        }
}

static int make_parents(const char *file, struct err **err) {
        _cleanup_(x_freep) char *folder = str_dup(file);
        char *slash = folder ? strrchr(folder, '/') : NULL;
        if (!slash)
                return err_set(err, ENOMEM, "out of memory");
        *slash = '\0';
        return dir_make(folder, 0755, err);
}

/* sha256, length: what it must be; NULL, -1: not known here. -ENOENT leaves nothing behind, nor does anything
 * that is not what it should be. */
static int copy(struct export *e, const char *path, const char *sha256, int64_t length, int64_t most,
                struct err **err) {
        _cleanup_(x_freep) char *to = path_join(e->into, path),
                                *temporary = to ? str_format("%s.part", to) : NULL;
        char found[SHA256_HEX_SIZE];
        if (!temporary)
                return err_set(err, ENOMEM, "out of memory");
        if (!path_is_beneath(path)) /* names of others: of targets, of roles */
                return err_set(err, EINVAL, "the repository lists '%s', which leads out of its folder", path);
        int r = make_parents(to, err);
        if (r < 0)
                return r;
        _cleanup_(x_closep) int fd =
                open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0)
                return err_set_errno(err, errno, "create %s", temporary);
        struct transfer t = {.e = e, .path = path, .fd = fd, .most = length >= 0 ? length : most};
        r = e->folder ? from_folder(&t) : from_url(&t);
        if (r >= 0 && fsync(fd) < 0)
                r = -errno;
        if (r >= 0 && sha256)
                r = sha256_file_hex(fd, found);
        if (r >= 0 && sha256 && (!str_eq(found, sha256) || (length >= 0 && t.length != length)))
                r = -EBADMSG;
        if (r >= 0 && rename(temporary, to) < 0)
                r = -errno;
        if (r < 0) {
                (void)unlink(temporary);
                if (r == -ENOENT)
                        return err_set(err, ENOENT, "the repository has no %s", path);
                if (r == -EBADMSG)
                        return err_set(err, EBADMSG,
                                       "%s of the repository is not what its signed metadata says", path);
                return err_set_errno(err, -r, "copy %s of the repository to %s", path, to);
        }
        e->n_files++;
        e->bytes += t.length;
        return 0;
}

/* ---- metadata: what a node would fetch, verified as it would */

static int read_copied(struct export *e, const char *path, size_t most, char **ret, size_t *ret_len,
                       struct err **err) {
        _cleanup_(x_freep) char *file = path_join(e->into, path);
        return file ? file_read(file, most, ret, ret_len, err) : err_set(err, ENOMEM, "out of memory");
}

static int feed(struct export *e, struct err **err) {
        const struct tuf_need *need;
        while ((need = tuf_client_need(e->tuf))) {
                _cleanup_(x_freep) char *text = NULL, *path = str_dup(need->path);
                size_t len = 0, most = need->max_bytes;
                bool optional = need->optional;
                if (!path)
                        return err_set(err, ENOMEM, "out of memory");
                int r = copy(e, path, NULL, -1, (int64_t)most, err);
                if (r == -ENOENT && optional) {
                        if (err)
                                *err = err_free(*err);
                        tuf_client_missing(e->tuf);
                        continue;
                }
                if (r >= 0)
                        r = read_copied(e, path, most, &text, &len, err);
                if (r < 0)
                        return r;
                tuf_client_give(e->tuf, text, len);
        }
        return tuf_client_result(e->tuf, err);
}

static int copy_metadata(struct export *e, const char *store, struct err **err) {
        static const char first[] = "metadata/1.root.json";
        _cleanup_(x_freep) char *root = NULL;
        size_t len = 0;
        int r = copy(e, first, NULL, -1, TUF_ROOT_MAX, err);
        if (r >= 0)
                r = e->settings->root ? file_read(e->settings->root, TUF_ROOT_MAX, &root, &len, err)
                                      : read_copied(e, first, TUF_ROOT_MAX, &root, &len, err);
        if (r >= 0)
                r = tuf_folder_open(store, &e->trusted, err);
        if (r < 0)
                return r;
        struct tuf_store kept = tuf_folder_store(e->trusted);
        r = tuf_client_new(&kept, root, len, &e->tuf, err);
        if (r >= 0) {
                tuf_client_refresh(e->tuf, (int64_t)time(NULL));
                r = feed(e, err);
        }
        if (r >= 0) {
                tuf_client_load_all(e->tuf);
                r = feed(e, err);
        }
        return r < 0 ? err_wrap_code(err, r, "the repository") : 0;
}

/* ---- nodes: assignments, and what these name */

static int want_target(struct export *e, const char *path) {
        return table_set(e->targets, path, e);
}

/* Digests in a revision: its files; those of artifacts are not among the server's objects. */
static void collect_digests(struct export *e, const json_t *j) {
        const char *key;
        json_t *value;
        size_t i;
        json_object_foreach ((json_t *)j, key, value)
                if (str_eq(key, "sha256") && sha256_hex_is_valid(json_string_value(value)))
                        (void)table_set(e->objects, json_string_value(value), e);
                else
                        collect_digests(e, value);
        json_array_foreach (j, i, value)
                collect_digests(e, value);
}

static int save(struct export *e, const char *folder, const char *name, const char *data, size_t len,
                struct err **err) {
        _cleanup_(x_freep) char *to = str_format("%s/%s/%s", e->into, folder, name);
        if (!to)
                return err_set(err, ENOMEM, "out of memory");
        int r = make_parents(to, err);
        /* Variables and files of nodes may be secrets; who imports them is root. */
        return r < 0 ? r : file_write_atomic(to, data, len, 0600, err);
}

static int save_object(struct export *e, const char *sha256, char **ret, size_t *ret_len, struct err **err) {
        _cleanup_(x_freep) char *path = str_format("/objects/%s", sha256), *data = NULL;
        char found[SHA256_HEX_SIZE];
        size_t len = 0;
        if (!path)
                return err_set(err, ENOMEM, "out of memory");
        int r = api_get_bytes(e->api, path, &data, &len, err);
        if (r < 0)
                return r;
        sha256_hex(data, len, found);
        if (!str_eq(found, sha256))
                return err_set(err, EBADMSG, "object %s of the server has digest %s", sha256, found);
        r = save(e, "objects/sha256", sha256, data, len, err);
        if (r >= 0 && ret) {
                *ret = TAKE_PTR(data);
                *ret_len = len;
        }
        return r;
}

static int take_revision(struct export *e, const json_t *assignment, struct err **err) {
        const char *sha256 =
                json_string_value(json_object_get(json_object_get(assignment, "revision"), "sha256"));
        const char *fleet = json_string_value(json_object_get(assignment, "fleet"));
        _cleanup_(x_freep) char *text = NULL, *target = NULL;
        _cleanup_json_ json_t *revision = NULL;
        size_t len = 0;
        if (!sha256 || table_get(e->objects, sha256))
                return 0;
        int r = save_object(e, sha256, &text, &len, err);
        if (r >= 0)
                r = json_decode(text, len, &revision, err);
        if (r < 0)
                return r;
        collect_digests(e, revision);
        (void)table_set(e->objects, sha256, e);
        target = fleet ? str_format("revisions/%s/%s.json", fleet, sha256) : NULL;
        return target && want_target(e, target) < 0 ? err_set(err, ENOMEM, "out of memory") : 0;
}

/* What it runs already can be the seed of a delta. */
static void note_seeds(struct export *e, const json_t *node) {
        const json_t *held = json_object_get(json_object_get(node, "status"), "artifacts");
        size_t i;
        json_t *one;
        json_array_foreach (held, i, one) {
                const char *sha256 = json_string_value(json_object_get(one, "sha256"));
                if (sha256_hex_is_valid(sha256 ? sha256 : ""))
                        (void)table_set(e->seeds, sha256, e);
        }
}

static int take_node(struct export *e, const char *name, struct err **err) {
        _cleanup_(x_freep) char *path = str_format("/nodes/%s/assignment", name),
                                *about = str_format("/nodes/%s", name);
        _cleanup_(x_freep) char *text = NULL, *file = str_format("%s.json", name);
        _cleanup_json_ json_t *document = NULL, *node = NULL;
        if (!path || !about || !file)
                return err_set(err, ENOMEM, "out of memory");
        if (!name_is_dns_label(name)) /* it becomes the name of a file here, and came from the server */
                return err_set(err, EINVAL, "the server calls a node \"%s\", which is no name", name);
        int r = api_call(e->api, "GET", about, NULL, &node, err);
        if (r >= 0)
                r = api_call(e->api, "GET", path, NULL, &document, err);
        if (r == -ENOENT && node) { /* it was given nothing yet */
                fprintf(stderr, "skerry: %s\n", err_message(err ? *err : NULL));
                if (err)
                        *err = err_free(*err);
                return 0;
        }
        if (r < 0)
                return r;
        note_seeds(e, node);
        text = json_encode_compact(document);
        r = text ? save(e, "assignments", file, text, strlen(text), err)
                 : err_set(err, ENOMEM, "out of memory");
        const json_t *assignment = json_object_get(document, "signed");
        const json_t *artifacts = json_object_get(assignment, "artifacts");
        for (size_t i = 0; r >= 0 && i < json_array_size(artifacts); i++) {
                const char *target =
                        json_string_value(json_object_get(json_array_get(artifacts, i), "target"));
                if (target && want_target(e, target) < 0)
                        r = err_set(err, ENOMEM, "out of memory");
        }
        if (r >= 0)
                r = take_revision(e, assignment, err);
        if (r >= 0)
                e->n_nodes++;
        return r;
}

static int take_fleet(struct export *e, const char *fleet, struct err **err) {
        _cleanup_(x_freep) char *path = str_format("/nodes?fleet=%s", fleet);
        _cleanup_json_ json_t *list = NULL;
        int r = path ? api_call(e->api, "GET", path, NULL, &list, err)
                     : err_set(err, ENOMEM, "out of memory");
        const json_t *items = json_object_get(list, "items");
        for (size_t i = 0; r >= 0 && i < json_array_size(items); i++) {
                const json_t *metadata = json_object_get(json_array_get(items, i), "metadata");
                const char *name = json_string_value(json_object_get(metadata, "name"));
                if (name)
                        r = take_node(e, name, err);
        }
        if (r >= 0 && json_array_size(items) == 0)
                return err_set(err, ENOENT, "fleet %s has no nodes", fleet);
        return r;
}

static int take_nodes(struct export *e, struct err **err) {
        _cleanup_(strv_freep) char **names = strv_split(e->settings->whom, ",");
        for (size_t i = 0; names && names[i]; i++)
                if (!name_is_dns_label(names[i]))
                        return err_set(err, EINVAL, "--for: \"%s\" is the name of no fleet or node",
                                       names[i]);
        if (names && strv_len(names) == 1) {
                _cleanup_(x_freep) char *path = str_format("/fleets/%s", names[0]);
                _cleanup_json_ json_t *fleet = NULL;
                _cleanup_(err_freep) struct err *none = NULL;
                int r = path ? api_call(e->api, "GET", path, NULL, &fleet, &none) : -ENOMEM;
                if (r >= 0)
                        return take_fleet(e, names[0], err);
                if (r != -ENOENT)
                        return err_move(err, TAKE_PTR(none));
        }
        int r = 0;
        for (size_t i = 0; r >= 0 && names && names[i]; i++)
                r = take_node(e, names[i], err);
        return r;
}

static int copy_objects(struct export *e, struct err **err) {
        const char *sha256;
        void *value;
        for (size_t i = 0; table_next(e->objects, &i, &sha256, &value);) {
                _cleanup_(x_freep) char *have = str_format("%s/objects/sha256/%s", e->into, sha256);
                _cleanup_(err_freep) struct err *none = NULL;
                if (!have || access(have, F_OK) == 0)
                        continue;
                int r = save_object(e, sha256, NULL, NULL, &none);
                if (r < 0 && r != -ENOENT)
                        return err_move(err, TAKE_PTR(none));
        }
        return 0;
}

/* ---- targets */

static int want_artifacts(void *arg, const struct tuf_target *t) {
        struct export *e = arg;
        for (size_t i = 0; e->settings->artifacts && e->settings->artifacts[i]; i++) {
                const char *wanted = e->settings->artifacts[i], *colon = strchr(wanted, ':');
                _cleanup_(x_freep) char *prefix =
                        colon ? str_format("artifacts/%.*s/%s/", (int)(colon - wanted), wanted, colon + 1)
                              : NULL;
                if (prefix && str_has_prefix(t->path, prefix) && want_target(e, t->path) < 0)
                        return -ENOMEM;
        }
        return 0;
}

/* From what the nodes run, where the repository has such a delta. */
static int copy_deltas(struct export *e, const char *sha256, struct err **err) {
        _cleanup_(x_freep) char *list = repository_delta_list(sha256), *text = NULL;
        _cleanup_json_ json_t *j = NULL;
        size_t len = 0;
        if (table_len(e->seeds) == 0 || !list)
                return 0;
        int r = copy(e, list, NULL, -1, (int64_t)LIST_BYTES_MAX, err);
        if (r == -ENOENT) {
                if (err)
                        *err = err_free(*err);
                return 0;
        }
        if (r >= 0)
                r = read_copied(e, list, LIST_BYTES_MAX, &text, &len, err);
        if (r >= 0)
                r = json_decode(text, len, &j, err);
        const json_t *deltas = json_object_get(j, "deltas");
        for (size_t i = 0; r >= 0 && i < json_array_size(deltas); i++) {
                const json_t *d = json_array_get(deltas, i);
                const char *from = json_string_value(json_object_get(d, "from"));
                const char *digest = json_string_value(json_object_get(d, "sha256"));
                int64_t length = json_integer_value(json_object_get(d, "length"));
                if (!from || !digest || !sha256_hex_is_valid(from) || length < 0 ||
                    !table_get(e->seeds, from))
                        continue;
                _cleanup_(x_freep) char *path = repository_delta(sha256, from);
                r = path ? copy(e, path, digest, length, length, err) : err_set(err, ENOMEM, "out of memory");
        }
        return r;
}

struct found {
        struct export *e;
        struct err **err;
        size_t n;
};

static int copy_target(void *arg, const struct tuf_target *t) {
        struct found *f = arg;
        if (!table_get(f->e->targets, t->path))
                return 0;
        f->n++;
        _cleanup_(x_freep) char *path = repository_target_file(t->path, t->sha256);
        int r = path ? copy(f->e, path, t->sha256, t->length, t->length, f->err)
                     : err_set(f->err, ENOMEM, "out of memory");
        return r < 0 ? r : copy_deltas(f->e, t->sha256, f->err);
}

static int copy_targets(struct export *e, struct err **err) {
        struct found f = {e, err, 0};
        int r = tuf_client_each(e->tuf, want_artifacts, e);
        if (r < 0)
                return err_set(err, ENOMEM, "out of memory");
        for (size_t i = 0; e->settings->artifacts && e->settings->artifacts[i]; i++)
                if (!strchr(e->settings->artifacts[i], ':'))
                        return err_set(err, EINVAL, "--artifact: \"%s\" is not NAME:VERSION",
                                       e->settings->artifacts[i]);
        r = tuf_client_each(e->tuf, copy_target, &f);
        if (r >= 0 && f.n == 0 && e->settings->artifacts)
                return err_set(err, ENOENT, "the repository has none of these artifacts");
        return r;
}

/* ---- the command */

static int open_repository(struct export *e, struct err **err) {
        const char *where = e->settings->repository;
        if (str_has_prefix(where, "https://") || str_has_prefix(where, "http://")) {
                struct http_client_options o = {0};
                size_t len = strlen(where);
                while (len > 0 && where[len - 1] == '/')
                        len--;
                e->url = str_format("%.*s/", (int)len, where);
                int r = e->url ? loop_new(&e->loop, err) : err_set(err, ENOMEM, "out of memory");
                return r < 0 ? r : http_client_new(e->loop, &o, &e->client, err);
        }
        _cleanup_(x_freep) char *published = path_join(where, "public");
        struct stat st;
        bool is_work = published && stat(published, &st) == 0 && S_ISDIR(st.st_mode);
        return root_dir_open(is_work ? published : where, &e->folder, err);
}

static int run_export(struct export *e, const char *store, struct err **err) {
        int r = dir_make(e->into, 0755, err);
        if (r >= 0)
                r = open_repository(e, err);
        if (r >= 0 && e->settings->whom)
                r = api_open(&e->settings->globals, &e->api, err);
        if (r >= 0)
                r = copy_metadata(e, store, err);
        if (r >= 0 && e->api)
                r = take_nodes(e, err);
        if (r >= 0 && e->api)
                r = copy_objects(e, err);
        return r < 0 ? r : copy_targets(e, err);
}

static int run(void *settings, char **arguments, size_t n) {
        const struct export_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        char store[] = "/tmp/skerry-export-XXXXXX";
        if (!s->whom && !s->artifacts)
                return cli_usage("repo export", "say for whom with --for, or what with --artifact");
        if (!mkdtemp(store)) {
                err_set_errno(&err, errno, "make a folder in /tmp");
                return cli_fail(err);
        }
        struct export e = {
                .settings = s,
                .into = arguments[0],
                .targets = table_new(NULL),
                .seeds = table_new(NULL),
                .objects = table_new(NULL),
                .progress = progress_new(),
        };
        int r = e.targets && e.seeds && e.objects ? run_export(&e, store, &err)
                                                  : err_set(&err, ENOMEM, "out of memory");
        e.progress = progress_free(e.progress);
        if (r >= 0)
                printf("%s: %u files, %lld bytes, assignments of %u nodes\n", e.into, e.n_files,
                       (long long)e.bytes, e.n_nodes);
        tuf_client_free(e.tuf);
        tuf_folder_free(e.trusted);
        api_free(e.api);
        http_client_free(e.client);
        loop_free(e.loop);
        root_dir_free(e.folder);
        table_free(e.targets);
        table_free(e.seeds);
        table_free(e.objects);
        free(e.url);
        (void)path_remove(store, NULL);
        return r < 0 ? cli_fail(err) : EXIT_SUCCESS;
}

static const struct option_spec options[] = {
        {"repository", 'r', OPTION_STRING, offsetof(struct export_settings, repository), "DIR|URL", ".",
         "The repository: its published folder, its work folder, or where a web server has it"},
        {"for", 0, OPTION_STRING, offsetof(struct export_settings, whom), "FLEET|NODE,...", NULL,
         "Whose assignments, revisions and artifacts go along, as the server gave them"},
        {"artifact", 0, OPTION_STRINGS, offsetof(struct export_settings, artifacts), "NAME:VERSION", NULL,
         "An artifact that goes along, for all platforms; may be given again"},
        {"root", 0, OPTION_STRING, offsetof(struct export_settings, root), "FILE", NULL,
         "The root.json to trust (default: the repository's first)", "file"},
        OPTIONS_END,
};

const struct command_spec repo_export_command = {
        .name = "repo export",
        .arguments = "OUT",
        .summary = "Copy what some nodes need into a folder that can be carried to them",
        .details =
                "All that is copied is verified against the repository's metadata first, and again by the "
                "node "
                "that "
                "takes it with 'skerry-agent import OUT'. Targets go along whole, and deltas from what the "
                "nodes "
                "run "
                "where there are some. With --for the server is asked; with --artifact alone none is needed.",
        .options = options,
        .settings_size = sizeof(struct export_settings),
        .min_arguments = 1,
        .max_arguments = 1,
        .completes = "dir",
        .run = run,
};
