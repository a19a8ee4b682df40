/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/object_store.h"
#include "server/api.h"
#include "server/control.h"
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

/* The bytes of a file that a revision names: `skerry plan` shows by them what a change does to it. */
void api_objects_get(struct http_exchange *x, void *arg) {
        struct control *c = arg;
        const char *digest = http_parameter(x, "sha256");
        int fd = object_store_open_object(c->objects, digest);
        if (fd >= 0)
                http_respond_file(x, fd, "application/octet-stream", digest, true);
        else
                api_answer_missing(x, "object", digest);
}
