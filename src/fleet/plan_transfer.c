/* SPDX-License-Identifier: Apache-2.0 */
/* What nodes would fetch: chosen as the director chooses, planned as nodes plan. */
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "fleet/plan_internal.h"

static int no_memory(struct err **err) {
        return err_set_errno(err, ENOMEM, "plan transfers");
}

static struct plan_transfer *add_transfer(struct arena *arena, struct plan_fleet *f) {
        if (f->n_transfers == f->cap_transfers) {
                size_t cap = f->cap_transfers ? f->cap_transfers * 2 : 16;
                struct plan_transfer *grown = arena_calloc(arena, cap, sizeof *grown);
                if (!grown)
                        return NULL;
                if (f->n_transfers)
                        memcpy(grown, f->transfers, f->n_transfers * sizeof *grown);
                f->transfers = grown;
                f->cap_transfers = cap;
        }
        return &f->transfers[f->n_transfers++];
}

static bool lies_there(const struct plan_node *now, const char *sha256) {
        for (size_t i = 0; i < now->n_seeds; i++)
                if (str_eq(now->seeds[i], sha256))
                        return true;
        return false;
}

static void predict(const struct plan_repository *repository, const struct plan_node *now,
                    const struct artifact *a, struct fetch_plan *ret) {
        struct fetch_offer offer = {0};
        struct fetch_situation there = {.present = lies_there(now, a->sha256),
                                        .seeds = now->seeds,
                                        .n_seeds = now->n_seeds,
                                        .chunks_missing = -1,
                                        .budget_left = -1};
        if (there.present || !repository->offer ||
            !repository->offer(repository->arg, a, now->seeds, now->n_seeds, &offer, &there.chunks_missing))
                offer = (struct fetch_offer){0};
        offer.length = a->length;
        fetch_plan_make(&offer, &there, ret);
}

int plan_transfer(struct arena *arena, const struct plan_repository *repository, const struct plan_node *now,
                  const struct binding *b, const struct revision *revision, struct plan_fleet *fleet,
                  struct err **err) {
        _cleanup_(err_freep) struct err *why = NULL;
        struct catalog_choice *chosen = NULL;
        char platform[PLATFORM_MAX];
        bool knows = now->platform && platform_parse(now->platform, platform, NULL) == 0;
        size_t n = 0;
        int r = catalog_choose(repository->catalog, revision, b, knows ? platform : NULL, arena, &chosen, &n,
                               &why);

        if (r == -ENOMEM)
                return no_memory(err);
        if (r < 0) {
                struct plan_blocked *blocked = &fleet->blocked[fleet->n_blocked++];
                blocked->node = arena_strdup(arena, now->name);
                blocked->reason = arena_strdup(arena, err_message(why));
                return blocked->node && blocked->reason ? 0 : no_memory(err);
        }
        for (size_t i = 0; i < n; i++) {
                struct plan_transfer *t = add_transfer(arena, fleet);
                struct fetch_plan plan = {0};

                if (!t)
                        return no_memory(err);
                predict(repository, now, chosen[i].artifact, &plan);
                *t = (struct plan_transfer){.node = arena_strdup(arena, now->name),
                                            .artifact = arena_strdup(arena, chosen[i].artifact->name),
                                            .version = arena_strdup(arena, chosen[i].artifact->version),
                                            .way = plan.way,
                                            .bytes = plan.way == FETCH_NOTHING ? 0 : plan.bytes,
                                            .bytes_whole = chosen[i].artifact->length,
                                            .reason = arena_strdup(arena, plan.reason)};
                memcpy(t->platform, chosen[i].artifact->platform, sizeof t->platform);
                if (!t->node || !t->artifact || !t->version || !t->reason)
                        return no_memory(err);
        }
        return 0;
}
