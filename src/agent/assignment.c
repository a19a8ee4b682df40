/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/assignment.h"

#include <errno.h>
#include <string.h>

#include "agent/assigned_artifact.h"
#include "agent/window.h"
#include "base/fs.h"
#include "base/str.h"
#include "crypto/digest.h"
#include "fleet/labels.h"
#include "fleet/revision.h"

#define ASSIGNMENT_SIGNATURES_MAX 16
#define ASSIGNMENT_BINDING_MAX ((size_t)4 << 20) /* arena that the labels and variables are checked in */

static int check_binding(const struct assignment *a, struct err **err) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(ASSIGNMENT_BINDING_MAX);
        struct pairs pairs;
        int r;

        if (!arena)
                return err_set_errno(err, ENOMEM, "labels");
        r = pairs_from_json(arena, a->labels, label_key_is_valid, label_value_is_valid, &pairs, err);
        if (r < 0)
                return err_wrap(err, "labels");
        r = pairs_from_json(arena, a->variables, variable_name_is_valid, variable_value_is_valid, &pairs,
                            err);
        if (r < 0)
                return err_wrap(err, "variables");
        return 0;
}

static int read_revision(const json_t *body, struct assignment *a, struct err **err) {
        const json_t *revision = json_object_get(body, "revision");
        int r;

        if (!revision || json_is_null(revision))
                return 0;
        if ((r = json_read_string(revision, "sha256", &a->revision, err)) < 0 ||
            (r = json_read_int(revision, "length", &a->revision_length, err)) < 0)
                return err_wrap(err, "revision");
        if (!sha256_hex_is_valid(a->revision))
                return err_set(err, EINVAL, "revision: '%.80s' is no SHA-256", a->revision);
        if (a->revision_length < 0 || a->revision_length > (int64_t)REVISION_MAX)
                return err_set(err, EINVAL, "revision: length %lld is not between 0 and %u",
                               (long long)a->revision_length, REVISION_MAX);
        return 0;
}

static int read_body(const json_t *body, struct assignment *a, struct err **err) {
        const char *type;
        int r;

        if ((r = json_read_string(body, "_type", &type, err)) < 0)
                return r;
        if (!str_eq(type, "assignment"))
                return err_set(err, EINVAL, "_type is '%.32s', not 'assignment'", type);
        int64_t issued_at = 0;
        if ((r = json_read_int(body, "version", &a->version, err)) < 0 ||
            (r = json_read_string(body, "node", &a->node, err)) < 0 ||
            (r = json_read_optional_int(body, "issuedAt", &issued_at, err)) < 0 ||
            (r = json_read_optional_string(body, "fleet", &a->fleet, err)) < 0 ||
            (r = json_read_optional_string(body, "rollout", &a->rollout, err)) < 0 ||
            (r = json_read_optional_string(body, "commit", &a->commit, err)) < 0 ||
            (r = json_read_object(body, "labels", &a->labels, err)) < 0 ||
            (r = json_read_object(body, "variables", &a->variables, err)) < 0)
                return r;
        a->issued_at = issued_at;
        if (a->version <= 0)
                return err_set(err, EINVAL, "version %lld is not above 0", (long long)a->version);
        const json_t *artifacts = json_object_get(body, "artifacts");
        if (artifacts && !json_is_null(artifacts)) {
                if ((r = assigned_artifacts_check(artifacts, err)) < 0)
                        return r;
                a->artifacts = artifacts;
        }
        const char *apply = NULL;
        if ((r = json_read_optional_string(body, "apply", &apply, err)) < 0)
                return r;
        if (apply && !str_eq(apply, "Wait") && !str_eq(apply, "Now"))
                return err_set(err, EINVAL, "apply is '%.32s', neither 'Now' nor 'Wait'", apply);
        a->waits = str_eq(apply, "Wait");
        const json_t *schedule = json_object_get(body, "schedule");
        if (schedule && !json_is_null(schedule)) {
                _cleanup_(window_freep) struct window *w = NULL;
                if ((r = window_new(schedule, &w, err)) < 0)
                        return r;
                a->schedule = schedule;
        }
        r = read_revision(body, a, err);
        return r < 0 ? r : check_binding(a, err);
}

int assignment_parse(const json_t *document, struct assignment **ret, struct err **err) {
        const json_t *body, *signatures;
        int r;

        if ((r = json_read_object(document, "signed", &body, err)) < 0 ||
            (r = json_read_array(document, "signatures", &signatures, err)) < 0)
                return err_wrap(err, "assignment");

        _cleanup_(assignment_freep) struct assignment *a = calloc(1, sizeof(*a));
        if (!a)
                return err_set_errno(err, ENOMEM, "assignment");
        a->document = json_pack("{s:O, s:O}", "signed", body, "signatures", signatures);
        if (!a->document)
                return err_set_errno(err, ENOMEM, "assignment");
        if (read_body(body, a, err) < 0)
                return err_wrap(err, "assignment");
        *ret = TAKE_PTR(a);
        return 0;
}

static int check_signatures(const json_t *document, const struct bundle *bundle, struct err **err) {
        const json_t *signatures = json_object_get(document, "signatures"), *s;
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        size_t i;
        int r;

        if (json_array_size(signatures) > ASSIGNMENT_SIGNATURES_MAX)
                return err_set(err, EINVAL, "more than %d signatures", ASSIGNMENT_SIGNATURES_MAX);
        text.limit = ASSIGNMENT_MAX;
        r = json_encode_canonical(json_object_get(document, "signed"), &text, err);
        if (r < 0)
                return r;
        json_array_foreach (signatures, i, s) {
                const char *key_id, *signature;
                if ((r = json_read_string(s, "keyid", &key_id, err)) < 0 ||
                    (r = json_read_string(s, "sig", &signature, err)) < 0)
                        return r;
                struct key *k = bundle_assignment_key(bundle, key_id);
                if (k && key_verify(k, text.data, text.len, signature, NULL) == 0)
                        return 0;
        }
        return err_set(err, EKEYREJECTED, "no signature by an assignment key of this node's bundle fits");
}

int assignment_verify(const json_t *document, const struct bundle *bundle, const char *node,
                      const struct assignment *held, int64_t floor, struct assignment **ret,
                      struct err **err) {
        _cleanup_(assignment_freep) struct assignment *a = NULL;
        int r = assignment_parse(document, &a, err);
        if (r < 0)
                return r;
        if (check_signatures(a->document, bundle, err) < 0)
                return err_wrap(err, "assignment");
        if (!str_eq(a->node, node))
                return err_set(err, EXDEV, "assignment: it is for node %.64s, this is node %s", a->node,
                               node);
        if (held && a->version == held->version) {
                if (json_equal(json_object_get(a->document, "signed"),
                               json_object_get(held->document, "signed")))
                        return err_set(err, EALREADY, "assignment: version %lld is held already",
                                       (long long)a->version);
                return err_set(err, ESTALE, "assignment: version %lld was given before with other content",
                               (long long)a->version);
        }
        if (a->version < floor || (held && a->version < held->version))
                return err_set(err, ESTALE,
                               "assignment: version %lld is lower than %lld, which was seen before",
                               (long long)a->version, (long long)(held ? MAX(held->version, floor) : floor));
        *ret = TAKE_PTR(a);
        return 0;
}

struct assignment *assignment_free(struct assignment *a) {
        if (!a)
                return NULL;
        json_decref(a->document);
        free(a);
        return NULL;
}

int assignment_store(const struct assignment *a, const char *path, struct err **err) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        int r = json_encode_canonical(a->document, &text, err);
        if (r < 0)
                return err_wrap(err, "assignment");
        return file_write_atomic(path, text.data, text.len, 0600, err);
}

int assignment_load(const char *path, struct assignment **ret, struct err **err) {
        _cleanup_(x_freep) char *text = NULL;
        _cleanup_json_ json_t *j = NULL;
        size_t len;
        int r = file_read(path, ASSIGNMENT_MAX * 2, &text, &len, err);
        if (r < 0)
                return r;
        if (json_decode(text, len, &j, err) < 0)
                return err_wrap(err, "%s", path);
        r = assignment_parse(j, ret, err);
        return r < 0 ? err_wrap(err, "%s", path) : 0;
}
