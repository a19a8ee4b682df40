/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands `skerry secret ...` share: whose identities there are, files read and replaced, and which
 * nodes a file is meant for. */
#pragma once

#include "cli/cli.h"
#include "fleet/sops.h"

struct secret_globals {
        struct cli_globals globals;
        char *identity; /* --identity */
};
#define SECRET_IDENTITY_OPTION(type)                                                                         \
        {                                                                                                    \
                "identity", 'i', OPTION_STRING, offsetof(type, secret.identity), "FILE", NULL,               \
                        "File with the age identity that opens it (default: $SOPS_AGE_KEY, "                 \
                        "$SOPS_AGE_KEY_FILE, "                                                               \
                        "~/.config/sops/age/keys.txt)",                                                      \
                        "file"                                                                               \
        }

/* A SOPS file as it lies on disk; opened: with an identity of ours, its MAC checked. */
int secret_load(const char *path, struct sops **ret, struct err **err);
int secret_load_open(const struct secret_globals *s, const char *path, struct sops **ret, struct err **err);
/* Replaces the file atomically, with the mode it has. */
int secret_store(const char *path, const struct buf *content, struct err **err);
void secret_time(char out[32]); /* now, as SOPS writes it */

/* Nodes that the server knows. */
struct secret_node {
        char *name, *recipient; /* recipient NULL: it has told none */
};
struct secret_nodes {
        struct secret_node *items;
        size_t n;
};
void secret_nodes_done(struct secret_nodes *n);
/* fleets and nodes (NULL-terminated, may be NULL) say which; neither: all. -ENOENT names what is not there.
 */
int secret_nodes_read(const struct cli_globals *g, char *const *fleets, char *const *names,
                      struct secret_nodes *ret, struct err **err);
/* The name of the node with this recipient, or NULL. */
const char *secret_nodes_name(const struct secret_nodes *n, const char *recipient);
