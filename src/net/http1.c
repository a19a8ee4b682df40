/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 (RFC 9112), one exchange after the other. The head is parsed by http-parser once it is whole and
 * was checked for what lets a proxy and us read two different requests (request smuggling): lone CR or LF,
 * folded lines, blanks in names, Content-Length beside Transfer-Encoding or twice. Bodies are taken apart
 * here, by the letter of the grammar. */
#include <errno.h>
#include <http_parser.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "net/http_exchange.h"

#define CHUNK_LINE_MAX 256 /* size and extensions */
#define EMPTY_LINES_MAX 8  /* before a request line */
#define CHUNK_OVERHEAD 16  /* of the chunks we write: size, two line ends */
#define BODY_MAX ((uint64_t)1 << 53)

enum input_state {
        INPUT_HEAD,
        INPUT_BODY,       /* `remaining` bytes */
        INPUT_CHUNK_SIZE, /* a line */
        INPUT_CHUNK,      /* `remaining` bytes of data */
        INPUT_CHUNK_END,  /* the line end behind them */
        INPUT_TRAILER,    /* lines up to an empty one */
        INPUT_WAIT,       /* the request is complete, its answer is not */
        INPUT_STOPPED     /* nothing more is read */
};

struct http1 {
        struct buf input;  /* what could not be used yet */
        struct buf output; /* heads of answers, chunk ends */
        struct http_exchange *current;
        enum input_state state;
        uint64_t remaining;
        size_t scanned; /* of the input, for the end of the head */
        size_t trailer_bytes;
        uint8_t empty_lines;
        bool keep_alive, chunked, ended; /* of the current answer; ended: its last chunk is in the output */
        bool old;                        /* HTTP/1.0 */
        msec_t head_since;
};

static struct http1 *http1_of(const struct http_connection *c) {
        return c->state;
}

/* ---- answers without an exchange, for what is no request */

static void stop_reading(struct http_connection *c) {
        http1_of(c)->state = INPUT_STOPPED;
        buf_done(&http1_of(c)->input);
        http1_of(c)->input = (struct buf)BUF_INIT;
}

static void refuse_bytes(struct http_connection *c, int status, const char *code, const char *message) {
        struct http1 *h = http1_of(c);
        char body[256];
        int n = snprintf(body, sizeof(body), "{\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}\n", code,
                         message);
        (void)buf_printf(&h->output,
                         "HTTP/1.1 %d %s\r\ndate: %s\r\ncontent-type: application/json\r\n"
                         "content-length: %d\r\nconnection: close\r\n\r\n%s",
                         status, http_status_str((enum http_status)status), http_service_date(c->service), n,
                         body);
        stop_reading(c);
        h->head_since = 0;
        c->linger = c->closing = true;
        http_connection_wake(c);
}

/* ---- the head */

/* How a head's text must look whatever it says: every line ends in CRLF, no line is folded, no NUL. */
static bool head_is_clean(const char *p, size_t n) {
        for (size_t i = 0; i < n; i++) {
                if (p[i] == '\0')
                        return false;
                if (p[i] == '\n' && (i == 0 || p[i - 1] != '\r'))
                        return false;
                if (p[i] == '\r' && (i + 1 == n || p[i + 1] != '\n'))
                        return false;
                if (p[i] == '\n' && i + 1 < n && (p[i + 1] == ' ' || p[i + 1] == '\t'))
                        return false;
        }
        return true;
}

struct head_reader {
        struct http_head head;
        const char *name; /* of the field whose value comes next */
        size_t name_len;
        int refusal; /* status, 0: fine */
        unsigned hosts, lengths, encodings;
        uint64_t length;
        bool chunked, keep_alive, expects, expects_other;
};

static int on_url(http_parser *parser, const char *p, size_t n) {
        struct head_reader *r = parser->data;
        const char *method = http_method_str((enum http_method)parser->method);
        struct http_parser_url url;
        /* "GET http://host/path" is for proxies, but servers must take it (RFC 9112 section 3.2.2). */
        if (n > 0 && p[0] != '/' && p[0] != '*') {
                http_parser_url_init(&url);
                if (http_parser_parse_url(p, n, parser->method == HTTP_CONNECT, &url) != 0)
                        return -1;
                size_t skip = url.field_set & (1 << UF_PATH) ? url.field_data[UF_PATH].off : n;
                p += skip;
                n -= skip;
        }
        if (http_head_add(&r->head, ":method", 7, method, strlen(method)) < 0)
                return -1;
        return http_head_add(&r->head, ":path", 5, n ? p : "/", n ? n : 1) < 0 ? -1 : 0;
}

static int on_field(http_parser *parser, const char *p, size_t n) {
        struct head_reader *r = parser->data;
        /* http-parser lets blanks stand in names, which hides "Content-Length : 5" from some and not others.
         */
        if (n == 0 || memchr(p, ' ', n))
                return -1;
        r->name = p;
        r->name_len = n;
        return 0;
}

static bool name_is(const struct head_reader *r, const char *name) {
        return r->name_len == strlen(name) && strncasecmp(r->name, name, r->name_len) == 0;
}

static int on_value(http_parser *parser, const char *p, size_t n) {
        struct head_reader *r = parser->data;
        while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t'))
                n--;
        if (!r->name)
                return -1;
        if (name_is(r, "host"))
                r->hosts++;
        else if (name_is(r, "content-length")) {
                char digits[24];
                r->lengths++;
                if (n >= sizeof(digits))
                        return -1;
                memcpy(digits, p, n);
                digits[n] = '\0';
                if (str_to_u64(digits, &r->length) < 0 || r->length > BODY_MAX)
                        return -1;
        } else if (name_is(r, "transfer-encoding")) {
                r->encodings++;
                r->chunked = n == 7 && strncasecmp(p, "chunked", 7) == 0;
        } else if (name_is(r, "expect")) {
                r->expects = n == 12 && strncasecmp(p, "100-continue", 12) == 0;
                r->expects_other = !r->expects;
        }
        int result = http_head_add(&r->head, r->name, r->name_len, p, n) < 0 ? -1 : 0;
        r->name = NULL;
        return result;
}

static int on_headers_complete(http_parser *parser) {
        struct head_reader *r = parser->data;
        r->keep_alive = http_should_keep_alive(parser) != 0;
        return 1; /* its body is none of the parser's business */
}

static bool read_head(struct head_reader *r, http_parser *parser, const char *p, size_t n) {
        static const http_parser_settings settings = {
                .on_url = on_url,
                .on_header_field = on_field,
                .on_header_value = on_value,
                .on_headers_complete = on_headers_complete,
        };
        http_parser_init(parser, HTTP_REQUEST);
        parser->data = r;
        size_t used = http_parser_execute(parser, &settings, p, n);
        if (HTTP_PARSER_ERRNO(parser) != HPE_OK || used != n || parser->method == HTTP_CONNECT)
                return false;
        bool old = parser->http_major == 1 && parser->http_minor == 0;
        if (parser->http_major > 1)
                r->refusal = 505;
        else if (parser->http_major == 0 || r->hosts > 1 || (r->hosts == 0 && !old) || r->lengths > 1 ||
                 r->encodings > 1 || (r->encodings && (r->lengths || old || !r->chunked)))
                return false;
        return true;
}

static void begin_exchange(struct http_connection *c, const char *p, size_t n) {
        struct http1 *h = http1_of(c);
        struct head_reader r = {.head = {.text = BUF_INIT}};
        http_parser parser;
        struct http_exchange *x = NULL;
        bool good = head_is_clean(p, n) && read_head(&r, &parser, p, n) && r.refusal == 0;
        int error = good ? http_exchange_new(c, &r.head, &x) : -EPROTO;
        buf_done(&r.head.text);
        h->head_since = 0;
        if (error == -ENOMEM) {
                c->failed = true;
                return;
        }
        if (error < 0) {
                if (r.refusal == 505)
                        refuse_bytes(c, 505, "http_version", "this server speaks HTTP/1.1 and HTTP/2");
                else
                        refuse_bytes(c, 400, "bad_request", "the request is malformed");
                return;
        }
        h->current = x;
        h->old = parser.http_minor == 0;
        h->keep_alive = r.keep_alive && !c->shut_down;
        h->chunked = h->ended = false;
        h->trailer_bytes = 0;
        h->remaining = r.lengths ? r.length : 0;
        x->body_ended = !r.chunked && h->remaining == 0;
        x->body_length = r.chunked ? HTTP_LENGTH_UNKNOWN : h->remaining;
        x->expects_continue = r.expects && !x->body_ended && !h->old;
        h->state = x->body_ended ? INPUT_WAIT : r.chunked ? INPUT_CHUNK_SIZE : INPUT_BODY;
        http_exchange_start(x, r.expects_other ? 417 : 0);
}

/* ---- input */

static void body_broken(struct http_connection *c) {
        struct http1 *h = http1_of(c);
        stop_reading(c);
        h->keep_alive = false;
        c->linger = true;
        if (h->current)
                http_exchange_body_broken(h->current);
}

static void body_done(struct http1 *h) {
        h->state = INPUT_WAIT;
        http_exchange_body_end(h->current);
}

/* Each reader takes what it can and says how much; 0: it needs more bytes, or the state changed. */

static size_t take_head(struct http_connection *c, const char *p, size_t n) {
        struct http1 *h = http1_of(c);
        size_t limit = c->service->limits.header_bytes;
        if (n >= 2 && p[0] == '\r' && p[1] == '\n' && h->empty_lines < EMPTY_LINES_MAX) {
                h->empty_lines++;
                h->scanned = 0;
                return 2; /* left over by careless clients (RFC 9112 section 2.2) */
        }
        if (!h->head_since) {
                h->head_since = http_connection_now(c);
                http_connection_expect(c, c->service->limits.header_ms);
        }
        size_t from = h->scanned > 3 ? h->scanned - 3 : 0;
        const char *end = n > from ? memmem(p + from, n - from, "\r\n\r\n", 4) : NULL;
        size_t len = end ? (size_t)(end - p) + 4 : n;
        if (len > limit) {
                refuse_bytes(c, 431, "header_too_large",
                             "the request's header fields are larger than this server takes");
                return 0;
        }
        if (!end) {
                h->scanned = n;
                /* Lines that end in LF alone would never come to their end here. */
                if (memmem(p + from, n - from, "\n\n", 2))
                        refuse_bytes(c, 400, "bad_request", "lines of a request must end in CR LF");
                return 0;
        }
        h->scanned = 0;
        h->empty_lines = 0;
        begin_exchange(c, p, len);
        return len;
}

static size_t take_data(struct http_connection *c, const char *p, size_t n) {
        struct http1 *h = http1_of(c);
        size_t part = (size_t)MIN((uint64_t)n, h->remaining);
        h->remaining -= part;
        http_exchange_body(h->current, p, part);
        if (h->remaining == 0 && h->state == INPUT_CHUNK)
                h->state = INPUT_CHUNK_END;
        else if (h->remaining == 0 && h->state == INPUT_BODY)
                body_done(h);
        return part;
}

/* The length of the line at p with its end, 0: not whole yet, -1: broken or longer than max. */
static ssize_t line_length(const char *p, size_t n, size_t max) {
        const char *lf = memchr(p, '\n', MIN(n, max));
        if (!lf)
                return n >= max ? -1 : 0;
        size_t len = (size_t)(lf - p) + 1;
        if (len < 2 || p[len - 2] != '\r' || memchr(p, '\r', len - 2) || memchr(p, '\0', len))
                return -1;
        return (ssize_t)len;
}

static size_t take_chunk_size(struct http_connection *c, const char *p, size_t n) {
        struct http1 *h = http1_of(c);
        ssize_t len = line_length(p, n, CHUNK_LINE_MAX);
        size_t digits = 0;
        uint64_t size = 0;
        while (len > 0 && digits < (size_t)len && strchr("0123456789abcdefABCDEF", p[digits]) &&
               digits < 15) {
                char d = p[digits++];
                size = size * 16 + (uint64_t)(d <= '9' ? d - '0' : (d | 0x20) - 'a' + 10);
        }
        if (len > 0 && (digits == 0 || size > BODY_MAX || !strchr(";\r \t", p[digits])))
                len = -1;
        /* A blank may stand before an extension (RFC 9112 section 7.1.1), and nowhere else. */
        if (len > 0 && (p[digits] == ' ' || p[digits] == '\t')) {
                size_t blanks = strspn(p + digits, " \t");
                if (p[digits + blanks] != ';')
                        len = -1;
        }
        if (len < 0)
                body_broken(c);
        if (len <= 0)
                return 0;
        h->remaining = size;
        h->state = size ? INPUT_CHUNK : INPUT_TRAILER;
        return (size_t)len;
}

static size_t take_chunk_end(struct http_connection *c, const char *p, size_t n) {
        if (p[0] != '\r' || (n > 1 && p[1] != '\n')) {
                body_broken(c);
                return 0;
        }
        if (n < 2)
                return 0;
        http1_of(c)->state = INPUT_CHUNK_SIZE;
        return 2;
}

static size_t take_trailer(struct http_connection *c, const char *p, size_t n) {
        struct http1 *h = http1_of(c);
        ssize_t len = line_length(p, n, c->service->limits.header_bytes - h->trailer_bytes);
        if (len < 0) {
                body_broken(c);
                return 0;
        }
        h->trailer_bytes += (size_t)len;
        if (len == 2)
                body_done(h);
        return (size_t)len;
}

/* Uses as much of the bytes as can be used now. */
static size_t advance(struct http_connection *c, const char *p, size_t n) {
        struct http1 *h = http1_of(c);
        size_t at = 0;
        while (at < n && !c->failed && !c->closing) {
                size_t taken = 0;
                enum input_state before = h->state;
                bool is_body = before != INPUT_HEAD && before != INPUT_WAIT && before != INPUT_STOPPED;
                if (is_body && !http_exchange_takes_body(h->current))
                        break;
                switch (h->state) {
                case INPUT_HEAD: taken = take_head(c, p + at, n - at); break;
                case INPUT_BODY:
                case INPUT_CHUNK: taken = take_data(c, p + at, n - at); break;
                case INPUT_CHUNK_SIZE: taken = take_chunk_size(c, p + at, n - at); break;
                case INPUT_CHUNK_END: taken = take_chunk_end(c, p + at, n - at); break;
                case INPUT_TRAILER: taken = take_trailer(c, p + at, n - at); break;
                case INPUT_WAIT: return at;
                case INPUT_STOPPED: return n;
                }
                at += taken;
                if (taken == 0 && h->state == before)
                        break;
        }
        return h->state == INPUT_STOPPED ? n : at;
}

static void advance_kept(struct http_connection *c) {
        struct http1 *h = http1_of(c);
        if (h->input.len == 0)
                return;
        /* The buffer is taken out meanwhile: stop_reading() drops what there is. */
        struct buf b = h->input;
        h->input = (struct buf)BUF_INIT;
        buf_consume(&b, advance(c, b.data, b.len));
        if (h->state == INPUT_STOPPED || b.len == 0)
                buf_done(&b);
        else
                h->input = b;
}

static int http1_feed(struct http_connection *c, const char *p, size_t n) {
        struct http1 *h = http1_of(c);
        if (h->state == INPUT_STOPPED)
                return 0;
        if (h->input.len > 0) {
                int r = buf_append(&h->input, p, n);
                if (r < 0)
                        return r;
                advance_kept(c);
                return 0;
        }
        size_t used = advance(c, p, n);
        return used < n && h->state != INPUT_STOPPED ? buf_append(&h->input, p + used, n - used) : 0;
}

static bool http1_wants_read(const struct http_connection *c) {
        const struct http1 *h = http1_of(c);
        bool is_body = h->state != INPUT_HEAD && h->state != INPUT_WAIT;
        if (h->state == INPUT_STOPPED || (is_body && !http_exchange_takes_body(h->current)))
                return false;
        /* While an answer is being made we read on, within bounds, to see the client leave. */
        return h->input.len < c->service->limits.header_bytes;
}

static void http1_end_of_input(struct http_connection *c) {
        struct http1 *h = http1_of(c);
        h->keep_alive = false;
        if (!h->current) {
                stop_reading(c);
                c->closing = true;
        } else if (h->state != INPUT_WAIT || h->current->response < RESPONSE_FINISHED)
                c->failed = true; /* left in the middle; who waits for a finished answer still gets it */
        http_connection_wake(c);
}

/* ---- output */

static void http1_respond(struct http_exchange *x) {
        struct http_connection *c = x->connection;
        struct http1 *h = http1_of(c);
        bool content = http_exchange_has_content(x);
        bool length = x->response_length != HTTP_LENGTH_UNKNOWN;
        h->chunked = content && !length && !h->old;
        /* Without a length an HTTP/1.0 client sees the end of the answer by the end of the connection; and
         * who was not told to continue may send its body or not. */
        if ((content && !length && h->old) || x->expects_continue || c->shut_down)
                h->keep_alive = false;
        (void)buf_printf(&h->output, "HTTP/1.1 %d %s\r\ndate: %s\r\n", x->status,
                         http_status_str((enum http_status)x->status), http_service_date(c->service));
        const char *at = x->response_fields.data, *end = at ? at + x->response_fields.len : NULL, *name,
                   *value;
        while (at && http_field_next(&at, end, &name, &value))
                (void)buf_printf(&h->output, "%s: %s\r\n", name, value);
        if (length && x->status != 204 && x->status != 304)
                (void)buf_printf(&h->output, "content-length: %llu\r\n",
                                 (unsigned long long)x->response_length);
        if (h->chunked)
                (void)buf_puts(&h->output, "transfer-encoding: chunked\r\n");
        if (!h->keep_alive)
                (void)buf_puts(&h->output, "connection: close\r\n");
        else if (h->old)
                (void)buf_puts(&h->output, "connection: keep-alive\r\n");
        (void)buf_puts(&h->output, "\r\n");
        if (buf_failed(&h->output) < 0)
                c->failed = true;
        http_connection_wake(c);
}

static void http1_written(struct http_exchange *x) {
        http_connection_wake(x->connection);
}

static void http1_send_continue(struct http_exchange *x) {
        if (buf_puts(&http1_of(x->connection)->output, "HTTP/1.1 100 Continue\r\n\r\n") < 0)
                x->connection->failed = true;
        http_connection_wake(x->connection);
}

static void http1_consumed(struct http_exchange *x, size_t n) {
}

static void http1_body_wanted(struct http_exchange *x) {
        http_connection_wake(x->connection); /* produce() looks at the input that was kept */
}

static void http1_abort(struct http_exchange *x) {
        struct http_connection *c = x->connection;
        if (x->response == RESPONSE_SENT)
                c->closing = c->linger = true; /* only the request did not come to its end */
        else
                c->failed = true; /* cut off is how HTTP/1.1 says that an answer is not whole */
}

/* The answer is out. Is the request, too? Then the next one has its turn. */
static void exchange_sent(struct http_connection *c) {
        struct http1 *h = http1_of(c);
        struct http_exchange *x = h->current;
        bool unread = h->state != INPUT_WAIT;
        bool long_rest =
                unread && ((x->body_length != HTTP_LENGTH_UNKNOWN && x->body_length > HTTP_DISCARD_MAX) ||
                           x->discarded >= HTTP_DISCARD_MAX);
        x->response = RESPONSE_SENT;
        if (unread && h->keep_alive && !long_rest && h->state != INPUT_STOPPED) {
                http_connection_expect(c, HTTP_REST_MS);
                return; /* the rest is read and dropped; produce() comes here again */
        }
        h->current = NULL;
        http_exchange_end(x);
        if (unread || !h->keep_alive) {
                stop_reading(c);
                c->linger = c->linger || unread;
                c->closing = true;
        } else
                h->state = INPUT_HEAD;
}

static size_t produce_chunk(struct http_exchange *x, char *out, size_t size, bool chunked) {
        size_t queued = http_queue_len(&x->out), n = 0;
        if (!chunked) {
                n = MIN(queued, size);
                memcpy(out, http_queue_front(&x->out), n);
                http_exchange_sent(x, n);
                return n;
        }
        if (size <= CHUNK_OVERHEAD)
                return 0;
        size_t part = MIN(queued, size - CHUNK_OVERHEAD);
        n = (size_t)snprintf(out, size, "%zx\r\n", part);
        memcpy(out + n, http_queue_front(&x->out), part);
        n += part;
        out[n++] = '\r';
        out[n++] = '\n';
        http_exchange_sent(x, part);
        return n;
}

static size_t produce_output(struct http1 *h, char *out, size_t size) {
        size_t n = MIN(h->output.len, size);
        if (n == 0)
                return 0;
        memcpy(out, h->output.data, n);
        buf_consume(&h->output, n);
        if (h->output.len == 0) {
                buf_done(&h->output);
                h->output = (struct buf)BUF_INIT;
        }
        return n;
}

static size_t http1_produce(struct http_connection *c, char *out, size_t size) {
        struct http1 *h = http1_of(c);
        size_t n = 0;
        advance_kept(c);
        while (!c->failed) {
                n += produce_output(h, out + n, size - n);
                struct http_exchange *x = h->current;
                if (h->output.len > 0 || !x || x->response == RESPONSE_NONE)
                        break;
                if (http_queue_len(&x->out) > 0) {
                        size_t part = produce_chunk(x, out + n, size - n, h->chunked);
                        if (part == 0)
                                break;
                        n += part;
                } else if (x->response == RESPONSE_FINISHED && h->chunked && !h->ended) {
                        h->ended = true;
                        if (buf_puts(&h->output, "0\r\n\r\n") < 0)
                                c->failed = true;
                } else if (x->response == RESPONSE_FINISHED || (x->response == RESPONSE_SENT)) {
                        bool again = x->response == RESPONSE_SENT && h->state != INPUT_WAIT;
                        exchange_sent(c);
                        if (again && h->current)
                                break; /* the rest of the request's body is still to come */
                        if (!h->current)
                                advance_kept(c);
                } else
                        break;
        }
        return n;
}

/* ---- the connection */

static int http1_open(struct http_connection *c) {
        c->state = calloc(1, sizeof(struct http1));
        return c->state ? 0 : -ENOMEM;
}

static void http1_close(struct http_connection *c) {
        struct http1 *h = http1_of(c);
        buf_done(&h->input);
        buf_done(&h->output);
        free(h);
        c->state = NULL;
}

static void http1_shut_down(struct http_connection *c) {
        struct http1 *h = http1_of(c);
        h->keep_alive = false;
        if (!h->current && !h->head_since)
                c->closing = true;
}

static msec_t http1_deadline(const struct http_connection *c) {
        const struct http1 *h = http1_of(c);
        return h->head_since ? h->head_since + c->service->limits.header_ms : INT64_MAX;
}

static void http1_expire(struct http_connection *c) {
        refuse_bytes(c, 408, "timeout", "the request's header fields did not come in time");
}

const struct http_protocol http1_protocol = {
        .open = http1_open,
        .close = http1_close,
        .feed = http1_feed,
        .produce = http1_produce,
        .wants_read = http1_wants_read,
        .end_of_input = http1_end_of_input,
        .shut_down = http1_shut_down,
        .deadline = http1_deadline,
        .expire = http1_expire,
        .respond = http1_respond,
        .written = http1_written,
        .send_continue = http1_send_continue,
        .consumed = http1_consumed,
        .body_wanted = http1_body_wanted,
        .abort = http1_abort,
};
