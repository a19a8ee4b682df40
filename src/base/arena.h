/* SPDX-License-Identifier: Apache-2.0 */
/* An arena: many small allocations with one lifetime, released together.
 *
 * One arena belongs to one thread at a time. Memory is zeroed and aligned for any type. */
#pragma once

#include "base/macros.h"

struct arena;

/* limit: most bytes it will hold (0: no limit). NULL when memory is out. */
struct arena *arena_new(size_t limit) _must_use_;
struct arena *arena_free(struct arena *a);
DEFINE_CLEANUP(struct arena, arena_free)

/* NULL when memory is out or the limit is met. */
void *arena_alloc(struct arena *a, size_t size) _must_use_;
/* n * size with overflow check. */
void *arena_calloc(struct arena *a, size_t n, size_t size) _must_use_;
char *arena_strdup(struct arena *a, const char *s) _must_use_;
char *arena_strndup(struct arena *a, const char *s, size_t n) _must_use_;
char *arena_printf(struct arena *a, const char *format, ...) _printf_(2, 3) _must_use_;
void *arena_memdup(struct arena *a, const void *p, size_t n) _must_use_;
/* Bytes handed out so far. */
size_t arena_used(const struct arena *a);
