/* SPDX-License-Identifier: Apache-2.0 */
/* A fleet repository in a folder, compiled; and its faults, shown where they are. */
#pragma once

#include "cli/cli.h"
#include "fleet/compile.h"

/* Compiles DIR. inventory: nodes that the server knows. 0 also when there are faults: see the model's
 * diagnostics. */
int repository_compile(const char *dir, const struct fleet_node *inventory, size_t n_inventory,
                       struct fleet_model **ret, struct err **err);

int repository_compile_with(const char *dir, const struct fleet_compile_options *options,
                            struct fleet_model **ret, struct err **err);

struct diagnostics_look {
        const char *dir; /* for the source lines; NULL: without them */
        bool colour, unicode;
        size_t width; /* of the terminal; 0: lines are not broken */
};
/* How they look on a file descriptor; dir is used where that is a terminal. */
struct diagnostics_look diagnostics_look_of(int fd, const char *dir);
/* Appends every diagnostic: "file:line:column: error: message (did you mean ...)", and where dir is given the
 * source line beneath with a mark under the place. */
void repository_put_diagnostics(struct buf *out, const struct diagnostics *d,
                                const struct diagnostics_look *look);
