/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/app.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/driver/artifacts.h"
#include "agent/driver/secrets.h"
#include "base/random.h"
#include "base/str.h"

#define APP_PARTS_MAX 4
/* A process without checks is taken as running when it has stayed up this long. */
#define APP_SETTLE_MS 250
#define APP_BACKOFF_MS 1000
#define APP_BACKOFF_CAP_MS 300000
/* Something else that keeps changing a file must not keep us, and the disk, busy: corrections that follow
 * each other within APP_CALM_MS wait longer each time. */
#define APP_CALM_MS 10000
#define APP_DRIFT_WAIT_MS 100
/* Healthy for this long, and it is forgiven its former failures. */
#define APP_FORGIVE_MS 10000

struct app {
        const struct app_host *host;
        char *name;
        enum app_driver kind;
        struct desired *desired;
        const struct unit *unit;
        struct driver_part
                *parts[APP_PARTS_MAX]; /* files, artifacts and secrets where there are some, what runs */
        size_t n_parts;
        size_t runner;                                    /* the part of what runs; 0: nothing does */
        char trouble[APP_PARTS_MAX][APP_MESSAGE_MAX / 2]; /* what is wrong with a part; "" when well */

        enum app_state state;
        char message[APP_MESSAGE_MAX];
        char reason[APP_MESSAGE_MAX]; /* why it went back */
        bool rolled_back;             /* its settled state is RolledBack */

        enum app_task task;
        size_t at;      /* part that the task is at */
        int task_error; /* the first of the task, with its words */
        char task_message[APP_MESSAGE_MAX / 2];
        bool check_wanted;
        bool applied, stopped;

        bool running;   /* what runs was started, and has not ended since */
        bool completed; /* ended with success, and is not one to run again */
        bool settled;   /* stayed up long enough to be believed */
        struct health *health;
        int64_t restarts, drift_corrected;
        msec_t corrected_at, drift_wait_ms;
        unsigned failures; /* in a row, for the backoff */
        msec_t last_wait_ms, well_since;
        bool retry_applies; /* the retry is a whole apply, not a restart */

        struct loop_timer *ready, *settle, *retry, *check;
        struct prng random;
};

/* ---- state */

static bool set_state(struct app *a, enum app_state to) {
        if (a->state == to)
                return false;
        if (!app_state_may_follow(a->state, to))
                return false;
        a->state = to;
        return true;
}

static void tell(struct app *a) {
        a->host->changed(a->host->arg, a);
}

static void say(struct app *a, const char *message) {
        (void)snprintf(a->message, sizeof(a->message), "%s", message);
}

static msec_t now_ms(const struct app *a) {
        return clock_mono_ms(loop_clock(a->host->driver->loop));
}

static bool runs_something(const struct app *a) {
        return a->runner > 0;
}

static bool is_settled_state(enum app_state s) {
        return s == APP_HEALTHY || s == APP_ROLLED_BACK || s == APP_DEGRADED || s == APP_CONFIRMING ||
               s == APP_FAILED;
}

/* ---- making and freeing */

static void part_event(void *arg, const struct driver_event *e);
static void on_ready_timeout(void *arg);
static void on_settle(void *arg);
static void on_retry(void *arg);
static void on_check(void *arg);
static void on_health(void *arg);

static int add_part(struct app *a, const struct driver *driver, const struct driver_app *what,
                    struct err **err) {
        struct driver_listener listener = {.event = part_event, .arg = a};
        int r = driver->part_new(a->host->driver, what, &listener, &a->parts[a->n_parts], err);
        if (r == 0)
                a->n_parts++;
        return r;
}

static int make(const struct app_host *host, const struct driver_app *what, enum app_driver kind,
                struct app **ret, struct err **err) {
        _cleanup_(app_freep) struct app *a = calloc(1, sizeof(*a));
        struct loop *l = host->driver->loop;
        int r;

        if (!a)
                return err_set_errno(err, ENOMEM, "app %s", what->name);
        a->host = host;
        a->kind = kind;
        a->unit = what->unit;
        a->desired = what->unit ? desired_ref(what->desired) : NULL;
        a->name = str_dup(what->name);
        a->ready = loop_timer_new(l, on_ready_timeout, a);
        a->settle = loop_timer_new(l, on_settle, a);
        a->retry = loop_timer_new(l, on_retry, a);
        a->check = loop_timer_new(l, on_check, a);
        if (!a->name || !a->ready || !a->settle || !a->retry || !a->check)
                return err_set_errno(err, ENOMEM, "app %s", what->name);
        prng_seed_random(&a->random);

        const struct driver *driver = driver_for(kind);
        if (!driver)
                return err_set(err, EINVAL, "app %s: this agent has no driver for it", what->name);
        r = add_part(a, &files_driver, what, err);
        if (r == 0 && artifacts_are_shown(what->unit))
                r = add_part(a, &artifacts_driver, what, err);
        if (r == 0 && secrets_are_given(host->driver, what->unit, what->name))
                r = add_part(a, &secrets_driver, what, err);
        if (r == 0 && driver != &files_driver) {
                a->runner = a->n_parts;
                r = add_part(a, driver, what, err);
        }
        if (r == 0 && a->unit)
                r = health_new(host->health, a->desired, a->unit, on_health, a, &a->health, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(a);
        return 0;
}

int app_new(const struct app_host *host, struct desired *desired, const struct unit *unit, struct app **ret,
            struct err **err) {
        struct driver_app what = {.name = unit->spec->name,
                                  .desired = desired,
                                  .unit = unit,
                                  .stop_timeout_ms = unit->spec->stop_timeout_ms};
        return make(host, &what, unit->spec->driver, ret, err);
}

int app_new_from_record(const struct app_host *host, const struct ledger_app *record, struct app **ret,
                        struct err **err) {
        struct driver_app what = {.name = record->name, .stop_timeout_ms = record->stop_timeout_ms};
        return make(host, &what, record->driver, ret, err);
}

struct app *app_free(struct app *a) {
        if (!a)
                return NULL;
        health_free(a->health);
        while (a->n_parts > 0)
                driver_part_free(a->parts[--a->n_parts]);
        struct loop_timer *timers[] = {a->ready, a->settle, a->retry, a->check};
        for (size_t i = 0; i < ARRAY_SIZE(timers); i++)
                if (timers[i])
                        loop_timer_free(timers[i]);
        desired_free(a->desired);
        free(a->name);
        free(a);
        return NULL;
}

/* ---- how it is */

static bool has_trouble(const struct app *a) {
        for (size_t i = 0; i < a->n_parts; i++)
                if (*a->trouble[i])
                        return true;
        return false;
}

static bool is_up(const struct app *a) {
        return !runs_something(a) || a->completed || (a->running && a->settled);
}

/* Why it is not well, in words. */
static void describe(const struct app *a, char *out, size_t size) {
        char check[320], line[256] = "";
        const struct driver_part *p = runs_something(a) ? a->parts[a->runner] : NULL;

        for (size_t i = 0; i < a->n_parts; i++)
                if (*a->trouble[i]) {
                        (void)snprintf(out, size, "%s", a->trouble[i]);
                        return;
                }
        health_describe(a->health, check, sizeof(check));
        if (p && p->driver->last_output)
                p->driver->last_output(a->parts[a->runner], line, sizeof(line));
        (void)snprintf(out, size, "%s%s%s", *check ? check : "it does not stay up",
                       *line ? "; last output: " : "", line);
}

static void become_well(struct app *a) {
        if (!set_state(a, a->rolled_back ? APP_ROLLED_BACK : APP_HEALTHY))
                return;
        loop_timer_cancel(a->ready);
        a->well_since = now_ms(a);
        say(a, a->rolled_back ? a->reason : "");
        tell(a);
}

static msec_t next_wait(struct app *a) {
        const struct app_spec *s = a->unit->spec;
        msec_t wait = s->restart_backoff_ms > 0 ? s->restart_backoff_ms : APP_BACKOFF_MS;
        msec_t cap = s->restart_backoff_cap_ms > 0 ? s->restart_backoff_cap_ms : APP_BACKOFF_CAP_MS;

        if (a->well_since && now_ms(a) - a->well_since > MAX(APP_FORGIVE_MS, 2 * a->last_wait_ms))
                a->failures = 0;
        a->well_since = 0;
        for (unsigned i = 0; i < a->failures && wait < cap; i++)
                wait *= 2;
        a->failures++;
        a->last_wait_ms = MIN(wait, cap);
        return a->last_wait_ms;
}

static void retry_later(struct app *a, bool whole_apply) {
        a->retry_applies = whole_apply;
        if (!loop_timer_is_set(a->retry))
                loop_timer_set(a->retry, next_wait(a));
}

static void become_unwell(struct app *a) {
        char why[APP_MESSAGE_MAX];
        describe(a, why, sizeof(why));
        bool changed = set_state(a, APP_DEGRADED);
        if (a->state == APP_DEGRADED || a->state == APP_FAILED) {
                changed = changed || !str_eq(a->message, why);
                say(a, why);
        }
        if (changed)
                tell(a);
}

static bool may_restart(const struct app *a) {
        return runs_something(a) && a->unit->spec->restart != RESTART_NEVER;
}

/* Looks at everything that makes it well or not, and acts on it. */
static void judge(struct app *a) {
        if (!a->applied || a->stopped || !is_settled_state(a->state) || a->task == APP_TASK_APPLY ||
            a->task == APP_TASK_STOP || a->task == APP_TASK_REMOVE)
                return;
        enum health_verdict v = health_verdict(a->health);
        if (!has_trouble(a) && is_up(a) && v == HEALTH_PASSED) {
                become_well(a);
                return;
        }
        bool was_well = app_state_is_well(a->state);
        if (was_well && (has_trouble(a) || !is_up(a) || v == HEALTH_FAILING))
                become_unwell(a);
        /* While it is being confirmed its own timeout decides; a check that fails for good after that is
         * reason to start it afresh. */
        if (v == HEALTH_FAILING && a->state != APP_CONFIRMING && a->running && may_restart(a) &&
            a->task == APP_TASK_NONE && !loop_timer_is_set(a->retry))
                retry_later(a, false);
}

static void on_health(void *arg) {
        judge(arg);
}

static void on_settle(void *arg) {
        struct app *a = arg;
        a->settled = true;
        judge(a);
}

static void started(struct app *a) {
        a->running = runs_something(a);
        a->completed = false;
        a->settled = !a->running;
        if (a->running)
                loop_timer_set(a->settle, APP_SETTLE_MS);
        health_start(a->health);
}

static void fail(struct app *a, const char *message) {
        loop_timer_cancel(a->ready);
        if (set_state(a, APP_FAILED)) {
                say(a, message);
                tell(a);
        }
}

static void on_ready_timeout(void *arg) {
        struct app *a = arg;
        char why[APP_MESSAGE_MAX - 64], message[APP_MESSAGE_MAX], time[32];
        if (a->state != APP_CONFIRMING && a->state != APP_APPLYING)
                return;
        describe(a, why, sizeof(why));
        (void)snprintf(message, sizeof(message), "not healthy within %s: %s",
                       duration_format(a->unit->spec->ready_timeout_ms, time, sizeof(time)), why);
        fail(a, message);
        /* It is looked after as long as nobody replaces it. */
        judge(a);
}

/* ---- tasks */

static void task_step(struct app *a);

static bool goes_backwards(enum app_task t) {
        return t == APP_TASK_STOP || t == APP_TASK_REMOVE;
}

static void check_later(struct app *a) {
        msec_t interval = a->host->check_interval_ms;
        /* Spread by a tenth, so that not all apps, and not all nodes of a machine, check at once. */
        loop_timer_set(a->check, interval - interval / 10 +
                                         (msec_t)prng_below(&a->random, (uint64_t)(interval / 5 + 1)));
}

static void after_apply(struct app *a) {
        if (a->task_error < 0) {
                fail(a, a->task_message);
                retry_later(a, true);
                return;
        }
        a->applied = true;
        a->stopped = false;
        check_later(a);
        if (a->state == APP_APPLYING)
                (void)set_state(a, APP_CONFIRMING);
        started(a);
}

static void after_restart(struct app *a) {
        if (a->task_error < 0) {
                become_unwell(a);
                retry_later(a, false);
                return;
        }
        started(a);
}

static void after_check(struct app *a) {
        if (runs_something(a) && *a->trouble[a->runner] && !a->completed) {
                /* Gone without an event: the same as if it had told us. */
                a->running = false;
                if (app_state_is_well(a->state))
                        a->drift_corrected++;
                if (may_restart(a))
                        retry_later(a, false);
        }
        check_later(a);
}

static void task_end(struct app *a) {
        enum app_task task = a->task;
        int error = a->task_error;
        a->task = APP_TASK_NONE;
        switch (task) {
        case APP_TASK_APPLY: after_apply(a); break;
        case APP_TASK_RESTART: after_restart(a); break;
        case APP_TASK_CHECK: after_check(a); break;
        case APP_TASK_STOP: a->stopped = error == 0; break;
        case APP_TASK_REMOVE: a->applied = a->applied && error < 0; break;
        case APP_TASK_NONE: break;
        }
        if (error < 0 && goes_backwards(task))
                fail(a, a->task_message);
        if (a->check_wanted && a->applied && !a->stopped) {
                a->check_wanted = false;
                loop_timer_set(a->check, 0);
        }
        judge(a);
        if (task == APP_TASK_APPLY || goes_backwards(task))
                a->host->finished(a->host->arg, a, task, error);
        tell(a);
}

static void part_done(void *arg, const struct driver_outcome *o) {
        struct app *a = arg;
        (void)snprintf(a->trouble[a->at], sizeof(a->trouble[a->at]), "%s",
                       o->error < 0 ? (o->message ? o->message : strerror(-o->error)) : "");
        if (o->corrected) {
                bool again = a->corrected_at && now_ms(a) - a->corrected_at < APP_CALM_MS + a->drift_wait_ms;
                a->drift_wait_ms = !again ? 0
                                          : MIN(MAX(a->drift_wait_ms * 2, APP_DRIFT_WAIT_MS),
                                                a->host->check_interval_ms);
                a->corrected_at = now_ms(a);
                a->drift_corrected += o->corrected;
                tell(a);
        }
        if (o->error < 0) {
                if (a->task_error == 0) {
                        a->task_error = o->error;
                        (void)snprintf(a->task_message, sizeof(a->task_message), "%s", a->trouble[a->at]);
                }
                /* A check goes through all parts; removing takes away as much as it can. */
                if (a->task != APP_TASK_CHECK && a->task != APP_TASK_REMOVE) {
                        task_end(a);
                        return;
                }
        }
        if (goes_backwards(a->task)) {
                if (a->at == 0) {
                        task_end(a);
                        return;
                }
                a->at--;
        } else {
                a->at++;
                if (a->at == a->n_parts) {
                        a->at = 0;
                        task_end(a);
                        return;
                }
        }
        task_step(a);
}

static void task_step(struct app *a) {
        struct driver_part *p = a->parts[a->at];
        switch (a->task) {
        case APP_TASK_APPLY: p->driver->apply(p, part_done, a); return;
        case APP_TASK_RESTART: p->driver->restart(p, part_done, a); return;
        case APP_TASK_CHECK: p->driver->check(p, part_done, a); return;
        case APP_TASK_STOP: p->driver->stop(p, part_done, a); return;
        case APP_TASK_REMOVE: p->driver->remove(p, part_done, a); return;
        case APP_TASK_NONE: return;
        }
}

static void task_begin(struct app *a, enum app_task task) {
        a->task = task;
        a->task_error = 0;
        a->at = goes_backwards(task) ? a->n_parts - 1 : 0;
        if (task == APP_TASK_APPLY || goes_backwards(task)) {
                loop_timer_cancel(a->retry);
                loop_timer_cancel(a->check);
                loop_timer_cancel(a->settle);
                if (a->health)
                        health_stop(a->health);
        }
        task_step(a);
}

void app_apply(struct app *a, bool going_back, const char *reason) {
        a->rolled_back = going_back;
        (void)snprintf(a->reason, sizeof(a->reason), "%s", reason ? reason : "");
        (void)set_state(a, APP_APPLYING);
        say(a, "");
        tell(a);
        loop_timer_set(a->ready, a->unit->spec->ready_timeout_ms);
        task_begin(a, APP_TASK_APPLY);
}

void app_stop(struct app *a) {
        loop_timer_cancel(a->ready);
        (void)set_state(a, APP_ROLLING_BACK);
        tell(a);
        task_begin(a, APP_TASK_STOP);
}

void app_remove(struct app *a) {
        loop_timer_cancel(a->ready);
        (void)set_state(a, APP_REMOVING);
        tell(a);
        task_begin(a, APP_TASK_REMOVE);
}

/* ---- what happens by itself */

static void on_retry(void *arg) {
        struct app *a = arg;
        if (a->task != APP_TASK_NONE) {
                loop_timer_set(a->retry, a->last_wait_ms);
                return;
        }
        a->restarts++;
        if (a->retry_applies || !a->applied) {
                task_begin(a, APP_TASK_APPLY);
                return;
        }
        loop_timer_cancel(a->settle);
        a->running = a->settled = false;
        health_stop(a->health);
        task_begin(a, APP_TASK_RESTART);
}

static void on_check(void *arg) {
        struct app *a = arg;
        if (!a->applied || a->stopped)
                return;
        if (a->task != APP_TASK_NONE)
                a->check_wanted = true;
        else
                task_begin(a, APP_TASK_CHECK);
}

void app_check_soon(struct app *a) {
        on_check(a);
}

static void part_ended(struct app *a, const struct driver_event *e) {
        enum restart_policy policy = a->unit->spec->restart;
        a->running = false;
        loop_timer_cancel(a->settle);
        if (e->success && policy != RESTART_ALWAYS) {
                a->completed = true;
                judge(a);
                return;
        }
        (void)snprintf(a->trouble[a->runner], sizeof(a->trouble[a->runner]), "%s",
                       e->message ? e->message : "it ended");
        if (app_state_is_well(a->state))
                a->drift_corrected++; /* a dead process, and it is put back */
        health_stop(a->health);
        judge(a);
        if (policy != RESTART_NEVER)
                retry_later(a, false);
        else if (a->state == APP_CONFIRMING)
                fail(a, a->trouble[a->runner]);
}

static void part_event(void *arg, const struct driver_event *e) {
        struct app *a = arg;
        if (!a->applied || a->stopped)
                return;
        switch (e->type) {
        case DRIVER_CHANGED:
                if (a->drift_wait_ms > 0 && now_ms(a) - a->corrected_at < APP_CALM_MS + a->drift_wait_ms)
                        loop_timer_set(a->check, a->drift_wait_ms);
                else
                        on_check(a);
                return;
        case DRIVER_ENDED: part_ended(a, e); return;
        case DRIVER_REVIVED:
                a->restarts++;
                if (app_state_is_well(a->state))
                        a->drift_corrected++;
                tell(a);
                return;
        }
}

/* ---- reading */

const char *app_name(const struct app *a) {
        return a->name;
}
const struct unit *app_unit(const struct app *a) {
        return a->unit;
}
enum app_driver app_kind(const struct app *a) {
        return a->kind;
}
enum app_state app_state(const struct app *a) {
        return a->state;
}
const char *app_message(const struct app *a) {
        return a->message;
}
bool app_is_busy(const struct app *a) {
        return a->task != APP_TASK_NONE;
}
bool app_is_applied(const struct app *a) {
        return a->applied;
}
bool app_is_stopped(const struct app *a) {
        return a->stopped;
}
int64_t app_restarts(const struct app *a) {
        return a->restarts;
}
int64_t app_drift_corrected(const struct app *a) {
        return a->drift_corrected;
}

void app_take_counters(struct app *a, const struct app *before) {
        a->restarts = before->restarts;
        a->drift_corrected = before->drift_corrected;
}

void app_settle_as(struct app *a, bool rolled_back, const char *reason) {
        a->rolled_back = rolled_back;
        (void)snprintf(a->reason, sizeof(a->reason), "%s", reason ? reason : "");
        if (!app_state_is_well(a->state))
                return;
        if (set_state(a, rolled_back ? APP_ROLLED_BACK : APP_HEALTHY)) {
                say(a, a->reason);
                tell(a);
        }
}
