/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_exchange.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "net/frame_pool.h"
#include "net/http2.h"

/* RFC 9113 section 3.4. */
static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/* ---- the service */

static void fill_limits(struct http_limits *l) {
        static const struct http_limits defaults = {
                .header_bytes = 16 * 1024,
                .body_bytes = 1024 * 1024,
                .streams = 100,
                .connections = 20000,
                .connections_per_address = 1000,
                .connections_per_peer = 64,
                .handshake_ms = 10 * 1000,
                .header_ms = 10 * 1000,
                .body_ms = 30 * 1000,
                .write_ms = 60 * 1000,
                .idle_ms = 10 * 60 * 1000,
                .dead_peer_ms = 2 * 60 * 1000,
                .write_buffer_bytes = 256 * 1024,
        };
#define FILL(member) l->member = l->member ? l->member : defaults.member
        FILL(header_bytes);
        FILL(body_bytes);
        FILL(streams);
        FILL(connections);
        FILL(connections_per_address);
        FILL(connections_per_peer);
        FILL(handshake_ms);
        FILL(header_ms);
        FILL(body_ms);
        FILL(write_ms);
        FILL(idle_ms);
        FILL(dead_peer_ms);
        FILL(write_buffer_bytes);
#undef FILL
}

int http_service_init(struct http_service *s, struct loop *l, const struct http_server_options *o) {
        *s = (struct http_service){
                .loop = l,
                .clock = l ? loop_clock(l) : clock_system(),
                .limits = o->limits,
                .routes = o->routes,
                .arg = o->arg,
                .before = o->before,
                .after = o->after,
                .date_at = -1,
        };
        fill_limits(&s->limits);
        s->frames = frame_pool_new();
        s->http2 = http2_shared_new(&s->limits);
        if (!s->frames || !s->http2) {
                http_service_done(s);
                return -ENOMEM;
        }
        return 0;
}

void http_service_done(struct http_service *s) {
        s->frames = frame_pool_free(s->frames);
        s->http2 = http2_shared_free(s->http2);
}

const char *http_service_date(struct http_service *s) {
        static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
        static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                           "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
        time_t now = (time_t)(clock_wall_ms(s->clock) / 1000);
        struct tm tm;
        if (now != s->date_at && gmtime_r(&now, &tm)) {
                /* By hand: strftime() would speak the user's language. */
                (void)snprintf(s->date, sizeof(s->date), "%s, %02d %s %04d %02d:%02d:%02d GMT",
                               days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon], tm.tm_year % 8100 + 1900,
                               tm.tm_hour, tm.tm_min, tm.tm_sec);
                s->date_at = now;
        }
        return s->date;
}

/* ---- connections */

void http_connection_init(struct http_connection *c, struct http_service *s) {
        c->service = s;
        list_init(&c->exchanges);
        c->soonest = INT64_MAX;
        c->idle_since = http_connection_now(c);
}

int http_connection_choose(struct http_connection *c, const struct http_protocol *protocol) {
        int r = protocol->open(c);
        if (r < 0)
                return r;
        c->protocol = protocol;
        /* The bytes that looked like the preface so far are known; they were not kept. */
        return c->preface_seen > 0 ? protocol->feed(c, preface, c->preface_seen) : 0;
}

void http_connection_done(struct http_connection *c) {
        c->failed = true;
        while (!list_is_empty(&c->exchanges))
                http_exchange_end(LIST_ENTRY(c->exchanges.next, struct http_exchange, link));
        if (c->protocol)
                c->protocol->close(c);
        c->protocol = NULL;
        free(c->spiffe_id);
        free(c->serial);
        c->spiffe_id = c->serial = NULL;
}

void http_connection_wake(struct http_connection *c) {
        c->woken = true;
        if (c->wake)
                c->wake(c);
}

void http_connection_expect(struct http_connection *c, msec_t in) {
        c->soonest = MIN(c->soonest, http_connection_now(c) + in);
}

int http_connection_feed(struct http_connection *c, const char *p, size_t n) {
        int r = 0;
        c->service->stats.bytes_in += n;
        while (!c->protocol && n > 0 && r >= 0) {
                if (*p != preface[c->preface_seen]) {
                        r = http_connection_choose(c, &http1_protocol);
                        break;
                }
                p++;
                n--;
                if (++c->preface_seen == sizeof(preface) - 1)
                        r = http_connection_choose(c, &http2_protocol);
        }
        if (!c->protocol && r >= 0)
                http_connection_expect(c, c->service->limits.header_ms);
        if (r >= 0 && n > 0 && c->protocol && !c->closing && !c->failed)
                r = c->protocol->feed(c, p, n);
        if (r < 0)
                c->failed = true;
        return c->failed ? MIN(r, -ECONNABORTED) : 0;
}

size_t http_connection_produce(struct http_connection *c, char *out, size_t size) {
        size_t n = 0;
        /* A handler may answer from inside of on_drain or of the next pipelined request, hence another look;
         * a chain of those goes on in the driver's next round. */
        for (int round = 0; round < 16 && n == 0 && c->protocol && !c->failed; round++) {
                c->woken = false;
                n = c->protocol->produce(c, out, size);
                if (c->drain_due) {
                        c->drain_due = false;
                        LIST_FOREACH (it, &c->exchanges)
                                http_exchange_drain(LIST_ENTRY(it, struct http_exchange, link));
                }
                if (!c->woken)
                        break;
        }
        c->service->stats.bytes_out += n;
        return n;
}

bool http_connection_wants_read(const struct http_connection *c) {
        return !c->closing && !c->failed && (!c->protocol || c->protocol->wants_read(c));
}

void http_connection_end_of_input(struct http_connection *c) {
        if (c->protocol)
                c->protocol->end_of_input(c);
        else
                c->failed = true;
}

void http_connection_turn_out(struct http_connection *c, const char *reason) {
        if (c->failed || c->closing)
                return;
        c->shut_down = true;
        if (c->protocol && c->protocol->turn_out)
                c->protocol->turn_out(c, reason);
        c->closing = true;
        http_connection_wake(c);
}

void http_connection_shut_down(struct http_connection *c) {
        c->shut_down = true;
        if (c->protocol)
                c->protocol->shut_down(c);
        else
                c->closing = true;
        http_connection_wake(c);
}

void http_connection_cool(struct http_connection *c) {
        if (c->protocol && c->protocol->cool)
                c->protocol->cool(c);
}

/* A connection that never asked for anything is not worth as much patience as one that did. */
static msec_t idle_deadline(const struct http_connection *c) {
        const struct http_limits *l = &c->service->limits;
        if (c->exchange_count > 0 || c->closing || c->shut_down)
                return INT64_MAX;
        msec_t patience = c->used ? l->idle_ms : MIN(l->idle_ms, 3 * l->header_ms);
        if (!c->protocol && c->preface_seen > 0)
                patience = MIN(patience, l->header_ms);
        return c->idle_since + patience;
}

msec_t http_connection_deadline(struct http_connection *c) {
        c->soonest = INT64_MAX;
        msec_t at = idle_deadline(c);
        if (c->protocol)
                at = MIN(at, c->protocol->deadline(c));
        LIST_FOREACH (it, &c->exchanges)
                at = MIN(at, http_exchange_deadline(LIST_ENTRY(it, struct http_exchange, link)));
        return at;
}

void http_connection_expire(struct http_connection *c) {
        msec_t now = http_connection_now(c);
        LIST_FOREACH (it, &c->exchanges)
                http_exchange_expire(LIST_ENTRY(it, struct http_exchange, link), now);
        if (c->protocol && c->protocol->deadline(c) <= now)
                c->protocol->expire(c);
        if (idle_deadline(c) <= now)
                http_connection_shut_down(c);
        http_connection_wake(c);
}
