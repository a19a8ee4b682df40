/* SPDX-License-Identifier: Apache-2.0 */
/* Images and archives of any make: what is found in them lies in them, and no two files share bytes. */
#include <stdint.h>

#include "repo/delta/extents.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct delta_extents e = {0};
        if (delta_extents_find(data, (int64_t)size, &e) < 0)
                return 0;
        int64_t sum = 0;
        for (size_t i = 0; i < e.n_files; i++) {
                int64_t length = 0;
                for (uint32_t k = 0; k < e.files[i].n_spans; k++) {
                        const struct delta_span *s = &e.spans[e.files[i].first_span + k];
                        if (s->offset < 0 || s->length <= 0 || s->offset + s->length > (int64_t)size)
                                abort();
                        length += s->length;
                }
                if (length != e.files[i].length)
                        abort();
                sum += length;
        }
        if (sum > (int64_t)size)
                abort();
        delta_extents_done(&e);
        return 0;
}
