/* SPDX-License-Identifier: Apache-2.0 */
/* Several ranges of one file of the repository under way at once, taken in the order in which they were asked
 * for: so that a link with a long round trip is filled by many small ranges. Bodies are held until they are
 * taken, so what is under way is bounded. Everything on the loop's thread. */
#pragma once

#include "agent/download.h"

#define RANGE_WINDOW_MAX 16                     /* ranges */
#define RANGE_WINDOW_BYTES ((int64_t)256 << 10) /* of all; one range alone may be longer */

struct range_window;
/* ready: the first range has ended, one way or the other. waits: of the first one (agent/download.h). Neither
 * is called from within range_window_ask(). */
int range_window_new(struct repository_sources *sources, const struct download_limit *limit,
                     void (*ready)(void *arg), void (*waits)(void *arg, const char *message), void *arg,
                     struct range_window **ret);
struct range_window *range_window_free(struct range_window *w); /* ends all, without a word */

bool range_window_has_room(const struct range_window *w);
bool range_window_is_empty(const struct range_window *w);
/* The next range; path is of the whole file, total its length. fresh: caches on the way look again. */
int range_window_ask(struct range_window *w, const char *path, int64_t offset, int64_t length, int64_t total,
                     size_t first_source, bool fresh, struct err **err);

struct range_result {
        int error;           /* as struct download_result */
        const char *message; /* valid until the next call */
        msec_t retry_after_ms;
        int64_t wire;
        char *bytes; /* malloc'ed, the caller's: all, or with an error what came before; may be NULL */
        size_t n;
};
/* The first range, when it has ended; false: it has not, or there is none. */
bool range_window_take(struct range_window *w, struct range_result *ret);
/* Ends those under way; what came of them is lost. Bytes on the wire that were not told yet. */
int64_t range_window_drop(struct range_window *w);
