/* SPDX-License-Identifier: Apache-2.0 */
#include "server/notify_receiver.h"

#include <errno.h>
#include <string.h>

#include "base/arena.h"
#include "codec/json.h"
#include "codec/yaml.h"
#include "server/memory.h"

#define LOST_AFTER_DEFAULT ((msec_t)5 * 60 * 1000)
#define LOST_AFTER_MAX ((msec_t)30 * 24 * 3600 * 1000)

static const struct {
        const char *type, *severity;
} notify_kinds[] = {
        {"RolloutFailed", "critical"},          {"RolloutRolledBack", "critical"},
        {"RolloutPaused", "warning"},           {"RolloutAborted", "warning"},
        {"RolloutAwaitingApproval", "warning"}, {"RolloutSucceeded", "info"},
        {"NodeDisconnected", "warning"},        {"NodeDuplicate", "critical"},
        {"SourceFailed", "critical"},           {"RelayDisconnected", "warning"},
        {"ReportRefused", "warning"},
};

const char *notify_severity(const char *type) {
        for (size_t i = 0; i < ARRAY_SIZE(notify_kinds); i++)
                if (str_eq(notify_kinds[i].type, type))
                        return notify_kinds[i].severity;
        return NULL;
}

bool receiver_wants(const struct receiver *r, const char *type) {
        return notify_severity(type) && (!r->events || strv_has(r->events, type));
}

void receivers_done(struct receivers *r) {
        for (size_t i = 0; i < r->n; i++) {
                struct receiver *one = &r->items[i];
                free(one->name);
                free(one->url);
                free(one->template);
                free(one->token_file);
                free(one->ca_file);
                strv_free(one->events);
        }
        free(r->items);
        *r = (struct receivers){0};
}

/* ---- reading */

static int read_type(const json_t *j, enum receiver_type *ret, struct err **err) {
        static const char *const types[] = {[RECEIVER_WEBHOOK] = "webhook",
                                            [RECEIVER_SLACK] = "slack",
                                            [RECEIVER_ALERTMANAGER] = "alertmanager"};
        const char *type = NULL;
        int r = json_read_string(j, "type", &type, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ARRAY_SIZE(types); i++)
                if (str_eq(types[i], type)) {
                        *ret = (enum receiver_type)i;
                        return 0;
                }
        return err_set(err, EINVAL, "type: %.40s is none of webhook, slack, alertmanager", type);
}

static int read_events(const json_t *j, char ***ret, struct err **err) {
        const json_t *list = json_object_get(j, "events"), *item;
        size_t i;
        if (!list || json_is_null(list))
                return 0;
        if (!json_is_array(list) || json_array_size(list) == 0)
                return err_set(err, EINVAL, "events: expected a list of types of events");
        json_array_foreach (list, i, item) {
                const char *type = json_string_value(item);
                if (!type || !notify_severity(type))
                        return err_set(err, EINVAL, "events: nobody is told of %.60s",
                                       type ? type : "what is no text");
                must_do(strv_push(ret, type));
        }
        return 0;
}

static int check_template(const char *template, struct err **err) {
        static const char *const names[] = {"type",  "message", "time",   "severity", "node",
                                            "fleet", "rollout", "source", "actor"};
        for (const char *p = template; (p = strstr(p, "${")); p += 2) {
                size_t len = strcspn(p + 2, "}");
                bool found = p > template && p[-1] == '$';
                for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                        found = found || (strlen(names[i]) == len && strncmp(names[i], p + 2, len) == 0);
                if (!found || !p[2 + len])
                        return err_set(
                                err, EINVAL,
                                "template: there is no ${%.*s}, only type, message, time, severity, node, "
                                "fleet, rollout, source and actor",
                                (int)MIN(len, (size_t)40), p + 2);
        }
        return 0;
}

static int read_receiver(const json_t *j, struct receiver *r, struct err **err) {
        static const char *const fields[] = {"name",     "type",      "url",   "events",
                                             "template", "tokenFile", "caFile"};
        const char *name = NULL, *url = NULL, *template = NULL, *token_file = NULL, *ca_file = NULL;
        if (!json_is_object(j))
                return err_set(err, EINVAL, "expected an object");
        int k = json_check_fields(j, fields, ARRAY_SIZE(fields), err);
        if (k >= 0)
                k = json_read_string(j, "name", &name, err);
        if (k >= 0 && !name_is_dns_label(name))
                k = err_set(err, EINVAL, "name: %.100s is not a DNS label (a-z, 0-9, -, at most 63)", name);
        if (k >= 0)
                k = read_type(j, &r->type, err);
        if (k >= 0)
                k = json_read_string(j, "url", &url, err);
        if (k >= 0 && !str_has_prefix(url, "https://") && !str_has_prefix(url, "http://"))
                k = err_set(err, EINVAL, "url: expected https://... or http://...");
        if (k >= 0 && strchr(url + 8, '@') && strchr(url + 8, '@') < url + 8 + strcspn(url + 8, "/"))
                k = err_set(err, EINVAL,
                            "url: it holds a password: put a token into a file and give tokenFile");
        if (k >= 0)
                k = json_read_optional_string(j, "template", &template, err);
        if (k >= 0 && template && r->type != RECEIVER_WEBHOOK)
                k = err_set(err, EINVAL, "template: only a webhook has one");
        if (k >= 0 && template && strlen(template) > TEMPLATE_MAX)
                k = err_set(err, EINVAL, "template: longer than %d bytes", TEMPLATE_MAX);
        if (k >= 0 && template)
                k = check_template(template, err);
        if (k >= 0)
                k = json_read_optional_string(j, "tokenFile", &token_file, err);
        if (k >= 0)
                k = json_read_optional_string(j, "caFile", &ca_file, err);
        if (k >= 0)
                k = read_events(j, &r->events, err);
        if (k < 0)
                return k;
        r->name = copy_text(name);
        r->url = copy_text(url);
        r->template = copy_text(template);
        r->token_file = copy_text(token_file);
        r->ca_file = copy_text(ca_file);
        return 0;
}

static int read_all(const json_t *j, struct receivers *all, struct err **err) {
        static const char *const fields[] = {"receivers", "nodeLostAfter"};
        const json_t *list = NULL, *item;
        const char *lost = NULL;
        size_t i;
        int64_t ms = LOST_AFTER_DEFAULT;
        if (!json_is_object(j))
                return err_set(err, EINVAL, "expected an object with receivers");
        int k = json_check_fields(j, fields, ARRAY_SIZE(fields), err);
        if (k >= 0)
                k = json_read_array(j, "receivers", &list, err);
        if (k >= 0)
                k = json_read_optional_string(j, "nodeLostAfter", &lost, err);
        if (k >= 0 && lost && (str_to_duration_ms(lost, &ms) < 0 || ms < 0 || ms > LOST_AFTER_MAX))
                k = err_set(err, EINVAL, "nodeLostAfter: %.40s is no time as 5m, 30d at most", lost);
        if (k >= 0 && json_array_size(list) > RECEIVERS_MAX)
                k = err_set(err, EINVAL, "receivers: more than %d", RECEIVERS_MAX);
        if (k < 0)
                return k;
        all->node_lost_after = ms;
        all->items = new0((json_array_size(list) + 1) * sizeof(*all->items));
        json_array_foreach (list, i, item) {
                k = read_receiver(item, &all->items[all->n++], err);
                if (k < 0)
                        return err_wrap(err, "receiver %zu", i + 1);
                for (size_t o = 0; o < i; o++)
                        if (str_eq(all->items[o].name, all->items[i].name))
                                return err_set(err, EINVAL, "receiver %zu: there is another one named %s",
                                               i + 1, all->items[i].name);
        }
        return 0;
}

static int decode(struct arena *arena, const char *file, const char *text, size_t len, json_t **ret,
                  struct err **err) {
        struct value **documents = NULL;
        size_t n = 0;
        int k = yaml_decode(arena, file, text, len, &documents, &n, NULL, err);
        if (k < 0)
                return k;
        if (n != 1)
                return err_set(err, EINVAL, "expected one document");
        *ret = must(json_from_value(documents[0]));
        return 0;
}

int receivers_parse(const char *file, const char *text, size_t len, struct receivers *ret, struct err **err) {
        _cleanup_(arena_freep) struct arena *arena = must(arena_new(0));
        struct receivers all = {0};
        json_t *j = NULL;
        int k = decode(arena, file, text, len, &j, err);
        if (k >= 0)
                k = read_all(j, &all, err);
        json_decref(j);
        if (k < 0) {
                receivers_done(&all);
                return err_wrap(err, "%s", file);
        }
        *ret = all;
        return 0;
}

/* ---- what is sent */

static void put_value(struct buf *out, const json_t *event, const char *key, size_t len) {
        _cleanup_(x_freep) char *name = must(str_dup_n(key, len)), *text = NULL;
        const json_t *value = json_object_get(event, name);
        text = must(json_dumps(value ? value : json_null(), JSON_ENCODE_ANY | JSON_COMPACT));
        buf_puts(out, text);
}

static char *fill_template(const char *template, const json_t *event) {
        struct buf out = BUF_INIT;
        for (const char *p = template; *p;) {
                const char *end;
                if (str_has_prefix(p, "$${")) {
                        buf_puts(&out, "${");
                        p += 3;
                } else if (str_has_prefix(p, "${") && (end = strchr(p, '}'))) {
                        put_value(&out, event, p + 2, (size_t)(end - p - 2));
                        p = end + 1;
                } else
                        buf_putc(&out, *p++);
        }
        must_do(buf_failed(&out));
        return must(out.len ? buf_take(&out, NULL) : str_dup(""));
}

static const char *text_of(const json_t *event, const char *key) {
        const char *text = json_string_value(json_object_get(event, key));
        return text ? text : "";
}

/* What Slack reads as markup is written so that it is none. */
static void put_slack(struct buf *out, const char *text) {
        for (; *text; text++)
                switch (*text) {
                case '&': buf_puts(out, "&amp;"); break;
                case '<': buf_puts(out, "&lt;"); break;
                case '>': buf_puts(out, "&gt;"); break;
                default: buf_putc(out, *text);
                }
}

static json_t *slack_json(const json_t *event) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        json_t *j = json_object_new();
        buf_printf(&text, "*%s* ", text_of(event, "type"));
        if (*text_of(event, "fleet")) {
                put_slack(&text, text_of(event, "fleet"));
                buf_puts(&text, ": ");
        }
        put_slack(&text, text_of(event, "message"));
        must_do(buf_failed(&text));
        json_put(j, "text", json_text(buf_str(&text)));
        return j;
}

static json_t *alert_json(const json_t *event) {
        static const char *const labels_of[] = {"severity", "node", "fleet", "rollout", "source"};
        json_t *list = json_array_new(), *alert = json_object_new(), *labels = json_object_new(),
               *annotations = json_object_new();
        _cleanup_(x_freep) char *name = must(str_format("Skerry%s", text_of(event, "type")));
        json_put(labels, "alertname", json_text(name));
        for (size_t i = 0; i < ARRAY_SIZE(labels_of); i++)
                if (*text_of(event, labels_of[i]))
                        json_put(labels, labels_of[i], json_text(text_of(event, labels_of[i])));
        json_put(annotations, "summary", json_text(text_of(event, "message")));
        json_put(alert, "labels", labels);
        json_put(alert, "annotations", annotations);
        json_put(alert, "startsAt", json_text(text_of(event, "time")));
        json_add(list, alert);
        return list;
}

char *notify_body(const struct receiver *r, const json_t *event) {
        if (r->template)
                return fill_template(r->template, event);
        json_t *j = r->type == RECEIVER_SLACK          ? slack_json(event)
                    : r->type == RECEIVER_ALERTMANAGER ? alert_json(event)
                                                       : json_incref((json_t *)event);
        char *text = must(json_encode_compact(j));
        json_decref(j);
        return text;
}

char *notify_url(const struct receiver *r) {
        size_t len = strlen(r->url);
        if (r->type != RECEIVER_ALERTMANAGER)
                return copy_text(r->url);
        while (len > 0 && r->url[len - 1] == '/')
                len--;
        return must(str_format("%.*s/api/v2/alerts", (int)len, r->url));
}
