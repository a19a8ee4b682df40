/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the publisher share; for repo/tuf_publisher*.c alone. */
#pragma once

#include "base/table.h"
#include "repo/tuf/publisher.h"

#define REPOSITORY_FORMAT 1
#define REPOSITORY_FILE_MAX ((size_t)4 << 20)

struct tuf_publisher {
        char *dir, *public_dir;
        struct tuf_publisher_options options;
        int lock_fd;
        json_t *config; /* repository.json */
        struct table *
                published; /* role -> struct tuf_metadata, what the public timestamp leads to; root: newest */
        struct table *staged;  /* role -> struct tuf_metadata */
        struct table *highest; /* role -> int64_t, highest version there is a file of, made public or not */
        struct table *signers; /* key id -> struct tuf_signer */
        struct table *absent;  /* key id -> anything: asked for and not at hand */
};

int64_t publisher_now_s(const struct tuf_publisher *p);
int publisher_check_writable(const struct tuf_publisher *p, struct err **err);

/* ---- Changes on the disk: each asks the tests' hook first. */
int publisher_before_change(const struct tuf_publisher *p, const char *what);
int publisher_write(const struct tuf_publisher *p, const char *path, const void *data, size_t len,
                    mode_t mode, struct err **err);
int publisher_remove(const struct tuf_publisher *p, const char *path, struct err **err);
/* DIR/a or DIR/a/b; malloc'ed. */
char *publisher_path(const struct tuf_publisher *p, const char *a, const char *b);
int publisher_save_config(struct tuf_publisher *p, json_t *config, struct err **err); /* takes config over */

/* ---- Roles */
enum tuf_type publisher_type(const char *role);
/* Staged, else published; NULL: neither. */
struct tuf_metadata *publisher_effective(const struct tuf_publisher *p, const char *role);
/* Who vouches for a role now: root or the delegator as it is staged or else published. */
struct publisher_voucher {
        const char *name; /* of the delegator */
        const struct tuf_metadata *m;
        const struct tuf_role *role;
        const struct tuf_delegation *delegation; /* NULL for top-level roles */
};
int publisher_voucher(const struct tuf_publisher *p, const char *role, struct publisher_voucher *ret,
                      struct err **err);
/* All roles there are: root, targets, delegated ones in their order, each once. strv. */
int publisher_roles(const struct tuf_publisher *p, char ***ret, struct err **err);
/* Enough signatures on m to be published as `role`? Root: by the published one's keys, too. */
int publisher_check_ready(const struct tuf_publisher *p, const char *role, const struct tuf_metadata *m,
                          struct err **err);

/* ---- Editing. edit: a copy of what counts now, with the next version and a new expiry time. stage: checks
 * it, without signatures or with those given, and writes it to staged/. Both take over what they are given.
 */
int publisher_edit(struct tuf_publisher *p, const char *role, json_t **ret_signed, struct err **err);
int publisher_stage(struct tuf_publisher *p, const char *role, json_t *content, struct err **err);
int publisher_stage_document(struct tuf_publisher *p, const char *role, json_t *document, struct err **err);
json_t *publisher_empty_targets(const struct tuf_publisher *p, const char *role);
int64_t publisher_expires(const struct tuf_publisher *p, const char *role);
int publisher_put_version(json_t *content, int64_t version, int64_t expires_s);

/* ---- Keys */
/* By name, id or the beginning of an id: the name and the entry of repository.json. -ENOENT. */
int publisher_find_key(const struct tuf_publisher *p, const char *wanted, const char **ret_name,
                       const json_t **ret, struct err **err);
const char *publisher_key_name(const struct tuf_publisher *p,
                               const char *key_id); /* the id when it has none */
const json_t *publisher_key_entry(const struct tuf_publisher *p, const char *key_id);
/* NULL in *ret: not at hand. */
int publisher_signer(struct tuf_publisher *p, const char *key_id, struct tuf_signer **ret, struct err **err);
/* The ids of all keys whose signature on `role` can be of use: of its voucher, and of the published root.
 * strv. */
int publisher_useful_keys(const struct tuf_publisher *p, const char *role, char ***ret, struct err **err);
/* Adds to the document the signatures of those keys that are at hand and have not signed; how many. */
int publisher_sign_document(struct tuf_publisher *p, const char *role, json_t *document,
                            const char *const *only, size_t n_only, size_t *ret_made, struct err **err);
/* Adds or replaces one signature. */
int publisher_put_signature(json_t *document, const char *key_id, const char *hex);
