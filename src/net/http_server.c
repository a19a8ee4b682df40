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

static int parse_address(const char *text, struct sockaddr_storage *ret, struct err **err) {
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
        struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
        *ret = (struct sockaddr_storage){0};
        if (name[0] == '[' && name[len - 1] == ']') {
                _cleanup_(x_freep) char *inner = str_dup_n(name + 1, len - 2);
                if (inner && inet_pton(AF_INET6, inner, &v6->sin6_addr) == 1) {
                        v6->sin6_family = AF_INET6;
                        v6->sin6_port = htons((uint16_t)port);
                        return 0;
                }
        } else if (inet_pton(AF_INET, name, &v4->sin_addr) == 1) {
                v4->sin_family = AF_INET;
                v4->sin_port = htons((uint16_t)port);
                return 0;
        }
        return err_set(err, EINVAL,
                       "\"%s\" is no address to listen on: the part before the port must be an IPv4 "
                       "address, or an IPv6 address in brackets",
                       text);
}

static void format_address(const struct sockaddr_storage *a, char out[HTTP_ADDRESS_SIZE]) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)a;
        out[0] = '\0';
        if (a->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
                (void)inet_ntop(AF_INET, (const uint8_t *)&v6->sin6_addr + 12, out, HTTP_ADDRESS_SIZE);
        else if (a->ss_family == AF_INET6)
                (void)inet_ntop(AF_INET6, &v6->sin6_addr, out, HTTP_ADDRESS_SIZE);
        else if (a->ss_family == AF_INET)
                (void)inet_ntop(AF_INET, &((const struct sockaddr_in *)a)->sin_addr, out, HTTP_ADDRESS_SIZE);
}

static int listen_on(const char *address, int *ret_fd, struct err **err) {
        struct sockaddr_storage a;
        int r = parse_address(address, &a, err), on = 1, off = 0;
        if (r < 0)
                return r;
        _cleanup_(x_closep) int fd = socket(a.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return err_set_errno(err, errno, "listen on %s", address);
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (a.ss_family == AF_INET6)
                (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
        socklen_t len = a.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
        if (bind(fd, (struct sockaddr *)&a, len) < 0 || listen(fd, BACKLOG) < 0)
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
                struct sockaddr_storage a;
                socklen_t len = sizeof(a);
                int fd = accept4(s->listen_fd, (struct sockaddr *)&a, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
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
        s->scratch = malloc(HTTP_SCRATCH_BYTES);
        s->cooler = loop_timer_new(l, on_cooler, s);
        s->grace = loop_timer_new(l, on_grace_over, s);
        s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        int r = http_service_init(&s->service, l, o);
        if (r < 0 || !s->addresses || !s->scratch || !s->cooler || !s->grace)
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
        struct sockaddr_storage a = {0};
        socklen_t len = sizeof(a);
        if (getsockname(s->listen_fd, (struct sockaddr *)&a, &len) < 0)
                return 0;
        return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
                                             : ((struct sockaddr_in *)&a)->sin_port);
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
        http_socket_shut_down_all(s);
        loop_timer_set(s->grace, grace_ms);
}

size_t http_server_drop_peer(struct http_server *s, const char *spiffe_id) {
        return http_socket_fail_peer(s, spiffe_id);
}

void http_server_stats(const struct http_server *s, struct http_server_stats *ret) {
        *ret = s->service.stats;
}
