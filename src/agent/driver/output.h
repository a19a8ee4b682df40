/* SPDX-License-Identifier: Apache-2.0 */
/* What an app's process prints: a file that the process itself appends to, so that nothing is lost while
 * the agent is away. Kept small by copy and truncate: past OUTPUT_FILE_MAX the newest part moves to
 * "<path>.1" and the file starts anew (lines printed in that very moment may be lost). */
#pragma once

#include <sys/types.h>

#include "base/err.h"

#define OUTPUT_FILE_MAX ((off_t)1 << 20)

/* For appending; makes the folder. Returns a descriptor in *ret_fd and the size so far. */
int output_open(const char *path, int *ret_fd, off_t *ret_size, struct err **err);
/* Rotates when it is due. *ret_size is the size after. */
int output_trim(const char *path, off_t *ret_size);
/* The last line that is not blank, of what was printed from offset `since` on (from the start where the
 * file was rotated meanwhile); control characters become blanks. "" when there is none. */
void output_last_line(const char *path, off_t since, char *out, size_t size);
/* The last non-blank line of a text, made fit for a message. */
void text_last_line(const char *text, size_t len, char *out, size_t size);
