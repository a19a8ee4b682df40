/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/upstream.h"

#include <errno.h>
#include <string.h>

#include "base/list.h"
#include "base/str.h"
#include "codec/json.h"
#include "net/backoff.h"
#include "relay/line_reader.h"

#define DEFAULT_HEARTBEAT_MS 30000
#define POST_TIMEOUT_MS 60000
#define ANSWER_LIMIT ((size_t)1 << 20)
#define BACKOFF_BASE_MS 500
#define BACKOFF_CAP_MS 10000
/* Until `hello` tells the server's heartbeat, and for the answer itself. */
#define HELLO_MS 30000

struct upstream {
        struct loop *loop;
        struct http_client *client;
        char *server;
        msec_t heartbeat_ms;
        void *arg;
        void (*up)(void *arg);
        void (*down)(void *arg, const char *why, int status);
        void (*event)(void *arg, const char *type, const json_t *event);

        struct http_call *events;
        struct line_reader reader;
        struct loop_timer *retry, *watch;
        struct backoff backoff;
        struct prng random;
        msec_t silence_ms; /* this long without a byte ends the link */
        msec_t up_since;
        bool started;
        struct list posts;
};

struct post {
        struct list link;
        struct upstream *upstream;
        struct http_call *call; /* NULL: never sent, the answer is on its way by loop_post() */
        const char *not_sent;   /* why */
        void (*done)(void *arg, const struct upstream_answer *a);
        void *arg;
};

bool upstream_is_up(const struct upstream *u) {
        return u->up_since != 0;
}

msec_t upstream_up_since(const struct upstream *u) {
        return u->up_since;
}

struct http_client *upstream_client(struct upstream *u) {
        return u->client;
}

char *upstream_url(const struct upstream *u, const char *path) {
        return str_format("%s%s", u->server, path);
}

void upstream_reconnect(struct upstream *u) {
        http_client_reconnect(u->client);
        if (loop_timer_is_set(u->retry)) {
                backoff_reset(&u->backoff);
                loop_timer_set(u->retry, 0);
        }
}

/* ---- the events response */

static void ended(struct upstream *u, const char *why, int status, msec_t retry_after_ms) {
        struct http_call *call = TAKE_PTR(u->events);
        loop_timer_cancel(u->watch);
        line_reader_reset(&u->reader);
        u->up_since = 0;
        http_call_cancel(call);
        /* Whatever broke it may have broken the connection for all that would be sent on it next. */
        http_client_reconnect(u->client);
        loop_timer_set(u->retry, backoff_next(&u->backoff, &u->random, retry_after_ms));
        u->down(u->arg, why, status);
}

void upstream_fail(struct upstream *u, const char *why) {
        if (u->events)
                ended(u, why, 0, -1);
}

static void on_silence(void *arg) {
        upstream_fail(arg, "the server has gone silent");
}

static void heard(struct upstream *u) {
        loop_timer_set(u->watch, u->silence_ms);
}

static bool on_line(void *arg, const char *type, const json_t *event) {
        struct upstream *u = arg;
        struct http_call *call = u->events;
        if (str_eq(type, "hello") && !upstream_is_up(u)) {
                int64_t seconds = 0;
                (void)json_read_optional_int(event, "heartbeat", &seconds, NULL);
                if (seconds > 0 && seconds <= 86400)
                        u->silence_ms = seconds * 2500;
                heard(u);
                backoff_reset(&u->backoff);
                u->up_since = clock_wall_ms(loop_clock(u->loop));
                u->up(u->arg);
        } else if (upstream_is_up(u) && !str_eq(type, "ping")) {
                u->event(u->arg, type, event);
        }
        return u->events == call; /* false: a callback ended the link */
}

static int on_events_data(void *arg, const char *p, size_t n) {
        struct upstream *u = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        heard(u);
        int r = line_reader_feed(&u->reader, p, n, on_line, u, &err);
        if (r == -ECANCELED)
                return r;
        if (r < 0) {
                _cleanup_(x_freep) char *why =
                        str_format("what answers is no server of ours: %s", err_message(err));
                upstream_fail(u, why ? why : "out of memory");
        }
        return r;
}

static void on_events_done(void *arg, const struct http_result *r) {
        struct upstream *u = arg;
        _cleanup_(x_freep) char *why = NULL;
        u->events = NULL;
        if (r->error < 0)
                why = str_dup(r->message);
        else if (r->status == 200)
                why = str_dup("the server ended the link");
        else
                why = str_format("the server answers %d: %.200s", r->status, r->body);
        ended(u, why ? why : "out of memory", r->error < 0 ? 0 : r->status, r->retry_after_ms);
}

static void connect_events(void *arg) {
        struct upstream *u = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *url = str_format("%s/edge/v1/events?assignment=0&heartbeat=%lld", u->server,
                                                  (long long)u->heartbeat_ms / 1000);
        struct http_request q = {
                .url = url,
                .streaming = true,
                .on_data = on_events_data,
                .done = on_events_done,
                .arg = u,
        };
        u->silence_ms = HELLO_MS;
        heard(u);
        if (!url || http_client_send(u->client, &q, &u->events, &err) < 0)
                ended(u, err_message(err), 0, -1);
}

/* ---- posts */

static void post_end(struct post *p, const struct upstream_answer *a) {
        list_remove(&p->link);
        p->done(p->arg, a);
        free(p);
}

static void on_post_done(void *arg, const struct http_result *r) {
        struct upstream_answer a = {
                .status = r->error < 0 ? 0 : r->status,
                .body = r->body,
                .len = r->body_len,
                .message = r->message,
                .retry_after_ms = r->retry_after_ms,
        };
        post_end(arg, &a);
}

static void on_not_sent(void *arg) {
        struct post *p = arg;
        if (!p->upstream) { /* told already */
                free(p);
                return;
        }
        struct upstream_answer a = {.message = p->not_sent, .body = "", .retry_after_ms = -1};
        post_end(p, &a);
}

void upstream_post(struct upstream *u, const char *path, const char *body,
                   void (*done)(void *arg, const struct upstream_answer *a), void *arg) {
        struct post *p = calloc(1, sizeof(*p));
        _cleanup_(x_freep) char *url = upstream_url(u, path);
        if (!p) {
                struct upstream_answer a = {.message = "out of memory", .body = "", .retry_after_ms = -1};
                done(arg, &a);
                return;
        }
        p->upstream = u;
        p->done = done;
        p->arg = arg;
        list_append(&u->posts, &p->link);
        struct http_request q = {
                .method = "POST",
                .url = url,
                .body = body,
                .body_len = strlen(body),
                .limit = ANSWER_LIMIT,
                .timeout_ms = POST_TIMEOUT_MS,
                .done = on_post_done,
                .arg = p,
        };
        if (!upstream_is_up(u))
                p->not_sent = "the link to the server is down";
        else if (!url || http_client_send(u->client, &q, &p->call, NULL) < 0)
                p->not_sent = "out of memory";
        if (p->not_sent && loop_post(u->loop, on_not_sent, p) < 0)
                on_not_sent(p);
}

/* ---- life */

int upstream_new(struct loop *l, const struct upstream_options *o, struct upstream **ret, struct err **err) {
        _cleanup_(upstream_freep) struct upstream *u = calloc(1, sizeof(*u));
        if (!u)
                return err_set(err, ENOMEM, "out of memory");
        u->loop = l;
        list_init(&u->posts);
        u->arg = o->arg;
        u->up = o->up;
        u->down = o->down;
        u->event = o->event;
        u->heartbeat_ms = o->heartbeat_ms > 0 ? o->heartbeat_ms : DEFAULT_HEARTBEAT_MS;
        u->backoff = (struct backoff)BACKOFF_INIT(BACKOFF_BASE_MS, BACKOFF_CAP_MS);
        prng_seed_random(&u->random);
        u->server = str_dup(o->server);
        u->retry = loop_timer_new(l, connect_events, u);
        u->watch = loop_timer_new(l, on_silence, u);
        if (!u->server || !u->retry || !u->watch)
                return err_set(err, ENOMEM, "out of memory");
        for (size_t n = strlen(u->server); n > 0 && u->server[n - 1] == '/'; n--)
                u->server[n - 1] = '\0';
        struct http_client_options client = {.tls = o->tls};
        int r = http_client_new(l, &client, &u->client, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(u);
        return 0;
}

void upstream_start(struct upstream *u) {
        if (!u->started) {
                u->started = true;
                loop_timer_set(u->retry, 0);
        }
}

struct upstream *upstream_free(struct upstream *u) {
        if (!u)
                return NULL;
        u->up_since = 0;
        loop_timer_free(u->retry);
        loop_timer_free(u->watch);
        while (!list_is_empty(&u->posts)) {
                struct post *p = LIST_ENTRY(u->posts.next, struct post, link);
                struct upstream_answer a = {.message = strerror(ECANCELED), .body = "", .retry_after_ms = -1};
                http_call_cancel(p->call);
                list_remove(&p->link);
                p->done(p->arg, &a);
                if (p->not_sent)
                        p->upstream = NULL; /* freed by the call that is posted */
                else
                        free(p);
        }
        u->events = NULL;
        http_client_free(u->client);
        line_reader_reset(&u->reader);
        free(u->server);
        free(u);
        return NULL;
}
