/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/status.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "codec/json.h"

static json_t *text_or_null(const char *s) {
        return s && *s ? json_string(s) : json_null();
}

/* Program output may be cut or not be UTF-8 at all; a message must not keep a report from being sent. */
static json_t *message_to_json(const char *s) {
        if (!*s)
                return json_null();
        json_t *j = json_string(s);
        if (j)
                return j;
        _cleanup_(x_freep) char *copy = str_dup(s);
        for (char *p = copy; p && *p; p++)
                if ((unsigned char)*p >= 0x80)
                        *p = '?';
        return copy ? json_string(copy) : NULL;
}

static json_t *app_to_json(const struct app_report *a) {
        return json_pack("{s:s, s:s, s:s, s:o, s:I, s:I}", "name", a->name, "driver",
                         app_driver_name(a->driver), "state", app_state_report(a->state), "message",
                         message_to_json(a->message), "restarts", (json_int_t)a->restarts, "driftCorrected",
                         (json_int_t)a->drift_corrected);
}

/* Progress is told in steps, and no more artifacts than a report can hold. */
#define STATUS_ARTIFACTS_MAX 64

static json_t *artifact_to_json(const struct delivery_artifact *a) {
        return json_pack("{s:s, s:s, s:s, s:s, s:o, s:I, s:I}", "name", a->name, "version", a->version,
                         "state", artifact_fetch_state_name(a->progress.state), "way",
                         fetch_way_name(a->progress.way), "bytesPredicted",
                         a->progress.predicted < 0 ? json_null() : json_integer(a->progress.predicted),
                         "bytesFetched", (json_int_t)a->progress.fetched, "bytesTotal",
                         (json_int_t)a->progress.total);
}

static json_t *artifacts_to_json(const struct reconcile *r) {
        json_t *list = json_array();
        struct delivery_artifact a;
        for (size_t i = 0; list && i < STATUS_ARTIFACTS_MAX && reconcile_artifact(r, i, &a); i++)
                if (json_array_append_new(list, artifact_to_json(&a)) < 0) {
                        json_decref(list);
                        return NULL;
                }
        return list;
}

/* What is wrong with the node itself comes first. */
static json_t *whole_message(const struct status_facts *f, const struct node_report *n) {
        if (!f->problem || !*f->problem)
                return message_to_json(n->message);
        _cleanup_(x_freep) char *all = str_format("%s%s%s", f->problem, *n->message ? "; " : "", n->message);
        return all ? message_to_json(all) : NULL;
}

json_t *status_make(const struct reconcile *r, const struct status_facts *f) {
        _cleanup_json_ json_t *apps = json_array();
        struct node_report n;
        struct app_report a;

        reconcile_report(r, &n);
        for (size_t i = 0; reconcile_next_app(r, &i, &a);)
                if (json_array_append_new(apps, app_to_json(&a)) < 0)
                        return NULL;
        return json_pack("{s:s, s:s, s:s, s:I, s:o, s:o, s:s, s:o, s:I, s:I, s:O, s:O, s:o}", "bootId",
                         f->boot_id, "agentVersion", f->agent_version, "platform", f->platform, "assignment",
                         (json_int_t)n.assignment, "revision", text_or_null(n.revision), "target",
                         text_or_null(n.target), "state", node_state_name(n.state), "message",
                         whole_message(f, &n), "driftCorrected", (json_int_t)n.drift_corrected,
                         "certificateNotAfter", (json_int_t)f->certificate_not_after, "facts", f->facts,
                         "apps", apps, "artifacts", artifacts_to_json(r));
}

static bool is_always_sent(const char *key) {
        static const char *const keys[] = {"assignment", "state", "revision", "target"};
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                if (str_eq(key, keys[i]))
                        return true;
        return false;
}

static const json_t *find_app(const json_t *apps, const char *name) {
        const json_t *a;
        size_t i;
        json_array_foreach (apps, i, a)
                if (str_eq(json_string_value(json_object_get(a, "name")), name))
                        return a;
        return NULL;
}

/* Apps that are new or differ. One that is gone makes the report a full one: see an_app_is_gone(). */
static json_t *changed_apps(const json_t *before, const json_t *now) {
        json_t *changed = json_array(), *a;
        size_t i;
        json_array_foreach (now, i, a) {
                const json_t *old = find_app(before, json_string_value(json_object_get(a, "name")));
                if ((!old || !json_equal(old, a)) && json_array_append(changed, a) < 0) {
                        json_decref(changed);
                        return NULL;
                }
        }
        return changed;
}

static bool an_app_is_gone(const json_t *before, const json_t *now) {
        const json_t *a;
        size_t i;
        json_array_foreach (before, i, a)
                if (!find_app(now, json_string_value(json_object_get(a, "name"))))
                        return true;
        return false;
}

int status_difference(const json_t *before, const json_t *now, int64_t seq, bool full, json_t **ret) {
        const json_t *apps = json_object_get(now, "apps"), *old_apps = json_object_get(before, "apps");
        const char *key;
        json_t *value;

        if (before && !full && json_equal(before, now)) {
                *ret = NULL;
                return 0;
        }
        /* A difference cannot say that an app is gone. */
        full = full || !before || an_app_is_gone(old_apps, apps);
        _cleanup_json_ json_t *d = json_pack("{s:I}", "seq", (json_int_t)seq);
        if (!d || (full && json_object_set_new(d, "full", json_true()) < 0))
                return -ENOMEM;
        json_object_foreach ((json_t *)now, key, value) {
                if (str_eq(key, "apps") ||
                    (!full && !is_always_sent(key) && json_equal(json_object_get(before, key), value)))
                        continue;
                if (json_object_set(d, key, value) < 0)
                        return -ENOMEM;
        }
        _cleanup_json_ json_t *changed = full ? json_incref((json_t *)apps) : changed_apps(old_apps, apps);
        if (!changed || ((full || json_array_size(changed) > 0) && json_object_set(d, "apps", changed) < 0))
                return -ENOMEM;
        *ret = json_incref(d);
        return 0;
}

int status_sign(json_t *status, const char *node, const struct key *key, const char *serial,
                char **ret_text) {
        _cleanup_(buf_done) struct buf signed_text = BUF_INIT;
        _cleanup_(x_freep) char *signature = NULL;
        if (json_object_set_new(status, "_type", json_string("status")) < 0 ||
            json_object_set_new(status, "node", json_string(node)) < 0)
                return -ENOMEM;
        int r = json_encode_canonical(status, &signed_text, NULL);
        if (r >= 0)
                r = key_sign(key, signed_text.data, signed_text.len, &signature, NULL);
        if (r < 0)
                return r;
        _cleanup_json_ json_t *report = json_pack("{s:O, s:{s:s, s:s}}", "signed", status, "signature",
                                                  "serial", serial, "sig", signature);
        char *text = report ? json_encode_compact(report) : NULL;
        if (!text)
                return -ENOMEM;
        *ret_text = text;
        return 0;
}

static const char *text(const json_t *o, const char *key, const char *without) {
        const char *s = json_string_value(json_object_get(o, key));
        return s ? s : without;
}

static void print_artifacts(const json_t *artifacts, FILE *out) {
        const json_t *a;
        size_t i;
        if (json_array_size(artifacts) > 0)
                (void)fprintf(out, "\n%-32s %-9s %-8s %14s %14s %14s\n", "ARTIFACT", "STATE", "WAY",
                              "PREDICTED", "FETCHED", "SIZE");
        json_array_foreach (artifacts, i, a) {
                _cleanup_(x_freep) char *name =
                        str_format("%s:%s", text(a, "name", "-"), text(a, "version", "-"));
                (void)fprintf(out, "%-32s %-9s %-8s %14lld %14lld %14lld\n", name ? name : "-",
                              text(a, "state", "-"), text(a, "way", "-"),
                              (long long)json_integer_value(json_object_get(a, "bytesPredicted")),
                              (long long)json_integer_value(json_object_get(a, "bytesFetched")),
                              (long long)json_integer_value(json_object_get(a, "bytesTotal")));
        }
}

int status_print(const json_t *status, FILE *out) {
        const json_t *apps = json_object_get(status, "apps"), *a;
        const char *message = text(status, "message", NULL), *revision = text(status, "revision", NULL);
        size_t i;

        (void)fprintf(out, "node      %s\n", text(status, "node", "-"));
        (void)fprintf(out, "state     %s%s%s\n", text(status, "state", "-"), message ? ": " : "",
                      message ? message : "");
        (void)fprintf(out, "revision  %.12s\n", revision ? revision : "none");
        if (!str_eq(text(status, "target", NULL), revision))
                (void)fprintf(out, "target    %.12s\n", text(status, "target", "none"));
        (void)fprintf(out, "link      %s\n", text(status, "link", "-"));
        (void)fprintf(out, "drift     %lld put back\n",
                      (long long)json_integer_value(json_object_get(status, "driftCorrected")));
        if (json_array_size(apps) > 0)
                (void)fprintf(out, "\n%-24s %-9s %-11s %8s  %s\n", "APP", "DRIVER", "STATE", "RESTARTS",
                              "MESSAGE");
        json_array_foreach (apps, i, a)
                (void)fprintf(out, "%-24s %-9s %-11s %8lld  %s\n", text(a, "name", "-"),
                              text(a, "driver", "-"), text(a, "state", "-"),
                              (long long)json_integer_value(json_object_get(a, "restarts")),
                              text(a, "message", ""));
        print_artifacts(json_object_get(status, "artifacts"), out);
        return ferror(out) ? -EIO : 0;
}
