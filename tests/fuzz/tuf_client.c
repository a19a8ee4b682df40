/* SPDX-License-Identifier: Apache-2.0 */
/* The TUF client against a repository whose keys are in the worst hands: each line is what is "signed" in the
 * next file that the client asks for, and this harness signs it. "k" in key lists stands for the harness's
 * key; an empty line is a file that is not there. */
#include <string.h>

#include "base/str.h"
#include "base/table.h"
#include "codec/json.h"
#include "repo/tuf/client.h"

#define FILES_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
        if (!holds)
                abort();
}

/* ---- The store */

struct entry {
        char *data;
        size_t len;
};
static void entry_free(void *p) {
        struct entry *e = p;
        free(e->data);
        free(e);
}
static int load(void *arg, const char *name, char **ret, size_t *ret_len) {
        const struct entry *e = table_get(arg, name);
        if (!e)
                return -2; /* ENOENT */
        *ret = str_dup_n(e->data, e->len);
        *ret_len = e->len;
        return 0;
}
static int save(void *arg, const char *name, const char *data, size_t len, struct err **err) {
        struct entry *e = calloc(1, sizeof(*e));
        check(e && !strchr(name, '/') && str_has_suffix(name, ".json"));
        e->data = str_dup_n(data, len);
        e->len = len;
        check(table_set(arg, name, e) == 0);
        return 0;
}
static int forget(void *arg, const char *name) {
        (void)table_remove(arg, name);
        return 0;
}

/* ---- The thief */

struct thief {
        struct signing_key *secret;
        struct tuf_key *key;
        const char *at, *end; /* lines still to come */
};

static void put_key(const struct thief *t, json_t *holder) {
        json_t *keys = json_object_get(holder, "keys");
        if (json_is_object(keys))
                check(json_object_set(keys, "k", (json_t *)tuf_key_json(t->key)) == 0);
}

/* NULL: no JSON, or nothing that can be signed. */
static char *sign(const struct thief *t, const char *text, size_t len) {
        _cleanup_(json_decrefp) json_t *content = NULL, *document = NULL;
        _cleanup_(buf_done) struct buf bytes = BUF_INIT;
        _cleanup_(tuf_signer_freep) struct tuf_signer *signer = NULL;
        _cleanup_(x_freep) char *hex = NULL;
        if (json_decode(text, len, &content, NULL) < 0)
                return NULL;
        put_key(t, content);
        put_key(t, json_object_get(content, "delegations"));
        if (json_encode_olpc(content, &bytes, NULL) < 0)
                return NULL;
        check(tuf_signer_from_key(t->secret, &signer, NULL) == 0);
        check(tuf_sign(signer, buf_str(&bytes), bytes.len, &hex, NULL) == 0);
        document =
                json_pack("{s:O, s:[{s:s, s:s}]}", "signed", content, "signatures", "keyid", "k", "sig", hex);
        return document ? json_dumps(document, JSON_COMPACT) : NULL;
}

static void feed(struct tuf_client *c, struct thief *t) {
        const struct tuf_need *need;
        for (int files = 0; (need = tuf_client_need(c)); files++) {
                check(str_has_prefix(need->path, "metadata/") && need->max_bytes <= TUF_TARGETS_MAX);
                if (t->at >= t->end || files >= FILES_MAX) {
                        tuf_client_missing(c);
                        if (files >= FILES_MAX && tuf_client_need(c))
                                tuf_client_abandon(c, -5, "enough");
                        continue;
                }
                const char *line = t->at, *stop = memchr(line, '\n', (size_t)(t->end - line));
                size_t len = (size_t)((stop ? stop : t->end) - line);
                t->at = stop ? stop + 1 : t->end;
                _cleanup_(x_freep) char *text = len > 0 ? sign(t, line, len) : NULL;
                if (text)
                        tuf_client_give(c, text, strlen(text));
                else if (len > 0)
                        tuf_client_give(c, line, len);
                else
                        tuf_client_missing(c);
        }
}

static int see(void *arg, const struct tuf_target *t) {
        check(t->path[0] && t->role && t->length >= 0);
        return 0;
}

static void drive(struct tuf_client *c, struct thief *t) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct tuf_versions before, after;
        tuf_client_versions(c, &before);
        tuf_client_refresh(c, 1763650000);
        feed(c, t);
        int r = tuf_client_result(c, &err);
        check(r == 0 || (r < 0 && err));
        tuf_client_versions(c, &after);
        check(after.root >= before.root);
        if (r < 0)
                return;
        check(after.timestamp >= 1 && after.snapshot >= 1 && after.targets >= 1);
        tuf_client_find(c, "a/b");
        feed(c, t);
        if (tuf_client_result(c, NULL) == 0)
                check(str_eq(tuf_client_found(c)->path, "a/b"));
        tuf_client_load_all(c);
        feed(c, t);
        (void)tuf_client_result(c, NULL);
        check(tuf_client_each(c, see, NULL) == 0);
}

static char *first_root(const struct thief *t) {
        static const char text[] = "{\"_type\":\"root\",\"spec_version\":\"1.0.34\",\"version\":1,"
                                   "\"expires\":\"2030-01-01T00:00:00Z\","
                                   "\"consistent_snapshot\":true,\"keys\":{},\"roles\":{\"root\":{\"keyids\":"
                                   "[\"k\"],\"threshold\":1},"
                                   "\"timestamp\":{\"keyids\":[\"k\"],\"threshold\":1},\"snapshot\":{"
                                   "\"keyids\":[\"k\"],\"threshold\":1},"
                                   "\"targets\":{\"keyids\":[\"k\"],\"threshold\":1}}}";
        return sign(t, text, strlen(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct thief t = {.at = (const char *)data, .end = (const char *)data + size};
        _cleanup_(table_freep) struct table *memory = table_new(entry_free);
        _cleanup_(tuf_client_freep) struct tuf_client *c = NULL, *again = NULL;
        const struct tuf_store store = {memory, load, save, forget};
        check(signing_key_generate(SIGNING_ED25519, &t.secret, NULL) == 0);
        check(tuf_key_from_signing_key(t.secret, &t.key, NULL) == 0);
        _cleanup_(x_freep) char *root = first_root(&t);
        check(root && tuf_client_new(&store, root, strlen(root), &c, NULL) == 0);
        drive(c, &t);
        drive(c, &t);
        /* What was stored is good to begin with again. */
        check(tuf_client_new(&store, NULL, 0, &again, NULL) == 0);
        drive(again, &t);
        tuf_client_resume(again, 1763650000);
        check(tuf_client_need(again) == NULL);
        tuf_key_free(t.key);
        signing_key_free(t.secret);
        return 0;
}
