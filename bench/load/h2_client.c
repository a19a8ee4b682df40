/* SPDX-License-Identifier: Apache-2.0 */
#include "h2_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"

#define READ_SIZE 16384

struct stream {
        struct stream *next, **before; /* in the client's list */
        struct h2_call call;
        size_t sent, length;
        int status;
};

struct h2_client {
        struct h2_client_options o;
        int fd, watched;
        SSL *ssl;
        nghttp2_session *session;
        uv_poll_t *poll; /* outlives the client until libuv has closed it */
        bool handshaking, dead, in_callback, freed;
        struct stream *streams;
        const uint8_t *pending; /* of nghttp2, not yet written */
        size_t n_pending;
        char host[64];
};

static void act(struct h2_client *c);

/* ---- ending */

static void poll_closed(uv_handle_t *h) {
        free(h);
}

static void stream_free(struct stream *t) {
        *t->before = t->next;
        if (t->next)
                t->next->before = t->before;
        free((char *)t->call.body);
        free(t);
}

static void destroy(struct h2_client *c) {
        while (c->streams)
                stream_free(c->streams);
        uv_close((uv_handle_t *)c->poll, poll_closed);
        nghttp2_session_del(c->session);
        SSL_free(c->ssl);
        (void)close(c->fd);
        free(c);
}

void h2_client_free(struct h2_client *c) {
        if (!c)
                return;
        c->freed = true;
        if (!c->in_callback)
                destroy(c);
}

static void fail(struct h2_client *c, const char *why) {
        if (c->dead || c->freed)
                return;
        c->dead = true;
        (void)uv_poll_stop(c->poll);
        c->o.closed(c->o.arg, why);
        c->freed = true;
}

/* ---- HTTP/2 */

static int on_header(nghttp2_session *s, const nghttp2_frame *frame, const uint8_t *name, size_t n_name,
                     const uint8_t *value, size_t n_value, uint8_t flags, void *arg) {
        struct stream *t = nghttp2_session_get_stream_user_data(s, frame->hd.stream_id);
        (void)flags;
        (void)arg;
        if (t && n_name == 7 && memcmp(name, ":status", 7) == 0 && n_value == 3)
                t->status = atoi((const char *)value);
        return 0;
}

static int on_chunk(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *data, size_t n, void *arg) {
        struct h2_client *c = arg;
        struct stream *t = nghttp2_session_get_stream_user_data(s, id);
        (void)flags;
        if (t && !c->freed && n > 0)
                t->call.on_data(t->call.arg, t->status, (const char *)data, n);
        return 0;
}

static int on_stream_close(nghttp2_session *s, int32_t id, uint32_t error, void *arg) {
        struct h2_client *c = arg;
        struct stream *t = nghttp2_session_get_stream_user_data(s, id);
        if (!t)
                return 0;
        if (!c->freed)
                t->call.on_data(t->call.arg, error ? 0 : t->status, "", 0);
        stream_free(t);
        return 0;
}

static ssize_t read_body(nghttp2_session *s, int32_t id, uint8_t *buffer, size_t length, uint32_t *flags,
                         nghttp2_data_source *source, void *arg) {
        struct stream *t = source->ptr;
        (void)s;
        (void)id;
        (void)arg;
        size_t n = MIN(length, t->length - t->sent);
        memcpy(buffer, t->call.body + t->sent, n);
        t->sent += n;
        if (t->sent == t->length)
                *flags |= NGHTTP2_DATA_FLAG_EOF;
        return (ssize_t)n;
}

#define FIELD(name, value)                                                                                   \
        (nghttp2_nv) {                                                                                       \
                (uint8_t *)(name), (uint8_t *)(value), strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE     \
        }

int h2_client_send(struct h2_client *c, const struct h2_call *call) {
        struct stream *t = calloc(1, sizeof(*t));
        if (!t || c->dead) {
                free(t);
                return -ENOTCONN;
        }
        t->call = *call;
        t->before = &c->streams;
        t->next = c->streams;
        if (t->next)
                t->next->before = &t->next;
        c->streams = t;
        t->length = call->body ? strlen(call->body) : 0;
        nghttp2_nv fields[] = {FIELD(":method", call->method), FIELD(":scheme", "https"),
                               FIELD(":authority", c->host), FIELD(":path", call->path),
                               FIELD("content-type", "application/json")};
        nghttp2_data_provider provider = {.source.ptr = t, .read_callback = read_body};
        int32_t id =
                nghttp2_submit_request(c->session, NULL, fields, ARRAY_SIZE(fields) - (call->body ? 0 : 1),
                                       call->body ? &provider : NULL, t);
        if (id < 0) {
                t->call.body = NULL; /* still the caller's */
                stream_free(t);
                return -EIO;
        }
        if (!c->in_callback)
                act(c);
        return 0;
}

static int begin_session(struct h2_client *c) {
        nghttp2_session_callbacks *callbacks;
        nghttp2_option *option;
        nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                             {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, 0}};
        if (nghttp2_session_callbacks_new(&callbacks) != 0)
                return -ENOMEM;
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_chunk);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
        int r = nghttp2_option_new(&option);
        if (r == 0) {
                nghttp2_option_set_max_deflate_dynamic_table_size(option, 0);
                r = nghttp2_session_client_new2(&c->session, callbacks, c, option);
                nghttp2_option_del(option);
        }
        nghttp2_session_callbacks_del(callbacks);
        if (r == 0)
                r = nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings));
        return r == 0 ? 0 : -ENOMEM;
}

/* ---- the socket */

static void on_poll(uv_poll_t *p, int status, int events) {
        (void)status;
        (void)events;
        act(p->data);
}

static void watch(struct h2_client *c, int events) {
        if (c->watched == events || c->dead)
                return;
        c->watched = events;
        (void)uv_poll_start(c->poll, events, on_poll);
}

static const char *ssl_words(char *text, size_t size) {
        unsigned long e = ERR_get_error();
        if (e)
                ERR_error_string_n(e, text, size);
        else
                (void)snprintf(text, size, "%s", errno ? strerror(errno) : "closed by the peer");
        return text;
}

/* True: there may be more to do now. */
static bool write_some(struct h2_client *c, bool *ret_blocked) {
        if (c->n_pending == 0) {
                ssize_t n = nghttp2_session_mem_send(c->session, &c->pending);
                if (n < 0)
                        fail(c, nghttp2_strerror((int)n));
                if (n <= 0)
                        return false;
                c->n_pending = (size_t)n;
        }
        ERR_clear_error();
        int n = SSL_write(c->ssl, c->pending, (int)c->n_pending);
        if (n > 0) {
                c->pending += n;
                c->n_pending -= (size_t)n;
                return true;
        }
        char text[128];
        if (SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_WRITE)
                *ret_blocked = true;
        else if (SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ)
                fail(c, ssl_words(text, sizeof(text)));
        return false;
}

static bool read_some(struct h2_client *c) {
        static uint8_t buffer[READ_SIZE];
        char text[128];
        ERR_clear_error();
        errno = 0;
        int n = SSL_read(c->ssl, buffer, sizeof(buffer));
        if (n <= 0) {
                int e = SSL_get_error(c->ssl, n);
                if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE)
                        fail(c, ssl_words(text, sizeof(text)));
                return false;
        }
        ssize_t taken = nghttp2_session_mem_recv(c->session, buffer, (size_t)n);
        if (taken < 0)
                fail(c, nghttp2_strerror((int)taken));
        else if (!nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session))
                fail(c, "the peer ended the session");
        return taken >= 0;
}

static void shake(struct h2_client *c) {
        char text[128];
        ERR_clear_error();
        errno = 0;
        int r = SSL_connect(c->ssl);
        if (r == 1) {
                c->handshaking = false;
                if (begin_session(c) < 0)
                        fail(c, "out of memory");
                else
                        c->o.ready(c->o.arg);
                return;
        }
        int e = SSL_get_error(c->ssl, r);
        if (e == SSL_ERROR_WANT_WRITE)
                watch(c, UV_READABLE | UV_WRITABLE);
        else if (e == SSL_ERROR_WANT_READ)
                watch(c, UV_READABLE);
        else
                fail(c, ssl_words(text, sizeof(text)));
}

static void act(struct h2_client *c) {
        bool blocked = false;
        c->in_callback = true;
        if (c->handshaking)
                shake(c);
        if (!c->handshaking && !c->dead && !c->freed) {
                while (!c->dead && !c->freed && read_some(c))
                        ;
                while (!c->dead && !c->freed && write_some(c, &blocked))
                        ;
                if (!c->dead && !c->freed)
                        watch(c, UV_READABLE | (blocked ? UV_WRITABLE : 0));
        }
        c->in_callback = false;
        if (c->freed)
                destroy(c);
}

/* ---- beginning */

static int on_session(SSL *ssl, SSL_SESSION *session) {
        struct h2_client *c = SSL_get_app_data(ssl);
        if (!c || !c->o.resumable)
                return 0;
        c->o.resumable(c->o.arg, session);
        return 1;
}

void h2_client_prepare_context(SSL_CTX *context) {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(context, on_session);
        SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

static int connect_socket(const struct h2_client_options *o) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)o->port)};
        struct sockaddr_in from = {.sin_family = AF_INET};
        int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
        int r = inet_pton(AF_INET, o->host, &to.sin_addr) == 1 ? 0 : -EINVAL;
        if (r == 0 && o->from)
                r = inet_pton(AF_INET, o->from, &from.sin_addr) != 1             ? -EINVAL
                    : bind(fd, (const struct sockaddr *)&from, sizeof(from)) < 0 ? -errno
                                                                                 : 0;
        if (r == 0 && connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)
                r = -errno;
        if (r < 0) {
                (void)close(fd);
                return r;
        }
        return fd;
}

int h2_client_new(const struct h2_client_options *o, struct h2_client **ret) {
        static const unsigned char alpn[] = "\2h2";
        int fd = connect_socket(o);
        if (fd < 0)
                return fd;
        struct h2_client *c = calloc(1, sizeof(*c));
        uv_poll_t *poll = calloc(1, sizeof(*poll));
        SSL *ssl = SSL_new(o->context);
        if (!c || !poll || !ssl || SSL_set_fd(ssl, fd) != 1 ||
            SSL_set_alpn_protos(ssl, alpn, sizeof(alpn) - 1) != 0 ||
            (o->prepare && o->prepare(o->arg, ssl) < 0) || uv_poll_init(o->loop, poll, fd) != 0) {
                SSL_free(ssl);
                free(poll);
                free(c);
                (void)close(fd);
                return -ENOMEM;
        }
        c->o = *o;
        c->fd = fd;
        c->ssl = ssl;
        c->poll = poll;
        c->handshaking = true;
        poll->data = c;
        (void)snprintf(c->host, sizeof(c->host), "%s:%d", o->host, o->port);
        SSL_set_app_data(ssl, c);
        SSL_set_connect_state(ssl);
        if (o->session)
                (void)SSL_set_session(ssl, o->session);
        watch(c, UV_WRITABLE);
        *ret = c;
        return 0;
}
