/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger: what this node has applied, is applying, and can go back to. One JSON file, replaced
 * atomically and durably.
 *
 * Order of acts, so that a crash at any point leaves no orphan:
 *   1. intent: before anything on the machine changes for an app, its record says so (step applying or
 *      removing) and lists every file that exists or may come to exist;
 *   2. the act, which is idempotent;
 *   3. done: step applied with the files that are there now, or the record goes.
 * An intent found at start is carried out again. A `done` that was lost is therefore harmless, so only
 * intents need to reach the disk at once (ledger_save()); the rest is saved with the next one or when the
 * node has settled. What runs (pids) is not here: it does not outlive a power cut, see driver/process.
 *
 * Format (version 1):
 *   {"format":1,"floor":assignment version,"stable":id|null,"target":id|null,"targetAssignment":N,
 *    "attempts":N,"failed":{"source":id,"assignment":N,"reason":text,"apps":[name]}|null,
 *    "sources":{id:{"revision","labels","variables","artifacts"?}},
 *    "apps":{name:{"source":id,"digest","driver","order":N,"keep":bool,"stopTimeout":ms,
 *                  "step":"applying|applied|removing","files":[{"path","sha256"}]}}} */
#pragma once

#include "agent/desired.h"
#include "base/table.h"

enum ledger_step { LEDGER_APPLYING, LEDGER_APPLIED, LEDGER_REMOVING };

struct ledger_file {
        char *path;
        char sha256[65];
};
struct ledger_app {
        char *name;
        char source[65];
        char digest[65]; /* of the unit */
        enum app_driver driver;
        int64_t order; /* place in the dependency order it was applied in */
        bool keep;     /* leave it when it goes from the repository */
        msec_t stop_timeout_ms;
        enum ledger_step step;
        struct ledger_file *files;
        size_t n_files;
};
struct ledger_failure { /* the target that did not become healthy */
        char source[65];
        int64_t assignment;
        char *reason;
        char **apps; /* names of the apps that failed */
};

struct ledger;
/* Reads path, or starts an empty one. A file that cannot be read is an error (-EINVAL): forgetting what
 * runs would leave it running for ever. */
int ledger_open(const char *path, struct ledger **ret, struct err **err);
struct ledger *ledger_free(struct ledger *l);
DEFINE_CLEANUP(struct ledger, ledger_free)
/* Durable. Does nothing when nothing changed since. */
int ledger_save(struct ledger *l, struct err **err);

/* ---- sources: kept while anything refers to them */
const struct source *ledger_source(const struct ledger *l, const char *id);
const struct source *ledger_stable(const struct ledger *l); /* confirmed healthy; NULL: none yet */
const struct source *ledger_target(const struct ledger *l); /* being applied; NULL when settled */
int64_t ledger_target_assignment(const struct ledger *l);
int64_t ledger_attempts(const struct ledger *l);
int64_t ledger_floor(const struct ledger *l); /* highest assignment version acted upon */
const struct ledger_failure *ledger_failure(const struct ledger *l);
/* Calls visit for every source that is kept. */
void ledger_sources(const struct ledger *l, void (*visit)(void *arg, const struct source *s), void *arg);

/* Sets the target (attempts 0, failure cleared). */
int ledger_begin(struct ledger *l, const struct source *target, int64_t assignment);
void ledger_count_attempt(struct ledger *l);
/* The target is what runs: it becomes stable. */
void ledger_confirm(struct ledger *l);
/* The target failed: remembered, so that it is not tried again under the same assignment. */
int ledger_fail(struct ledger *l, const char *reason, char *const *apps);
/* One more app of the failed target is not to be run. */
int ledger_fail_app(struct ledger *l, const char *app);
/* All references to sources that nothing needs go. */
void ledger_prune_sources(struct ledger *l);

/* ---- apps */
struct ledger_app *ledger_app(const struct ledger *l, const char *name); /* NULL: none */
bool ledger_next_app(const struct ledger *l, size_t *position, struct ledger_app **ret);
size_t ledger_n_apps(const struct ledger *l);
/* Another app's record lists this path. */
bool ledger_owns_path(const struct ledger *l, const char *path, const char *except_app);

/* Intent to apply: files become the union of the recorded and the new ones. */
int ledger_intend_apply(struct ledger *l, const struct source *source, const struct unit *u, int64_t order);
int ledger_done_apply(struct ledger *l, const struct unit *u);
int ledger_intend_remove(struct ledger *l, const char *name);
void ledger_done_remove(struct ledger *l, const char *name);
