/* SPDX-License-Identifier: Apache-2.0 */
/* The chain of audit records: every way of tampering with it is found, and the first wrong record named. */
#include "fleet/audit_chain.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "codec/json.h"

#define RECORDS 6

/* RECORDS records in a row, with their digests. */
static json_t *log_make(void) {
        json_t *list = json_array();
        struct audit_head head = AUDIT_HEAD_NONE;
        for (int i = 1; i <= RECORDS; i++) {
                char name[16];
                json_t *record = NULL;
                (void)snprintf(name, sizeof(name), "node-%d", i);
                struct audit_act act = {.actor = "ada",
                                        .token = "k3jd",
                                        .address = "192.0.2.7",
                                        .act = "node.revoke",
                                        .kind = "Node",
                                        .name = name,
                                        .reason = i % 2 ? "stolen \"in K\xc3\xb6ln\"" : NULL};
                assert_int_equal(audit_record_make(&head, &act, 1700000000000 + i, &record), 0);
                head.sequence++;
                assert_int_equal(audit_record_digest(record, head.digest, NULL), 0);
                json_object_set_new(record, "digest", json_string(head.digest));
                json_array_append_new(list, record);
        }
        return list;
}

static int check(const json_t *list, struct audit_check *c, struct err **err) {
        size_t i;
        const json_t *record;
        *c = (struct audit_check){0};
        json_array_foreach (list, i, record) {
                int r = audit_check_record(c, record, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void expect(const json_t *list, const char *words) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct audit_check c;
        assert_int_equal(check(list, &c, &err), -EBADMSG);
        if (!strstr(err_message(err), words))
                fail_msg("%s, expected %s", err_message(err), words);
}

static void test_whole(void **state) {
        _cleanup_json_ json_t *list = log_make();
        struct audit_check c;
        assert_int_equal(check(list, &c, NULL), 0);
        assert_int_equal(c.first, 1);
        assert_int_equal(c.head.sequence, RECORDS);
        assert_string_equal(c.head.digest,
                            json_string_value(json_object_get(json_array_get(list, RECORDS - 1), "digest")));
        assert_null(json_object_get(json_object_get(json_array_get(list, 1), "on"), "reason"));
        struct audit_head newest = c.head;
        assert_int_equal(audit_check_end(&c, &newest, NULL), 0);
}

static void test_altered(void **state) {
        static const char *const fields[] = {"actor", "token",    "address", "act",
                                             "time",  "previous", "reason"};
        for (size_t f = 0; f < ARRAY_SIZE(fields); f++) {
                _cleanup_json_ json_t *list = log_make();
                json_object_set_new(
                        json_array_get(list, 2), fields[f],
                        json_string("0000000000000000000000000000000000000000000000000000000000000000"));
                expect(list, "record 3 was altered");
                json_object_del(json_array_get(list, 2), fields[f]);
                expect(list, str_eq(fields[f], "previous") ? "what follows record 2 is no audit record"
                                                           : "record 3 was altered");
        }
        _cleanup_json_ json_t *list = log_make();
        json_object_set_new(json_object_get(json_array_get(list, 4), "on"), "name", json_string("node-9"));
        expect(list, "record 5 was altered");
        json_object_set_new(json_array_get(list, 4), "note", json_string("put in"));
        expect(list, "record 5 was altered");
}

/* With the digest made anew, the next one betrays it. */
static void test_altered_and_made_anew(void **state) {
        _cleanup_json_ json_t *list = log_make();
        char digest[SHA256_HEX_SIZE];
        json_t *record = json_array_get(list, 2);
        json_object_set_new(record, "actor", json_string("bob"));
        assert_int_equal(audit_record_digest(record, digest, NULL), 0);
        json_object_set_new(record, "digest", json_string(digest));
        expect(list, "record 4 does not follow record 3");
}

static void test_removed_moved_cut(void **state) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct audit_check c;
        json_t *list = log_make();
        json_array_remove(list, 2);
        expect(list, "record 3 is missing");
        json_array_remove(list, 2);
        expect(list, "records 3 to 4 are missing");
        json_decref(list);

        list = log_make();
        json_array_insert(list, 1, json_array_get(list, 3));
        json_array_remove(list, 4);
        expect(list, "records 2 to 3 are missing, or were moved");
        json_decref(list);

        list = log_make();
        json_array_insert(list, 4, json_array_get(list, 1));
        expect(list, "record 2 stands where record 5 should");
        json_decref(list);

        list = log_make();
        assert_int_equal(check(list, &c, NULL), 0);
        struct audit_head newest = c.head;
        json_array_remove(list, RECORDS - 1);
        assert_int_equal(check(list, &c, NULL), 0);
        assert_int_equal(audit_check_end(&c, &newest, &err), -EBADMSG);
        assert_non_null(strstr(err_message(err), "record 6 is missing"));
        json_decref(list);
}

/* The beginning may be left away, and is taken on trust; what remains is not. */
static void test_part(void **state) {
        _cleanup_json_ json_t *list = log_make();
        struct audit_check c;
        json_array_remove(list, 0);
        json_array_remove(list, 0);
        assert_int_equal(check(list, &c, NULL), 0);
        assert_int_equal(c.first, 3);
        assert_int_equal(c.head.sequence, RECORDS);
        json_object_set_new(json_array_get(list, 0), "previous", json_string("x"));
        expect(list, "record 3 was altered");
}

static void test_no_records(void **state) {
        static const char *const texts[] = {
                "[]",
                "7",
                "{}",
                "{\"sequence\": 0, \"previous\": \"\", \"digest\": \"\"}",
                "{\"sequence\": -3, \"previous\": \"\", \"digest\": \"\"}",
                "{\"sequence\": 1.5, \"previous\": \"\", \"digest\": \"\"}",
                "{\"sequence\": 1, \"previous\": 4, \"digest\": \"\"}",
                "{\"sequence\": 1, \"previous\": \"\", \"digest\": \"\"}",
                "{\"sequence\": 1, \"previous\": \"\", \"digest\": \"\", \"x\": 0.5}",
                "{\"sequence\": 9223372036854775807, \"previous\": \"\", \"digest\": \"\"}",
        };
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                _cleanup_json_ json_t *j = NULL;
                struct audit_check c = {0};
                assert_int_equal(json_decode(texts[i], strlen(texts[i]), &j, NULL), 0);
                assert_int_equal(audit_check_record(&c, j, NULL), -EBADMSG);
        }
}

static void test_head(void **state) {
        struct audit_head h;
        char text[100];
        (void)snprintf(text, sizeof(text), "17:%064d", 5);
        assert_int_equal(audit_head_parse(text, &h, NULL), 0);
        assert_int_equal(h.sequence, 17);
        assert_string_equal(h.digest, text + 3);
        static const char *const wrong[] = {"", ":", "17", "17:", "17:abc", "x:00"};
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
                assert_int_equal(audit_head_parse(wrong[i], &h, NULL), -EINVAL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_whole),
                cmocka_unit_test(test_altered),
                cmocka_unit_test(test_altered_and_made_anew),
                cmocka_unit_test(test_removed_moved_cut),
                cmocka_unit_test(test_part),
                cmocka_unit_test(test_no_records),
                cmocka_unit_test(test_head),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
