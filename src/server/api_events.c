/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "server/api.h"

/* false: answered with 400. */
static bool number(struct http_exchange *x, const char *what, const char *text, int64_t *ret) {
        int64_t n;
        if (!text)
                return true;
        if (str_to_i64(text, &n) < 0 || n < 0) {
                _cleanup_(x_freep) char *message = must(str_format("%s: %.40s is no number", what, text));
                http_respond_error(x, 400, "invalid", message);
                return false;
        }
        *ret = n;
        return true;
}

void api_events_get(struct http_exchange *x, void *arg) {
        struct control *c = arg;
        const char *accept = http_header(x, "accept");
        bool is_stream = accept && strstr(accept, "text/event-stream");
        struct event_filter filter = {.since = is_stream ? events_newest(c->events) : -1,
                                      .node = http_query(x, "node"),
                                      .rollout = http_query(x, "rollout")};
        if (!number(x, "since", http_query(x, "since"), &filter.since) ||
            !number(x, "limit", http_query(x, "limit"), &filter.limit) ||
            (is_stream && !number(x, "Last-Event-ID", http_header(x, "last-event-id"), &filter.since)))
                return;
        if (is_stream)
                events_answer_stream(c->events, x, &filter);
        else
                events_answer_list(c->events, x, &filter);
}
