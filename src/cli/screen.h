/* SPDX-License-Identifier: Apache-2.0 */
/* A piece of the terminal that is drawn over in place, without flicker: lines are written over, not cleared
 * first, in one write, between the marks of synchronized output where the terminal knows them. */
#pragma once

#include "base/buf.h"

struct screen {
        int fd;
        size_t lines; /* that the last picture took */
        bool hidden;  /* the cursor */
};

/* Shows text (whole lines, none wider than the terminal, no more than it is high) in place of the last one.
 * -EPIPE and the like when it cannot be written. */
int screen_draw(struct screen *s, const char *text);
/* Leaves the last picture standing, gives the cursor back; what is printed next comes below. */
void screen_end(struct screen *s);
