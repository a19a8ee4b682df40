/* SPDX-License-Identifier: Apache-2.0 */
/* A rollout as JSON, for the database and the API. Times that people see are RFC 3339; what only the state
 * machine needs is in milliseconds, and absent where it says nothing. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "base/str.h"
#include "codec/json.h"
#include "fleet/rollout_index.h"

/* ---- writing: errors are gathered in r, any non-zero is one */

struct writer {
        json_t *o;
        int failed;
};

static struct writer writer_new(void) {
        struct writer w = {.o = json_object()};
        w.failed = w.o == NULL;
        return w;
}

static void put(struct writer *w, const char *key, json_t *value) {
        w->failed |= json_object_set_new(w->o, key, value);
}

static void put_text(struct writer *w, const char *key, const char *text) {
        put(w, key, text ? json_string(text) : json_null());
}

static void put_number(struct writer *w, const char *key, int64_t n) {
        put(w, key, json_integer(n));
}

static void put_time(struct writer *w, const char *key, msec_t t) {
        char text[TIME_TEXT_SIZE];
        put_text(w, key, t > 0 ? time_format(t, text) : NULL);
}

/* What is absent reads back as 0, false or NULL. */
static void put_if_set(struct writer *w, const char *key, int64_t n) {
        if (n != 0)
                put_number(w, key, n);
}
static void put_if_true(struct writer *w, const char *key, bool b) {
        if (b)
                put(w, key, json_true());
}

static json_t *writer_take(struct writer *w) {
        if (w->failed != 0) {
                json_decref(w->o);
                return NULL;
        }
        return w->o;
}

static void put_counts(struct writer *w, const struct rollout *r, size_t wave) {
        struct wave_counts c;
        rollout_count(r, wave, &c);
        put_number(w, "total", (int64_t)c.total);
        put_number(w, "pending", (int64_t)c.pending);
        put_number(w, "progressing", (int64_t)c.progressing);
        put_number(w, "healthy", (int64_t)c.healthy);
        put_number(w, "failed", (int64_t)c.failed);
        put_number(w, "deferred", (int64_t)c.deferred);
        put_number(w, "rolledBack", (int64_t)c.rolled_back);
}

static json_t *wave_to_json(const struct rollout *r, size_t i) {
        const struct rollout_wave *wave = &r->waves[i];
        char threshold[QUANTITY_TEXT_SIZE];
        struct writer w = writer_new();
        put_text(&w, "name", wave->name);
        put_text(&w, "state", rollout_wave_state(r, i));
        put_counts(&w, r, i);
        put_time(&w, "startedAt", wave->started_at);
        bool soaks = r->phase == ROLLOUT_SOAKING && i == r->wave;
        put_time(&w, "soakUntil", soaks ? rollout_soak_until(r, wave) : 0);
        put_time(&w, "healthyAt", wave->healthy_at);
        put_time(&w, "passedAt", wave->passed_at);
        put_if_set(&w, "soakedMs", wave->soaked_ms);
        put_number(&w, "pauseMs", wave->pause_ms);
        if (wave->success_threshold.is_set)
                put_text(&w, "successThreshold", quantity_format(&wave->success_threshold, threshold));
        if (wave->policy)
                put_number(&w, "policyWave", wave->policy - r->policy.waves);
        put_if_true(&w, "promoted", wave->promoted);
        put_if_set(&w, "missingApprovals", (int64_t)rollout_wave_missing_approvals(r, i));
        return writer_take(&w);
}

static json_t *member_groups_to_json(const struct rollout *r, const struct rollout_member *m) {
        json_t *a = json_array();
        int failed = a == NULL;
        for (size_t b = 0; b < r->policy.n_budgets; b++)
                failed |= json_array_append_new(a, json_string(r->groups[m->groups[b]].name));
        if (failed) {
                json_decref(a);
                return NULL;
        }
        return a;
}

json_t *rollout_member_to_json(const struct rollout *r, size_t member) {
        const struct rollout_member *m = &r->members[member];
        struct writer w = writer_new();
        put_text(&w, "node", m->node);
        put_text(&w, "wave", r->waves[m->wave].name);
        put_text(&w, "state", member_state_name(m->state));
        put_text(&w, "reason", m->reason);
        put_time(&w, "since", m->since);
        put(&w, "connected", json_boolean(m->connected));
        if (m->previous_revision)
                put_text(&w, "previousRevision", m->previous_revision);
        put_if_set(&w, "accepted", m->accepted);
        put_if_set(&w, "offered", m->offered);
        put_if_set(&w, "deadline", m->deadline);
        put_if_set(&w, "remaining", m->remaining);
        put_if_set(&w, "goneAt", m->gone_at);
        put_if_true(&w, "failed", m->failed);
        put_if_true(&w, "assigned", m->assigned);
        put_if_true(&w, "goingBack", m->going_back);
        put_if_true(&w, "wentBack", m->went_back);
        put_if_true(&w, "straggler", m->straggler);
        put_if_true(&w, "proven", m->proven);
        put_if_true(&w, "waived", m->waived);
        put_if_true(&w, "removed", m->removed);
        put_if_set(&w, "phaseDeadline", m->phase_deadline);
        put_if_true(&w, "granted", m->granted);
        put_if_true(&w, "slot", m->slot);
        if (m->groups)
                put(&w, "groups", member_groups_to_json(r, m));
        return writer_take(&w);
}

static json_t *approval_to_json(const struct rollout *r, const struct rollout_approval *a) {
        struct writer w = writer_new();
        put_text(&w, "kind", rollout_approval_kind_name(a->kind));
        put_text(&w, "wave", r->waves[a->wave].name);
        put_text(&w, "by", a->by);
        put_text(&w, "reason", a->reason);
        put_time(&w, "at", a->at);
        return writer_take(&w);
}

static json_t *approvals_to_json(const struct rollout *r) {
        json_t *a = json_array();
        int failed = a == NULL;
        for (size_t i = 0; i < r->n_approvals; i++)
                failed |= json_array_append_new(a, approval_to_json(r, &r->approvals[i]));
        if (failed) {
                json_decref(a);
                return NULL;
        }
        return a;
}

static json_t *waves_to_json(const struct rollout *r) {
        json_t *a = json_array();
        int failed = a == NULL;
        for (size_t i = 0; i < r->n_waves; i++)
                failed |= json_array_append_new(a, wave_to_json(r, i));
        if (failed) {
                json_decref(a);
                return NULL;
        }
        return a;
}

static json_t *members_to_json(const struct rollout *r) {
        json_t *a = json_array();
        int failed = a == NULL;
        for (size_t i = 0; i < r->n_members; i++)
                failed |= json_array_append_new(a, rollout_member_to_json(r, i));
        if (failed) {
                json_decref(a);
                return NULL;
        }
        return a;
}

json_t *rollout_to_json(const struct rollout *r, bool with_members) {
        struct writer w = writer_new();
        put_text(&w, "id", r->id);
        put_text(&w, "fleet", r->fleet);
        put_text(&w, "revision", r->revision);
        put(&w, "policy", rollout_policy_to_json(&r->policy));
        put_time(&w, "createdAt", r->created_at);
        put_text(&w, "phase", rollout_phase_name(r->phase));
        put(&w, "paused", json_boolean(r->paused));
        put_if_true(&w, "gaveUp", r->gave_up);
        put_text(&w, "reason", r->reason);
        put_text(&w, "wave", r->n_waves > 0 ? r->waves[r->wave].name : NULL);
        put(&w, "waves", waves_to_json(r));
        put_counts(&w, r, SIZE_MAX);
        put_text(&w, "membersDigest", r->members_digest);
        put_time(&w, "startedAt", r->n_waves > 0 ? r->waves[0].started_at : 0);
        put_time(&w, "finishedAt", r->finished_at);
        put_if_true(&w, "emergency", r->emergency);
        if (r->n_approvals > 0)
                put(&w, "approvals", approvals_to_json(r));
        if (with_members)
                put(&w, "members", members_to_json(r));
        return writer_take(&w);
}

/* ---- reading */

static int read_text(const json_t *o, const char *key, char **ret, struct err **err) {
        const char *text = NULL;
        int k = json_read_optional_string(o, key, &text, err);
        if (k < 0 || !text)
                return k;
        *ret = str_dup(text);
        return *ret ? 0 : err_set(err, ENOMEM, "out of memory");
}

static int read_needed_text(const json_t *o, const char *key, char **ret, struct err **err) {
        const char *text;
        int k = json_read_string(o, key, &text, err);
        return k < 0 ? k : read_text(o, key, ret, err);
}

#define LAST_TIME ((msec_t)253370764800000) /* the year 9999 */

static int read_time(const json_t *o, const char *key, msec_t *ret, struct err **err) {
        const char *text = NULL;
        msec_t t;
        int k = json_read_optional_string(o, key, &text, err);
        if (k < 0 || !text)
                return k;
        if (time_parse(text, &t) < 0 || t <= 0 || t > LAST_TIME)
                return err_set(err, EINVAL, "field %s: \"%.40s\" is no time from 1970 to 9999", key, text);
        *ret = t;
        return 0;
}

/* Times and spans in milliseconds, far from where sums of them overflow. */
static int read_ms(const json_t *o, const char *key, msec_t *ret, struct err **err) {
        int64_t value = 0;
        int k = json_read_optional_int(o, key, &value, err);
        if (k < 0)
                return k;
        if (value < 0 || value > INT64_MAX / 4)
                return err_set(err, EINVAL, "field %s: %" PRId64 " is out of range", key, value);
        *ret = value;
        return 0;
}

static int read_quantity(const json_t *o, const char *key, struct quantity *ret, struct err **err) {
        const char *text = NULL;
        int k = json_read_optional_string(o, key, &text, err);
        if (k < 0 || !text)
                return k;
        return quantity_parse(text, ret) < 0
                       ? err_set(err, EINVAL, "field %s: \"%.40s\" is no quantity", key, text)
                       : 0;
}

static int read_wave(const json_t *j, const struct rollout *r, struct rollout_wave *w, struct err **err) {
        int64_t policy = -1;
        int k = read_needed_text(j, "name", &w->name, err);
        if (k == 0)
                k = read_time(j, "startedAt", &w->started_at, err);
        if (k == 0)
                k = read_time(j, "healthyAt", &w->healthy_at, err);
        if (k == 0)
                k = read_time(j, "passedAt", &w->passed_at, err);
        if (k == 0)
                k = read_ms(j, "soakedMs", &w->soaked_ms, err);
        if (k == 0)
                k = read_ms(j, "pauseMs", &w->pause_ms, err);
        if (k == 0)
                k = read_quantity(j, "successThreshold", &w->success_threshold, err);
        if (k == 0)
                k = json_read_optional_bool(j, "promoted", &w->promoted, err);
        if (k == 0)
                k = json_read_optional_int(j, "policyWave", &policy, err);
        if (k == 0 && policy >= (int64_t)r->policy.n_waves)
                k = err_set(err, EINVAL, "field policyWave: the policy has no wave %" PRId64, policy);
        if (k == 0 && policy >= 0)
                w->policy = &r->policy.waves[policy];
        return k;
}

static size_t find_wave(const struct rollout *r, const char *name) {
        for (size_t i = 0; i < r->n_waves; i++)
                if (str_eq(r->waves[i].name, name))
                        return i;
        return SIZE_MAX;
}

static int read_waves(const json_t *j, struct rollout *r, struct err **err) {
        const json_t *waves;
        const char *name = NULL;
        int k = json_read_array(j, "waves", &waves, err);
        if (k < 0)
                return k;
        size_t n = json_array_size(waves);
        if (n > ROLLOUT_WAVES_MAX + 1)
                return err_set(err, EINVAL, "%zu waves are too many", n);
        r->waves = calloc(MAX(n, 1u), sizeof(*r->waves));
        if (!r->waves)
                return err_set(err, ENOMEM, "out of memory");
        for (size_t i = 0; i < n && k == 0; i++) {
                r->n_waves++;
                k = read_wave(json_array_get(waves, i), r, &r->waves[i], err);
                if (k == 0 && find_wave(r, r->waves[i].name) != i)
                        k = err_set(err, EINVAL, "wave %s is there twice", r->waves[i].name);
        }
        if (k < 0 || n == 0)
                return k;
        k = json_read_string(j, "wave", &name, err);
        if (k < 0)
                return k;
        r->wave = find_wave(r, name);
        return r->wave == SIZE_MAX ? err_set(err, EINVAL, "field wave: there is no wave \"%.63s\"", name) : 0;
}

static const struct {
        const char *key;
        size_t offset;
} member_times[] =
        {
                {"accepted", offsetof(struct rollout_member, accepted)},
                {"offered", offsetof(struct rollout_member, offered)},
                {"deadline", offsetof(struct rollout_member, deadline)},
                {"remaining", offsetof(struct rollout_member, remaining)},
                {"goneAt", offsetof(struct rollout_member, gone_at)},
                {"phaseDeadline", offsetof(struct rollout_member, phase_deadline)},
},
  member_flags[] = {
          {"connected", offsetof(struct rollout_member, connected)},
          {"failed", offsetof(struct rollout_member, failed)},
          {"assigned", offsetof(struct rollout_member, assigned)},
          {"goingBack", offsetof(struct rollout_member, going_back)},
          {"wentBack", offsetof(struct rollout_member, went_back)},
          {"straggler", offsetof(struct rollout_member, straggler)},
          {"proven", offsetof(struct rollout_member, proven)},
          {"waived", offsetof(struct rollout_member, waived)},
          {"removed", offsetof(struct rollout_member, removed)},
          {"granted", offsetof(struct rollout_member, granted)},
          {"slot", offsetof(struct rollout_member, slot)},
};

static int read_member(const json_t *j, const struct rollout *r, struct rollout_member *m, struct err **err) {
        const char *wave = NULL, *state = NULL;
        int k = read_needed_text(j, "node", &m->node, err);
        if (k == 0)
                k = json_read_string(j, "wave", &wave, err);
        if (k == 0)
                k = json_read_string(j, "state", &state, err);
        if (k < 0)
                return k;
        size_t index = find_wave(r, wave);
        if (index == SIZE_MAX)
                return err_set(err, EINVAL, "field wave: there is no wave \"%.63s\"", wave);
        m->wave = (uint32_t)index;
        if (member_state_from_name(state, &m->state) < 0)
                return err_set(err, EINVAL, "field state: there is no state \"%.40s\"", state);
        k = read_text(j, "reason", &m->reason, err);
        if (k == 0)
                k = read_text(j, "previousRevision", &m->previous_revision, err);
        if (k == 0)
                k = read_time(j, "since", &m->since, err);
        for (size_t i = 0; i < ARRAY_SIZE(member_times) && k == 0; i++)
                k = read_ms(j, member_times[i].key, (msec_t *)(void *)((char *)m + member_times[i].offset),
                            err);
        for (size_t i = 0; i < ARRAY_SIZE(member_flags) && k == 0; i++)
                k = json_read_optional_bool(j, member_flags[i].key,
                                            (bool *)((char *)m + member_flags[i].offset), err);
        return k;
}

/* The members' groups, by name. */
static int read_groups(const json_t *members, struct rollout *r, struct err **err) {
        size_t n = r->policy.n_budgets, len = r->n_members * n;
        if (n == 0)
                return 0;
        _cleanup_(x_freep) char **names = calloc(MAX(len, 1u), sizeof(char *));
        if (!names)
                return err_set(err, ENOMEM, "out of memory");
        const json_t *j;
        size_t i;
        json_array_foreach (members, i, j) {
                const char *node = json_string_value(json_object_get(j, "node"));
                const json_t *groups = json_object_get(j, "groups");
                size_t member = rollout_find_member(r, node);
                for (size_t b = 0; b < n; b++) {
                        const char *name = json_string_value(json_array_get(groups, b));
                        if (!name)
                                return err_set(err, EINVAL, "member %s: field groups: expected %zu texts",
                                               node, n);
                        names[member * n + b] = (char *)(uintptr_t)name;
                }
        }
        return rollout_groups_build(r, names, err);
}

static int compare_members(const void *a, const void *b) {
        return strcmp(((const struct rollout_member *)a)->node, ((const struct rollout_member *)b)->node);
}

static int read_members(const json_t *members, struct rollout *r, struct err **err) {
        size_t n = json_array_size(members);
        if (!json_is_array(members))
                return err_set(err, EINVAL, "members: expected a list");
        if (n > ROLLOUT_MEMBERS_MAX)
                return err_set(err, EINVAL, "%zu members are too many", n);
        r->members = calloc(MAX(n, 1u), sizeof(*r->members));
        if (!r->members)
                return err_set(err, ENOMEM, "out of memory");
        for (size_t i = 0; i < n; i++) {
                int k = read_member(json_array_get(members, i), r, &r->members[r->n_members++], err);
                if (k < 0) {
                        (void)err_wrap(err, "member %zu (%s)", i + 1,
                                       r->members[i].node ? r->members[i].node : "without a name");
                        return k;
                }
        }
        qsort(r->members, n, sizeof(*r->members), compare_members);
        for (size_t i = 1; i < n; i++)
                if (compare_members(&r->members[i - 1], &r->members[i]) == 0)
                        return err_set(err, EINVAL, "member %s is there twice", r->members[i].node);
        return read_groups(members, r, err);
}

static int read_approval(const json_t *j, const struct rollout *r, struct rollout_approval *a,
                         struct err **err) {
        const char *kind = NULL, *wave = NULL;
        int k = json_read_string(j, "kind", &kind, err);
        if (k == 0)
                k = json_read_string(j, "wave", &wave, err);
        if (k == 0)
                k = read_needed_text(j, "by", &a->by, err);
        if (k == 0)
                k = read_text(j, "reason", &a->reason, err);
        if (k == 0)
                k = read_time(j, "at", &a->at, err);
        if (k < 0)
                return k;
        a->kind = ROLLOUT_APPROVAL_WAVE;
        while (a->kind <= ROLLOUT_APPROVAL_PROMOTE && !str_eq(rollout_approval_kind_name(a->kind), kind))
                a->kind++;
        if (a->kind > ROLLOUT_APPROVAL_PROMOTE)
                return err_set(err, EINVAL, "field kind: there is no approval \"%.40s\"", kind);
        a->wave = find_wave(r, wave);
        return a->wave == SIZE_MAX ? err_set(err, EINVAL, "field wave: there is no wave \"%.63s\"", wave) : 0;
}

static int read_approvals(const json_t *j, struct rollout *r, struct err **err) {
        const json_t *list = json_object_get(j, "approvals");
        int k = json_read_optional_bool(j, "emergency", &r->emergency, err);
        if (k < 0 || !list)
                return k;
        size_t n = json_array_size(list);
        if (!json_is_array(list) || n > ROLLOUT_APPROVALS_KEPT)
                return err_set(err, EINVAL, "field approvals: expected a list of at most %u",
                               ROLLOUT_APPROVALS_KEPT);
        r->approvals = calloc(MAX(n, 1u), sizeof(*r->approvals));
        if (!r->approvals)
                return err_set(err, ENOMEM, "out of memory");
        for (size_t i = 0; i < n; i++) {
                k = read_approval(json_array_get(list, i), r, &r->approvals[r->n_approvals++], err);
                if (k < 0) {
                        (void)err_wrap(err, "approval %zu", i + 1);
                        return k;
                }
        }
        return 0;
}

static int read_policy(const json_t *j, struct rollout *r, struct err **err) {
        const json_t *policy;
        int k = json_read_object(j, "policy", &policy, err);
        if (k < 0)
                return k;
        r->arena = arena_new(0);
        return r->arena ? rollout_policy_from_json(r->arena, policy, &r->policy, err)
                        : err_set(err, ENOMEM, "out of memory");
}

static int read_fixed(const json_t *j, const char *key, char *out, size_t size, struct err **err) {
        const char *text;
        int k = json_read_string(j, key, &text, err);
        if (k < 0)
                return k;
        size_t len = strlen(text);
        if (len == 0 || len >= size)
                return err_set(err, EINVAL, "field %s: expected 1 to %zu bytes", key, size - 1);
        memcpy(out, text, len + 1);
        return 0;
}

static int read_head(const json_t *j, struct rollout *r, struct err **err) {
        const char *phase;
        int k = read_fixed(j, "id", r->id, sizeof(r->id), err);
        if (k == 0)
                k = read_fixed(j, "membersDigest", r->members_digest, sizeof(r->members_digest), err);
        if (k == 0)
                k = read_needed_text(j, "fleet", &r->fleet, err);
        if (k == 0)
                k = read_needed_text(j, "revision", &r->revision, err);
        if (k == 0)
                k = json_read_string(j, "phase", &phase, err);
        if (k == 0 && rollout_phase_from_name(phase, &r->phase) < 0)
                k = err_set(err, EINVAL, "field phase: there is no phase \"%.40s\"", phase);
        if (k == 0)
                k = read_text(j, "reason", &r->reason, err);
        if (k == 0)
                k = json_read_optional_bool(j, "paused", &r->paused, err);
        if (k == 0)
                k = json_read_optional_bool(j, "gaveUp", &r->gave_up, err);
        if (k == 0)
                k = read_time(j, "createdAt", &r->created_at, err);
        if (k == 0)
                k = read_time(j, "finishedAt", &r->finished_at, err);
        return k;
}

int rollout_from_json(const json_t *rollout, const json_t *members, struct rollout **ret, struct err **err) {
        _cleanup_(rollout_freep) struct rollout *r = calloc(1, sizeof(*r));
        if (!r)
                return err_set(err, ENOMEM, "out of memory");
        if (!json_is_object(rollout))
                return err_set(err, EINVAL, "rollout: expected an object");
        int k = read_head(rollout, r, err);
        if (k == 0)
                k = read_policy(rollout, r, err);
        if (k == 0)
                k = read_waves(rollout, r, err);
        if (k == 0)
                k = read_approvals(rollout, r, err);
        if (k == 0)
                k = read_members(members ? members : json_object_get(rollout, "members"), r, err);
        if (k == 0 && rollout_index_build(r) < 0)
                k = err_set(err, ENOMEM, "out of memory");
        if (k < 0)
                return k;
        *ret = TAKE_PTR(r);
        return 0;
}
