/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/audit_chain.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/str.h"
#include "codec/json.h"

#define SEQUENCE_MAX ((int64_t)1 << 53) /* what every reader of JSON can hold */

static int put(json_t *o, const char *key, json_t *value) {
        return value && json_object_set_new(o, key, value) == 0 ? 0 : -ENOMEM;
}

static int put_text(json_t *o, const char *key, const char *text) {
        if (!text)
                return 0;
        json_t *value = json_string(text);
        return put(o, key, value ? value : json_string("(no text)")); /* not UTF-8 */
}

int audit_record_make(const struct audit_head *head, const struct audit_act *act, msec_t time, json_t **ret) {
        _cleanup_json_ json_t *j = json_object();
        char when[TIME_TEXT_SIZE];
        if (!j || put(j, "sequence", json_integer(head->sequence + 1)) < 0 ||
            put_text(j, "time", time_format(time, when)) < 0 || put_text(j, "actor", act->actor) < 0 ||
            put_text(j, "token", act->token) < 0 || put_text(j, "address", act->address) < 0 ||
            put_text(j, "act", act->act) < 0)
                return -ENOMEM;
        if (act->kind) {
                json_t *on = json_object();
                if (put(j, "on", on) < 0 || put_text(on, "kind", act->kind) < 0 ||
                    put_text(on, "name", act->name) < 0)
                        return -ENOMEM;
        }
        if (put_text(j, "reason", act->reason) < 0 ||
            (act->detail && put(j, "detail", json_incref((json_t *)act->detail)) < 0) ||
            put_text(j, "previous", head->digest) < 0)
                return -ENOMEM;
        *ret = TAKE_PTR(j);
        return 0;
}

int audit_record_digest(const json_t *record, char out[SHA256_HEX_SIZE], struct err **err) {
        _cleanup_json_ json_t *bare = json_copy((json_t *)record);
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        if (!bare)
                return err_set_errno(err, ENOMEM, "audit record");
        (void)json_object_del(bare, "digest");
        int r = json_encode_canonical(bare, &text, err);
        if (r < 0)
                return r;
        if (buf_failed(&text))
                return err_set_errno(err, ENOMEM, "audit record");
        sha256_hex(text.data, text.len, out);
        return 0;
}

/* What is wrong with the place of a record, if it is not the one that was to come. */
static int check_place(const struct audit_check *c, int64_t sequence, struct err **err) {
        int64_t wanted = c->head.sequence + 1;
        if (sequence == wanted)
                return 0;
        if (sequence < wanted)
                return err_set(err, EBADMSG,
                               "record %" PRId64 " stands where record %" PRId64
                               " should: it was moved or put "
                               "in twice",
                               sequence, wanted);
        if (sequence == wanted + 1)
                return err_set(err, EBADMSG, "record %" PRId64 " is missing, or was moved", wanted);
        return err_set(err, EBADMSG, "records %" PRId64 " to %" PRId64 " are missing, or were moved", wanted,
                       sequence - 1);
}

int audit_check_record(struct audit_check *c, const json_t *record, struct err **err) {
        _cleanup_(err_freep) struct err *why = NULL;
        int64_t sequence = 0;
        const char *previous = NULL, *digest = NULL;
        char made[SHA256_HEX_SIZE];
        if (!json_is_object(record) || json_read_int(record, "sequence", &sequence, &why) < 0 ||
            json_read_string(record, "previous", &previous, &why) < 0 ||
            json_read_string(record, "digest", &digest, &why) < 0 || sequence < 1 || sequence > SEQUENCE_MAX)
                return err_set(err, EBADMSG, "what follows record %" PRId64 " is no audit record%s%s",
                               c->head.sequence, why ? ": " : "", why ? err_message(why) : "");
        if (c->first == 0 && sequence > 1) { /* a part of the log */
                if (!sha256_hex_is_valid(previous))
                        return err_set(err, EBADMSG,
                                       "record %" PRId64 " was altered: its previous is no digest", sequence);
                c->head.sequence = sequence - 1;
                memcpy(c->head.digest, previous, sizeof(c->head.digest));
        } else if (c->first == 0) {
                c->head = AUDIT_HEAD_NONE;
        }
        int r = check_place(c, sequence, err);
        if (r < 0)
                return r;
        r = audit_record_digest(record, made, &why);
        if (r == -ENOMEM)
                return err_move(err, TAKE_PTR(why));
        if (r < 0 || !str_eq(made, digest))
                return err_set(err, EBADMSG,
                               "record %" PRId64 " was altered: its digest is not that of what it says",
                               sequence);
        if (!str_eq(previous, c->head.digest))
                return err_set(err, EBADMSG,
                               "record %" PRId64 " does not follow record %" PRId64 ": one of the two was "
                               "replaced",
                               sequence, c->head.sequence);
        if (c->first == 0)
                c->first = sequence;
        c->head.sequence = sequence;
        memcpy(c->head.digest, made, sizeof(made));
        return 0;
}

int audit_check_end(const struct audit_check *c, const struct audit_head *newest, struct err **err) {
        if (c->head.sequence >= newest->sequence)
                return 0;
        return err_set(err, EBADMSG,
                       "record %" PRId64 " is missing: the log ends with record %" PRId64 " and had %" PRId64
                       " before",
                       c->head.sequence + 1, c->head.sequence, newest->sequence);
}

int audit_head_parse(const char *text, struct audit_head *ret, struct err **err) {
        const char *colon = strchr(text, ':');
        _cleanup_(x_freep) char *number = colon ? str_dup_n(text, (size_t)(colon - text)) : NULL;
        struct audit_head head = {0};
        if (!number || str_to_i64(number, &head.sequence) < 0 || head.sequence < 0 ||
            !sha256_hex_is_valid(colon + 1))
                return err_set(err, EINVAL,
                               "%.100s is no head: it is written SEQUENCE:DIGEST, as 'skerry audit "
                               "head' prints it",
                               text);
        memcpy(head.digest, colon + 1, sizeof(head.digest));
        *ret = head;
        return 0;
}
