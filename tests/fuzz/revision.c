/* SPDX-License-Identifier: Apache-2.0 */
/* What an agent does with a revision that came over the network: read it, write it again, make it its own. */
#include <string.h>

#include "base/fs.h"
#include "fleet/revision.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
        if (!holds)
                abort();
}

static void check_bound(const struct revision *r) {
        for (size_t i = 0; i < r->n_apps; i++)
                for (size_t j = 0; j < r->apps[i].n_files; j++) {
                        const char *path = r->apps[i].files[j].path;
                        check(path[0] == '/' && path_is_beneath(path + 1));
                }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static struct pair labels[] = {{"role", "shop"}, {"site", "kiel"}};
        static struct pair variables[] = {{"dir", "../.."}, {"port", "8081"}};
        const struct binding binding = {
                .node_name = "shop-1", .labels = {labels, 2}, .variables = {variables, 2}};
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(revision_freep) struct revision *r = NULL, *again = NULL, *bound = NULL;
        if (revision_decode((const char *)data, size, &r, &err) < 0) {
                check(err != NULL && r == NULL);
                return 0;
        }
        _cleanup_(x_freep) char *text = NULL, *second = NULL;
        size_t len, second_len;
        check(revision_encode(r, &text, &len, NULL) == 0);
        check(revision_decode(text, len, &again, NULL) == 0);
        check(revision_encode(again, &second, &second_len, NULL) == 0);
        check(len == second_len && memcmp(text, second, len) == 0 && strcmp(r->digest, again->digest) == 0);
        char fingerprint[65];
        check(revision_binding_fingerprint(r, &binding, fingerprint) == 0);
        if (revision_bind(r, &binding, &bound, &err) == 0)
                check_bound(bound);
        else
                check(bound == NULL);
        return 0;
}
