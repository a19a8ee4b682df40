/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 as bytes. However they are cut into pieces, the same requests must come out of them. */
#include "http_driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct driven whole = {0}, pieces = {0}, meddled = {0};
        if (size > 20000)
                return 0;
        driven_run(&whole, &http1_protocol, data, size, size ? size : 1, false);
        driven_run(&pieces, &http1_protocol, data, size, 1, false);
        if (whole.calls != pieces.calls || whole.body_bytes != pieces.body_bytes)
                abort();
        driven_run(&meddled, &http1_protocol, data, size, 1 + size % 13, true);
        return 0;
}
