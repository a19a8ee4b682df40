/* SPDX-License-Identifier: Apache-2.0 */
#include "server/report.h"

#include <errno.h>
#include <string.h>

#include "codec/json.h"
#include "crypto/digest.h"
#include "server/memory.h"

static void app_done(struct report_app *a) {
        free(a->name);
        free(a->driver);
        free(a->message);
        *a = (struct report_app){0};
}

static void apps_done(struct report *r) {
        for (size_t i = 0; i < r->n_apps; i++)
                app_done(&r->apps[i]);
        free(r->apps);
        r->apps = NULL;
        r->n_apps = 0;
}

void report_done(struct report *r) {
        apps_done(r);
        report_artifacts_done(&r->artifacts);
        free(r->message);
        free(r->boot_id);
        free(r->agent_version);
        free(r->platform);
        free(r->facts);
        *r = (struct report){0};
}

/* Text of at most REPORT_TEXT_MAX bytes, cut between characters. */
static char *bounded_text(const char *s) {
        if (!s)
                return NULL;
        size_t n = strlen(s);
        if (n > REPORT_TEXT_MAX) {
                n = REPORT_TEXT_MAX;
                while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80)
                        n--;
        }
        return must(str_dup_n(s, n));
}

/* Absent leaves *dst; null clears it. */
static int take_text(const json_t *o, const char *key, char **dst, struct err **err) {
        const json_t *j = json_object_get(o, key);
        if (!j)
                return 0;
        if (!json_is_string(j) && !json_is_null(j))
                return err_set(err, EINVAL, "field %s: expected text", key);
        free(*dst);
        *dst = bounded_text(json_string_value(j));
        return 0;
}

static int check_text(const json_t *o, const char *key, struct err **err) {
        const json_t *j = json_object_get(o, key);
        return !j || json_is_string(j) || json_is_null(j)
                       ? 0
                       : err_set(err, EINVAL, "field %s: expected text", key);
}

static int check_digest(const json_t *o, const char *key, struct err **err) {
        const json_t *j = json_object_get(o, key);
        return !j || json_is_null(j) || (json_is_string(j) && sha256_hex_is_valid(json_string_value(j)))
                       ? 0
                       : err_set(err, EINVAL, "field %s: expected a digest", key);
}

static void take_digest(const json_t *o, const char *key, char dst[65]) {
        const json_t *j = json_object_get(o, key);
        if (json_is_string(j))
                memcpy(dst, json_string_value(j), 65);
        else if (j)
                dst[0] = '\0';
}

static int check_state(const json_t *o, struct err **err) {
        const json_t *j = json_object_get(o, "state");
        enum member_state state;
        if (j && !json_is_null(j) &&
            (!json_is_string(j) || member_state_from_name(json_string_value(j), &state) < 0))
                return err_set(err, EINVAL, "field state: not a state of a node");
        return 0;
}

static int check_app(const json_t *a, struct err **err) {
        const char *name = NULL;
        int64_t number;
        int r = json_is_object(a) ? json_read_string(a, "name", &name, err)
                                  : err_set(err, EINVAL, "field apps: expected a list of objects");
        if (r >= 0 && !name_is_dns_label(name))
                r = err_set(err, EINVAL, "field apps: a name is not a DNS label");
        if (r >= 0)
                r = check_text(a, "driver", err);
        if (r >= 0)
                r = check_text(a, "message", err);
        if (r >= 0)
                r = check_state(a, err);
        if (r >= 0)
                r = json_read_optional_int(a, "restarts", &number, err);
        if (r >= 0)
                r = json_read_optional_int(a, "driftCorrected", &number, err);
        return r;
}

static int report_check(const struct report *r, const json_t *s, bool full, struct err **err) {
        static const char *const texts[] = {"message", "bootId", "agentVersion", "platform"};
        static const char *const numbers[] = {"seq", "assignment", "driftCorrected", "certificateNotAfter"};
        int64_t number;
        int k = 0;
        for (size_t i = 0; k >= 0 && i < ARRAY_SIZE(texts); i++)
                k = check_text(s, texts[i], err);
        for (size_t i = 0; k >= 0 && i < ARRAY_SIZE(numbers); i++)
                k = json_read_optional_int(s, numbers[i], &number, err);
        if (k >= 0)
                k = check_digest(s, "revision", err);
        if (k >= 0)
                k = check_digest(s, "target", err);
        if (k >= 0)
                k = check_state(s, err);
        if (k < 0)
                return k;
        const json_t *facts = json_object_get(s, "facts"), *apps = json_object_get(s, "apps"), *app;
        if (facts && !json_is_object(facts))
                return err_set(err, EINVAL, "field facts: expected an object");
        if (apps && !json_is_array(apps))
                return err_set(err, EINVAL, "field apps: expected a list");
        if (json_array_size(apps) > REPORT_APPS_MAX ||
            (!full && r->n_apps + json_array_size(apps) > 2 * (size_t)REPORT_APPS_MAX))
                return err_set(err, EINVAL, "field apps: more than %d apps", REPORT_APPS_MAX);
        size_t i;
        json_array_foreach (apps, i, app) {
                k = check_app(app, err);
                if (k < 0)
                        return k;
        }
        k = report_artifacts_check(json_object_get(s, "artifacts"), err);
        if (k < 0)
                return k;
        if (facts) {
                _cleanup_(x_freep) char *text = must(json_encode_compact(facts));
                if (strlen(text) > REPORT_FACTS_MAX)
                        return err_set(err, EINVAL, "field facts: more than %d bytes", REPORT_FACTS_MAX);
        }
        return 0;
}

static struct report_app *app_slot(struct report *r, const char *name) {
        for (size_t i = 0; i < r->n_apps; i++)
                if (str_eq(r->apps[i].name, name))
                        return &r->apps[i];
        r->apps = must(reallocarray(r->apps, r->n_apps + 1, sizeof(*r->apps)));
        struct report_app *a = &r->apps[r->n_apps++];
        *a = (struct report_app){.name = copy_text(name)};
        return a;
}

static void take_app(struct report *r, const json_t *j) {
        struct report_app *a = app_slot(r, json_string_value(json_object_get(j, "name")));
        (void)take_text(j, "driver", &a->driver, NULL);
        (void)take_text(j, "message", &a->message, NULL);
        const char *state = json_string_value(json_object_get(j, "state"));
        if (state)
                (void)member_state_from_name(state, &a->state);
        (void)json_read_optional_int(j, "restarts", &a->restarts, NULL);
        (void)json_read_optional_int(j, "driftCorrected", &a->drift_corrected, NULL);
}

int report_apply(struct report *r, const json_t *s, struct err **err) {
        bool full = false;
        if (!json_is_object(s))
                return err_set(err, EINVAL, "a status is an object");
        int k = json_read_optional_bool(s, "full", &full, err);
        if (k < 0)
                return k;
        k = report_check(r, s, full, err);
        if (k < 0)
                return k;
        if (full)
                report_done(r);
        r->is_known = true;
        (void)json_read_optional_int(s, "seq", &r->sequence, NULL);
        (void)json_read_optional_int(s, "assignment", &r->assignment, NULL);
        (void)json_read_optional_int(s, "driftCorrected", &r->drift_corrected, NULL);
        (void)json_read_optional_int(s, "certificateNotAfter", &r->certificate_not_after, NULL);
        take_digest(s, "revision", r->revision);
        take_digest(s, "target", r->target);
        const char *state = json_string_value(json_object_get(s, "state"));
        if (state)
                r->has_state = member_state_from_name(state, &r->state) == 0;
        (void)take_text(s, "message", &r->message, NULL);
        (void)take_text(s, "bootId", &r->boot_id, NULL);
        (void)take_text(s, "agentVersion", &r->agent_version, NULL);
        (void)take_text(s, "platform", &r->platform, NULL);
        const json_t *facts = json_object_get(s, "facts"), *app;
        if (facts) {
                free(r->facts);
                r->facts = must(json_encode_compact(facts));
        }
        size_t i;
        json_array_foreach (json_object_get(s, "apps"), i, app)
                take_app(r, app);
        report_artifacts_take(&r->artifacts, json_object_get(s, "artifacts"));
        return 0;
}

json_t *report_apps_json(const struct report *r) {
        json_t *list = json_array_new();
        for (size_t i = 0; i < r->n_apps; i++) {
                const struct report_app *a = &r->apps[i];
                json_t *j = json_object_new();
                json_put(j, "name", json_text(a->name));
                json_put(j, "driver", json_text(a->driver));
                json_put(j, "state", json_text(member_state_name(a->state)));
                json_put(j, "message", json_text(a->message));
                json_put(j, "restarts", json_number(a->restarts));
                json_put(j, "driftCorrected", json_number(a->drift_corrected));
                json_add(list, j);
        }
        return list;
}

json_t *report_to_json(const struct report *r) {
        json_t *j = json_object_new();
        json_put(j, "seq", json_number(r->sequence));
        json_put(j, "full", must(json_true()));
        json_put(j, "bootId", json_text(r->boot_id));
        json_put(j, "agentVersion", json_text(r->agent_version));
        json_put(j, "platform", json_text(r->platform));
        json_put(j, "assignment", json_number(r->assignment));
        json_put(j, "revision", json_text(r->revision[0] ? r->revision : NULL));
        json_put(j, "target", json_text(r->target[0] ? r->target : NULL));
        if (r->has_state)
                json_put(j, "state", json_text(member_state_name(r->state)));
        json_put(j, "message", json_text(r->message));
        json_put(j, "driftCorrected", json_number(r->drift_corrected));
        json_put(j, "certificateNotAfter", json_number(r->certificate_not_after));
        json_put(j, "apps", report_apps_json(r));
        json_put(j, "artifacts", report_artifacts_json(&r->artifacts));
        json_t *facts = NULL;
        if (r->facts && json_decode(r->facts, strlen(r->facts), &facts, NULL) == 0)
                json_put(j, "facts", facts);
        return j;
}

bool report_member_state(const struct report *r, int64_t version, const char *revision,
                         enum member_state *ret_state) {
        if (!r->is_known || !r->has_state || r->assignment < version)
                return false;
        bool runs = str_eq(r->revision, revision), works_at = str_eq(r->target, revision);
        switch (r->state) {
        case MEMBER_HEALTHY:
                /* Proven only for what runs. */
                if (!runs)
                        return false;
                break;
        case MEMBER_DOWNLOADING:
        case MEMBER_STAGED:
        case MEMBER_WAITING_WINDOW:
        case MEMBER_APPLYING:
        case MEMBER_CONFIRMING:
                if (!works_at && !runs)
                        return false;
                break;
        case MEMBER_FAILED:
        case MEMBER_ROLLED_BACK:
                if (!works_at && !(runs && r->target[0] == '\0'))
                        return false;
                break;
        case MEMBER_PENDING:
        case MEMBER_OFFERED:
        case MEMBER_TIMED_OUT:
        case MEMBER_DEFERRED:
        default: return false; /* ours to say, not a node's */
        }
        *ret_state = r->state;
        return true;
}

bool report_is_applying(const struct report *r) {
        return r->is_known && r->has_state && (r->state == MEMBER_APPLYING || r->state == MEMBER_CONFIRMING);
}
