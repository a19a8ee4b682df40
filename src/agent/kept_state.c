/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kept_state.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/str.h"
#include "codec/json.h"
#include "crypto/digest.h"

#define SPARE ".spare"

struct copy {
        json_t *document;
        int64_t saved;
        int error; /* 0, -ENOENT, -EBADMSG or of the file system */
};

static void copy_done(struct copy *c) {
        json_decref(c->document);
        c->document = NULL;
}

/* The number is covered, too. */
static int digest_of(int64_t saved, const json_t *state, char digest[SHA256_HEX_SIZE]) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        _cleanup_json_ json_t *covered = json_pack("{s:I, s:O}", "saved", (json_int_t)saved, "state", state);
        int r = covered ? json_encode_canonical(covered, &text, NULL) : -ENOMEM;
        if (r == 0)
                sha256_hex(text.data, text.len, digest);
        return r;
}

static int check(const json_t *document, int64_t *ret_saved) {
        const json_t *state = json_object_get(document, "state");
        const char *told;
        char digest[SHA256_HEX_SIZE];
        if (!json_is_object(state) || json_read_int(document, "saved", ret_saved, NULL) < 0 ||
            json_read_string(document, "sha256", &told, NULL) < 0)
                return -EBADMSG;
        int r = digest_of(*ret_saved, state, digest);
        if (r < 0)
                return r;
        return str_eq(digest, told) ? 0 : -EBADMSG;
}

static void read_copy(const char *path, struct copy *ret) {
        _cleanup_(x_freep) char *text = NULL;
        size_t len;
        *ret = (struct copy){.saved = -1};
        ret->error = file_read(path, KEPT_STATE_MAX, &text, &len, NULL);
        if (ret->error < 0)
                return;
        if (json_decode(text, len, &ret->document, NULL) < 0)
                ret->error = -EBADMSG;
        else
                ret->error = check(ret->document, &ret->saved);
        if (ret->error < 0)
                ret->saved = -1;
}

static bool is_damaged(const struct copy *c) {
        return c->error < 0 && c->error != -ENOENT;
}

static int read_both(const char *path, struct copy copies[2]) {
        _cleanup_(x_freep) char *spare = str_format("%s" SPARE, path);
        if (!spare)
                return -ENOMEM;
        read_copy(path, &copies[0]);
        read_copy(spare, &copies[1]);
        return 0;
}

static bool is_plain(const json_t *document) {
        return json_is_integer(json_object_get(document, "format")) && !json_object_get(document, "saved") &&
               !json_object_get(document, "sha256") && !json_object_get(document, "state");
}

int kept_state_read(const char *path, json_t **ret, unsigned *ret_damaged, struct err **err) {
        struct copy copies[2] = {0};
        int r = read_both(path, copies);
        if (r < 0)
                return err_set_errno(err, -r, "read %s", path);
        /* Written before there were spares: as good as it ever was. */
        if (copies[0].error == -EBADMSG && copies[1].error == -ENOENT && is_plain(copies[0].document)) {
                *ret = json_incref(copies[0].document);
                *ret_damaged = 0;
                copy_done(&copies[0]);
                return 0;
        }
        const struct copy *best = copies[1].saved > copies[0].saved ? &copies[1] : &copies[0];
        unsigned damaged = 0;
        for (size_t i = 0; i < 2; i++) /* one that is missing beside the other went, too */
                damaged += is_damaged(&copies[i]) || (best->error == 0 && copies[i].error < 0);
        if (best->error == 0) {
                *ret = json_incref(json_object_get(best->document, "state"));
                *ret_damaged = damaged;
        } else if (!is_damaged(&copies[0]) && !is_damaged(&copies[1])) {
                r = err_set(err, ENOENT, "%s: there is none", path);
        } else {
                *ret_damaged = damaged;
                r = is_damaged(&copies[0]) ? copies[0].error : copies[1].error;
                r = err_set_errno(err, -r, "%s and its spare copy are damaged, or cannot be read", path);
        }
        copy_done(&copies[0]);
        copy_done(&copies[1]);
        return r;
}

int kept_state_write(const char *path, json_t *state, struct err **err) {
        struct copy copies[2] = {0};
        _cleanup_(x_freep) char *spare = str_format("%s" SPARE, path), *text = NULL;
        char digest[SHA256_HEX_SIZE];
        int r = read_both(path, copies);
        int64_t saved = MAX(MAX(copies[0].saved, copies[1].saved), (int64_t)0) + 1;
        copy_done(&copies[0]);
        copy_done(&copies[1]);
        if (r == 0)
                r = digest_of(saved, state, digest);
        if (r < 0 || !spare)
                return err_set_errno(err, r < 0 ? -r : ENOMEM, "write %s", path);
        _cleanup_json_ json_t *document =
                json_pack("{s:I, s:s, s:O}", "saved", (json_int_t)saved, "sha256", digest, "state", state);
        if (!document || !(text = json_encode_compact(document)))
                return err_set_errno(err, ENOMEM, "write %s", path);
        r = file_write_atomic(spare, text, strlen(text), 0600, err);
        return r < 0 ? r : file_write_atomic(path, text, strlen(text), 0600, err);
}
