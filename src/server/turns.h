/* SPDX-License-Identifier: Apache-2.0 */
/* Durable before effect.
 *
 * What happens in one turn of the loop (reports, commands, compile results) changes memory at once and
 * adds its rows to one batch, which is submitted when the turn ends. What others may see of it
 * (assignments, events, answers to calls) is an effect: it waits until the batch is on disk. Effects are
 * released in the order in which they were made, across turns. So a kill at any point loses nothing
 * that anybody was told. */
#pragma once

#include "db/db.h"

struct turns;

struct turns *turns_new(struct loop *l, struct db *db) _must_use_;
/* The end has two steps: turns_finish() submits what is gathered, the database is closed (which writes
 * it), the loop is freed, and then turns_free() calls the effects that still wait with -ECANCELED. */
void turns_finish(struct turns *t);
struct turns *turns_free(struct turns *t);

/* The batch of this turn; valid until the callback that asked for it returns. */
struct db_batch *turns_batch(struct turns *t);
#define turns_write(t, ...) turns_check((t), db_batch_add(turns_batch(t), __VA_ARGS__))
void turns_check(struct turns *t, int r);

/* Calls fn(arg, 0) once all rows added so far are durable, or fn(arg, error) when they were refused
 * (then the message is in the log). Called exactly once, never from inside this call. */
void turns_after(struct turns *t, void (*fn)(void *arg, int error), void *arg);

/* Batches that wait for the disk, for the status page. */
size_t turns_waiting(const struct turns *t);
