/* SPDX-License-Identifier: Apache-2.0 */
/* What this node may decrypt, and where the plain text of it lies: nowhere but in memory.
 *
 * The node's age identity is made when it enrols, kept in <state>/identity/age-identity.txt (0600), and told
 * to nobody; its recipient, the public half, is among the node's facts. Files that apps get from secrets lie
 * in a folder of this agent in a file system that lives in memory and is never swapped: ramfs, tmpfs with
 * `noswap`, or tmpfs on a machine without swap (compressed memory, zram, is none). Where there is none such,
 * and the agent may mount, it mounts a ramfs. */
#pragma once

#include "base/secret.h"
#include "fleet/app.h"
#include "repo/object_store.h"

struct secrets;

/* folder: where the files go; NULL: /run/skerry-secrets, else /dev/shm/skerry-secrets. Nothing is made yet.
 * The identity is read where there is one. */
int secrets_new(const char *state, const char *folder, struct secrets **ret, struct err **err);
struct secrets *secrets_free(struct secrets *s);
DEFINE_CLEANUP(struct secrets, secrets_free)

/* Makes the identity where there is none. The folder <state>/identity must be there. */
int secrets_ensure_identity(struct secrets *s, struct err **err);
const char *secrets_recipient(const struct secrets *s); /* NULL: no identity */

/* Decrypts one value of a file in the store. -ENOKEY: this node is no recipient (the error says what to do).
 */
int secrets_read(const struct secrets *s, struct object_store *objects, const char *node,
                 const struct app_secret *what, struct secret **ret, struct err **err);

/* The folder of an app in memory: "<folder>/<tag>/<app>", made when it is not there (0711). -EPERM: it
 * belongs to somebody else; -EOPNOTSUPP: there is no memory that is never swapped. */
int secrets_make_folder(struct secrets *s, const char *app, char **ret, struct err **err);
/* Its path, whether or not it is there; NULL when there is none. */
char *secrets_find_folder(const struct secrets *s, const char *app) _must_use_;

/* Is there swap that leads to a disk, by /proc/swaps? For tests: of a text. */
bool secrets_swap_leads_to_disk(const char *proc_swaps) _pure_;
