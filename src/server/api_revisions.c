/* SPDX-License-Identifier: Apache-2.0 */
#include "server/api.h"
#include "server/revisions.h"

void api_revisions_list(struct http_exchange *x, void *arg) {
        api_answer_list(x, "RevisionList", revisions_json(arg, http_query(x, "fleet")));
}

void api_revisions_get(struct http_exchange *x, void *arg) {
        const char *digest = http_parameter(x, "digest");
        json_t *j = revisions_one_json(arg, digest);
        if (j)
                api_answer(x, 200, j);
        else
                api_answer_missing(x, "revision", digest);
}
