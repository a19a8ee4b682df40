/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop (libuv): one per process, on the main thread. What blocks runs on the worker pool.
 *
 * Everything in net/ and above belongs to the loop's thread unless a header says otherwise. */
#pragma once

#include <uv.h>

#include "base/clock.h"
#include "base/err.h"

struct loop;

/* Also ignores SIGPIPE for the process (libuv puts the default back in the processes it starts). */
int loop_new(struct loop **ret, struct err **err);
/* Closes what is left and frees. Call after loop_run() returned and after everything that lives on the loop
 * was freed, timers too. Work begun is waited for; its done() and what was posted are still called from here.
 */
struct loop *loop_free(struct loop *l);
DEFINE_CLEANUP(struct loop, loop_free)
uv_loop_t *loop_uv(struct loop *l);
const struct clock *loop_clock(struct loop *l);

int loop_run(struct loop *l); /* until loop_stop(); returns the exit code given there */
void loop_stop(struct loop *l, int exit_code);
/* on_signal is called for SIGTERM and SIGINT (and SIGHUP); a second SIGINT stops at once, exit code 130. */
int loop_on_signals(struct loop *l, void (*on_signal)(void *arg, int signal), void *arg);

/* ---- timers: one shot, on the monotonic clock. */
struct loop_timer;
struct loop_timer *loop_timer_new(struct loop *l, void (*fire)(void *arg), void *arg) _must_use_;
void loop_timer_set(struct loop_timer *t, msec_t in_ms); /* (re)arms; negative counts as 0 */
void loop_timer_cancel(struct loop_timer *t);
bool loop_timer_is_set(const struct loop_timer *t);
struct loop_timer *loop_timer_free(struct loop_timer *t); /* safe inside its own callback */

/* ---- worker pool: work() on a worker thread, then done() on the loop's thread. Cannot be cancelled
 * once begun. 0 or -ENOMEM (then neither is called). */
int loop_work(struct loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg);

/* Runs fn(arg) on the loop's thread soon; callable from any thread. */
int loop_post(struct loop *l, void (*fn)(void *arg), void *arg);
