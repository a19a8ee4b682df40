/* SPDX-License-Identifier: Apache-2.0 */
/* Structured logging for the programs (libraries are silent).
 *
 * Records go to the systemd journal when standard error is connected to it (JOURNAL_STREAM), else to
 * standard error as one line: time, level, message, key=value pairs (values quoted where needed).
 * Safe from any thread. Fields set with log_context_set() go with every record of the process. */
#pragma once

#include "base/macros.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_init(const char *program, enum log_level max);
int log_level_from_string(const char *s, enum log_level *ret); /* -EINVAL */
void log_set_max_level(enum log_level max);
/* value NULL removes the field. At most 16 fields of 256 bytes. */
void log_context_set(const char *key, const char *value);

/* After the message come pairs of strings, key then value (NULL value: skipped), ended by NULL:
 *   log_info("wave started", "rollout", id, "wave", name, NULL); */
void log_write(enum log_level level, const char *message, ...) __attribute__((sentinel));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
