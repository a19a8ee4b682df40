/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 as bytes, the client's preface included. */
#include "http_driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct driven whole = {0}, pieces = {0}, meddled = {0};
        if (size > 50000)
                return 0;
        driven_run(&whole, &http2_protocol, data, size, size ? size : 1, false);
        driven_run(&pieces, &http2_protocol, data, size, 7, false);
        driven_run(&meddled, &http2_protocol, data, size, 1 + size % 29, true);
        return 0;
}
