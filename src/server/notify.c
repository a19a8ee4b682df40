/* SPDX-License-Identifier: Apache-2.0 */
#include "server/notify.h"

#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/list.h"
#include "base/log.h"
#include "base/random.h"
#include "base/table.h"
#include "codec/json.h"
#include "net/backoff.h"
#include "net/http_client.h"
#include "net/tls.h"
#include "server/memory.h"
#include "server/notify_receiver.h"

#define FILE_MAX ((size_t)256 * 1024)
#define CA_MAX ((size_t)1 << 20)
#define TOKEN_MAX 4096
#define TIMEOUT_MS 30000
#define BASE_MS 1000
#define CAP_MS ((msec_t)5 * 60 * 1000)
#define RECENT_MAX 10000 /* events remembered, to tell each once */

struct item { /* what one receiver is still to be told */
        struct list link;
        char id[ID_SIZE];
        char *body; /* the event as JSON */
        char *lost; /* the node that may come back meanwhile, or NULL */
        msec_t created_at, not_before;
};

struct channel { /* to one receiver */
        struct control *control;
        const struct receiver *receiver;
        struct list queue;
        size_t waiting;
        struct item *sending; /* out of the queue */
        struct tls_config *tls;
        struct http_client *http;
        struct loop_timer *timer;
        struct prng random;
        struct backoff backoff;
        msec_t retry_at; /* monotonic; 0: at once */
        struct event_allowance allowance;
};

struct notify {
        struct receivers receivers;
        struct channel *channels;
        struct table *recent; /* receiver, type, about and message -> struct seen */
};

struct seen {
        msec_t at; /* monotonic */
};

static void channel_next(struct channel *ch);

static void item_free(struct item *i) {
        list_remove(&i->link);
        free(i->body);
        free(i->lost);
        free(i);
}

static void item_drop(struct channel *ch, struct item *i) {
        turns_write(ch->control->turns, "DELETE FROM notifications WHERE id = $1", "s", i->id);
        item_free(i);
}

static void queue_drop(struct channel *ch, struct item *i) {
        ch->waiting--;
        item_drop(ch, i);
}

/* ---- sending */

static void later(struct channel *ch, msec_t wait) {
        loop_timer_set(ch->timer, MAX(wait, (msec_t)1));
}

static void put_back(struct channel *ch, struct item *i) {
        list_append(ch->queue.next, &i->link); /* before the first: order is kept */
        ch->waiting++;
}

static void failed(struct channel *ch, msec_t at_least, const char *why) {
        struct item *i = TAKE_PTR(ch->sending);
        msec_t wait = backoff_next(&ch->backoff, &ch->random, MAX(at_least, (msec_t)0));
        if (ch->backoff.failures == 1)
                log_warning("a receiver cannot be told, trying again", "receiver", ch->receiver->name,
                            "error", why, NULL);
        put_back(ch, i);
        ch->retry_at = clock_mono_ms(ch->control->clock) + wait;
        later(ch, wait);
}

static void sent(void *arg, const struct http_result *r) {
        struct channel *ch = arg;
        char status[32];
        (void)snprintf(status, sizeof(status), "HTTP status %d", r->status);
        if (r->error == 0 && r->status >= 200 && r->status <= 299) {
                item_drop(ch, TAKE_PTR(ch->sending));
                backoff_reset(&ch->backoff);
        } else if (r->error == 0 && r->status >= 400 && r->status <= 499 && r->status != 408 &&
                   r->status != 429 && r->status != 401 && r->status != 403 && r->status != 404) {
                /* It will not take this one, however often it is asked. */
                log_warning("a receiver refused what it was told", "receiver", ch->receiver->name, "error",
                            status, NULL);
                item_drop(ch, TAKE_PTR(ch->sending));
                backoff_reset(&ch->backoff);
        } else {
                failed(ch, r->retry_after_ms, r->error ? r->message : status);
                return;
        }
        ch->retry_at = 0;
        later(ch, 1);
}

static int client_open(struct channel *ch, struct err **err) {
        _cleanup_(x_freep) char *bundle = NULL;
        size_t len = 0;
        if (ch->http)
                return 0;
        if (ch->receiver->ca_file) {
                int r = file_read(ch->receiver->ca_file, CA_MAX, &bundle, &len, err);
                if (r >= 0)
                        r = tls_client_new(&(struct tls_material){.bundle_pem = bundle, .check_host = true},
                                           &ch->tls, err);
                if (r < 0)
                        return r;
        }
        return http_client_new(ch->control->loop,
                               &(struct http_client_options){.tls = ch->tls, .stall_ms = TIMEOUT_MS},
                               &ch->http, err);
}

static int post(struct channel *ch, struct err **err) {
        _cleanup_(x_freep) char *url = notify_url(ch->receiver), *body = NULL, *token = NULL, *header = NULL;
        size_t len = 0;
        json_t *event = NULL;
        int r = json_decode(ch->sending->body, strlen(ch->sending->body), &event, err);
        if (r >= 0) {
                body = notify_body(ch->receiver, event);
                json_decref(event);
                r = client_open(ch, err);
        }
        if (r >= 0 && ch->receiver->token_file)
                r = file_read(ch->receiver->token_file, TOKEN_MAX, &token, &len, err);
        if (r < 0)
                return r;
        if (token) {
                token[strcspn(token, "\r\n")] = '\0';
                header = must(str_format("Authorization: Bearer %s", token));
                explicit_bzero(token, len);
        }
        const char *headers[] = {"Content-Type: application/json", header, NULL};
        r = http_client_send(ch->http,
                             &(struct http_request){.method = "POST",
                                                    .url = url,
                                                    .headers = headers,
                                                    .body = body,
                                                    .body_len = strlen(body),
                                                    .timeout_ms = TIMEOUT_MS,
                                                    .done = sent,
                                                    .arg = ch},
                             NULL, err);
        if (header)
                explicit_bzero(header, strlen(header));
        return r;
}

/* The first whose time has come; ret_wait: how long until one has. */
static struct item *due(struct channel *ch, msec_t *ret_wait) {
        msec_t now = control_now(ch->control), wait = -1;
        LIST_FOREACH (it, &ch->queue) {
                struct item *i = LIST_ENTRY(it, struct item, link);
                if (now - i->created_at > NOTIFY_KEPT_MS) {
                        queue_drop(ch, i);
                        continue;
                }
                if (i->not_before <= now)
                        return i;
                if (wait < 0 || i->not_before - now < wait)
                        wait = i->not_before - now;
        }
        *ret_wait = wait;
        return NULL;
}

static void channel_next(struct channel *ch) {
        _cleanup_(err_freep) struct err *err = NULL;
        msec_t wait = -1, left = ch->retry_at - clock_mono_ms(ch->control->clock);
        if (ch->sending)
                return;
        if (ch->retry_at && left > 0) {
                later(ch, left);
                return;
        }
        struct item *i = due(ch, &wait);
        if (!i) {
                if (wait >= 0) /* wall time may jump: look again at least each minute */
                        later(ch, MIN(wait, (msec_t)60000));
                return;
        }
        list_remove(&i->link);
        list_init(&i->link);
        ch->waiting--;
        ch->sending = i;
        if (post(ch, &err) < 0)
                failed(ch, 0, err_message(err));
}

static void on_timer(void *arg) {
        channel_next(arg);
}

/* ---- what happens */

static struct item *item_new(struct channel *ch, const char *id, const char *body, msec_t created_at,
                             msec_t not_before) {
        struct item *i = NEW(struct item);
        json_t *event = NULL;
        (void)snprintf(i->id, sizeof(i->id), "%s", id);
        i->body = copy_text(body);
        i->created_at = created_at;
        i->not_before = not_before;
        if (json_decode(body, strlen(body), &event, NULL) == 0 &&
            str_eq(json_string_value(json_object_get(event, "type")), "NodeDisconnected"))
                i->lost = copy_text(json_string_value(json_object_get(event, "node")));
        json_decref(event);
        list_append(&ch->queue, &i->link);
        ch->waiting++;
        return i;
}

static char *event_text(const struct event *e, msec_t now) {
        const char *const values[] = {e->type,    e->message, e->node, e->fleet,
                                      e->rollout, e->source,  e->actor};
        static const char *const names[] = {"type", "message", "node", "fleet", "rollout", "source", "actor"};
        json_t *j = json_object_new();
        char when[TIME_TEXT_SIZE];
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (values[i])
                        json_put(j, names[i], json_text(values[i]));
        json_put(j, "severity", json_text(notify_severity(e->type)));
        json_put(j, "time", json_text(time_format(now, when)));
        char *text = must(json_encode_compact(j));
        json_decref(j);
        return text;
}

/* Was the receiver told the same a moment ago? */
static bool is_repeated(struct notify *n, const struct channel *ch, const struct event *e) {
        msec_t now = clock_mono_ms(ch->control->clock);
        _cleanup_(x_freep) char *key =
                must(str_format("%s|%s|%s|%s|%s", ch->receiver->name, e->type, e->node ? e->node : "",
                                e->rollout ? e->rollout : "", e->message));
        struct seen *seen = table_get(n->recent, key);
        if (seen && now - seen->at < NOTIFY_SAME_MS)
                return true;
        if (table_len(n->recent) >= RECENT_MAX) {
                table_free(n->recent);
                n->recent = must(table_new(free));
        }
        seen = NEW(struct seen);
        seen->at = now;
        must_do(table_set(n->recent, key, seen));
        return false;
}

/* It came back before anybody was told that it went. */
static void forget_lost(struct channel *ch, const char *node) {
        LIST_FOREACH (it, &ch->queue) {
                struct item *i = LIST_ENTRY(it, struct item, link);
                if (str_eq(i->lost, node) && i->not_before > control_now(ch->control))
                        queue_drop(ch, i);
        }
}

static void tell(struct channel *ch, const struct event *e, msec_t now) {
        char id[ID_SIZE];
        unsigned unsaid = 0;
        bool may_return = str_eq(e->type, "NodeDisconnected");
        if (!event_allowance_take(&ch->allowance, clock_mono_ms(ch->control->clock), &unsaid))
                return;
        _cleanup_(x_freep) char *longer =
                unsaid ? must(str_format("%s (%u before this were left out)", e->message, unsaid)) : NULL;
        struct event whole = *e;
        if (longer)
                whole.message = longer;
        _cleanup_(x_freep) char *body = event_text(&whole, now);
        if (ch->waiting >= NOTIFY_QUEUE_MAX)
                queue_drop(ch, LIST_ENTRY(ch->queue.next, struct item, link));
        id_make(now, id);
        msec_t not_before = may_return ? now + ch->control->notify->receivers.node_lost_after : now;
        item_new(ch, id, body, now, not_before);
        turns_write(ch->control->turns,
                    "INSERT INTO notifications (id, receiver, body, created_at, not_before) "
                    "VALUES ($1, $2, $3, $4, $5)",
                    "sssii", id, ch->receiver->name, body, (int64_t)now, (int64_t)not_before);
        if (!ch->sending && !(ch->retry_at && ch->retry_at > clock_mono_ms(ch->control->clock)))
                later(ch, 1);
}

static void watch(void *arg, const struct event *e, msec_t now) {
        struct notify *n = arg;
        for (size_t i = 0; i < n->receivers.n; i++) {
                struct channel *ch = &n->channels[i];
                if (!ch->timer)
                        continue; /* the server ends */
                if (str_eq(e->type, "NodeConnected") && e->node)
                        forget_lost(ch, e->node);
                if (receiver_wants(ch->receiver, e->type) && !is_repeated(n, ch, e))
                        tell(ch, e, now);
        }
}

/* ---- the whole */

static struct channel *channel_of(struct notify *n, const char *receiver) {
        for (size_t i = 0; i < n->receivers.n; i++)
                if (str_eq(n->receivers.items[i].name, receiver))
                        return &n->channels[i];
        return NULL;
}

static int queue_load(struct control *c, struct notify *n, struct err **err) {
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        int r = db_query_now(
                c->db, &rows, err,
                "SELECT id, receiver, body, created_at, not_before FROM notifications ORDER BY id", "");
        for (size_t i = 0; r >= 0 && i < db_rows_len(rows); i++) {
                struct channel *ch = channel_of(n, db_text(rows, i, 1));
                if (ch)
                        item_new(ch, db_text(rows, i, 0), db_text(rows, i, 2), db_int(rows, i, 3),
                                 db_int(rows, i, 4));
                else /* there is no such receiver any more */
                        turns_write(c->turns, "DELETE FROM notifications WHERE id = $1", "s",
                                    db_text(rows, i, 0));
        }
        return r < 0 ? r : 0;
}

int notify_open(struct control *c, struct err **err) {
        _cleanup_(x_freep) char *text = NULL;
        size_t len = 0;
        if (!c->settings->notify)
                return 0;
        struct receivers receivers = {0};
        int r = file_read(c->settings->notify, FILE_MAX, &text, &len, err);
        if (r >= 0)
                r = receivers_parse(c->settings->notify, text, len, &receivers, err);
        if (r < 0)
                return r;
        struct notify *n = c->notify = NEW(struct notify);
        n->receivers = receivers;
        n->recent = must(table_new(free));
        n->channels = new0((receivers.n + 1) * sizeof(*n->channels));
        for (size_t i = 0; i < receivers.n; i++) {
                struct channel *ch = &n->channels[i];
                ch->control = c;
                ch->receiver = &n->receivers.items[i];
                list_init(&ch->queue);
                prng_seed_random(&ch->random);
                ch->backoff = (struct backoff)BACKOFF_INIT(BASE_MS, CAP_MS);
                ch->timer = must(loop_timer_new(c->loop, on_timer, ch));
                later(ch, 1);
        }
        r = queue_load(c, n, err);
        events_watch(c->events, watch, n);
        return r;
}

void notify_stop(struct control *c) {
        for (size_t i = 0; c->notify && i < c->notify->receivers.n; i++) {
                struct channel *ch = &c->notify->channels[i];
                ch->http = http_client_free(ch->http); /* cancels */
                ch->timer = loop_timer_free(ch->timer);
        }
}

struct notify *notify_free(struct notify *n) {
        for (size_t i = 0; n && i < n->receivers.n; i++) {
                struct channel *ch = &n->channels[i];
                LIST_FOREACH (it, &ch->queue)
                        item_free(LIST_ENTRY(it, struct item, link));
                if (ch->sending)
                        item_free(ch->sending);
                tls_config_free(ch->tls);
        }
        if (!n)
                return NULL;
        free(n->channels);
        receivers_done(&n->receivers);
        table_free(n->recent);
        free(n);
        return NULL;
}
