/* SPDX-License-Identifier: Apache-2.0 */
#include "server/turns.h"

#include <errno.h>

#include "base/list.h"
#include "base/log.h"
#include "server/memory.h"

struct effect {
        void (*fn)(void *arg, int error);
        void *arg;
};

struct turn {
        struct list link; /* in turns.queue, oldest first */
        struct turns *owner;
        struct db_batch *batch; /* NULL until a row is added, and after submission */
        struct effect *effects;
        size_t n_effects, cap_effects;
        bool stored; /* or refused, then error */
        int error;
};

struct turns {
        struct loop *loop;
        struct db *db;
        struct list queue;    /* submitted, not yet released */
        struct turn *current; /* gathering */
        bool posted, releasing, closing;
};

struct turns *turns_new(struct loop *l, struct db *db) {
        struct turns *t = NEW(struct turns);
        t->loop = l;
        t->db = db;
        list_init(&t->queue);
        return t;
}

static void turn_free(struct turn *turn) {
        db_batch_free(turn->batch);
        free(turn->effects);
        free(turn);
}

/* Runs the effects of every turn at the head of the queue that is stored. */
static void turns_release(struct turns *t) {
        if (t->releasing)
                return;
        t->releasing = true;
        while (!list_is_empty(&t->queue)) {
                struct turn *turn = LIST_ENTRY(t->queue.next, struct turn, link);
                if (!turn->stored)
                        break;
                list_remove(&turn->link);
                for (size_t i = 0; i < turn->n_effects; i++)
                        turn->effects[i].fn(turn->effects[i].arg, turn->error);
                turn_free(turn);
        }
        t->releasing = false;
}

static void turn_stored(void *arg, int error, const char *message) {
        struct turn *turn = arg;
        turn->stored = true;
        if (turn->error == 0)
                turn->error = error;
        if (error < 0)
                log_error("the database refused a change", "error", message, NULL);
        if (!turn->owner->closing)
                turns_release(turn->owner);
}

static void turns_submit(struct turns *t) {
        struct turn *turn = TAKE_PTR(t->current);
        if (!turn)
                return;
        list_append(&t->queue, &turn->link);
        if (!turn->batch || db_batch_is_empty(turn->batch)) {
                turn->stored = true;
                turns_release(t);
                return;
        }
        db_submit(t->db, TAKE_PTR(turn->batch), turn_stored, turn);
}

static void turn_ended(void *arg) {
        struct turns *t = arg;
        t->posted = false;
        if (!t->closing)
                turns_submit(t);
}

static struct turn *turns_current(struct turns *t) {
        if (!t->current) {
                t->current = NEW(struct turn);
                t->current->owner = t;
                list_init(&t->current->link);
        }
        if (!t->posted) {
                t->posted = true;
                must_do(loop_post(t->loop, turn_ended, t));
        }
        return t->current;
}

struct db_batch *turns_batch(struct turns *t) {
        struct turn *turn = turns_current(t);
        if (!turn->batch)
                turn->batch = must(db_batch_new());
        return turn->batch;
}

void turns_check(struct turns *t, int r) {
        if (r == -ENOMEM)
                must(NULL);
        if (r < 0) {
                log_error("a change could not be written down", NULL);
                turns_current(t)->error = r;
        }
}

void turns_after(struct turns *t, void (*fn)(void *arg, int error), void *arg) {
        struct turn *turn = turns_current(t);
        if (turn->n_effects == turn->cap_effects) {
                turn->cap_effects = turn->cap_effects ? 2 * turn->cap_effects : 8;
                turn->effects = must(reallocarray(turn->effects, turn->cap_effects, sizeof(*turn->effects)));
        }
        turn->effects[turn->n_effects++] = (struct effect){fn, arg};
}

size_t turns_waiting(const struct turns *t) {
        size_t n = 0;
        for (const struct list *it = t->queue.next; it != &t->queue; it = it->next)
                n++;
        return n;
}

void turns_finish(struct turns *t) {
        t->closing = true;
        struct turn *last = TAKE_PTR(t->current);
        if (!last)
                return;
        list_append(&t->queue, &last->link);
        if (last->batch)
                db_submit(t->db, TAKE_PTR(last->batch), turn_stored, last);
}

struct turns *turns_free(struct turns *t) {
        if (!t)
                return NULL;
        LIST_FOREACH (it, &t->queue) {
                struct turn *turn = LIST_ENTRY(it, struct turn, link);
                for (size_t i = 0; i < turn->n_effects; i++)
                        turn->effects[i].fn(turn->effects[i].arg, -ECANCELED);
                list_remove(it);
                turn_free(turn);
        }
        if (t->current) { /* what ended while the loop was being freed */
                for (size_t i = 0; i < t->current->n_effects; i++)
                        t->current->effects[i].fn(t->current->effects[i].arg, -ECANCELED);
                turn_free(t->current);
        }
        free(t);
        return NULL;
}
