/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/kinds.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "cli/describe.h"
#include "codec/json.h"

/* ---- rows */

static const char *node_status(const json_t *o) {
        if (field_bool(o, "status.revoked"))
                return "Revoked";
        if (field_bool(o, "status.connected"))
                return "Connected";
        return *field_text(o, "status.lastSeenAt") ? "Away" : "Never";
}

static void state_cell(struct columns *t, const char *state) {
        columns_cell(t, style_of_state(state), state);
}

static void digest_cell(struct columns *t, const char *digest) {
        char out[SHORT_DIGEST + 1];
        columns_cell(t, STYLE_NONE, shorten(digest, SHORT_DIGEST, out));
}

static void commit_cell(struct columns *t, const char *commit) {
        char out[SHORT_COMMIT + 1];
        columns_cell(t, STYLE_NONE, shorten(commit, SHORT_COMMIT, out));
}

static void count_cell(struct columns *t, int64_t n, enum style when_any) {
        columns_cellf(t, n > 0 ? when_any : STYLE_NONE, "%lld", (long long)n);
}

static void labels_cell(struct columns *t, const json_t *labels) {
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        put_labels(&b, labels);
        columns_cell(t, STYLE_NONE, buf_str(&b));
}

static const struct column node_columns[] = {
        {"NAME", 0},
        {"STATUS", 0},
        {"FLEET", COLUMN_SHRINK},
        {"STATE", 0},
        {"APPS", COLUMN_RIGHT},
        {"SEEN", COLUMN_RIGHT | COLUMN_AGE},
        {"REVISION", COLUMN_OPTIONAL},
        {"MESSAGE", COLUMN_TEXT},
        {"COMMIT", COLUMN_WIDE},
        {"LABELS", COLUMN_WIDE | COLUMN_TEXT},
        {"RELAY", COLUMN_WIDE},
        {"ADDRESS", COLUMN_WIDE},
        {"DRIFT", COLUMN_WIDE | COLUMN_RIGHT},
        {"AGE", COLUMN_WIDE | COLUMN_RIGHT | COLUMN_AGE},
        {"AGENT", COLUMN_WIDE},
        {"PLATFORM", COLUMN_WIDE},
};

static void node_row(struct columns *t, const json_t *o, msec_t now) {
        char age[AGE_SIZE];
        size_t i, healthy = 0, total = 0;
        json_t *app;
        json_array_foreach ((json_t *)field(o, "status.apps"), i, app) {
                const char *state = field_text(app, "state");
                total++;
                /* What went back runs, as it did before. */
                healthy += str_eq(state, "Healthy") || str_eq(state, "RolledBack");
        }
        columns_cell(t, STYLE_NONE, object_name(o));
        state_cell(t, node_status(o));
        columns_cell(t, STYLE_NONE, field_text(o, "status.fleet"));
        state_cell(t, field_text(o, "status.observed.state"));
        columns_cellf(t, healthy < total ? STYLE_WARN : STYLE_NONE, "%zu/%zu", healthy, total);
        columns_cell(t, STYLE_NONE,
                     field_bool(o, "status.connected") ? "now" : field_age(o, "status.lastSeenAt", now, age));
        digest_cell(t, field_text(o, "status.observed.revision"));
        columns_cell(t, STYLE_NONE, field_text(o, "status.observed.message"));
        commit_cell(t, field_text(o, "status.desired.commit"));
        labels_cell(t, field(o, "metadata.labels"));
        columns_cell(t, STYLE_NONE, field_text(o, "status.relay"));
        columns_cell(t, STYLE_NONE, field_text(o, "status.address"));
        count_cell(t, field_int(o, "status.driftCorrected"), STYLE_NONE);
        columns_cell(t, STYLE_NONE, field_age(o, "metadata.createdAt", now, age));
        columns_cell(t, STYLE_NONE, field_text(o, "status.agentVersion"));
        columns_cell(t, STYLE_NONE, field_text(o, "status.platform"));
}

static const struct column fleet_columns[] = {
        {"NAME", 0},
        {"NODES", COLUMN_RIGHT},
        {"CONNECTED", COLUMN_RIGHT},
        {"UPDATED", COLUMN_RIGHT},
        {"HEALTHY", COLUMN_RIGHT},
        {"FAILED", COLUMN_RIGHT},
        {"DEFERRED", COLUMN_RIGHT | COLUMN_OPTIONAL},
        {"COMMIT", 0},
        {"REVISION", COLUMN_OPTIONAL},
        {"ROLLOUT", COLUMN_OPTIONAL},
        {"SELECTOR", COLUMN_WIDE | COLUMN_TEXT},
        {"SOURCE", COLUMN_WIDE},
        {"POLICY", COLUMN_WIDE},
        {"STABLE", COLUMN_WIDE},
};

static void fleet_row(struct columns *t, const json_t *o, msec_t now) {
        _cleanup_(buf_done) struct buf selector = BUF_INIT;
        int64_t nodes = field_int(o, "status.nodes"), healthy = field_int(o, "status.healthy");
        put_selector(&selector, field(o, "spec.selector"));
        columns_cell(t, STYLE_NONE, object_name(o));
        count_cell(t, nodes, STYLE_NONE);
        count_cell(t, field_int(o, "status.connected"), STYLE_NONE);
        count_cell(t, field_int(o, "status.updated"), STYLE_NONE);
        columns_cellf(t, nodes > 0 && healthy == nodes ? STYLE_GOOD : STYLE_NONE, "%lld", (long long)healthy);
        count_cell(t, field_int(o, "status.failed"), STYLE_BAD);
        count_cell(t, field_int(o, "status.deferred"), STYLE_WARN);
        commit_cell(t, field_text(o, "status.commit"));
        digest_cell(t, field_text(o, "status.desiredRevision"));
        columns_cell(t, STYLE_NONE, field_text(o, "status.rollout"));
        columns_cell(t, STYLE_NONE, buf_str(&selector));
        columns_cell(t, STYLE_NONE, field_text(o, "status.source"));
        columns_cell(t, STYLE_NONE, field_text(o, "spec.rolloutPolicy"));
        digest_cell(t, field_text(o, "status.stableRevision"));
}

static void fleet_notes(struct buf *out, const json_t *o, const struct columns_look *look) {
        const json_t *pin = field(o, "status.pinned");
        _cleanup_(buf_done) struct buf text = BUF_INIT, wrapped = BUF_INIT;
        char revision[SHORT_DIGEST + 1], git[SHORT_COMMIT + 1];
        if (!pin)
                return;
        text_put_safe(&text, object_name(o));
        buf_printf(&text, " is pinned to revision %s by ",
                   shorten(field_text(o, "status.desiredRevision"), SHORT_DIGEST, revision));
        text_put_safe(&text, field_text(pin, "by"));
        if (*field_text(pin, "reason")) {
                buf_puts(&text, " (");
                text_put_safe(&text, field_text(pin, "reason"));
                buf_puts(&text, ")");
        }
        buf_printf(&text, "; Git is at %s. 'skerry rollback %s --clear' follows it again.",
                   shorten(field_text(pin, "gitCommit"), SHORT_COMMIT, git), object_name(o));
        text_put_wrapped(&wrapped, buf_str(&text), 0, 2, look->width);
        buf_puts(out, "\n");
        style_puts(out, look->colour, STYLE_WARN, buf_str(&wrapped));
        buf_puts(out, "\n");
}

static const struct column app_columns[] = {
        {"NAME", 0},
        {"FLEET", COLUMN_SHRINK},
        {"DRIVER", 0},
        {"NODES", COLUMN_RIGHT},
        {"HEALTHY", COLUMN_RIGHT},
        {"PROGRESSING", COLUMN_RIGHT},
        {"FAILED", COLUMN_RIGHT},
        {"RESTARTS", COLUMN_RIGHT | COLUMN_OPTIONAL},
        {"DRIFT", COLUMN_RIGHT | COLUMN_OPTIONAL},
};

static void app_row(struct columns *t, const json_t *o, msec_t now) {
        int64_t nodes = field_int(o, "status.nodes"), healthy = field_int(o, "status.healthy");
        columns_cell(t, STYLE_NONE, object_name(o));
        columns_cell(t, STYLE_NONE, field_text(o, "spec.fleet"));
        columns_cell(t, STYLE_NONE, field_text(o, "spec.driver"));
        count_cell(t, nodes, STYLE_NONE);
        columns_cellf(t, nodes > 0 && healthy == nodes ? STYLE_GOOD : STYLE_NONE, "%lld", (long long)healthy);
        count_cell(t, field_int(o, "status.progressing"), STYLE_ACTIVE);
        count_cell(t, field_int(o, "status.failed"), STYLE_BAD);
        count_cell(t, field_int(o, "status.restarts"), STYLE_NONE);
        count_cell(t, field_int(o, "status.driftCorrected"), STYLE_NONE);
}

static const struct column rollout_columns[] = {
        {"NAME", 0},
        {"FLEET", COLUMN_SHRINK},
        {"PHASE", 0},
        {"WAVE", COLUMN_SHRINK},
        {"HEALTHY", COLUMN_RIGHT},
        {"FAILED", COLUMN_RIGHT},
        {"DEFERRED", COLUMN_RIGHT | COLUMN_OPTIONAL},
        {"COMMIT", COLUMN_OPTIONAL},
        {"AGE", COLUMN_RIGHT | COLUMN_AGE},
        {"REASON", COLUMN_TEXT | COLUMN_OPTIONAL},
        {"SUBJECT", COLUMN_WIDE | COLUMN_TEXT},
        {"REVISION", COLUMN_WIDE},
        {"SOURCE", COLUMN_WIDE},
};

static void rollout_row(struct columns *t, const json_t *o, msec_t now) {
        char age[AGE_SIZE];
        const char *phase = field_bool(o, "status.paused") ? "Paused" : field_text(o, "status.phase");
        columns_cell(t, STYLE_NONE, object_name(o));
        columns_cell(t, STYLE_NONE, field_text(o, "spec.fleet"));
        state_cell(t, phase);
        columns_cell(t, STYLE_NONE, field_text(o, "status.wave"));
        columns_cellf(t, STYLE_NONE, "%lld/%lld", (long long)field_int(o, "status.healthy"),
                      (long long)field_int(o, "status.total"));
        count_cell(t, field_int(o, "status.failed"), STYLE_BAD);
        count_cell(t, field_int(o, "status.deferred"), STYLE_WARN);
        commit_cell(t, field_text(o, "spec.commit"));
        columns_cell(t, STYLE_NONE, field_age(o, "metadata.createdAt", now, age));
        columns_cell(t, STYLE_NONE, field_text(o, "status.reason"));
        columns_cell(t, STYLE_NONE, field_text(o, "spec.commitSubject"));
        digest_cell(t, field_text(o, "spec.revision"));
        columns_cell(t, STYLE_NONE, field_text(o, "spec.source"));
}

static const struct column source_columns[] = {
        {"NAME", 0},
        {"HEALTHY", 0},
        {"FETCHED", 0},
        {"COMPILED", 0},
        {"CHECKED", COLUMN_RIGHT | COLUMN_AGE},
        {"SUBJECT", COLUMN_TEXT},
        {"URL", COLUMN_WIDE},
        {"BRANCH", COLUMN_WIDE},
        {"PATH", COLUMN_WIDE},
        {"AUTHOR", COLUMN_WIDE | COLUMN_TEXT},
};

static void source_row(struct columns *t, const json_t *o, msec_t now) {
        char age[AGE_SIZE];
        bool healthy = field_bool(o, "status.healthy");
        columns_cell(t, STYLE_NONE, object_name(o));
        columns_cell(t, healthy ? STYLE_GOOD : STYLE_BAD, healthy ? "Yes" : "No");
        commit_cell(t, field_text(o, "status.commit"));
        commit_cell(t, field_text(o, "status.compiledCommit"));
        columns_cell(t, STYLE_NONE, field_age(o, "status.fetchedAt", now, age));
        columns_cell(t, STYLE_NONE, field_text(o, "status.commitSubject"));
        columns_cell(t, STYLE_NONE, field_text(o, "spec.url"));
        columns_cell(t, STYLE_NONE, field_text(o, "spec.branch"));
        columns_cell(t, STYLE_NONE, field_text(o, "spec.path"));
        columns_cell(t, STYLE_NONE, field_text(o, "status.commitAuthor"));
}

static void source_notes(struct buf *out, const json_t *o, const struct columns_look *look) {
        char commit[SHORT_COMMIT + 1];
        const char *error = field_text(o, "status.error");
        const json_t *list = field(o, "status.diagnostics");
        if (!*error && json_array_size(list) == 0)
                return;
        _cleanup_(buf_done) struct buf head = BUF_INIT, safe = BUF_INIT, wrapped = BUF_INIT;
        text_put_safe(&head, object_name(o));
        if (*field_text(o, "status.commit"))
                buf_printf(&head, " at %s", shorten(field_text(o, "status.commit"), SHORT_COMMIT, commit));
        buf_puts(&head, ":");
        buf_puts(&safe, " ");
        text_put_safe(&safe, *error ? error : "what the compiler says");
        text_put_wrapped(&wrapped, buf_str(&safe), head.len, 2, look->width);
        buf_printf(out, "\n%s", buf_str(&head));
        style_puts(out, look->colour, *error ? STYLE_BAD : STYLE_NONE, buf_str(&wrapped));
        buf_puts(out, "\n");
        describe_diagnostics(out, list, "  ", look);
}

static const struct column revision_columns[] = {
        {"NAME", 0},
        {"FLEET", COLUMN_SHRINK},
        {"COMMIT", 0},
        {"APPS", COLUMN_RIGHT},
        {"SIZE", COLUMN_RIGHT},
        {"AGE", COLUMN_RIGHT | COLUMN_AGE},
        {"DIGEST", COLUMN_WIDE},
};

static void revision_row(struct columns *t, const json_t *o, msec_t now) {
        char text[AGE_SIZE];
        const json_t *apps = field(o, "status.apps");
        digest_cell(t, object_name(o));
        columns_cell(t, STYLE_NONE, field_text(o, "status.fleet"));
        commit_cell(t, field_text(o, "status.commit"));
        count_cell(t, json_is_array(apps) ? (int64_t)json_array_size(apps) : json_integer_value(apps),
                   STYLE_NONE);
        columns_cell(t, STYLE_NONE, bytes_format(field_int(o, "status.bytes"), text, sizeof(text)));
        columns_cell(t, STYLE_NONE, field_age(o, "metadata.createdAt", now, text));
        columns_cell(t, STYLE_NONE, object_name(o));
}

static const struct column relay_columns[] = {
        {"NAME", 0},
        {"STATUS", 0},
        {"NODES", COLUMN_RIGHT},
        {"ADDRESS", COLUMN_SHRINK | COLUMN_OPTIONAL},
        {"SEEN", COLUMN_RIGHT | COLUMN_AGE},
        {"AGE", COLUMN_RIGHT | COLUMN_AGE},
};

static void relay_row(struct columns *t, const json_t *o, msec_t now) {
        char age[AGE_SIZE];
        columns_cell(t, STYLE_NONE, object_name(o));
        state_cell(t, node_status(o));
        count_cell(t, field_int(o, "status.nodes"), STYLE_NONE);
        columns_cell(t, STYLE_NONE, field_text(o, "status.address"));
        columns_cell(t, STYLE_NONE,
                     field_bool(o, "status.connected") ? "now" : field_age(o, "status.lastSeenAt", now, age));
        columns_cell(t, STYLE_NONE, field_age(o, "metadata.createdAt", now, age));
}

static const struct column delta_columns[] = {
        {"NAME", COLUMN_WIDE},
        {"ARTIFACT", COLUMN_SHRINK},
        {"FROM", 0},
        {"TO", 0},
        {"STATE", 0},
        {"NODES", COLUMN_RIGHT},
        {"BYTES", COLUMN_RIGHT},
        {"FAILURES", COLUMN_RIGHT | COLUMN_WIDE},
        {"RETRY", COLUMN_OPTIONAL},
        {"MESSAGE", COLUMN_TEXT},
};

static void delta_row(struct columns *t, const json_t *o, msec_t now) {
        char text[AGE_SIZE];
        const char *state = field_text(o, "state");
        columns_cell(t, STYLE_NONE, object_name(o));
        columns_cell(t, STYLE_NONE, field_text(o, "artifact"));
        columns_cell(t, STYLE_NONE, field_text(o, "from"));
        columns_cell(t, STYLE_NONE, field_text(o, "to"));
        state_cell(t, state);
        count_cell(t, field_int(o, "nodes"), STYLE_NONE);
        columns_cell(t, STYLE_NONE,
                     str_eq(state, "Made") ? bytes_format(field_int(o, "bytes"), text, sizeof(text)) : "");
        count_cell(t, field_int(o, "failures"), STYLE_WARN);
        if (str_eq(state, "Retrying"))
                columns_cellf(t, STYLE_NONE, "in %lld s", (long long)field_int(o, "retryInSeconds"));
        else
                columns_cell(t, STYLE_NONE, "");
        columns_cell(t, STYLE_NONE, field_text(o, "message"));
}

static const struct column event_columns[] = {
        {"SEQ", COLUMN_RIGHT | COLUMN_WIDE},
        {"AGE", COLUMN_RIGHT | COLUMN_AGE},
        {"TYPE", 0},
        {"OBJECT", COLUMN_SHRINK},
        {"MESSAGE", COLUMN_TEXT},
        {"ACTOR", COLUMN_WIDE},
        {"TIME", COLUMN_WIDE},
};

static void event_row(struct columns *t, const json_t *o, msec_t now) {
        static const char *const objects[] = {"node", "rollout", "fleet", "source"};
        _cleanup_(buf_done) struct buf object = BUF_INIT;
        char age[AGE_SIZE];
        for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
                if (*field_text(o, objects[i])) {
                        buf_printf(&object, "%s/%s", objects[i], field_text(o, objects[i]));
                        break;
                }
        columns_cellf(t, STYLE_NONE, "%lld", (long long)field_int(o, "seq"));
        columns_cell(t, STYLE_NONE, field_age(o, "time", now, age));
        columns_cell(t, style_of_event(field_text(o, "type")), field_text(o, "type"));
        columns_cell(t, STYLE_NONE, buf_str(&object));
        columns_cell(t, STYLE_NONE, field_text(o, "message"));
        columns_cell(t, STYLE_NONE, field_text(o, "actor"));
        columns_cell(t, STYLE_NONE, field_text(o, "time"));
}

static const struct column token_columns[] = {
        {"ID", 0},
        {"KIND", 0},
        {"NAME", COLUMN_SHRINK},
        {"USES LEFT", COLUMN_RIGHT},
        {"EXPIRES IN", COLUMN_RIGHT | COLUMN_AGE},
        {"AGE", COLUMN_RIGHT | COLUMN_AGE},
        {"LABELS", COLUMN_SHRINK},
};

static void token_row(struct columns *t, const json_t *o, msec_t now) {
        char text[AGE_SIZE];
        msec_t expires = field_time(o, "status.expiresAt");
        int64_t left = field_int(o, "spec.uses") - field_int(o, "status.used");
        columns_cell(t, STYLE_NONE, object_name(o));
        columns_cell(t, STYLE_NONE, field_text(o, "spec.kind"));
        columns_cell(t, STYLE_NONE, field_text(o, "spec.name"));
        columns_cellf(t, left > 0 ? STYLE_NONE : STYLE_DIM, "%lld", (long long)MAX(left, 0));
        if (expires == 0)
                columns_cell(t, STYLE_NONE, "");
        else if (expires <= now)
                columns_cell(t, STYLE_DIM, "expired");
        else
                columns_cell(t, STYLE_NONE, age_format(expires - now, text, sizeof(text)));
        columns_cell(t, STYLE_NONE, field_age(o, "metadata.createdAt", now, text));
        labels_cell(t, field(o, "spec.labels"));
}

/* ---- the table */

#define COLUMNS(c) c, ARRAY_SIZE(c)

#define FROM_SOURCES                                                                                         \
        "They come with the commits of a repository; 'skerry get sources' shows those that are followed."

static const struct kind kinds[] = {
        {"nodes", "node", "no", "/nodes", COLUMNS(node_columns), node_row, NULL, describe_node, "Node", true,
         false, false, false, "'skerry token create' makes a token by which machines join."},
        {"fleets", "fleet", "fl", "/fleets", COLUMNS(fleet_columns), fleet_row, fleet_notes, describe_fleet,
         "Node Rollout Source", false, false, false, false, FROM_SOURCES},
        {"apps", "app", "", "/apps", COLUMNS(app_columns), app_row, NULL, describe_app, "Node Rollout Source",
         false, false, false, false, FROM_SOURCES},
        {"rollouts", "rollout", "ro", "/rollouts", COLUMNS(rollout_columns), rollout_row, NULL,
         describe_rollout, "Rollout Node", false, false, true, true, FROM_SOURCES},
        {"sources", "source", "src", "/sources", COLUMNS(source_columns), source_row, source_notes,
         describe_source, "Source", false, false, false, false,
         "'skerry source add NAME --url URL' has a repository followed."},
        {"revisions", "revision", "rev", "/revisions", COLUMNS(revision_columns), revision_row, NULL,
         describe_revision, "Source", false, true, true, true, FROM_SOURCES},
        {"relays", "relay", "", "/relays", COLUMNS(relay_columns), relay_row, NULL, describe_relay,
         "Relay Node", false, false, false, false,
         "'skerry token create --kind relay' makes a token by which one joins."},
        {"deltas", "delta", "", "/deltas", COLUMNS(delta_columns), delta_row, NULL, NULL,
         "Source Rollout Node", false, false, false, true,
         "The server makes them where its repository is a folder that it may write, once two versions of an "
         "artifact are of use to a node."},
        {"events", "event", "ev", "/events", COLUMNS(event_columns), event_row, NULL, NULL, "", false, false,
         false, true, NULL},
        {"tokens", "token", "", "/tokens", COLUMNS(token_columns), token_row, NULL, describe_token, "Token",
         false, false, false, true, "'skerry token create' makes one."},
};

const struct kind *kind_at(size_t i) {
        return i < ARRAY_SIZE(kinds) ? &kinds[i] : NULL;
}

const struct kind *kind_find(const char *word, struct err **err) {
        const char *names[2 * ARRAY_SIZE(kinds)];
        size_t n = 0;
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                const struct kind *k = &kinds[i];
                if (str_eq(word, k->plural) || str_eq(word, k->singular) ||
                    (*k->names && str_eq(word, k->names)))
                        return k;
                names[n++] = k->plural;
                names[n++] = k->singular;
        }
        const char *nearest = str_nearest(word, names, n);
        if (nearest)
                (void)err_set(err, EINVAL, "unknown kind '%s'; did you mean '%s'?", word, nearest);
        else
                (void)err_set(err, EINVAL,
                              "unknown kind '%s'; there are nodes, fleets, apps, rollouts, sources, "
                              "revisions, relays,"
                              " deltas, events and tokens",
                              word);
        return NULL;
}

const char *object_name(const json_t *o) {
        const char *name = field_text(o, "metadata.name");
        return *name ? name : field_text(o, "metadata.id");
}

/* ---- reading */

static int compare_names(const void *a, const void *b) {
        return strverscmp(object_name(*(json_t *const *)a), object_name(*(json_t *const *)b));
}

void kind_sort(const struct kind *k, json_t *list) {
        json_t *items = json_object_get(list, "items"), *o;
        size_t n = json_array_size(items), i;
        _cleanup_(x_freep) json_t **sorted = k->by_time ? NULL : calloc(n + 1, sizeof(json_t *));
        if (!sorted || n < 2)
                return;
        json_array_foreach (items, i, o)
                sorted[i] = json_incref(o);
        qsort(sorted, n, sizeof(json_t *), compare_names);
        for (i = 0; i < n; i++)
                (void)json_array_set_new(items, i, sorted[i]);
}

int kind_list(struct api *a, const struct kind *k, const char *query, json_t **ret, struct err **err) {
        _cleanup_(buf_done) struct buf path = BUF_INIT;
        buf_printf(&path, "%s%s%s", k->path, *query ? "?" : "", query);
        _cleanup_json_ json_t *list = NULL;
        int r = api_call(a, "GET", buf_str(&path), NULL, &list, err);
        if (r < 0)
                return r;
        if (!json_is_array(field(list, "items")))
                return err_set(err, EPROTO, "the server's list of %s has no items", k->plural);
        kind_sort(k, list);
        *ret = TAKE_PTR(list);
        return 0;
}

/* Words for a name that is none: the nearest of those there are. */
static int not_found(struct api *a, const struct kind *k, const char *name, const json_t *list,
                     struct err **err) {
        size_t n = json_array_size(field(list, "items")), i;
        json_t *o;
        _cleanup_(x_freep) const char **names = calloc(n + 1, sizeof(*names));
        if (!names)
                return err_set_errno(err, ENOMEM, "find %s %s", k->singular, name);
        json_array_foreach ((json_t *)field(list, "items"), i, o)
                names[i] = object_name(o);
        const char *nearest = str_nearest(name, names, n);
        if (nearest)
                return err_set(err, ENOENT, "there is no %s '%s'; did you mean '%s'?", k->singular, name,
                               nearest);
        if (n == 0)
                return err_set(err, ENOENT, "there is no %s '%s'; in fact there are no %s at %s", k->singular,
                               name, k->plural, api_server(a));
        return err_set(err, ENOENT, "there is no %s '%s'; 'skerry get %s' shows those there are", k->singular,
                       name, k->plural);
}

/* The one name that begins with prefix; NULL when none or several do. */
static const char *unique_prefix(const json_t *list, const char *prefix) {
        const char *found = NULL;
        size_t i;
        json_t *o;
        json_array_foreach ((json_t *)field(list, "items"), i, o) {
                if (!str_has_prefix(object_name(o), prefix))
                        continue;
                if (found)
                        return NULL;
                found = object_name(o);
        }
        return found;
}

static int get_exact(struct api *a, const struct kind *k, const char *name, json_t **ret, struct err **err) {
        _cleanup_(buf_done) struct buf path = BUF_INIT;
        buf_printf(&path, "%s/", k->path);
        url_put(&path, name);
        return api_call(a, "GET", buf_str(&path), NULL, ret, err);
}

int kind_get(struct api *a, const struct kind *k, const char *name, json_t **ret, struct err **err) {
        _cleanup_(err_freep) struct err *why = NULL;
        _cleanup_json_ json_t *list = NULL;
        int r = -ENOENT;
        bool in_list = str_eq(k->plural, "tokens"); /* no path of their own */
        if (*name && !in_list)
                r = get_exact(a, k, name, ret, &why);
        if (r == 0)
                return 0;
        if (r != -ENOENT && r != -EINVAL)
                return err_move(err, TAKE_PTR(why));
        int l = kind_list(a, k, "", &list, err);
        if (l < 0)
                return l;
        size_t i;
        json_t *o;
        json_array_foreach ((json_t *)field(list, "items"), i, o)
                if (in_list && str_eq(object_name(o), name)) {
                        *ret = json_incref(o);
                        return 0;
                }
        const char *whole = k->by_prefix && *name ? unique_prefix(list, name) : NULL;
        if (whole)
                return get_exact(a, k, whole, ret, err);
        return not_found(a, k, name, list, err);
}

int kind_call(struct api *a, const struct kind *k, const char *method, const char *name, const char *rest,
              const json_t *body, json_t **ret, struct err **err) {
        _cleanup_(err_freep) struct err *why = NULL;
        _cleanup_(buf_done) struct buf path = BUF_INIT;
        buf_printf(&path, "%s/", k->path);
        url_put(&path, name);
        buf_puts(&path, rest);
        int r = api_call(a, method, buf_str(&path), body, ret, &why);
        if (r == -ENOENT) {
                _cleanup_json_ json_t *o = NULL;
                int found = kind_get(a, k, name, &o, err);
                if (found < 0)
                        return found;
        }
        return r < 0 ? err_move(err, TAKE_PTR(why)) : 0;
}

/* ---- printing */

void print_none(const struct kind *k, bool all) {
        if (all && k->none)
                fprintf(stderr, "No %s. %s\n", k->plural, k->none);
        else
                fprintf(stderr, all ? "No %s.\n" : "No %s match.\n", k->plural);
}

int print_table(const struct columns *t, struct columns_look *look, struct buf *out) {
        _cleanup_(buf_done) struct buf left_out = BUF_INIT;
        look->left_out = look->wide && look->width > 0 ? &left_out : NULL;
        int r = columns_print(t, look, out);
        look->left_out = NULL;
        if (r < 0) {
                fputs("skerry: out of memory\n", stderr);
                return EXIT_FAILURE;
        }
        if (left_out.len > 0) {
                _cleanup_(buf_done) struct buf words = BUF_INIT, wrapped = BUF_INIT;
                buf_printf(&words, "No room for %s: a wider terminal, or a pipe, shows all.",
                           buf_str(&left_out));
                text_put_wrapped(&wrapped, buf_str(&words), 0, 2, look->width);
                style_printf(out, look->colour, STYLE_DIM, "%s", buf_str(&wrapped));
                buf_putc(out, '\n');
        }
        return EXIT_SUCCESS;
}

static void print_names(const struct kind *k, const json_t *items, struct buf *out) {
        size_t i;
        json_t *o;
        json_array_foreach ((json_t *)items, i, o) {
                buf_printf(out, "%s/", k->singular);
                text_put_safe(out, object_name(o));
                buf_putc(out, '\n');
        }
}

int print_list(const struct kind *k, const json_t *list, enum output output) {
        struct columns_look look = look_of_stdout(output == OUTPUT_WIDE);
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        const json_t *items = field(list, "items");
        msec_t now = clock_wall_ms(clock_system());
        size_t i;
        json_t *o;
        if (output == OUTPUT_JSON || output == OUTPUT_YAML)
                return print_json(list, output);
        if (output == OUTPUT_NAME) {
                print_names(k, items, &out);
                return print_buf(&out);
        }
        if (json_array_size(items) == 0) {
                print_none(k, true);
                return EXIT_SUCCESS;
        }
        _cleanup_(columns_freep) struct columns *t = columns_new(k->columns, k->n_columns);
        if (!t)
                return EXIT_FAILURE;
        json_array_foreach ((json_t *)items, i, o)
                k->row(t, o, now);
        if (print_table(t, &look, &out) != EXIT_SUCCESS)
                return EXIT_FAILURE;
        json_array_foreach ((json_t *)items, i, o)
                if (k->notes)
                        k->notes(&out, o, &look);
        return print_buf(&out);
}

int list_kind(const struct cli_globals *g, const char *kind, const char *query, const char *output) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_json_ json_t *list = NULL;
        const struct kind *k = kind_find(kind, &err);
        if (!k || api_open(g, &api, &err) < 0 || kind_list(api, k, query, &list, &err) < 0)
                return cli_fail(err);
        return print_list(k, list, output_from_text(output));
}
