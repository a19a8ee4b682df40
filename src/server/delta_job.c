/* SPDX-License-Identifier: Apache-2.0 */
#include "server/delta_job.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "repo/artifact.h"
#include "repo/delta/apply.h"
#include "server/delta_process.h"
#include "server/memory.h"

#define LIST_MAX ((size_t)256 << 10)
#define DELTAS_MAX 256

static char *below(const char *folder, char *taken) {
        char *path = must(path_join(folder, must(taken)));
        free(taken);
        return path;
}

/* ---- the list */

static json_t *list_read(const char *path, const char *target) {
        _cleanup_(x_freep) char *text = NULL;
        size_t len = 0;
        json_t *j = NULL;
        if (file_read(path, LIST_MAX, &text, &len, NULL) == 0 && json_decode(text, len, &j, NULL) == 0 &&
            str_eq(json_string_value(json_object_get(j, "target")), target) &&
            json_is_array(json_object_get(j, "deltas")))
                return j;
        json_decref(j);
        j = json_object_new();
        json_put(j, "target", json_text(target));
        json_put(j, "deltas", json_array_new());
        return j;
}

static size_t list_find(const json_t *deltas, const char *from) {
        size_t i;
        const json_t *one;
        json_array_foreach ((json_t *)deltas, i, one)
                if (str_eq(json_string_value(json_object_get(one, "from")), from))
                        return i;
        return SIZE_MAX;
}

bool delta_job_is_done(const char *folder, const char *from_sha256, const char *to_sha256) {
        _cleanup_(x_freep) char *path = below(folder, repository_delta_list(to_sha256));
        _cleanup_(x_freep) char *file = below(folder, repository_delta(to_sha256, from_sha256));
        json_t *j = list_read(path, to_sha256);
        bool there =
                list_find(json_object_get(j, "deltas"), from_sha256) != SIZE_MAX && access(file, R_OK) == 0;
        json_decref(j);
        return there;
}

/* One writer of lists at a time: a publisher beside us may hold the folder's lock, too. */
static int list_add(const struct delta_job *job, int64_t length, const char *sha256, struct err **err) {
        _cleanup_(x_freep) char *deltas_folder = must(path_join(job->folder, "deltas")),
                                *path = below(job->folder, repository_delta_list(job->to_sha256));
        _cleanup_(x_closep) int lock = open(deltas_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (lock < 0 || flock(lock, LOCK_EX) < 0)
                return err_set_errno(err, errno, "lock %s", deltas_folder);
        json_t *j = list_read(path, job->to_sha256), *deltas = json_object_get(j, "deltas"),
               *entry = json_object_new();
        size_t at = list_find(deltas, job->from_sha256);
        json_put(entry, "from", json_text(job->from_sha256));
        json_put(entry, "length", json_number(length));
        json_put(entry, "sha256", json_text(sha256));
        if (at != SIZE_MAX)
                must_do(json_array_remove(deltas, at));
        must_do(json_array_insert_new(deltas, 0, entry)); /* the newest first; the oldest give way */
        while (json_array_size(deltas) > DELTAS_MAX)
                must_do(json_array_remove(deltas, json_array_size(deltas) - 1));
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        int r = json_encode_canonical(j, &text, err);
        if (r == 0)
                r = file_write_atomic(path, buf_str(&text), text.len, 0644, err);
        json_decref(j);
        return r;
}

/* ---- the delta */

static int open_target(const char *folder, const char *target_path, const char *sha256, int64_t *ret_length,
                       struct err **err) {
        _cleanup_(x_freep) char *path = below(folder, repository_target_file(target_path, sha256));
        struct stat st;
        _cleanup_(x_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0)
                return err_set_errno(err, errno, "open %s", path);
        *ret_length = st.st_size;
        return TAKE_FD(fd);
}

/* The files may have been others than their names say, or have changed on the way. */
static int check_names(const struct delta_job *job, int fd, struct err **err) {
        struct delta_header header;
        int r = delta_read_header(fd, &header, err);
        if (r < 0)
                return r;
        if (!str_eq(header.seed_sha256, job->from_sha256) || !str_eq(header.target_sha256, job->to_sha256))
                return err_set(err, EBADMSG, "%s is not the file that its name says: publish it again",
                               str_eq(header.seed_sha256, job->from_sha256) ? job->to_path : job->from_path);
        return 0;
}

static int make(const struct delta_job *job, const char *temporary, int64_t *ret_length,
                char sha256[SHA256_HEX_SIZE], struct err **err) {
        int64_t from_length = 0, to_length = 0;
        _cleanup_(x_closep) int seed =
                open_target(job->folder, job->from_path, job->from_sha256, &from_length, err);
        if (seed < 0)
                return seed;
        _cleanup_(x_closep) int target =
                open_target(job->folder, job->to_path, job->to_sha256, &to_length, err);
        if (target < 0)
                return target;
        _cleanup_(x_closep) int fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (fd < 0)
                return err_set_errno(err, errno, "open %s", temporary);
        const struct delta_process_options o = {.program = job->program,
                                                .seed_fd = seed,
                                                .target_fd = target,
                                                .delta_fd = fd,
                                                .cancelled = job->cancelled};
        struct stat st;
        int r = delta_process_run(&o, err);
        if (r == 0)
                r = check_names(job, fd, err);
        if (r < 0)
                return r;
        if (fchmod(fd, 0644) < 0 || fstat(fd, &st) < 0 || fsync(fd) < 0)
                return err_set_errno(err, errno, "write %s", temporary);
        if (st.st_size >= to_length)
                return err_set(err, EFBIG, "the delta is no smaller than the target");
        r = lseek(fd, 0, SEEK_SET) < 0 ? -errno : sha256_file_hex(fd, sha256);
        if (r < 0)
                return err_set_errno(err, -r, "read %s", temporary);
        *ret_length = st.st_size;
        return 0;
}

/* What is made here is for whoever serves the folder, another user often, whatever the server's umask (its
 * unit has 0077) leaves of a mode. From the delta's own folder up to `deltas`. */
static int make_public_folders(const char *parent, struct err **err) {
        _cleanup_(x_freep) char *path = copy_text(parent);
        int r = dir_make(parent, 0755, err);
        for (int i = 0; r == 0 && i < 3; i++) {
                (void)chmod(path, 0755); /* one that was there may be somebody else's, who has seen to it */
                *strrchr(path, '/') = '\0';
        }
        return r;
}

int delta_job_run(const struct delta_job *job, int64_t *ret_length, struct err **err) {
        _cleanup_(x_freep) char *path =
                below(job->folder, repository_delta(job->to_sha256, job->from_sha256));
        _cleanup_(x_freep) char *temporary = must(str_format("%s.server.new", path)),
                                *parent = copy_text(path);
        char sha256[SHA256_HEX_SIZE];
        *strrchr(parent, '/') = '\0';
        int64_t length = 0;
        int r = make_public_folders(parent, err);
        if (r == 0)
                r = make(job, temporary, &length, sha256, err);
        if (r == 0 && rename(temporary, path) < 0)
                r = err_set_errno(err, errno, "rename %s", temporary);
        if (r < 0) {
                (void)unlink(temporary);
                return r;
        }
        r = list_add(job, length, sha256, err);
        if (r == 0)
                *ret_length = length;
        return r;
}
