/* SPDX-License-Identifier: Apache-2.0 */
/* A hash table from strings to pointers, in insertion order, safe against chosen keys (SipHash with a
 * per-process key). Keys are copied; values belong to the caller unless a destructor is given. */
#pragma once

#include "base/macros.h"

struct table;
typedef void (*table_destroy_fn)(void *value);

struct table *table_new(table_destroy_fn destroy) _must_use_; /* destroy may be NULL */
struct table *table_free(struct table *t);
DEFINE_CLEANUP(struct table, table_free)

size_t table_len(const struct table *t);
void *table_get(const struct table *t, const char *key); /* NULL: absent (values are never NULL) */
/* Adds or replaces (a replaced value is destroyed); 0 or -ENOMEM. */
int table_set(struct table *t, const char *key, void *value);
/* Removes and destroys; false when there was none. */
bool table_remove(struct table *t, const char *key);
/* Removes and hands the value over; NULL when there was none. */
void *table_take(struct table *t, const char *key);

/* In insertion order; removing the current entry while iterating is allowed, adding is not.
 *   for (size_t i = 0; table_next(t, &i, &key, &value);) */
bool table_next(const struct table *t, size_t *position, const char **ret_key, void **ret_value);
