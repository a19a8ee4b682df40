/* SPDX-License-Identifier: Apache-2.0 */
/* What the other end of a descriptor can show. */
#pragma once

#include "base/macros.h"

/* Columns of the terminal at fd; else $COLUMNS; else 80. Never below 40. */
size_t terminal_width(int fd);
/* Lines of the terminal at fd; else $LINES; else 24. */
size_t terminal_height(int fd);
/* Is fd a terminal that understands cursor movement (not TERM=dumb)? */
bool terminal_is_live(int fd);
/* The same, and the person has not said NO_COLOR (https://no-color.org). */
bool terminal_has_colour(int fd);
