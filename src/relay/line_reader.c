/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/line_reader.h"

#include <errno.h>
#include <string.h>

#include "codec/json.h"

static int hand_out(const char *text, size_t len,
                    bool (*line)(void *arg, const char *type, const json_t *object), void *arg,
                    struct err **err) {
        _cleanup_json_ json_t *object = NULL;
        const char *type = NULL;
        if (len > 0 && text[len - 1] == '\r')
                len--;
        if (len == 0)
                return 0;
        int r = json_decode(text, len, &object, err);
        if (r >= 0 && !json_is_object(object))
                r = err_set(err, EINVAL, "an event is no JSON object");
        if (r >= 0)
                r = json_read_string(object, "type", &type, err);
        if (r < 0)
                return r;
        return line(arg, type, object) ? 0 : err_set(err, ECANCELED, "stopped");
}

int line_reader_feed(struct line_reader *r, const char *p, size_t n,
                     bool (*line)(void *arg, const char *type, const json_t *object), void *arg,
                     struct err **err) {
        while (n > 0) {
                const char *end = memchr(p, '\n', n);
                size_t len = end ? (size_t)(end - p) : n;
                if (len > LINE_BYTES_MAX - r->line.len)
                        return err_set(err, EMSGSIZE, "an event is over %zu bytes", LINE_BYTES_MAX);
                if (!end || r->line.len > 0) {
                        if (buf_append(&r->line, p, len) < 0)
                                return err_set(err, ENOMEM, "out of memory");
                }
                if (!end)
                        return 0;
                int result;
                if (r->line.len > 0) {
                        struct buf whole = r->line;
                        r->line = (struct buf)BUF_INIT;
                        result = hand_out(whole.data, whole.len, line, arg, err);
                        buf_done(&whole);
                } else {
                        result = hand_out(p, len, line, arg, err);
                }
                if (result < 0)
                        return result;
                p += len + 1;
                n -= len + 1;
        }
        return 0;
}

void line_reader_reset(struct line_reader *r) {
        buf_done(&r->line);
}
