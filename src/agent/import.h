/* SPDX-License-Identifier: Apache-2.0 */
/* An import: artifacts, and an assignment, from a folder that somebody carried here (`skerry repo export`),
 * with the same verification as over a link. The folder is laid out as a published repository, holding a part
 * of one, and may hold `assignments/<node>.json` and `objects/sha256/<hex>` (the files of revisions).
 *
 * It runs in the agent when one runs (asked by the socket <state>/import.sock, whose peer must be root or the
 * agent's own user), else in the command itself; the folder must stay until it has ended. */
#pragma once

#include "agent/delivery.h"

struct import;
struct import_host {
        struct delivery_host delivery; /* filled; node may be "" while there is none */
        /* An assignment from the folder: verify, store, act on it. 0, -EALREADY, or the reason in err. May be
         * NULL: this machine has no identity yet. */
        int (*assign)(void *arg, const json_t *document, struct err **err);
        /* Something is there now that was not. May be NULL. */
        void (*arrived)(void *arg);
        void *arg;
        /* A line for people; then done(): 0, or -Exxx with a message. Never from within import_start(). */
        void (*say)(void *arg, const char *line);
        void (*done)(void *arg, int error, const char *message);
        void *report_arg;
};
int import_start(const struct import_host *host, const char *folder, struct import **ret, struct err **err);
struct import *import_free(struct import *i);
