/* SPDX-License-Identifier: Apache-2.0 */
#include "server/events.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "codec/json.h"
#include "server/memory.h"

#define STREAM_PING_MS 15000
#define STREAM_FETCH 500                /* rows read at a time for a stream that is far behind */
#define EVENTS_LIST_MAX ((int64_t)5000) /* most that one list call gives */
#define EVENTS_PRUNE_EVERY 1000

struct record { /* one event in memory */
        int64_t seq;
        char *json; /* as the API shows it */
        char *type, *node, *rollout;
};

struct stream { /* one listener */
        struct list link;
        struct events *events;
        struct http_exchange *x; /* NULL: left */
        int64_t since;           /* sent up to here */
        char *node, *rollout;
        bool fetching; /* a query for it is under way; it must not be freed */
};

struct events {
        struct loop *loop;
        const struct clock *clock;
        struct db *db;
        struct turns *turns;
        struct record *ring[EVENTS_IN_MEMORY]; /* by seq modulo */
        int64_t newest, durable;
        struct list streams;
        struct loop_timer *ping;
        void (*watcher)(void *arg, const struct event *event, msec_t now);
        void *watcher_arg;
};

static struct record *record_free(struct record *r) {
        if (r) {
                free(r->json);
                free(r->type);
                free(r->node);
                free(r->rollout);
                free(r);
        }
        return NULL;
}

static json_t *event_json(int64_t seq, msec_t time, const char *const fields[7]) {
        static const char *const names[7] = {"type",    "message", "node", "fleet",
                                             "rollout", "source",  "actor"};
        char when[TIME_TEXT_SIZE];
        json_t *j = json_object_new();
        json_put(j, "seq", json_number(seq));
        json_put(j, "time", json_text(time_format(time, when)));
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (fields[i])
                        json_put(j, names[i], json_text(fields[i]));
        return j;
}

static void stream_free(struct stream *s) {
        list_remove(&s->link);
        free(s->node);
        free(s->rollout);
        free(s);
}

static void stream_closed(struct http_exchange *x, void *arg) {
        struct stream *s = arg;
        s->x = NULL;
        list_remove(&s->link);
        if (!s->fetching)
                stream_free(s);
}

static bool wanted(const char *filter, const char *value) {
        return !filter || str_eq(filter, value);
}

/* Writes one event; false: no room now. */
static bool stream_write(struct stream *s, int64_t seq, const char *type, const char *json) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        buf_printf(&text, "id: %" PRId64 "\nevent: %s\ndata: %s\n\n", seq, type, json);
        must_do(buf_failed(&text));
        return http_write(s->x, text.data, text.len) == 0;
}

static void stream_pump(struct stream *s);

static void stream_rows(void *arg, const struct db_rows *rows, const struct err *err) {
        struct stream *s = arg;
        s->fetching = false;
        if (!s->x) {
                stream_free(s);
                return;
        }
        if (err) {
                log_warning("events could not be read", "error", err_message(err), NULL);
                http_abort(s->x);
                return;
        }
        size_t n = db_rows_len(rows);
        for (size_t i = 0; i < n; i++) {
                const char *fields[7];
                for (size_t f = 0; f < 7; f++)
                        fields[f] = db_text(rows, i, 2 + f);
                int64_t seq = db_int(rows, i, 0);
                if (seq > s->events->durable)
                        break; /* comes by itself when it is told */
                json_t *j = event_json(seq, db_int(rows, i, 1), fields);
                _cleanup_(x_freep) char *json = must(json_encode_compact(j));
                json_decref(j);
                if (!stream_write(s, seq, fields[0], json))
                        return; /* goes on when there is room */
                s->since = seq;
        }
        if (n < STREAM_FETCH) {
                /* Nothing more for this filter up to what memory holds. */
                int64_t oldest = MAX(s->events->newest - EVENTS_IN_MEMORY, 0);
                s->since = MAX(s->since, oldest);
        }
        stream_pump(s);
}

static void stream_pump(struct stream *s) {
        struct events *e = s->events;
        if (!s->x || s->fetching)
                return;
        while (s->since < e->durable) {
                struct record *r = e->ring[(size_t)((s->since + 1) % EVENTS_IN_MEMORY)];
                if (!r || r->seq != s->since + 1) {
                        s->fetching = true;
                        int q = db_query(
                                e->db, stream_rows, s,
                                "SELECT seq, time, type, message, node, fleet, rollout, source, actor "
                                "FROM events WHERE seq > $1 AND ($2 IS NULL OR node = $2) "
                                "AND ($3 IS NULL OR rollout = $3) ORDER BY seq LIMIT $4",
                                "issi", s->since, s->node, s->rollout, (int64_t)STREAM_FETCH);
                        if (q < 0) {
                                s->fetching = false;
                                http_abort(s->x);
                        }
                        return;
                }
                if (wanted(s->node, r->node) && wanted(s->rollout, r->rollout) &&
                    !stream_write(s, r->seq, r->type, r->json))
                        return;
                s->since = r->seq;
        }
}

static void stream_drained(struct http_exchange *x, void *arg) {
        stream_pump(arg);
}

static void streams_ping(void *arg) {
        struct events *e = arg;
        LIST_FOREACH (it, &e->streams) {
                struct stream *s = LIST_ENTRY(it, struct stream, link);
                (void)http_write(s->x, ": ping\n\n", 8);
        }
        loop_timer_set(e->ping, STREAM_PING_MS);
}

void events_answer_stream(struct events *e, struct http_exchange *x, const struct event_filter *f) {
        http_set_header(x, "cache-control", "no-store");
        if (http_begin(x, 200, "text/event-stream") < 0)
                return;
        struct stream *s = NEW(struct stream);
        s->events = e;
        s->x = x;
        s->since = MIN(MAX(f->since, 0), e->durable);
        s->node = copy_text(f->node);
        s->rollout = copy_text(f->rollout);
        list_append(&e->streams, &s->link);
        http_on_close(x, stream_closed, s);
        http_on_drain(x, stream_drained, s);
        (void)http_write(x, ": connected\n\n", 13);
        stream_pump(s);
}

void events_end_streams(struct events *e) {
        LIST_FOREACH (it, &e->streams) {
                struct stream *s = LIST_ENTRY(it, struct stream, link);
                http_finish(s->x);
        }
}

/* ---- lists */

struct listing {
        struct events *events;
        struct http_exchange *x;
};

static void listing_closed(struct http_exchange *x, void *arg) {
        struct listing *l = arg;
        l->x = NULL;
}

static void listing_rows(void *arg, const struct db_rows *rows, const struct err *err) {
        struct listing *l = arg;
        struct http_exchange *x = TAKE_PTR(l->x);
        int64_t durable = l->events->durable;
        if (x)
                http_on_close(x, NULL, NULL);
        free(l);
        if (!x)
                return;
        if (err) {
                http_respond_error(x, 503, "unavailable", err_message(err));
                return;
        }
        json_t *items = json_array_new();
        for (size_t i = db_rows_len(rows); i-- > 0;) { /* the newest come first from the database */
                const char *fields[7];
                for (size_t f = 0; f < 7; f++)
                        fields[f] = db_text(rows, i, 2 + f);
                if (db_int(rows, i, 0) <= durable)
                        json_add(items, event_json(db_int(rows, i, 0), db_int(rows, i, 1), fields));
        }
        json_t *list = json_object_new();
        json_put(list, "kind", json_text("EventList"));
        json_put(list, "items", items);
        _cleanup_(x_freep) char *body = must(json_encode_compact(list));
        json_decref(list);
        http_respond(x, 200, "application/json", body, strlen(body));
}

void events_answer_list(struct events *e, struct http_exchange *x, const struct event_filter *f) {
        struct listing *l = NEW(struct listing);
        *l = (struct listing){e, x};
        http_on_close(x, listing_closed, l);
        /* Without `since` the newest are wanted; with it, those that follow. listing_rows() turns the order.
         */
        static const char newest[] =
                "SELECT seq, time, type, message, node, fleet, rollout, source, actor FROM events "
                "WHERE seq > $1 AND ($2 IS NULL OR node = $2) AND ($3 IS NULL OR rollout = $3) "
                "ORDER BY seq DESC LIMIT $4";
        static const char following[] =
                "SELECT * FROM (SELECT seq, time, type, message, node, fleet, rollout, source, actor "
                "FROM events WHERE seq > $1 AND ($2 IS NULL OR node = $2) AND ($3 IS NULL OR rollout = $3) "
                "ORDER BY seq LIMIT $4) AS following ORDER BY seq DESC";
        int r = db_query(e->db, listing_rows, l, f->since < 0 ? newest : following, "issi", MAX(f->since, 0),
                         f->node, f->rollout, MIN(f->limit > 0 ? f->limit : 200, EVENTS_LIST_MAX));
        if (r < 0) {
                http_on_close(x, NULL, NULL);
                free(l);
                http_respond_error(x, 503, "unavailable", "the event log cannot be read now");
        }
}

/* ---- writing */

static void event_durable(void *arg, int error) {
        struct events *e = arg;
        if (error == -ECANCELED)
                return;
        if (e->durable < e->newest)
                e->durable++;
        LIST_FOREACH (it, &e->streams)
                stream_pump(LIST_ENTRY(it, struct stream, link));
}

bool event_allowance_take(struct event_allowance *a, msec_t now, unsigned *ret_unsaid) {
        msec_t earned = (now - a->at) / EVENTS_EVERY_MS;
        if (a->at == 0 || earned >= EVENTS_AT_ONCE - a->left) {
                a->at = now;
                a->left = EVENTS_AT_ONCE;
        } else if (earned > 0) {
                a->at += earned * EVENTS_EVERY_MS;
                a->left += (int)earned;
        }
        if (a->left == 0) {
                a->unsaid++;
                return false;
        }
        a->left--;
        *ret_unsaid = a->unsaid;
        a->unsaid = 0;
        return true;
}

void events_watch(struct events *e, void (*fn)(void *arg, const struct event *event, msec_t now), void *arg) {
        e->watcher = fn;
        e->watcher_arg = arg;
}

void events_add(struct events *e, const struct event *event) {
        msec_t now = clock_wall_ms(e->clock);
        int64_t seq = ++e->newest;
        const char *fields[7] = {event->type,    event->message, event->node, event->fleet,
                                 event->rollout, event->source,  event->actor};
        json_t *j = event_json(seq, now, fields);
        struct record *r = NEW(struct record);
        r->seq = seq;
        r->json = must(json_encode_compact(j));
        r->type = copy_text(event->type);
        r->node = copy_text(event->node);
        r->rollout = copy_text(event->rollout);
        json_decref(j);
        struct record **slot = &e->ring[(size_t)(seq % EVENTS_IN_MEMORY)];
        record_free(*slot);
        *slot = r;
        turns_write(e->turns,
                    "INSERT INTO events (seq, time, type, message, node, fleet, rollout, source, actor) "
                    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                    "iisssssss", seq, (int64_t)now, event->type, event->message, event->node, event->fleet,
                    event->rollout, event->source, event->actor);
        if (seq % EVENTS_PRUNE_EVERY == 0)
                turns_write(e->turns, "DELETE FROM events WHERE seq <= $1", "i", seq - EVENTS_KEPT);
        turns_after(e->turns, event_durable, e);
        if (e->watcher)
                e->watcher(e->watcher_arg, event, now);
        /* Rollouts and sources speak for themselves. */
        if (event->node || (!event->rollout && !event->source))
                log_debug(event->message, "event", event->type, "node", event->node, "rollout",
                          event->rollout, NULL);
}

int64_t events_newest(const struct events *e) {
        return e->durable;
}

int events_open(struct loop *l, struct db *db, struct turns *turns, struct events **ret, struct err **err) {
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        int r = db_query_now(db, &rows, err, "SELECT MAX(seq) FROM events", "");
        if (r < 0)
                return r;
        struct events *e = NEW(struct events);
        e->loop = l;
        e->clock = loop_clock(l);
        e->db = db;
        e->turns = turns;
        e->newest = e->durable = db_rows_len(rows) ? db_int(rows, 0, 0) : 0;
        list_init(&e->streams);
        e->ping = must(loop_timer_new(l, streams_ping, e));
        loop_timer_set(e->ping, STREAM_PING_MS);
        *ret = e;
        return 0;
}

void events_stop(struct events *e) {
        e->ping = loop_timer_free(e->ping);
}

struct events *events_free(struct events *e) {
        if (!e)
                return NULL;
        LIST_FOREACH (it, &e->streams)
                stream_free(LIST_ENTRY(it, struct stream, link));
        for (size_t i = 0; i < EVENTS_IN_MEMORY; i++)
                record_free(e->ring[i]);
        free(e);
        return NULL;
}
