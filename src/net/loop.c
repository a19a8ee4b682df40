/* SPDX-License-Identifier: Apache-2.0 */
#include "net/loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "base/list.h"

/* libuv counts timers on CLOCK_MONOTONIC, which stands still while the machine is suspended. Ours count on
 * CLOCK_BOOTTIME: they wait in a heap of our own, one libuv timer serves the earliest of them and never
 * sleeps longer than this, so after a resume they are late by this much at most. */
#define LONGEST_SLEEP_MS 60000

struct loop_timer {
        struct loop *loop;
        void (*fire)(void *arg);
        void *arg;
        msec_t due;
        uint64_t order;  /* of arming: timers that are due at the same time fire in it */
        size_t position; /* in the heap, NOT_ARMED when in none */
};
#define NOT_ARMED SIZE_MAX

struct post {
        struct post *next;
        void (*fn)(void *arg);
        void *arg;
};

enum { SIGNAL_COUNT = 3 };
static const int signal_numbers[SIGNAL_COUNT] = {SIGTERM, SIGINT, SIGHUP};

struct loop {
        uv_loop_t uv;
        const struct clock *clock;
        int exit_code;
        bool stopped;

        uv_timer_t alarm;
        struct loop_timer **heap;
        size_t armed, timers, heap_size; /* heap_size >= timers, so that arming cannot fail */
        uint64_t order;

        uv_async_t wakeup;
        pthread_mutex_t posts_lock;
        struct post *first_post, **last_post;

        uv_signal_t signals[SIGNAL_COUNT];
        bool signals_used, interrupted;
        void (*on_signal)(void *arg, int signal);
        void *signal_arg;
};

/* ---- the heap */

static bool timer_before(const struct loop_timer *a, const struct loop_timer *b) {
        return a->due != b->due ? a->due < b->due : a->order < b->order;
}

static void heap_put(struct loop *l, size_t position, struct loop_timer *t) {
        l->heap[position] = t;
        t->position = position;
}

static void heap_up(struct loop *l, size_t i, struct loop_timer *t) {
        for (; i > 0; i = (i - 1) / 2) {
                struct loop_timer *parent = l->heap[(i - 1) / 2];
                if (!timer_before(t, parent))
                        break;
                heap_put(l, i, parent);
        }
        heap_put(l, i, t);
}

static void heap_down(struct loop *l, size_t i, struct loop_timer *t) {
        for (;;) {
                size_t child = 2 * i + 1;
                if (child >= l->armed)
                        break;
                if (child + 1 < l->armed && timer_before(l->heap[child + 1], l->heap[child]))
                        child++;
                if (!timer_before(l->heap[child], t))
                        break;
                heap_put(l, i, l->heap[child]);
                i = child;
        }
        heap_put(l, i, t);
}

static void heap_remove(struct loop *l, struct loop_timer *t) {
        size_t i = t->position;
        struct loop_timer *last = l->heap[--l->armed];
        t->position = NOT_ARMED;
        if (last == t)
                return;
        if (i > 0 && timer_before(last, l->heap[(i - 1) / 2]))
                heap_up(l, i, last);
        else
                heap_down(l, i, last);
}

static void on_alarm(uv_timer_t *handle);

static void set_alarm(struct loop *l, msec_t at_least) {
        if (uv_is_closing((uv_handle_t *)&l->alarm))
                return;
        if (l->armed == 0) {
                (void)uv_timer_stop(&l->alarm);
                return;
        }
        msec_t in = l->heap[0]->due - clock_mono_ms(l->clock);
        in = MAX(in, at_least);
        in = MIN(in, LONGEST_SLEEP_MS);
        (void)uv_timer_start(&l->alarm, on_alarm, (uint64_t)in, 0);
}

static void on_alarm(uv_timer_t *handle) {
        struct loop *l = handle->data;
        msec_t now = clock_mono_ms(l->clock);
        uint64_t end = l->order;
        /* A timer that is armed from here on has its turn in the next round, so that one which re-arms itself
         * with 0 cannot keep the loop to itself. */
        while (l->armed > 0 && l->heap[0]->due <= now && l->heap[0]->order < end) {
                struct loop_timer *t = l->heap[0];
                heap_remove(l, t);
                t->fire(t->arg); /* may free t */
        }
        /* Not 0: libuv before 1.45 calls a timer that is started with 0 inside its callback again at once,
         * and never gets to its sockets. */
        set_alarm(l, 1);
}

struct loop_timer *loop_timer_new(struct loop *l, void (*fire)(void *arg), void *arg) {
        if (l->timers == l->heap_size) {
                size_t size = l->heap_size ? 2 * l->heap_size : 16;
                struct loop_timer **heap = reallocarray(l->heap, size, sizeof(struct loop_timer *));
                if (!heap)
                        return NULL;
                l->heap = heap;
                l->heap_size = size;
        }
        struct loop_timer *t = calloc(1, sizeof(*t));
        if (!t)
                return NULL;
        *t = (struct loop_timer){.loop = l, .fire = fire, .arg = arg, .position = NOT_ARMED};
        l->timers++;
        return t;
}

void loop_timer_set(struct loop_timer *t, msec_t in_ms) {
        struct loop *l = t->loop;
        if (t->position != NOT_ARMED)
                heap_remove(l, t);
        msec_t now = clock_mono_ms(l->clock);
        t->due = in_ms <= 0 ? now : in_ms > INT64_MAX - now ? INT64_MAX : now + in_ms;
        t->order = l->order++;
        heap_up(l, l->armed++, t);
        /* An alarm that comes too early finds nothing due and is set again; only one too late matters. */
        if (t->position == 0)
                set_alarm(l, 0);
}

void loop_timer_cancel(struct loop_timer *t) {
        if (t->position != NOT_ARMED)
                heap_remove(t->loop, t);
}

bool loop_timer_is_set(const struct loop_timer *t) {
        return t->position != NOT_ARMED;
}

struct loop_timer *loop_timer_free(struct loop_timer *t) {
        if (!t)
                return NULL;
        loop_timer_cancel(t);
        t->loop->timers--;
        free(t);
        return NULL;
}

/* ---- posts */

static void run_posts(struct loop *l) {
        pthread_mutex_lock(&l->posts_lock);
        struct post *p = l->first_post;
        l->first_post = NULL;
        l->last_post = &l->first_post;
        pthread_mutex_unlock(&l->posts_lock);
        while (p) {
                struct post *next = p->next;
                p->fn(p->arg);
                free(p);
                p = next;
        }
}

static void on_wakeup(uv_async_t *handle) {
        run_posts(handle->data);
}

int loop_post(struct loop *l, void (*fn)(void *arg), void *arg) {
        struct post *p = malloc(sizeof(*p));
        if (!p)
                return -ENOMEM;
        *p = (struct post){.fn = fn, .arg = arg};
        pthread_mutex_lock(&l->posts_lock);
        *l->last_post = p;
        l->last_post = &p->next;
        (void)uv_async_send(&l->wakeup);
        pthread_mutex_unlock(&l->posts_lock);
        return 0;
}

/* ---- worker pool */

struct work {
        uv_work_t request;
        void (*work)(void *arg);
        void (*done)(void *arg);
        void *arg;
};

static void on_work(uv_work_t *request) {
        struct work *w = request->data;
        w->work(w->arg);
}

static void on_work_done(uv_work_t *request, int status) {
        struct work *w = request->data;
        void (*done)(void *arg) = w->done;
        void *arg = w->arg;
        free(w);
        if (done)
                done(arg);
}

int loop_work(struct loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg) {
        struct work *w = malloc(sizeof(*w));
        if (!w)
                return -ENOMEM;
        *w = (struct work){.work = work, .done = done, .arg = arg};
        w->request.data = w;
        if (uv_queue_work(&l->uv, &w->request, on_work, on_work_done) < 0) {
                free(w);
                return -ENOMEM;
        }
        return 0;
}

/* ---- signals */

static void on_uv_signal(uv_signal_t *handle, int number) {
        struct loop *l = handle->data;
        if (number == SIGINT) {
                if (l->interrupted) {
                        loop_stop(l, 128 + SIGINT);
                        return;
                }
                l->interrupted = true;
        }
        l->on_signal(l->signal_arg, number);
}

int loop_on_signals(struct loop *l, void (*on_signal)(void *arg, int signal), void *arg) {
        l->on_signal = on_signal;
        l->signal_arg = arg;
        if (l->signals_used)
                return 0;
        for (size_t i = 0; i < SIGNAL_COUNT; i++) {
                int r = uv_signal_init(&l->uv, &l->signals[i]);
                if (r < 0)
                        return r;
                l->signals[i].data = l;
                r = uv_signal_start(&l->signals[i], on_uv_signal, signal_numbers[i]);
                if (r < 0)
                        return r;
        }
        l->signals_used = true;
        return 0;
}

/* ---- the loop */

int loop_new(struct loop **ret, struct err **err) {
        struct loop *l = calloc(1, sizeof(*l));
        if (!l)
                return err_set(err, ENOMEM, "out of memory for the event loop");
        l->clock = clock_system();
        l->last_post = &l->first_post;
        int r = uv_loop_init(&l->uv);
        if (r < 0) {
                free(l);
                return err_set(err, -r, "start the event loop: %s", uv_strerror(r));
        }
        pthread_mutex_init(&l->posts_lock, NULL);
        r = uv_async_init(&l->uv, &l->wakeup, on_wakeup);
        if (r >= 0)
                r = uv_timer_init(&l->uv, &l->alarm);
        if (r < 0) {
                loop_free(l);
                return err_set(err, -r, "start the event loop: %s", uv_strerror(r));
        }
        l->wakeup.data = l->alarm.data = l;
        /* A peer that closes its end must be an error of the write, not the end of the process. libuv puts
         * the default back in the processes it starts. */
        signal(SIGPIPE, SIG_IGN);
        *ret = l;
        return 0;
}

static void close_handle(uv_handle_t *handle, void *arg) {
        if (!uv_is_closing(handle))
                uv_close(handle, NULL);
}

struct loop *loop_free(struct loop *l) {
        if (!l)
                return NULL;
        /* Work in hand runs to its end and what was posted is still called, since both own memory; either may
         * post again or start work, hence the rounds. */
        do {
                run_posts(l);
                uv_walk(&l->uv, close_handle, NULL);
                (void)uv_run(&l->uv, UV_RUN_DEFAULT);
        } while (l->first_post || uv_loop_close(&l->uv) == UV_EBUSY);
        pthread_mutex_destroy(&l->posts_lock);
        free(l->heap);
        free(l);
        return NULL;
}

uv_loop_t *loop_uv(struct loop *l) {
        return &l->uv;
}

const struct clock *loop_clock(struct loop *l) {
        return l->clock;
}

int loop_run(struct loop *l) {
        while (!l->stopped)
                (void)uv_run(&l->uv, UV_RUN_DEFAULT); /* the wakeup handle keeps it going */
        l->stopped = false;
        return l->exit_code;
}

void loop_stop(struct loop *l, int exit_code) {
        l->exit_code = exit_code;
        l->stopped = true;
        uv_stop(&l->uv);
}
