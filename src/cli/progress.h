/* SPDX-License-Identifier: Apache-2.0 */
/* A progress bar on standard error, for work that takes longer than a person waits without asking. Silent
 * where standard error is no terminal. Safe to call from any thread, as often as one likes: it draws at most
 * ten times a second. */
#pragma once

#include "base/clock.h"

struct progress;
struct progress *progress_new(void); /* NULL when memory is out: the other calls take that */
/* label: "push web:1.2.0 linux/amd64"; done and total in bytes, total 0 where it is not known. */
void progress_show(struct progress *p, const char *label, int64_t done, int64_t total);
/* Takes the bar away. */
struct progress *progress_free(struct progress *p);
DEFINE_CLEANUP(struct progress, progress_free)
