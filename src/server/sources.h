/* SPDX-License-Identifier: Apache-2.0 */
/* Sources: the Git repositories that are followed. Each is fetched when somebody says so (notify, webhook)
 * or its poll is due, on a thread of its own; what compiles goes to fleets_apply(), what does not
 * changes nothing and is shown. */
#pragma once

#include "server/control.h"
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
/* The branch it follows, or NULL while the host's default is not known. */
const char *source_branch(const struct source *s);
/* Seen this webhook delivery before? Remembers it. */
bool source_delivery_is_new(struct source *s, const char *id);

json_t *source_json(const struct source *s) _must_use_;
json_t *sources_json(const struct control *c) _must_use_; /* array */
