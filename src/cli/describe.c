/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/describe.h"

#include <string.h>

#include "base/str.h"
#include "cli/kinds.h"
#include "cli/rollout_view.h"
#include "codec/json.h"

#define LABEL_WIDTH 16 /* of "Last seen:" and its like; a whole digest then fits 80 columns */
#define INDENT 2       /* of tables and lists */

static void put_label(struct buf *out, const struct columns_look *look, const char *label) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        buf_printf(&text, "%s%s", label, *label ? ":" : "");
        style_puts(out, look->colour, STYLE_DIM, buf_str(&text));
        buf_printf(out, "%*s", text.len < LABEL_WIDTH ? (int)(LABEL_WIDTH - text.len) : 1, "");
}

/* "Label:   text"; nothing when the text is empty. */
static void line(struct buf *out, const struct columns_look *look, const char *label, enum style style,
                 const char *text) {
        if (str_is_empty(text))
                return;
        _cleanup_(buf_done) struct buf safe = BUF_INIT, wrapped = BUF_INIT;
        text_put_safe(&safe, text);
        text_put_wrapped(&wrapped, buf_str(&safe), LABEL_WIDTH, LABEL_WIDTH, look->width);
        put_label(out, look, label);
        style_puts(out, look->colour, style, buf_str(&wrapped));
        buf_putc(out, '\n');
}

static void text_line(struct buf *out, const struct columns_look *look, const char *label, const json_t *o,
                      const char *path) {
        line(out, look, label, STYLE_NONE, field_text(o, path));
}

static void number_line(struct buf *out, const struct columns_look *look, const char *label, const json_t *o,
                        const char *path) {
        char text[24];
        (void)snprintf(text, sizeof(text), "%lld", (long long)field_int(o, path));
        line(out, look, label, STYLE_NONE, text);
}

/* "2026-11-20 15:04:05Z (5m ago)", or "(in 5m)" for what is to come. */
static void time_line(struct buf *out, const struct columns_look *look, const char *label, const json_t *o,
                      const char *path, msec_t now) {
        char age[AGE_SIZE], at[TIME_TEXT_SIZE], text[TIME_TEXT_SIZE + AGE_SIZE + 16];
        msec_t wall = field_time(o, path);
        if (wall == 0)
                return;
        (void)time_format(wall, at);
        if (wall <= now)
                (void)snprintf(text, sizeof(text), "%.10s %.8sZ (%s ago)", at, at + 11,
                               age_format(now - wall, age, sizeof(age)));
        else
                (void)snprintf(text, sizeof(text), "%.10s %.8sZ (in %s)", at, at + 11,
                               age_format(wall - now, age, sizeof(age)));
        line(out, look, label, STYLE_NONE, text);
}

/* Of what is connected: now. */
static void seen_line(struct buf *out, const struct columns_look *look, const json_t *o, msec_t now) {
        if (field_bool(o, "status.connected"))
                line(out, look, "Last seen", STYLE_NONE, "now");
        else
                time_line(out, look, "Last seen", o, "status.lastSeenAt", now);
}

static void labels_line(struct buf *out, const struct columns_look *look, const char *label,
                        const json_t *labels) {
        const char *key;
        json_t *value;
        bool first = true;
        json_object_foreach ((json_t *)labels, key, value) {
                _cleanup_(buf_done) struct buf text = BUF_INIT;
                const char *string = json_string_value(value);
                buf_printf(&text, "%s=%s", key, string ? string : "");
                if (first) {
                        line(out, look, label, STYLE_NONE, buf_str(&text));
                } else {
                        buf_printf(out, "%*s", LABEL_WIDTH, "");
                        text_put_safe(out, buf_str(&text));
                        buf_putc(out, '\n');
                }
                first = false;
        }
}

static void heading(struct buf *out, const struct columns_look *look, const char *title) {
        buf_putc(out, '\n');
        style_printf(out, look->colour, STYLE_BOLD, "%s", title);
        buf_putc(out, '\n');
}

/* "web, till" out of a list of names, or of objects that have one. */
static void put_names(struct buf *out, const json_t *list) {
        size_t i;
        json_t *item;
        json_array_foreach ((json_t *)list, i, item) {
                const char *name = json_is_string(item) ? json_string_value(item) : field_text(item, "name");
                buf_printf(out, "%s%s", i ? ", " : "", name);
        }
}

/* A table, indented, as wide as there is room. */
static void put_table(struct buf *out, const struct columns *t, const struct columns_look *look) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        struct columns_look inner = *look;
        inner.width = look->width > INDENT ? look->width - INDENT : look->width;
        if (columns_print(t, &inner, &text) < 0)
                return;
        for (const char *p = buf_str(&text); *p;) {
                size_t len = strcspn(p, "\n");
                buf_printf(out, "%*s%.*s\n", INDENT, "", (int)len, p);
                p += len + (p[len] == '\n');
        }
}

/* Sentences that a table had no room for stand beneath it, whole; but one that was told before. */
static void put_messages(struct buf *out, const struct columns_look *look, const json_t *list,
                         const char *name, const char *message, const char *told) {
        size_t i;
        json_t *o;
        json_array_foreach ((json_t *)list, i, o) {
                _cleanup_(buf_done) struct buf safe = BUF_INIT;
                if (!*field_text(o, message) || str_eq(field_text(o, message), told))
                        continue;
                buf_printf(&safe, "%*s", INDENT, "");
                text_put_safe(&safe, field_text(o, name));
                buf_puts(&safe, ": ");
                text_put_safe(&safe, field_text(o, message));
                text_put_wrapped(out, buf_str(&safe), 0, 2 * INDENT, look->width);
                buf_putc(out, '\n');
        }
}

enum style style_of_event(const char *type) {
        static const struct {
                const char *type;
                enum style style;
        } styles[] = {
                {"RolloutSucceeded", STYLE_GOOD}, {"SourceCompiled", STYLE_GOOD},
                {"RolloutFailed", STYLE_BAD},     {"RolloutRollingBack", STYLE_BAD},
                {"RolloutRolledBack", STYLE_BAD}, {"RolloutAborted", STYLE_BAD},
                {"SourceFailed", STYLE_BAD},      {"NodeRevoked", STYLE_BAD},
                {"NodeDisconnected", STYLE_WARN}, {"RelayDisconnected", STYLE_WARN},
                {"RolloutPaused", STYLE_WARN},    {"RolloutStarted", STYLE_ACTIVE},
                {"RolloutWave", STYLE_ACTIVE},    {"RolloutResumed", STYLE_ACTIVE},
                {"RolloutRetried", STYLE_ACTIVE}, {"ReportRefused", STYLE_BAD},
        };
        for (size_t i = 0; i < ARRAY_SIZE(styles); i++)
                if (str_eq(type, styles[i].type))
                        return styles[i].style;
        return STYLE_NONE;
}

void describe_event(struct buf *out, const json_t *event, size_t at, const struct columns_look *look) {
        const char *node = field_text(event, "node"), *source = field_text(event, "source"),
                   *fleet = field_text(event, "fleet"), *rollout = field_text(event, "rollout"),
                   *message = field_text(event, "message"), *actor = field_text(event, "actor");
        _cleanup_(buf_done) struct buf words = BUF_INIT, safe = BUF_INIT;
        /* Most words begin with what they are about. */
        if (look->wide && *rollout)
                buf_printf(&words, "rollout/%s  ", rollout);
        else if (*fleet && !*node)
                buf_printf(&words, "%s: ", fleet);
        else if (*node && !str_has_prefix(message, node))
                buf_printf(&words, "%s: ", node);
        else if (*source)
                buf_printf(&words, "%s: ", source);
        buf_puts(&words, message);
        if (*actor)
                buf_printf(&words, " (%s)", actor);
        text_put_safe(&safe, buf_str(&words));
        text_put_wrapped(out, buf_str(&safe), at, at, look->width);
        buf_putc(out, '\n');
}

void describe_diagnostics(struct buf *out, const json_t *list, const char *indent,
                          const struct columns_look *look) {
        size_t i;
        json_t *d;
        json_array_foreach ((json_t *)list, i, d) {
                _cleanup_(buf_done) struct buf place = BUF_INIT, words = BUF_INIT;
                bool error = str_eq(field_text(d, "severity"), "error");
                const char *severity = error ? "error" : "warning";
                text_put_safe(&place, field_text(d, "file"));
                if (field_int(d, "line") > 0)
                        buf_printf(&place, ":%lld:%lld", (long long)field_int(d, "line"),
                                   (long long)field_int(d, "column"));
                if (place.len > 0)
                        buf_puts(&place, ": ");
                buf_printf(out, "%s%s", indent, buf_str(&place));
                style_puts(out, look->colour, error ? STYLE_BAD : STYLE_WARN, severity);
                buf_puts(&words, ": ");
                text_put_safe(&words, field_text(d, "message"));
                if (*field_text(d, "suggestion")) {
                        buf_puts(&words, " (");
                        text_put_safe(&words, field_text(d, "suggestion"));
                        buf_puts(&words, ")");
                }
                text_put_wrapped(out, buf_str(&words), strlen(indent) + place.len + strlen(severity),
                                 strlen(indent) + 4, look->width);
                buf_putc(out, '\n');
        }
}

/* ---- node */

static void node_apps(struct buf *out, const json_t *apps, const char *told,
                      const struct columns_look *look) {
        static const struct column columns[] = {
                {"NAME", 0}, {"DRIVER", 0}, {"STATE", 0}, {"RESTARTS", COLUMN_RIGHT}, {"DRIFT", COLUMN_RIGHT},
        };
        _cleanup_(columns_freep) struct columns *t = columns_new(columns, ARRAY_SIZE(columns));
        size_t i;
        json_t *app;
        if (!t || json_array_size(apps) == 0)
                return;
        json_array_foreach ((json_t *)apps, i, app) {
                const char *state = field_text(app, "state");
                columns_cell(t, STYLE_NONE, field_text(app, "name"));
                columns_cell(t, STYLE_NONE, field_text(app, "driver"));
                columns_cell(t, style_of_state(state), state);
                columns_cellf(t, STYLE_NONE, "%lld", (long long)field_int(app, "restarts"));
                columns_cellf(t, STYLE_NONE, "%lld", (long long)field_int(app, "driftCorrected"));
        }
        heading(out, look, "Apps");
        put_table(out, t, look);
        put_messages(out, look, apps, "name", "message", told);
}

/* How far each artifact is, by which way it came, and how many bytes that took against what was predicted. */
static void node_artifacts(struct buf *out, const json_t *artifacts, const char *told,
                           const struct columns_look *look) {
        static const struct column columns[] = {
                {"NAME", 0},
                {"VERSION", 0},
                {"STATE", 0},
                {"WAY", 0},
                {"FETCHED", COLUMN_RIGHT},
                {"PREDICTED", COLUMN_RIGHT},
                {"WHOLE", COLUMN_RIGHT},
        };
        static const char *const numbers[] = {"bytesFetched", "bytesPredicted", "bytesTotal"};
        _cleanup_(columns_freep) struct columns *t = columns_new(columns, ARRAY_SIZE(columns));
        char bytes[32];
        size_t i;
        json_t *a;
        if (!t || json_array_size(artifacts) == 0)
                return;
        json_array_foreach ((json_t *)artifacts, i, a) {
                columns_cell(t, STYLE_NONE, field_text(a, "name"));
                columns_cell(t, STYLE_NONE, field_text(a, "version"));
                columns_cell(t, STYLE_NONE, field_text(a, "state"));
                columns_cell(t, STYLE_NONE, field_text(a, "way"));
                for (size_t k = 0; k < ARRAY_SIZE(numbers); k++)
                        columns_cell(t, STYLE_NONE,
                                     bytes_format(field_int(a, numbers[k]), bytes, sizeof(bytes)));
        }
        heading(out, look, "Artifacts");
        put_table(out, t, look);
        put_messages(out, look, artifacts, "name", "message", told);
}

static void conditions(struct buf *out, const json_t *list, const char *told,
                       const struct columns_look *look) {
        static const struct column columns[] = {{"TYPE", 0}, {"STATUS", 0}, {"REASON", 0}};
        _cleanup_(columns_freep) struct columns *t = columns_new(columns, ARRAY_SIZE(columns));
        size_t i;
        json_t *c;
        if (!t || json_array_size(list) == 0)
                return;
        json_array_foreach ((json_t *)list, i, c) {
                const json_t *status = field(c, "status");
                const char *text = json_is_true(status)    ? "True"
                                   : json_is_false(status) ? "False"
                                                           : field_text(c, "status");
                columns_cell(t, STYLE_NONE, field_text(c, "type"));
                columns_cell(t, str_eq(text, "False") ? STYLE_WARN : STYLE_NONE, text);
                columns_cell(t, STYLE_NONE, field_text(c, "reason"));
        }
        heading(out, look, "Conditions");
        put_table(out, t, look);
        put_messages(out, look, list, "type", "message", told);
}

void describe_node(struct buf *out, const json_t *o, msec_t now, const struct columns_look *look) {
        const char *state = field_text(o, "status.observed.state"),
                   *told = field_text(o, "status.observed.message");
        bool revoked = field_bool(o, "status.revoked"), connected = field_bool(o, "status.connected");
        text_line(out, look, "Name", o, "metadata.name");
        labels_line(out, look, "Labels", field(o, "metadata.labels"));
        labels_line(out, look, "Variables", field(o, "spec.variables"));
        time_line(out, look, "Enrolled", o, "metadata.createdAt", now);
        if (revoked)
                line(out, look, "Revoked", STYLE_BAD, "yes: it may not connect any more");
        line(out, look, "Connected", connected ? STYLE_GOOD : STYLE_WARN, connected ? "yes" : "no");
        seen_line(out, look, o, now);
        text_line(out, look, "Address", o, "status.address");
        text_line(out, look, "Through relay", o, "status.relay");
        text_line(out, look, "Agent", o, "status.agentVersion");
        text_line(out, look, "Platform", o, "status.platform");
        time_line(out, look, "Certified till", o, "status.certificateNotAfter", now);

        heading(out, look, "Desired");
        text_line(out, look, "Fleet", o, "status.fleet");
        text_line(out, look, "Revision", o, "status.desired.revision");
        text_line(out, look, "Commit", o, "status.desired.commit");
        text_line(out, look, "Rollout", o, "status.desired.rollout");
        if (field(o, "status.desired.assignment"))
                number_line(out, look, "Assignment", o, "status.desired.assignment");

        heading(out, look, "Observed");
        line(out, look, "State", style_of_state(state), state);
        text_line(out, look, "Revision", o, "status.observed.revision");
        text_line(out, look, "Message", o, "status.observed.message");
        number_line(out, look, "Drift put back", o, "status.driftCorrected");

        node_apps(out, field(o, "status.apps"), told, look);
        node_artifacts(out, field(o, "status.artifacts"), told, look);
        conditions(out, field(o, "status.conditions"), told, look);
        const json_t *facts = field(o, "status.facts");
        if (json_object_size(facts) > 0) {
                const char *key;
                json_t *value;
                heading(out, look, "Facts");
                json_object_foreach ((json_t *)facts, key, value) {
                        _cleanup_(x_freep) char *text = json_is_string(value)
                                                                ? str_dup(json_string_value(value))
                                                                : json_encode_compact(value);
                        line(out, look, key, STYLE_NONE, text);
                }
        }
}

/* ---- the others */

void describe_fleet(struct buf *out, const json_t *o, msec_t now, const struct columns_look *look) {
        _cleanup_(buf_done) struct buf selector = BUF_INIT, apps = BUF_INIT;
        put_selector(&selector, field(o, "spec.selector"));
        put_names(&apps, field(o, "spec.apps"));
        text_line(out, look, "Name", o, "metadata.name");
        labels_line(out, look, "Labels", field(o, "metadata.labels"));
        line(out, look, "Selects", STYLE_NONE, selector.len ? buf_str(&selector) : "every node");
        text_line(out, look, "Rollout policy", o, "spec.rolloutPolicy");
        line(out, look, "Apps", STYLE_NONE, buf_str(&apps));
        labels_line(out, look, "Variables", field(o, "spec.variables"));

        heading(out, look, "Version");
        text_line(out, look, "Source", o, "status.source");
        text_line(out, look, "Commit", o, "status.commit");
        text_line(out, look, "Desired", o, "status.desiredRevision");
        text_line(out, look, "Last good", o, "status.stableRevision");
        text_line(out, look, "Rollout", o, "status.rollout");
        if (field(o, "status.pinned")) {
                line(out, look, "Pinned", STYLE_WARN, "in spite of Git, until 'skerry rollback --clear'");
                text_line(out, look, "Pinned by", o, "status.pinned.by");
                text_line(out, look, "Pinned for", o, "status.pinned.reason");
                text_line(out, look, "Git wants", o, "status.pinned.gitRevision");
        }
        if (*field_text(o, "status.waitsFor"))
                line(out, look, "Waits", STYLE_WARN, field_text(o, "status.waitsFor"));

        heading(out, look, "Nodes");
        number_line(out, look, "All", o, "status.nodes");
        number_line(out, look, "Connected", o, "status.connected");
        number_line(out, look, "Updated", o, "status.updated");
        number_line(out, look, "Healthy", o, "status.healthy");
        number_line(out, look, "Deferred", o, "status.deferred");
        number_line(out, look, "Failed", o, "status.failed");
        if (field_int(o, "status.blocked") > 0)
                number_line(out, look, "No artifact fits", o, "status.blocked");
}

void describe_app(struct buf *out, const json_t *o, msec_t now, const struct columns_look *look) {
        text_line(out, look, "Name", o, "metadata.name");
        text_line(out, look, "Fleet", o, "spec.fleet");
        text_line(out, look, "Driver", o, "spec.driver");
        heading(out, look, "Nodes");
        number_line(out, look, "All", o, "status.nodes");
        number_line(out, look, "Healthy", o, "status.healthy");
        number_line(out, look, "Progressing", o, "status.progressing");
        number_line(out, look, "Failed", o, "status.failed");
        number_line(out, look, "Restarts", o, "status.restarts");
        number_line(out, look, "Drift put back", o, "status.driftCorrected");
}

static void rollout_waves(struct buf *out, const json_t *waves, msec_t now, const struct columns_look *look) {
        static const struct column columns[] = {
                {"WAVE", 0},
                {"STATE", 0},
                {"TOTAL", COLUMN_RIGHT},
                {"HEALTHY", COLUMN_RIGHT},
                {"FAILED", COLUMN_RIGHT},
                {"WENT BACK", COLUMN_RIGHT},
                {"DEFERRED", COLUMN_RIGHT},
                {"STARTED", COLUMN_RIGHT},
                {"PROGRESSING", COLUMN_RIGHT | COLUMN_OPTIONAL},
                {"PENDING", COLUMN_RIGHT | COLUMN_OPTIONAL},
        };
        static const char *const counts[] = {"total", "healthy", "failed", "rolledBack", "deferred"};
        _cleanup_(columns_freep) struct columns *t = columns_new(columns, ARRAY_SIZE(columns));
        size_t i;
        json_t *wave;
        if (!t || json_array_size(waves) == 0)
                return;
        json_array_foreach ((json_t *)waves, i, wave) {
                char age[AGE_SIZE];
                const char *state = field_text(wave, "state");
                columns_cell(t, STYLE_NONE, field_text(wave, "name"));
                columns_cell(t, style_of_state(state), state);
                for (size_t c = 0; c < ARRAY_SIZE(counts); c++)
                        columns_cellf(t, STYLE_NONE, "%lld", (long long)field_int(wave, counts[c]));
                columns_cell(t, STYLE_NONE, field_age(wave, "startedAt", now, age));
                columns_cellf(t, STYLE_NONE, "%lld", (long long)field_int(wave, "progressing"));
                columns_cellf(t, STYLE_NONE, "%lld", (long long)field_int(wave, "pending"));
        }
        heading(out, look, "Waves");
        put_table(out, t, look);
}

static void rollout_members(struct buf *out, const json_t *members, msec_t now,
                            const struct columns_look *look) {
        static const struct column columns[] = {
                {"NODE", 0}, {"WAVE", 0}, {"STATE", 0}, {"SINCE", COLUMN_RIGHT}, {"CONNECTED", 0},
        };
        _cleanup_(columns_freep) struct columns *t = columns_new(columns, ARRAY_SIZE(columns));
        size_t i;
        json_t *m;
        if (!t || json_array_size(members) == 0)
                return;
        json_array_foreach ((json_t *)members, i, m) {
                char age[AGE_SIZE], number[24];
                const json_t *wave = field(m, "wave");
                const char *state = field_text(m, "state");
                (void)snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(wave));
                columns_cell(t, STYLE_NONE, field_text(m, "node"));
                columns_cell(t, STYLE_NONE, json_is_integer(wave) ? number : field_text(m, "wave"));
                columns_cell(t, rollout_member_style(m), state);
                columns_cell(t, STYLE_NONE, field_age(m, "since", now, age));
                columns_cell(t, field_bool(m, "connected") ? STYLE_NONE : STYLE_WARN,
                             field_bool(m, "connected") ? "yes" : "no");
        }
        heading(out, look, "Nodes");
        put_table(out, t, look);
        put_messages(out, look, members, "node", "reason", NULL);
}

/* "limit 1, soak 30s, labels canary=true". */
static void put_wave_policy(struct buf *out, const json_t *wave) {
        char duration[32];
        const char *separator = "";
        if (*field_text(wave, "limit")) {
                buf_printf(out, "at most %s", field_text(wave, "limit"));
                separator = ", ";
        }
        if (json_object_size(field(wave, "selector")) > 0) {
                buf_printf(out, "%swhere ", separator);
                put_selector(out, field(wave, "selector"));
                separator = ", ";
        }
        if (*field_text(wave, "successThreshold")) {
                buf_printf(out, "%s%s must be healthy", separator, field_text(wave, "successThreshold"));
                separator = ", ";
        }
        if (field_int(wave, "pauseMs") > 0)
                buf_printf(out, "%ssoaks %s", separator,
                           duration_format(field_int(wave, "pauseMs"), duration, sizeof(duration)));
        else if (!*separator)
                buf_puts(out, "all that are left");
}

static void rollout_policy(struct buf *out, const json_t *policy, const struct columns_look *look) {
        char text[32];
        size_t i;
        json_t *wave;
        if (!policy)
                return;
        heading(out, look, "Policy");
        text_line(out, look, "Name", policy, "name");
        json_array_foreach ((json_t *)field(policy, "waves"), i, wave) {
                _cleanup_(buf_done) struct buf words = BUF_INIT;
                buf_printf(&words, "%s: ", field_text(wave, "name"));
                put_wave_policy(&words, wave);
                line(out, look, i == 0 ? "Waves" : "", STYLE_NONE, buf_str(&words));
        }
        text_line(out, look, "Tolerated", policy, "maxFailed");
        number_line(out, look, "Least healthy", policy, "minSample");
        line(out, look, "Node's time", STYLE_NONE,
             duration_format(field_int(policy, "progressDeadlineMs"), text, sizeof(text)));
        line(out, look, "Deferred after", STYLE_NONE,
             duration_format(field_int(policy, "deferAfterMs"), text, sizeof(text)));
        line(out, look, "On failure", STYLE_NONE,
             field_bool(policy, "rollbackOnFailure") ? "goes back to the last good revision" : "pauses");
}

/* What was predicted beside what it came to, over all members that report it. */
static void rollout_transfer(struct buf *out, const json_t *transfer, const struct columns_look *look) {
        static const char *const lines[][2] = {
                {"Predicted", "bytesPredicted"}, {"Fetched", "bytesFetched"}, {"Whole", "bytesTotal"}};
        _cleanup_(buf_done) struct buf ways = BUF_INIT;
        const char *way;
        json_t *n;
        char bytes[32];
        if (!transfer)
                return;
        heading(out, look, "Artifacts");
        number_line(out, look, "Nodes", transfer, "nodes");
        for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
                line(out, look, lines[i][0], STYLE_NONE,
                     bytes_format(field_int(transfer, lines[i][1]), bytes, sizeof(bytes)));
        json_object_foreach ((json_t *)field(transfer, "ways"), way, n)
                buf_printf(&ways, "%s%lld by %s", ways.len ? ", " : "", (long long)json_integer_value(n),
                           way);
        line(out, look, "Ways", STYLE_NONE, buf_str(&ways));
}

void describe_rollout(struct buf *out, const json_t *o, msec_t now, const struct columns_look *look) {
        const char *phase = field_text(o, "status.phase");
        text_line(out, look, "Name", o, "metadata.name");
        text_line(out, look, "Fleet", o, "spec.fleet");
        line(out, look, "Phase", style_of_state(phase), phase);
        if (field_bool(o, "status.paused"))
                line(out, look, "Paused", STYLE_WARN, "yes");
        text_line(out, look, "Reason", o, "status.reason");
        text_line(out, look, "Revision", o, "spec.revision");
        text_line(out, look, "Source", o, "spec.source");
        text_line(out, look, "Commit", o, "spec.commit");
        text_line(out, look, "Subject", o, "spec.commitSubject");
        time_line(out, look, "Created", o, "metadata.createdAt", now);
        time_line(out, look, "Started", o, "status.startedAt", now);
        time_line(out, look, "Finished", o, "status.finishedAt", now);
        text_line(out, look, "Members digest", o, "status.membersDigest");
        rollout_policy(out, field(o, "spec.policy"), look);
        rollout_transfer(out, field(o, "status.transfer"), look);
        rollout_waves(out, field(o, "status.waves"), now, look);
        rollout_members(out, field(o, "status.members"), now, look);
}

void describe_source(struct buf *out, const json_t *o, msec_t now, const struct columns_look *look) {
        static const char *const files[][2] = {
                {"SSH key", "spec.sshKeyFile"},         {"Known hosts", "spec.knownHostsFile"},
                {"Authority file", "spec.caFile"},      {"User name file", "spec.usernameFile"},
                {"Password file", "spec.passwordFile"}, {"Webhook secret", "spec.webhookSecretFile"},
                {"Signatures", "spec.signatures"},      {"Allowed signers", "spec.allowedSignersFile"},
                {"Keyring", "spec.keyringFile"},        {"Status host", "spec.statusHost"},
                {"Status address", "spec.statusUrl"},   {"Status token", "spec.statusTokenFile"},
        };
        bool healthy = field_bool(o, "status.healthy");
        text_line(out, look, "Name", o, "metadata.name");
        text_line(out, look, "URL", o, "spec.url");
        text_line(out, look, "Branch", o, "spec.branch");
        text_line(out, look, "Tags", o, "spec.tags");
        text_line(out, look, "Tag prefix", o, "spec.tagPrefix");
        text_line(out, look, "Path", o, "spec.path");
        if (field(o, "spec.pollSeconds")) {
                char every[32], text[48];
                (void)snprintf(
                        text, sizeof(text), "every %s",
                        duration_format(1000 * field_int(o, "spec.pollSeconds"), every, sizeof(every)));
                line(out, look, "Polled", STYLE_NONE, text);
        }
        for (size_t i = 0; i < ARRAY_SIZE(files); i++)
                text_line(out, look, files[i][0], o, files[i][1]);
        heading(out, look, "State");
        line(out, look, "Healthy", healthy ? STYLE_GOOD : STYLE_BAD, healthy ? "yes" : "no");
        text_line(out, look, "Last fetched", o, "status.commit");
        text_line(out, look, "Tag", o, "status.tag");
        text_line(out, look, "Subject", o, "status.commitSubject");
        text_line(out, look, "Author", o, "status.commitAuthor");
        text_line(out, look, "Last good", o, "status.compiledCommit");
        time_line(out, look, "Checked", o, "status.fetchedAt", now);
        text_line(out, look, "Signed by", o, "status.signature.signer");
        text_line(out, look, "Signing key", o, "status.signature.key");
        text_line(out, look, "Signed commit", o, "status.signature.commit");
        line(out, look, "Error", STYLE_BAD, field_text(o, "status.error"));
        line(out, look, "Status not posted", STYLE_BAD, field_text(o, "status.statusError"));
        const json_t *list = field(o, "status.diagnostics");
        if (json_array_size(list) > 0) {
                heading(out, look, "What the compiler says");
                describe_diagnostics(out, list, "  ", look);
        }
}

void describe_revision(struct buf *out, const json_t *o, msec_t now, const struct columns_look *look) {
        char size[32];
        const json_t *apps = field(o, "status.apps"), *spec = field(o, "spec");
        text_line(out, look, "Digest", o, "metadata.name");
        text_line(out, look, "Fleet", o, "status.fleet");
        text_line(out, look, "Commit", o, "status.commit");
        time_line(out, look, "Created", o, "metadata.createdAt", now);
        line(out, look, "Size", STYLE_NONE, bytes_format(field_int(o, "status.bytes"), size, sizeof(size)));
        if (json_is_array(apps)) {
                _cleanup_(buf_done) struct buf names = BUF_INIT;
                put_names(&names, apps);
                line(out, look, "Apps", STYLE_NONE, buf_str(&names));
        } else {
                number_line(out, look, "Apps", o, "status.apps");
        }
        if (spec) {
                _cleanup_(x_freep) char *yaml = json_encode_yaml(spec);
                heading(out, look, "Content");
                for (const char *p = yaml; p && *p;) {
                        size_t len = strcspn(p, "\n");
                        buf_printf(out, "  %.*s\n", (int)len, p);
                        p += len + (p[len] == '\n');
                }
        }
}

void describe_relay(struct buf *out, const json_t *o, msec_t now, const struct columns_look *look) {
        bool connected = field_bool(o, "status.connected");
        text_line(out, look, "Name", o, "metadata.name");
        time_line(out, look, "Enrolled", o, "metadata.createdAt", now);
        if (field_bool(o, "status.revoked"))
                line(out, look, "Revoked", STYLE_BAD, "yes");
        line(out, look, "Connected", connected ? STYLE_GOOD : STYLE_WARN, connected ? "yes" : "no");
        seen_line(out, look, o, now);
        text_line(out, look, "Address", o, "status.address");
        number_line(out, look, "Nodes", o, "status.nodes");
}

void describe_token(struct buf *out, const json_t *o, msec_t now, const struct columns_look *look) {
        text_line(out, look, "ID", o, "metadata.name");
        text_line(out, look, "Kind", o, "spec.kind");
        text_line(out, look, "For the name", o, "spec.name");
        labels_line(out, look, "Labels", field(o, "spec.labels"));
        number_line(out, look, "Uses", o, "spec.uses");
        number_line(out, look, "Used", o, "status.used");
        time_line(out, look, "Created", o, "metadata.createdAt", now);
        time_line(out, look, "Expires", o, "status.expiresAt", now);
}
