/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>

#include "base/str.h"

#define TLS_RECORD_BYTES 16384
/* How much one connection may read or send before the others have their turn. */
#define READS_A_TURN 8
#define SEND_A_TURN ((size_t)512 * 1024)
/* How long and how much we still read, after our last words, from a peer that is still talking: closing at
 * once would make its kernel throw those words away. */
#define LINGER_MS 2000
#define LINGER_BYTES (1024 * 1024)

enum socket_state { SOCKET_HANDSHAKE, SOCKET_OPEN, SOCKET_LINGER, SOCKET_CLOSED };

struct http_socket {
        struct http_connection connection;
        struct http_server *server;
        struct list link, flush_link, warm_link;
        struct peer_connection of_peer;
        uv_poll_t poll;
        int fd;
        SSL *ssl;
        uint8_t state;
        bool read_ended; /* the peer sends no more */
        bool hung_up;    /* it will not, once what waits in the kernel was read */
        bool read_again; /* there is more to read that the poll does not tell of */
        bool wants_write;
        bool active; /* since the last look of the cooler */
        int events;  /* polled for */
        char *left;  /* produced and not yet sent */
        size_t left_at, left_len;
        struct loop_timer *timer;
        msec_t armed, since, write_at; /* since: of the handshake or the lingering */
        size_t lingered;
};

static struct http_socket *socket_of(struct http_connection *c) {
        return CONTAINER_OF(c, struct http_socket, connection);
}

static msec_t now_of(const struct http_socket *k) {
        return http_connection_now(&k->connection);
}

static void schedule(struct http_socket *k) {
        if (k->state == SOCKET_CLOSED || !list_is_empty(&k->flush_link))
                return;
        list_append(&k->server->flush, &k->flush_link);
        http_server_flush_soon(k->server);
}

static void on_wake(struct http_connection *c) {
        schedule(socket_of(c));
}

/* ---- closing */

static void on_closed(uv_handle_t *handle) {
        struct http_socket *k = handle->data;
        struct http_server *s = k->server;
        (void)close(k->fd);
        free(k);
        s->open_handles--;
        if (s->stopping && list_is_empty(&s->sockets))
                http_server_finish(s);
}

static void socket_close(struct http_socket *k) {
        struct http_server *s = k->server;
        if (k->state == SOCKET_CLOSED)
                return;
        k->state = SOCKET_CLOSED;
        list_remove(&k->flush_link);
        list_remove(&k->warm_link);
        k->timer = loop_timer_free(k->timer);
        http_connection_done(&k->connection);
        if (k->ssl) {
                ERR_clear_error();
                if (!k->connection.failed || k->connection.closing)
                        (void)SSL_shutdown(k->ssl); /* sends the farewell; the answer is not waited for */
                SSL_free(k->ssl);
                ERR_clear_error();
                k->ssl = NULL;
        }
        free(k->left);
        k->left = NULL;
        address_count_remove(s->addresses, k->connection.address);
        peer_connections_remove(s->peers, &k->of_peer);
        s->service.stats.open_connections--;
        list_remove(&k->link);
        uv_close((uv_handle_t *)&k->poll, on_closed);
}

/* ---- the transport: bytes, -EAGAIN, 0 at the end, other -Exxx */

static ssize_t tls_result(struct http_socket *k, int r) {
        switch (SSL_get_error(k->ssl, r)) {
        case SSL_ERROR_WANT_READ: return -EAGAIN;
        case SSL_ERROR_WANT_WRITE: k->wants_write = true; return -EAGAIN;
        case SSL_ERROR_ZERO_RETURN: return 0;
        default: ERR_clear_error(); return -EPIPE;
        }
}

static ssize_t transport_read(struct http_socket *k, char *p, size_t n) {
        if (k->ssl) {
                ERR_clear_error();
                int r = SSL_read(k->ssl, p, (int)n);
                return r > 0 ? r : tls_result(k, r);
        }
        ssize_t r = recv(k->fd, p, n, 0);
        return r >= 0 ? r : errno == EWOULDBLOCK || errno == EINTR ? -EAGAIN : -errno;
}

static ssize_t transport_write(struct http_socket *k, const char *p, size_t n) {
        ssize_t r;
        if (k->ssl) {
                ERR_clear_error();
                r = SSL_write(k->ssl, p, (int)n);
                r = r > 0 ? r : tls_result(k, (int)r);
        } else {
                r = send(k->fd, p, n, MSG_NOSIGNAL);
                r = r >= 0 ? r : errno == EWOULDBLOCK || errno == EINTR ? -EAGAIN : -errno;
        }
        return r == 0 ? -EPIPE : r;
}

/* ---- deadlines */

static void on_timer(void *arg);

static void arm(struct http_socket *k, msec_t at) {
        if (at >= k->armed)
                return;
        k->armed = at;
        loop_timer_set(k->timer, at - now_of(k));
}

static msec_t own_deadline(const struct http_socket *k) {
        const struct http_limits *l = &k->server->service.limits;
        switch (k->state) {
        case SOCKET_HANDSHAKE: return k->since + l->handshake_ms;
        case SOCKET_LINGER: return k->since + LINGER_MS;
        case SOCKET_OPEN: return k->left ? k->write_at + l->write_ms : INT64_MAX;
        default: return INT64_MAX;
        }
}

/* ---- driving the connection */

static void on_poll(uv_poll_t *handle, int status, int events);

static void update_poll(struct http_socket *k) {
        int events = 0;
        if (k->state == SOCKET_LINGER)
                events = UV_READABLE;
        else if (!k->read_ended) {
                if (k->state == SOCKET_HANDSHAKE || http_connection_wants_read(&k->connection))
                        events = UV_READABLE;
                else if (!k->hung_up)
                        events = UV_DISCONNECT; /* to see the peer leave while we do not read */
        }
        if (k->left || k->wants_write)
                events |= UV_WRITABLE;
        if (events == k->events)
                return;
        k->events = events;
        int r = events ? uv_poll_start(&k->poll, events, on_poll) : uv_poll_stop(&k->poll);
        if (r < 0)
                socket_close(k);
}

/* True when nothing is left over. */
static bool send_left(struct http_socket *k) {
        while (k->left) {
                ssize_t n = transport_write(k, k->left + k->left_at, k->left_len - k->left_at);
                if (n == -EAGAIN)
                        return false;
                if (n < 0) {
                        k->connection.failed = true;
                        return false;
                }
                k->write_at = now_of(k);
                k->left_at += (size_t)n;
                if (k->left_at == k->left_len) {
                        free(k->left);
                        k->left = NULL;
                }
        }
        return true;
}

static bool send_produced(struct http_socket *k, const char *p, size_t n) {
        size_t at = 0;
        while (at < n) {
                ssize_t r = transport_write(k, p + at, n - at);
                if (r == -EAGAIN)
                        break;
                if (r < 0) {
                        k->connection.failed = true;
                        return false;
                }
                at += (size_t)r;
        }
        if (at == n)
                return true;
        k->left = malloc(n - at);
        if (!k->left) {
                k->connection.failed = true;
                return false;
        }
        memcpy(k->left, p + at, n - at);
        k->left_at = 0;
        k->left_len = n - at;
        k->write_at = now_of(k);
        http_connection_expect(&k->connection, k->server->service.limits.write_ms);
        return false;
}

static void end_gracefully(struct http_socket *k) {
        if (!k->connection.linger || k->read_ended) {
                socket_close(k);
                return;
        }
        if (k->ssl) {
                ERR_clear_error();
                (void)SSL_shutdown(k->ssl);
        }
        if (shutdown(k->fd, SHUT_WR) < 0) {
                socket_close(k);
                return;
        }
        k->state = SOCKET_LINGER;
        k->since = now_of(k);
        arm(k, own_deadline(k));
        update_poll(k);
}

/* Sends what there is, then sees what the connection wants next. May free k. */
static void flush(struct http_socket *k) {
        struct http_connection *c = &k->connection;
        size_t size = k->ssl ? TLS_RECORD_BYTES : HTTP_SCRATCH_BYTES, sent = 0, n = 0;
        list_remove(&k->flush_link);
        if (k->state != SOCKET_OPEN) {
                if (c->failed)
                        socket_close(k);
                return;
        }
        k->wants_write = false;
        if (send_left(k))
                while (!c->failed && (n = http_connection_produce(c, k->server->scratch, size)) > 0) {
                        k->active = true;
                        sent += n;
                        if (!send_produced(k, k->server->scratch, n))
                                break;
                        if (sent >= SEND_A_TURN)
                                break;
                }
        if (c->failed) {
                socket_close(k);
                return;
        }
        if (n == 0 && c->closing && !k->left) {
                end_gracefully(k);
                return;
        }
        if ((n > 0 && !k->left) || (c->woken && !k->left))
                schedule(k);
        if (k->read_again && http_connection_wants_read(c))
                schedule(k);
        arm(k, k->armed == INT64_MAX ? MIN(http_connection_deadline(c), own_deadline(k)) : c->soonest);
        c->soonest = INT64_MAX;
        if (k->active && list_is_empty(&k->warm_link)) {
                list_append(&k->server->warm, &k->warm_link);
                http_server_cool_later(k->server);
        }
        update_poll(k);
}

static void read_some(struct http_socket *k) {
        struct http_connection *c = &k->connection;
        k->read_again = false;
        for (int round = 0; round < READS_A_TURN; round++) {
                if (!http_connection_wants_read(c)) {
                        k->read_again = k->ssl && SSL_has_pending(k->ssl);
                        return;
                }
                ssize_t n = transport_read(k, k->server->scratch, HTTP_SCRATCH_BYTES);
                if (n == -EAGAIN)
                        return;
                if (n < 0) {
                        c->failed = true;
                        return;
                }
                k->active = true;
                if (n == 0) {
                        k->read_ended = true;
                        http_connection_end_of_input(c);
                        return;
                }
                if (http_connection_feed(c, k->server->scratch, (size_t)n) < 0)
                        return;
                if (!k->ssl && n < HTTP_SCRATCH_BYTES)
                        return;
        }
        k->read_again = k->ssl && SSL_has_pending(k->ssl);
}

/* A peer with more connections than it may have loses its oldest. */
static bool count_peer(struct http_socket *k) {
        struct http_server *s = k->server;
        struct peer_connection *oldest = NULL;
        uint32_t limit = s->service.limits.connections_per_peer;
        if (!k->connection.spiffe_id)
                return true;
        if (peer_connections_add(s->peers, k->connection.spiffe_id, &k->of_peer, limit, &oldest) < 0)
                return false;
        if (oldest) {
                struct http_socket *old = CONTAINER_OF(oldest, struct http_socket, of_peer);
                peer_connections_remove(s->peers, oldest);
                s->service.stats.turned_out++;
                http_connection_turn_out(&old->connection, "newer connections of this name took its place");
        }
        return true;
}

static void shake_hands(struct http_socket *k) {
        struct http_connection *c = &k->connection;
        k->wants_write = false;
        ERR_clear_error();
        int r = SSL_do_handshake(k->ssl);
        if (r != 1) {
                if (tls_result(k, r) == -EAGAIN)
                        update_poll(k);
                else {
                        c->failed = true;
                        socket_close(k);
                }
                return;
        }
        const unsigned char *alpn = NULL;
        unsigned alpn_len = 0;
        SSL_get0_alpn_selected(k->ssl, &alpn, &alpn_len);
        bool two = alpn_len == 2 && memcmp(alpn, "h2", 2) == 0;
        c->spiffe_id = tls_peer_spiffe_id(k->ssl);
        c->serial = tls_peer_serial(k->ssl);
        c->peer_not_after = tls_peer_not_after(k->ssl);
        tls_forget_peer(k->ssl);
        k->state = SOCKET_OPEN;
        c->idle_since = now_of(k);
        k->armed = INT64_MAX;
        if (http_connection_choose(c, two ? &http2_protocol : &http1_protocol) < 0) {
                c->failed = true;
                socket_close(k);
                return;
        }
        if (!count_peer(k)) {
                c->failed = true;
                socket_close(k);
                return;
        }
        k->active = true;
        read_some(k); /* the first request often comes along with the handshake's end */
        flush(k);
}

static void linger(struct http_socket *k) {
        for (;;) {
                ssize_t n = recv(k->fd, k->server->scratch, HTTP_SCRATCH_BYTES, 0);
                if (n < 0 && (errno == EWOULDBLOCK || errno == EINTR))
                        return;
                k->lingered += n > 0 ? (size_t)n : 0;
                if (n <= 0 || k->lingered > LINGER_BYTES)
                        break;
        }
        socket_close(k);
}

static void on_poll(uv_poll_t *handle, int status, int events) {
        struct http_socket *k = handle->data;
        switch (k->state) {
        case SOCKET_HANDSHAKE: shake_hands(k); return;
        case SOCKET_LINGER: linger(k); return;
        case SOCKET_CLOSED: return;
        default: break;
        }
        if (status < 0)
                k->connection.failed = true;
        else if (events & UV_READABLE || k->read_again || (k->ssl && k->wants_write))
                read_some(k); /* what TLS wants to write may be for the sake of reading */
        else if (events & UV_DISCONNECT) {
                /* Its bytes may still wait for us: only a socket that is broken is given up here. */
                int error = 0;
                socklen_t len = sizeof(error);
                k->hung_up = true;
                if (getsockopt(k->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error)
                        k->connection.failed = true;
        }
        flush(k);
}

static void on_timer(void *arg) {
        struct http_socket *k = arg;
        struct http_connection *c = &k->connection;
        k->armed = INT64_MAX;
        if (own_deadline(k) <= now_of(k)) {
                c->failed = true;
                socket_close(k);
                return;
        }
        if (k->state == SOCKET_OPEN && http_connection_deadline(c) <= now_of(k))
                http_connection_expire(c);
        if (k->state == SOCKET_OPEN)
                flush(k);
        else
                arm(k, own_deadline(k));
}

/* ---- opening */

static void set_options(int fd, msec_t dead_peer_ms) {
        int on = 1, count = 4;
        int idle = (int)MAX(dead_peer_ms / 2000, (msec_t)1),
            interval = (int)MAX(dead_peer_ms / 8000, (msec_t)1);
        unsigned timeout = (unsigned)MIN(dead_peer_ms, (msec_t)INT32_MAX);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        /* A peer that vanished: silence is probed, and unacknowledged bytes end the connection. */
        (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
}

static bool admit(struct http_server *s, const char *address) {
        const struct http_limits *l = &s->service.limits;
        return s->service.stats.open_connections < l->connections &&
               address_count_add(s->addresses, address, l->connections_per_address) >= 0;
}

void http_socket_open(struct http_server *s, int fd, const char *address) {
        _cleanup_(x_closep) int owned = fd;
        struct http_service *service = &s->service;
        if (!admit(s, address)) {
                service->stats.refused++;
                return;
        }
        struct http_socket *k = calloc(1, sizeof(*k));
        SSL *ssl = s->tls ? SSL_new(tls_config_context(s->tls)) : NULL;
        struct loop_timer *timer = k ? loop_timer_new(service->loop, on_timer, k) : NULL;
        if (!timer || (s->tls && (!ssl || SSL_set_fd(ssl, fd) != 1)) ||
            uv_poll_init(loop_uv(service->loop), &k->poll, fd) < 0) {
                loop_timer_free(timer);
                SSL_free(ssl);
                free(k);
                address_count_remove(s->addresses, address);
                service->stats.refused++;
                return;
        }
        set_options(fd, service->limits.dead_peer_ms);
        k->server = s;
        k->fd = TAKE_FD(owned);
        k->ssl = ssl;
        k->timer = timer;
        k->poll.data = k;
        k->armed = INT64_MAX;
        k->state = ssl ? SOCKET_HANDSHAKE : SOCKET_OPEN;
        list_append(&s->sockets, &k->link);
        list_init(&k->flush_link);
        list_init(&k->warm_link);
        s->open_handles++;
        service->stats.accepted++;
        service->stats.open_connections++;
        (void)strncpy(k->connection.address, address, sizeof(k->connection.address) - 1);
        k->connection.wake = on_wake;
        http_connection_init(&k->connection, service);
        k->since = now_of(k);
        if (ssl)
                SSL_set_accept_state(ssl);
        arm(k, ssl ? own_deadline(k) : http_connection_deadline(&k->connection));
        update_poll(k);
}

/* ---- many */

void http_socket_flush_all(struct http_server *s) {
        /* Those that come back while we are at it wait for the next round. */
        struct list now;
        list_init(&now);
        while (!list_is_empty(&s->flush)) {
                struct list *link = s->flush.next;
                list_remove(link);
                list_append(&now, link);
        }
        while (!list_is_empty(&now)) {
                struct http_socket *k = LIST_ENTRY(now.next, struct http_socket, flush_link);
                if (k->state == SOCKET_OPEN && k->read_again)
                        read_some(k);
                flush(k);
        }
}

void http_socket_cool_all(struct http_server *s) {
        LIST_FOREACH (it, &s->warm) {
                struct http_socket *k = LIST_ENTRY(it, struct http_socket, warm_link);
                if (!k->active) {
                        list_remove(it);
                        http_connection_cool(&k->connection);
                }
                k->active = false;
        }
        if (!list_is_empty(&s->warm))
                http_server_cool_later(s);
}

static void fail(struct http_socket *k) {
        k->connection.failed = true;
        schedule(k);
}

void http_socket_shut_down_all(struct http_server *s) {
        LIST_FOREACH (it, &s->sockets) {
                struct http_socket *k = LIST_ENTRY(it, struct http_socket, link);
                if (k->state == SOCKET_OPEN)
                        http_connection_shut_down(&k->connection);
                else if (k->state == SOCKET_HANDSHAKE)
                        fail(k);
        }
}

void http_socket_fail_all(struct http_server *s) {
        LIST_FOREACH (it, &s->sockets)
                fail(LIST_ENTRY(it, struct http_socket, link));
}

size_t http_socket_fail_peer(struct http_server *s, const char *spiffe_id) {
        size_t n = 0;
        LIST_FOREACH (it, &s->sockets) {
                struct http_socket *k = LIST_ENTRY(it, struct http_socket, link);
                if (!str_eq(k->connection.spiffe_id, spiffe_id) || k->connection.failed)
                        continue;
                fail(k);
                n++;
        }
        return n;
}
