/* SPDX-License-Identifier: Apache-2.0 */
/* How many connections each address has open. Loopback is not counted: proxies and tests come from there. */
#pragma once

#include "base/macros.h"

struct address_count;

struct address_count *address_count_new(void) _must_use_;
struct address_count *address_count_free(struct address_count *a);
/* One more; -EUSERS when that would be more than limit, -ENOMEM. What was added must be taken back. */
int address_count_add(struct address_count *a, const char *address, uint32_t limit);
void address_count_remove(struct address_count *a, const char *address);
