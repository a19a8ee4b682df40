/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the repository's metadata as any client does, verified, and makes the director's catalog of it: at
 * the start, every few seconds where the repository is a folder, every minute where it is somebody's server,
 * and when asked. Files are read and signatures verified on the worker pool.
 *
 * The server's first root is the one it finds; from then on new ones come by the chain.
 * STATE/director/trusted/ holds what was verified (repo/tuf/client.h). */
#pragma once

#include "server/control.h"

struct catalog_reader;

int catalog_reader_open(struct control *c, struct err **err);
void catalog_reader_start(struct control *c);
void catalog_reader_stop(struct control *c); /* lets go of the loop; what is under way ends unheard */
struct catalog_reader *catalog_reader_free(struct catalog_reader *r);

/* Looks now; once more after the look that is under way. */
void catalog_reader_look(struct control *c);
