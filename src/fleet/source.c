/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/source.h"

#include <errno.h>
#include <string.h>

int source_init(struct source *s, struct arena *arena, const char *path, const char *text, size_t len) {
        size_t n = 1, line = 0;
        uint32_t *lines;

        if (len >= UINT32_MAX)
                return -EFBIG;
        for (const char *p = text; (p = memchr(p, '\n', len - (size_t)(p - text))); p++)
                n++;
        lines = arena_calloc(arena, n, sizeof *lines);
        if (!lines)
                return -ENOMEM;
        lines[line++] = 0;
        for (const char *p = text; line < n && (p = memchr(p, '\n', len - (size_t)(p - text))); p++)
                lines[line++] = (uint32_t)(p - text + 1);
        *s = (struct source){.path = path, .text = text, .len = len, .lines = lines, .n_lines = n};
        return 0;
}

struct position source_position(const struct source *s, size_t offset) {
        size_t low = 0, high = s->n_lines;

        if (offset > s->len)
                offset = s->len;
        while (high - low > 1) { /* the last line that starts at or before offset */
                size_t middle = low + (high - low) / 2;
                if (s->lines[middle] <= offset)
                        low = middle;
                else
                        high = middle;
        }
        return (struct position){s->path, (uint32_t)low + 1, (uint32_t)(offset - s->lines[low]) + 1};
}

static const char *find_opening(const char *p, const char *end) {
        return memmem(p, (size_t)(end - p), "${", 2);
}

struct position source_reference(const struct source *s, const struct position *scalar, const char *decoded,
                                 size_t offset) {
        const char *p, *end = s->text + s->len;
        size_t start, nth = 0;

        if (scalar->line == 0 || scalar->line > s->n_lines)
                return *scalar;
        start = s->lines[scalar->line - 1] + (scalar->column ? scalar->column - 1 : 0);
        if (start > s->len)
                return *scalar;
        for (const char *q = decoded; (q = strstr(q, "${")) && (size_t)(q - decoded) < offset; q += 2)
                nth++;
        p = s->text + start;
        for (size_t i = 0; (p = find_opening(p, end)); p += 2)
                if (i++ == nth)
                        return source_position(s, (size_t)(p - s->text));
        return *scalar;
}
