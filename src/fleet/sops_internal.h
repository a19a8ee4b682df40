/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of SOPS files, shared by reading (sops.c), values (sops_value.c) and writing (sops_write.c). */
#pragma once

#include <jansson.h>
#include <regex.h>

#include "fleet/sops.h"

#define SOPS_KEY_SIZE 32
#define SOPS_NAME_MAX 256 /* of a rule */

struct sops_rule {
        enum {
                SOPS_UNENCRYPTED_SUFFIX,
                SOPS_ENCRYPTED_SUFFIX,
                SOPS_UNENCRYPTED_REGEX,
                SOPS_ENCRYPTED_REGEX
        } kind;
        const char *text;
        regex_t regex; /* of the last two */
        bool compiled;
};
#define SOPS_RULES 4
extern const char *const sops_rule_names[SOPS_RULES]; /* as the section calls them */

struct sops {
        char *name;
        struct arena *arena;
        char *text;
        size_t len;
        const struct value *root, *section;
        bool json;
        const char **recipients, **keys; /* recipient and encrypted data key of each */
        size_t n_recipients;
        const char *modified, *mac;
        bool mac_only_encrypted;
        struct sops_rule rule;
        struct secret *data_key; /* once open */
};

int sops_rule_make(const char *name, const struct sops_rules *from, struct sops_rule *ret, struct err **err);
void sops_rule_done(struct sops_rule *r);

/* The way to a value: its keys, without list positions. */
struct sops_path {
        const char *keys[64];
        size_t n;
};
bool sops_path_is_encrypted(const struct sops_path *p, const struct sops_rule *rule);
/* "db:password:", what a value is bound to. */
int sops_path_text(const struct sops_path *p, struct buf *out);

/* Calls visit for each value but nulls, in the order of the file; not for the section. */
struct sops_visitor {
        int (*visit)(void *arg, const struct value *v, const struct sops_path *p, struct err **err);
        void *arg;
};
int sops_walk(const struct value *v, const struct sops_visitor *visitor, struct err **err);
const struct value *sops_locate(const struct sops *s, const char *pointer, struct sops_path *path,
                                struct err **err, int *ret_error);

/* ---- values */
enum sops_type { SOPS_STR, SOPS_INT, SOPS_FLOAT, SOPS_BOOL, SOPS_BYTES, SOPS_TIME, SOPS_COMMENT };
bool sops_is_cipher_text(const char *text);
/* -EBADMSG. The plain text as it is told to the MAC. */
int sops_value_open(const char *text, const uint8_t key[SOPS_KEY_SIZE], const char *additional,
                    enum sops_type *ret_type, struct secret **ret);
int sops_value_seal(const void *plain, size_t n, enum sops_type type, const uint8_t key[SOPS_KEY_SIZE],
                    const char *additional, struct buf *out);
/* What a value in plain text is, as it is told to the MAC. -EINVAL: others would read it differently. */
int sops_value_text(const struct value *v, enum sops_type *ret_type, struct buf *out, struct err **err);
/* As Go's 'f' with the fewest digits; -EINVAL for what is no finite number. */
int sops_float_text(double d, struct buf *out);

/* ---- the MAC */
struct sops_mac;
struct sops_mac *sops_mac_new(bool only_encrypted);
struct sops_mac *sops_mac_free(struct sops_mac *m);
DEFINE_CLEANUP(struct sops_mac, sops_mac_free)
void sops_mac_add(struct sops_mac *m, const void *p, size_t n);
void sops_mac_final(struct sops_mac *m, char ret[129]); /* upper-case hex */
