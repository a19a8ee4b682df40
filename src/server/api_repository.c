/* SPDX-License-Identifier: Apache-2.0 */
/* The artifact repository as the director knows it. */
#include "server/api.h"
#include "server/catalog_reader.h"
#include "server/delta_worker.h"
#include "server/director.h"
#include "server/offers.h"

static bool answer_none(struct http_exchange *x, const struct control *c) {
        if (c->director)
                return false;
        http_respond_error(x, 404, "not_found",
                           "this server has no artifact repository: it is started with --repository");
        return true;
}

void api_repository_get(struct http_exchange *x, void *arg) {
        const struct control *c = arg;
        json_t *j = director_json(c);
        if (!j) { /* there is none, which is an answer, too */
                j = json_object_new();
                json_put(j, "location", json_text(NULL));
                json_put(j, "trust", json_text("server"));
                json_put(j, "artifacts", json_number(0));
        }
        api_answer(x, 200, j);
}

/* Look now, rather than in a while. */
void api_repository_notify(struct http_exchange *x, void *arg) {
        struct control *c = arg;
        if (answer_none(x, c))
                return;
        catalog_reader_look(c);
        http_respond(x, 202, NULL, NULL, 0);
}

void api_repository_targets(struct http_exchange *x, void *arg) {
        const struct control *c = arg;
        const struct catalog *catalog = director_catalog(c);
        if (catalog)
                api_answer(x, 200, must(catalog_to_json(catalog)));
        else if (!c->director) {
                json_t *j = json_object_new();
                json_put(j, "targets", json_array_new());
                api_answer(x, 200, j);
        } else
                http_respond_error(x, 503, "unavailable", "the repository has not been read yet");
}

struct asking {
        struct http_exchange *x; /* NULL: left */
};

static void asking_closed(struct http_exchange *x, void *arg) {
        ((struct asking *)arg)->x = NULL;
}

static void offer_there(void *arg, const json_t *offer) {
        struct asking *a = arg;
        if (a->x) {
                http_on_close(a->x, NULL, NULL);
                if (offer)
                        api_answer(a->x, 200, json_incref((json_t *)offer));
                else
                        http_respond_error(a->x, 503, "unavailable", "the repository cannot be read now");
        }
        free(a);
}

/* What there is to fetch a target with, for plans. */
void api_repository_offer(struct http_exchange *x, void *arg) {
        struct control *c = arg;
        if (answer_none(x, c))
                return;
        struct asking *a = NEW(struct asking);
        a->x = x;
        http_on_close(x, asking_closed, a);
        offers_read(c, http_parameter(x, "sha256"), http_query(x, "seeds"), offer_there, a);
}

void api_deltas_list(struct http_exchange *x, void *arg) {
        api_answer_list(x, "DeltaList", delta_worker_json(arg));
}
