/* SPDX-License-Identifier: Apache-2.0 */
/* What a rollout is: names, membership, counts. How it moves is in rollout_step.c. */
#include "fleet/rollout.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/str.h"
#include "crypto/digest.h"
#include "fleet/rollout_member.h"

/* ---- names */

static const char *const phase_names[] = {
        [ROLLOUT_PENDING] = "Pending",        [ROLLOUT_PROGRESSING] = "Progressing",
        [ROLLOUT_SOAKING] = "Soaking",        [ROLLOUT_AWAITING_APPROVAL] = "AwaitingApproval",
        [ROLLOUT_SUCCEEDED] = "Succeeded",    [ROLLOUT_FAILED] = "Failed",
        [ROLLOUT_ABORTED] = "Aborted",        [ROLLOUT_ROLLING_BACK] = "RollingBack",
        [ROLLOUT_ROLLED_BACK] = "RolledBack", [ROLLOUT_SUPERSEDED] = "Superseded",
};

static const char *const state_names[] = {
        [MEMBER_PENDING] = "Pending",
        [MEMBER_OFFERED] = "Offered",
        [MEMBER_DOWNLOADING] = "Downloading",
        [MEMBER_STAGED] = "Staged",
        [MEMBER_WAITING_WINDOW] = "WaitingWindow",
        [MEMBER_APPLYING] = "Applying",
        [MEMBER_CONFIRMING] = "Confirming",
        [MEMBER_HEALTHY] = "Healthy",
        [MEMBER_FAILED] = "Failed",
        [MEMBER_ROLLED_BACK] = "RolledBack",
        [MEMBER_TIMED_OUT] = "TimedOut",
        [MEMBER_DEFERRED] = "Deferred",
};

static int find_name(const char *const *names, size_t n, const char *s) {
        for (size_t i = 0; i < n; i++)
                if (str_eq(names[i], s))
                        return (int)i;
        return -EINVAL;
}

const char *rollout_phase_name(enum rollout_phase p) {
        return (size_t)p < ARRAY_SIZE(phase_names) ? phase_names[p] : "Unknown";
}

int rollout_phase_from_name(const char *s, enum rollout_phase *ret) {
        int i = find_name(phase_names, ARRAY_SIZE(phase_names), s);
        if (i < 0)
                return i;
        *ret = (enum rollout_phase)i;
        return 0;
}

bool rollout_phase_is_final(enum rollout_phase p) {
        switch (p) {
        case ROLLOUT_PENDING:
        case ROLLOUT_PROGRESSING:
        case ROLLOUT_SOAKING:
        case ROLLOUT_AWAITING_APPROVAL:
        case ROLLOUT_ROLLING_BACK: return false;
        case ROLLOUT_SUCCEEDED:
        case ROLLOUT_FAILED:
        case ROLLOUT_ABORTED:
        case ROLLOUT_ROLLED_BACK:
        case ROLLOUT_SUPERSEDED: break;
        }
        return true;
}

const char *member_state_name(enum member_state s) {
        return (size_t)s < ARRAY_SIZE(state_names) ? state_names[s] : "Unknown";
}

int member_state_from_name(const char *s, enum member_state *ret) {
        int i = find_name(state_names, ARRAY_SIZE(state_names), s);
        if (i < 0)
                return i;
        *ret = (enum member_state)i;
        return 0;
}

/* ---- membership */

struct draw { /* a candidate in the lottery for a wave */
        const struct rollout_candidate *candidate;
        uint8_t lot[SHA256_SIZE]; /* SHA-256(id + node) */
        uint32_t wave;            /* NO_WAVE: in none yet */
};
#define NO_WAVE UINT32_MAX

static int compare_lots(const void *a, const void *b) {
        const struct draw *x = *(const struct draw *const *)a, *y = *(const struct draw *const *)b;
        if (x->candidate->connected != y->candidate->connected)
                return x->candidate->connected ? -1 : 1;
        int order = memcmp(x->lot, y->lot, SHA256_SIZE);
        return order != 0 ? order : strcmp(x->candidate->node, y->candidate->node);
}

/* Takes the wave's nodes; says how many. `free_draws` is room for all. */
static size_t draw_wave(const struct rollout_wave_policy *p, uint32_t wave, struct draw *draws, size_t n,
                        struct draw **free_draws) {
        size_t n_free = 0;
        int64_t matching = 0;
        for (size_t i = 0; i < n; i++) {
                if (!selector_matches(&p->selector, &draws[i].candidate->labels))
                        continue;
                matching++;
                if (draws[i].wave == NO_WAVE)
                        free_draws[n_free++] = &draws[i];
        }
        size_t take = n_free;
        if (p->limit.is_set && (uint64_t)quantity_of(&p->limit, matching) < n_free) {
                take = (size_t)quantity_of(&p->limit, matching);
                qsort(free_draws, n_free, sizeof(struct draw *), compare_lots);
        }
        for (size_t i = 0; i < take; i++)
                free_draws[i]->wave = wave;
        return take;
}

static bool has_wave(const struct rollout *r, const char *name) {
        for (size_t i = 0; i < r->n_waves; i++)
                if (strcmp(r->waves[i].name, name) == 0)
                        return true;
        return false;
}

static int add_wave(struct rollout *r, const char *name, const struct rollout_wave_policy *p) {
        struct rollout_wave *w = &r->waves[r->n_waves];
        w->name = str_dup(name);
        if (!w->name)
                return -ENOMEM;
        if (p) {
                w->pause_ms = p->pause_ms;
                w->success_threshold = p->success_threshold;
                w->policy = p;
        }
        r->n_waves++;
        return 0;
}

/* "rest", or where the policy has given that name away, "rest-2" and on. */
static int add_rest(struct rollout *r) {
        char name[16] = "rest";
        for (unsigned i = 2; has_wave(r, name); i++)
                (void)snprintf(name, sizeof(name), "rest-%u", i);
        return add_wave(r, name, NULL);
}

static int draw_waves(struct rollout *r, struct draw *draws, size_t n) {
        _cleanup_(x_freep) struct draw **free_draws = calloc(MAX(n, 1u), sizeof(struct draw *));
        r->waves = calloc(r->policy.n_waves + 1, sizeof(*r->waves));
        if (!free_draws || !r->waves)
                return -ENOMEM;
        size_t left = n;
        for (size_t i = 0; i < r->policy.n_waves; i++) {
                const struct rollout_wave_policy *p = &r->policy.waves[i];
                size_t taken = draw_wave(p, (uint32_t)r->n_waves, draws, n, free_draws);
                if (taken > 0 && add_wave(r, p->name, p) < 0)
                        return -ENOMEM;
                left -= taken;
        }
        if (left == 0)
                return 0;
        for (size_t i = 0; i < n; i++)
                if (draws[i].wave == NO_WAVE)
                        draws[i].wave = (uint32_t)r->n_waves;
        return add_rest(r);
}

static int compare_nodes(const void *a, const void *b) {
        const struct draw *x = a, *y = b;
        return strcmp(x->candidate->node, y->candidate->node);
}

static struct draw *draws_new(const char *id, const struct rollout_candidate *candidates, size_t n) {
        struct draw *draws = calloc(MAX(n, 1u), sizeof(*draws));
        if (!draws)
                return NULL;
        for (size_t i = 0; i < n; i++) {
                struct sha256 *digest = sha256_new();
                if (!digest) {
                        free(draws);
                        return NULL;
                }
                sha256_update(digest, id, strlen(id));
                sha256_update(digest, candidates[i].node, strlen(candidates[i].node));
                sha256_final(digest, draws[i].lot);
                sha256_free(digest);
                draws[i].candidate = &candidates[i];
                draws[i].wave = NO_WAVE;
        }
        qsort(draws, n, sizeof(*draws), compare_nodes);
        return draws;
}

static int add_members(struct rollout *r, const struct draw *draws, size_t n, msec_t now) {
        r->members = calloc(MAX(n, 1u), sizeof(*r->members));
        if (!r->members)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                const struct rollout_candidate *c = draws[i].candidate;
                struct rollout_member *m = &r->members[r->n_members++];
                *m = (struct rollout_member){.wave = draws[i].wave,
                                             .connected = c->connected,
                                             .since = now,
                                             .gone_at = c->connected ? 0 : now};
                if (c->unavailable && rollout_policy_has_slots(&r->policy)) {
                        m->slot = true;
                        m->deadline = now + r->policy.progress_deadline_ms;
                }
                m->node = str_dup(c->node);
                m->previous_revision = str_dup(c->previous_revision);
                if (!m->node || (c->previous_revision && !m->previous_revision))
                        return -ENOMEM;
        }
        return 0;
}

/* By the bytes of the lines "wave/node\n". */
static int compare_lines(const void *a, const void *b) {
        return strcmp(*(char *const *)a, *(char *const *)b);
}

static int digest_members(struct rollout *r) {
        _cleanup_(strv_freep) char **lines = calloc(r->n_members + 1, sizeof(*lines));
        struct sha256 *digest = sha256_new();
        uint8_t out[SHA256_SIZE];
        int k = lines && digest ? 0 : -ENOMEM;
        for (size_t i = 0; i < r->n_members && k == 0; i++) {
                lines[i] = str_format("%s/%s\n", r->waves[r->members[i].wave].name, r->members[i].node);
                if (!lines[i])
                        k = -ENOMEM;
        }
        if (k == 0) {
                qsort(lines, r->n_members, sizeof(*lines), compare_lines);
                for (size_t i = 0; i < r->n_members; i++)
                        sha256_update(digest, lines[i], strlen(lines[i]));
                sha256_final(digest, out);
                hex_encode(out, sizeof(out), r->members_digest);
        }
        sha256_free(digest);
        return k;
}

static int add_groups(struct rollout *r, const struct draw *draws, size_t n, struct err **err) {
        size_t n_budgets = r->policy.n_budgets;
        char **names = calloc(MAX(n * n_budgets, 1u), sizeof(char *));
        int k = names ? 0 : err_set(err, ENOMEM, "out of memory");
        for (size_t i = 0; i < n && k == 0; i++)
                for (size_t b = 0; b < n_budgets && k == 0; b++) {
                        char **name = &names[i * n_budgets + b];
                        *name = rollout_group_name(&r->policy.budgets[b], &draws[i].candidate->labels);
                        if (!*name)
                                k = err_set(err, ENOMEM, "out of memory");
                }
        if (k == 0)
                k = rollout_groups_build(r, names, err);
        for (size_t i = 0; names && i < n * n_budgets; i++)
                free(names[i]);
        free(names);
        return k;
}

static int copy_policy(struct rollout *r, const struct rollout_policy *policy, struct err **err) {
        json_t *j = rollout_policy_to_json(policy);
        r->arena = arena_new(0);
        int k = j && r->arena ? rollout_policy_from_json(r->arena, j, &r->policy, err)
                              : err_set(err, ENOMEM, "out of memory");
        json_decref(j);
        return k;
}

static int fill(struct rollout *r, const struct rollout_candidate *candidates, size_t n, msec_t now,
                struct err **err) {
        _cleanup_(x_freep) struct draw *draws = draws_new(r->id, candidates, n);
        if (!draws)
                return err_set(err, ENOMEM, "out of memory");
        for (size_t i = 1; i < n; i++)
                if (compare_nodes(&draws[i - 1], &draws[i]) == 0)
                        return err_set(err, EINVAL, "node %s is in the rollout twice",
                                       draws[i].candidate->node);
        int k = draw_waves(r, draws, n);
        if (k == 0)
                k = add_members(r, draws, n, now);
        if (k == 0)
                k = digest_members(r);
        if (k < 0)
                return err_set(err, -k, "out of memory");
        k = add_groups(r, draws, n, err);
        if (k < 0)
                return k;
        return rollout_index_build(r) < 0 ? err_set(err, ENOMEM, "out of memory") : 0;
}

int rollout_new(const char *id, const char *fleet, const char *revision, const struct rollout_policy *policy,
                const struct rollout_candidate *candidates, size_t n, msec_t now, struct rollout **ret,
                struct err **err) {
        size_t len = strlen(id);
        if (len == 0 || len >= sizeof(((struct rollout *)NULL)->id))
                return err_set(err, EINVAL, "\"%.40s\" is no rollout id", id);
        if (n > ROLLOUT_MEMBERS_MAX)
                return err_set(err, EINVAL, "%zu nodes are more than the %u that a rollout can have", n,
                               ROLLOUT_MEMBERS_MAX);
        _cleanup_(rollout_freep) struct rollout *r = calloc(1, sizeof(*r));
        if (!r)
                return err_set(err, ENOMEM, "out of memory");
        memcpy(r->id, id, len + 1);
        r->created_at = now;
        r->fleet = str_dup(fleet);
        r->revision = str_dup(revision);
        if (!r->fleet || !r->revision)
                return err_set(err, ENOMEM, "out of memory");
        int k = copy_policy(r, policy, err);
        if (k == 0)
                k = fill(r, candidates, n, now, err);
        if (k < 0)
                return k;
        *ret = TAKE_PTR(r);
        return 0;
}

struct rollout *rollout_free(struct rollout *r) {
        if (!r)
                return NULL;
        for (size_t i = 0; i < r->n_members; i++) {
                free(r->members[i].node);
                free(r->members[i].reason);
                free(r->members[i].previous_revision);
                free(r->members[i].groups);
        }
        for (size_t i = 0; i < r->n_groups; i++)
                free(r->groups[i].name);
        free(r->groups);
        for (size_t i = 0; i < r->n_waves; i++)
                free(r->waves[i].name);
        free(r->members);
        free(r->waves);
        free(r->fleet);
        free(r->revision);
        free(r->reason);
        rollout_forget_approvals(r);
        rollout_index_free(r->index);
        arena_free(r->arena);
        free(r);
        return NULL;
}

/* ---- looking */

size_t rollout_find_member(const struct rollout *r, const char *node) {
        size_t low = 0, high = r->n_members;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                int order = strcmp(r->members[middle].node, node);
                if (order == 0)
                        return middle;
                if (order < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return SIZE_MAX;
}

void rollout_count(const struct rollout *r, size_t wave, struct wave_counts *ret) {
        const struct wave_tally *t = wave < r->n_waves ? rollout_tally(r, wave) : rollout_tally_all(r);
        *ret = (struct wave_counts){
                .total = t->total,
                .pending = t->pending,
                .progressing = t->progressing,
                .healthy = t->healthy,
                .failed = t->failed,
                .deferred = t->deferred,
                .rolled_back = t->rolled_back,
        };
}

const char *rollout_wave_state(const struct rollout *r, size_t wave) {
        const struct rollout_wave *w = &r->waves[wave];
        if (w->passed_at != 0)
                return "Passed";
        if (w->started_at == 0)
                return wave == r->wave && r->phase == ROLLOUT_AWAITING_APPROVAL ? "AwaitingApproval"
                                                                                : "Pending";
        if (r->gave_up)
                return "Failed";
        switch (r->phase) {
        case ROLLOUT_PENDING:
        case ROLLOUT_AWAITING_APPROVAL:
        case ROLLOUT_PROGRESSING: return "Progressing";
        case ROLLOUT_SOAKING: return "Soaking";
        case ROLLOUT_SUCCEEDED:
        case ROLLOUT_FAILED:
        case ROLLOUT_ABORTED:
        case ROLLOUT_ROLLING_BACK:
        case ROLLOUT_ROLLED_BACK:
        case ROLLOUT_SUPERSEDED: break;
        }
        return "Stopped";
}
