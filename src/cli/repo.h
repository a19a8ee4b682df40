/* SPDX-License-Identifier: Apache-2.0 */
/* What the `skerry repo` commands share: the work folder of a repository, and passphrases. */
#pragma once

#include "cli/cli.h"
#include "repo/tuf/publisher.h"

/* The settings struct of each of these commands begins with these. */
struct repo_globals {
        struct cli_globals globals;
        char *repository, *passphrase_file;
};
#define REPO_OPTIONS                                                                                         \
        {                                                                                                    \
                "repository", 'r', OPTION_STRING, offsetof(struct repo_globals, repository), "DIR", ".",     \
                        "The repository's work folder, as made by 'skerry repo init'"                        \
        }
#define REPO_KEY_OPTIONS                                                                                     \
        {                                                                                                    \
                "passphrase-file", 0, OPTION_STRING, offsetof(struct repo_globals, passphrase_file), "FILE", \
                        NULL,                                                                                \
                        "File with the passphrase of the signing keys (default: asked for on the terminal)"  \
        }
#define REPO_SCHEMES "ed25519,ecdsa"

int repo_open(const struct repo_globals *g, bool read_only, struct tuf_publisher **ret, struct err **err);
/* For struct tuf_publisher_options; arg: the passphrase file, or NULL to ask on the terminal. */
int repo_passphrase(void *arg, const char *key_name, char **ret, struct err **err);
/* For a key that is made: from the file, or asked for twice; *ret NULL when the answer was empty. */
int repo_new_passphrase(const char *file, const char *key_name, char **ret, struct err **err);
enum signing_scheme repo_scheme(const char *name);
/* Says on standard error which roles expire soon, and what to do. */
void repo_warn_of_expiry(struct tuf_publisher *p);
/* Says on standard error when this machine's clock seems to have been behind at publishing. */
void repo_warn_of_clock(const struct tuf_publish_result *result);
/* Says on standard error when others may read the file; NULL is fine. */
void repo_warn_of_passphrase_file(const char *file);
/* "in 6d", "expired 2h ago". */
const char *repo_expiry_text(int64_t expires_s, char *out, size_t size);
/* A whole file; "-" is standard input. */
int repo_read(const char *path, size_t limit, char **ret, size_t *ret_len, struct err **err);
/* To a file, or standard output for NULL and "-". */
int repo_write(const char *path, const char *data, size_t len, struct err **err);
