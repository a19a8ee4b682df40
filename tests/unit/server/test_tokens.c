/* SPDX-License-Identifier: Apache-2.0 */
/* Who may call and who may join. */
#include "control_fixture.h"
#include "server/migrations.h"
#include "server/tokens.h"

static int setup(void **state) {
        struct fixture *f = malloc(sizeof(*f));
        fixture_make(f);
        *state = f;
        return 0;
}

static int teardown(void **state) {
        fixture_done(*state);
        free(*state);
        return 0;
}

static const char *key(int i) {
        static char text[65];
        (void)snprintf(text, sizeof(text), "%064d", i);
        return text;
}

static struct join_token *make(struct fixture *f, int64_t uses, int64_t ttl, char **ret_text) {
        struct join_request q = {.kind = "node", .uses = uses, .ttl_seconds = ttl};
        struct join_token *t = NULL;
        assert_int_equal(tokens_create_join(f->control, &q, "ada", &t, ret_text, NULL), 0);
        fixture_settle(f);
        return t;
}

static void test_uses_are_counted_and_survive(void **state) {
        struct fixture *f = *state;
        _cleanup_(x_freep) char *text = NULL;
        struct join_token *t = make(f, 2, 60, &text);
        char id[TOKEN_ID_SIZE];
        memcpy(id, t->id, sizeof(id));
        msec_t now = clock_wall_ms(clock_system());
        assert_ptr_equal(tokens_check_join(f->control, text), t);
        assert_int_equal(join_token_check(t, key(1), now, NULL), 0);
        tokens_use_join(f->control, t, key(1), "a");
        tokens_use_join(f->control, t, key(1), "a"); /* it lost the answer and asks again */
        assert_int_equal(t->used, 1);
        fixture_restart(f);
        t = tokens_find_join(f->control, id);
        assert_int_equal(t->used, 1);
        assert_ptr_equal(tokens_check_join(f->control, text), t);
        assert_string_equal(join_token_joined(t, key(1)), "a");
        assert_null(join_token_joined(t, key(2)));
        tokens_use_join(f->control, t, key(2), "b");
        assert_int_equal(join_token_check(t, key(3), now, NULL), -EACCES);
        assert_int_equal(join_token_check(t, key(1), now, NULL), 0);
        assert_int_equal(join_token_check(t, key(1), t->expires_at - 1, NULL), 0);
        assert_int_equal(join_token_check(t, key(1), t->expires_at, NULL), -EACCES);
        tokens_delete_join(f->control, t);
        assert_null(tokens_check_join(f->control, text));
        fixture_restart(f);
        assert_null(tokens_find_join(f->control, id));
}

static void test_a_deleted_member_does_not_come_back(void **state) {
        struct fixture *f = *state;
        _cleanup_(x_freep) char *text = NULL;
        struct join_token *t = make(f, 1, 60, &text);
        char id[TOKEN_ID_SIZE];
        memcpy(id, t->id, sizeof(id));
        msec_t now = clock_wall_ms(clock_system());
        tokens_use_join(f->control, t, key(1), "a");
        tokens_forget_member(f->control, "relay", "a"); /* another member, of the same name */
        tokens_forget_member(f->control, "node", "b");
        assert_int_equal(join_token_check(t, key(1), now, NULL), 0);
        tokens_forget_member(f->control, "node", "a");
        assert_int_equal(join_token_check(t, key(1), now, NULL), -EACCES);
        fixture_settle(f);
        fixture_restart(f);
        t = tokens_find_join(f->control, id);
        assert_int_equal(t->used, 1);
        assert_int_equal(join_token_check(t, key(1), now, NULL), -EACCES);
}

static void test_only_the_whole_token_counts(void **state) {
        struct fixture *f = *state;
        _cleanup_(x_freep) char *text = NULL;
        struct join_token *t = make(f, 1, 60, &text);
        char *dot = strchr(text, '.');
        assert_non_null(dot);
        assert_null(strstr(text, t->hash));
        dot[1] = dot[1] == 'A' ? 'B' : 'A';
        assert_null(tokens_check_join(f->control, text));
        assert_null(tokens_check_join(f->control, ""));
        assert_null(tokens_check_join(f->control, "skj_"));
        _cleanup_(x_freep) char *admin = NULL;
        assert_int_equal(admin_token_create(f->control->db, "eve", "test", NULL, 0, 1, &admin, NULL), 0);
        assert_null(tokens_check_join(f->control, admin));
}

static void test_wishes_are_bounded(void **state) {
        struct fixture *f = *state;
        struct pair pair = {"a", "b"};
        const struct join_request wrong[] = {
                {.kind = "server", .uses = 1, .ttl_seconds = 1},
                {.kind = "node", .uses = 0, .ttl_seconds = 1},
                {.kind = "node", .uses = JOIN_TOKEN_USES_MAX + 1, .ttl_seconds = 1},
                {.kind = "node", .uses = 1, .ttl_seconds = 0},
                {.kind = "node", .uses = 1, .ttl_seconds = JOIN_TOKEN_TTL_MAX_SECONDS + 1},
                {.kind = "node", .name = "No Name", .uses = 1, .ttl_seconds = 1},
                {.kind = "node", .name = "shop", .uses = 2, .ttl_seconds = 1},
                {.kind = "relay", .labels = &(struct pairs){&pair, 1}, .uses = 1, .ttl_seconds = 1},
        };
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
                _cleanup_(err_freep) struct err *err = NULL;
                struct join_request q = wrong[i];
                struct join_token *t = NULL;
                char *text = NULL;
                assert_int_equal(tokens_create_join(f->control, &q, NULL, &t, &text, &err), -EINVAL);
                assert_non_null(err);
        }
}

static void test_admin_tokens(void **state) {
        struct fixture *f = *state;
        _cleanup_(x_freep) char *text = NULL, *ended = NULL;
        msec_t now = clock_wall_ms(clock_system());
        assert_int_equal(admin_token_create(f->control->db, "ada", "test",
                                            authority_pin(f->control->authority), 0, now, &text, NULL),
                         0);
        assert_int_equal(admin_token_create(f->control->db, "old", "test", NULL, 1, now - 1000, &ended, NULL),
                         0);
        fixture_restart(f);
        assert_string_equal(tokens_check_admin(f->control, text), "ada");
        assert_null(tokens_check_admin(f->control, ended));
        assert_null(
                tokens_check_admin(f->control, "ska_aaaaaaaaaa.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
        assert_null(tokens_check_admin(f->control, "nonsense"));
        char *dot = strchr(text, '.');
        dot[5] = dot[5] == 'A' ? 'B' : 'A';
        assert_null(tokens_check_admin(f->control, text));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_uses_are_counted_and_survive, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_deleted_member_does_not_come_back, setup, teardown),
                cmocka_unit_test_setup_teardown(test_only_the_whole_token_counts, setup, teardown),
                cmocka_unit_test_setup_teardown(test_wishes_are_bounded, setup, teardown),
                cmocka_unit_test_setup_teardown(test_admin_tokens, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
