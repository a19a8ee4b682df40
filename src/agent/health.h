/* SPDX-License-Identifier: Apache-2.0 */
/* Health checks of one app: exec, http, tcp.
 *
 * Until the app is confirmed, checks run in quick succession (a failed one is tried again soon), so that
 * a good version is known to be good as early as it is; after that at their interval. Successes that a
 * threshold above one asks for are always an interval apart, since they are to show that it stays up.
 * Failures within the startup grace do not count. */
#pragma once

#include "agent/driver/driver.h"
#include "net/http_client.h"

/* ---- counting: pure */

struct health_count {
        int64_t failures, successes; /* in a row */
        bool passed;                 /* successThreshold was reached, and failureThreshold not since */
        bool failing;                /* failureThreshold was reached, and successThreshold not since */
        msec_t retry_ms;
};
void health_count_init(struct health_count *c);
/* One result, since_start_ms after the app started. Returns how long to wait for the next. */
msec_t health_count_step(struct health_count *c, const struct health_check *spec, bool success,
                         msec_t since_start_ms);

/* ---- running */

struct health;
struct health_host {
        const struct driver_host *driver;
        /* The client for http checks, made on first use. NULL when it cannot be made. */
        struct http_client *(*http)(void *arg);
        void *arg;
};

enum health_verdict {
        HEALTH_UNKNOWN, /* not every check has passed yet, none has failed for good */
        HEALTH_PASSED,  /* all pass (also when there are none) */
        HEALTH_FAILING, /* at least one has failed its failureThreshold */
};

/* changed(arg) is called when health_verdict() may have changed; never from within a call of ours. */
int health_new(const struct health_host *host, struct desired *desired, const struct unit *unit,
               void (*changed)(void *arg), void *arg, struct health **ret, struct err **err);
struct health *health_free(struct health *h);

/* Forgets results and begins anew: the app has (re)started just now. */
void health_start(struct health *h);
/* No checks until the next start. */
void health_stop(struct health *h);
enum health_verdict health_verdict(const struct health *h);
/* What fails, for people: "health check http: connection refused"; of checks that have not passed yet when
 * none is failing. "" when all is well. */
void health_describe(const struct health *h, char *out, size_t size);
