/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/event_reader.h"
#include "base/str.h"
#include "net/backoff.h"

#define LINK_BASE_MS 500
#define LINK_CAP_MS 60000
#define LINK_HELLO_MS 30000 /* an edge says hello at once */
#define LINK_HEARTBEAT_MIN_MS 1000
#define LINK_HEARTBEAT_MAX_MS (60 * 60 * 1000)
#define LINK_TRUSTED_MS 30000 /* up for this long: the former failures are forgotten */
#define LINK_GATHER_MS 10     /* changes within this are one report */
#define LINK_PROBE_MS 10000
#define LINK_STATUS_TIMEOUT_MS 30000
#define LINK_REPLACED_MS 10000

struct link {
        struct loop *loop;
        struct edge_address *edge;
        struct http_client *client;
        struct link_listener listener;
        msec_t heartbeat_wished_ms, heartbeat_ms;

        struct http_call *events;
        struct event_reader reader;
        struct err *problem; /* what reading met; outlives the call */
        bool up, replaced;
        msec_t heard_at, up_since;
        struct loop_timer *reconnect, *watchdog, *renew;
        struct backoff backoff;
        struct prng random;

        struct http_call *post, *probe;
        struct loop_timer *gather;
        bool report_wanted, full_wanted;
        struct backoff post_backoff;
};

static void connect_now(void *arg);

static msec_t now_ms(const struct link *k) {
        return clock_mono_ms(loop_clock(k->loop));
}

/* ---- down */

static void cancel(struct http_call **call) {
        if (*call)
                http_call_cancel(TAKE_PTR(*call));
}

static void go_down(struct link *k, const char *why, msec_t at_least_ms) {
        cancel(&k->events);
        cancel(&k->post);
        cancel(&k->probe);
        event_reader_reset(&k->reader);
        loop_timer_cancel(k->watchdog);
        loop_timer_cancel(k->gather);
        bool was_up = k->up;
        k->up = false;
        if (was_up && now_ms(k) - k->up_since >= LINK_TRUSTED_MS)
                backoff_reset(&k->backoff);
        if (!was_up)
                edge_address_next(k->edge);
        /* Half-open connections of the old network must not be used again. */
        http_client_reconnect(k->client);
        loop_timer_set(k->reconnect, backoff_next(&k->backoff, &k->random, at_least_ms));
        k->listener.down(k->listener.arg, why);
}

static void watch_silence(void *arg) {
        struct link *k = arg;
        char why[128], time[32];
        msec_t limit = k->up ? k->heartbeat_ms * 5 / 2 : LINK_HELLO_MS;
        msec_t silence = now_ms(k) - k->heard_at;
        if (silence < limit) {
                loop_timer_set(k->watchdog, limit - silence);
                return;
        }
        (void)snprintf(why, sizeof(why), "%s: nothing was heard for %s", edge_address_current(k->edge),
                       duration_format(silence, time, sizeof(time)));
        go_down(k, why, -1);
}

/* ---- events */

static int take_hello(struct link *k, const json_t *event) {
        int64_t heartbeat = 0;
        (void)json_read_optional_int(event, "heartbeat", &heartbeat, NULL);
        heartbeat = heartbeat > 0 && heartbeat <= LINK_HEARTBEAT_MAX_MS / 1000 ? heartbeat * 1000
                                                                               : k->heartbeat_wished_ms;
        k->heartbeat_ms = MAX(heartbeat, LINK_HEARTBEAT_MIN_MS);
        k->up = true;
        k->up_since = now_ms(k);
        k->full_wanted = true;
        backoff_reset(&k->post_backoff);
        loop_timer_set(k->watchdog, k->heartbeat_ms * 5 / 2);
        k->listener.up(k->listener.arg);
        link_report(k);
        return 0;
}

static int take_event(void *arg, const char *type, const json_t *event, struct err **err) {
        struct link *k = arg;
        if (str_eq(type, "hello"))
                return take_hello(k, event);
        if (!k->up)
                return err_set(err, EPROTO, "%s: its first line is '%.32s', not 'hello'",
                               edge_address_current(k->edge), type);
        if (str_eq(type, "replaced")) {
                const char *address = json_string_value(json_object_get(event, "address"));
                k->replaced = true;
                (void)err_set(&k->problem, EEXIST,
                              "%s: a newer connection with this node's certificate took the place of this "
                              "one%s%s: does a copy of this node's state folder run elsewhere?",
                              edge_address_current(k->edge), address ? ", from " : "",
                              address ? address : "");
                return 0;
        }
        if (!str_eq(type, "ping"))
                k->listener.event(k->listener.arg, type, event);
        return 0;
}

static int events_data(void *arg, const char *p, size_t n) {
        struct link *k = arg;
        k->heard_at = now_ms(k);
        return event_reader_feed(&k->reader, p, n, &k->problem);
}

static void events_done(void *arg, const struct http_result *r) {
        struct link *k = arg;
        _cleanup_(err_freep) struct err *err = TAKE_PTR(k->problem);
        k->events = NULL;
        if (k->replaced) {
                /* Two that took the place from one another at once would keep the server busy. */
                k->replaced = false;
                go_down(k, err ? err_message(err) : "out of memory", LINK_REPLACED_MS);
                return;
        }
        if (err)
                err_wrap(&err, "%s: what answers is no edge, or damaged", edge_address_current(k->edge));
        else if (!r->error && r->status == 200)
                (void)err_set(&err, ECONNRESET, "%s: closed the connection", edge_address_current(k->edge));
        else
                (void)edge_answer_error(k->edge, r, &err);
        go_down(k, err_message(err), r->retry_after_ms);
}

static void connect_now(void *arg) {
        struct link *k = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *path = str_format("/edge/v1/events?assignment=%lld&heartbeat=%lld",
                                                   (long long)k->listener.assignment(k->listener.arg),
                                                   (long long)(k->heartbeat_wished_ms / 1000));
        _cleanup_(x_freep) char *url = path ? edge_address_url(k->edge, path) : NULL;
        if (!url) {
                loop_timer_set(k->reconnect, LINK_BASE_MS);
                return;
        }
        k->problem = err_free(k->problem);
        k->replaced = false;
        k->heard_at = now_ms(k);
        loop_timer_set(k->watchdog, LINK_HELLO_MS);
        struct http_request request = {
                .url = url, .streaming = true, .on_data = events_data, .done = events_done, .arg = k};
        if (http_client_send(k->client, &request, &k->events, &err) < 0)
                go_down(k, err_message(err), -1);
}

/* ---- reports */

static void send_report(void *arg);

static void post_done(void *arg, const struct http_result *r) {
        struct link *k = arg;
        bool taken = !r->error && r->status >= 200 && r->status < 300;
        k->post = NULL;
        k->listener.status_sent(k->listener.arg, taken);
        if (taken) {
                backoff_reset(&k->post_backoff);
                if (k->report_wanted)
                        loop_timer_set(k->gather, 0);
                return;
        }
        /* Whatever it took of that, the next report says all. */
        k->report_wanted = k->full_wanted = true;
        loop_timer_set(k->gather, backoff_next(&k->post_backoff, &k->random, r->retry_after_ms));
}

static void send_report(void *arg) {
        static const char *const headers[] = {"Content-Type: application/json", NULL};
        struct link *k = arg;
        if (!k->up || k->post)
                return;
        _cleanup_(x_freep) char *url = edge_address_url(k->edge, "/edge/v1/status");
        _cleanup_(x_freep) char *text = k->listener.status(k->listener.arg, k->full_wanted);
        k->report_wanted = false;
        if (!text || !url)
                return;
        struct http_request request = {.method = "POST",
                                       .url = url,
                                       .headers = headers,
                                       .body = text,
                                       .body_len = strlen(text),
                                       .timeout_ms = LINK_STATUS_TIMEOUT_MS,
                                       .done = post_done,
                                       .arg = k};
        k->full_wanted = false;
        if (http_client_send(k->client, &request, &k->post, NULL) < 0) {
                k->listener.status_sent(k->listener.arg, false);
                k->report_wanted = k->full_wanted = true;
                loop_timer_set(k->gather, backoff_next(&k->post_backoff, &k->random, -1));
        }
}

void link_report(struct link *k) {
        k->report_wanted = true;
        if (k->up && !k->post && !loop_timer_is_set(k->gather))
                loop_timer_set(k->gather, LINK_GATHER_MS);
}

/* ---- sign of life */

static void probe_done(void *arg, const struct http_result *r) {
        struct link *k = arg;
        char why[160];
        k->probe = NULL;
        if (r->status) {
                k->heard_at = now_ms(k);
                return;
        }
        (void)snprintf(why, sizeof(why), "%s: does not answer after the network changed",
                       edge_address_current(k->edge));
        go_down(k, why, -1);
}

void link_probe(struct link *k) {
        if (!k->up) {
                /* Waiting for the next try: a new network is a good moment. */
                if (!k->events) {
                        backoff_reset(&k->backoff);
                        loop_timer_set(k->reconnect, backoff_next(&k->backoff, &k->random, -1));
                }
                return;
        }
        _cleanup_(x_freep) char *url = edge_address_url(k->edge, "/edge/v1/bundle");
        if (!url || k->probe)
                return;
        struct http_request request = {.url = url, .timeout_ms = LINK_PROBE_MS, .done = probe_done, .arg = k};
        (void)http_client_send(k->client, &request, &k->probe, NULL);
}

/* ---- a fresh connection, wanted by ourselves */

static void renew_now(void *arg) {
        struct link *k = arg;
        if (!k->up) {
                http_client_reconnect(k->client);
                return;
        }
        cancel(&k->events);
        cancel(&k->post);
        cancel(&k->probe);
        event_reader_reset(&k->reader);
        loop_timer_cancel(k->watchdog);
        loop_timer_cancel(k->gather);
        k->up = false;
        http_client_reconnect(k->client);
        loop_timer_set(k->reconnect, 0);
}

/* ---- making and freeing */

int link_new(struct loop *l, struct edge_address *edge, struct http_client *client, msec_t heartbeat_ms,
             const struct link_listener *listener, struct link **ret, struct err **err) {
        struct link *k = calloc(1, sizeof(*k));
        if (!k)
                return err_set_errno(err, ENOMEM, "link");
        k->loop = l;
        k->edge = edge;
        k->client = client;
        k->listener = *listener;
        k->heartbeat_wished_ms = MAX(heartbeat_ms, LINK_HEARTBEAT_MIN_MS);
        k->backoff = (struct backoff)BACKOFF_INIT(LINK_BASE_MS, LINK_CAP_MS);
        k->post_backoff = (struct backoff)BACKOFF_INIT(LINK_BASE_MS, LINK_CAP_MS);
        prng_seed_random(&k->random);
        event_reader_init(&k->reader, take_event, k);
        k->reconnect = loop_timer_new(l, connect_now, k);
        k->watchdog = loop_timer_new(l, watch_silence, k);
        k->gather = loop_timer_new(l, send_report, k);
        k->renew = loop_timer_new(l, renew_now, k);
        if (!k->reconnect || !k->watchdog || !k->gather || !k->renew) {
                link_free(k);
                return err_set_errno(err, ENOMEM, "link");
        }
        *ret = k;
        return 0;
}

struct link *link_free(struct link *k) {
        if (!k)
                return NULL;
        cancel(&k->events);
        cancel(&k->post);
        cancel(&k->probe);
        event_reader_done(&k->reader);
        err_free(k->problem);
        struct loop_timer *timers[] = {k->reconnect, k->watchdog, k->gather, k->renew};
        for (size_t i = 0; i < ARRAY_SIZE(timers); i++)
                if (timers[i])
                        loop_timer_free(timers[i]);
        free(k);
        return NULL;
}

void link_start(struct link *k) {
        loop_timer_set(k->reconnect, 0);
}

bool link_is_up(const struct link *k) {
        return k->up;
}

void link_renew(struct link *k) {
        /* Asked for while an event of the very connection is being read: not before that is through. */
        loop_timer_set(k->renew, 0);
}
