/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/str.h"
#include "net/http_socket.h"

#define BACKLOG 1024
#define ACCEPTS_A_TURN 64
/* After so long without traffic a connection gives back what it can. */
#define COOL_MS 1000

/* ---- the address */

union address {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
};

static int parse_address(const char *text, union address *ret, struct err **err) {
        const char *colon = strrchr(text ? text : "", ':');
        uint64_t port = 0;
        if (!colon || str_to_u64(colon + 1, &port) < 0 || port > UINT16_MAX)
                return err_set(err, EINVAL,
                               "\"%s\" is no address to listen on, expected for example \"127.0.0.1:8443\"",
                               text ? text : "");
        _cleanup_(x_freep) char *host = str_dup_n(text, (size_t)(colon - text));
        if (!host)
                return err_set(err, ENOMEM, "out of memory");
        const char *name = host[0] ? host : "[::]";
        size_t len = strlen(name);
        *ret = (union address){.v6 = {0}};
        if (name[0] == '[' && name[len - 1] == ']') {
                _cleanup_(x_freep) char *inner = str_dup_n(name + 1, len - 2);
                if (inner && inet_pton(AF_INET6, inner, &ret->v6.sin6_addr) == 1) {
                        ret->v6.sin6_family = AF_INET6;
                        ret->v6.sin6_port = htons((uint16_t)port);
                        return 0;
                }
        } else if (inet_pton(AF_INET, name, &ret->v4.sin_addr) == 1) {
                ret->v4.sin_family = AF_INET;
                ret->v4.sin_port = htons((uint16_t)port);
                return 0;
        }
        return err_set(err, EINVAL,
                       "\"%s\" is no address to listen on: the part before the port must be an IPv4 "
                       "address, or an IPv6 address in brackets",
                       text);
}

static void format_address(const union address *a, char out[HTTP_ADDRESS_SIZE]) {
        const struct in6_addr *v6 = &a->v6.sin6_addr;
        out[0] = '\0';
        if (a->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(v6))
                (void)inet_ntop(AF_INET, v6->s6_addr + 12, out, HTTP_ADDRESS_SIZE);
        else if (a->any.sa_family == AF_INET6)
                (void)inet_ntop(AF_INET6, v6, out, HTTP_ADDRESS_SIZE);
        else if (a->any.sa_family == AF_INET)
                (void)inet_ntop(AF_INET, &a->v4.sin_addr, out, HTTP_ADDRESS_SIZE);
}

static int listen_on(const char *address, int *ret_fd, struct err **err) {
        union address a = {.v6 = {0}};
        int r = parse_address(address, &a, err), on = 1, off = 0;
        if (r < 0)
                return r;
        _cleanup_(x_closep) int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return err_set_errno(err, errno, "listen on %s", address);
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (a.any.sa_family == AF_INET6)
                (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
        socklen_t len = a.any.sa_family == AF_INET6 ? sizeof(a.v6) : sizeof(a.v4);
        if (bind(fd, &a.any, len) < 0 || listen(fd, BACKLOG) < 0)
                return err_set_errno(err, errno, "listen on %s", address);
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* ---- accepting */

/* Out of descriptors a pending connection would wake us for ever: one kept in reserve lets it in and out. */
static void turn_away(struct http_server *s) {
        (void)close(s->spare_fd);
        int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
                (void)close(fd);
        s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        s->service.stats.refused++;
}

static void on_listener(uv_poll_t *handle, int status, int events) {
        struct http_server *s = handle->data;
        for (int i = 0; i < ACCEPTS_A_TURN && !s->stopping; i++) {
                union address a = {.v6 = {0}};
                socklen_t len = sizeof(a);
                int fd = accept4(s->listen_fd, &a.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (fd < 0) {
                        if (errno == EMFILE || errno == ENFILE)
                                turn_away(s);
                        if (errno == ECONNABORTED || errno == EINTR)
                                continue;
                        return;
                }
                char address[HTTP_ADDRESS_SIZE];
                format_address(&a, address);
                http_socket_open(s, fd, address);
        }
}

/* ---- what sockets ask for */

static void on_flusher(uv_idle_t *handle) {
        struct http_server *s = handle->data;
        http_socket_flush_all(s);
        if (list_is_empty(&s->flush) && !s->closing)
                (void)uv_idle_stop(&s->flusher);
}

void http_server_flush_soon(struct http_server *s) {
        if (!s->closing && !uv_is_active((uv_handle_t *)&s->flusher))
                (void)uv_idle_start(&s->flusher, on_flusher);
}

static void on_cooler(void *arg) {
        http_socket_cool_all(arg);
}

void http_server_cool_later(struct http_server *s) {
        if (!loop_timer_is_set(s->cooler))
                loop_timer_set(s->cooler, COOL_MS);
}

/* ---- life */

static void server_free(struct http_server *s) {
        loop_timer_free(s->cooler);
        loop_timer_free(s->grace);
        x_closep(&s->listen_fd);
        x_closep(&s->spare_fd);
        address_count_free(s->addresses);
        peer_connections_free(s->peers);
        http_service_done(&s->service);
        tls_config_free(s->tls);
        free(s->scratch);
        free(s);
}

static void on_grace_over(void *arg) {
        http_socket_fail_all(arg);
}

int http_server_start(struct loop *l, const struct http_server_options *o, struct http_server **ret,
                      struct err **err) {
        struct http_server *s = calloc(1, sizeof(*s));
        if (!s)
                return err_set(err, ENOMEM, "out of memory");
        s->listen_fd = s->spare_fd = -1;
        list_init(&s->sockets);
        list_init(&s->flush);
        list_init(&s->warm);
        s->tls = o->tls ? tls_config_ref(o->tls) : NULL;
        s->addresses = address_count_new();
        s->peers = peer_connections_new();
        s->scratch = malloc(HTTP_SCRATCH_BYTES);
        s->cooler = loop_timer_new(l, on_cooler, s);
        s->grace = loop_timer_new(l, on_grace_over, s);
        s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        int r = http_service_init(&s->service, l, o);
        if (r < 0 || !s->addresses || !s->peers || !s->scratch || !s->cooler || !s->grace)
                r = err_set(err, ENOMEM, "out of memory");
        if (r >= 0)
                r = listen_on(o->address, &s->listen_fd, err);
        if (r >= 0) {
                r = uv_poll_init(loop_uv(l), &s->listener, s->listen_fd);
                if (r < 0)
                        err_set(err, -r, "listen on %s: %s", o->address, uv_strerror(r));
        }
        if (r < 0) {
                server_free(s);
                return r;
        }
        (void)uv_idle_init(loop_uv(l), &s->flusher); /* cannot fail */
        s->flusher.data = s->listener.data = s;
        s->open_handles = 2;
        r = uv_poll_start(&s->listener, UV_READABLE, on_listener);
        if (r < 0) {
                err_set(err, -r, "listen on %s: %s", o->address, uv_strerror(r));
                http_server_stop(s, 0, NULL, NULL);
                return r;
        }
        *ret = s;
        return 0;
}

uint16_t http_server_port(const struct http_server *s) {
        union address a = {.v6 = {0}};
        socklen_t len = sizeof(a);
        if (getsockname(s->listen_fd, &a.any, &len) < 0)
                return 0;
        return ntohs(a.any.sa_family == AF_INET6 ? a.v6.sin6_port : a.v4.sin_port);
}

static void on_handle_closed(uv_handle_t *handle) {
        struct http_server *s = handle->data;
        s->open_handles--;
        if (s->stopping && list_is_empty(&s->sockets))
                http_server_finish(s);
}

void http_server_finish(struct http_server *s) {
        if (!s->closing) {
                s->closing = true;
                uv_close((uv_handle_t *)&s->flusher, on_handle_closed);
        }
        if (s->open_handles > 0)
                return;
        void (*done)(void *arg) = s->done;
        void *arg = s->done_arg;
        server_free(s);
        if (done)
                done(arg);
}

void http_server_stop(struct http_server *s, msec_t grace_ms, void (*done)(void *arg), void *arg) {
        if (!s || s->stopping)
                return;
        s->stopping = s->service.stopping = true;
        s->done = done;
        s->done_arg = arg;
        uv_close((uv_handle_t *)&s->listener, on_handle_closed);
        x_closep(&s->listen_fd); /* now, not when all have left: nobody new may wait in the backlog */
        s->listen_fd = -1;
        loop_timer_set(s->grace, grace_ms);
        http_socket_shut_down_all(s);
        if (list_is_empty(&s->sockets)) /* now, too: our owner may end the loop without another turn */
                http_server_finish(s);
}

size_t http_server_drop_peer(struct http_server *s, const char *spiffe_id) {
        return http_socket_fail_peer(s, spiffe_id);
}

void http_server_stats(const struct http_server *s, struct http_server_stats *ret) {
        *ret = s->service.stats;
}
