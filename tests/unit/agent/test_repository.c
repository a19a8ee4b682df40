/* SPDX-License-Identifier: Apache-2.0 */
/* The image role's word against the director's, with a real repository in a folder. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/repository.h"
#include "base/fs.h"
#include "base/str.h"
#include "crypto/digest.h"
#include "fixture.h"
#include "repo/tuf/publisher.h"

#define DAY_MS ((msec_t)86400000)
#define START_MS INT64_C(1795000000000) /* 2026-11-18 */

struct node {
        struct fixture *f;
        char work[96];
        struct virtual_clock publisher_clock, node_clock;
        struct tuf_publisher *publisher;
        char *root;
        size_t root_len;
        struct artifact_store *store;
        struct repository_sources *sources;
        struct repository *r;
        bool done;
        int error;
        char message[600];
};

#define OK(call)                                                                                             \
        do {                                                                                                 \
                struct err *err_ = NULL;                                                                     \
                struct err **err = &err_;                                                                    \
                if ((call) < 0)                                                                              \
                        fail_msg("%s", err_message(err_));                                                   \
        } while (0)

static void open_repository(struct node *n, const char *trust, bool with_root) {
        struct repository_options o = {.state = n->f->state,
                                       .root = with_root ? n->root : NULL,
                                       .root_len = with_root ? n->root_len : 0,
                                       .trust = trust,
                                       .platform = "linux/amd64",
                                       .sources = n->sources,
                                       .artifacts = n->store,
                                       .clock = &n->node_clock.clock};
        n->r = repository_free(n->r);
        OK(repository_new(&o, &n->r, err));
}

static json_t *custom_of(const char *version, int64_t counter) {
        return json_pack("{s:{s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:i}}", "skerry", "kind", "artifact", "name",
                         "web", "version", version, "platform", "linux/amd64", "type", "file",
                         "releaseCounter", (json_int_t)counter, "fileName", "web", "mode", 0755);
}

static void add(struct node *n, const char *version, int64_t counter, const char *content) {
        _cleanup_(x_freep) char *target = artifact_target_path("web", version, "linux/amd64");
        json_t *custom = custom_of(version, counter); /* taken over */
        OK(tuf_publisher_add_target_bytes(n->publisher, target, content, strlen(content), custom, NULL, err));
}

static void publish(struct node *n) {
        OK(tuf_publisher_publish(n->publisher, NULL, err));
}

static json_t *assigned(const char *version, int64_t counter, const char *content) {
        char digest[SHA256_HEX_SIZE];
        _cleanup_(x_freep) char *target = artifact_target_path("web", version, "linux/amd64");
        sha256_hex(content, strlen(content), digest);
        return json_pack("[{s:s, s:s, s:s, s:I, s:s, s:s, s:I}]", "name", "web", "version", version, "target",
                         target, "length", (json_int_t)strlen(content), "sha256", digest, "platform",
                         "linux/amd64", "releaseCounter", (json_int_t)counter);
}

static int setup(void **state) {
        struct node *n = calloc(1, sizeof(*n));
        void *f;
        if (fixture_setup(&f) < 0)
                return -1;
        n->f = f;
        virtual_clock_init(&n->publisher_clock, START_MS);
        virtual_clock_init(&n->node_clock, START_MS);
        (void)snprintf(n->work, sizeof(n->work), "%s/work", n->f->folder);
        struct tuf_publisher_options o = {.clock = &n->publisher_clock.clock};
        struct tuf_publisher_init i = {.one_key = true};
        OK(tuf_publisher_init(n->work, &i, &o, err));
        OK(tuf_publisher_open(n->work, &o, &n->publisher, err));
        add(n, "1.0.0", 1, "one");
        add(n, "2.0.0", 2, "two");
        publish(n);
        OK(tuf_publisher_root(n->publisher, &n->root, &n->root_len, err));
        struct artifact_budget budget = {.bytes = -1, .percent = 100};
        OK(artifact_store_open(n->f->state, &budget, &n->node_clock.clock, &n->store, err));
        OK(repository_sources_new_folder(n->f->loop, tuf_publisher_public_dir(n->publisher), &n->sources,
                                         err));
        open_repository(n, NULL, true);
        *state = n;
        return 0;
}

static int teardown(void **state) {
        struct node *n = *state;
        void *f = n->f;
        repository_free(n->r);
        repository_sources_free(n->sources);
        artifact_store_free(n->store);
        tuf_publisher_free(n->publisher);
        free(n->root);
        free(n);
        return fixture_teardown(&f);
}

static void on_done(void *arg, int error, const char *message) {
        struct node *n = arg;
        n->done = true;
        n->error = error;
        (void)snprintf(n->message, sizeof(n->message), "%s", message ? message : "");
}
static bool is_done(void *arg) {
        return ((struct node *)arg)->done;
}

static struct repository_question question(const json_t *artifacts) {
        static char revision[SHA256_HEX_SIZE];
        sha256_hex("revision", 8, revision);
        return (struct repository_question){
                .artifacts = artifacts, .revision = revision, .revision_length = 8, .fleet = "shops"};
}

static int ask(struct node *n, json_t *artifacts) {
        _cleanup_(json_decrefp) json_t *owned = artifacts;
        struct repository_question q = question(artifacts);
        struct err *err = NULL;
        n->done = false;
        if (repository_ask(n->r, &q, on_done, n, &err) < 0)
                fail_msg("%s", err_message(err));
        fixture_run(n->f, is_done, n);
        return n->error;
}

static void expect_words(const struct node *n, const char *words) {
        if (!strstr(n->message, words))
                fail_msg("'%s' is not in '%s'", words, n->message);
}

/* ---- tests */

static void test_what_both_say_is_taken_and_known_from_then_on(void **state) {
        struct node *n = *state;
        _cleanup_(json_decrefp) json_t *artifacts = assigned("1.0.0", 1, "one");
        struct repository_question q = question(artifacts);
        assert_false(repository_knows(n->r, &q));
        assert_int_equal(ask(n, json_incref(artifacts)), 0);
        assert_true(repository_knows(n->r, &q));
        /* Also after a restart, without any metadata to be had. */
        repository_sources_free(n->sources);
        struct repository_edge none = {0};
        OK(repository_sources_new(n->f->loop, &none, NULL, &n->sources, err));
        open_repository(n, NULL, true);
        assert_true(repository_knows(n->r, &q));
}

static void test_other_bytes_are_refused_and_named(void **state) {
        struct node *n = *state;
        assert_int_equal(ask(n, assigned("1.0.0", 1, "forged")), -EPERM);
        expect_words(n, "web:1.0.0");
        expect_words(n, "the director assigned");
        expect_words(n, "image role targets");
        _cleanup_(json_decrefp) json_t *artifacts = assigned("1.0.0", 1, "forged");
        struct repository_question q = question(artifacts);
        assert_false(repository_knows(n->r, &q));
}

static void test_another_counter_is_refused(void **state) {
        struct node *n = *state;
        assert_int_equal(ask(n, assigned("1.0.0", 9, "one")), -EPERM);
        expect_words(n, "another releaseCounter");
}

static void test_what_no_image_role_lists_is_refused(void **state) {
        struct node *n = *state;
        assert_int_equal(ask(n, assigned("6.6.6", 66, "evil")), -EPERM);
        expect_words(n, "no image role lists");
}

static void test_another_platform_is_refused(void **state) {
        struct node *n = *state;
        n->r = repository_free(n->r);
        struct repository_options o = {.state = n->f->state,
                                       .root = n->root,
                                       .root_len = n->root_len,
                                       .platform = "linux/riscv64",
                                       .sources = n->sources,
                                       .artifacts = n->store,
                                       .clock = &n->node_clock.clock};
        OK(repository_new(&o, &n->r, err));
        assert_int_equal(ask(n, assigned("1.0.0", 1, "one")), -EPERM);
        expect_words(n, "this node is linux/riscv64");
}

static void hold(struct node *n, const char *version, const char *content) {
        char digest[SHA256_HEX_SIZE];
        _cleanup_(x_freep) char *target = artifact_target_path("web", version, "linux/amd64");
        sha256_hex(content, strlen(content), digest);
        _cleanup_(x_freep) char *name = str_format("%s %s", digest, target);
        char *names[] = {name, NULL};
        OK(artifact_store_set_running(n->store, names, err));
}

static void test_never_a_lower_counter_but_for_what_is_held(void **state) {
        struct node *n = *state;
        add(n, "3.0.0", 3, "three");
        publish(n);
        static const struct {
                const char *version, *content;
                int64_t counter;
        } steps[] = {{"1.0.0", "one", 1}, {"2.0.0", "two", 2}, {"3.0.0", "three", 3}};
        for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
                _cleanup_(json_decrefp) json_t *a =
                        assigned(steps[i].version, steps[i].counter, steps[i].content);
                assert_int_equal(ask(n, json_incref(a)), 0);
                hold(n, steps[i].version, steps[i].content);
                OK(repository_confirm(n->r, a, err));
        }
        /* One back is what a rollback does; further back is a downgrade. */
        assert_int_equal(ask(n, assigned("2.0.0", 2, "two")), 0);
        assert_int_equal(ask(n, assigned("1.0.0", 1, "one")), -EPERM);
        expect_words(n, "lower than 3");
        _cleanup_(json_decrefp) json_t *a = assigned("1.0.0", 1, "one");
        struct repository_question q = question(a);
        assert_false(repository_knows(n->r, &q));
        /* Signed anew under a higher counter it may be taken; also after a restart. */
        open_repository(n, NULL, true);
        assert_int_equal(ask(n, assigned("1.0.0", 1, "one")), -EPERM);
        _cleanup_(x_freep) char *target = artifact_target_path("web", "1.0.0", "linux/amd64");
        json_t *custom = custom_of("1.0.0", 4);
        OK(tuf_publisher_set_custom(n->publisher, target, custom, NULL, err));
        publish(n);
        assert_int_equal(ask(n, assigned("1.0.0", 4, "one")), 0);
}

static void test_yanked_is_not_taken(void **state) {
        struct node *n = *state;
        _cleanup_(x_freep) char *target = artifact_target_path("web", "2.0.0", "linux/amd64");
        json_t *custom = custom_of("2.0.0", 2);
        json_object_set_new(json_object_get(custom, "skerry"), "yanked", json_true());
        json_object_set_new(json_object_get(custom, "skerry"), "replacedBy", json_string("1.0.0"));
        OK(tuf_publisher_set_custom(n->publisher, target, custom, NULL, err));
        publish(n);
        assert_int_equal(ask(n, assigned("2.0.0", 2, "two")), -EPERM);
        expect_words(n, "yanked; replaced by 1.0.0");
}

static void test_frozen_mirror_is_noticed(void **state) {
        struct node *n = *state;
        assert_int_equal(ask(n, assigned("1.0.0", 1, "one")), 0);
        virtual_clock_advance(&n->node_clock, 3650 * DAY_MS);
        assert_int_equal(ask(n, assigned("2.0.0", 2, "two")), -ETIMEDOUT);
        expect_words(n, "takes the time for");
}

static void test_clock_that_says_1970(void **state) {
        struct node *n = *state;
        virtual_clock_init(&n->node_clock, 0);
        assert_int_equal(ask(n, assigned("1.0.0", 1, "one")), 0);
        /* What signed assignments say of the time holds: metadata that had run out by then is frozen. */
        repository_saw_time(n->r, START_MS + 3650 * DAY_MS);
        assert_int_equal(ask(n, assigned("2.0.0", 2, "two")), -ETIMEDOUT);
        expect_words(n, "clock is behind");
        /* Over a restart as well. */
        open_repository(n, NULL, true);
        assert_int_equal(ask(n, assigned("2.0.0", 2, "two")), -ETIMEDOUT);
        /* Until the server, whose clock it was that was wrong, says otherwise: and that too is remembered. */
        repository_saw_time(n->r, START_MS);
        open_repository(n, NULL, true);
        assert_int_equal(ask(n, assigned("2.0.0", 2, "two")), 0);
}

static void test_release_key(void **state) {
        struct node *n = *state;
        char revision[SHA256_HEX_SIZE];
        open_repository(n, "release-key", true);
        assert_int_equal(ask(n, assigned("1.0.0", 1, "one")), -EPERM);
        expect_words(n, "not signed by a release key");
        sha256_hex("revision", 8, revision);
        _cleanup_(x_freep) char *target = str_format("revisions/shops/%s.json", revision);
        OK(tuf_publisher_add_target_bytes(n->publisher, target, "revision", 8, NULL, NULL, err));
        publish(n);
        assert_int_equal(ask(n, assigned("1.0.0", 1, "one")), 0);
        struct repository_question q = question(NULL);
        assert_true(repository_knows(n->r, &q));
}

/* Releases revision "revision-<i>" of fleet shops. */
static void release(struct node *n, int i, int64_t counter, int64_t lowest) {
        char text[32], digest[SHA256_HEX_SIZE];
        (void)snprintf(text, sizeof(text), "revision-%d", i);
        sha256_hex(text, strlen(text), digest);
        _cleanup_(x_freep) char *target = str_format("revisions/shops/%s.json", digest);
        json_t *custom = json_pack("{s:{s:s, s:s, s:I}}", "skerry", "kind", "revision", "fleet", "shops",
                                   "releaseCounter", (json_int_t)counter);
        if (lowest)
                json_object_set_new(json_object_get(custom, "skerry"), "lowestCounter", json_integer(lowest));
        OK(tuf_publisher_add_target_bytes(n->publisher, target, text, strlen(text), custom, NULL, err));
}

/* As a delivery does: what is known needs no asking. */
static int take_release(struct node *n, int i) {
        char text[32], digest[SHA256_HEX_SIZE];
        struct err *err = NULL;
        (void)snprintf(text, sizeof(text), "revision-%d", i);
        sha256_hex(text, strlen(text), digest);
        struct repository_question q = {.revision = digest, .revision_length = -1, .fleet = "shops"};
        if (repository_knows(n->r, &q))
                return 0;
        n->done = false;
        if (repository_ask(n->r, &q, on_done, n, &err) < 0)
                fail_msg("%s", err_message(err));
        fixture_run(n->f, is_done, n);
        return n->error;
}

static void test_releases_go_back_a_little_and_never_far(void **state) {
        struct node *n = *state;
        open_repository(n, "release-key", true);
        for (int i = 1; i <= 6; i++)
                release(n, i, i, 0);
        publish(n);
        for (int i = 1; i <= 5; i++)
                assert_int_equal(take_release(n, i), 0);
        /* A rollback, over some that superseded each other, goes back; even step by step not beyond. */
        for (int i = 4; i >= 5 - REPOSITORY_RELEASES_BACK; i--)
                assert_int_equal(take_release(n, i), 0);
        assert_int_equal(take_release(n, 1), -EPERM);
        expect_words(n, "release 1 of fleet shops");
        expect_words(n, "none below 2");
        expect_words(n, "skerry release --again");
        /* Also after a restart. */
        open_repository(n, "release-key", true);
        assert_int_equal(take_release(n, 1), -EPERM);
        assert_int_equal(take_release(n, 2), 0);
        /* Released anew it is the newest. */
        release(n, 1, 7, 0);
        publish(n);
        assert_int_equal(take_release(n, 1), 0);
        assert_int_equal(take_release(n, 4), 0);
        assert_int_equal(take_release(n, 3), -EPERM);
        /* One without a way back. */
        release(n, 8, 8, 8);
        publish(n);
        assert_int_equal(take_release(n, 8), 0);
        assert_int_equal(take_release(n, 1), -EPERM);
        assert_int_equal(take_release(n, 5), -EPERM);
        open_repository(n, "release-key", true);
        assert_int_equal(take_release(n, 1), -EPERM);
        assert_int_equal(take_release(n, 8), 0);
}

static void test_bundle_makes_trust_stricter_never_weaker(void **state) {
        struct node *n = *state;
        _cleanup_(json_decrefp) json_t *strict = json_pack("{s:{}, s:s}", "root", "trust", "release-key"),
                                       *weak = json_pack("{s:{}, s:s}", "root", "trust", "server");
        open_repository(n, NULL, true);
        assert_int_equal(repository_trust(n->r), REPOSITORY_TRUST_SERVER);
        repository_take_bundle(n->r, strict);
        assert_int_equal(repository_trust(n->r), REPOSITORY_TRUST_RELEASE_KEY);
        repository_take_bundle(n->r, weak);
        assert_int_equal(repository_trust(n->r), REPOSITORY_TRUST_RELEASE_KEY);
        open_repository(n, NULL, true);
        assert_int_equal(repository_trust(n->r), REPOSITORY_TRUST_RELEASE_KEY);
        open_repository(n, "server", true);
        assert_int_equal(repository_trust(n->r), REPOSITORY_TRUST_SERVER);
}

static void test_root_comes_from_the_bundle_only_while_none_is_trusted(void **state) {
        struct node *n = *state;
        struct err *err = NULL;
        (void)path_remove(n->f->state, NULL);
        assert_int_equal(dir_make(n->f->state, 0755, NULL), 0);
        artifact_store_free(n->store);
        struct artifact_budget budget = {.bytes = 0};
        assert_int_equal(artifact_store_open(n->f->state, &budget, &n->node_clock.clock, &n->store, NULL), 0);
        open_repository(n, NULL, false);
        assert_false(repository_is_configured(n->r));
        _cleanup_(json_decrefp) json_t *artifacts = assigned("1.0.0", 1, "one");
        struct repository_question q = question(artifacts);
        assert_int_equal(repository_ask(n->r, &q, on_done, n, &err), -ENOKEY);
        err_free(err);
        json_t *root;
        assert_int_equal(json_decode(n->root, n->root_len, &root, NULL), 0);
        _cleanup_(json_decrefp) json_t *bundle = json_pack("{s:o, s:s}", "root", root, "trust", "server");
        repository_take_bundle(n->r, bundle);
        assert_int_equal(ask(n, json_incref(artifacts)), 0);
        /* Somebody else's root, later: not taken. */
        _cleanup_(json_decrefp) json_t *other =
                json_pack("{s:{s:s}, s:s}", "root", "signed", "somebody", "trust", "server");
        open_repository(n, NULL, false);
        repository_take_bundle(n->r, other);
        assert_int_equal(ask(n, assigned("2.0.0", 2, "two")), 0);
}

/* ---- damaged state */

static char *state_path(struct node *n, const char *suffix) {
        return str_format("%s/repository/state.json%s", n->f->state, suffix);
}

static void damage(struct node *n, const char *suffix, const char *text) {
        _cleanup_(x_freep) char *path = state_path(n, suffix);
        OK(file_write_atomic(path, text, strlen(text), 0600, err));
}

static void confirm(struct node *n, const char *version, int64_t counter, const char *content) {
        _cleanup_(json_decrefp) json_t *a = assigned(version, counter, content);
        assert_int_equal(ask(n, json_incref(a)), 0);
        hold(n, version, content);
        OK(repository_confirm(n->r, a, err));
}

static void learn_release_key(struct node *n) {
        _cleanup_(json_decrefp) json_t *strict = json_pack("{s:{}, s:s}", "root", "trust", "release-key");
        repository_take_bundle(n->r, strict);
}

static void sign_revision(struct node *n) {
        char revision[SHA256_HEX_SIZE];
        sha256_hex("revision", 8, revision);
        _cleanup_(x_freep) char *target = str_format("revisions/shops/%s.json", revision);
        OK(tuf_publisher_add_target_bytes(n->publisher, target, "revision", 8, NULL, NULL, err));
        publish(n);
}

static void test_one_damaged_copy_of_the_state_costs_nothing(void **state) {
        struct node *n = *state;
        static const char *const suffixes[] = {"", ".spare"};
        confirm(n, "2.0.0", 2, "two");
        artifact_store_set_running(n->store, NULL, NULL); /* so that it is not the index which remembers */
        artifact_store_set_running(n->store, (char *[]){(char *)"x y", NULL}, NULL);
        learn_release_key(n);
        for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
                damage(n, suffixes[i], "{\"saved\":9");
                open_repository(n, NULL, true);
                assert_null(repository_problem(n->r));
                assert_int_equal(repository_trust(n->r), REPOSITORY_TRUST_RELEASE_KEY);
                assert_int_equal(ask(n, assigned("1.0.0", 1, "one")), -EPERM);
                expect_words(n, "lower than 2");
        }
}

static void lose_state(struct node *n) {
        damage(n, "", "");
        damage(n, ".spare", "{}");
}

static void test_lost_trust_is_taken_for_the_strictest(void **state) {
        struct node *n = *state;
        _cleanup_(json_decrefp) json_t *weak = json_pack("{s:{}, s:s}", "root", "trust", "server");
        assert_int_equal(ask(n, assigned("1.0.0", 1, "one")), 0);
        assert_null(repository_problem(n->r));
        lose_state(n);
        for (int i = 0; i < 2; i++) { /* after the next restart, too */
                open_repository(n, NULL, true);
                assert_non_null(strstr(repository_problem(n->r), "was lost"));
                repository_take_bundle(n->r, weak);
                assert_int_equal(repository_trust(n->r), REPOSITORY_TRUST_RELEASE_KEY);
                assert_int_equal(ask(n, assigned("1.0.0", 1, "one")), -EPERM);
                expect_words(n, "not signed by a release key");
        }
        /* One that is signed shows that it was right. */
        sign_revision(n);
        assert_int_equal(ask(n, assigned("1.0.0", 1, "one")), 0);
        assert_null(repository_problem(n->r));
        open_repository(n, NULL, true);
        assert_null(repository_problem(n->r));
        /* Or the operator says whom to trust. */
        lose_state(n);
        open_repository(n, "server", true);
        assert_null(repository_problem(n->r));
        assert_int_equal(repository_trust(n->r), REPOSITORY_TRUST_SERVER);
        assert_int_equal(ask(n, assigned("1.0.0", 1, "one")), 0);
}

static void test_state_that_is_gone_beside_metadata_is_lost(void **state) {
        struct node *n = *state;
        assert_int_equal(ask(n, assigned("1.0.0", 1, "one")), 0);
        _cleanup_(x_freep) char *first = state_path(n, ""), *spare = state_path(n, ".spare");
        assert_int_equal(unlink(first), 0);
        assert_int_equal(unlink(spare), 0);
        open_repository(n, NULL, true);
        assert_non_null(repository_problem(n->r));
        assert_int_equal(repository_trust(n->r), REPOSITORY_TRUST_RELEASE_KEY);
}

/* What runs is still known, and its counter with it; so are the metadata's own versions. */
static void test_lost_counters_are_those_of_what_runs(void **state) {
        struct node *n = *state;
        confirm(n, "2.0.0", 2, "two");
        lose_state(n);
        open_repository(n, "server", true);
        assert_int_equal(ask(n, assigned("1.0.0", 1, "one")), -EPERM);
        expect_words(n, "lower than 2");
        assert_int_equal(ask(n, assigned("2.0.0", 2, "two")), 0);
}

/* A folder in the place of the file, since root may write anywhere. */
static void block_state(struct node *n) {
        _cleanup_(x_freep) char *spare = state_path(n, ".spare");
        (void)unlink(spare);
        assert_int_equal(dir_make(spare, 0700, NULL), 0);
}

static void unblock_state(struct node *n) {
        _cleanup_(x_freep) char *spare = state_path(n, ".spare");
        assert_int_equal(rmdir(spare), 0);
}

static int try_to_ask(struct node *n, json_t *artifacts) {
        _cleanup_(json_decrefp) json_t *owned = artifacts;
        struct repository_question q = question(artifacts);
        _cleanup_(err_freep) struct err *err = NULL;
        return repository_ask(n->r, &q, on_done, n, &err);
}

static void test_word_that_cannot_be_written_down_is_not_taken(void **state) {
        struct node *n = *state;
        struct repository_question q = question(NULL);
        open_repository(n, "release-key", true);
        sign_revision(n);
        block_state(n);
        assert_true(ask(n, assigned("1.0.0", 1, "one")) < 0);
        assert_false(repository_knows(n->r, &q));
        assert_non_null(strstr(repository_problem(n->r), "cannot be written"));
        assert_true(try_to_ask(n, assigned("1.0.0", 1, "one")) < 0);
        unblock_state(n);
        assert_int_equal(ask(n, assigned("1.0.0", 1, "one")), 0);
        assert_true(repository_knows(n->r, &q));
        assert_null(repository_problem(n->r));
}

static void test_description_that_cannot_be_written_down_is_no_word(void **state) {
        struct node *n = *state;
        _cleanup_(json_decrefp) json_t *a = assigned("1.0.0", 1, "one");
        struct repository_question q = question(a);
        _cleanup_(x_freep) char *spare = str_format("%s/artifacts.json.spare", n->f->state);
        (void)unlink(spare);
        assert_int_equal(dir_make(spare, 0700, NULL), 0);
        assert_true(ask(n, json_incref(a)) < 0);
        assert_false(repository_knows(n->r, &q));
        assert_true(ask(n, json_incref(a)) < 0);
        assert_int_equal(rmdir(spare), 0);
        assert_int_equal(ask(n, json_incref(a)), 0);
        assert_true(repository_knows(n->r, &q));
}

static void test_counter_that_cannot_be_written_down_stops_what_comes_next(void **state) {
        struct node *n = *state;
        _cleanup_(json_decrefp) json_t *a = assigned("1.0.0", 1, "one");
        struct repository_question q = question(a);
        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(ask(n, json_incref(a)), 0);
        block_state(n);
        assert_true(repository_confirm(n->r, a, &err) < 0);
        assert_false(repository_knows(n->r, &q));
        assert_true(try_to_ask(n, assigned("2.0.0", 2, "two")) < 0);
        unblock_state(n);
        assert_int_equal(ask(n, assigned("2.0.0", 2, "two")), 0);
        assert_true(repository_knows(n->r, &q));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_what_both_say_is_taken_and_known_from_then_on),
                TEST(test_other_bytes_are_refused_and_named),
                TEST(test_another_counter_is_refused),
                TEST(test_what_no_image_role_lists_is_refused),
                TEST(test_another_platform_is_refused),
                TEST(test_never_a_lower_counter_but_for_what_is_held),
                TEST(test_yanked_is_not_taken),
                TEST(test_frozen_mirror_is_noticed),
                TEST(test_clock_that_says_1970),
                TEST(test_release_key),
                TEST(test_releases_go_back_a_little_and_never_far),
                TEST(test_bundle_makes_trust_stricter_never_weaker),
                TEST(test_root_comes_from_the_bundle_only_while_none_is_trusted),
                TEST(test_one_damaged_copy_of_the_state_costs_nothing),
                TEST(test_lost_trust_is_taken_for_the_strictest),
                TEST(test_state_that_is_gone_beside_metadata_is_lost),
                TEST(test_lost_counters_are_those_of_what_runs),
                TEST(test_word_that_cannot_be_written_down_is_not_taken),
                TEST(test_description_that_cannot_be_written_down_is_no_word),
                TEST(test_counter_that_cannot_be_written_down_stops_what_comes_next),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
