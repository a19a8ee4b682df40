/* SPDX-License-Identifier: Apache-2.0 */
/* A chunk index as a mirror hands it out. What is accepted keeps its bounds, and is written as what was read.
 */
#include <string.h>

#include "repo/chunk/index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
        if (!holds)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(chunk_index_freep) struct chunk_index *i = NULL, *again = NULL;
        if (chunk_index_parse(data, size, &i, &err) < 0) {
                check(err != NULL && i == NULL);
                return 0;
        }
        int64_t total = 0, packed = 0;
        check(i->n_chunks <= CHUNK_COUNT_MAX);
        for (size_t k = 0; k < i->n_chunks; k++) {
                const struct chunk *c = &i->chunks[k];
                check(c->length > 0 && c->length <= (c->kind == CHUNK_ZERO ? CHUNK_ZERO_MAX : CHUNK_MAX));
                check(c->packed <= c->length && c->offset >= 0 && c->offset + c->packed <= i->pack_length);
                total += c->length;
                if (c->kind == CHUNK_FRAME) {
                        check(c->offset == packed && c->packed > 0);
                        packed += c->packed;
                }
        }
        check(total == i->target_length && packed == i->pack_length);
        _cleanup_(x_freep) void *bytes = NULL;
        size_t length;
        check(chunk_index_encode(i, &bytes, &length) == 0);
        check(chunk_index_parse(bytes, length, &again, NULL) == 0);
        check(again->n_chunks == i->n_chunks && again->average_log == i->average_log &&
              again->window_log == i->window_log && again->segment_log == i->segment_log &&
              strcmp(again->target_sha256, i->target_sha256) == 0);
        check(i->n_chunks == 0 || memcmp(again->chunks, i->chunks, i->n_chunks * sizeof(*i->chunks)) == 0);
        return 0;
}
