/* SPDX-License-Identifier: Apache-2.0 */
/* The command line's event reader: whatever the pieces, the events are the same. */
#include <stdint.h>
#include <string.h>

#include "cli/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int note(void *arg, const struct sse_event *e) {
        buf_printf(arg, "<%s|%s|%s>", e->type, e->data, e->id);
        return 0;
}

static void feed(const uint8_t *data, size_t size, size_t step, struct buf *out) {
        struct sse_reader r;
        sse_reader_init(&r, note, out);
        for (size_t i = 0; i < size; i += step)
                if (sse_feed(&r, (const char *)data + i, MIN(step, size - i)) != 0)
                        break;
        sse_reader_done(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(buf_done) struct buf whole = BUF_INIT, pieces = BUF_INIT;
        feed(data, size, size + 1, &whole);
        feed(data, size, 1 + (size ? data[0] % 7 : 0), &pieces);
        if (strcmp(buf_str(&whole), buf_str(&pieces)) != 0)
                abort();
        return 0;
}
