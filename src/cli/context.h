/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts: which servers a person talks to, and with what token. Like kubectl's, in one YAML file:
 *
 *   currentContext: lab
 *   contexts:
 *     - name: lab
 *       server: https://fleet.example.org:8443
 *       token: ska_...
 *       pin: 5f3c...        # only where the token has none
 *
 * The file holds secrets: it is written 0600, whole or not at all. */
#pragma once

#include "cli/cli.h"

struct cli_context {
        char *name;
        char *server; /* "https://host[:port]", without a trailing slash */
        char *token;  /* or NULL */
        char *pin;    /* hex SHA-256 of the root's public key, or NULL */
};

struct context_file {
        char *path;
        char *current; /* or NULL */
        struct cli_context *items;
        size_t n;
};

/* --config or $SKERRY_CONFIG, else $XDG_CONFIG_HOME/skerry/config.yaml, else ~/.config/skerry/config.yaml.
 * Malloc'ed; -ENOENT when there is no home. */
int context_file_path(const struct cli_globals *g, char **ret, struct err **err);
/* An absent file has no contexts. */
int context_file_load(const char *path, struct context_file *ret, struct err **err);
int context_file_save(const struct context_file *f, struct err **err);
void context_file_done(struct context_file *f);

/* NULL when there is none of that name; *err (may be NULL) then says so, with the nearest one. Borrowed. */
struct cli_context *context_file_find(const struct context_file *f, const char *name, struct err **err);
/* Adds or replaces. */
int context_file_set(struct context_file *f, const char *name, const char *server, const char *token,
                     const char *pin, struct err **err);
/* -ENOENT. Removing the current one leaves none current. */
int context_file_remove(struct context_file *f, const char *name, struct err **err);

/* "fleet.example.org:8443" or a URL, made whole and checked: https, or http to this very machine.
 * Malloc'ed. */
int server_url_normalise(const char *text, char **ret, struct err **err);

/* The one to use: --context / $SKERRY_CONTEXT or the current one; $SKERRY_SERVER and $SKERRY_TOKEN go over
 * what it says (and are enough without any). */
int context_resolve(const struct cli_globals *g, struct cli_context *ret, struct err **err);
/* Is there anything that context_resolve() could take? */
bool context_exists(const struct cli_globals *g);
void cli_context_done(struct cli_context *c);
