/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/plan_repository.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "base/table.h"
#include "cli/print.h"
#include "codec/json.h"
#include "crypto/digest.h"

#define DELTAS_MAX 256
#define SEEDS_MAX 8 /* as many as the server looks at */

struct plan_offers {
        struct api *api;
        struct catalog *catalog;
        struct arena *arena;
        struct table *asked; /* path in the API -> struct known_offer in the arena */
};

struct plan_offers *plan_offers_free(struct plan_offers *o) {
        if (!o)
                return NULL;
        catalog_unref(o->catalog);
        table_free(o->asked);
        arena_free(o->arena);
        free(o);
        return NULL;
}

const struct catalog *plan_offers_catalog(const struct plan_offers *o) {
        return o->catalog;
}

int plan_offers_read(struct api *a, struct plan_offers **ret, struct err **err) {
        _cleanup_(plan_offers_freep) struct plan_offers *o = calloc(1, sizeof *o);
        _cleanup_json_ json_t *about = NULL, *answer = NULL;
        _cleanup_(err_freep) struct err *why = NULL;
        if (!o || !(o->arena = arena_new(0)) || !(o->asked = table_new(NULL)))
                return err_set_errno(err, ENOMEM, "read the repository");
        o->api = a;
        int r = api_call(a, "GET", "/repository", NULL, &about, &why);
        if (r == 0 && !*field_text(about, "location")) {
                *ret = NULL;
                return 0;
        }
        if (r == 0)
                r = api_call(a, "GET", "/repository/targets", NULL, &answer, &why);
        if (r == 0)
                r = catalog_from_json(answer, &o->catalog, &why);
        if (r < 0)
                return err_set(err, -r, "what the server's repository has: %s", err_message(why));
        *ret = TAKE_PTR(o);
        return 0;
}

static const struct fetch_delta *read_deltas(struct plan_offers *o, const json_t *list, size_t *ret_n) {
        struct fetch_delta *deltas = arena_calloc(o->arena, DELTAS_MAX, sizeof *deltas);
        size_t i, n = 0;
        json_t *one;
        json_array_foreach ((json_t *)list, i, one) {
                const char *from = field_text(one, "from");
                if (!deltas || n == DELTAS_MAX || !sha256_hex_is_valid(from) || field_int(one, "length") < 1)
                        continue;
                memcpy(deltas[n].from, from, sizeof deltas[n].from);
                deltas[n++].length = field_int(one, "length");
        }
        *ret_n = n;
        return deltas;
}

struct known_offer {
        struct fetch_offer offer;
        int64_t missing;
};

static struct known_offer *ask(struct plan_offers *o, const char *path) {
        struct known_offer *known = arena_calloc(o->arena, 1, sizeof *known);
        _cleanup_json_ json_t *answer = NULL;
        if (!known)
                return NULL;
        known->missing = -1;
        if (api_call(o->api, "GET", path, NULL, &answer, NULL) < 0)
                return known;
        known->offer.deltas = read_deltas(o, field(answer, "deltas"), &known->offer.n_deltas);
        known->offer.has_chunks = field(answer, "chunkPackLength") != NULL;
        known->offer.chunk_index_length = field_int(answer, "chunkIndexLength");
        known->offer.chunk_pack_length = field_int(answer, "chunkPackLength");
        if (json_is_integer(field(answer, "chunksMissing")))
                known->missing = field_int(answer, "chunksMissing");
        return known;
}

/* Nodes that have the same are asked for once. */
static bool offer(void *arg, const struct artifact *a, const char *const *seeds, size_t n_seeds,
                  struct fetch_offer *ret, int64_t *ret_missing) {
        struct plan_offers *o = arg;
        _cleanup_(buf_done) struct buf path = BUF_INIT;
        buf_printf(&path, "/repository/offers/%s", a->sha256);
        for (size_t i = 0; i < n_seeds && i < SEEDS_MAX; i++)
                buf_printf(&path, "%s%s", i == 0 ? "?seeds=" : ",", seeds[i]);
        struct known_offer *known = path.failed ? NULL : table_get(o->asked, buf_str(&path));
        if (!known && !path.failed) {
                known = ask(o, buf_str(&path));
                if (known && table_set(o->asked, buf_str(&path), known) < 0)
                        known = NULL;
        }
        if (!known)
                return false;
        *ret = known->offer;
        *ret_missing = known->missing;
        return true;
}

struct plan_repository plan_offers_repository(struct plan_offers *o) {
        return (struct plan_repository){o->catalog, offer, o};
}
