/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/network_watch.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#define NETWORK_GATHER_MS 2000
/* Containers come and go, each with an address: no more than this often. */
#define NETWORK_PAUSE_MS 30000

struct network_watch {
        struct loop *loop;
        int fd;
        uv_poll_t *poll;
        struct loop_timer *gather;
        msec_t told_at;
        void (*changed)(void *arg);
        void *arg;
};

static void tell(void *arg) {
        struct network_watch *w = arg;
        w->told_at = clock_mono_ms(loop_clock(w->loop));
        w->changed(w->arg);
}

static bool is_change(const char *data, size_t len) {
        const struct nlmsghdr *h = (const void *)data;
        for (; NLMSG_OK(h, len); h = NLMSG_NEXT(h, len))
                if (h->nlmsg_type == RTM_NEWADDR || h->nlmsg_type == RTM_DELADDR ||
                    h->nlmsg_type == RTM_NEWROUTE || h->nlmsg_type == RTM_DELROUTE)
                        return true;
        return false;
}

static void readable(uv_poll_t *poll, int status, int events) {
        struct network_watch *w = poll->data;
        char data[8192] __attribute__((aligned(NLMSG_ALIGNTO)));
        bool change = false;

        (void)status;
        (void)events;
        for (;;) {
                ssize_t n = recv(w->fd, data, sizeof(data), MSG_DONTWAIT);
                if (n < 0 && errno == ENOBUFS) {
                        change = true; /* more came than fitted */
                        continue;
                }
                if (n <= 0)
                        break;
                change = change || is_change(data, (size_t)n);
        }
        if (!change || loop_timer_is_set(w->gather))
                return;
        msec_t since = clock_mono_ms(loop_clock(w->loop)) - w->told_at;
        loop_timer_set(w->gather,
                       w->told_at && since < NETWORK_PAUSE_MS ? NETWORK_PAUSE_MS - since : NETWORK_GATHER_MS);
}

static void closed(uv_handle_t *h) {
        free(h);
}

int network_watch_new(struct loop *l, void (*changed)(void *arg), void *arg, struct network_watch **ret,
                      struct err **err) {
        struct network_watch *w = calloc(1, sizeof(*w));
        uv_poll_t *poll = calloc(1, sizeof(*poll));
        struct sockaddr_nl address = {.nl_family = AF_NETLINK,
                                      .nl_groups =
                                              RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE};
        if (!w || !poll) {
                free(w);
                free(poll);
                return err_set_errno(err, ENOMEM, "watch the network");
        }
        w->loop = l;
        w->changed = changed;
        w->arg = arg;
        w->gather = loop_timer_new(l, tell, w);
        w->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
        if (!w->gather || w->fd < 0 || bind(w->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
            uv_poll_init(loop_uv(l), poll, w->fd) < 0) {
                int code = errno ? errno : ENOMEM;
                free(poll);
                network_watch_free(w);
                return err_set_errno(err, code, "watch the network");
        }
        poll->data = w;
        w->poll = poll;
        (void)uv_poll_start(poll, UV_READABLE, readable);
        *ret = w;
        return 0;
}

struct network_watch *network_watch_free(struct network_watch *w) {
        if (!w)
                return NULL;
        if (w->poll) {
                (void)uv_poll_stop(w->poll);
                uv_close((uv_handle_t *)w->poll, closed);
        }
        x_closep(&w->fd);
        if (w->gather)
                loop_timer_free(w->gather);
        free(w);
        return NULL;
}
