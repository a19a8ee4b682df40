/* SPDX-License-Identifier: Apache-2.0 */
/* The publisher's side of a repository (docs/formats/repository.md): a work folder, from which a folder of
 * static files is made and kept.
 *
 *   DIR/public/           what is served: metadata/, targets/, chunks/, deltas/
 *   DIR/staged/ROLE.json  the next version of a role, being edited or gathering signatures
 *   DIR/keys/NAME.pem     private keys, where they are kept here at all
 *   DIR/repository.json   the keys by name and how to sign with each, how long each role is good for
 *
 * Typical use: open, add_target()..., publish(), free. Calls block on the disk. A publisher holds DIR's lock
 * from open to free, so two never interleave; it belongs to one thread at a time. Killed at any point it
 * leaves the old or the new state to readers and the staged work whole: the same call again goes on. Target
 * files are put in place when they are added (nobody knows of them before the metadata names them). */
#pragma once

#include <jansson.h>

#include "base/clock.h"
#include "base/err.h"
#include "repo/tuf/metadata.h"

struct tuf_publisher;

struct tuf_publisher_options {
        const struct clock *clock; /* NULL: the machine's */
        /* Asks for the passphrase of a key, when it is first needed; malloc'ed. -ENOKEY: none to be had, the
         * key is then not at hand. NULL: keys under a passphrase are not at hand. */
        int (*passphrase)(void *arg, const char *key_name, char **ret, struct err **err);
        void *passphrase_arg;
        bool read_only; /* for status, listing, verification: no lock, and nothing is written */
        /* Tests: called before every change on the disk; non-zero ends the call with it. */
        int (*before_change)(void *arg, const char *what);
        void *before_change_arg;
};

struct tuf_publisher_init {
        enum signing_scheme scheme;      /* of the keys that are made */
        const char *passphrase;          /* of the keys root-1 and targets-1; NULL: none */
        bool one_key;                    /* a single key "online" for all roles: development */
        bool no_keys;                    /* make none: `keys` below are listed for the roles instead */
        struct tuf_key *keys[TUF_TYPES]; /* by enum tuf_type; used where not NULL instead of a new one */
};
/* Makes DIR (which must be missing, or an empty folder), its keys and the first staged root and targets.
 * -EEXIST. */
int tuf_publisher_init(const char *dir, const struct tuf_publisher_init *i,
                       const struct tuf_publisher_options *o, struct err **err);
/* -ENOENT: no repository there; -EBUSY: another publisher has it open (the message says its process id). */
int tuf_publisher_open(const char *dir, const struct tuf_publisher_options *o, struct tuf_publisher **ret,
                       struct err **err);
struct tuf_publisher *tuf_publisher_free(struct tuf_publisher *p);
DEFINE_CLEANUP(struct tuf_publisher, tuf_publisher_free)
const char *tuf_publisher_public_dir(const struct tuf_publisher *p); /* "DIR/public" */

/* ---- Targets. role NULL: "targets" when adding, any when looking. What is staged counts before what is
 * published. */

/* Copies the file into public/targets (a hard link where `link` is set and it can be; then nobody may write
 * to it any more) under its consistent-snapshot name, durable, and stages the entry. custom: a new reference
 * is taken; NULL: none. Replaces an entry of the same path. -EINVAL: a path that is no path, or not the
 * role's to name. */
int tuf_publisher_add_target(struct tuf_publisher *p, const char *target_path, const char *source_file,
                             json_t *custom, const char *role, bool link, struct err **err);
/* As above, from memory. */
int tuf_publisher_add_target_bytes(struct tuf_publisher *p, const char *target_path, const void *data,
                                   size_t len, json_t *custom, const char *role, struct err **err);
/* Gives an entry another `custom` (yank, replacedBy); the file stays. -ENOENT. */
int tuf_publisher_set_custom(struct tuf_publisher *p, const char *target_path, json_t *custom,
                             const char *role, struct err **err);
/* -ENOENT. The file stays until tuf_publisher_sweep(). */
int tuf_publisher_remove_target(struct tuf_publisher *p, const char *target_path, const char *role,
                                struct err **err);
/* Valid until the next call that changes anything. -ENOENT. */
int tuf_publisher_find(struct tuf_publisher *p, const char *target_path, const char *role,
                       struct tuf_target *ret, struct err **err);
int tuf_publisher_each(struct tuf_publisher *p, const char *role,
                       int (*fn)(void *arg, const struct tuf_target *t), void *arg);
/* Removes target files that neither published nor staged metadata names; how many went and their bytes. */
int tuf_publisher_sweep(struct tuf_publisher *p, size_t *ret_files, int64_t *ret_bytes, struct err **err);

/* ---- Keys. A name is a DNS label or such joined by dots; a key is named by it, by its key id, or by the
 * beginning of its id (8 digits at least). */
struct tuf_publisher_key {
        const char *name, *id;
        const struct tuf_key *key;
        const char *file;    /* below DIR, or absolute; or NULL */
        const char *command; /* or NULL; neither: its signatures come by tuf_publisher_submit() */
        bool encrypted;      /* file: under a passphrase */
        const char *roles;   /* that list it now, "root,targets"; "" for none */
};
int tuf_publisher_each_key(struct tuf_publisher *p, int (*fn)(void *arg, const struct tuf_publisher_key *k),
                           void *arg);
int tuf_publisher_generate_key(struct tuf_publisher *p, const char *name, enum signing_scheme scheme,
                               const char *passphrase, struct err **err);
/* A key kept elsewhere: file or command or neither. */
int tuf_publisher_register_key(struct tuf_publisher *p, const char *name, struct tuf_key *key,
                               const char *file, const char *command, struct err **err);

/* ---- Roles */
struct tuf_publisher_role {
        const char *name;
        int64_t published, staged;    /* versions; 0: none */
        int64_t expires_s;            /* of the published one */
        size_t signatures, threshold; /* of the staged one (else the published one) */
        size_t n_keys;
        size_t n_targets;
        const char *missing; /* names of keys that could still sign the staged one, comma separated; "" */
        bool ready;          /* enough signatures, root: by the published root's threshold, too */
};
int tuf_publisher_each_role(struct tuf_publisher *p, int (*fn)(void *arg, const struct tuf_publisher_role *r),
                            void *arg);

struct tuf_publisher_delegation {
        const char *name;        /* of the new role */
        const char *const *keys; /* names or ids */
        size_t n_keys;
        int64_t threshold;        /* 0: 1 */
        const char *const *paths; /* patterns, or */
        size_t n_paths;
        const char *const *hash_prefixes;
        size_t n_hash_prefixes;
        bool terminating;
};
/* Adds a delegation to `delegator` ("targets" or a delegated role), or replaces that of the same name in its
 * place; stages an empty first version of the new role. */
int tuf_publisher_delegate(struct tuf_publisher *p, const char *delegator,
                           const struct tuf_publisher_delegation *d, struct err **err);
int tuf_publisher_undelegate(struct tuf_publisher *p, const char *delegator, const char *role,
                             struct err **err);
/* Changes who signs a role: keys to add and to take away, threshold (0: as it is). Stages root (for the
 * top-level roles) or the delegator, and the role itself, whose signatures must be of its keys now. */
int tuf_publisher_rotate(struct tuf_publisher *p, const char *role, const char *const *add, size_t n_add,
                         const char *const *remove, size_t n_remove, int64_t threshold, struct err **err);
/* How long new versions of a role are good for. role NULL: of those that have no period of their own. */
int tuf_publisher_set_expiry(struct tuf_publisher *p, const char *role, int64_t seconds, struct err **err);
/* Stages a new version that changes nothing but the expiry time. */
int tuf_publisher_renew(struct tuf_publisher *p, const char *role, struct err **err);
/* Throws the staged version of a role away. -ENOENT. */
int tuf_publisher_discard(struct tuf_publisher *p, const char *role, struct err **err);

/* Signs what is staged (role NULL: all of it) with the keys at hand that are asked for (keys NULL: all). How
 * many signatures were made. */
int tuf_publisher_sign(struct tuf_publisher *p, const char *role, const char *const *keys, size_t n_keys,
                       size_t *ret_made, struct err **err);

/* ---- Signing elsewhere. What is prepared is a metadata file with the signatures there are: TUF's own
 * format, so other tools can sign it, too. */
int tuf_publisher_prepare(struct tuf_publisher *p, const char *role, char **ret, size_t *ret_len,
                          struct err **err);
/* The very bytes to be signed, for a signer that knows nothing of TUF. */
int tuf_publisher_prepare_bytes(struct tuf_publisher *p, const char *role, char **ret, size_t *ret_len,
                                struct err **err);
/* Adds a signature to a prepared file; needs no repository. */
int tuf_prepared_sign(const char *data, size_t len, struct tuf_signer *s, char **ret, size_t *ret_len,
                      struct err **err);
/* Takes signatures back: a prepared file that was signed. Its "signed" must be what is staged, or (a
 * delegated role's owner edits it himself) a newer version of a delegated role. How many were new. -ESTALE:
 * it was edited since; -EKEYREJECTED: a signature does not fit. */
int tuf_publisher_submit(struct tuf_publisher *p, const char *role, const char *data, size_t len,
                         size_t *ret_new, struct err **err);
/* One signature (hex) over tuf_publisher_prepare_bytes(). */
int tuf_publisher_submit_signature(struct tuf_publisher *p, const char *role, const char *key,
                                   const char *signature_hex, struct err **err);

/* ---- Publishing */
struct tuf_publish_result {
        int64_t root, timestamp, snapshot, targets; /* versions that are public now */
        size_t roles;                               /* how many roles were new */
        int64_t timestamp_earlier_s; /* how much sooner than the one before it the timestamp expires; else 0
                                      */
};
/* Signs what is staged with the keys at hand, then makes it public together with a new snapshot and
 * timestamp; with nothing staged it makes a new timestamp (and a new snapshot where half of its time is
 * over). Nothing is public before all is signed: -ENOKEY names roles and keys that are missing, and the way
 * out. result may be NULL.
 */
int tuf_publisher_publish(struct tuf_publisher *p, struct tuf_publish_result *result, struct err **err);
/* The newest root that is public, to be given to nodes and people; malloc'ed. -ENOENT: nothing published yet.
 */
int tuf_publisher_root(struct tuf_publisher *p, char **ret, size_t *ret_len, struct err **err);

/* ---- A published folder, seen as a client sees it. */
struct tuf_verify_options {
        int64_t now_s;
        const char
                *trusted_root; /* bytes of the root to begin with; NULL: 1.root.json of the folder itself */
        size_t trusted_root_len;
        bool metadata_only; /* target files: only that they are there with the right length */
        void (*progress)(void *arg, int64_t done, int64_t total);
        void *arg;
};
struct tuf_verify_result {
        int64_t root, timestamp, snapshot, targets;
        int64_t expires_s; /* the earliest of all roles */
        char expires_role[TUF_ROLE_NAME_MAX + 1];
        size_t roles, files;
        int64_t bytes;
};
/* All metadata by the client's workflow, every target file by length and digest. The error is that of the
 * first thing that does not fit. */
int tuf_verify_folder(const char *public_dir, const struct tuf_verify_options *o,
                      struct tuf_verify_result *ret, struct err **err);
