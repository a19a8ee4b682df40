/* SPDX-License-Identifier: Apache-2.0 */
/* A rollout (API shape, with members) drawn for a terminal, and told line by line where there is none. Pure.
 */
#pragma once

#include "cli/print.h"

struct rollout_look {
        size_t width, height; /* of the terminal; height 0: as many lines as it takes */
        bool colour, unicode;
        bool whole; /* reasons are not cut but go on in further lines, and what one can do next is told: for a
                       picture that is not drawn over */
};

/* Appends whole lines, none wider than look->width (but for words that are): what it is, a bar for each wave,
 * and the nodes that are not well or under way, with their reasons. */
void rollout_draw(struct buf *out, const json_t *rollout, msec_t now, const struct rollout_look *look);

/* Appends a line for everything that is different from before (NULL: for everything): phases, waves, nodes
 * that failed. */
void rollout_tell(struct buf *out, const json_t *before, const json_t *rollout, msec_t now);

/* How a member's state is dressed: to have gone back without having failed is no fault of the node's. */
enum style rollout_member_style(const json_t *member);
/* "skerry rollout retry edge tries ...": what one can do about a rollout that failed or waits; NULL for
 * others. Malloc'ed. */
char *rollout_next_step(const json_t *rollout) _must_use_;

bool rollout_is_final(const json_t *rollout);
/* What a program wants to know of a finished rollout: EXIT_SUCCESS when it succeeded. */
int rollout_exit_code(const json_t *rollout);

/* How many of a bar's cells each count gets: each that is not 0 gets at least one where there is room, and
 * all cells are given out when any count is not 0. */
void rollout_bar(const int64_t *counts, size_t n, size_t cells, size_t *ret_cells);
