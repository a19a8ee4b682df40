/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/repository_route.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "net/http_range.h"
#include "relay/repository_path.h"

#define RETRY_AFTER_S "2"

/* One request: waits for the backend, and then perhaps passes blocks on. */
struct serving {
        struct repository_route *route; /* not used once the exchange is gone: it may be, too */
        struct http_exchange *x;        /* NULL once the peer left */
        char *path;
        char etag[REPOSITORY_ETAG_SIZE + 2];
        int64_t at, end; /* of what is passed on: from here up to there */
        char *held;      /* a block for which the peer has no room yet */
        size_t held_len;
        bool asked;  /* the backend owes an answer */
        bool passes; /* counts in route->passing */
};

static void serving_free(struct serving *s) {
        free(s->held);
        free(s->path);
        free(s);
}

static void on_closed(struct http_exchange *x, void *arg) {
        struct serving *s = arg;
        s->x = NULL;
        if (s->passes)
                s->route->passing--;
        s->passes = false;
        if (!s->asked)
                serving_free(s);
}

/* Has the last word been said? Then the exchange goes on without us. */
static void let_go(struct serving *s) {
        http_on_close(s->x, NULL, NULL);
        http_on_drain(s->x, NULL, NULL);
        if (s->passes)
                s->route->passing--;
        serving_free(s);
}

static void refuse(struct http_exchange *x, int error, const char *message) {
        switch (-error) {
        case EINVAL: http_respond_error(x, 400, "invalid", "this is no path below a repository"); return;
        case ENODEV:
                http_respond_error(x, 404, "no_repository", "there is no artifact repository here");
                return;
        case ENOENT:
                http_respond_error(x, 404, "not_found",
                                   message ? message : "the repository has no such file");
                return;
        case EINPROGRESS:
        case EHOSTUNREACH:
                http_set_header(x, "Retry-After", RETRY_AFTER_S);
                http_respond_error(x, 503, error == -EINPROGRESS ? "on_its_way" : "unavailable",
                                   message ? message
                                           : "this file is not here, and its origin cannot be reached");
                return;
        case ETIME: /* RFC 9111 section 5.2.1.7 */
                http_respond_error(x, 504, "not_cached", "this file is not here");
                return;
        default:
                http_set_header(x, "Retry-After", RETRY_AFTER_S);
                http_respond_error(x, 503, "unavailable", message ? message : strerror(-error));
        }
}

/* ---- block by block, where nothing can be kept */

static void pass_on(struct serving *s);

static void give_up(struct serving *s) {
        struct http_exchange *x = s->x;
        let_go(s);
        http_abort(x); /* its length was promised: the peer sees that this is not the end */
}

static void on_block(void *arg, int error, const char *p, size_t n) {
        struct serving *s = arg;
        s->asked = false;
        if (!s->x) {
                serving_free(s);
                return;
        }
        n = (size_t)MIN((int64_t)n, s->end - s->at);
        int r = error < 0 || n == 0 ? -EIO : http_write(s->x, p, n);
        if (r == -EAGAIN) {
                s->held = malloc(n);
                r = s->held ? 0 : -ENOMEM;
                if (s->held)
                        memcpy(s->held, p, n);
                s->held_len = n;
        }
        if (r < 0) {
                give_up(s);
                return;
        }
        s->at += (int64_t)n;
        if (!s->held)
                pass_on(s);
}

static void on_drained(struct http_exchange *x, void *arg) {
        struct serving *s = arg;
        int r = s->held ? http_write(x, s->held, s->held_len) : -EAGAIN;
        if (r == -EAGAIN)
                return;
        free(TAKE_PTR(s->held));
        if (r < 0)
                give_up(s);
        else
                pass_on(s);
}

/* One block is asked for while the peer takes the one before. */
static void pass_on(struct serving *s) {
        if (s->at == s->end) {
                struct http_exchange *x = s->x;
                let_go(s);
                http_finish(x);
                return;
        }
        s->asked = true;
        const struct edge_backend *b = s->route->backend;
        b->repository_block(b->arg, s->path, s->at, (size_t)MIN(s->end - s->at, (int64_t)EDGE_BLOCK_MAX),
                            on_block, s);
}

static void begin_passing(struct serving *s, const struct edge_repository_file *f) {
        struct http_exchange *x = s->x;
        uint64_t size = (uint64_t)f->length, first = 0, last = size ? size - 1 : 0;
        char text[80];
        if (!s->route->backend->repository_block || s->route->passing >= EDGE_PASSING_MAX || size == 0) {
                let_go(s);
                refuse(x, -ENOSPC, "the disk here is full, and too many pass through already");
                return;
        }
        enum http_range_result range = HTTP_RANGE_WHOLE;
        if (str_eq(http_method(x), "GET") &&
            http_if_range_holds(http_header(x, "if-range"), f->etag ? f->etag : ""))
                range = http_range_parse(http_header(x, "range"), size, &first, &last);
        if (range == HTTP_RANGE_UNSATISFIABLE) {
                let_go(s);
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
        (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)(last - first + 1));
        http_set_header(x, "Content-Length", text);
        http_set_header(x, "Accept-Ranges", "bytes");
        if (f->etag && snprintf(s->etag, sizeof(s->etag), "\"%s\"", f->etag) < (int)sizeof(s->etag))
                http_set_header(x, "ETag", s->etag);
        bool head = str_eq(http_method(x), "HEAD");
        if (http_begin(x, range == HTTP_RANGE_PART ? 206 : 200, "application/octet-stream") < 0 || head) {
                let_go(s);
                if (head)
                        http_finish(x);
                return;
        }
        s->at = (int64_t)first;
        s->end = (int64_t)last + 1;
        s->passes = true;
        s->route->passing++;
        s->route->served++;
        http_on_drain(x, on_drained, s);
        pass_on(s);
}

/* ---- files */

static const char *content_type(const char *path) {
        return str_has_suffix(path, ".json") && !str_has_prefix(path, "targets/")
                       ? "application/json"
                       : "application/octet-stream";
}

static void on_file(void *arg, const struct edge_repository_file *f) {
        struct serving *s = arg;
        struct http_exchange *x = s->x;
        s->asked = false;
        if (!x) {
                if (f->error >= 0 && f->fd >= 0)
                        (void)close(f->fd);
                serving_free(s);
        } else if (f->error == -ENOSPC && f->length > 0) {
                begin_passing(s, f);
        } else if (f->error < 0) {
                let_go(s);
                refuse(x, f->error, f->message);
        } else {
                s->route->served++;
                const char *type = content_type(s->path);
                let_go(s);
                http_respond_file(x, f->fd, type, f->etag, f->immutable);
        }
}

static bool has_directive(const char *cache_control, const char *wanted) {
        size_t len = strlen(wanted);
        for (const char *p = cache_control; p && *p; p += strcspn(p, ",")) {
                p += strspn(p, ", \t");
                if (strncasecmp(p, wanted, len) == 0 && (!p[len] || strchr(", \t", p[len])))
                        return true;
        }
        return false;
}

void repository_route_serve(struct repository_route *r, struct http_exchange *x, const char *path) {
        struct repository_path named;
        int error = repository_path_parse(path, &named);
        if (error >= 0 && !r->backend->repository)
                error = -ENODEV;
        if (error < 0) {
                refuse(x, error, NULL);
                return;
        }
        if (named.immutable && http_etag_matches(http_header(x, "if-none-match"), named.etag)) {
                http_respond(x, 304, NULL, NULL, 0); /* it does not change, wherever it is */
                return;
        }
        struct serving *s = calloc(1, sizeof(*s));
        if (s)
                s->path = str_dup(path);
        if (!s || !s->path) {
                free(s);
                refuse(x, -ENOMEM, NULL);
                return;
        }
        s->route = r;
        s->x = x;
        s->asked = true;
        http_on_close(x, on_closed, s);
        const char *control = http_header(x, "cache-control");
        struct edge_repository_request q = {
                .path = s->path,
                .named = &named,
                .head = str_eq(http_method(x), "HEAD"),
                .fresh = has_directive(control, "no-cache"),
                .only_if_cached = has_directive(control, "only-if-cached"),
        };
        if (!q.head && named.immutable && http_if_range_holds(http_header(x, "if-range"), named.etag))
                q.range = http_header(x, "range");
        r->backend->repository(r->backend->arg, &q, on_file, s);
}
