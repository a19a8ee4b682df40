/* SPDX-License-Identifier: Apache-2.0 */
#include "control_fixture.h"

#include "codec/json.h"
#include "crypto/key.h"
#include "server/relays.h"
#include "server/signed_report.h"

struct speaker { /* a node with its key */
        struct node *node;
        struct key *key;
        char serial[41];
};

static void certificate_of(struct speaker *s, struct cert_info *ret) {
        static int serials;
        key_free(s->key);
        assert_int_equal(key_generate(&s->key, NULL), 0);
        *ret = (struct cert_info){.not_after = clock_wall_ms(clock_system()) + 3600 * 1000};
        (void)snprintf(ret->serial, sizeof(ret->serial), "%08x", ++serials);
        memcpy(s->serial, ret->serial, sizeof(s->serial));
        assert_int_equal(key_public_pem(s->key, &ret->public_key, NULL), 0);
}

static void enrol(struct fixture *f, const char *name, struct speaker *s) {
        struct cert_info certificate;
        certificate_of(s, &certificate);
        s->node = inventory_enrol(f->control, name, "machine", NULL, &certificate);
        cert_info_done(&certificate);
        fixture_settle(f);
}

static void renew(struct fixture *f, struct speaker *s) {
        struct cert_info certificate;
        certificate_of(s, &certificate);
        inventory_renewed(f->control, s->node, &certificate);
        cert_info_done(&certificate);
        fixture_settle(f);
}

static void speaker_done(struct speaker *s) {
        key_free(s->key);
}

static json_t *say(const struct speaker *s, const char *name, const char *type, int64_t seq,
                   const char *state) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        _cleanup_(x_freep) char *sig = NULL;
        json_t *said = json_pack("{s:s, s:s, s:I, s:b, s:s}", "_type", type, "node", name, "seq",
                                 (json_int_t)seq, "full", 1, "state", state);
        assert_int_equal(json_encode_canonical(said, &text, NULL), 0);
        assert_int_equal(key_sign(s->key, text.data, text.len, &sig, NULL), 0);
        return json_pack("{s:o, s:{s:s, s:s}}", "signed", said, "signature", "serial", s->serial, "sig", sig);
}

static int check(const struct node *n, json_t *report) {
        const json_t *status = NULL;
        struct report_order order = {0};
        _cleanup_(err_freep) struct err *err = NULL;
        int r = signed_report_check(report, n, &status, &order, &err);
        assert_int_equal(r == 0, status != NULL);
        assert_int_equal(r == -EKEYREJECTED, err != NULL);
        json_decref(report);
        return r;
}

static void take(struct fixture *f, struct node *n, const char *via, json_t *report) {
        signed_report_take(f->control, n, via, report);
        json_decref(report);
        fixture_settle(f);
}

static int64_t events_of(struct fixture *f, const char *type) {
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        fixture_settle(f);
        assert_int_equal(db_query_now(f->control->db, &rows, NULL,
                                      "SELECT COUNT(*) FROM events WHERE type = $1", "s", type),
                         0);
        return db_int(rows, 0, 0);
}

static void test_only_the_node_itself_is_believed(void **state) {
        struct fixture f;
        struct speaker a = {0}, b = {0};
        fixture_make(&f);
        enrol(&f, "a", &a);
        enrol(&f, "b", &b);
        assert_int_equal(check(a.node, say(&a, "a", "status", 1, "Healthy")), 0);
        assert_int_equal(check(a.node, say(&a, "b", "status", 1, "Healthy")), -EKEYREJECTED);
        assert_int_equal(check(b.node, say(&a, "b", "status", 1, "Healthy")), -EKEYREJECTED);
        assert_int_equal(check(a.node, say(&a, "a", "assignment", 1, "Healthy")), -EKEYREJECTED);
        struct speaker thief = {.key = b.key};
        memcpy(thief.serial, a.serial, sizeof(thief.serial)); /* another key under its certificate's number */
        assert_int_equal(check(a.node, say(&thief, "a", "status", 1, "Healthy")), -EKEYREJECTED);

        static const struct {
                const char *key;
                json_int_t number;
        } changes[] = {{"seq", 2}, {"assignment", 9}, {"full", 0}};
        for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
                json_t *report = say(&a, "a", "status", 1, "Failed");
                assert_int_equal(json_object_set_new(json_object_get(report, "signed"), changes[i].key,
                                                     json_integer(changes[i].number)),
                                 0);
                assert_int_equal(check(a.node, report), -EKEYREJECTED);
        }
        static const char *const garbage[] = {
                "{}",
                "{\"signed\":7}",
                "{\"signed\":{},\"signature\":{}}",
                "{\"full\":true,\"state\":\"Healthy\"}",
                "{\"signed\":{\"_type\":\"status\",\"node\":\"a\",\"seq\":\"1\"},\"signature\":{\"serial\":"
                "\"\","
                "\"sig\":\"\"}}",
                "{\"signed\":{\"_type\":\"status\",\"node\":\"a\",\"seq\":1},\"signature\":{\"serial\":\"\","
                "\"sig\":\"\"}}",
        };
        for (size_t i = 0; i < ARRAY_SIZE(garbage); i++) {
                json_t *report = NULL;
                assert_int_equal(json_decode(garbage[i], strlen(garbage[i]), &report, NULL), 0);
                assert_int_equal(check(a.node, report), -EKEYREJECTED);
        }
        json_t *unsigned_one = say(&a, "a", "status", 1, "Healthy");
        assert_int_equal(
                json_object_set_new(json_object_get(unsigned_one, "signature"), "sig", json_string("")), 0);
        assert_int_equal(check(a.node, unsigned_one), -EKEYREJECTED);
        speaker_done(&a);
        speaker_done(&b);
        fixture_done(&f);
}

static void test_what_is_old_stays_old(void **state) {
        struct fixture f;
        struct speaker a = {0};
        fixture_make(&f);
        enrol(&f, "a", &a);
        json_t *healthy = say(&a, "a", "status", 5, "Healthy");
        take(&f, a.node, NULL, json_incref(healthy));
        take(&f, a.node, NULL, say(&a, "a", "status", 6, "Failed"));
        assert_int_equal(a.node->report.state, MEMBER_FAILED);
        take(&f, a.node, NULL, json_incref(healthy));
        assert_int_equal(a.node->report.state, MEMBER_FAILED);
        assert_int_equal(events_of(&f, "ReportRefused"), 0); /* a relay may say things twice */

        /* Not after a restart of the server either. */
        fixture_restart(&f);
        a.node = inventory_node(f.control, "a");
        assert_int_equal(check(a.node, json_incref(healthy)), -ESTALE);
        assert_int_equal(check(a.node, say(&a, "a", "status", 6, "Healthy")), -ESTALE);
        assert_int_equal(check(a.node, say(&a, "a", "status", 7, "Healthy")), 0);

        /* A renewal begins anew; until the node speaks under it the old certificate is as good. */
        struct speaker before = {.node = a.node, .key = key_ref(a.key)};
        memcpy(before.serial, a.serial, sizeof(before.serial));
        renew(&f, &a);
        assert_int_equal(check(a.node, say(&before, "a", "status", 7, "Healthy")), 0);
        take(&f, a.node, NULL, say(&a, "a", "status", 1, "Applying"));
        assert_int_equal(a.node->report.state, MEMBER_APPLYING);
        assert_int_equal(check(a.node, say(&before, "a", "status", 8, "Healthy")), -ESTALE);
        fixture_restart(&f);
        a.node = inventory_node(f.control, "a");
        assert_int_equal(check(a.node, say(&before, "a", "status", 8, "Healthy")), -ESTALE);
        assert_int_equal(check(a.node, say(&a, "a", "status", 2, "Healthy")), 0);

        /* What the name said before it enrolled anew is nothing. */
        enrol(&f, "a", &a);
        assert_int_equal(check(a.node, json_incref(healthy)), -EKEYREJECTED);
        assert_int_equal(check(a.node, say(&before, "a", "status", 9, "Healthy")), -EKEYREJECTED);
        assert_int_equal(check(a.node, say(&a, "a", "status", 1, "Healthy")), 0);
        json_decref(healthy);
        speaker_done(&before);
        speaker_done(&a);
        fixture_done(&f);
}

static void test_what_is_refused_is_counted_and_told(void **state) {
        struct fixture f;
        struct speaker a = {0}, other = {0};
        struct cert_info certificate = {.serial = "ee", .not_after = INT64_MAX};
        fixture_make(&f);
        enrol(&f, "a", &a);
        enrol(&f, "b", &other);
        struct relay *relay = relays_enrol(f.control, "kiel", "machine", &certificate);
        take(&f, a.node, "kiel", say(&a, "a", "status", 1, "Applying"));
        assert_int_equal(relay->reports_refused, 0);
        for (int i = 0; i < 200; i++)
                take(&f, a.node, "kiel", say(&other, "a", "status", 2 + i, "Healthy"));
        assert_int_equal(relay->reports_refused, 200);
        assert_int_equal(a.node->report.state, MEMBER_APPLYING);
        int64_t told = events_of(&f, "ReportRefused");
        assert_true(told >= 1 && told < 100); /* a relay cannot fill the log */
        /* Nor does it use up what its nodes may say. */
        take(&f, a.node, "kiel", say(&a, "a", "status", 2, "Healthy"));
        assert_int_equal(a.node->report.state, MEMBER_HEALTHY);
        assert_int_equal(events_of(&f, "NodeState"), 2);
        take(&f, a.node, NULL, say(&other, "a", "status", 3, "Failed"));
        assert_int_equal(a.node->report.state, MEMBER_HEALTHY);
        assert_int_equal(events_of(&f, "ReportRefused"), told + 1);
        speaker_done(&a);
        speaker_done(&other);
        fixture_done(&f);
}

static void test_without_its_key_a_certificate_is_to_be_renewed(void **state) {
        struct fixture f;
        struct speaker a = {0};
        fixture_make(&f);
        struct node *n =
                fixture_node(&f, "a", NULL, NULL); /* as an older server issued it: the key is unknown */
        assert_int_equal(key_generate(&a.key, NULL), 0);
        (void)snprintf(a.serial, sizeof(a.serial), "a");
        assert_int_equal(check(n, say(&a, "a", "status", 1, "Healthy")), -ENOKEY);
        take(&f, n, NULL, say(&a, "a", "status", 1, "Healthy"));
        assert_false(n->report.is_known);
        assert_int_equal(events_of(&f, "ReportRefused"), 0);
        a.node = n;
        renew(&f, &a);
        assert_int_equal(check(n, say(&a, "a", "status", 1, "Healthy")), 0);
        speaker_done(&a);
        fixture_done(&f);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_only_the_node_itself_is_believed),
                cmocka_unit_test(test_what_is_old_stays_old),
                cmocka_unit_test(test_what_is_refused_is_counted_and_told),
                cmocka_unit_test(test_without_its_key_a_certificate_is_to_be_renewed),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
