/* SPDX-License-Identifier: Apache-2.0 */
/* Sources: the Git repositories that are followed. Each is fetched when somebody says so (notify, webhook)
 * or its poll is due, on a thread of its own; what compiles goes to fleets_apply(), what does not
 * changes nothing and is shown. */
#pragma once

#include "server/control.h"
#include "server/source_hooks.h"
#include "server/source_spec.h"

#define SOURCES_MAX 1000

struct sources;
struct source;

int sources_open(struct control *c, struct err **err);
void sources_start(struct control *c); /* first fetches */
/* While held, nothing new is fetched; what was asked for follows after. Busy: a fetch or compile runs. */
void sources_hold(struct control *c, bool hold);
bool sources_busy(const struct control *c);
/* Tells running fetches to stop, waits for their threads, and lets go of the loop. */
void sources_stop(struct control *c);
struct sources *sources_free(struct sources *s);

struct source *sources_find(const struct control *c, const char *name);
size_t sources_count(const struct control *c);
/* -EEXIST, -EINVAL, -E2BIG. Takes spec on success. Fetches at once. */
int sources_create(struct control *c, const char *name, struct source_spec *spec, struct source **ret,
                   struct err **err);
void sources_delete(struct control *c, struct source *s);

/* Something outside of Git changed that may have been in a compile's way. */
void sources_retry_failed(struct control *c);
/* Fetch now. done (may be NULL) is called once a fetch that began after this call has ended and
 * all that followed from it is durable. */
void sources_notify(struct control *c, struct source *s, void (*done)(void *arg, int error), void *arg);

const char *source_name(const struct source *s);
const struct source_spec *source_spec(const struct source *s);
/* The branch it follows, or NULL while the host's default is not known, or where it follows tags. */
const char *source_branch(const struct source *s);
/* A webhook with the right signature came; see source_hooks.h. A flood leads to one fetch later. */
enum hook_verdict source_take_hook(struct source *s, const char *delivery, const void *body, size_t len);

json_t *source_json(const struct source *s) _must_use_;
json_t *sources_json(const struct control *c) _must_use_; /* array */
