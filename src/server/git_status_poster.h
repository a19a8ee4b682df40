/* SPDX-License-Identifier: Apache-2.0 */
/* Tells one source's Git host what becomes of its commits. It compares what stands now with what was posted
 * last, context by context, and posts what differs, one at a time and in order; a host that fails is tried
 * again with growing waits. What was posted is remembered by the source, so that a restart repeats nothing
 * and forgets nothing. On the loop's thread. */
#pragma once

#include <jansson.h>

#include "net/loop.h"
#include "server/git_status.h"
#include "server/source_spec.h"

#define STATUS_CONTEXTS_MAX 100
#define STATUS_REFUSALS_MAX 5 /* answers of "never" before one is given up */

struct git_status_poster;
struct git_status_poster_options {
        struct loop *loop;
        const struct source_spec *spec; /* outlives the poster */
        const char *source;             /* borrowed as well */
        json_t *posted;                 /* as git_status_poster_posted() gave it, or NULL; taken */
        /* What stands now: {context: {"commit","state","description","target"}}, at most
         * STATUS_CONTEXTS_MAX. */
        json_t *(*wanted)(void *arg);
        void (*changed)(void *arg); /* posted() or error() is another now */
        void *arg;
};
int git_status_poster_new(const struct git_status_poster_options *o, struct git_status_poster **ret,
                          struct err **err);
struct git_status_poster *git_status_poster_free(struct git_status_poster *p);

/* Something may be new. Cheap when nothing is. */
void git_status_poster_wake(struct git_status_poster *p);
/* {context: {"commit","state","description"}}, borrowed */
json_t *git_status_poster_posted(const struct git_status_poster *p);
const char *
git_status_poster_error(const struct git_status_poster *p); /* why the last try failed, NULL: it did not */
