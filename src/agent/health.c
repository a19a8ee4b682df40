/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/health.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "agent/command.h"
#include "agent/driver/launch.h"
#include "base/str.h"

#define HEALTH_RETRY_MIN_MS 100
#define HEALTH_MESSAGE_MAX 256
#define HEALTH_HTTP_BODY_MAX ((size_t)64 << 10)

/* ---- counting */

void health_count_init(struct health_count *c) {
        *c = (struct health_count){.retry_ms = HEALTH_RETRY_MIN_MS};
}

msec_t health_count_step(struct health_count *c, const struct health_check *spec, bool success,
                         msec_t since_start_ms) {
        if (success) {
                c->failures = 0;
                c->successes++;
                c->retry_ms = HEALTH_RETRY_MIN_MS;
                if (c->successes >= spec->success_threshold) {
                        c->passed = true;
                        c->failing = false;
                }
                return spec->interval_ms;
        }
        c->successes = 0;
        if (since_start_ms >= spec->startup_grace_ms || c->passed) {
                c->failures++;
                if (c->failures >= spec->failure_threshold) {
                        c->failing = true;
                        c->passed = false;
                }
        }
        if (c->passed || c->failing)
                return spec->interval_ms;
        msec_t wait = MIN(c->retry_ms, spec->interval_ms);
        c->retry_ms = MIN(c->retry_ms * 2, spec->interval_ms);
        return wait;
}

/* ---- one check */

struct tcp_probe {           /* lives until its handles are closed */
        struct check *check; /* NULL: nobody waits any more */
        uv_tcp_t tcp;
        uv_connect_t connect;
        uv_getaddrinfo_t lookup;
        bool looking_up, tcp_open;
};

struct check {
        struct health *health;
        const struct health_check *spec;
        struct health_count count;
        struct loop_timer *next;  /* the next run */
        struct loop_timer *limit; /* of a tcp probe */
        struct command *command;
        struct http_call *call;
        struct tcp_probe *probe;
        char message[HEALTH_MESSAGE_MAX]; /* of the last failure */
};

struct health {
        const struct health_host *host;
        struct desired *desired;
        const struct unit *unit;
        struct check *checks;
        size_t n_checks;
        bool started;
        msec_t started_at;
        void (*changed)(void *arg);
        void *arg;
};

static void result(struct check *c, bool success, const char *message) {
        struct health *h = c->health;
        msec_t now = clock_mono_ms(loop_clock(h->host->driver->loop));
        if (success)
                c->message[0] = '\0';
        else
                (void)snprintf(c->message, sizeof(c->message), "%s", message ? message : "failed");
        loop_timer_set(c->next, health_count_step(&c->count, c->spec, success, now - h->started_at));
        h->changed(h->arg);
}

/* ---- exec */

static void exec_done(void *arg, const struct command_result *r) {
        struct check *c = arg;
        c->command = NULL;
        result(c, r->error == 0, r->message);
}

static int run_exec(struct check *c, struct err **err) {
        struct health *h = c->health;
        _cleanup_(launch_done) struct launch l = {.folder_fd = -1};
        int r = launch_prepare(h->host->driver, h->desired, h->unit->spec, c->spec->command, &l, err);
        if (r < 0)
                return r;
        struct command_request request = {.path = l.path,
                                          .arguments = (const char *const *)l.arguments,
                                          .environment = l.environment,
                                          .folder = l.folder,
                                          .change_user = l.change_user,
                                          .uid = l.uid,
                                          .gid = l.gid,
                                          .timeout_ms = c->spec->timeout_ms};
        return command_start(h->host->driver->loop, &request, exec_done, c, &c->command, err);
}

/* ---- http */

static void http_done(void *arg, const struct http_result *r) {
        struct check *c = arg;
        char message[HEALTH_MESSAGE_MAX];
        c->call = NULL;
        if (r->error == -EMSGSIZE && r->status >= 200 && r->status < 400) {
                result(c, true, NULL); /* a long page is a page */
                return;
        }
        if (r->error) {
                result(c, false, r->message ? r->message : strerror(-r->error));
                return;
        }
        bool success = r->status >= 200 && r->status < 400;
        (void)snprintf(message, sizeof(message), "answered with status %d", r->status);
        result(c, success, message);
}

static int run_http(struct check *c, struct err **err) {
        static const char *const headers[] = {"Connection: close", NULL};
        const struct health_check *s = c->spec;
        struct http_client *client = c->health->host->http(c->health->host->arg);
        bool literal6 = strchr(s->host, ':');
        _cleanup_(x_freep) char *url =
                str_format("%s://%s%s%s:%s%s", s->scheme ? s->scheme : "http", literal6 ? "[" : "", s->host,
                           literal6 ? "]" : "", s->port, s->path ? s->path : "/");
        if (!client || !url)
                return err_set_errno(err, ENOMEM, "health check");
        struct http_request request = {.url = url,
                                       .headers = headers,
                                       .limit = HEALTH_HTTP_BODY_MAX,
                                       .timeout_ms = s->timeout_ms,
                                       .done = http_done,
                                       .arg = c};
        return http_client_send(client, &request, &c->call, err);
}

/* ---- tcp */

static void probe_closed(uv_handle_t *h) {
        struct tcp_probe *t = h->data;
        t->tcp_open = false;
        if (!t->looking_up)
                free(t);
}

/* Lets go of the probe: it frees itself when libuv is through with it. */
static void probe_leave(struct check *c) {
        struct tcp_probe *t = TAKE_PTR(c->probe);
        if (!t)
                return;
        loop_timer_cancel(c->limit);
        t->check = NULL;
        if (t->looking_up)
                (void)uv_cancel((uv_req_t *)&t->lookup);
        if (t->tcp_open)
                uv_close((uv_handle_t *)&t->tcp, probe_closed);
        else if (!t->looking_up)
                free(t);
}

static void probe_end(struct check *c, bool success, const char *message) {
        probe_leave(c);
        result(c, success, message);
}

static void probe_late(void *arg) {
        probe_end(arg, false, "no connection in its time");
}

static void probe_connected(uv_connect_t *connect, int status) {
        struct tcp_probe *t = connect->data;
        if (!t->check)
                return;
        probe_end(t->check, status == 0, status < 0 ? strerror(-status) : NULL);
}

static int probe_connect(struct tcp_probe *t, struct loop *l, const struct sockaddr *address) {
        int r = uv_tcp_init(loop_uv(l), &t->tcp);
        if (r < 0)
                return r;
        t->tcp_open = true;
        t->tcp.data = t;
        t->connect.data = t;
        return uv_tcp_connect(&t->connect, &t->tcp, address, probe_connected);
}

static void probe_looked_up(uv_getaddrinfo_t *lookup, int status, struct addrinfo *addresses) {
        struct tcp_probe *t = lookup->data;
        struct check *c = t->check;
        t->looking_up = false;
        if (!c) {
                if (!t->tcp_open)
                        free(t);
        } else if (status < 0 || !addresses) {
                probe_end(c, false, "its host name is not known");
        } else {
                int r = probe_connect(t, c->health->host->driver->loop, addresses->ai_addr);
                if (r < 0)
                        probe_end(c, false, strerror(-r));
        }
        uv_freeaddrinfo(addresses);
}

static int run_tcp(struct check *c, struct err **err) {
        struct loop *l = c->health->host->driver->loop;
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
        struct sockaddr_storage address;
        uint64_t port;
        int r;

        if (str_to_u64(c->spec->port, &port) < 0 || port < 1 || port > 65535)
                return err_set(err, EINVAL, "'%s' is no port", c->spec->port);
        struct tcp_probe *t = calloc(1, sizeof(*t));
        if (!t)
                return err_set_errno(err, ENOMEM, "health check");
        t->check = c;
        c->probe = t;
        if (uv_ip4_addr(c->spec->host, (int)port, (struct sockaddr_in *)&address) == 0 ||
            uv_ip6_addr(c->spec->host, (int)port, (struct sockaddr_in6 *)&address) == 0) {
                r = probe_connect(t, l, (const struct sockaddr *)&address);
        } else {
                t->lookup.data = t;
                r = uv_getaddrinfo(loop_uv(l), &t->lookup, probe_looked_up, c->spec->host, c->spec->port,
                                   &hints);
                t->looking_up = r == 0;
        }
        if (r < 0) {
                probe_leave(c);
                return err_set_errno(err, -r, "connect to %s port %s", c->spec->host, c->spec->port);
        }
        loop_timer_set(c->limit, c->spec->timeout_ms);
        return 0;
}

/* ---- all of an app's checks */

static void run(void *arg) {
        static int (*const runners[])(struct check * c, struct err * *err) = {
                [CHECK_EXEC] = run_exec,
                [CHECK_HTTP] = run_http,
                [CHECK_TCP] = run_tcp,
        };
        struct check *c = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        if (c->command || c->call || c->probe)
                return;
        if (runners[c->spec->type](c, &err) < 0)
                result(c, false, err_message(err));
}

int health_new(const struct health_host *host, struct desired *desired, const struct unit *unit,
               void (*changed)(void *arg), void *arg, struct health **ret, struct err **err) {
        struct health *h = calloc(1, sizeof(*h));
        if (!h)
                return err_set_errno(err, ENOMEM, "app %s", unit->spec->name);
        h->host = host;
        h->desired = desired_ref(desired);
        h->unit = unit;
        h->changed = changed;
        h->arg = arg;
        h->checks = calloc(unit->spec->n_checks + 1, sizeof(*h->checks));
        h->n_checks = h->checks ? unit->spec->n_checks : 0;
        bool complete = h->checks;
        for (size_t i = 0; i < h->n_checks; i++) {
                struct check *c = &h->checks[i];
                c->health = h;
                c->spec = &unit->spec->checks[i];
                health_count_init(&c->count);
                c->next = loop_timer_new(host->driver->loop, run, c);
                c->limit = loop_timer_new(host->driver->loop, probe_late, c);
                complete = complete && c->next && c->limit;
        }
        if (!complete) {
                health_free(h);
                return err_set_errno(err, ENOMEM, "app %s", unit->spec->name);
        }
        *ret = h;
        return 0;
}

void health_stop(struct health *h) {
        h->started = false;
        for (size_t i = 0; i < h->n_checks; i++) {
                struct check *c = &h->checks[i];
                loop_timer_cancel(c->next);
                c->command = command_free(c->command);
                if (c->call)
                        http_call_cancel(TAKE_PTR(c->call));
                probe_leave(c);
        }
}

struct health *health_free(struct health *h) {
        if (!h)
                return NULL;
        for (size_t i = 0; i < h->n_checks; i++)
                if (!h->checks[i].next || !h->checks[i].limit)
                        h->n_checks = i; /* made halfway: nothing runs there */
        health_stop(h);
        for (size_t i = 0; h->checks && i < h->unit->spec->n_checks; i++) {
                if (h->checks[i].next)
                        loop_timer_free(h->checks[i].next);
                if (h->checks[i].limit)
                        loop_timer_free(h->checks[i].limit);
        }
        free(h->checks);
        desired_free(h->desired);
        free(h);
        return NULL;
}

void health_start(struct health *h) {
        health_stop(h);
        h->started = true;
        h->started_at = clock_mono_ms(loop_clock(h->host->driver->loop));
        for (size_t i = 0; i < h->n_checks; i++) {
                health_count_init(&h->checks[i].count);
                h->checks[i].message[0] = '\0';
                loop_timer_set(h->checks[i].next, 0);
        }
}

enum health_verdict health_verdict(const struct health *h) {
        enum health_verdict v = HEALTH_PASSED;
        for (size_t i = 0; i < h->n_checks; i++) {
                if (h->checks[i].count.failing)
                        return HEALTH_FAILING;
                if (!h->checks[i].count.passed)
                        v = HEALTH_UNKNOWN;
        }
        return v;
}

void health_describe(const struct health *h, char *out, size_t size) {
        const struct check *worst = NULL;
        if (size)
                out[0] = '\0';
        for (size_t i = 0; i < h->n_checks; i++) {
                const struct check *c = &h->checks[i];
                if (!worst && !c->count.passed)
                        worst = c;
                if (c->count.failing) {
                        worst = c;
                        break;
                }
        }
        if (worst)
                (void)snprintf(out, size, "health check %s: %s", worst->spec->name,
                               *worst->message ? worst->message : "has not passed yet");
}
