/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/sse.h"

#include <errno.h>
#include <string.h>

void sse_reader_init(struct sse_reader *r, int (*on_event)(void *arg, const struct sse_event *event),
                     void *arg) {
        *r = (struct sse_reader){.on_event = on_event, .arg = arg};
        r->line.limit = r->data.limit = r->type.limit = r->id.limit = SSE_EVENT_MAX;
}

void sse_reader_done(struct sse_reader *r) {
        buf_done(&r->line);
        buf_done(&r->data);
        buf_done(&r->type);
        buf_done(&r->id);
}

void sse_reader_restart(struct sse_reader *r) {
        buf_clear(&r->line);
        buf_clear(&r->data);
        buf_clear(&r->type);
        r->after_cr = r->begun = false;
}

const char *sse_last_id(const struct sse_reader *r) {
        return buf_str(&r->id);
}

static int dispatch(struct sse_reader *r) {
        int answer = 0;
        if (r->data.len > 0) {
                r->data.data[--r->data.len] = '\0'; /* the newline after the last line */
                const struct sse_event event = {
                        .type = r->type.len ? buf_str(&r->type) : "message",
                        .data = buf_str(&r->data),
                        .id = buf_str(&r->id),
                };
                answer = r->on_event(r->arg, &event);
        }
        buf_clear(&r->data);
        buf_clear(&r->type);
        return answer;
}

static int take_line(struct sse_reader *r) {
        const char *line = buf_str(&r->line);
        size_t len = r->line.len;
        if (len == 0)
                return dispatch(r);
        if (line[0] == ':')
                return 0; /* a comment: the server's heartbeat */
        const char *colon = memchr(line, ':', len), *value = line + len;
        size_t name = len, value_len = 0;
        if (colon) {
                name = (size_t)(colon - line);
                value = colon + 1;
                if (*value == ' ')
                        value++;
                value_len = len - (size_t)(value - line);
        }
        if (name == 4 && memcmp(line, "data", 4) == 0) {
                buf_append(&r->data, value, value_len);
                buf_putc(&r->data, '\n');
        } else if (name == 5 && memcmp(line, "event", 5) == 0) {
                buf_clear(&r->type);
                buf_append(&r->type, value, value_len);
        } else if (name == 2 && memcmp(line, "id", 2) == 0 && !memchr(value, '\0', value_len)) {
                buf_clear(&r->id);
                buf_append(&r->id, value, value_len);
        }
        return buf_failed(&r->data) ? buf_failed(&r->data) : buf_failed(&r->type);
}

int sse_feed(struct sse_reader *r, const char *p, size_t n) {
        for (size_t i = 0; i < n; i++) {
                char c = p[i];
                if (c == '\n' && r->after_cr) {
                        r->after_cr = false;
                        continue;
                }
                r->after_cr = c == '\r';
                if (c == '\n' || c == '\r') {
                        int answer = take_line(r);
                        buf_clear(&r->line);
                        if (answer != 0)
                                return answer;
                        continue;
                }
                /* Runs of ordinary bytes in one piece. */
                size_t run = 1;
                while (i + run < n && p[i + run] != '\n' && p[i + run] != '\r')
                        run++;
                int e = buf_append(&r->line, p + i, run);
                if (e < 0)
                        return e;
                i += run - 1;
                /* A byte order mark may stand at the very beginning. */
                if (!r->begun && r->line.len >= 3) {
                        r->begun = true;
                        if (memcmp(r->line.data, "\xef\xbb\xbf", 3) == 0)
                                buf_consume(&r->line, 3);
                }
        }
        return 0;
}
