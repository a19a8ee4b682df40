/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/delivery.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "net/backoff.h"

#define ASK_BASE_MS 1000
#define ASK_CAP_MS 300000
/* A mismatch may be a repository that is published this very moment: it is called one after so many looks. */
#define REFUSED_AFTER 3

struct item {
        struct assigned_artifact a; /* texts belong to the source */
        struct artifact_fetch_progress progress;
};

struct delivery {
        struct delivery_host host;
        struct delivery_listener listener;
        struct source *source;
        struct fetch *fetch;
        bool objects_there, vouched_for;
        bool asking;
        struct artifact_fetch *artifact;
        struct item *items;
        size_t n_items, at;
        struct loop_timer *timer;
        struct backoff backoff;
        struct prng random;
        unsigned refusals;
};

static void step(void *arg);

static void wait_and_retry(struct delivery *d, const char *message, bool refused) {
        loop_timer_set(d->timer, backoff_next(&d->backoff, &d->random, -1));
        d->refusals = refused ? d->refusals + 1 : 0;
        d->listener.delayed(d->listener.arg, message, d->refusals >= REFUSED_AFTER);
}

/* ---- objects */

static void objects_ready(void *arg) {
        struct delivery *d = arg;
        d->objects_there = true;
        d->fetch = fetch_free(d->fetch);
        step(d);
}

static void objects_delayed(void *arg, const char *message) {
        struct delivery *d = arg;
        d->listener.delayed(d->listener.arg, message, false);
}

static void objects_failed(void *arg, const char *message) {
        struct delivery *d = arg;
        d->listener.failed(d->listener.arg, message);
}

/* ---- the image role's word */

static void asked(void *arg, int error, const char *message) {
        struct delivery *d = arg;
        d->asking = false;
        if (error < 0) {
                wait_and_retry(d, message, error == -EPERM);
                return;
        }
        d->vouched_for = true;
        backoff_reset(&d->backoff);
        d->refusals = 0;
        step(d);
}

static void word_delayed(void *arg, const char *message) {
        struct delivery *d = arg;
        d->listener.delayed(d->listener.arg, message, false);
}

static bool needs_word(const struct delivery *d) {
        const struct repository *r = d->host.repository;
        return d->n_items > 0 || (r && repository_trust(r) == REPOSITORY_TRUST_RELEASE_KEY);
}

static void ask(struct delivery *d, const char *fleet) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct repository_question q = {.artifacts = d->source->artifacts,
                                        .revision = d->source->revision,
                                        .revision_length = -1,
                                        .fleet = fleet,
                                        .delayed = word_delayed};
        if (!d->host.repository || !d->host.artifacts) {
                wait_and_retry(d, "this agent was set up without artifacts", true);
                return;
        }
        if (repository_knows(d->host.repository, &q)) {
                asked(d, 0, NULL);
                return;
        }
        int r = repository_ask(d->host.repository, &q, asked, d, &err);
        if (r == -EBUSY) /* an import is at it */
                loop_timer_set(d->timer, ASK_BASE_MS);
        else if (r < 0)
                wait_and_retry(d, err_message(err), r == -ENOKEY);
        else
                d->asking = true;
}

/* The revision is there: does it fit what was assigned? */
static void check_assigned(struct delivery *d) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *fleet = NULL;
        int r = desired_check_artifacts(d->host.fetch.objects, d->source, d->host.node, &fleet, &err);
        if (r == -ENOENT || r == -EBADMSG) { /* an object went, or is damaged */
                d->objects_there = false;
                wait_and_retry(d, err_message(err), false);
                return;
        }
        if (r < 0 && !needs_word(d)) {
                /* Whoever begins it finds the same, and says it as a failure of the revision. */
                d->vouched_for = true;
                step(d);
                return;
        }
        if (r < 0) {
                d->refusals = REFUSED_AFTER;
                wait_and_retry(d, err_message(err), true);
                return;
        }
        if (!needs_word(d)) {
                d->vouched_for = true;
                step(d);
                return;
        }
        ask(d, fleet);
}

/* ---- payloads */

static void artifact_ready(void *arg) {
        struct delivery *d = arg;
        artifact_fetch_progress(d->artifact, &d->items[d->at].progress);
        d->artifact = artifact_fetch_free(d->artifact);
        d->at++;
        d->listener.changed(d->listener.arg);
        loop_timer_set(d->timer, 0);
}

static void artifact_delayed(void *arg, const char *message) {
        struct delivery *d = arg;
        d->listener.delayed(d->listener.arg, message, false);
}

static void artifact_failed(void *arg, int error, const char *message) {
        (void)error;
        artifact_delayed(arg, message);
}

static void artifact_changed(void *arg) {
        struct delivery *d = arg;
        d->listener.changed(d->listener.arg);
}

static void fetch_artifact(struct delivery *d) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct item *item = &d->items[d->at];
        const struct artifact *a = artifact_store_find(d->host.artifacts, item->a.target, item->a.sha256);
        struct artifact_fetch_listener listener = {.done = artifact_ready,
                                                   .delayed = artifact_delayed,
                                                   .failed = artifact_failed,
                                                   .changed = artifact_changed,
                                                   .arg = d};
        if (!a) { /* cannot be: it was vouched for; ask again */
                d->vouched_for = false;
                wait_and_retry(d, "an artifact's description is gone", false);
                return;
        }
        if (artifact_store_is_ready(d->host.artifacts, a) &&
            artifact_store_has(d->host.artifacts, a->sha256, a->length)) {
                item->progress = (struct artifact_fetch_progress){.state = ARTIFACT_FETCH_READY,
                                                                  .way = FETCH_NOTHING,
                                                                  .predicted = 0,
                                                                  .total = a->length};
                d->at++;
                loop_timer_set(d->timer, 0);
                return;
        }
        if (artifact_fetch_new(&d->host.artifact, item->a.target, a, &listener, &d->artifact, &err) < 0)
                wait_and_retry(d, err_message(err), false);
}

/* ---- steps */

static void start_objects(struct delivery *d) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct fetch_listener listener = {
                .ready = objects_ready, .delayed = objects_delayed, .failed = objects_failed, .arg = d};
        if (!d->fetch && fetch_new(&d->host.fetch, d->source, &listener, &d->fetch, &err) < 0)
                wait_and_retry(d, err_message(err), false);
}

static void step(void *arg) {
        struct delivery *d = arg;
        if (d->asking || d->artifact)
                return;
        if (!d->objects_there)
                start_objects(d);
        else if (!d->vouched_for)
                check_assigned(d);
        else if (d->at < d->n_items)
                fetch_artifact(d);
        else
                d->listener.ready(d->listener.arg);
}

static int read_items(struct delivery *d, struct err **err) {
        const json_t *item;
        size_t i;
        d->n_items = json_array_size(d->source->artifacts);
        d->items = calloc(d->n_items + 1, sizeof(*d->items));
        if (!d->items)
                return err_set_errno(err, ENOMEM, "delivery");
        json_array_foreach (d->source->artifacts, i, item) {
                int r = assigned_artifact_read(item, &d->items[i].a, err);
                if (r < 0)
                        return r;
                d->items[i].progress = (struct artifact_fetch_progress){
                        .way = FETCH_NOTHING, .predicted = -1, .total = d->items[i].a.length};
        }
        return 0;
}

int delivery_new(const struct delivery_host *host, const struct source *s,
                 const struct delivery_listener *listener, struct delivery **ret, struct err **err) {
        struct delivery *d = calloc(1, sizeof(*d));
        if (!d)
                return err_set_errno(err, ENOMEM, "delivery");
        d->host = *host;
        d->listener = *listener;
        d->backoff = (struct backoff)BACKOFF_INIT(ASK_BASE_MS, ASK_CAP_MS);
        prng_seed_random(&d->random);
        d->source = source_copy(s);
        d->timer = loop_timer_new(host->fetch.loop, step, d);
        int r = d->source && d->timer ? read_items(d, err) : err_set_errno(err, ENOMEM, "delivery");
        if (r < 0) {
                delivery_free(d);
                return r;
        }
        loop_timer_set(d->timer, 0);
        *ret = d;
        return 0;
}

void delivery_hurry(struct delivery *d) {
        if (d->fetch) {
                fetch_hurry(d->fetch);
        } else if (d->artifact) {
                artifact_fetch_hurry(d->artifact);
        } else if (!d->asking) {
                backoff_reset(&d->backoff);
                loop_timer_set(d->timer, 0);
        }
}

struct delivery *delivery_free(struct delivery *d) {
        if (!d)
                return NULL;
        fetch_free(d->fetch);
        artifact_fetch_free(d->artifact);
        if (d->asking)
                repository_cancel(d->host.repository);
        if (d->timer)
                loop_timer_free(d->timer);
        source_free(d->source);
        free(d->items);
        free(d);
        return NULL;
}

bool delivery_has_artifacts(const struct delivery_host *host, const struct source *s) {
        struct assigned_artifact a;
        const json_t *item;
        size_t i;
        json_array_foreach (s->artifacts, i, item) {
                if (!host->artifacts || assigned_artifact_read(item, &a, NULL) < 0)
                        return false;
                const struct artifact *known = artifact_store_find(host->artifacts, a.target, a.sha256);
                if (!known || !artifact_store_has(host->artifacts, a.sha256, a.length) ||
                    !artifact_store_is_ready(host->artifacts, known))
                        return false;
        }
        return true;
}

bool delivery_artifact(const struct delivery *d, size_t i, struct delivery_artifact *ret) {
        if (i >= d->n_items)
                return false;
        *ret = (struct delivery_artifact){.name = d->items[i].a.name,
                                          .version = d->items[i].a.version,
                                          .progress = d->items[i].progress};
        if (i == d->at && d->artifact)
                artifact_fetch_progress(d->artifact, &ret->progress);
        return true;
}
