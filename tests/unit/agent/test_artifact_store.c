/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/artifact_store.h"
#include "base/str.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "fixture.h"
#include "repo/payload.h"

struct node {
        struct fixture *f;
        struct virtual_clock clock;
        struct artifact_store *store;
};

static void reopen(struct node *n, int64_t budget) {
        struct artifact_budget b = {.bytes = budget};
        artifact_store_free(n->store);
        assert_int_equal(artifact_store_open(n->f->state, &b, &n->clock.clock, &n->store, NULL), 0);
}

static int setup(void **state) {
        struct node *n = calloc(1, sizeof(*n));
        void *f;
        if (fixture_setup(&f) < 0)
                return -1;
        n->f = f;
        virtual_clock_init(&n->clock, INT64_C(1795000000000));
        reopen(n, INT64_C(1) << 40);
        *state = n;
        return 0;
}

static int teardown(void **state) {
        struct node *n = *state;
        void *f = n->f;
        artifact_store_free(n->store);
        free(n);
        return fixture_teardown(&f);
}

struct made {
        char *target, *name; /* as set_running() has it */
        const struct artifact *a;
};
static void made_done(struct made *m) {
        free(m->target);
        free(m->name);
}

static void put_partial(struct node *n, const char *digest, const void *data, size_t len) {
        _cleanup_(x_freep) char *path = artifact_store_partial(n->store, digest, ".whole");
        assert_int_equal(file_write_atomic(path, data, len, 0600, NULL), 0);
}

static struct made keep(struct node *n, const char *version, enum artifact_type type, const void *data,
                        size_t len) {
        struct artifact a = {.name = (char *)"web",
                             .version = (char *)version,
                             .type = type,
                             .release_counter = 1,
                             .file_name = type == ARTIFACT_FILE ? (char *)"web" : NULL,
                             .mode = type == ARTIFACT_FILE ? 0755 : 0,
                             .length = (int64_t)len};
        struct made m = {0};
        (void)snprintf(a.platform, sizeof(a.platform), "any");
        sha256_hex(data, len, a.sha256);
        m.target = artifact_target_path("web", version, "any");
        m.name = str_format("%s %s", a.sha256, m.target);
        struct err *err = NULL;
        if (artifact_store_describe(n->store, m.target, &a, &err) < 0)
                fail_msg("%s", err_message(err));
        put_partial(n, a.sha256, data, len);
        m.a = artifact_store_find(n->store, m.target, a.sha256);
        assert_non_null(m.a);
        if (artifact_store_commit(n->store, m.a, ".whole", true, &err) < 0 ||
            artifact_store_prepare(n->store, m.a, false, &err) < 0)
                fail_msg("%s", err_message(err));
        virtual_clock_advance(&n->clock, 60000);
        return m;
}

static bool nothing(void *arg, const char *sha256) {
        return false;
}

static bool everything(void *arg, const char *sha256) {
        return true;
}

static void set_running(struct node *n, const struct made *m) {
        char *names[] = {m->name, NULL};
        assert_int_equal(artifact_store_set_running(n->store, names, NULL), 0);
}

/* ---- tests */

static void test_budgets_as_people_write_them(void **state) {
        struct artifact_budget b;
        assert_int_equal(artifact_budget_parse("2G", &b, NULL), 0);
        assert_int_equal(b.bytes, INT64_C(2) << 30);
        assert_int_equal(artifact_budget_parse("20%", &b, NULL), 0);
        assert_int_equal(b.bytes, -1);
        assert_int_equal(b.percent, 20);
        assert_int_equal(artifact_budget_parse("1000", &b, NULL), 0);
        assert_int_equal(b.bytes, 1000);
        static const char *const wrong[] = {
                "", "%", "101%", "-1", "2X", "G", "99999999999999999999", "9999999999T"};
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
                assert_int_equal(artifact_budget_parse(wrong[i], &b, NULL), -EINVAL);
}

static void test_a_file_is_kept_by_its_name_and_mode(void **state) {
        struct node *n = *state;
        _cleanup_(made_done) struct made m = keep(n, "1", ARTIFACT_FILE, "#!/bin/sh\n", 10);
        _cleanup_(x_freep) char *place = artifact_store_place(n->store, m.a);
        struct stat st;
        assert_true(str_has_suffix(place, "/web"));
        assert_int_equal(stat(place, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0555);
        assert_true(artifact_store_is_ready(n->store, m.a));
        /* Known again after a restart. */
        reopen(n, 0);
        _cleanup_(x_freep) char *digest = str_dup_n(m.name, 64);
        const struct artifact *again = artifact_store_find(n->store, m.target, digest);
        assert_non_null(again);
        assert_int_equal(again->mode, 0755);
        assert_true(artifact_store_is_ready(n->store, again));
}

/* Apps of other users come through the folders, whatever the umask of who started the agent. */
static void test_umask_shuts_nobody_out(void **state) {
        struct node *n = *state;
        mode_t before = umask(0077);
        _cleanup_(made_done) struct made m = keep(n, "1", ARTIFACT_FILE, "#!/bin/sh\n", 10);
        (void)umask(before);
        _cleanup_(x_freep) char *folder = artifact_store_folder(n->store, m.a);
        struct stat st;
        assert_int_equal(stat(folder, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0755);
}

static void test_wrong_bytes_are_not_kept(void **state) {
        struct node *n = *state;
        _cleanup_(made_done) struct made m = keep(n, "1", ARTIFACT_IMAGE, "right", 5);
        _cleanup_(x_freep) char *payload = artifact_store_payload(n->store, m.a->sha256);
        assert_int_equal(unlink(payload), 0);
        put_partial(n, m.a->sha256, "wrong", 5);
        assert_int_equal(artifact_store_commit(n->store, m.a, ".whole", true, NULL), -EBADMSG);
        assert_false(artifact_store_has(n->store, m.a->sha256, 5));
        put_partial(n, m.a->sha256, "longer", 6);
        assert_int_equal(artifact_store_commit(n->store, m.a, ".whole", true, NULL), -EBADMSG);
}

static void make_tree(struct node *n, char *out, size_t size) {
        (void)snprintf(out, size, "%s/tree", n->f->folder);
        _cleanup_(x_freep) char *bin = path_join(out, "bin"), *file = path_join(bin, "web");
        assert_int_equal(dir_make(bin, 0755, NULL), 0);
        assert_int_equal(file_write_atomic(file, "run\n", 4, 0755, NULL), 0);
}

static void test_a_tree_is_unpacked_checked_and_put_back(void **state) {
        struct node *n = *state;
        char tree[128], pax[128], first[128];
        _cleanup_(x_freep) char *data = NULL;
        size_t len;
        unsigned differ;
        make_tree(n, tree, sizeof(tree));
        (void)snprintf(pax, sizeof(pax), "%s/tree.pax", n->f->folder);
        int fd = open(pax, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        struct err *err = NULL;
        if (payload_pack(ARTIFACT_TREE, tree, NULL, 0, fd, NULL, &err) < 0)
                fail_msg("%s", err_message(err));
        (void)close(fd);
        assert_int_equal(file_read(pax, 1 << 20, &data, &len, NULL), 0);
        _cleanup_(made_done) struct made m = keep(n, "1", ARTIFACT_TREE, data, len);
        _cleanup_(x_freep) char *place = artifact_store_place(n->store, m.a),
                                *web = path_join(place, "bin/web");
        assert_true(fixture_exists(web));
        assert_int_equal(artifact_store_check(n->store, m.a, &differ, first, sizeof(first), NULL), 0);
        assert_int_equal(differ, 0);
        assert_int_equal(unlink(web), 0);
        assert_int_equal(artifact_store_check(n->store, m.a, &differ, first, sizeof(first), NULL), 0);
        assert_int_equal(differ, 1);
        assert_int_equal(artifact_store_prepare(n->store, m.a, true, NULL), 0);
        assert_true(fixture_exists(web));
        /* A payload that rotted is found out, and goes, so that it is fetched again. */
        _cleanup_(x_freep) char *payload = artifact_store_payload(n->store, m.a->sha256);
        assert_int_equal(chmod(payload, 0600), 0);
        data[len / 2] ^= 1;
        assert_int_equal(file_write_atomic(payload, data, len, 0444, NULL), 0);
        assert_int_equal(artifact_store_prepare(n->store, m.a, true, NULL), -EBADMSG);
        assert_false(artifact_store_has(n->store, m.a->sha256, m.a->length));
        assert_true(fixture_exists(web));
}

static void test_budget_removes_the_oldest_and_never_what_is_held(void **state) {
        struct node *n = *state;
        char data[3][8192];
        struct made m[4];
        static const char *const versions[] = {"1", "2", "3"};
        for (size_t i = 0; i < 3; i++) {
                memset(data[i], 'a' + (int)i, sizeof(data[i]));
                m[i] = keep(n, versions[i], ARTIFACT_FILE, data[i], sizeof(data[i]));
                if (i > 0)
                        set_running(n, &m[i]);
        }
        size_t removed;
        assert_true(artifact_store_is_held(n->store, m[1].target, m[1].a->sha256));
        assert_true(artifact_store_is_running(n->store, m[2].target, m[2].a->sha256));
        assert_int_equal(artifact_store_sweep(n->store, nothing, NULL, false, &removed, NULL), 0);
        assert_int_equal(removed, 0);
        reopen(n, 1);
        _cleanup_(x_freep) char *gone = str_dup_n(m[0].name, 64), *kept = str_dup_n(m[1].name, 64);
        assert_int_equal(artifact_store_sweep(n->store, nothing, NULL, false, &removed, NULL), 0);
        assert_int_equal(removed, 1);
        assert_false(artifact_store_has(n->store, gone, sizeof(data[0])));
        assert_null(artifact_store_find(n->store, m[0].target, gone));
        assert_true(artifact_store_has(n->store, kept, sizeof(data[1])));
        /* Not even when the disk is full. */
        assert_int_equal(artifact_store_sweep(n->store, nothing, NULL, true, &removed, NULL), 0);
        assert_int_equal(removed, 0);
        for (size_t i = 0; i < 3; i++)
                made_done(&m[i]);
}

static void test_leftovers_of_a_crash_are_swept(void **state) {
        struct node *n = *state;
        static const char digest[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        _cleanup_(x_freep) char *half = str_format("%s/trees/%s.new/bin", n->f->state, digest),
                                *part = artifact_store_partial(n->store, digest, ".whole"),
                                *orphan = str_format("%s/trees/%s", n->f->state, digest);
        assert_int_equal(dir_make(half, 0755, NULL), 0);
        assert_int_equal(dir_make(orphan, 0755, NULL), 0);
        assert_int_equal(file_write_atomic(part, "x", 1, 0600, NULL), 0);
        reopen(n, 0);
        assert_false(fixture_exists(half));
        assert_true(fixture_exists(part)); /* it may be gone on with */
        assert_int_equal(artifact_store_sweep(n->store, nothing, NULL, false, NULL, NULL), 0);
        assert_false(fixture_exists(part));
        assert_false(fixture_exists(orphan));
}

static void damage(struct node *n, const char *name, const char *text) {
        _cleanup_(x_freep) char *path = path_join(n->f->state, name);
        assert_int_equal(file_write_atomic(path, text, strlen(text), 0600, NULL), 0);
}

static const char *const damages[] = {"", "{", "[]", "{\"format\":9}",
                                      "{\"saved\":1,\"sha256\":\"\",\"state\":{}}"};

static void test_one_damaged_copy_of_the_index_costs_nothing(void **state) {
        struct node *n = *state;
        _cleanup_(made_done) struct made m = keep(n, "1", ARTIFACT_FILE, "data", 4);
        _cleanup_(x_freep) char *digest = str_dup_n(m.name, 64);
        set_running(n, &m);
        for (size_t i = 0; i < 2 * ARRAY_SIZE(damages); i++) {
                damage(n, i % 2 ? "artifacts.json" : "artifacts.json.spare", damages[i / 2]);
                reopen(n, 0);
                assert_non_null(artifact_store_find(n->store, m.target, digest));
                assert_true(artifact_store_is_running(n->store, m.target, digest));
                assert_null(artifact_store_problem(n->store));
        }
        assert_int_equal(artifact_store_counter(n->store, "web"), 1);
}

static void test_nothing_is_removed_while_it_is_not_known_what_runs(void **state) {
        struct node *n = *state;
        for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
                size_t removed = 7;
                _cleanup_(made_done) struct made m = keep(n, "1", ARTIFACT_FILE, "data", 4);
                _cleanup_(made_done) struct made other = keep(n, "2", ARTIFACT_FILE, "more", 4);
                _cleanup_(x_freep) char *digest = str_dup_n(m.name, 64), *second = str_dup_n(other.name, 64);
                set_running(n, &m);
                damage(n, "artifacts.json", damages[i]);
                damage(n, "artifacts.json.spare", damages[i]);
                reopen(n, 0);
                assert_null(artifact_store_find(n->store, m.target, digest));
                assert_non_null(strstr(artifact_store_problem(n->store), "damaged"));
                assert_true(artifact_store_holds_image(n->store, "localhost/any:1"));
                assert_int_equal(artifact_store_sweep(n->store, nothing, NULL, true, &removed, NULL), 0);
                assert_int_equal(removed, 0);
                /* Nor after a restart. */
                reopen(n, 0);
                assert_non_null(artifact_store_problem(n->store));
                assert_int_equal(artifact_store_sweep(n->store, nothing, NULL, true, &removed, NULL), 0);
                assert_int_equal(removed, 0);
                assert_true(artifact_store_has(n->store, digest, 4));
                /* What runs is seen well: the rest may be what ran before, and stays while there is room. */
                char *names[] = {m.name, NULL};
                assert_int_equal(artifact_store_set_running(n->store, names, NULL), 0);
                assert_null(artifact_store_problem(n->store));
                reopen(n, 0);
                assert_int_equal(artifact_store_sweep(n->store, nothing, NULL, false, &removed, NULL), 0);
                assert_int_equal(removed, 0);
                assert_true(artifact_store_has(n->store, second, 4));
                assert_int_equal(artifact_store_sweep(n->store, nothing, NULL, true, &removed, NULL), 0);
                assert_int_equal(removed, 1);
                assert_true(artifact_store_has(n->store, digest, 4));
        }
}

/* Payloads without any index: it was lost as well. */
static void test_an_index_that_is_gone_is_lost(void **state) {
        struct node *n = *state;
        _cleanup_(made_done) struct made m = keep(n, "1", ARTIFACT_FILE, "data", 4);
        _cleanup_(x_freep) char *index = path_join(n->f->state, "artifacts.json"),
                                *spare = path_join(n->f->state, "artifacts.json.spare");
        size_t removed = 7;
        assert_int_equal(unlink(index), 0);
        assert_int_equal(unlink(spare), 0);
        reopen(n, 0);
        assert_non_null(artifact_store_problem(n->store));
        assert_int_equal(artifact_store_sweep(n->store, nothing, NULL, true, &removed, NULL), 0);
        assert_int_equal(removed, 0);
}

/* A folder in the place of the file, since root may write anywhere. */
static void test_description_that_cannot_be_written_down_is_none(void **state) {
        struct node *n = *state;
        _cleanup_(x_freep) char *spare = path_join(n->f->state, "artifacts.json.spare");
        _cleanup_(made_done) struct made m = keep(n, "1", ARTIFACT_FILE, "data", 4);
        json_t *custom = artifact_custom(m.a);
        struct artifact *a = NULL;
        assert_int_equal(artifact_from_target(m.target, 4, m.a->sha256, custom, &a, NULL), 0);
        json_decref(custom);
        a->yanked = true; /* the image role says something new */
        assert_int_equal(unlink(spare), 0);
        assert_int_equal(mkdir(spare, 0700), 0);
        assert_true(artifact_store_describe(n->store, m.target, a, NULL) < 0);
        assert_true(artifact_store_describe(n->store, m.target, a, NULL) < 0); /* the second time, too */
        assert_non_null(artifact_store_problem(n->store));
        assert_int_equal(rmdir(spare), 0);
        assert_int_equal(artifact_store_describe(n->store, m.target, a, NULL), 0);
        assert_null(artifact_store_problem(n->store));
        reopen(n, 0);
        assert_true(artifact_store_find(n->store, m.target, a->sha256)->yanked);
        artifact_free(a);
}

static void check(struct node *n, const struct made *m, unsigned expected) {
        char first[128];
        unsigned differ = 77;
        assert_int_equal(artifact_store_check(n->store, m->a, &differ, first, sizeof(first), NULL), 0);
        assert_int_equal(differ, expected);
}

static void write_at_start(const char *path, const char *text) {
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, text, strlen(text), 0), (ssize_t)strlen(text));
        (void)close(fd);
}

/* A file is a hard link to its payload: who writes to one writes to both. */
static void test_file_of_another_content_is_found(void **state) {
        struct node *n = *state;
        _cleanup_(made_done) struct made m = keep(n, "1", ARTIFACT_FILE, "data", 4);
        _cleanup_(x_freep) char *place = artifact_store_place(n->store, m.a);
        check(n, &m, 0);
        struct stat before;
        assert_int_equal(stat(place, &before), 0);
        assert_int_equal(chmod(place, before.st_mode | 0200), 0);
        write_at_start(place, "evil");
        assert_int_equal(chmod(place, before.st_mode & 07777), 0);
        const struct timespec back[2] = {before.st_atim, before.st_mtim};
        assert_int_equal(utimensat(AT_FDCWD, place, back, 0), 0); /* hides nothing: ctime goes on */
        check(n, &m, 1);
        /* The payload is as damaged: both go, so that it is had again. */
        assert_int_equal(artifact_store_prepare(n->store, m.a, true, NULL), -EBADMSG);
        assert_false(artifact_store_has(n->store, m.a->sha256, 4));
        assert_false(artifact_store_is_ready(n->store, m.a));
}

/* As a disk that forgets: content changes, and no stamp does (here another file's stamp is not looked at). */
static void test_contents_of_a_tree_are_compared_at_first_and_daily(void **state) {
        struct node *n = *state;
        char tree[128], pax[128];
        _cleanup_(x_freep) char *data = NULL;
        size_t len;
        make_tree(n, tree, sizeof(tree));
        (void)snprintf(pax, sizeof(pax), "%s/tree.pax", n->f->folder);
        int fd = open(pax, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        assert_int_equal(payload_pack(ARTIFACT_TREE, tree, NULL, 0, fd, NULL, NULL), 0);
        (void)close(fd);
        assert_int_equal(file_read(pax, 1 << 20, &data, &len, NULL), 0);
        _cleanup_(made_done) struct made m = keep(n, "1", ARTIFACT_TREE, data, len);
        _cleanup_(x_freep) char *place = artifact_store_place(n->store, m.a),
                                *web = path_join(place, "bin/web");
        check(n, &m, 0);
        write_at_start(web, "RUN\n");
        check(n, &m, 0); /* quick: the size is the same */
        virtual_clock_advance(&n->clock, (msec_t)25 * 3600 * 1000);
        check(n, &m, 1);
        assert_int_equal(artifact_store_prepare(n->store, m.a, true, NULL), 0);
        check(n, &m, 0);
}

/* A kill after the payload was in place, and before its partial files went. */
static void test_partial_files_beside_a_whole_payload_go(void **state) {
        struct node *n = *state;
        _cleanup_(made_done) struct made m = keep(n, "1", ARTIFACT_FILE, "data", 4);
        _cleanup_(x_freep) char *digest = str_dup_n(m.name, 64),
                                *part = artifact_store_partial(n->store, digest, ".chunks-journal");
        assert_int_equal(file_write_atomic(part, "x", 1, 0600, NULL), 0);
        set_running(n, &m);
        assert_int_equal(artifact_store_claim(n->store, digest), 0);
        assert_int_equal(artifact_store_sweep(n->store, everything, NULL, false, NULL, NULL), 0);
        assert_true(fixture_exists(part)); /* somebody has it in hand */
        artifact_store_release(n->store, digest);
        assert_int_equal(artifact_store_sweep(n->store, everything, NULL, false, NULL, NULL), 0);
        assert_false(fixture_exists(part));
}

static void test_one_claim_at_a_time(void **state) {
        struct node *n = *state;
        assert_int_equal(artifact_store_claim(n->store, "a"), 0);
        assert_int_equal(artifact_store_claim(n->store, "a"), -EBUSY);
        assert_int_equal(artifact_store_claim(n->store, "b"), 0);
        artifact_store_release(n->store, "a");
        assert_int_equal(artifact_store_claim(n->store, "a"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_budgets_as_people_write_them),
                TEST(test_a_file_is_kept_by_its_name_and_mode),
                TEST(test_umask_shuts_nobody_out),
                TEST(test_wrong_bytes_are_not_kept),
                TEST(test_a_tree_is_unpacked_checked_and_put_back),
                TEST(test_budget_removes_the_oldest_and_never_what_is_held),
                TEST(test_leftovers_of_a_crash_are_swept),
                TEST(test_one_damaged_copy_of_the_index_costs_nothing),
                TEST(test_nothing_is_removed_while_it_is_not_known_what_runs),
                TEST(test_an_index_that_is_gone_is_lost),
                TEST(test_description_that_cannot_be_written_down_is_none),
                TEST(test_file_of_another_content_is_found),
                TEST(test_contents_of_a_tree_are_compared_at_first_and_daily),
                TEST(test_partial_files_beside_a_whole_payload_go),
                TEST(test_one_claim_at_a_time),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
