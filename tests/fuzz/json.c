/* SPDX-License-Identifier: Apache-2.0 */
/* JSON from peers. The canonical form must be read again, and be its own canonical form. */
#include <string.h>

#include "codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
        if (!holds)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_json_ json_t *j = NULL, *again = NULL;
        if (json_decode((const char *)data, size, &j, &err) < 0) {
                check(err != NULL && j == NULL);
                return 0;
        }
        _cleanup_(x_freep) char *compact = json_encode_compact(j), *pretty = json_encode_pretty(j),
                                *yaml = json_encode_yaml(j);
        check(compact && pretty && yaml);
        _cleanup_(buf_done) struct buf first = BUF_INIT, second = BUF_INIT;
        if (json_encode_canonical(j, &first, &err) < 0)
                return 0; /* it has numbers with a fraction */
        check(json_decode(buf_str(&first), first.len, &again, NULL) == 0);
        check(json_equal(j, again));
        check(json_encode_canonical(again, &second, NULL) == 0);
        check(strcmp(buf_str(&first), buf_str(&second)) == 0);
        return 0;
}
