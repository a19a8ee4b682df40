/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/download.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/str.h"

#define DOWNLOAD_REDIRECTS_MAX 5
#define DOWNLOAD_SLOW_MS 30000
#define DOWNLOAD_SLOW_BYTES (64 * DOWNLOAD_SLOW_MS / 1000)
/* Passing over this much of a file that was sent whole is cheaper than another way. */
#define DOWNLOAD_PASS_OVER ((int64_t)256 << 10)
#define DOWNLOAD_LOCAL_PIECE ((size_t)256 << 10)
#define DOWNLOAD_MESSAGE_MAX 400
#define DOWNLOAD_MOMENT_MS 5000 /* a limit that holds for longer is told */

struct download {
        struct repository_sources *sources;
        struct download_request request;
        char *path;
        struct loop_timer *step, *slow;

        size_t source; /* being asked: this many after the first */
        struct repository_place place;
        struct http_call *call;
        unsigned redirects;
        char *etag; /* of the source that gave the first bytes */
        size_t etag_source;

        int64_t at;        /* next byte wanted */
        int64_t end;       /* one past the last one; -1: not known */
        int64_t asked_end; /* of the request under way; -1: open */
        int64_t pass_over; /* bytes of the answer that come before `at` */
        bool head_seen, enough, wait_told;
        int64_t wire, slow_wire;

        size_t n_missing, n_asked;
        int error; /* the one to tell: the first that is more than an absence */
        char message[DOWNLOAD_MESSAGE_MAX];
        int answer_error; /* of the answer under way */
        char answer[DOWNLOAD_MESSAGE_MAX];
        msec_t retry_after_ms;
};

static void ask(void *arg);

/* ---- ends */

struct download *download_free(struct download *d) {
        if (!d)
                return NULL;
        if (d->call)
                http_call_cancel(d->call);
        if (d->step)
                loop_timer_free(d->step);
        if (d->slow)
                loop_timer_free(d->slow);
        repository_place_done(&d->place);
        free(d->path);
        free(d->etag);
        free(d);
        return NULL;
}

static void end(struct download *d, int error, const char *message) {
        struct download_request request = d->request;
        char text[DOWNLOAD_MESSAGE_MAX];
        (void)snprintf(text, sizeof(text), "%s", message ? message : "");
        struct download_result r = {.error = error,
                                    .message = error < 0 ? text : NULL,
                                    .wire = d->wire,
                                    .retry_after_ms = d->retry_after_ms};
        download_free(d);
        request.done(request.arg, &r);
}

/* All sources were asked. */
static void give_up(struct download *d) {
        char text[DOWNLOAD_MESSAGE_MAX];
        bool absent = d->n_missing > 0 && (d->request.optional || d->n_missing == d->n_asked);
        if (absent) {
                (void)snprintf(text, sizeof(text), "%s: the repository does not have it", d->path);
                end(d, -ENOENT, text);
        } else if (d->error < 0) {
                end(d, d->error, d->message);
        } else {
                (void)snprintf(text, sizeof(text), "%s: there is no edge and no mirror to ask", d->path);
                end(d, -EHOSTUNREACH, text);
        }
}

static void next_source(struct download *d, int error, const char *message) {
        if (error == -ENOENT)
                d->n_missing++;
        /* What a server did wrong says more than that another could not be reached. */
        else if (d->error == 0 || (d->error == -EHOSTUNREACH && error != -EHOSTUNREACH)) {
                d->error = error;
                (void)snprintf(d->message, sizeof(d->message), "%s", message);
        }
        /* A file of unknown length cannot be pieced together from two servers: begin anew, elsewhere. */
        if (d->request.length < 0 && d->request.total < 0 && d->at > d->request.offset) {
                end(d, error, message);
                return;
        }
        repository_place_done(&d->place);
        loop_timer_cancel(d->slow);
        d->source++;
        if (d->request.length < 0 && d->request.total < 0)
                d->end = -1;
        d->redirects = 0;
        if (d->source >= repository_sources_count(d->sources))
                give_up(d);
        else
                loop_timer_set(d->step, 0);
}

static bool is_complete(const struct download *d) {
        return d->end >= 0 && d->at >= d->end;
}

/* ---- the answer's head */

static int reject(struct download *d, int error, const char *what) {
        d->answer_error = error;
        (void)snprintf(d->answer, sizeof(d->answer), "%s: %s", d->place.name, what);
        return error;
}

static bool looks_like_page(const char *type, const char *p, size_t n) {
        size_t i = 0;
        if (type &&
            (strncasecmp(type, "text/html", 9) == 0 || strncasecmp(type, "application/xhtml", 17) == 0))
                return true;
        while (i < n && strchr(" \t\r\n", p[i]))
                i++;
        return n - i >= 9 && (strncasecmp(p + i, "<!doctype", 9) == 0 || strncasecmp(p + i, "<html", 5) == 0);
}

/* "bytes 100-199/1000"; total -1 for "*". */
static int read_content_range(const char *value, int64_t *ret_first, int64_t *ret_last, int64_t *ret_total) {
        char total[24] = "";
        if (!value ||
            sscanf(value, "bytes %" SCNd64 "-%" SCNd64 "/%23[0-9*]", ret_first, ret_last, total) != 3)
                return -EINVAL;
        *ret_total = -1;
        if (!str_eq(total, "*") && str_to_i64(total, ret_total) < 0)
                return -EINVAL;
        return *ret_first < 0 || *ret_last < *ret_first ? -EINVAL : 0;
}

/* Nobody said how long the file is: max_bytes alone holds, whatever the server says. */
static bool is_bounded_by_wish(const struct download *d) {
        return d->request.length < 0 && d->request.total < 0;
}

static int check_part(struct download *d) {
        int64_t first, last, total;
        if (read_content_range(http_call_header(d->call, "Content-Range"), &first, &last, &total) < 0 ||
            first != d->at)
                return reject(d, -EBADMSG, "the answer is another range than was asked for");
        if (total >= 0 && d->request.total >= 0 && total != d->request.total)
                return reject(d, -EBADMSG, "the file there has another length than it should have");
        if (is_bounded_by_wish(d) && total > d->request.max_bytes)
                return reject(d, -EMSGSIZE, "the file there is larger than it may be");
        if (is_bounded_by_wish(d) && total >= 0)
                d->end = total;
        return 0;
}

static int check_whole(struct download *d) {
        const char *text = http_call_header(d->call, "Content-Length");
        int64_t length = -1;
        if (text && str_to_i64(text, &length) < 0)
                length = -1;
        if (length >= 0 && d->request.total >= 0 && length != d->request.total)
                return reject(d, -EBADMSG, "the file there has another length than it should have");
        if (is_bounded_by_wish(d) && length > d->request.max_bytes)
                return reject(d, -EMSGSIZE, "the file there is larger than it may be");
        if (d->request.range_only && d->at > 0 && d->at > DOWNLOAD_PASS_OVER)
                return reject(d, -EOPNOTSUPP, "the server does not send parts of a file (it ignores Range)");
        d->pass_over = d->at;
        if (length >= 0 && d->end < 0)
                d->end = length;
        return 0;
}

/* Once, with the first bytes. */
static int check_head(struct download *d, const char *p, size_t n) {
        d->head_seen = true;
        if (looks_like_page(http_call_header(d->call, "Content-Type"), p, n))
                return reject(
                        d, -EBADMSG,
                        "the answer is a web page and not ours: is there a captive portal or a proxy in "
                        "between?");
        const char *etag = http_call_header(d->call, "ETag");
        if (d->etag && d->etag_source == d->source && etag && !str_eq(d->etag, etag) &&
            d->at > d->request.offset)
                return reject(d, -ESTALE, "the file changed on the server while it was fetched");
        if (!d->etag && etag) {
                (void)str_replace(&d->etag, etag);
                d->etag_source = d->source;
        }
        return http_call_header(d->call, "Content-Range") ? check_part(d) : check_whole(d);
}

/* ---- bytes */

static int take(struct download *d, const char *p, size_t n) {
        if (is_bounded_by_wish(d) && (int64_t)n > d->request.max_bytes - (d->at - d->request.offset))
                return reject(d, -EMSGSIZE, "the file there is larger than it may be");
        if (d->end >= 0 && (int64_t)n > d->end - d->at) {
                n = (size_t)(d->end - d->at);
                d->enough = true;
        }
        int r = n > 0 ? d->request.on_data(d->request.arg, d->at, p, n) : 0;
        if (r != 0)
                return reject(d, r, "what came cannot be kept");
        d->at += (int64_t)n;
        return d->enough ? -ECANCELED : 0;
}

static int on_data(void *arg, const char *p, size_t n) {
        struct download *d = arg;
        d->wire += (int64_t)n;
        if (d->request.limit && d->request.limit->used)
                d->request.limit->used(d->request.limit->arg, (int64_t)n);
        if (!d->head_seen) {
                int r = check_head(d, p, n);
                if (r < 0)
                        return r;
        }
        int64_t skip = MIN(d->pass_over, (int64_t)n);
        d->pass_over -= skip;
        return skip < (int64_t)n ? take(d, p + skip, n - (size_t)skip) : 0;
}

static void too_slow(void *arg) {
        struct download *d = arg;
        char text[DOWNLOAD_MESSAGE_MAX];
        if (!d->call)
                return;
        if (d->wire - d->slow_wire >= DOWNLOAD_SLOW_BYTES) {
                d->slow_wire = d->wire;
                loop_timer_set(d->slow, DOWNLOAD_SLOW_MS);
                return;
        }
        http_call_cancel(TAKE_PTR(d->call));
        (void)snprintf(text, sizeof(text), "%s: nearly nothing came for %d s", d->place.name,
                       DOWNLOAD_SLOW_MS / 1000);
        next_source(d, -ETIMEDOUT, text);
}

/* ---- the answer's end */

static bool is_redirect(int status) {
        return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static void follow(struct download *d, const char *location) {
        char text[DOWNLOAD_MESSAGE_MAX];
        const char *why = NULL;
        int error = -ELOOP;
        if (d->place.is_edge)
                why = "the edge sends elsewhere, which it must not";
        else if (++d->redirects > DOWNLOAD_REDIRECTS_MAX)
                why = "the server sends in circles (redirects)";
        else if (!str_has_prefix(location, "https://") &&
                 (!str_has_prefix(location, "http://") || str_has_prefix(d->place.url, "https://")))
                why = "the server sends to an address that is not taken (no http or https, or from https to "
                      "http)";
        else if (str_replace(&d->place.url, location) < 0)
                why = "out of memory";
        if (!why) {
                loop_timer_set(d->step, 0);
                return;
        }
        (void)snprintf(text, sizeof(text), "%s: %s", d->place.name, why);
        next_source(d, error, text);
}

/* "/path" and "//host/path" are relative to the address that was asked. */
static char *absolute_location(const struct download *d, const char *location) {
        const char *scheme_end = d->place.url ? strstr(d->place.url, "://") : NULL;
        if (!scheme_end || !location)
                return NULL;
        if (location[0] != '/')
                return str_dup(location);
        if (location[1] == '/')
                return str_format("%.*s:%s", (int)(scheme_end - d->place.url), d->place.url, location);
        size_t host = strcspn(scheme_end + 3, "/");
        return str_format("%.*s%s", (int)(scheme_end + 3 - d->place.url + (ptrdiff_t)host), d->place.url,
                          location);
}

static int error_of_status(int status) {
        switch (status) {
        case 403:
        case 404:
        case 410: return -ENOENT;
        case 416: return -EBADMSG;
        case 407:
        case 511: return -EBADMSG;
        default: return -EIO;
        }
}

static const char *words_of_status(int status) {
        switch (status) {
        case 416: return "the file there ends before the range that was asked for";
        case 407: return "a proxy wants a password (status 407)";
        case 511: return "a captive portal wants a login (status 511)";
        default: return NULL;
        }
}

static void went_wrong(struct download *d, const struct http_result *r) {
        char text[DOWNLOAD_MESSAGE_MAX];
        if (d->answer_error < 0) {
                if (d->answer_error == -EBADMSG || d->answer_error == -EMSGSIZE ||
                    d->answer_error == -EOPNOTSUPP) {
                        (void)snprintf(text, sizeof(text), "%s", d->answer);
                        next_source(d, d->answer_error, text);
                } else {
                        end(d, d->answer_error, d->answer);
                }
                return;
        }
        if (r->error < 0) {
                (void)snprintf(text, sizeof(text), "%s", r->message ? r->message : strerror(-r->error));
                next_source(d, r->error, text);
                return;
        }
        const char *words = words_of_status(r->status);
        if (words)
                (void)snprintf(text, sizeof(text), "%s: %s", d->place.name, words);
        else
                (void)snprintf(text, sizeof(text), "%s: the server answered with status %d", d->place.name,
                               r->status);
        next_source(d, error_of_status(r->status), text);
}

static void answered(void *arg, const struct http_result *r) {
        struct download *d = arg;
        char text[DOWNLOAD_MESSAGE_MAX];
        _cleanup_(x_freep) char *location = NULL;
        if (r->error == 0 && is_redirect(r->status))
                location = absolute_location(d, http_call_header(d->call, "Location"));
        d->call = NULL;
        if (r->retry_after_ms > d->retry_after_ms)
                d->retry_after_ms = r->retry_after_ms;
        if (d->enough || (d->answer_error == 0 && r->error == 0 && (r->status == 200 || r->status == 206))) {
                if (d->end < 0)
                        d->end = d->at; /* a file that says no length ends here */
                if (is_complete(d)) {
                        end(d, 0, NULL);
                } else if (d->asked_end >= 0 && d->at >= d->asked_end) {
                        loop_timer_set(d->step, 0); /* the next piece */
                } else {
                        (void)snprintf(text, sizeof(text),
                                       "%s: the answer ended at byte %" PRId64 " of %" PRId64, d->place.name,
                                       d->at, d->end);
                        next_source(d, -EBADMSG, text);
                }
                return;
        }
        if (location) {
                follow(d, location);
                return;
        }
        went_wrong(d, r);
}

/* ---- asking */

static void read_local(struct download *d) {
        char text[DOWNLOAD_MESSAGE_MAX];
        struct stat st = {0};
        _cleanup_(x_closep) int fd = root_dir_openat(d->place.folder, d->path, O_RDONLY | O_NONBLOCK, 0);
        _cleanup_(x_freep) char *piece = malloc(DOWNLOAD_LOCAL_PIECE);
        int error = fd;
        if (fd >= 0)
                error = fstat(fd, &st) < 0 ? -errno : !S_ISREG(st.st_mode) ? -ENOENT : !piece ? -ENOMEM : 0;
        if (error == 0 && d->request.total >= 0 && st.st_size != d->request.total) {
                (void)snprintf(text, sizeof(text), "%s has %lld bytes, not %lld", d->place.name,
                               (long long)st.st_size, (long long)d->request.total);
                next_source(d, -EBADMSG, text);
                return;
        }
        if (error < 0) {
                (void)snprintf(text, sizeof(text), "%s: %s", d->place.name, strerror(-error));
                next_source(d, error == -EXDEV || error == -ELOOP ? -ENOENT : error, text);
                return;
        }
        if (d->end < 0)
                d->end = st.st_size;
        size_t wish = (size_t)MIN((int64_t)DOWNLOAD_LOCAL_PIECE, d->end - d->at);
        ssize_t n = wish > 0 ? pread(fd, piece, wish, d->at) : 0;
        if (n < 0 || (n == 0 && wish > 0)) {
                (void)snprintf(text, sizeof(text), "%s: %s", d->place.name,
                               n < 0 ? strerror(errno) : "it ends too early");
                next_source(d, n < 0 ? -EIO : -EBADMSG, text);
                return;
        }
        d->wire += n;
        int r = n > 0 ? take(d, piece, (size_t)n) : 0;
        if (r < 0 && !d->enough)
                end(d, d->answer_error, d->answer);
        else if (is_complete(d))
                end(d, 0, NULL);
        else
                loop_timer_set(d->step, 0);
}

static void tell_wait(struct download *d, int64_t wish) {
        const struct download_limit *l = d->request.limit;
        char text[DOWNLOAD_MESSAGE_MAX] = "the link's limits let nothing through now";
        if (d->wait_told || !d->request.waits)
                return;
        d->wait_told = true;
        if (l->explain)
                l->explain(l->arg, wish, text, sizeof(text));
        d->request.waits(d->request.arg, text);
}

/* How far to ask at once; false: not now. */
static bool choose_piece(struct download *d) {
        const struct download_limit *l = d->request.limit;
        int64_t wish = d->end >= 0 ? d->end - d->at : d->request.max_bytes;
        msec_t wait = 0;
        d->asked_end = d->end;
        if (!l || !l->allow)
                return true;
        int64_t allowed = l->allow(l->arg, wish, &wait);
        if (allowed <= 0) {
                loop_timer_set(d->step, MAX(wait, 1));
                if (wait >= DOWNLOAD_MOMENT_MS)
                        tell_wait(d, wish);
                return false;
        }
        d->wait_told = false;
        if (allowed < wish)
                d->asked_end = d->at + allowed;
        return true;
}

static void send_request(struct download *d) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *range = NULL;
        const char *headers[3] = {NULL, NULL, NULL};
        size_t n_headers = 0;
        struct http_request request = {
                .url = d->place.url, .headers = headers, .on_data = on_data, .done = answered, .arg = d};
        if (d->at > 0 || d->asked_end != d->end || (d->end >= 0 && d->request.total != d->end)) {
                range = d->asked_end >= 0
                                ? str_format("Range: bytes=%" PRId64 "-%" PRId64, d->at, d->asked_end - 1)
                                : str_format("Range: bytes=%" PRId64 "-", d->at);
                headers[n_headers++] = range;
        }
        if (d->request.fresh)
                headers[n_headers++] = "Cache-Control: no-cache";
        d->head_seen = d->enough = false;
        d->pass_over = 0;
        d->answer_error = 0;
        int r = http_client_send(d->place.client, &request, &d->call, &err);
        if (r < 0) {
                char text[DOWNLOAD_MESSAGE_MAX];
                (void)snprintf(text, sizeof(text), "%s", err_message(err));
                next_source(d, r, text);
                return;
        }
        d->slow_wire = d->wire;
        loop_timer_set(d->slow, DOWNLOAD_SLOW_MS);
}

static void ask(void *arg) {
        struct download *d = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        if (is_complete(d)) {
                end(d, 0, NULL);
                return;
        }
        if (d->source >= repository_sources_count(d->sources)) {
                give_up(d);
                return;
        }
        if (!d->place.name) {
                int r = repository_sources_place(d->sources,
                                                 (d->request.first_source + d->source) %
                                                         repository_sources_count(d->sources),
                                                 d->path, &d->place, &err);
                d->n_asked++;
                if (r < 0) {
                        char text[DOWNLOAD_MESSAGE_MAX];
                        (void)snprintf(text, sizeof(text), "%s", err_message(err));
                        next_source(d, r, text);
                        return;
                }
        }
        if (d->place.folder)
                read_local(d);
        else if (choose_piece(d))
                send_request(d);
}

int download_start(struct repository_sources *sources, const struct download_request *request,
                   struct download **ret, struct err **err) {
        struct loop *l = repository_sources_loop(sources);
        struct download *d = calloc(1, sizeof(*d));
        if (!d)
                return err_set_errno(err, ENOMEM, "%s", request->path);
        d->sources = sources;
        d->request = *request;
        d->retry_after_ms = -1;
        d->at = request->offset;
        d->end = request->length >= 0 ? request->offset + request->length : request->total;
        d->asked_end = -1;
        d->path = str_dup(request->path);
        d->step = loop_timer_new(l, ask, d);
        d->slow = loop_timer_new(l, too_slow, d);
        if (!d->path || !d->step || !d->slow) {
                download_free(d);
                return err_set_errno(err, ENOMEM, "%s", request->path);
        }
        d->request.path = d->path;
        loop_timer_set(d->step, 0);
        *ret = d;
        return 0;
}
