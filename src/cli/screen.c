/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/screen.h"

#include <errno.h>
#include <string.h>

/* ECMA-48 control sequences; 2026 is the private mode "synchronized output", ignored where unknown. */
#define BEGIN "\x1b[?2026h"
#define END "\x1b[?2026l"
#define HIDE_CURSOR "\x1b[?25l"
#define SHOW_CURSOR "\x1b[?25h"
#define CLEAR_REST_OF_LINE "\x1b[K"
#define CLEAR_BELOW "\x1b[J"

static int write_whole(int fd, const char *p, size_t len) {
        while (len > 0) {
                ssize_t n = write(fd, p, len);
                if (n < 0 && errno != EINTR)
                        return -errno;
                if (n > 0) {
                        p += n;
                        len -= (size_t)n;
                }
        }
        return 0;
}

int screen_draw(struct screen *s, const char *text) {
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        buf_puts(&b, BEGIN);
        if (!s->hidden)
                buf_puts(&b, HIDE_CURSOR);
        if (s->lines > 0)
                buf_printf(&b, "\x1b[%zuA\r", s->lines);
        s->lines = 0;
        while (*text) {
                size_t len = strcspn(text, "\n");
                buf_append(&b, text, len);
                buf_puts(&b, CLEAR_REST_OF_LINE "\n");
                s->lines++;
                text += len + (text[len] == '\n');
        }
        buf_puts(&b, CLEAR_BELOW END);
        if (buf_failed(&b))
                return buf_failed(&b);
        s->hidden = true;
        return write_whole(s->fd, b.data, b.len);
}

void screen_end(struct screen *s) {
        if (s->hidden)
                (void)write_whole(s->fd, SHOW_CURSOR, strlen(SHOW_CURSOR));
        s->hidden = false;
        s->lines = 0;
}
