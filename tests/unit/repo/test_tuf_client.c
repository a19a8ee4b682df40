/* SPDX-License-Identifier: Apache-2.0 */
/* The client step by step, and what its store may do to it. What repositories may do to it:
 * tests/e2e/test_tuf_*.py. */
#include "repo/tuf/client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
/* cmocka wants the above first */
#include <cmocka.h>

#include "base/fs.h"
#include "base/str.h"
#include "repo/tuf/publisher.h"

#define NOW_S ((int64_t)1763650000)

struct fixture {
        char top[64];
        char *dir, *public_dir, *trusted;
        struct virtual_clock clock;
        struct tuf_publisher_options options;
        struct tuf_folder *folder;
        struct tuf_store store;
        struct tuf_client *client;
        char *root;
        size_t root_len;
        unsigned asked;
};

static void add(struct fixture *f, const char *path, const char *role) {
        struct tuf_publisher *p = NULL;
        assert_int_equal(tuf_publisher_open(f->dir, &f->options, &p, NULL), 0);
        assert_int_equal(tuf_publisher_add_target_bytes(p, path, path, strlen(path), NULL, role, NULL), 0);
        assert_int_equal(tuf_publisher_publish(p, NULL, NULL), 0);
        tuf_publisher_free(p);
}

static int set_up(void **state) {
        static const struct tuf_publisher_init init = {.scheme = SIGNING_ED25519, .one_key = true};
        static const char *const keys[] = {"online"}, *const paths[] = {"team/*"};
        static const struct tuf_publisher_delegation team = {
                .name = "team", .keys = keys, .n_keys = 1, .paths = paths, .n_paths = 1};
        struct fixture *f = calloc(1, sizeof(*f));
        struct tuf_publisher *p = NULL;
        (void)snprintf(f->top, sizeof(f->top), "/tmp/skerry-test-XXXXXX");
        assert_non_null(mkdtemp(f->top));
        f->dir = path_join(f->top, "repository");
        f->public_dir = path_join(f->dir, "public");
        f->trusted = path_join(f->top, "trusted");
        virtual_clock_init(&f->clock, NOW_S * 1000);
        f->options.clock = &f->clock.clock;
        assert_int_equal(tuf_publisher_init(f->dir, &init, &f->options, NULL), 0);
        assert_int_equal(tuf_publisher_open(f->dir, &f->options, &p, NULL), 0);
        assert_int_equal(tuf_publisher_delegate(p, "targets", &team, NULL), 0);
        tuf_publisher_free(p);
        add(f, "a", NULL);
        add(f, "team/b", "team");
        assert_int_equal(tuf_publisher_open(f->dir, &f->options, &p, NULL), 0);
        assert_int_equal(tuf_publisher_root(p, &f->root, &f->root_len, NULL), 0);
        tuf_publisher_free(p);
        assert_int_equal(tuf_folder_open(f->trusted, &f->folder, NULL), 0);
        f->store = tuf_folder_store(f->folder);
        *state = f;
        return 0;
}

static int tear_down(void **state) {
        struct fixture *f = *state;
        tuf_client_free(f->client);
        tuf_folder_free(f->folder);
        assert_int_equal(path_remove(f->top, NULL), 0);
        free(f->dir);
        free(f->public_dir);
        free(f->trusted);
        free(f->root);
        free(f);
        return 0;
}

static int feed(struct fixture *f, struct err **err) {
        const struct tuf_need *need;
        for (f->asked = 0; (need = tuf_client_need(f->client)); f->asked++) {
                _cleanup_(x_freep) char *path = path_join(f->public_dir, need->path), *data = NULL;
                size_t len = 0;
                if (file_read(path, need->max_bytes, &data, &len, NULL) < 0)
                        tuf_client_missing(f->client);
                else
                        tuf_client_give(f->client, data, len);
        }
        return tuf_client_result(f->client, err);
}

static void begin(struct fixture *f) {
        assert_int_equal(tuf_client_new(&f->store, f->root, f->root_len, &f->client, NULL), 0);
}

static int count(void *arg, const struct tuf_target *t) {
        struct buf *seen = arg;
        buf_printf(seen, "%s=%s ", t->path, t->role);
        return 0;
}

static void test_find_and_list(void **state) {
        struct fixture *f = *state;
        struct tuf_versions v;
        _cleanup_(buf_done) struct buf seen = BUF_INIT;
        begin(f);
        tuf_client_find(f->client, "a");
        assert_int_equal(tuf_client_result(f->client, NULL), -EINVAL); /* nothing verified yet */
        tuf_client_refresh(f->client, NOW_S);
        assert_int_equal(tuf_client_result(f->client, NULL), -EAGAIN);
        assert_int_equal(feed(f, NULL), 0);
        assert_int_equal(f->asked, 4);
        tuf_client_find(f->client, "a");
        assert_null(tuf_client_need(f->client));
        const struct tuf_target *t = tuf_client_found(f->client);
        assert_string_equal(t->role, "targets");
        assert_int_equal(t->length, 1);
        _cleanup_(x_freep) char *file = tuf_client_target_file(f->client, t);
        assert_true(str_has_prefix(file, "targets/") && str_has_suffix(file, ".a"));
        tuf_client_find(f->client, "team/b");
        assert_int_equal(feed(f, NULL), 0);
        assert_int_equal(f->asked, 1);
        assert_string_equal(tuf_client_found(f->client)->role, "team");
        tuf_client_find(f->client, "nowhere");
        assert_int_equal(feed(f, NULL), -ENOENT);
        assert_null(tuf_client_found(f->client));
        tuf_client_load_all(f->client);
        assert_int_equal(feed(f, NULL), 0);
        assert_int_equal(tuf_client_each(f->client, count, &seen), 0);
        assert_string_equal(buf_str(&seen), "a=targets team/b=team ");
        tuf_client_versions(f->client, &v);
        assert_int_equal(v.root, 1);
        assert_int_equal(v.timestamp, 2);
        assert_true(v.timestamp_expires_s > NOW_S);
}

/* A node that starts without a network goes by what it stored. */
static void test_resume(void **state) {
        struct fixture *f = *state;
        begin(f);
        tuf_client_resume(f->client, NOW_S);
        assert_null(tuf_client_need(f->client));
        assert_int_equal(tuf_client_result(f->client, NULL), -ENODATA);
        tuf_client_refresh(f->client, NOW_S);
        assert_int_equal(feed(f, NULL), 0);
        f->client = tuf_client_free(f->client);
        assert_int_equal(tuf_client_new(&f->store, NULL, 0, &f->client, NULL), 0);
        tuf_client_resume(f->client, NOW_S);
        assert_int_equal(tuf_client_result(f->client, NULL), 0);
        tuf_client_find(f->client, "a");
        assert_int_equal(tuf_client_result(f->client, NULL), 0);
        tuf_client_find(f->client, "team/b");
        assert_int_equal(tuf_client_result(f->client, NULL), -ENODATA);
        tuf_client_resume(f->client, NOW_S + 30 * 86400);
        assert_int_equal(tuf_client_result(f->client, NULL), -ETIMEDOUT);
}

static void test_abandon(void **state) {
        struct fixture *f = *state;
        _cleanup_(err_freep) struct err *err = NULL;
        begin(f);
        tuf_client_refresh(f->client, NOW_S);
        tuf_client_missing(f->client);
        assert_string_equal(tuf_client_need(f->client)->path, "metadata/timestamp.json");
        tuf_client_abandon(f->client, -ECONNREFUSED, "nobody there");
        assert_null(tuf_client_need(f->client));
        assert_int_equal(tuf_client_result(f->client, &err), -ECONNREFUSED);
        assert_non_null(strstr(err_message(err), "nobody there"));
        tuf_client_give(f->client, "x", 1); /* too late, and no harm */
        tuf_client_refresh(f->client, NOW_S);
        tuf_client_refresh(f->client, NOW_S); /* begun anew */
        assert_int_equal(feed(f, NULL), 0);
}

static void test_roots_to_begin_with(void **state) {
        struct fixture *f = *state;
        struct tuf_client *c = NULL;
        struct tuf_versions v;
        assert_int_equal(tuf_client_new(&f->store, NULL, 0, &c, NULL), -ENOKEY);
        assert_int_equal(tuf_client_new(&f->store, "{}", 2, &c, NULL), -EINVAL);
        assert_null(c);
        begin(f);
        f->client = tuf_client_free(f->client);
        /* The stored one goes on when what is given is damaged, and the given one when the stored is. */
        assert_int_equal(tuf_client_new(&f->store, "{}", 2, &f->client, NULL), 0);
        f->client = tuf_client_free(f->client);
        assert_int_equal(f->store.save(f->store.arg, "root.json", "{", 1, NULL), 0);
        assert_int_equal(tuf_client_new(&f->store, NULL, 0, &c, NULL), -ENOKEY);
        begin(f);
        f->client = tuf_client_free(f->client);
        /* A newer one that is given goes over the stored one. */
        struct tuf_publisher *p = NULL;
        char *newer = NULL;
        size_t len = 0;
        assert_int_equal(tuf_publisher_open(f->dir, &f->options, &p, NULL), 0);
        assert_int_equal(tuf_publisher_renew(p, "root", NULL), 0);
        assert_int_equal(tuf_publisher_publish(p, NULL, NULL), 0);
        assert_int_equal(tuf_publisher_root(p, &newer, &len, NULL), 0);
        tuf_publisher_free(p);
        assert_int_equal(tuf_client_new(&f->store, newer, len, &f->client, NULL), 0);
        tuf_client_versions(f->client, &v);
        assert_int_equal(v.root, 2);
        f->client = tuf_client_free(f->client);
        free(newer);
        begin(f); /* the older one again: the stored one stays */
        tuf_client_versions(f->client, &v);
        assert_int_equal(v.root, 2);
}

static int refuse_save(void *arg, const char *name, const char *data, size_t len, struct err **err) {
        return err_set(err, ENOSPC, "the disk is full");
}

/* What cannot be stored is not trusted; nothing breaks. */
static void test_full_disk(void **state) {
        struct fixture *f = *state;
        begin(f);
        f->client = tuf_client_free(f->client);
        struct tuf_store full = f->store;
        full.save = refuse_save;
        assert_int_equal(tuf_client_new(&full, NULL, 0, &f->client, NULL), 0);
        tuf_client_refresh(f->client, NOW_S);
        assert_int_equal(feed(f, NULL), -ENOSPC);
        struct tuf_versions v;
        tuf_client_versions(f->client, &v);
        assert_int_equal(v.timestamp, 0);
        tuf_client_find(f->client, "a");
        assert_int_equal(tuf_client_result(f->client, NULL), -EINVAL);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(test_find_and_list),       TEST(test_resume),    TEST(test_abandon),
                TEST(test_roots_to_begin_with), TEST(test_full_disk),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
