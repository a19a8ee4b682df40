/* SPDX-License-Identifier: Apache-2.0 */
/* Answers out of files: out of the page cache, else read on the worker pool, a chunk at a time and no faster
 * than the peer takes them. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "base/str.h"
#include "net/http_exchange.h"
#include "net/http_range.h"

#define CHUNK_BYTES (64 * 1024)

struct http_file {
        struct http_exchange *x; /* NULL: the client left */
        struct loop *loop;
        int fd;
        uint64_t at, left;
        bool busy; /* a worker has chunk, wanted, got */
        size_t wanted;
        ssize_t got; /* or -errno */
        char chunk[];
};

static void file_free(struct http_file *f) {
        (void)close(f->fd);
        free(f);
}

void http_file_detach(struct http_file *f) {
        f->x = NULL;
        if (!f->busy)
                file_free(f);
}

static void read_chunk(void *arg) {
        struct http_file *f = arg;
        do
                f->got = pread(f->fd, f->chunk, f->wanted, (off_t)f->at);
        while (f->got < 0 && errno == EINTR);
        if (f->got < 0)
                f->got = -errno;
}

static void chunk_read(void *arg);

/* What lies in the page cache is taken at once; false: a worker has to fetch it (or no file system of this
 * kind can tell). */
static bool read_cached(struct http_file *f) {
        struct iovec v = {f->chunk, f->wanted};
        f->got = preadv2(f->fd, &v, 1, (off_t)f->at, RWF_NOWAIT);
        return f->got > 0;
}

/* Hands what was read to the exchange; false: the answer broke off. */
static bool pass_on(struct http_file *f) {
        /* 0: the file was cut short meanwhile. Its length was promised, so the answer must break off. */
        if (f->got <= 0 || http_write(f->x, f->chunk, (size_t)f->got) < 0) {
                http_abort(f->x);
                return false;
        }
        f->at += (uint64_t)f->got;
        f->left -= (uint64_t)f->got;
        return true;
}

static void read_on(struct http_file *f) {
        struct http_exchange *x = f->x;
        if (f->busy)
                return;
        while (f->left > 0 && http_write_room(x) > 0) {
                f->wanted = (size_t)MIN(MIN(f->left, (uint64_t)http_write_room(x)), (uint64_t)CHUNK_BYTES);
                if (!read_cached(f))
                        break;
                if (!pass_on(f))
                        return;
        }
        if (f->left == 0) {
                x->file = NULL;
                file_free(f);
                http_finish(x);
                return;
        }
        size_t room = http_write_room(x);
        if (room == 0) {
                x->wants_drain = true;
                return;
        }
        f->wanted = (size_t)MIN(MIN(f->left, (uint64_t)room), (uint64_t)CHUNK_BYTES);
        f->busy = true;
        if (loop_work(f->loop, read_chunk, chunk_read, f) < 0) {
                f->busy = false;
                http_abort(x);
        }
}

void http_file_drain(struct http_file *f) {
        read_on(f);
}

static void chunk_read(void *arg) {
        struct http_file *f = arg;
        f->busy = false;
        if (!f->x) {
                file_free(f);
                return;
        }
        if (pass_on(f))
                read_on(f);
}

static void set_etag(struct http_exchange *x, const char *etag, bool immutable) {
        char quoted[160];
        if (snprintf(quoted, sizeof(quoted), "\"%s\"", etag) < (int)sizeof(quoted))
                http_set_header(x, "ETag", quoted);
        http_set_header(x, "Cache-Control", immutable ? "public, max-age=31536000, immutable" : "no-cache");
}

void http_respond_file(struct http_exchange *x, int fd, const char *content_type, const char *etag,
                       bool immutable) {
        _cleanup_(x_closep) int owned = fd;
        struct stat st;
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
                http_respond_error(x, 500, "internal", "the file cannot be read");
                return;
        }
        uint64_t size = (uint64_t)st.st_size, first = 0, last = size ? size - 1 : 0;
        if (etag)
                set_etag(x, etag, immutable);
        if (etag && http_etag_matches(http_header(x, "if-none-match"), etag)) {
                http_respond(x, 304, NULL, NULL, 0);
                return;
        }
        http_set_header(x, "Accept-Ranges", "bytes");

        enum http_range_result range = HTTP_RANGE_WHOLE;
        /* A range is for GET, and only of the version that the client has the other part of. */
        if (str_eq(x->method, "GET") && http_if_range_holds(http_header(x, "if-range"), etag ? etag : ""))
                range = http_range_parse(http_header(x, "range"), size, &first, &last);
        char text[80];
        if (range == HTTP_RANGE_UNSATISFIABLE) {
                (void)snprintf(text, sizeof(text), "bytes */%llu", (unsigned long long)size);
                http_set_header(x, "Content-Range", text);
                http_respond_error(x, 416, "range_not_satisfiable", "the range lies behind the end");
                return;
        }
        if (range == HTTP_RANGE_PART) {
                (void)snprintf(text, sizeof(text), "bytes %llu-%llu/%llu", (unsigned long long)first,
                               (unsigned long long)last, (unsigned long long)size);
                http_set_header(x, "Content-Range", text);
        }
        uint64_t length = size ? last - first + 1 : 0;
        (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)length);
        http_set_header(x, "Content-Length", text);
        if (http_begin(x, range == HTTP_RANGE_PART ? 206 : 200, content_type) < 0)
                return;
        if (x->is_head || length == 0) {
                http_finish(x);
                return;
        }
        struct http_file *f = malloc(sizeof(*f) + (size_t)MIN(length, (uint64_t)CHUNK_BYTES));
        if (!f) {
                http_abort(x);
                return;
        }
        *f = (struct http_file){.x = x,
                                .loop = x->connection->service->loop,
                                .fd = TAKE_FD(owned),
                                .at = first,
                                .left = length};
        x->file = f;
        read_on(f);
}
