/* SPDX-License-Identifier: Apache-2.0 */
/* A file of the artifact repository, or a range of one, from the first source that gives it: one pass over
 * all sources, each going on where the one before broke off. What comes is bounded in every way but not
 * trusted: the caller checks digests. Where a length is not known a source that
 * breaks off ends the pass: the caller begins the next with another (first_source). Waiting and trying again
 * is the caller's.
 *
 * What servers do wrong, and what becomes of it:
 *   ignores Range (200)       the bytes before are passed over, where that costs little; else -EOPNOTSUPP
 *   another length than known, more or fewer bytes     that source is left (-EBADMSG)
 *   a web page                that source is left, saying that it may be a captive portal (-EBADMSG)
 *   another ETag mid-way      -ESTALE: what was got before is not to be trusted, begin anew
 *   redirects                 at most 5, and never from https to http (-ELOOP); the edge's are not followed
 *   a trickle, or silence     under 64 bytes a second for half a minute: -ETIMEDOUT
 *   404, 410, 403             not there: -ENOENT when all say so (one is enough where it is optional) */
#pragma once

#include "agent/repository_source.h"

struct download_limit { /* how fast, and how much; NULL functions: no limit */
        /* How many of `wish` bytes may be asked for now; 0: ask again in *ret_wait_ms. */
        int64_t (*allow)(void *arg, int64_t wish, msec_t *ret_wait_ms);
        /* So many came. */
        void (*used)(void *arg, int64_t n);
        /* Which limit keeps `wish` bytes back, and when it will let them through, in words. */
        void (*explain)(void *arg, int64_t wish, char *out, size_t size);
        void *arg;
};

struct download_result {
        int error; /* 0 or as above; -EHOSTUNREACH, -EIO, ...: the network; what on_data() returned */
        const char *message;
        int64_t wire; /* bytes that came, useful or not */
        msec_t retry_after_ms;
};
struct download_request {
        const char *path;  /* below the repository; copied */
        int64_t offset;    /* of the first byte wanted */
        int64_t length;    /* bytes wanted from there; -1: to the end */
        int64_t total;     /* of the whole file; -1: not known */
        int64_t max_bytes; /* most that is taken when length is -1 and total not known */
        bool optional;
        bool fresh;          /* what came before was wrong: caches on the way are asked to look again */
        size_t first_source; /* where the pass begins, counted around */
        bool range_only;     /* only this range is of use: a server that sends the whole is left */
        const struct download_limit *limit; /* may be NULL; outlives the download */
        /* Bytes in order, `at` their place in the file. Non-zero ends the download with it. */
        int (*on_data)(void *arg, int64_t at, const char *p, size_t n);
        /* The limit lets nothing through for more than a moment: said once for each such time. It goes on by
         * itself. May be NULL; must not free the download. */
        void (*waits)(void *arg, const char *message);
        void (*done)(void *arg, const struct download_result *r);
        void *arg;
};

struct download;
/* Begins soon: neither function is called from within. sources outlive it. */
int download_start(struct repository_sources *sources, const struct download_request *request,
                   struct download **ret, struct err **err);
/* Ends it without done(); after done() it is freed already. */
struct download *download_free(struct download *d);
