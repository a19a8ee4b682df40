/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/rollout_policy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "codec/json.h"

#define QUANTITY_MAX ((int64_t)1 << 40)

int64_t quantity_of(const struct quantity *q, int64_t total) {
        if (!q->is_set || total <= 0)
                return 0;
        if (!q->is_percent)
                return MIN(q->value, total);
        /* total * value / 100, rounded up, without overflow */
        int64_t whole = total / 100 * q->value, part = total % 100 * q->value;
        return whole + (part + 99) / 100;
}

int quantity_parse(const char *text, struct quantity *ret) {
        size_t len = strlen(text);
        bool percent = len > 0 && text[len - 1] == '%';
        char digits[16];
        if (len - percent == 0 || len - percent >= sizeof(digits))
                return -EINVAL;
        memcpy(digits, text, len - percent);
        digits[len - percent] = '\0';
        uint64_t value;
        if (str_to_u64(digits, &value) < 0 || value > (percent ? 100 : (uint64_t)QUANTITY_MAX))
                return -EINVAL;
        *ret = (struct quantity){.is_set = true, .is_percent = percent, .value = (int64_t)value};
        return 0;
}

const char *quantity_format(const struct quantity *q, char out[QUANTITY_TEXT_SIZE]) {
        out[0] = '\0';
        if (q->is_set)
                (void)snprintf(out, QUANTITY_TEXT_SIZE, "%" PRId64 "%s", q->value, q->is_percent ? "%" : "");
        return out;
}

void rollout_policy_default(struct rollout_policy *p) {
        *p = (struct rollout_policy){
                .name = "",
                .min_sample = 1,
                .progress_deadline_ms = ROLLOUT_PROGRESS_DEADLINE_MS,
                .defer_after_ms = ROLLOUT_DEFER_AFTER_MS,
                .rollback_on_failure = true,
        };
}

/* ---- writing */

static int put_quantity(json_t *o, const char *key, const struct quantity *q) {
        char text[QUANTITY_TEXT_SIZE];
        return q->is_set ? json_object_set_new(o, key, json_string(quantity_format(q, text))) : 0;
}

static int put_if_set(json_t *o, const char *key, int64_t value) {
        return value != 0 ? json_object_set_new(o, key, json_integer(value)) : 0;
}

static int put_texts(json_t *o, const char *key, const char *const *texts, size_t n) {
        if (n == 0)
                return 0;
        json_t *list = json_array();
        int r = 0;
        for (size_t i = 0; i < n; i++)
                r |= json_array_append_new(list, json_string(texts[i]));
        return r | json_object_set_new(o, key, list);
}

static json_t *budget_to_json(const struct rollout_budget *b) {
        json_t *o = json_object();
        if ((put_texts(o, "groupBy", b->group_by, b->n_group_by) |
             put_quantity(o, "maxUnavailable", &b->max_unavailable)) != 0) {
                json_decref(o);
                return NULL;
        }
        return o;
}

static int put_budgets(json_t *o, const struct rollout_policy *p) {
        if (p->n_budgets == 0)
                return 0;
        json_t *list = json_array();
        int r = 0;
        for (size_t i = 0; i < p->n_budgets; i++)
                r |= json_array_append_new(list, budget_to_json(&p->budgets[i]));
        return r | json_object_set_new(o, "budgets", list);
}

static json_t *wave_to_json(const struct rollout_wave_policy *w) {
        json_t *o = json_object();
        int r = json_object_set_new(o, "name", json_string(w->name));
        r |= json_object_set_new(o, "selector", selector_to_json(&w->selector));
        r |= put_quantity(o, "limit", &w->limit);
        r |= json_object_set_new(o, "pauseMs", json_integer(w->pause_ms));
        r |= put_quantity(o, "successThreshold", &w->success_threshold);
        r |= put_quantity(o, "failureBudget", &w->failure_budget);
        r |= put_if_set(o, "minSample", w->min_sample);
        r |= put_if_set(o, "approvals", w->approvals);
        r |= put_texts(o, "approvers", w->approvers, w->n_approvers);
        if (r != 0) {
                json_decref(o);
                return NULL;
        }
        return o;
}

json_t *rollout_policy_to_json(const struct rollout_policy *p) {
        json_t *o = json_object(), *waves = json_array();
        int r = json_object_set_new(o, "name", json_string(p->name));
        for (size_t i = 0; i < p->n_waves; i++)
                r |= json_array_append_new(waves, wave_to_json(&p->waves[i]));
        r |= json_object_set_new(o, "waves", waves);
        r |= put_quantity(o, "maxFailed", &p->max_failed);
        r |= json_object_set_new(o, "minSample", json_integer(p->min_sample));
        r |= json_object_set_new(o, "progressDeadlineMs", json_integer(p->progress_deadline_ms));
        r |= json_object_set_new(o, "deferAfterMs", json_integer(p->defer_after_ms));
        r |= json_object_set_new(o, "rollbackOnFailure", json_boolean(p->rollback_on_failure));
        r |= put_if_set(o, "downloadDeadlineMs", p->download_deadline_ms);
        r |= put_if_set(o, "applyDeadlineMs", p->apply_deadline_ms);
        r |= put_if_set(o, "confirmDeadlineMs", p->confirm_deadline_ms);
        r |= put_budgets(o, p);
        if (p->schedule)
                r |= json_object_set_new(o, "schedule", schedule_to_json(p->schedule));
        if (r != 0) {
                json_decref(o);
                return NULL;
        }
        return o;
}

/* ---- reading */

static int read_quantity(const json_t *o, const char *key, struct quantity *ret, struct err **err) {
        const char *text = NULL;
        int r = json_read_optional_string(o, key, &text, err);
        if (r < 0 || !text)
                return r;
        if (quantity_parse(text, ret) < 0)
                return err_set(err, EINVAL,
                               "field %s: \"%.40s\" is neither a number nor a percentage up to 100%%", key,
                               text);
        return 0;
}

static int read_bounded(const json_t *o, const char *key, int64_t min, int64_t max, int64_t *ret,
                        struct err **err) {
        int64_t value = *ret;
        int r = json_read_optional_int(o, key, &value, err);
        if (r < 0)
                return r;
        if (value < min || value > max)
                return err_set(err, EINVAL, "field %s: %" PRId64 " is not between %" PRId64 " and %" PRId64,
                               key, value, min, max);
        *ret = value;
        return 0;
}

/* A list of 0 to max texts that differ, each of 1 to size bytes. */
static int read_texts(struct arena *arena, const json_t *o, const char *key, size_t max, size_t size,
                      const char ***ret, size_t *ret_n, struct err **err) {
        const json_t *list = json_object_get(o, key);
        if (!list || json_is_null(list))
                return 0;
        size_t n = json_array_size(list);
        if (!json_is_array(list) || n > max)
                return err_set(err, EINVAL, "field %s: expected a list of at most %zu", key, max);
        const char **texts = arena_calloc(arena, n + 1, sizeof(*texts));
        if (!texts)
                return err_set(err, ENOMEM, "out of memory");
        for (size_t i = 0; i < n; i++) {
                const char *text = json_string_value(json_array_get(list, i));
                if (!text || text[0] == '\0' || strlen(text) > size)
                        return err_set(err, EINVAL, "field %s: item %zu is no text of 1 to %zu bytes", key,
                                       i + 1, size);
                for (size_t k = 0; k < i; k++)
                        if (strcmp(texts[k], text) == 0)
                                return err_set(err, EINVAL, "field %s: %s is there twice", key, text);
                texts[i] = arena_strdup(arena, text);
                if (!texts[i])
                        return err_set(err, ENOMEM, "out of memory");
        }
        *ret = texts;
        *ret_n = n;
        return 0;
}

static int read_approval(struct arena *arena, const json_t *j, struct rollout_wave_policy *ret,
                         struct err **err) {
        int r = read_bounded(j, "approvals", 0, ROLLOUT_APPROVALS_MAX, &ret->approvals, err);
        if (r == 0)
                r = read_texts(arena, j, "approvers", ROLLOUT_APPROVERS_MAX, ROLLOUT_PERSON_MAX,
                               &ret->approvers, &ret->n_approvers, err);
        if (r < 0)
                return r;
        if (ret->n_approvers > 0 && (size_t)ret->approvals > ret->n_approvers)
                return err_set(err, EINVAL,
                               "field approvals: %" PRId64 " are needed, and only %zu people may approve",
                               ret->approvals, ret->n_approvers);
        if (ret->n_approvers > 0 && ret->approvals == 0)
                return err_set(err, EINVAL, "field approvers: no approval is needed");
        return 0;
}

static int read_budget(struct arena *arena, const json_t *j, struct rollout_budget *ret, struct err **err) {
        int r = read_texts(arena, j, "groupBy", ROLLOUT_GROUP_BY_MAX, 512, &ret->group_by, &ret->n_group_by,
                           err);
        if (r == 0)
                r = read_quantity(j, "maxUnavailable", &ret->max_unavailable, err);
        if (r < 0)
                return r;
        if (!ret->max_unavailable.is_set || ret->max_unavailable.value == 0)
                return err_set(err, EINVAL, "field maxUnavailable: with 0 no node could ever apply");
        return 0;
}

static int read_budgets(struct arena *arena, const json_t *j, struct rollout_policy *p, struct err **err) {
        const json_t *budgets = json_object_get(j, "budgets");
        if (!budgets || json_is_null(budgets))
                return 0;
        size_t n = json_array_size(budgets);
        if (!json_is_array(budgets) || n > ROLLOUT_BUDGETS_MAX)
                return err_set(err, EINVAL, "field budgets: expected a list of at most %d",
                               ROLLOUT_BUDGETS_MAX);
        p->budgets = n > 0 ? arena_calloc(arena, n, sizeof(*p->budgets)) : NULL;
        if (n > 0 && !p->budgets)
                return err_set(err, ENOMEM, "out of memory");
        p->n_budgets = n;
        for (size_t i = 0; i < n; i++) {
                int r = read_budget(arena, json_array_get(budgets, i), &p->budgets[i], err);
                if (r < 0) {
                        (void)err_wrap(err, "budget %zu", i + 1);
                        return r;
                }
        }
        return 0;
}

static int read_wave(struct arena *arena, const json_t *j, struct rollout_wave_policy *ret,
                     struct err **err) {
        const char *name;
        int r = json_read_string(j, "name", &name, err);
        if (r < 0)
                return r;
        size_t len = strlen(name);
        if (len == 0 || len > ROLLOUT_WAVE_NAME_MAX)
                return err_set(err, EINVAL, "field name: a wave's name has 1 to %d bytes",
                               ROLLOUT_WAVE_NAME_MAX);
        ret->name = arena_strdup(arena, name);
        if (!ret->name)
                return err_set(err, ENOMEM, "out of memory");
        const json_t *selector = json_object_get(j, "selector");
        if (selector && !json_is_null(selector))
                r = selector_from_json(arena, selector, &ret->selector, err);
        if (r == 0)
                r = read_quantity(j, "limit", &ret->limit, err);
        if (r == 0)
                r = read_bounded(j, "pauseMs", 0, ROLLOUT_TIME_MAX_MS, &ret->pause_ms, err);
        if (r == 0)
                r = read_quantity(j, "successThreshold", &ret->success_threshold, err);
        if (r == 0)
                r = read_quantity(j, "failureBudget", &ret->failure_budget, err);
        if (r == 0)
                r = read_bounded(j, "minSample", 0, QUANTITY_MAX, &ret->min_sample, err);
        if (r == 0)
                r = read_approval(arena, j, ret, err);
        return r;
}

static int read_waves(struct arena *arena, const json_t *j, struct rollout_policy *p, struct err **err) {
        const json_t *waves = json_object_get(j, "waves");
        if (!waves || json_is_null(waves))
                return 0;
        size_t n = json_array_size(waves);
        if (!json_is_array(waves) || n > ROLLOUT_WAVES_MAX)
                return err_set(err, EINVAL, "field waves: expected a list of at most %d", ROLLOUT_WAVES_MAX);
        p->waves = n > 0 ? arena_calloc(arena, n, sizeof(*p->waves)) : NULL;
        if (n > 0 && !p->waves)
                return err_set(err, ENOMEM, "out of memory");
        p->n_waves = n;
        for (size_t i = 0; i < n; i++) {
                int r = read_wave(arena, json_array_get(waves, i), &p->waves[i], err);
                if (r < 0) {
                        (void)err_wrap(err, "wave %zu", i + 1);
                        return r;
                }
                for (size_t k = 0; k < i; k++)
                        if (strcmp(p->waves[k].name, p->waves[i].name) == 0)
                                return err_set(err, EINVAL, "wave %zu: the name %s is taken", i + 1,
                                               p->waves[i].name);
        }
        return 0;
}

int rollout_policy_from_json(struct arena *arena, const json_t *j, struct rollout_policy *ret,
                             struct err **err) {
        struct rollout_policy p;
        const char *name = "";
        rollout_policy_default(&p);
        if (!json_is_object(j))
                return err_set(err, EINVAL, "rollout policy: expected an object");
        int r = json_read_optional_string(j, "name", &name, err);
        if (r == 0)
                r = read_waves(arena, j, &p, err);
        if (r == 0)
                r = read_quantity(j, "maxFailed", &p.max_failed, err);
        if (r == 0)
                r = read_bounded(j, "minSample", 1, QUANTITY_MAX, &p.min_sample, err);
        if (r == 0)
                r = read_bounded(j, "progressDeadlineMs", 1, ROLLOUT_TIME_MAX_MS, &p.progress_deadline_ms,
                                 err);
        if (r == 0)
                r = read_bounded(j, "deferAfterMs", 0, ROLLOUT_TIME_MAX_MS, &p.defer_after_ms, err);
        if (r == 0)
                r = json_read_optional_bool(j, "rollbackOnFailure", &p.rollback_on_failure, err);
        if (r == 0)
                r = read_bounded(j, "downloadDeadlineMs", 0, ROLLOUT_TIME_MAX_MS, &p.download_deadline_ms,
                                 err);
        if (r == 0)
                r = read_bounded(j, "applyDeadlineMs", 0, ROLLOUT_TIME_MAX_MS, &p.apply_deadline_ms, err);
        if (r == 0)
                r = read_bounded(j, "confirmDeadlineMs", 0, ROLLOUT_TIME_MAX_MS, &p.confirm_deadline_ms, err);
        if (r == 0)
                r = read_budgets(arena, j, &p, err);
        struct schedule *schedule = NULL;
        const json_t *schedule_json = json_object_get(j, "schedule");
        if (r == 0 && schedule_json && !json_is_null(schedule_json))
                r = schedule_from_json(arena, schedule_json, &schedule, err);
        p.schedule = schedule;
        if (r < 0) {
                (void)err_wrap(err, "rollout policy");
                return r;
        }
        p.name = arena_strdup(arena, name);
        if (!p.name)
                return err_set(err, ENOMEM, "out of memory");
        *ret = p;
        return 0;
}
