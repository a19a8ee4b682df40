/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http2.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "net/frame_pool.h"
#include "net/http_exchange.h"

/* An idle connection keeps two HPACK tables; these hold the fields that repeat, and little more. */
#define TABLE_IN_BYTES 1024
#define TABLE_OUT_BYTES 512
#define STREAM_WINDOW (256 * 1024)
#define CONNECTION_WINDOW (1024 * 1024)
/* Header fields a peer may make us decode (not keep) in one request before it is thrown out. */
#define HEADER_ABUSE_FACTOR 4
#define CONTINUATIONS_MAX 16

/* What a peer may do often, but not without end: so many at once, so many a second. Streams that end in
 * RST_STREAM, by either side, are the "rapid reset" attack (CVE-2023-44487) or its mirror image; PING,
 * SETTINGS, PRIORITY and empty DATA are the floods of CVE-2019-9512, -9515, -9513 and -9518. */
struct allowance {
        msec_t at;
        int32_t left;
};
#define RESETS_AT_ONCE 200
#define RESETS_A_SECOND 20
#define CONTROLS_AT_ONCE 200
#define CONTROLS_A_SECOND 20

struct http2 {
        struct http_connection *connection;
        nghttp2_session *session;
        const uint8_t *pending; /* nghttp2's: a frame of which a part is still to be produced */
        size_t pending_len;
        void *frame_buffer;
        struct list blocks;    /* all other memory of the session */
        bool starved;          /* an allocation failed: hands off the session */
        struct http_head head; /* the request whose head is being read, if head_stream */
        int32_t head_stream;
        size_t decoded; /* bytes of fields in this header block, kept or not */
        bool head_too_large;
        uint16_t continuations;
        msec_t head_since, going_since; /* 0: no head is being read; not going */
        struct allowance resets, controls;
        uint32_t answered; /* streams that came to their end, each of which may be reset once more */
};

struct http2_shared {
        nghttp2_session_callbacks *callbacks;
        nghttp2_option *option;
        nghttp2_settings_entry settings[5];
};

static struct http2 *http2_of(const struct http_connection *c) {
        return c->state;
}

static bool allowance_take(struct allowance *a, msec_t now, int32_t at_once, int32_t a_second) {
        msec_t earned = (now - a->at) * a_second / 1000;
        if (a->at == 0 || earned >= at_once - a->left) {
                a->at = now;
                a->left = at_once;
        } else if (earned > 0) {
                a->at = now;
                a->left += (int32_t)earned;
        }
        return a->left-- > 0;
}

static void calm_down(struct http2 *h) {
        if (!h->starved)
                (void)nghttp2_session_terminate_session(h->session, NGHTTP2_ENHANCE_YOUR_CALM);
}

static void count_reset(struct http2 *h) {
        msec_t now = http_connection_now(h->connection);
        if (!allowance_take(&h->resets, now, RESETS_AT_ONCE, RESETS_A_SECOND))
                calm_down(h);
}

static void count_control(struct http2 *h) {
        msec_t now = http_connection_now(h->connection);
        if (!allowance_take(&h->controls, now, CONTROLS_AT_ONCE, CONTROLS_A_SECOND))
                calm_down(h);
}

/* ---- memory
 *
 * All that nghttp2 allocates for a session hangs in a list. When memory runs out some paths of nghttp2 1.52
 * leave pointers to what they freed (a response's data whose stream could not be queued, for one), so from
 * the first failure on the session is not touched any more, not even to delete it: the list is freed instead.
 */

struct block {
        struct list link;
        _Alignas(max_align_t) unsigned char bytes[];
};

static struct block *block_of(void *p) {
        /* The analyzer does not see that a removed link is no longer in the list. */
        return CONTAINER_OF(p, struct block, bytes); /* NOLINT(clang-analyzer-unix.Malloc) */
}

static void *keep(struct http2 *h, struct block *b) {
        if (!b) {
                h->starved = true;
                h->connection->failed = true;
                return NULL;
        }
        list_append(&h->blocks, &b->link);
        return b->bytes;
}

static void *allocate(size_t size, void *arg) {
        struct http2 *h = arg;
        if (!h->frame_buffer && frame_pool_serves(size)) {
                h->frame_buffer = frame_pool_take(h->connection->service->frames);
                if (h->frame_buffer)
                        return h->frame_buffer;
        }
        return keep(h, size <= SIZE_MAX / 2 ? malloc(sizeof(struct block) + size) : NULL);
}

static void *allocate_zeroed(size_t n, size_t size, void *arg) {
        size_t bytes;
        if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX / 2)
                return NULL;
        return keep(arg, calloc(1, sizeof(struct block) + bytes));
}

static void release(void *p, void *arg) {
        struct http2 *h = arg;
        if (!p)
                return;
        if (p == h->frame_buffer) {
                frame_pool_put(h->connection->service->frames, p);
                h->frame_buffer = NULL;
                return;
        }
        list_remove(&block_of(p)->link);
        free(block_of(p));
}

static void *reallocate(void *p, size_t size, void *arg) {
        struct http2 *h = arg;
        if (!p)
                return allocate(size, arg);
        if (p == h->frame_buffer) { /* does not happen with today's nghttp2 */
                void *moved = keep(h, malloc(sizeof(struct block) + MAX(size, (size_t)FRAME_BUFFER_BYTES)));
                if (moved) {
                        memcpy(moved, p, FRAME_BUFFER_BYTES);
                        release(p, arg);
                }
                return moved;
        }
        struct block *old = block_of(p);
        list_remove(&old->link);
        struct block *b = size <= SIZE_MAX / 2 ? realloc(old, sizeof(struct block) + size) : NULL;
        if (!b)
                list_append(&h->blocks, &old->link);
        return keep(h, b);
}

static void abandon_session(struct http2 *h) {
        if (h->frame_buffer)
                release(h->frame_buffer, h);
        while (!list_is_empty(&h->blocks))
                release(LIST_ENTRY(h->blocks.next, struct block, link)->bytes, h);
}

/* ---- requests */

static void forget_head(struct http2 *h) {
        buf_done(&h->head.text);
        h->head = (struct http_head){.text = BUF_INIT};
        h->head_stream = 0;
        h->head_too_large = false;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg) {
        struct http2 *h = arg;
        struct http_connection *c = h->connection;
        forget_head(h);
        h->decoded = 0;
        h->continuations = 0;
        h->head_since = http_connection_now(c);
        http_connection_expect(c, c->service->limits.header_ms);
        if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
                return 0; /* a trailer: decoded, not kept */
        if (c->exchange_count >= c->service->limits.streams)
                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        h->head_stream = frame->hd.stream_id;
        return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *arg) {
        struct http2 *h = arg;
        size_t limit = h->connection->service->limits.header_bytes;
        h->decoded += name_len + value_len + 32;
        if (h->decoded > limit * HEADER_ABUSE_FACTOR)
                return NGHTTP2_ERR_CALLBACK_FAILURE;
        if (h->head_stream != frame->hd.stream_id)
                return 0;
        if (h->decoded > limit) {
                /* Enough is kept to answer: the pseudo fields come first. */
                h->head_too_large = true;
                return 0;
        }
        return http_head_add(&h->head, (const char *)name, name_len, (const char *)value, value_len) < 0
                       ? NGHTTP2_ERR_CALLBACK_FAILURE
                       : 0;
}

static uint64_t promised_length(const struct http_exchange *x) {
        const char *text = http_header(x, "content-length");
        uint64_t n = HTTP_LENGTH_UNKNOWN;
        for (const char *p = text; p && *p >= '0' && *p <= '9'; p++)
                n = n == HTTP_LENGTH_UNKNOWN ? (uint64_t)(*p - '0') : n * 10 + (uint64_t)(*p - '0');
        return n; /* nghttp2 has checked form and size, and holds the body against it */
}

static int on_request(struct http2 *h, const nghttp2_frame *frame) {
        struct http_connection *c = h->connection;
        struct http_exchange *x = NULL;
        int refusal = h->head_too_large ? 431 : 0;
        int r = http_exchange_new(c, &h->head, &x);
        forget_head(h);
        if (r == -EPROTO) {
                (void)nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                                NGHTTP2_REFUSED_STREAM);
                return 0;
        }
        if (r < 0)
                return NGHTTP2_ERR_CALLBACK_FAILURE;
        x->stream = frame->hd.stream_id;
        if (nghttp2_session_set_stream_user_data(h->session, x->stream, x) < 0) {
                http_exchange_end(x);
                return 0;
        }
        x->body_ended = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
        x->body_length = x->body_ended ? 0 : promised_length(x);
        const char *expect = http_header(x, "expect");
        if (expect && strcasecmp(expect, "100-continue") != 0)
                refusal = refusal ? refusal : 417;
        x->expects_continue = expect && !x->body_ended;
        http_exchange_start(x, refusal);
        return 0;
}

static struct http_exchange *exchange_of(nghttp2_session *session, int32_t stream) {
        return stream ? nghttp2_session_get_stream_user_data(session, stream) : NULL;
}

/* Every frame passes here, those too that nghttp2 ignores. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *arg) {
        struct http2 *h = arg;
        switch (hd->type) {
        case NGHTTP2_HEADERS:
        case NGHTTP2_WINDOW_UPDATE: break;
        case NGHTTP2_DATA:
                if (hd->length == 0 && !(hd->flags & NGHTTP2_FLAG_END_STREAM))
                        count_control(h);
                break;
        case NGHTTP2_PING:
        case NGHTTP2_SETTINGS:
                if (!(hd->flags & NGHTTP2_FLAG_ACK))
                        count_control(h);
                break;
        case NGHTTP2_RST_STREAM:
                /* libcurl 7.88 resets every stream on which it sent a body, after the whole of the answer:
                 * that undoes no work, and a relay that has much to say must not be cut off for it. */
                if (h->answered > 0 && !exchange_of(session, hd->stream_id))
                        h->answered--;
                else
                        count_reset(h);
                break;
        case NGHTTP2_CONTINUATION:
                if (++h->continuations > CONTINUATIONS_MAX)
                        return NGHTTP2_ERR_CALLBACK_FAILURE;
                break;
        default: count_control(h);
        }
        return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg) {
        struct http2 *h = arg;
        struct http_exchange *x = NULL;
        switch (frame->hd.type) {
        case NGHTTP2_HEADERS:
                h->head_since = 0;
                if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
                        if (h->head_stream == frame->hd.stream_id)
                                return on_request(h, frame);
                        return 0;
                }
                x = exchange_of(session, frame->hd.stream_id);
                break;
        case NGHTTP2_DATA: x = exchange_of(session, frame->hd.stream_id); break;
        case NGHTTP2_PING:
                /* The answer to ours: what was under way when the first GOAWAY left has arrived by now. */
                if ((frame->hd.flags & NGHTTP2_FLAG_ACK) && h->going_since)
                        (void)nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE,
                                                    nghttp2_session_get_last_proc_stream_id(session),
                                                    NGHTTP2_NO_ERROR, NULL, 0);
                return 0;
        default: return 0;
        }
        if (x && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
                http_exchange_body_end(x);
        return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *p, size_t n,
                   void *arg) {
        struct http_exchange *x = exchange_of(session, stream);
        /* The windows of the streams hold back what is not wanted yet; that of the connection stays open, so
         * that one paused body does not stop the others. */
        (void)nghttp2_session_consume_connection(session, n);
        if (x)
                http_exchange_body(x, (const char *)p, n);
        return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t error, void *arg) {
        struct http2 *h = arg;
        struct http_exchange *x = exchange_of(session, stream);
        if (h->head_stream == stream)
                forget_head(h);
        if (x) {
                (void)nghttp2_session_set_stream_user_data(session, stream, NULL);
                if (error == NGHTTP2_NO_ERROR && h->answered < RESETS_AT_ONCE)
                        h->answered++;
                http_exchange_end(x);
        }
        return 0;
}

/* ---- responses */

static nghttp2_nv field(const char *name, const char *value, uint8_t flags) {
        return (nghttp2_nv){.name = (uint8_t *)name,
                            .value = (uint8_t *)value,
                            .namelen = strlen(name),
                            .valuelen = strlen(value),
                            .flags = flags};
}

static ssize_t on_source(nghttp2_session *session, int32_t stream, uint8_t *out, size_t size,
                         uint32_t *data_flags, nghttp2_data_source *source, void *arg) {
        struct http_exchange *x = source->ptr;
        size_t n = MIN(http_queue_len(&x->out), size);
        if (n > 0) {
                memcpy(out, http_queue_front(&x->out), n);
                http_exchange_sent(x, n);
        }
        if (http_queue_len(&x->out) == 0 && x->response >= RESPONSE_FINISHED) {
                *data_flags |= NGHTTP2_DATA_FLAG_EOF;
        } else if (n == 0) {
                x->deferred = true;
                return NGHTTP2_ERR_DEFERRED;
        }
        return (ssize_t)n;
}

static void http2_respond(struct http_exchange *x) {
        struct http2 *h = http2_of(x->connection);
        if (h->starved)
                return;
        nghttp2_nv nv[HTTP_RESPONSE_FIELDS_MAX + 3];
        size_t n = 0;
        char status[8], length[24];
        (void)snprintf(status, sizeof(status), "%d", x->status);
        nv[n++] = field(":status", status, NGHTTP2_NV_FLAG_NONE);
        /* What differs every time would only push other things out of the table. */
        nv[n++] = field("date", http_service_date(x->connection->service), NGHTTP2_NV_FLAG_NO_INDEX);
        if (x->response_length != HTTP_LENGTH_UNKNOWN && x->status != 204 && x->status != 304) {
                (void)snprintf(length, sizeof(length), "%llu", (unsigned long long)x->response_length);
                nv[n++] = field("content-length", length, NGHTTP2_NV_FLAG_NO_INDEX);
        }
        const char *at = x->response_fields.data, *end = at ? at + x->response_fields.len : NULL, *name,
                   *value;
        while (at && http_field_next(&at, end, &name, &value))
                nv[n++] = field(name, value,
                                strcmp(name, "etag") == 0 ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE);
        const nghttp2_data_provider source = {.source.ptr = x, .read_callback = on_source};
        bool empty = !http_exchange_has_content(x) ||
                     (x->response == RESPONSE_FINISHED && http_queue_len(&x->out) == 0);
        if (nghttp2_submit_response(h->session, x->stream, nv, n, empty ? NULL : &source) < 0)
                x->connection->failed = true;
        http_connection_wake(x->connection);
}

static void http2_written(struct http_exchange *x) {
        struct http2 *h = http2_of(x->connection);
        if (x->deferred && !h->starved) {
                x->deferred = false;
                (void)nghttp2_session_resume_data(h->session, x->stream);
        }
        http_connection_wake(x->connection);
}

static void http2_send_continue(struct http_exchange *x) {
        const nghttp2_nv nv = field(":status", "100", NGHTTP2_NV_FLAG_NONE);
        struct http2 *h = http2_of(x->connection);
        if (!h->starved)
                (void)nghttp2_submit_headers(h->session, NGHTTP2_FLAG_NONE, x->stream, NULL, &nv, 1, NULL);
        http_connection_wake(x->connection);
}

static void http2_consumed(struct http_exchange *x, size_t n) {
        struct http2 *h = http2_of(x->connection);
        if (x->ended || h->starved)
                return;
        (void)nghttp2_session_consume_stream(h->session, x->stream, n);
        http_connection_wake(x->connection);
}

static void http2_body_wanted(struct http_exchange *x) {
}

static void http2_abort(struct http_exchange *x) {
        uint32_t reason = x->response == RESPONSE_NONE   ? NGHTTP2_INTERNAL_ERROR
                          : x->response == RESPONSE_SENT ? NGHTTP2_NO_ERROR
                                                         : NGHTTP2_CANCEL;
        struct http2 *h = http2_of(x->connection);
        if (!h->starved)
                (void)nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, x->stream, reason);
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg) {
        struct http2 *h = arg;
        if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR) {
                struct http_exchange *x = exchange_of(session, frame->hd.stream_id);
                if (!x || !x->aborted)
                        count_reset(h);
        }
        if ((frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) ||
            !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
                return 0;
        struct http_exchange *x = exchange_of(session, frame->hd.stream_id);
        if (!x)
                return 0;
        /* What still comes of the request is dropped up to a limit; a peer that insists is reset a little
         * later (RFC 9113 section 8.1). At once would be allowed, but some clients then lose the answer. */
        x->response = RESPONSE_SENT;
        if (!x->body_ended)
                http_connection_expect(h->connection, HTTP_REST_MS);
        return 0;
}

/* ---- the connection */

static int http2_open(struct http_connection *c) {
        struct http2 *h = calloc(1, sizeof(*h));
        if (!h)
                return -ENOMEM;
        h->connection = c;
        list_init(&h->blocks);
        const struct http2_shared *shared = c->service->http2;
        nghttp2_mem memory = {.mem_user_data = h,
                              .malloc = allocate,
                              .free = release,
                              .calloc = allocate_zeroed,
                              .realloc = reallocate};
        if (nghttp2_session_server_new3(&h->session, shared->callbacks, h, shared->option, &memory) < 0 ||
            nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, shared->settings,
                                    ARRAY_SIZE(shared->settings)) < 0 ||
            nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW) < 0) {
                abandon_session(h);
                free(h);
                return -ENOMEM;
        }
        c->state = h;
        return 0;
}

static void http2_close(struct http_connection *c) {
        struct http2 *h = http2_of(c);
        if (h->starved)
                abandon_session(h);
        else
                nghttp2_session_del(h->session);
        buf_done(&h->head.text);
        free(h);
        c->state = NULL;
}

static void close_when_done(struct http2 *h) {
        /* nghttp2 wants nothing more once a last GOAWAY was sent or received and no stream is open. */
        if (h->pending_len == 0 && !nghttp2_session_want_read(h->session) &&
            !nghttp2_session_want_write(h->session))
                h->connection->closing = h->connection->linger = true;
}

static int http2_feed(struct http_connection *c, const char *p, size_t n) {
        struct http2 *h = http2_of(c);
        if (h->starved)
                return -ENOMEM;
        ssize_t r = nghttp2_session_mem_recv(h->session, (const uint8_t *)p, n);
        if (r < 0)
                return r == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EPROTO;
        http_connection_wake(c);
        return 0;
}

static size_t http2_produce(struct http_connection *c, char *out, size_t size) {
        struct http2 *h = http2_of(c);
        size_t n = 0;
        while (n < size && !h->starved) {
                if (h->pending_len == 0) {
                        ssize_t r = nghttp2_session_mem_send(h->session, &h->pending);
                        if (r < 0) {
                                c->failed = true;
                                break;
                        }
                        if (r == 0)
                                break;
                        h->pending_len = (size_t)r;
                }
                size_t part = MIN(h->pending_len, size - n);
                memcpy(out + n, h->pending, part);
                h->pending += part;
                h->pending_len -= part;
                n += part;
        }
        if (!h->starved)
                close_when_done(h);
        return n;
}

static bool http2_wants_read(const struct http_connection *c) {
        return !http2_of(c)->starved && nghttp2_session_want_read(http2_of(c)->session) != 0;
}

static void http2_end_of_input(struct http_connection *c) {
        c->failed = true;
}

/* RFC 9113 section 6.8: first a GOAWAY that promises to serve what is on its way, then, after a round trip,
 * the one that names the last stream. */
static void http2_shut_down(struct http_connection *c) {
        struct http2 *h = http2_of(c);
        if (h->going_since || h->starved)
                return;
        h->going_since = http_connection_now(c);
        http_connection_expect(c, c->service->limits.header_ms);
        if (nghttp2_submit_shutdown_notice(h->session) < 0 ||
            nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, NULL) < 0)
                c->failed = true;
}

static void http2_turn_out(struct http_connection *c, const char *reason) {
        struct http2 *h = http2_of(c);
        if (!h->starved)
                (void)nghttp2_submit_goaway(
                        h->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h->session),
                        NGHTTP2_ENHANCE_YOUR_CALM, (const uint8_t *)reason, strlen(reason));
}

static void http2_cool(struct http_connection *c) {
        struct http2 *h = http2_of(c);
        if (h->frame_buffer && !h->starved && h->pending_len == 0 && !nghttp2_session_want_write(h->session))
                frame_pool_release(h->frame_buffer);
}

static msec_t http2_deadline(const struct http_connection *c) {
        const struct http2 *h = http2_of(c);
        msec_t patience = c->service->limits.header_ms;
        msec_t at = h->head_since ? h->head_since + patience : INT64_MAX;
        if (h->going_since && c->exchange_count == 0)
                at = MIN(at, MAX(h->going_since, c->idle_since) + patience);
        return at;
}

static void http2_expire(struct http_connection *c) {
        /* A header block that does not end holds up all other streams; or our GOAWAY is not answered. */
        c->failed = true;
}

const struct http_protocol http2_protocol = {
        .open = http2_open,
        .close = http2_close,
        .feed = http2_feed,
        .produce = http2_produce,
        .wants_read = http2_wants_read,
        .end_of_input = http2_end_of_input,
        .shut_down = http2_shut_down,
        .turn_out = http2_turn_out,
        .cool = http2_cool,
        .deadline = http2_deadline,
        .expire = http2_expire,
        .respond = http2_respond,
        .written = http2_written,
        .send_continue = http2_send_continue,
        .consumed = http2_consumed,
        .body_wanted = http2_body_wanted,
        .abort = http2_abort,
};

/* ---- shared */

struct http2_shared *http2_shared_new(const struct http_limits *limits) {
        struct http2_shared *s = calloc(1, sizeof(*s));
        if (!s)
                return NULL;
        if (nghttp2_session_callbacks_new(&s->callbacks) < 0 || nghttp2_option_new(&s->option) < 0)
                return http2_shared_free(s);
        nghttp2_session_callbacks_set_on_begin_headers_callback(s->callbacks, on_begin_headers);
        nghttp2_session_callbacks_set_on_header_callback(s->callbacks, on_header);
        nghttp2_session_callbacks_set_on_begin_frame_callback(s->callbacks, on_begin_frame);
        nghttp2_session_callbacks_set_on_frame_recv_callback(s->callbacks, on_frame);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(s->callbacks, on_data);
        nghttp2_session_callbacks_set_on_stream_close_callback(s->callbacks, on_stream_close);
        nghttp2_session_callbacks_set_on_frame_send_callback(s->callbacks, on_frame_sent);
        nghttp2_option_set_no_auto_window_update(s->option, 1);
        nghttp2_option_set_no_closed_streams(s->option, 1);
        nghttp2_option_set_max_deflate_dynamic_table_size(s->option, TABLE_OUT_BYTES);
        nghttp2_option_set_max_outbound_ack(s->option, 100);
        nghttp2_option_set_max_settings(s->option, 16);
        size_t n = 0;
        s->settings[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits->streams};
        s->settings[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW};
        s->settings[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, TABLE_IN_BYTES};
        s->settings[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
                                                    (uint32_t)MIN(limits->header_bytes, (size_t)UINT32_MAX)};
        s->settings[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1};
        return s;
}

struct http2_shared *http2_shared_free(struct http2_shared *s) {
        if (!s)
                return NULL;
        nghttp2_session_callbacks_del(s->callbacks);
        nghttp2_option_del(s->option);
        free(s);
        return NULL;
}
