/* SPDX-License-Identifier: Apache-2.0 */
#include "server/sources.h"

#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/list.h"
#include "base/log.h"
#include "base/random.h"
#include "base/table.h"
#include "codec/json.h"
#include "crypto/age.h"
#include "net/backoff.h"
#include "repo/object_store.h"
#include "server/director.h"
#include "server/fleets.h"
#include "server/git_status_poster.h"
#include "server/shapes.h"
#include "server/source_job.h"
#include "server/source_results.h"

#define JOBS_AT_ONCE 8 /* sources that are fetched at the same time */
#define FAILURE_BASE_MS 5000
#define FAILURE_CAP_MS 300000
#define RESULTS_EVERY_MS 1000 /* how often it is looked whether Git hosts are to be told of something */

struct waiter {
        struct list link;
        void (*done)(void *arg, int error);
        void *arg;
};

struct source {
        struct control *control;
        char *name, *folder;
        msec_t created_at;
        struct source_spec spec;
        /* as shown */
        char *branch, *tag, *commit, *compiled_commit, *subject, *author, *error;
        char *refusal;       /* why the commit is refused for its signature; NULL: it is not */
        json_t *signature;   /* of the commit last accepted: format, signer, key, commit; NULL */
        char accepted[65];   /* git_signed.h: a question that was answered with yes */
        json_t *diagnostics; /* array */
        msec_t fetched_at;
        /* what the last compile saw */
        char compiled_tree[65];
        bool compile_failed;
        uint64_t compiled_generation, job_generation;
        uint64_t director_generation; /* of the catalog that the running job sees */
        /* work */
        bool wanted, running, deleted;
        struct fleet_cache *cache;
        struct list waiting, served; /* struct waiter: for the next fetch, for the running one */
        struct loop_timer *poll;
        struct backoff backoff;
        struct source_hooks hooks;
        struct git_status_poster *poster; /* NULL: nobody is told */
};

struct sources {
        struct table *all; /* name -> struct source */
        struct source_threads *threads;
        struct prng random;
        atomic_bool stopping;
        bool held;
        size_t running;
        struct loop_timer *results;
};

static void sources_pump(struct control *c);

static void source_destroy(struct source *s) {
        LIST_FOREACH (it, &s->waiting)
                free(LIST_ENTRY(it, struct waiter, link));
        LIST_FOREACH (it, &s->served)
                free(LIST_ENTRY(it, struct waiter, link));
        free(s->name);
        free(s->folder);
        source_spec_done(&s->spec);
        free(s->branch);
        free(s->commit);
        free(s->compiled_commit);
        free(s->subject);
        free(s->author);
        free(s->error);
        json_decref(s->diagnostics);
        fleet_cache_free(s->cache);
        loop_timer_free(s->poll);
        git_status_poster_free(s->poster);
        source_hooks_done(&s->hooks);
        free(s->tag);
        free(s->refusal);
        json_decref(s->signature);
        free(s);
}

const char *source_name(const struct source *s) {
        return s->name;
}
const struct source_spec *source_spec(const struct source *s) {
        return &s->spec;
}
const char *source_branch(const struct source *s) {
        return s->spec.tags ? NULL : s->spec.branch ? s->spec.branch : s->branch;
}

struct source *sources_find(const struct control *c, const char *name) {
        return name ? table_get(c->sources->all, name) : NULL;
}
size_t sources_count(const struct control *c) {
        return table_len(c->sources->all);
}

enum hook_verdict source_take_hook(struct source *s, const char *delivery, const void *body, size_t len) {
        msec_t now = clock_mono_ms(s->control->clock);
        enum hook_verdict verdict = source_hooks_take(&s->hooks, delivery, body, len, MAX(now, 1));
        /* What the flood may hide is seen by one more look, soon. */
        if (verdict == HOOK_FLOOD && !s->running && s->spec.poll_seconds * 1000 > HOOKS_EVERY_MS)
                loop_timer_set(s->poll, HOOKS_EVERY_MS);
        return verdict;
}

/* ---- rows */

static json_t *status_json(const struct source *s) {
        json_t *j = json_object_new();
        json_put(j, "healthy", json_boolean(!s->error && !s->compile_failed && s->compiled_commit));
        json_put(j, "branch", json_text(source_branch(s)));
        json_put(j, "tag", json_text(s->tag));
        json_put(j, "commit", json_text(s->commit));
        json_put(j, "compiledCommit", json_text(s->compiled_commit));
        json_put(j, "commitSubject", json_text(s->subject));
        json_put(j, "commitAuthor", json_text(s->author));
        json_put(j, "fetchedAt", json_time(s->fetched_at));
        json_put(j, "error", json_text(s->error));
        json_put(j, "diagnostics", must(json_incref(s->diagnostics)));
        json_put(j, "refused", json_text(s->refusal));
        json_put(j, "signature", s->signature ? must(json_incref(s->signature)) : json_text(NULL));
        json_put(j, "statusError", json_text(s->poster ? git_status_poster_error(s->poster) : NULL));
        return j;
}

static void source_store(struct source *s) {
        json_t *spec = source_spec_json(&s->spec), *status = status_json(s);
        json_put(status, "tree", json_text(s->compiled_tree));
        json_put(status, "compileFailed", json_boolean(s->compile_failed));
        json_put(status, "fetchedAtMs", json_number(s->fetched_at));
        json_put(status, "accepted", json_text(s->accepted));
        if (s->poster)
                json_put(status, "posted", must(json_incref(git_status_poster_posted(s->poster))));
        _cleanup_(x_freep) char *spec_text = must(json_encode_compact(spec)),
                                *status_text = must(json_encode_compact(status));
        json_decref(spec);
        json_decref(status);
        turns_write(s->control->turns,
                    "INSERT INTO sources (name, created_at, spec, status) VALUES ($1, $2, $3, $4) "
                    "ON CONFLICT (name) DO UPDATE SET spec = excluded.spec, status = excluded.status",
                    "siss", s->name, (int64_t)s->created_at, spec_text, status_text);
}

/* ---- telling the Git host */

static json_t *poster_wanted(void *arg) {
        const struct source *s = arg;
        _cleanup_(x_freep) char *failure = NULL;
        const json_t *first = s->compile_failed ? json_array_get(s->diagnostics, 0) : NULL;
        const char *message = json_string_value(json_object_get(first, "message")),
                   *file = json_string_value(json_object_get(first, "file"));
        if (s->refusal)
                failure = copy_text(s->refusal);
        else if (first)
                failure = must(str_format("%s%s%" JSON_INTEGER_FORMAT ": %s", file ? file : "",
                                          file ? ":" : "", json_integer_value(json_object_get(first, "line")),
                                          message ? message : ""));
        return source_results(s->control,
                              &(struct source_result){.source = s->name,
                                                      .commit = s->commit,
                                                      .failure = failure,
                                                      .is_compiled = str_eq(s->commit, s->compiled_commit)});
}

static void poster_changed(void *arg) {
        source_store(arg);
}

static void results_due(void *arg) {
        struct control *c = arg;
        const char *name;
        void *value;
        bool any = false;
        if (atomic_load(&c->sources->stopping))
                return;
        for (size_t i = 0; table_next(c->sources->all, &i, &name, &value);) {
                struct source *s = value;
                any = any || s->poster;
                git_status_poster_wake(s->poster);
        }
        if (any)
                loop_timer_set(c->sources->results, RESULTS_EVERY_MS);
}

/* posted: what was said before, taken; NULL: nothing. */
static void poster_open(struct source *s, json_t *posted) {
        _cleanup_(err_freep) struct err *err = NULL;
        const struct git_status_poster_options o = {.loop = s->control->loop,
                                                    .spec = &s->spec,
                                                    .source = s->name,
                                                    .posted = posted,
                                                    .wanted = poster_wanted,
                                                    .changed = poster_changed,
                                                    .arg = s};
        if (!s->spec.status_host)
                json_decref(posted);
        else if (git_status_poster_new(&o, &s->poster, &err) < 0)
                log_error("commit statuses cannot be posted", "source", s->name, "error", err_message(err),
                          NULL);
        if (s->poster)
                loop_timer_set(s->control->sources->results, RESULTS_EVERY_MS);
}

static void tell(struct source *s, const char *type, const char *message) {
        events_add(s->control->events, &(struct event){.type = type, .message = message, .source = s->name});
        log_info(message, "event", type, "source", s->name, NULL);
}

/* ---- a look at the host */

static void poll_arm(struct source *s, bool failed) {
        struct prng *random = &s->control->sources->random;
        if (s->deleted || atomic_load(&s->control->sources->stopping))
                return;
        if (failed) {
                msec_t wait = backoff_next(&s->backoff, random, 0);
                /* Never more often than it is polled when well, and at least now and then. */
                loop_timer_set(s->poll, s->spec.poll_seconds
                                                ? MIN(wait, MAX(s->spec.poll_seconds * 1000, FAILURE_CAP_MS))
                                                : wait);
                return;
        }
        backoff_reset(&s->backoff);
        if (s->spec.poll_seconds == 0)
                return;
        msec_t poll = s->spec.poll_seconds * 1000;
        loop_timer_set(s->poll, poll - poll / 10 + (msec_t)prng_below(random, (uint64_t)(poll / 5 + 1)));
}

static void poll_due(void *arg) {
        struct source *s = arg;
        s->wanted = true;
        sources_pump(s->control);
}

/* One source's fleets and nodes are not another's. */
static void check_conflicts(struct source *s, struct compiled *compiled) {
        const struct control *c = s->control;
        for (size_t i = 0; i < compiled->n_fleets; i++) {
                const struct fleet *f = fleets_find(c, compiled->fleets[i].name);
                if (f && !str_eq(fleet_source(f), s->name))
                        compiled_add_error(compiled, "give one of them another name",
                                           "fleet %s is declared by source %s already", fleet_name(f),
                                           fleet_source(f));
        }
        for (size_t i = 0; i < compiled->n_nodes; i++) {
                const struct declaration *d = inventory_declaration(c, compiled->nodes[i].node);
                if (d && !str_eq(d->source, s->name))
                        compiled_add_error(compiled, "declare it in one source only",
                                           "node %s is declared by source %s already", d->node, d->source);
        }
}

/* What stood in another source's way may be gone: a fleet or a node that it declares too. */
static void retry_failed(struct control *c) {
        const char *name;
        void *value;
        for (size_t i = 0; table_next(c->sources->all, &i, &name, &value);) {
                struct source *other = value;
                if (other->compile_failed) {
                        other->compiled_tree[0] = '\0';
                        other->wanted = true;
                }
        }
}

void sources_retry_failed(struct control *c) {
        retry_failed(c);
        sources_pump(c);
}

static void take_compiled(struct source *s, struct source_job *job) {
        struct compiled *compiled = job->compiled;
        if (compiled->n_errors == 0)
                check_conflicts(s, compiled);
        memcpy(s->compiled_tree, job->fetched.tree, sizeof(s->compiled_tree));
        s->compiled_generation = s->job_generation;
        s->compile_failed = compiled->n_errors > 0;
        json_decref(s->diagnostics);
        s->diagnostics = must(json_incref(compiled->diagnostics));
        if (s->compile_failed) {
                const json_t *first = json_array_get(s->diagnostics, 0);
                const char *file = json_string_value(json_object_get(first, "file"));
                _cleanup_(x_freep) char *message = must(
                        str_format("commit %.9s does not compile, the last good one stays: %zu error%s, "
                                   "first %s%s%" JSON_INTEGER_FORMAT ":%" JSON_INTEGER_FORMAT ": %s",
                                   job->fetched.id, compiled->n_errors, compiled->n_errors == 1 ? "" : "s",
                                   file ? file : "", str_is_empty(file) ? "" : ":",
                                   json_integer_value(json_object_get(first, "line")),
                                   json_integer_value(json_object_get(first, "column")),
                                   json_string_value(json_object_get(first, "message"))));
                tell(s, "SourceFailed", message);
                return;
        }
        replace_text(&s->compiled_commit, job->fetched.id);
        _cleanup_(x_freep) char *message =
                must(str_format("commit %.9s compiled: %zu fleet%s", job->fetched.id, compiled->n_fleets,
                                compiled->n_fleets == 1 ? "" : "s"));
        tell(s, "SourceCompiled", message);
        fleets_apply(s->control, s->name, compiled);
        retry_failed(s->control);
}

static void take_fetched(struct source *s, struct source_job *job) {
        const struct git_fetched *g = &job->fetched;
        bool is_new = !str_eq(s->commit, g->id);
        s->fetched_at = job->fetched_at;
        replace_text(&s->branch, g->branch);
        if (is_new) {
                const char *aside = "";
                if (g->rewritten)
                        aside = ", its history was rewritten";
                else if (g->tag && str_eq(g->tag, s->tag))
                        aside = ", the tag was moved";
                _cleanup_(x_freep) char *message = must(str_format(
                        "%s is at %.9s%s: %s", g->tag ? g->tag : g->branch, g->id, aside, g->subject));
                replace_text(&s->commit, g->id);
                replace_text(&s->subject, g->subject);
                replace_text(&s->author, g->author);
                tell(s, "SourceFetched", message);
        }
        replace_text(&s->tag, g->tag);
}

static void take_signature(struct source *s, struct source_job *job) {
        replace_text(&s->refusal, job->is_refused ? err_message(job->error) : NULL);
        if (!job->question[0])
                return;
        memcpy(s->accepted, job->question, sizeof(s->accepted));
        if (!job->signer.format)
                return; /* the same as before */
        json_decref(s->signature);
        s->signature = json_object_new();
        json_put(s->signature, "commit", json_text(job->fetched.id));
        json_put(s->signature, "format", json_text(job->signer.format));
        json_put(s->signature, "signer", json_text(job->signer.name));
        json_put(s->signature, "key", json_text(job->signer.key));
}

static void take_error(struct source *s, const struct err *error) {
        const char *text = err_message(error);
        if (!str_eq(s->error, text)) /* say it once, not at every try */
                tell(s, "SourceFailed", text);
        replace_text(&s->error, text);
}

static void waiters_release(struct source *s) {
        LIST_FOREACH (it, &s->served) {
                struct waiter *w = LIST_ENTRY(it, struct waiter, link);
                list_remove(it);
                turns_after(s->control->turns, w->done, w->arg);
                free(w);
        }
}

static void job_done(void *arg, struct source_job *job) {
        struct source *s = arg;
        struct control *c = s->control;
        c->sources->running--;
        s->running = false;
        if (s->deleted || atomic_load(&c->sources->stopping)) {
                waiters_release(s);
                source_job_free(job);
                if (s->deleted) {
                        (void)path_remove(s->folder, NULL);
                        source_destroy(s);
                }
                sources_pump(c);
                return;
        }
        char fetch_ms[24], compile_ms[24];
        (void)snprintf(fetch_ms, sizeof(fetch_ms), "%lld", (long long)job->fetch_ms);
        (void)snprintf(compile_ms, sizeof(compile_ms), "%lld", (long long)job->compile_ms);
        log_debug("looked at the Git host", "source", s->name, "fetch_ms", fetch_ms, "compile_ms", compile_ms,
                  "error", job->error ? err_message(job->error) : NULL, NULL);
        if (job->fetched.id[0])
                take_fetched(s, job);
        if (job->fetched.id[0])
                take_signature(s, job);
        if (job->error)
                take_error(s, job->error);
        else {
                replace_text(&s->error, NULL);
                if (job->compiled)
                        take_compiled(s, job);
                else if (!s->compile_failed)
                        replace_text(&s->compiled_commit, job->fetched.id);
        }
        if (s->compile_failed && s->director_generation != director_generation(c)) {
                s->compiled_tree[0] = '\0'; /* the repository changed meanwhile */
                s->wanted = true;
        }
        poll_arm(s, job->error && !job->is_refused); /* a host that gives what we refuse is well */
        source_store(s);
        waiters_release(s);
        source_job_free(job);
        sources_pump(c);
}

static int fleet_node_order(const void *a, const void *b) {
        return strcmp(((const struct fleet_node *)a)->name, ((const struct fleet_node *)b)->name);
}

/* The age recipient among the facts that a node told (compact JSON: what is text in it holds no bare quotes).
 */
static const char *told_recipient(struct arena *arena, const struct node *n) {
        const char *at = n->report.facts ? strstr(n->report.facts, "\"recipient\":\"") : NULL;
        if (!at)
                return NULL;
        at += strlen("\"recipient\":\"");
        const char *text = must(arena_strndup(arena, at, strcspn(at, "\"")));
        return age_recipient_is_valid(text) ? text : NULL;
}

/* The nodes as the compiler is to know them: with the labels that do not come from Git. */
static void job_take_inventory(struct control *c, struct source_job *job) {
        struct node *n;
        job->arena = must(arena_new(0));
        job->inventory = must(arena_calloc(job->arena, inventory_size(c) + 1, sizeof(*job->inventory)));
        for (size_t i = 0; inventory_next(c, &i, &n);) {
                static const struct pairs none;
                struct fleet_node *copy = &job->inventory[job->n_inventory];
                if (n->revoked_at)
                        continue;
                const struct declaration *d = n->declaration;
                bool is_others = d && !str_eq(d->source, job->source);
                copy->name = must(arena_strdup(job->arena, n->name));
                copy->recipient = told_recipient(job->arena, n);
                must_do(pairs_merge(job->arena, n->token_labels ? n->token_labels : &none,
                                    n->manual_labels ? n->manual_labels : &none, &copy->labels));
                if (is_others) { /* another source's word about it holds */
                        struct pairs merged;
                        must_do(pairs_merge(job->arena, &copy->labels, d->labels, &merged));
                        copy->labels = merged;
                        must_do(pairs_copy(job->arena, d->variables, &copy->variables));
                }
                job->n_inventory++;
        }
        if (job->n_inventory)
                qsort(job->inventory, job->n_inventory, sizeof(*job->inventory), fleet_node_order);
}

static void spec_copy(struct source_spec *to, const struct source_spec *from) {
        json_t *j = source_spec_json(from);
        must_do(source_spec_read(j, NULL, to, NULL));
        json_decref(j);
}

static void source_look(struct source *s) {
        struct control *c = s->control;
        struct source_job *job = NEW(struct source_job);
        s->wanted = false;
        s->running = true;
        c->sources->running++;
        loop_timer_cancel(s->poll);
        LIST_FOREACH (it, &s->waiting) {
                list_remove(it);
                list_append(&s->served, it);
        }
        job->source = copy_text(s->name);
        job->folder = copy_text(s->folder);
        spec_copy(&job->spec, &s->spec);
        job->previous = copy_text(s->commit);
        memcpy(job->accepted, s->accepted, sizeof(job->accepted));
        s->job_generation = inventory_generation(c);
        s->director_generation = director_generation(c);
        job->catalog = catalog_ref(director_catalog(c));
        job->why_no_catalog = director_why_no_catalog(c);
        if (!(s->compile_failed && s->compiled_generation != s->job_generation))
                memcpy(job->compiled_tree, s->compiled_tree, sizeof(job->compiled_tree));
        job_take_inventory(c, job);
        job->cache = s->cache;
        job->objects = c->objects;
        job->cancelled = &c->sources->stopping;
        job->done = job_done;
        job->arg = s;
        /* One of before the folder was another. */
        if (source_spec_check_credentials(&s->spec, c->settings->credentials, &job->error) < 0) {
                job->fetched_at = control_now(c);
                job_done(s, job);
                return;
        }
        int r = source_job_start(c->sources->threads, job);
        if (r < 0) {
                (void)err_set_errno(&job->error, -r, "start a thread for the fetch");
                job_done(s, job);
        }
}

static void sources_pump(struct control *c) {
        const char *name;
        void *value;
        for (size_t i = 0;
             c->sources->running < JOBS_AT_ONCE && table_next(c->sources->all, &i, &name, &value);) {
                struct source *s = value;
                if (s->wanted && !s->running && !c->sources->held && !atomic_load(&c->sources->stopping))
                        source_look(s);
        }
}

void sources_hold(struct control *c, bool hold) {
        c->sources->held = hold;
        if (!hold)
                sources_pump(c);
}

bool sources_busy(const struct control *c) {
        return c->sources->running > 0;
}

void sources_notify(struct control *c, struct source *s, void (*done)(void *arg, int error), void *arg) {
        s->wanted = true;
        if (done) {
                struct waiter *w = NEW(struct waiter);
                w->done = done;
                w->arg = arg;
                list_init(&w->link);
                list_append(&s->waiting, &w->link);
        }
        sources_pump(c);
}

/* ---- making and deleting */

static struct source *source_new(struct control *c, const char *name) {
        struct source *s = NEW(struct source);
        s->control = c;
        s->name = copy_text(name);
        s->folder = must(str_format("%s/git/%s", c->settings->state, name));
        s->diagnostics = json_array_new();
        s->cache = must(fleet_cache_new());
        s->poll = must(loop_timer_new(c->loop, poll_due, s));
        s->backoff = (struct backoff)BACKOFF_INIT(FAILURE_BASE_MS, FAILURE_CAP_MS);
        list_init(&s->waiting);
        list_init(&s->served);
        must_do(table_set(c->sources->all, name, s));
        return s;
}

int sources_create(struct control *c, const char *name, struct source_spec *spec, struct source **ret,
                   struct err **err) {
        if (!name_is_dns_label(name))
                return err_set(err, EINVAL, "name: %s is not a DNS label (a-z, 0-9, -, at most 63)", name);
        if (sources_find(c, name))
                return err_set(err, EEXIST, "source %s exists already: delete it first, or take another name",
                               name);
        if (sources_count(c) >= SOURCES_MAX)
                return err_set(err, E2BIG, "there are %d sources already", SOURCES_MAX);
        int allowed = source_spec_check_credentials(spec, c->settings->credentials, err);
        if (allowed < 0)
                return allowed;
        struct source *s = source_new(c, name);
        s->created_at = control_now(c);
        s->spec = *spec;
        *spec = (struct source_spec){0};
        poster_open(s, NULL);
        source_store(s);
        s->wanted = true;
        sources_pump(c);
        *ret = s;
        return 0;
}

void sources_delete(struct control *c, struct source *s) {
        turns_write(c->turns, "DELETE FROM sources WHERE name = $1", "s", s->name);
        fleets_remove_source(c, s->name);
        s->deleted = true;
        s->wanted = false;
        loop_timer_cancel(s->poll);
        table_remove(c->sources->all, s->name);
        LIST_FOREACH (it, &s->waiting) {
                list_remove(it);
                list_append(&s->served, it);
        }
        retry_failed(c);
        if (s->running)
                return; /* job_done() cleans up */
        waiters_release(s);
        (void)path_remove(s->folder, NULL);
        source_destroy(s);
        sources_pump(c);
}

/* ---- showing */

json_t *source_json(const struct source *s) {
        json_t *metadata = json_object_new();
        json_put(metadata, "name", json_text(s->name));
        json_put(metadata, "createdAt", json_time(s->created_at));
        return shape("Source", metadata, source_spec_json(&s->spec), status_json(s));
}

json_t *sources_json(const struct control *c) {
        json_t *list = json_array_new();
        const char *name;
        void *value;
        for (size_t i = 0; table_next(c->sources->all, &i, &name, &value);)
                json_add(list, source_json(value));
        return list;
}

/* ---- loading */

static void status_load(struct source *s, const char *text) {
        json_t *j = NULL;
        const char *branch = NULL, *commit = NULL, *compiled = NULL, *subject = NULL, *author = NULL,
                   *error = NULL, *tree = NULL, *tag = NULL, *refusal = NULL, *accepted = NULL;
        if (json_decode(text, strlen(text), &j, NULL) < 0)
                return;
        (void)json_read_optional_string(j, "branch", &branch, NULL);
        (void)json_read_optional_string(j, "commit", &commit, NULL);
        (void)json_read_optional_string(j, "compiledCommit", &compiled, NULL);
        (void)json_read_optional_string(j, "commitSubject", &subject, NULL);
        (void)json_read_optional_string(j, "commitAuthor", &author, NULL);
        (void)json_read_optional_string(j, "error", &error, NULL);
        (void)json_read_optional_string(j, "tree", &tree, NULL);
        (void)json_read_optional_string(j, "tag", &tag, NULL);
        (void)json_read_optional_string(j, "refused", &refusal, NULL);
        (void)json_read_optional_string(j, "accepted", &accepted, NULL);
        (void)json_read_optional_int(j, "fetchedAtMs", &s->fetched_at, NULL);
        (void)json_read_optional_bool(j, "compileFailed", &s->compile_failed, NULL);
        replace_text(&s->branch, branch);
        replace_text(&s->commit, commit);
        replace_text(&s->compiled_commit, compiled);
        replace_text(&s->subject, subject);
        replace_text(&s->author, author);
        replace_text(&s->error, error);
        replace_text(&s->tag, tag);
        replace_text(&s->refusal, refusal);
        if (accepted && strlen(accepted) < sizeof(s->accepted))
                memcpy(s->accepted, accepted, strlen(accepted) + 1);
        json_t *signature = json_object_get(j, "signature");
        if (json_is_object(signature))
                s->signature = json_incref(signature);
        poster_open(s, json_incref(json_object_get(j, "posted")));
        if (tree && strlen(tree) < sizeof(s->compiled_tree))
                memcpy(s->compiled_tree, tree, strlen(tree) + 1);
        json_t *diagnostics = json_object_get(j, "diagnostics");
        if (json_is_array(diagnostics)) {
                json_decref(s->diagnostics);
                s->diagnostics = json_incref(diagnostics);
        }
        json_decref(j);
}

int sources_open(struct control *c, struct err **err) {
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        _cleanup_(x_freep) char *folder = must(path_join(c->settings->state, "git"));
        c->sources = NEW(struct sources);
        c->sources->all = must(table_new(NULL));
        c->sources->threads = source_threads_new(c->loop);
        c->sources->results = must(loop_timer_new(c->loop, results_due, c));
        prng_seed_random(&c->sources->random);
        int r = dir_make(folder, 0700, err);
        if (r >= 0)
                r = db_query_now(c->db, &rows, err,
                                 "SELECT name, created_at, spec, status FROM sources ORDER BY name", "");
        for (size_t i = 0; r >= 0 && i < db_rows_len(rows); i++) {
                struct source *s = source_new(c, db_text(rows, i, 0));
                json_t *spec = NULL;
                s->created_at = db_int(rows, i, 1);
                r = json_decode(db_text(rows, i, 2), strlen(db_text(rows, i, 2)), &spec, err);
                if (r >= 0)
                        r = source_spec_read(spec, NULL, &s->spec, err);
                json_decref(spec);
                if (r < 0)
                        return err_wrap(err, "source %s in the database", s->name);
                status_load(s, db_text(rows, i, 3));
        }
        return r;
}

void sources_start(struct control *c) {
        const char *name;
        void *value;
        for (size_t i = 0; table_next(c->sources->all, &i, &name, &value);)
                ((struct source *)value)->wanted = true;
        sources_pump(c);
}

void sources_stop(struct control *c) {
        atomic_store(&c->sources->stopping, true);
        source_threads_wait(c->sources->threads);
        const char *name;
        void *value;
        c->sources->results = loop_timer_free(c->sources->results);
        for (size_t i = 0; table_next(c->sources->all, &i, &name, &value);) {
                struct source *s = value;
                s->poll = loop_timer_free(s->poll);
                s->poster = git_status_poster_free(s->poster);
        }
}

struct sources *sources_free(struct sources *s) {
        if (!s)
                return NULL;
        const char *name;
        void *value;
        source_threads_free(s->threads);
        for (size_t i = 0; table_next(s->all, &i, &name, &value);)
                source_destroy(value);
        table_free(s->all);
        free(s);
        return NULL;
}
