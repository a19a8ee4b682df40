/* SPDX-License-Identifier: Apache-2.0 */
/* References in text and in files. Listing and replacing must agree on what is right. */
#include <errno.h>

#include "fleet/expand.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
        if (!holds)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static struct pair labels[] = {{"site", "kiel"}};
        static struct pair variables[] = {{"port", "8081"}};
        const struct binding binding = {
                .node_name = "shop-1", .labels = {labels, 1}, .variables = {variables, 1}};
        _cleanup_(arena_freep) struct arena *arena = arena_new(0);
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(buf_done) struct buf out = {.limit = 1u << 20};
        struct reference *references = NULL;
        size_t n = 0, offset = 0;
        int listed = expand_references(arena, (const char *)data, size, &references, &n, &offset, &err);
        int r = expand_text((const char *)data, size, &binding, &out, &err);
        if (listed < 0) {
                check(offset < size && data[offset] == '$' && r < 0);
                return 0;
        }
        bool all_known = true;
        for (size_t i = 0; i < n; i++) {
                check(references[i].offset < size && reference_name_is_valid(references[i].name));
                all_known &= references[i].has_default || binding_get(&binding, references[i].name);
        }
        check(r == -EMSGSIZE || (all_known ? r == 0 : r == -ENOKEY));
        return 0;
}
