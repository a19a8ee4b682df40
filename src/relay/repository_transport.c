/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/repository_transport.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/list.h"
#include "base/str.h"
#include "relay/repository_path.h"

/* Shorter than what a node waits for: a source that has gone silent must not take the node's patience. */
#define STALL_MS 20000
#define CONNECT_MS 10000

struct repository_web {
        struct http_client *members, *strangers; /* the first with our certificate */
        struct repository_web_source *sources;   /* url: the prefix of every path, ours */
        size_t n;
        struct list calls;
};

struct call {
        struct list link;
        struct http_call *http;
        struct repository_get get;
        int status;
        int refused;    /* by on_head or ourselves */
        bool has_head;  /* on_head was called */
        bool is_member; /* the server, or another relay */
};

/* ---- what the head says */

static int read_number(const char **p, int64_t *ret) {
        int64_t n = 0;
        if (**p < '0' || **p > '9')
                return -EINVAL;
        for (; **p >= '0' && **p <= '9'; ++*p)
                if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (int64_t)(**p - '0'), &n))
                        return -EINVAL;
        *ret = n;
        return 0;
}

int repository_content_range(const char *value, int64_t *ret_first, int64_t *ret_last, int64_t *ret_total) {
        int64_t first = -1, last = -1, total = -1;
        if (!value || strncasecmp(value, "bytes ", 6) != 0)
                return -EINVAL;
        const char *p = value + 6 + strspn(value + 6, " ");
        if (*p == '*') {
                p++;
        } else {
                if (read_number(&p, &first) < 0 || *p++ != '-' || read_number(&p, &last) < 0 || last < first)
                        return -EINVAL;
        }
        if (*p++ != '/')
                return -EINVAL;
        if (*p == '*' && first >= 0)
                p++;
        else if (read_number(&p, &total) < 0)
                return -EINVAL;
        if (*p || (total >= 0 && last >= total))
                return -EINVAL;
        *ret_first = first;
        *ret_last = last;
        *ret_total = total;
        return 0;
}

static bool is_page(struct call *c) {
        const char *type = http_call_header(c->http, "Content-Type");
        return type &&
               (strncasecmp(type, "text/html", 9) == 0 || strncasecmp(type, "application/xhtml", 17) == 0);
}

static int read_head(struct call *c, struct repository_head *ret) {
        struct repository_head h = {.total = -1, .is_part = c->status == 206, .is_page = is_page(c)};
        int64_t last = -1, length = -1;
        const char *text = http_call_header(c->http, "Content-Length");
        if (text && (str_to_i64(text, &length) < 0 || length < 0))
                return -EBADMSG;
        if (!h.is_part) {
                h.total = length;
        } else if (repository_content_range(http_call_header(c->http, "Content-Range"), &h.first, &last,
                                            &h.total) < 0 ||
                   h.first < 0 || (length >= 0 && last - h.first + 1 != length)) {
                return -EBADMSG;
        }
        *ret = h;
        return 0;
}

/* ---- calls */

static int begin(struct call *c) {
        struct repository_head head;
        if (c->has_head)
                return c->refused;
        c->has_head = true;
        c->refused = read_head(c, &head);
        if (c->refused >= 0)
                c->refused = c->get.on_head(c->get.arg, &head);
        return c->refused;
}

static void on_headers(void *arg, int status) {
        ((struct call *)arg)->status = status;
}

static int on_data(void *arg, const char *p, size_t n) {
        struct call *c = arg;
        int r = begin(c);
        return r < 0 ? r : c->get.on_data(c->get.arg, p, n);
}

static void on_done(void *arg, const struct http_result *h) {
        struct call *c = arg;
        struct repository_result r = {
                .status = h->status,
                .error = h->error,
                .message = h->message,
                .body = h->body,
                .body_len = h->body_len,
                .etag = h->etag,
                .total = -1,
                .retry_after_ms = h->retry_after_ms,
        };
        /* A transfer that broke off still has a status. */
        r.has_none = h->status == 404 && c->is_member && strstr(h->body, "\"no_repository\"");
        if (h->status > 0) {
                int64_t first, last;
                r.is_page = is_page(c);
                if (h->status == 416)
                        (void)repository_content_range(http_call_header(c->http, "Content-Range"), &first,
                                                       &last, &r.total);
        }
        if (r.error == 0 && c->get.limit == 0 && (r.status == 200 || r.status == 206))
                r.error = begin(c); /* no byte came with it */
        list_remove(&c->link);
        c->get.done(c->get.arg, &r);
        free(c);
}

static int get(void *arg, const struct repository_get *g, void **ret_call) {
        struct repository_web *w = arg;
        const struct repository_web_source *s = &w->sources[g->source];
        char range[80], condition[REPOSITORY_ETAG_SIZE + 32];
        const char *headers[4];
        size_t n = 0;
        _cleanup_(x_freep) char *url = repository_url(s->url, g->path);
        struct call *c = calloc(1, sizeof(*c));
        if (!url || !c) {
                free(c);
                return -ENOMEM;
        }
        if (g->first >= 0) {
                if (g->last >= 0)
                        (void)snprintf(range, sizeof(range), "Range: bytes=%lld-%lld", (long long)g->first,
                                       (long long)g->last);
                else
                        (void)snprintf(range, sizeof(range), "Range: bytes=%lld-", (long long)g->first);
                headers[n++] = range;
        }
        if (g->etag &&
            snprintf(condition, sizeof(condition), "If-None-Match: %s", g->etag) < (int)sizeof(condition))
                headers[n++] = condition;
        if (s->kind == SOURCE_PEER)
                headers[n++] = "Cache-Control: only-if-cached";
        headers[n] = NULL;
        c->is_member = s->kind != SOURCE_MIRROR;
        c->get = *g;
        c->get.path = c->get.etag = NULL; /* borrowed until now */
        struct http_request q = {
                .url = url,
                .headers = headers,
                .limit = g->limit,
                .on_headers = on_headers,
                .on_data = g->limit ? NULL : on_data,
                .done = on_done,
                .arg = c,
        };
        list_append(&w->calls, &c->link);
        int r = http_client_send(s->kind == SOURCE_MIRROR ? w->strangers : w->members, &q, &c->http, NULL);
        if (r < 0) {
                list_remove(&c->link);
                free(c);
                return r;
        }
        *ret_call = c;
        return 0;
}

static void cancel(void *arg, void *call) {
        struct call *c = call;
        if (!c)
                return;
        http_call_cancel(c->http);
        list_remove(&c->link);
        free(c);
}

struct repository_transport repository_web_transport(struct repository_web *w) {
        return (struct repository_transport){.arg = w, .get = get, .cancel = cancel};
}

/* ---- life */

int repository_web_new(struct loop *l, struct tls_config *tls, const struct repository_web_source *sources,
                       size_t n, struct repository_web **ret, struct err **err) {
        _cleanup_(repository_web_freep) struct repository_web *w = calloc(1, sizeof(*w));
        if (!w)
                return err_set(err, ENOMEM, "out of memory");
        list_init(&w->calls);
        w->sources = calloc(n + 1, sizeof(*w->sources));
        if (!w->sources)
                return err_set(err, ENOMEM, "out of memory");
        for (; w->n < n; w->n++) {
                const struct repository_web_source *s = &sources[w->n];
                if (!str_has_prefix(s->url, "https://") &&
                    !(s->kind == SOURCE_MIRROR && str_has_prefix(s->url, "http://")))
                        return err_set(err, EINVAL,
                                       "\"%s\" is no address of a repository: write https://HOST/PATH",
                                       s->url);
                bool is_edge = s->kind != SOURCE_MIRROR;
                size_t len = strlen(s->url);
                while (len > 0 && s->url[len - 1] == '/')
                        len--;
                char *url = str_format("%.*s%s", (int)len, s->url, is_edge ? "/edge/v1/repository" : "");
                if (!url)
                        return err_set(err, ENOMEM, "out of memory");
                w->sources[w->n] = (struct repository_web_source){s->kind, url};
        }
        struct http_client_options members = {.tls = tls, .connect_ms = CONNECT_MS, .stall_ms = STALL_MS};
        struct http_client_options strangers = {.connect_ms = CONNECT_MS, .stall_ms = STALL_MS};
        int r = tls ? http_client_new(l, &members, &w->members, err) : 0;
        if (r >= 0)
                r = http_client_new(l, &strangers, &w->strangers, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(w);
        return 0;
}

struct repository_web *repository_web_free(struct repository_web *w) {
        if (!w)
                return NULL;
        while (w->calls.next && !list_is_empty(&w->calls))
                cancel(w, LIST_ENTRY(w->calls.next, struct call, link));
        http_client_free(w->members);
        http_client_free(w->strangers);
        for (size_t i = 0; i < w->n; i++)
                free((char *)w->sources[i].url);
        free(w->sources);
        free(w);
        return NULL;
}

void repository_web_reconnect(struct repository_web *w) {
        if (w->members)
                http_client_reconnect(w->members);
}
