/* SPDX-License-Identifier: Apache-2.0 */
/* skerry artifact prune: what no metadata names any more. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/str.h"
#include "base/table.h"
#include "cli/artifact.h"
#include "cli/print.h"
#include "codec/json.h"
#include "crypto/digest.h"

struct settings {
        struct repo_globals globals;
};
static const struct option_spec options[] = {REPO_OPTIONS, OPTIONS_END};

struct pruning {
        struct artifact_set *set;
        struct table *known; /* digests of all targets */
        size_t files;
        int64_t bytes;
};

static int remember(void *arg, const struct tuf_target *t) {
        struct pruning *p = arg;
        return *t->sha256 ? table_set(p->known, t->sha256, p) : 0;
}

static bool is_known(const struct pruning *p, const char *name) {
        char digest[SHA256_HEX_SIZE];
        if (strlen(name) < SHA256_HEX_SIZE - 1)
                return false;
        memcpy(digest, name, sizeof(digest) - 1);
        digest[sizeof(digest) - 1] = '\0';
        return sha256_hex_is_valid(digest) && table_get(p->known, digest);
}

static int remove_file(struct pruning *p, const char *path, struct err **err) {
        struct stat st;
        if (lstat(path, &st) < 0 || S_ISDIR(st.st_mode))
                return 0;
        if (unlink(path) < 0)
                return err_set_errno(err, errno, "remove %s", path);
        p->files++;
        p->bytes += st.st_size;
        return 0;
}

/* Calls fn for every name in a folder; a folder that is not there is empty. */
static int each(struct pruning *p, const char *folder,
                int (*fn)(struct pruning *p, const char *path, const char *name, struct err **err),
                struct err **err) {
        DIR *dir = opendir(folder);
        const struct dirent *d;
        int r = 0;
        if (!dir)
                return errno == ENOENT || errno == ENOTDIR ? 0 : err_set_errno(err, errno, "read %s", folder);
        while (r == 0 && (d = readdir(dir))) {
                _cleanup_(x_freep) char *path = path_join(folder, d->d_name);
                if (str_eq(d->d_name, ".") || str_eq(d->d_name, ".."))
                        continue;
                r = path ? fn(p, path, d->d_name, err) : err_set_errno(err, ENOMEM, "read %s", folder);
        }
        (void)closedir(dir);
        return r;
}

static int prune_chunk(struct pruning *p, const char *path, const char *name, struct err **err) {
        /* ".new": somebody was killed while it was written; we have the lock, so it was not now. */
        return is_known(p, name) && !str_has_suffix(name, ".new") ? 0 : remove_file(p, path, err);
}

static int prune_chunks(struct pruning *p, const char *path, const char *name, struct err **err) {
        return each(p, path, prune_chunk, err);
}

static int remove_file_named(struct pruning *p, const char *path, const char *name, struct err **err) {
        return remove_file(p, path, err);
}

static int prune_delta(struct pruning *p, const char *path, const char *name, struct err **err) {
        return is_known(p, name) ? 0 : remove_file(p, path, err);
}

static int prune_list(struct pruning *p, const char *path, struct err **err) {
        _cleanup_(x_freep) char *text = NULL;
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        _cleanup_json_ json_t *list = NULL;
        size_t len = 0;
        int r = file_read(path, 1 << 20, &text, &len, err);
        if (r == 0 && (r = json_decode(text, len, &list, err)) < 0)
                return err_wrap_code(err, r, "%s", path);
        if (r < 0)
                return r;
        json_t *deltas = json_object_get(list, "deltas");
        size_t before = json_array_size(deltas);
        for (size_t i = before; i-- > 0;) {
                const char *from = json_string_value(json_object_get(json_array_get(deltas, i), "from"));
                if (!from || !is_known(p, from))
                        (void)json_array_remove(deltas, i);
        }
        if (json_array_size(deltas) == before)
                return 0;
        r = json_encode_canonical(list, &out, err);
        return r < 0 ? r : file_write_atomic(path, buf_str(&out), out.len, 0644, err);
}

static int prune_target(struct pruning *p, const char *path, const char *name, struct err **err) {
        struct stat st;
        if (lstat(path, &st) < 0)
                return 0;
        if (S_ISDIR(st.st_mode))
                return 0;
        return is_known(p, name) ? prune_list(p, path, err) : remove_file(p, path, err);
}

static int prune_target_folder(struct pruning *p, const char *path, const char *name, struct err **err) {
        struct stat st;
        if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
                return 0;
        if (is_known(p, name))
                return each(p, path, prune_delta, err);
        int r = each(p, path, remove_file_named, err);
        if (r == 0)
                (void)rmdir(path);
        return r;
}

static int prune_lists(struct pruning *p, const char *path, const char *name, struct err **err) {
        return each(p, path, prune_target, err);
}

static int prune_folders(struct pruning *p, const char *path, const char *name, struct err **err) {
        return each(p, path, prune_target_folder, err);
}

static int prune(struct pruning *p, struct err **err) {
        const char *public = tuf_publisher_public_dir(p->set->publisher);
        _cleanup_(x_freep) char *chunks = path_join(public, "chunks"), *deltas = path_join(public, "deltas");
        _cleanup_(x_closep) int lock = open(public, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (!chunks || !deltas)
                return err_set_errno(err, ENOMEM, "prune");
        if (lock < 0 || flock(lock, LOCK_EX) < 0)
                return err_set_errno(err, errno, "lock %s", public);
        int r = tuf_publisher_each(p->set->publisher, NULL, remember, p);
        if (r < 0)
                return err_set_errno(err, -r, "read the targets");
        /* The lists go before the files: nobody is sent after a delta that is gone. */
        if ((r = each(p, chunks, prune_chunks, err)) < 0 || (r = each(p, deltas, prune_lists, err)) < 0 ||
            (r = each(p, deltas, prune_folders, err)) < 0)
                return r;
        size_t files = 0;
        int64_t bytes = 0;
        r = tuf_publisher_sweep(p->set->publisher, &files, &bytes, err);
        p->files += files;
        p->bytes += bytes;
        return r;
}

static int run(void *settings, char **arguments, size_t n) {
        const struct settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(artifact_set_freep) struct artifact_set *set = NULL;
        _cleanup_(table_freep) struct table *known = table_new(NULL);
        char text[32];
        if (!known || artifact_set_open(&s->globals, false, &set, &err) < 0)
                return cli_fail(err);
        struct pruning p = {.set = set, .known = known};
        if (prune(&p, &err) < 0)
                return cli_fail(err);
        printf("%zu files removed, %s.\n", p.files, bytes_format(p.bytes, text, sizeof(text)));
        return EXIT_SUCCESS;
}

const struct command_spec artifact_prune_command = {
        .name = "artifact prune",
        .arguments = "",
        .summary = "Remove files that no metadata names any more",
        .details = "Targets, chunks and deltas of artifacts that were removed, and deltas from them.",
        .options = options,
        .settings_size = sizeof(struct settings),
        .run = run,
};
