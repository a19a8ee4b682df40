/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for what nobody else may see: pages of its own that are locked (never swapped), left out of core
 * dumps, gone in a forked child, and wiped before they are given back. */
#pragma once

#include "base/macros.h"

#define SECRET_MAX ((size_t)16 << 20)

struct secret;

/* Zeroed, with room for size bytes and a NUL behind them. inherited: a forked child sees it too, for what is
 * to be handed over at an exec. Where the machine lets us lock no memory (RLIMIT_MEMLOCK) it is not locked:
 * then secret_is_locked() is false. NULL when memory is out or size is over SECRET_MAX. */
struct secret *secret_new(size_t size, bool inherited) _must_use_;
struct secret *secret_free(struct secret *s);
DEFINE_CLEANUP(struct secret, secret_free)

char *secret_data(struct secret *s);
const char *secret_text(const struct secret *s); /* NUL-terminated at secret_len() */
size_t secret_len(const struct secret *s);
size_t secret_room(const struct secret *s); /* bytes that fit in all */
/* What holds. len at most secret_room(); the rest is wiped. */
void secret_set_len(struct secret *s, size_t len);
bool secret_is_locked(const struct secret *s);
