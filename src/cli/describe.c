/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/describe.h"

#include <string.h>

#include "base/str.h"
#include "cli/kinds.h"
#include "codec/json.h"

#define LABEL_WIDTH 20 /* of "Last seen:" and its like */

static void put_label(struct buf *out, const char *label, bool colour) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        buf_printf(&text, "%s:", label);
        style_puts(out, colour, STYLE_DIM, buf_str(&text));
        buf_printf(out, "%*s", text.len < LABEL_WIDTH ? (int)(LABEL_WIDTH - text.len) : 1, "");
}

/* "Label:   text"; nothing when the text is empty. */
static void line(struct buf *out, bool colour, const char *label, enum style style, const char *text) {
        if (str_is_empty(text))
                return;
        _cleanup_(buf_done) struct buf safe = BUF_INIT;
        text_put_safe(&safe, text);
        put_label(out, label, colour);
        style_puts(out, colour, style, buf_str(&safe));
        buf_putc(out, '\n');
}

static void text_line(struct buf *out, bool colour, const char *label, const json_t *o, const char *path) {
        line(out, colour, label, STYLE_NONE, field_text(o, path));
}

static void number_line(struct buf *out, bool colour, const char *label, const json_t *o, const char *path) {
        char text[24];
        (void)snprintf(text, sizeof(text), "%lld", (long long)field_int(o, path));
        line(out, colour, label, STYLE_NONE, text);
}

/* "2026-11-20T15:04:05.123Z (5m ago)", or "(in 5m)" for what is to come. */
static void time_line(struct buf *out, bool colour, const char *label, const json_t *o, const char *path,
                      msec_t now) {
        char age[AGE_SIZE], text[TIME_TEXT_SIZE + AGE_SIZE + 16];
        msec_t wall = field_time(o, path);
        if (wall == 0)
                return;
        if (wall <= now)
                (void)snprintf(text, sizeof(text), "%s (%s ago)", field_text(o, path),
                               age_format(now - wall, age, sizeof(age)));
        else
                (void)snprintf(text, sizeof(text), "%s (in %s)", field_text(o, path),
                               age_format(wall - now, age, sizeof(age)));
        line(out, colour, label, STYLE_NONE, text);
}

static void labels_line(struct buf *out, bool colour, const char *label, const json_t *labels) {
        const char *key;
        json_t *value;
        bool first = true;
        json_object_foreach ((json_t *)labels, key, value) {
                _cleanup_(buf_done) struct buf text = BUF_INIT;
                const char *string = json_string_value(value);
                buf_printf(&text, "%s=%s", key, string ? string : "");
                if (first) {
                        line(out, colour, label, STYLE_NONE, buf_str(&text));
                } else {
                        buf_printf(out, "%*s", LABEL_WIDTH, "");
                        text_put_safe(out, buf_str(&text));
                        buf_putc(out, '\n');
                }
                first = false;
        }
}

static void heading(struct buf *out, bool colour, const char *title) {
        buf_putc(out, '\n');
        style_printf(out, colour, STYLE_BOLD, "%s", title);
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

/* A table, indented by two blanks. */
static void put_table(struct buf *out, const struct columns *t, bool colour) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        const struct columns_look look = {.colour = colour, .unicode = true};
        if (columns_print(t, &look, &text) < 0)
                return;
        for (const char *p = buf_str(&text); *p;) {
                size_t len = strcspn(p, "\n");
                buf_printf(out, "  %.*s\n", (int)len, p);
                p += len + (p[len] == '\n');
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
                {"RolloutRetried", STYLE_ACTIVE},
        };
        for (size_t i = 0; i < ARRAY_SIZE(styles); i++)
                if (str_eq(type, styles[i].type))
                        return styles[i].style;
        return STYLE_NONE;
}

void describe_diagnostics(struct buf *out, const json_t *list, const char *indent, bool colour) {
        size_t i;
        json_t *d;
        json_array_foreach ((json_t *)list, i, d) {
                const char *severity = field_text(d, "severity");
                bool error = str_eq(severity, "error");
                buf_puts(out, indent);
                text_put_safe(out, field_text(d, "file"));
                if (field_int(d, "line") > 0)
                        buf_printf(out, ":%lld:%lld", (long long)field_int(d, "line"),
                                   (long long)field_int(d, "column"));
                if (*field_text(d, "file"))
                        buf_puts(out, ": ");
                style_printf(out, colour, error ? STYLE_BAD : STYLE_WARN, "%s", error ? "error" : "warning");
                buf_puts(out, ": ");
                text_put_safe(out, field_text(d, "message"));
                if (*field_text(d, "suggestion")) {
                        buf_puts(out, " (");
                        text_put_safe(out, field_text(d, "suggestion"));
                        buf_puts(out, ")");
                }
                buf_putc(out, '\n');
        }
}

/* ---- node */

static void node_apps(struct buf *out, const json_t *apps, bool colour) {
        static const struct column columns[] = {
                {"NAME", 0},
                {"DRIVER", 0},
                {"STATE", 0},
                {"RESTARTS", COLUMN_RIGHT},
                {"DRIFT", COLUMN_RIGHT},
                {"MESSAGE", 0},
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
                columns_cell(t, STYLE_NONE, field_text(app, "message"));
        }
        heading(out, colour, "Apps");
        put_table(out, t, colour);
}

static void conditions(struct buf *out, const json_t *list, bool colour) {
        static const struct column columns[] = {{"TYPE", 0}, {"STATUS", 0}, {"REASON", 0}, {"MESSAGE", 0}};
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
                columns_cell(t, STYLE_NONE, field_text(c, "message"));
        }
        heading(out, colour, "Conditions");
        put_table(out, t, colour);
}

void describe_node(struct buf *out, const json_t *o, msec_t now, bool colour) {
        const char *state = field_text(o, "status.observed.state");
        bool revoked = field_bool(o, "status.revoked"), connected = field_bool(o, "status.connected");
        text_line(out, colour, "Name", o, "metadata.name");
        labels_line(out, colour, "Labels", field(o, "metadata.labels"));
        labels_line(out, colour, "Variables", field(o, "spec.variables"));
        time_line(out, colour, "Enrolled", o, "metadata.createdAt", now);
        if (revoked)
                line(out, colour, "Revoked", STYLE_BAD, "yes: it may not connect any more");
        line(out, colour, "Connected", connected ? STYLE_GOOD : STYLE_WARN, connected ? "yes" : "no");
        time_line(out, colour, "Last seen", o, "status.lastSeenAt", now);
        text_line(out, colour, "Address", o, "status.address");
        text_line(out, colour, "Through relay", o, "status.relay");
        text_line(out, colour, "Agent", o, "status.agentVersion");
        text_line(out, colour, "Platform", o, "status.platform");
        time_line(out, colour, "Certificate until", o, "status.certificateNotAfter", now);

        heading(out, colour, "Desired");
        text_line(out, colour, "Fleet", o, "status.fleet");
        text_line(out, colour, "Revision", o, "status.desired.revision");
        text_line(out, colour, "Commit", o, "status.desired.commit");
        text_line(out, colour, "Rollout", o, "status.desired.rollout");
        if (field(o, "status.desired.assignment"))
                number_line(out, colour, "Assignment", o, "status.desired.assignment");

        heading(out, colour, "Observed");
        line(out, colour, "State", style_of_state(state), state);
        text_line(out, colour, "Revision", o, "status.observed.revision");
        text_line(out, colour, "Message", o, "status.observed.message");
        number_line(out, colour, "Drift corrected", o, "status.driftCorrected");

        node_apps(out, field(o, "status.apps"), colour);
        conditions(out, field(o, "status.conditions"), colour);
        const json_t *facts = field(o, "status.facts");
        if (json_object_size(facts) > 0) {
                const char *key;
                json_t *value;
                heading(out, colour, "Facts");
                json_object_foreach ((json_t *)facts, key, value) {
                        _cleanup_(x_freep) char *text = json_is_string(value)
                                                                ? str_dup(json_string_value(value))
                                                                : json_encode_compact(value);
                        line(out, colour, key, STYLE_NONE, text);
                }
        }
}

/* ---- the others */

void describe_fleet(struct buf *out, const json_t *o, msec_t now, bool colour) {
        _cleanup_(buf_done) struct buf selector = BUF_INIT, apps = BUF_INIT;
        put_selector(&selector, field(o, "spec.selector"));
        put_names(&apps, field(o, "spec.apps"));
        text_line(out, colour, "Name", o, "metadata.name");
        labels_line(out, colour, "Labels", field(o, "metadata.labels"));
        line(out, colour, "Selects", STYLE_NONE, selector.len ? buf_str(&selector) : "every node");
        text_line(out, colour, "Rollout policy", o, "spec.rolloutPolicy");
        line(out, colour, "Apps", STYLE_NONE, buf_str(&apps));
        labels_line(out, colour, "Variables", field(o, "spec.variables"));

        heading(out, colour, "Version");
        text_line(out, colour, "Source", o, "status.source");
        text_line(out, colour, "Commit", o, "status.commit");
        text_line(out, colour, "Desired revision", o, "status.desiredRevision");
        text_line(out, colour, "Stable revision", o, "status.stableRevision");
        text_line(out, colour, "Rollout", o, "status.rollout");

        heading(out, colour, "Nodes");
        number_line(out, colour, "All", o, "status.nodes");
        number_line(out, colour, "Connected", o, "status.connected");
        number_line(out, colour, "Updated", o, "status.updated");
        number_line(out, colour, "Healthy", o, "status.healthy");
        number_line(out, colour, "Deferred", o, "status.deferred");
        number_line(out, colour, "Failed", o, "status.failed");
}

void describe_app(struct buf *out, const json_t *o, msec_t now, bool colour) {
        text_line(out, colour, "Name", o, "metadata.name");
        text_line(out, colour, "Fleet", o, "spec.fleet");
        text_line(out, colour, "Driver", o, "spec.driver");
        heading(out, colour, "Nodes");
        number_line(out, colour, "All", o, "status.nodes");
        number_line(out, colour, "Healthy", o, "status.healthy");
        number_line(out, colour, "Progressing", o, "status.progressing");
        number_line(out, colour, "Failed", o, "status.failed");
        number_line(out, colour, "Restarts", o, "status.restarts");
        number_line(out, colour, "Drift corrected", o, "status.driftCorrected");
}

static void rollout_waves(struct buf *out, const json_t *waves, msec_t now, bool colour) {
        static const struct column columns[] = {
                {"WAVE", 0},
                {"STATE", 0},
                {"TOTAL", COLUMN_RIGHT},
                {"HEALTHY", COLUMN_RIGHT},
                {"PROGRESSING", COLUMN_RIGHT},
                {"PENDING", COLUMN_RIGHT},
                {"FAILED", COLUMN_RIGHT},
                {"DEFERRED", COLUMN_RIGHT},
                {"STARTED", COLUMN_RIGHT},
        };
        static const char *const counts[] = {"total",   "healthy", "progressing",
                                             "pending", "failed",  "deferred"};
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
        }
        heading(out, colour, "Waves");
        put_table(out, t, colour);
}

static void rollout_members(struct buf *out, const json_t *members, msec_t now, bool colour) {
        static const struct column columns[] = {
                {"NODE", 0},      {"WAVE", 0},   {"STATE", 0}, {"SINCE", COLUMN_RIGHT},
                {"CONNECTED", 0}, {"REASON", 0},
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
                columns_cell(t, style_of_state(state), state);
                columns_cell(t, STYLE_NONE, field_age(m, "since", now, age));
                columns_cell(t, STYLE_NONE, field_bool(m, "connected") ? "yes" : "no");
                columns_cell(t, STYLE_NONE, field_text(m, "reason"));
        }
        heading(out, colour, "Nodes");
        put_table(out, t, colour);
}

void describe_rollout(struct buf *out, const json_t *o, msec_t now, bool colour) {
        const char *phase = field_text(o, "status.phase");
        text_line(out, colour, "Name", o, "metadata.name");
        text_line(out, colour, "Fleet", o, "spec.fleet");
        line(out, colour, "Phase", style_of_state(phase), phase);
        if (field_bool(o, "status.paused"))
                line(out, colour, "Paused", STYLE_WARN, "yes");
        text_line(out, colour, "Reason", o, "status.reason");
        text_line(out, colour, "Revision", o, "spec.revision");
        text_line(out, colour, "Source", o, "spec.source");
        text_line(out, colour, "Commit", o, "spec.commit");
        text_line(out, colour, "Subject", o, "spec.commitSubject");
        time_line(out, colour, "Created", o, "metadata.createdAt", now);
        time_line(out, colour, "Started", o, "status.startedAt", now);
        time_line(out, colour, "Finished", o, "status.finishedAt", now);
        text_line(out, colour, "Members digest", o, "status.membersDigest");
        const json_t *policy = field(o, "spec.policy");
        if (policy) {
                _cleanup_(x_freep) char *yaml = json_encode_yaml(policy);
                heading(out, colour, "Policy");
                for (const char *p = yaml; p && *p;) {
                        size_t len = strcspn(p, "\n");
                        buf_printf(out, "  %.*s\n", (int)len, p);
                        p += len + (p[len] == '\n');
                }
        }
        rollout_waves(out, field(o, "status.waves"), now, colour);
        rollout_members(out, field(o, "status.members"), now, colour);
}

void describe_source(struct buf *out, const json_t *o, msec_t now, bool colour) {
        static const char *const files[][2] = {
                {"SSH key", "spec.sshKeyFile"},         {"Known hosts", "spec.knownHostsFile"},
                {"Authority file", "spec.caFile"},      {"User name file", "spec.usernameFile"},
                {"Password file", "spec.passwordFile"}, {"Webhook secret", "spec.webhookSecretFile"},
        };
        bool healthy = field_bool(o, "status.healthy");
        text_line(out, colour, "Name", o, "metadata.name");
        text_line(out, colour, "URL", o, "spec.url");
        text_line(out, colour, "Branch", o, "spec.branch");
        text_line(out, colour, "Path", o, "spec.path");
        if (field(o, "spec.pollSeconds")) {
                char every[32], text[48];
                (void)snprintf(
                        text, sizeof(text), "every %s",
                        duration_format(1000 * field_int(o, "spec.pollSeconds"), every, sizeof(every)));
                line(out, colour, "Polled", STYLE_NONE, text);
        }
        for (size_t i = 0; i < ARRAY_SIZE(files); i++)
                text_line(out, colour, files[i][0], o, files[i][1]);
        heading(out, colour, "State");
        line(out, colour, "Healthy", healthy ? STYLE_GOOD : STYLE_BAD, healthy ? "yes" : "no");
        text_line(out, colour, "Last fetched", o, "status.commit");
        text_line(out, colour, "Subject", o, "status.commitSubject");
        text_line(out, colour, "Author", o, "status.commitAuthor");
        text_line(out, colour, "Last good", o, "status.compiledCommit");
        time_line(out, colour, "Checked", o, "status.fetchedAt", now);
        line(out, colour, "Error", STYLE_BAD, field_text(o, "status.error"));
        const json_t *list = field(o, "status.diagnostics");
        if (json_array_size(list) > 0) {
                heading(out, colour, "What the compiler says");
                describe_diagnostics(out, list, "  ", colour);
        }
}

void describe_revision(struct buf *out, const json_t *o, msec_t now, bool colour) {
        char size[32];
        const json_t *apps = field(o, "status.apps"), *spec = field(o, "spec");
        text_line(out, colour, "Digest", o, "metadata.name");
        text_line(out, colour, "Fleet", o, "status.fleet");
        text_line(out, colour, "Commit", o, "status.commit");
        time_line(out, colour, "Created", o, "metadata.createdAt", now);
        line(out, colour, "Size", STYLE_NONE, bytes_format(field_int(o, "status.bytes"), size, sizeof(size)));
        if (json_is_array(apps)) {
                _cleanup_(buf_done) struct buf names = BUF_INIT;
                put_names(&names, apps);
                line(out, colour, "Apps", STYLE_NONE, buf_str(&names));
        } else {
                number_line(out, colour, "Apps", o, "status.apps");
        }
        if (spec) {
                _cleanup_(x_freep) char *yaml = json_encode_yaml(spec);
                heading(out, colour, "Content");
                for (const char *p = yaml; p && *p;) {
                        size_t len = strcspn(p, "\n");
                        buf_printf(out, "  %.*s\n", (int)len, p);
                        p += len + (p[len] == '\n');
                }
        }
}

void describe_relay(struct buf *out, const json_t *o, msec_t now, bool colour) {
        bool connected = field_bool(o, "status.connected");
        text_line(out, colour, "Name", o, "metadata.name");
        time_line(out, colour, "Enrolled", o, "metadata.createdAt", now);
        if (field_bool(o, "status.revoked"))
                line(out, colour, "Revoked", STYLE_BAD, "yes");
        line(out, colour, "Connected", connected ? STYLE_GOOD : STYLE_WARN, connected ? "yes" : "no");
        time_line(out, colour, "Last seen", o, "status.lastSeenAt", now);
        text_line(out, colour, "Address", o, "status.address");
        number_line(out, colour, "Nodes", o, "status.nodes");
}

void describe_token(struct buf *out, const json_t *o, msec_t now, bool colour) {
        text_line(out, colour, "ID", o, "metadata.name");
        text_line(out, colour, "Kind", o, "spec.kind");
        text_line(out, colour, "For the name", o, "spec.name");
        labels_line(out, colour, "Labels", field(o, "spec.labels"));
        number_line(out, colour, "Uses", o, "spec.uses");
        number_line(out, colour, "Used", o, "status.used");
        time_line(out, colour, "Created", o, "metadata.createdAt", now);
        time_line(out, colour, "Expires", o, "status.expiresAt", now);
}
