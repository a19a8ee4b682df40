/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/event_reader.h"

#include <errno.h>
#include <string.h>

void event_reader_init(struct event_reader *r,
                       int (*event)(void *arg, const char *type, const json_t *event, struct err **err),
                       void *arg) {
        *r = (struct event_reader){.line = BUF_INIT, .event = event, .arg = arg};
        r->line.limit = EVENT_LINE_MAX;
}

void event_reader_done(struct event_reader *r) {
        buf_done(&r->line);
}

void event_reader_reset(struct event_reader *r) {
        /* An idle connection holds no buffer. */
        buf_done(&r->line);
        r->line = (struct buf)BUF_INIT;
        r->line.limit = EVENT_LINE_MAX;
}

static bool is_blank(const char *p, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (p[i] != ' ' && p[i] != '\t' && p[i] != '\r')
                        return false;
        return true;
}

static int take_line(struct event_reader *r, const char *p, size_t n, struct err **err) {
        _cleanup_json_ json_t *event = NULL;
        const char *type;

        if (is_blank(p, n))
                return 0;
        if (json_decode(p, n, &event, err) < 0)
                return err_wrap(err, "events: a line is not JSON");
        if (!json_is_object(event))
                return err_set(err, EINVAL, "events: a line is not a JSON object");
        int rc = json_read_string(event, "type", &type, err);
        if (rc < 0)
                return err_wrap(err, "events");
        return r->event(r->arg, type, event, err);
}

int event_reader_feed(struct event_reader *r, const char *p, size_t n, struct err **err) {
        while (n > 0) {
                const char *end = memchr(p, '\n', n);
                if (!end) {
                        int rc = buf_append(&r->line, p, n);
                        if (rc < 0)
                                return err_set(err, -rc, "events: a line is longer than %zu bytes",
                                               EVENT_LINE_MAX);
                        return 0;
                }
                size_t len = (size_t)(end - p);
                int rc;
                if (r->line.len == 0) {
                        if (len > EVENT_LINE_MAX)
                                return err_set(err, EMSGSIZE, "events: a line is longer than %zu bytes",
                                               EVENT_LINE_MAX);
                        rc = take_line(r, p, len, err);
                } else {
                        rc = buf_append(&r->line, p, len);
                        if (rc < 0)
                                return err_set(err, -rc, "events: a line is longer than %zu bytes",
                                               EVENT_LINE_MAX);
                        /* The event may lead to a reset of this reader: take the line out first. */
                        struct buf line = r->line;
                        r->line = (struct buf)BUF_INIT;
                        r->line.limit = EVENT_LINE_MAX;
                        rc = take_line(r, line.data, line.len, err);
                        buf_done(&line);
                }
                if (rc != 0)
                        return rc;
                p = end + 1;
                n -= len + 1;
        }
        return 0;
}
