/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/block_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "crypto/digest.h"

/* The map: magic, length, then a digest for each block, zeros where there is none. It is read on the machine
 * that wrote it, so numbers stand as they are in memory. */
#define MAGIC "SKBLOCK1"
#define HEADER_BYTES 16

enum state { ABSENT, PRESENT, CHECKED };

struct block_file {
        char *path;
        int fd, map_fd;
        int64_t length, count, bytes;
        uint8_t *states;
};

static int read_all(int fd, void *p, size_t n, int64_t at) {
        for (size_t done = 0; done < n;) {
                ssize_t r = pread(fd, (char *)p + done, n - done, (off_t)at + (off_t)done);
                if (r < 0 && errno == EINTR)
                        continue;
                if (r <= 0)
                        return r < 0 ? -errno : -ENODATA;
                done += (size_t)r;
        }
        return 0;
}

static int write_all(int fd, const void *p, size_t n, int64_t at) {
        for (size_t done = 0; done < n;) {
                ssize_t r = pwrite(fd, (const char *)p + done, n - done, (off_t)at + (off_t)done);
                if (r < 0 && errno == EINTR)
                        continue;
                if (r < 0)
                        return -errno;
                done += (size_t)r;
        }
        return 0;
}

static char *map_path(const char *path) {
        return str_format("%s.map", path);
}

static int64_t count_of(int64_t length) {
        return (length + BLOCK_BYTES - 1) / BLOCK_BYTES;
}

static void forget(struct block_file *f) {
        free(f->states);
        f->states = NULL;
        f->length = -1;
        f->count = f->bytes = 0;
}

/* -EBADMSG: no map that fits the file. */
static int read_map(struct block_file *f) {
        char header[HEADER_BYTES];
        struct stat st;
        int64_t length;
        if (read_all(f->map_fd, header, sizeof(header), 0) < 0 || memcmp(header, MAGIC, 8) != 0)
                return -EBADMSG;
        memcpy(&length, header + 8, sizeof(length));
        if (length < 0 || length > BLOCK_FILE_MAX || fstat(f->fd, &st) < 0 || st.st_size != length)
                return -EBADMSG;
        int64_t count = count_of(length);
        uint8_t *states = calloc((size_t)count + 1, 1), digest[SHA256_SIZE];
        static const uint8_t none[SHA256_SIZE];
        if (!states)
                return -ENOMEM;
        forget(f);
        f->length = length;
        f->count = count;
        f->states = states;
        for (int64_t i = 0; i < count; i++) {
                if (read_all(f->map_fd, digest, sizeof(digest), HEADER_BYTES + i * SHA256_SIZE) < 0)
                        return -EBADMSG;
                if (memcmp(digest, none, sizeof(none)) == 0)
                        continue;
                states[i] = PRESENT;
                f->bytes += block_file_size(f, i);
        }
        return 0;
}

int block_file_open(const char *path, struct block_file **ret, struct err **err) {
        _cleanup_(block_file_freep) struct block_file *f = calloc(1, sizeof(*f));
        _cleanup_(x_freep) char *map = map_path(path);
        if (!f)
                return err_set(err, ENOMEM, "out of memory");
        f->fd = f->map_fd = -EBADF;
        f->length = -1;
        f->path = str_dup(path);
        if (!f->path || !map)
                return err_set(err, ENOMEM, "out of memory");
        f->fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (f->fd < 0)
                return err_set_errno(err, errno, "open %s", path);
        f->map_fd = open(map, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (f->map_fd < 0)
                return err_set_errno(err, errno, "open %s", map);
        int r = read_map(f);
        if (r == -EBADMSG)
                r = block_file_reset(f, err);
        if (r < 0)
                return r == -ENOMEM ? err_set(err, ENOMEM, "out of memory") : r;
        *ret = TAKE_PTR(f);
        return 0;
}

struct block_file *block_file_free(struct block_file *f) {
        if (!f)
                return NULL;
        x_closep(&f->fd);
        x_closep(&f->map_fd);
        free(f->states);
        free(f->path);
        free(f);
        return NULL;
}

void block_file_remove(const char *path) {
        _cleanup_(x_freep) char *map = map_path(path);
        if (map)
                (void)unlink(map); /* first: a file without map is nothing */
        (void)unlink(path);
}

int block_file_fd(const struct block_file *f) {
        return f->fd;
}

int64_t block_file_length(const struct block_file *f) {
        return f->length;
}

int block_file_reset(struct block_file *f, struct err **err) {
        forget(f);
        if (ftruncate(f->map_fd, 0) < 0 || ftruncate(f->fd, 0) < 0)
                return err_set_errno(err, errno, "empty %s", f->path);
        return 0;
}

int block_file_set_length(struct block_file *f, int64_t length, struct err **err) {
        if (f->length == length)
                return 0;
        if (length < 0 || length > BLOCK_FILE_MAX)
                return err_set(err, EFBIG, "%s: %lld bytes are more than can be kept", f->path,
                               (long long)length);
        int r = block_file_reset(f, err);
        if (r < 0)
                return r;
        char header[HEADER_BYTES];
        memcpy(header, MAGIC, 8);
        memcpy(header + 8, &length, sizeof(length));
        int64_t count = count_of(length);
        uint8_t *states = calloc((size_t)count + 1, 1);
        if (!states)
                return err_set(err, ENOMEM, "out of memory");
        /* The map's own length last but its header: one without the other is begun anew. */
        if (ftruncate(f->fd, (off_t)length) < 0 ||
            ftruncate(f->map_fd, (off_t)(HEADER_BYTES + count * SHA256_SIZE)) < 0)
                r = -errno;
        else
                r = write_all(f->map_fd, header, sizeof(header), 0);
        if (r < 0) {
                free(states);
                return err_set_errno(err, -r, "make %s", f->path);
        }
        f->length = length;
        f->count = count;
        f->states = states;
        return 0;
}

int64_t block_file_count(const struct block_file *f) {
        return f->count;
}

int64_t block_file_size(const struct block_file *f, int64_t i) {
        return i < f->count ? MIN(BLOCK_BYTES, f->length - i * BLOCK_BYTES) : 0;
}

bool block_file_has(const struct block_file *f, int64_t i) {
        return i < f->count && f->states[i] != ABSENT;
}

int64_t block_file_missing(const struct block_file *f, int64_t from) {
        while (from < f->count && f->states[from] != ABSENT)
                from++;
        return from;
}

int64_t block_file_bytes(const struct block_file *f) {
        return f->bytes;
}

int block_file_write(struct block_file *f, int64_t i, const void *p, size_t n) {
        uint8_t digest[SHA256_SIZE];
        if (i < 0 || i >= f->count || (int64_t)n != block_file_size(f, i))
                return -EINVAL;
        sha256_of(p, n, digest);
        int r = write_all(f->fd, p, n, i * BLOCK_BYTES);
        return r < 0 ? r : write_all(f->map_fd, digest, sizeof(digest), HEADER_BYTES + i * SHA256_SIZE);
}

void block_file_add(struct block_file *f, int64_t i) {
        if (i < 0 || i >= f->count)
                return;
        if (f->states[i] == ABSENT)
                f->bytes += block_file_size(f, i);
        f->states[i] = CHECKED;
}

bool block_file_is_checked(const struct block_file *f, int64_t i) {
        return i < f->count && f->states[i] == CHECKED;
}

void block_file_set_checked(struct block_file *f, int64_t i) {
        if (block_file_has(f, i))
                f->states[i] = CHECKED;
}

int block_file_check(const struct block_file *f, int64_t i) {
        uint8_t expected[SHA256_SIZE], found[SHA256_SIZE];
        if (i < 0 || i >= f->count)
                return -EINVAL;
        size_t n = (size_t)block_file_size(f, i);
        _cleanup_(x_freep) char *p = malloc(n + 1);
        if (!p)
                return -ENOMEM;
        int r = read_all(f->map_fd, expected, sizeof(expected), HEADER_BYTES + i * SHA256_SIZE);
        if (r >= 0)
                r = read_all(f->fd, p, n, i * BLOCK_BYTES);
        if (r < 0)
                return r == -ENODATA ? -EBADMSG : r;
        sha256_of(p, n, found);
        return memcmp(found, expected, sizeof(found)) == 0 ? 0 : -EBADMSG;
}

int block_file_drop(struct block_file *f, int64_t i) {
        static const uint8_t none[SHA256_SIZE];
        if (!block_file_has(f, i))
                return 0;
        f->states[i] = ABSENT;
        f->bytes -= block_file_size(f, i);
        return write_all(f->map_fd, none, sizeof(none), HEADER_BYTES + i * SHA256_SIZE);
}
