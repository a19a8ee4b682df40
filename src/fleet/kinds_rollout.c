/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of the Rollout kind. */
#include "base/str.h"
#include "fleet/kinds.h"
#include "fleet/labels.h"

#define SECOND 1000
#define MINUTE (60 * SECOND)
#define DAY (24 * 60 * MINUTE)
#define NAMES_MAX 1000

static const struct schema pause_schema = {
        .name = "pause",
        .documentation = "How long a wave must stay healthy before the next begins.",
        .size = sizeof(((struct wave_document *)0)->pause),
        .fields =
                (const struct schema_field[]){
                        {.name = "duration",
                         .type = SCHEMA_DURATION,
                         .required = true,
                         .max = (int64_t)30 * DAY,
                         .documentation = "The soak."},
                        {NULL},
                },
};

static const struct schema wave_schema = {
        .name = "wave",
        .documentation = "A part of the fleet that changes together.",
        .size = sizeof(struct wave_document),
        .where_offset = offsetof(struct wave_document, where),
        .fields =
                (const struct schema_field[]){
                        {.name = "name",
                         .type = SCHEMA_NAME,
                         .offset = offsetof(struct wave_document, name),
                         .required = true,
                         .documentation = "Shown while it runs."},
                        {.name = "selector",
                         .type = SCHEMA_OBJECT,
                         .offset = offsetof(struct wave_document, selector),
                         .nested = &selector_schema,
                         .documentation =
                                 "Among the fleet's nodes; without one, all that are in no earlier wave."},
                        {.name = "limit",
                         .type = SCHEMA_QUANTITY,
                         .offset = offsetof(struct wave_document, limit),
                         .documentation = "At most so many nodes, or this share of those that match."},
                        {.name = "pause",
                         .type = SCHEMA_OBJECT,
                         .offset = offsetof(struct wave_document, pause),
                         .nested = &pause_schema,
                         .documentation = "Soak after the wave is healthy."},
                        {.name = "successThreshold",
                         .type = SCHEMA_QUANTITY,
                         .offset = offsetof(struct wave_document, success_threshold),
                         .documentation =
                                 "Of the nodes that took the change, so many must become healthy. Without "
                                 "it: all but those that maxFailed tolerates."},
                        {.name = "failureBudget",
                         .type = SCHEMA_QUANTITY,
                         .offset = offsetof(struct wave_document, failure_budget),
                         .documentation =
                                 "Failed nodes of this wave that are tolerated, within what maxFailed "
                                 "tolerates of all."},
                        {.name = "minSample",
                         .type = SCHEMA_INTEGER,
                         .offset = offsetof(struct wave_document, min_sample),
                         .min = 1,
                         .max = 1000000,
                         .documentation = "Nodes that must really become healthy before this wave passes. "
                                          "Without it: the "
                                          "rollout's."},
                        {.name = "approval",
                         .type = SCHEMA_CHOICE,
                         .offset = offsetof(struct wave_document, approval),
                         .fallback = "None",
                         .choices = (const char *const[]){"None", "Manual", NULL},
                         .documentation = "Manual: the wave begins when people have approved it."},
                        {.name = "approvals",
                         .type = SCHEMA_INTEGER,
                         .offset = offsetof(struct wave_document, approvals),
                         .min = 1,
                         .max = ROLLOUT_APPROVALS_MAX,
                         .documentation = "How many different people must approve; 1 without it."},
                        {.name = "approvers",
                         .type = SCHEMA_TEXTS,
                         .offset = offsetof(struct wave_document, approvers),
                         .max = ROLLOUT_APPROVERS_MAX,
                         .documentation = "Who may approve; without it, whoever may act on rollouts."},
                        {NULL},
                },
};

static const struct schema deadlines_schema = {
        .name = "deadlines",
        .documentation = "How long one node may take for each phase of its work.",
        .size = sizeof(((struct rollout_document *)0)->deadlines),
        .where_offset = offsetof(struct rollout_document, deadlines.where) -
                        offsetof(struct rollout_document, deadlines),
        .fields =
                (const struct schema_field[]){
                        {.name = "download",
                         .type = SCHEMA_DURATION,
                         .offset = offsetof(struct rollout_document, deadlines.download) -
                                   offsetof(struct rollout_document, deadlines),
                         .min = SECOND,
                         .max = (int64_t)7 * DAY,
                         .documentation = "To fetch all that the revision needs."},
                        {.name = "apply",
                         .type = SCHEMA_DURATION,
                         .offset = offsetof(struct rollout_document, deadlines.apply) -
                                   offsetof(struct rollout_document, deadlines),
                         .min = SECOND,
                         .max = (int64_t)7 * DAY,
                         .documentation = "To put it in place."},
                        {.name = "confirm",
                         .type = SCHEMA_DURATION,
                         .offset = offsetof(struct rollout_document, deadlines.confirm) -
                                   offsetof(struct rollout_document, deadlines),
                         .min = SECOND,
                         .max = (int64_t)7 * DAY,
                         .documentation = "To become healthy after that."},
                        {NULL},
                },
};

static const struct schema budget_schema = {
        .name = "disruption budget",
        .documentation = "How many nodes of a group may be out of service for the change at a time.",
        .size = sizeof(struct budget_document),
        .where_offset = offsetof(struct budget_document, where),
        .fields =
                (const struct schema_field[]){
                        {.name = "groupBy",
                         .type = SCHEMA_TEXTS,
                         .offset = offsetof(struct budget_document, group_by),
                         .required = true,
                         .max = ROLLOUT_GROUP_BY_MAX,
                         .documentation = "Labels: nodes with the same values are a group; those without the "
                                          "label are one, too."},
                        {.name = "maxUnavailable",
                         .type = SCHEMA_QUANTITY,
                         .offset = offsetof(struct budget_document, max_unavailable),
                         .required = true,
                         .documentation = "At most so many nodes of each group, or this share of it."},
                        {NULL},
                },
};

static const struct schema rollback_schema = {
        .name = "rollback",
        .documentation = "What happens when a rollout fails.",
        .size = sizeof(((struct rollout_document *)0)->rollback),
        .fields =
                (const struct schema_field[]){
                        {.name = "onFailure",
                         .type = SCHEMA_BOOL,
                         .fallback = "true",
                         .documentation = "Go back to the last good revision; else the rollout pauses."},
                        {NULL},
                },
};

static void check_approval(struct schema_decoder *d, const struct wave_document *w) {
        const char *name = w->name ? w->name : "";

        if (w->approval == 0 && (w->approvals > 0 || w->approvers.n > 0))
                schema_error(d, &w->where, "write \"approval: Manual\"",
                             "wave \"%s\" says who approves it, and needs no approval", name);
        if (w->approvers.n > 0 && (size_t)w->approvals > w->approvers.n)
                schema_error(
                        d, &w->where, NULL,
                        "wave \"%s\" needs %d approvals, and names %zu people who may give one: it could "
                        "never begin",
                        name, (int)w->approvals, w->approvers.n);
        for (size_t i = 0; i < w->approvers.n; i++)
                for (size_t j = 0; j < i; j++)
                        if (str_eq(w->approvers.items[i].text, w->approvers.items[j].text))
                                schema_error(d, &w->approvers.items[i].where, NULL,
                                             "\"%.80s\" is among the approvers twice",
                                             w->approvers.items[i].text);
}

static void check_deadlines(struct schema_decoder *d, const struct rollout_document *r) {
        const struct {
                const char *name;
                msec_t value;
        } phases[] = {{"download", r->deadlines.download},
                      {"apply", r->deadlines.apply},
                      {"confirm", r->deadlines.confirm}};

        for (size_t i = 0; i < ARRAY_SIZE(phases); i++)
                if (phases[i].value > r->progress_deadline)
                        schema_error(d, &r->deadlines.where, "raise progressDeadlineSeconds, or shorten it",
                                     "the deadline to %s is longer than progressDeadlineSeconds: it is never "
                                     "reached",
                                     phases[i].name);
}

static void check_budgets(struct schema_decoder *d, const struct value *v, const struct rollout_document *r) {
        const struct value *all = value_get(v, "maxUnavailable");

        if (r->max_unavailable.is_set && r->max_unavailable.value == 0 && all)
                schema_error(d, &all->position, "leave it out to let every node of a wave go at once",
                             "maxUnavailable 0: no node could ever apply the change");
        for (size_t i = 0; i < r->n_budgets; i++) {
                const struct budget_document *b = &r->budgets[i];
                if (b->max_unavailable.is_set && b->max_unavailable.value == 0)
                        schema_error(d, &b->where, "leave the budget out, or give it 1",
                                     "maxUnavailable 0: no node could ever apply the change");
                for (size_t j = 0; j < b->group_by.n; j++)
                        if (!label_key_is_valid(b->group_by.items[j].text))
                                schema_error(d, &b->group_by.items[j].where, NULL,
                                             "\"%.80s\" is no name of a label", b->group_by.items[j].text);
        }
}

static void check_rollout(struct schema_decoder *d, const struct value *v, void *object) {
        struct rollout_document *r = object;

        for (size_t i = 0; i < r->n_waves; i++) {
                const struct wave_document *w = &r->waves[i];
                for (size_t j = 0; j < i && w->name; j++)
                        if (str_eq(r->waves[j].name, w->name)) {
                                schema_error(d, &w->where, NULL,
                                             "wave \"%s\" is there twice, first in line %u", w->name,
                                             r->waves[j].where.line);
                                break;
                        }
                if (w->limit.is_set && w->limit.value == 0)
                        schema_error(d, &w->where, "leave \"limit\" out to take every node",
                                     "wave \"%s\" has limit 0: it takes no node", w->name ? w->name : "");
                check_approval(d, w);
        }
        check_deadlines(d, r);
        check_budgets(d, v, r);
}

const struct schema rollout_spec_schema = {
        .name = "Rollout spec",
        .documentation = "How a change moves through a fleet.",
        .size = sizeof(struct rollout_document),
        .check = check_rollout,
        .fields =
                (const struct schema_field[]){
                        {.name = "waves",
                         .type = SCHEMA_OBJECTS,
                         .offset = offsetof(struct rollout_document, waves),
                         .max = ROLLOUT_WAVES_MAX,
                         .nested = &wave_schema,
                         .documentation = "In this order; nodes that none takes form a last wave."},
                        {.name = "maxFailed",
                         .type = SCHEMA_QUANTITY,
                         .offset = offsetof(struct rollout_document, max_failed),
                         .fallback = "0",
                         .documentation = "Failed nodes that the whole rollout tolerates."},
                        {.name = "minSample",
                         .type = SCHEMA_INTEGER,
                         .offset = offsetof(struct rollout_document, min_sample),
                         .fallback = "1",
                         .min = 1,
                         .max = 1000000,
                         .documentation = "Nodes that must really become healthy before a wave passes."},
                        {.name = "progressDeadlineSeconds",
                         .type = SCHEMA_SECONDS,
                         .offset = offsetof(struct rollout_document, progress_deadline),
                         .fallback = "600",
                         .min = SECOND,
                         .max = (int64_t)7 * DAY,
                         .documentation = "From accepting the change to being healthy, for one node."},
                        {.name = "deferAfterSeconds",
                         .type = SCHEMA_SECONDS,
                         .offset = offsetof(struct rollout_document, defer_after),
                         .fallback = "60",
                         .min = SECOND,
                         .max = (int64_t)7 * DAY,
                         .documentation =
                                 "A node unreachable for so long is deferred: neither success nor failure."},
                        {.name = "deadlines",
                         .type = SCHEMA_OBJECT,
                         .offset = offsetof(struct rollout_document, deadlines),
                         .nested = &deadlines_schema,
                         .documentation = "Of one node's phases, within progressDeadlineSeconds."},
                        {.name = "maxUnavailable",
                         .type = SCHEMA_QUANTITY,
                         .offset = offsetof(struct rollout_document, max_unavailable),
                         .documentation =
                                 "At most so many nodes are out of service for the change at a time, or "
                                 "this share of all; without it, all of a wave may be."},
                        {.name = "disruptionBudgets",
                         .type = SCHEMA_OBJECTS,
                         .offset = offsetof(struct rollout_document, budgets),
                         .max = ROLLOUT_BUDGETS_MAX - 1,
                         .nested = &budget_schema,
                         .documentation = "The same for groups of nodes, as of one site."},
                        {.name = "schedule",
                         .type = SCHEMA_LOCATED_NAME,
                         .offset = offsetof(struct rollout_document, schedule),
                         .documentation =
                                 "Name of a Schedule, which the nodes keep; without one, they apply a "
                                 "change when it comes."},
                        {.name = "rollback",
                         .type = SCHEMA_OBJECT,
                         .offset = offsetof(struct rollout_document, rollback),
                         .nested = &rollback_schema,
                         .documentation = "What to do on failure."},
                        {NULL},
                },
};
