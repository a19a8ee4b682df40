/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile fleet repository: "=== path" lines begin its files. Whatever it holds, the compiler ends, says
 * what is wrong, and what it calls good has revisions that a node can read. */
#include <stdlib.h>

#include "../unit/fleet/memory_tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static struct pair labels[] = {{"role", "shop"}, {"site", "kiel"}};
        const struct fleet_node known = {.name = "known", .labels = {labels, ARRAY_SIZE(labels)}};
        _cleanup_(fleet_cache_freep) struct fleet_cache *cache = fleet_cache_new();
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *text = malloc(size + 1);
        struct memory_tree t;

        if (!text || !cache)
                return 0;
        memcpy(text, data, size);
        text[size] = '\0';
        memory_tree_init(&t, text);
        for (size_t i = 0; i < t.tree.n; i++)
                t.entries[i].content_id = "same";
        for (int round = 0; round < 2; round++) { /* afresh, then from the cache: the same outcome */
                struct fleet_model *m = NULL;
                if (fleet_compile(&t.tree, &known, 1, cache, &m, &err) < 0)
                        break;
                for (size_t i = 0; i < m->n_fleets; i++)
                        if ((diagnostics_errors(m->diagnostics) == 0) != (m->fleets[i].revision != NULL))
                                abort();
                fleet_model_free(m);
        }
        memory_tree_done(&t);
        return 0;
}
