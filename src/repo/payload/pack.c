/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/payload/pack.h"

#include <errno.h>
#include <fcntl.h>

#include "base/str.h"
#include "repo/payload/tree.h"

#define PIECE (1u << 20)

static int copy_piece(const char *path, const char *p, size_t n, int fd, struct err **err) {
        while (n > 0) {
                ssize_t put = write(fd, p, n);
                if (put < 0 && errno == EINTR)
                        continue;
                if (put < 0)
                        return err_set_errno(err, errno, "write the payload of %s", path);
                p += put;
                n -= (size_t)put;
        }
        return 0;
}

static int pack_file(const char *path, int fd, const struct payload_progress *p, struct err **err) {
        _cleanup_(x_closep) int from = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        _cleanup_(x_freep) char *piece = malloc(PIECE);
        struct stat st;
        if (from < 0 || fstat(from, &st) < 0)
                return err_set_errno(err, errno, "read %s", path);
        if (!piece)
                return err_set_errno(err, ENOMEM, "read %s", path);
        if (S_ISDIR(st.st_mode))
                return err_set(err, EISDIR, "%s is a folder: push it as a tree (--type tree)", path);
        off_t total = S_ISBLK(st.st_mode) ? lseek(from, 0, SEEK_END) : st.st_size;
        if ((!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) || total < 0 || lseek(from, 0, SEEK_SET) < 0)
                return err_set(err, EINVAL, "%s is neither a file nor a block device", path);
        int64_t done = 0;
        for (;;) {
                ssize_t n = read(from, piece, PIECE);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return err_set_errno(err, errno, "read %s", path);
                if (n == 0)
                        break;
                int r = copy_piece(path, piece, (size_t)n, fd, err);
                if (r < 0)
                        return r;
                done += n;
                if (p && p->progress)
                        p->progress(p->arg, done, MAX(done, (int64_t)total));
        }
        return done == total ? 0 : err_set(err, EINVAL, "%s changed while it was read", path);
}

static int pack_tree(const char *path, int64_t time, int fd, const struct payload_progress *p,
                     struct err **err) {
        struct tree t;
        struct stat st;
        if (stat(path, &st) < 0)
                return err_set_errno(err, errno, "read %s", path);
        tree_init(&t);
        int r = S_ISDIR(st.st_mode) ? tree_read_folder(&t, path, err) : tree_read_archive(&t, path, p, err);
        if (r == 0)
                r = tree_write(&t, time, fd, p, err);
        tree_done(&t);
        return r;
}

int payload_pack(enum artifact_type type, const char *path, const char *platform, int64_t time, int fd,
                 const struct payload_progress *p, struct err **err) {
        switch (type) {
        case ARTIFACT_FILE:
        case ARTIFACT_IMAGE: return pack_file(path, fd, p, err);
        case ARTIFACT_TREE: return pack_tree(path, time, fd, p, err);
        case ARTIFACT_OCI: return payload_pack_oci(path, platform, time, fd, p, err);
        }
        return err_set(err, EINVAL, "%s: a type that artifacts do not have", path);
}
