/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile Kubernetes manifest. */
#include <stdlib.h>
#include <string.h>

#include "codec/json.h"
#include "fleet/parsed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(parsed_unrefp) struct parsed *p = NULL;
        char *text = malloc(size + 1);

        if (!text)
                return 0;
        memcpy(text, data, size);
        text[size] = '\0';
        if (parsed_new(PARSED_MANIFEST, "manifest.yaml", text, size, &p) < 0)
                return 0;
        for (size_t i = 0; i < p->manifest.n_objects; i++) {
                _cleanup_(buf_done) struct buf out = BUF_INIT;
                _cleanup_json_ json_t *copy = json_deep_copy(p->manifest.objects[i].json);
                if (json_encode_canonical(p->manifest.objects[i].json, &out, NULL) < 0)
                        abort(); /* what was accepted can stand in a revision */
                (void)manifest_settle_numbers(copy, NULL);
        }
        return 0;
}
