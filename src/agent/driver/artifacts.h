/* SPDX-License-Identifier: Apache-2.0 */
/* Artifacts of an app on the machine (types tree and file): made ready from their payloads, shown by symbolic
 * links at their `path`, held against the payload at every check. The links are the files driver's to remove,
 * since the ledger lists them among the app's files. */
#pragma once

#include "agent/driver/driver.h"

/* A part beside the app's own driver; only for a unit with artifacts of these types. */
extern const struct driver artifacts_driver;
bool artifacts_are_shown(const struct unit *unit); /* unit may be NULL */

/* Where a name of the app leads: a relative one in the folder of its first tree or file, one below an
 * artifact's `path` in that artifact; NULL in *ret when it is neither. malloc'ed. -EXDEV: it climbs out.
 * -ENOENT: the artifact is not described on this node. */
int artifacts_resolve(const struct driver_host *host, const struct unit *unit, const char *name, char **ret,
                      struct err **err);
