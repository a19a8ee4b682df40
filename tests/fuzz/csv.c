/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of nodes as people write them: every record is read, in the order of its lines. */
#include "cli/csv.h"

#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct csv_reader r;
        size_t line = 0;
        csv_init(&r, (const char *)data, size);
        for (;;) {
                _cleanup_(strv_freep) char **fields = NULL;
                int k = csv_next(&r, &fields, NULL);
                if (k != 1)
                        return 0;
                if (!fields || !fields[0] || r.line <= line || r.at > size)
                        abort();
                line = r.line;
        }
}
