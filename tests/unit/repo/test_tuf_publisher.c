/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/tuf/publisher.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
/* cmocka wants the above first */
#include <cmocka.h>

#include "base/fs.h"
#include "base/random.h"
#include "base/str.h"
#include "codec/json.h"
#include "repo/artifact.h"

#define NOW_S ((int64_t)1763650000)

struct fixture {
        char top[64];
        char *dir, *public_dir, *file;
        struct virtual_clock clock;
        struct tuf_publisher_options options;
        struct err *err;
};

static int set_up(void **state) {
        struct fixture *f = calloc(1, sizeof(*f));
        (void)snprintf(f->top, sizeof(f->top), "/tmp/skerry-test-XXXXXX");
        assert_non_null(mkdtemp(f->top));
        f->dir = path_join(f->top, "repository");
        f->public_dir = path_join(f->dir, "public");
        f->file = path_join(f->top, "payload");
        assert_int_equal(file_write_atomic(f->file, "payload one\n", 12, 0644, NULL), 0);
        virtual_clock_init(&f->clock, NOW_S * 1000);
        f->options.clock = &f->clock.clock;
        *state = f;
        return 0;
}

static int tear_down(void **state) {
        struct fixture *f = *state;
        assert_int_equal(path_remove(f->top, NULL), 0);
        err_free(f->err);
        free(f->dir);
        free(f->public_dir);
        free(f->file);
        free(f);
        return 0;
}

#define OK(call)                                                                                             \
        do {                                                                                                 \
                int result_ = (call);                                                                        \
                if (result_ < 0)                                                                             \
                        fail_msg("%s: %d: %s", #call, result_, err_message(f->err));                         \
        } while (0)
#define FAILS(call, code)                                                                                    \
        do {                                                                                                 \
                assert_int_equal((call), -(code));                                                           \
                assert_non_null(f->err);                                                                     \
                f->err = err_free(f->err);                                                                   \
        } while (0)

static void make(struct fixture *f) {
        const struct tuf_publisher_init init = {.scheme = SIGNING_ED25519};
        OK(tuf_publisher_init(f->dir, &init, &f->options, &f->err));
}

static struct tuf_publisher *open_it(struct fixture *f) {
        struct tuf_publisher *p = NULL;
        OK(tuf_publisher_open(f->dir, &f->options, &p, &f->err));
        return p;
}

static struct tuf_verify_result verify(struct fixture *f) {
        struct tuf_verify_result result = {0};
        const struct tuf_verify_options o = {.now_s = clock_wall_ms(&f->clock.clock) / 1000};
        OK(tuf_verify_folder(f->public_dir, &o, &result, &f->err));
        return result;
}

static json_t *custom(int counter) {
        return json_pack("{s:{s:i}}", "skerry", "releaseCounter", counter);
}

static void test_publish(void **state) {
        struct fixture *f = *state;
        struct tuf_publish_result done;
        struct tuf_target t;
        make(f);
        struct tuf_publisher *p = open_it(f);
        OK(tuf_publisher_add_target(p, "artifacts/web/1.0/any", f->file, custom(1), NULL, false, &f->err));
        OK(tuf_publisher_publish(p, &done, &f->err));
        assert_int_equal(done.root, 1);
        assert_int_equal(done.targets, 1);
        struct tuf_verify_result seen = verify(f);
        assert_int_equal(seen.files, 1);
        assert_int_equal(seen.bytes, 12);
        assert_int_equal(seen.timestamp, 1);
        assert_string_equal(seen.expires_role, "timestamp");

        /* Again the same is no new version; another content is. */
        OK(tuf_publisher_add_target(p, "artifacts/web/1.0/any", f->file, custom(1), NULL, false, &f->err));
        OK(tuf_publisher_publish(p, &done, &f->err));
        assert_int_equal(done.roles, 0);
        assert_int_equal(done.timestamp, 2);
        assert_int_equal(done.snapshot, 1);
        OK(tuf_publisher_add_target_bytes(p, "artifacts/web/1.0/any", "two", 3, custom(2), NULL, &f->err));
        OK(tuf_publisher_add_target(p, "artifacts/web/1.1/any", f->file, NULL, NULL, true, &f->err));
        OK(tuf_publisher_find(p, "artifacts/web/1.0/any", NULL, &t, &f->err));
        assert_int_equal(t.length, 3);
        assert_string_equal(t.role, "targets");
        OK(tuf_publisher_publish(p, &done, &f->err));
        assert_int_equal(done.targets, 2);
        assert_int_equal(verify(f).files, 2);

        /* What nothing names any more goes by a sweep alone. */
        size_t files = 0;
        int64_t bytes = 0;
        OK(tuf_publisher_sweep(p, &files, &bytes, &f->err));
        assert_int_equal(files, 1);
        assert_int_equal(bytes, 12);
        OK(tuf_publisher_remove_target(p, "artifacts/web/1.1/any", NULL, &f->err));
        OK(tuf_publisher_set_custom(p, "artifacts/web/1.0/any", custom(3), NULL, &f->err));
        FAILS(tuf_publisher_find(p, "artifacts/web/1.1/any", NULL, &t, &f->err), ENOENT);
        OK(tuf_publisher_publish(p, &done, &f->err));
        assert_int_equal(verify(f).files, 1);
        FAILS(tuf_publisher_add_target(p, "../escape", f->file, NULL, NULL, false, &f->err), EINVAL);
        FAILS(tuf_publisher_add_target(p, "a", "/nowhere/at/all", NULL, NULL, false, &f->err), ENOENT);
        tuf_publisher_free(p);
}

static void test_two_publishers(void **state) {
        struct fixture *f = *state;
        struct tuf_publisher *other = NULL;
        make(f);
        struct tuf_publisher *p = open_it(f);
        FAILS(tuf_publisher_open(f->dir, &f->options, &other, &f->err), EBUSY);
        f->options.read_only = true;
        OK(tuf_publisher_open(f->dir, &f->options, &other, &f->err));
        FAILS(tuf_publisher_publish(other, NULL, &f->err), EROFS);
        f->options.read_only = false;
        tuf_publisher_free(other);
        tuf_publisher_free(p);
        FAILS(tuf_publisher_open(f->top, &f->options, &other, &f->err), ENOENT);
        const struct tuf_publisher_init init = {.scheme = SIGNING_ED25519};
        FAILS(tuf_publisher_init(f->dir, &init, &f->options, &f->err), EEXIST);
}

static void test_delegate(void **state) {
        struct fixture *f = *state;
        make(f);
        struct tuf_publisher *p = open_it(f);
        static const char *const keys[] = {"team"}, *const paths[] = {"artifacts/team-*/*/*"};
        const struct tuf_publisher_delegation d = {
                .name = "team", .keys = keys, .n_keys = 1, .paths = paths, .n_paths = 1, .terminating = true};
        FAILS(tuf_publisher_delegate(p, "targets", &d, &f->err), ENOENT); /* no such key yet */
        OK(tuf_publisher_generate_key(p, "team", SIGNING_ECDSA_P256, NULL, &f->err));
        OK(tuf_publisher_delegate(p, "targets", &d, &f->err));
        FAILS(tuf_publisher_add_target(p, "artifacts/web/1/any", f->file, NULL, "team", false, &f->err),
              EINVAL);
        OK(tuf_publisher_add_target(p, "artifacts/team-a/1/any", f->file, NULL, "team", false, &f->err));
        OK(tuf_publisher_publish(p, NULL, &f->err));
        struct tuf_verify_result seen = verify(f);
        assert_int_equal(seen.roles, 5);
        assert_int_equal(seen.files, 1);

        /* Its own delegation, by hash prefix. */
        static const char *const prefixes[] = {"0", "1", "2", "3", "4", "5", "6", "7"};
        const struct tuf_publisher_delegation half = {
                .name = "half", .keys = keys, .n_keys = 1, .hash_prefixes = prefixes, .n_hash_prefixes = 8};
        OK(tuf_publisher_delegate(p, "team", &half, &f->err));
        OK(tuf_publisher_publish(p, NULL, &f->err));
        assert_int_equal(verify(f).roles, 6);
        const struct tuf_publisher_delegation again = {
                .name = "half", .keys = keys, .n_keys = 1, .paths = paths, .n_paths = 1};
        FAILS(tuf_publisher_delegate(p, "targets", &again, &f->err), EEXIST);
        OK(tuf_publisher_undelegate(p, "team", "half", &f->err));
        OK(tuf_publisher_publish(p, NULL, &f->err));
        assert_int_equal(verify(f).roles, 5);
        tuf_publisher_free(p);
}

static int64_t root_version(struct fixture *f) {
        return verify(f).root;
}

static void test_rotate(void **state) {
        struct fixture *f = *state;
        static const char *const roles[] = {"root", "timestamp", "snapshot", "targets"};
        make(f);
        struct tuf_publisher *p = open_it(f);
        OK(tuf_publisher_add_target(p, "a", f->file, NULL, NULL, false, &f->err));
        OK(tuf_publisher_publish(p, NULL, &f->err));
        for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
                _cleanup_(x_freep) char *old = str_format("%s-1", roles[i]),
                                        *new = str_format("%s-2", roles[i]);
                const char *add[] = {new}, *remove[] = {old};
                OK(tuf_publisher_generate_key(p, new, i % 2 ? SIGNING_ED25519 : SIGNING_ECDSA_P256, NULL,
                                              &f->err));
                OK(tuf_publisher_rotate(p, roles[i], add, 1, remove, 1, 0, &f->err));
                OK(tuf_publisher_publish(p, NULL, &f->err));
                assert_int_equal(root_version(f), (int64_t)i + 2);
        }
        const char *both[] = {"root-1", "root-2"};
        OK(tuf_publisher_rotate(p, "root", both, 2, NULL, 0, 2, &f->err));
        FAILS(tuf_publisher_rotate(p, "root", NULL, 0, NULL, 0, 3, &f->err), EINVAL);
        OK(tuf_publisher_publish(p, NULL, &f->err));
        assert_int_equal(root_version(f), 6);
        tuf_publisher_free(p);
}

static void test_offline(void **state) {
        struct fixture *f = *state;
        _cleanup_(signing_key_freep) struct signing_key *secret = NULL, *stranger = NULL;
        _cleanup_(tuf_key_freep) struct tuf_key *key = NULL;
        _cleanup_(tuf_signer_freep) struct tuf_signer *signer = NULL, *wrong = NULL;
        _cleanup_(x_freep) char *prepared = NULL, *signed_text = NULL, *forged = NULL, *old = NULL;
        size_t len = 0, signed_len = 0, forged_len = 0, old_len = 0, new = 0;
        OK(signing_key_generate(SIGNING_ED25519, &secret, &f->err));
        OK(signing_key_generate(SIGNING_ED25519, &stranger, &f->err));
        OK(tuf_key_from_signing_key(secret, &key, &f->err));
        OK(tuf_signer_from_key(secret, &signer, &f->err));
        OK(tuf_signer_from_key(stranger, &wrong, &f->err));
        const struct tuf_publisher_init init = {.scheme = SIGNING_ED25519, .keys = {[TUF_TARGETS] = key}};
        OK(tuf_publisher_init(f->dir, &init, &f->options, &f->err));
        struct tuf_publisher *p = open_it(f);
        FAILS(tuf_publisher_publish(p, NULL, &f->err), ENOKEY);
        OK(tuf_publisher_prepare(p, "targets", &old, &old_len, &f->err));
        OK(tuf_publisher_add_target(p, "a", f->file, NULL, NULL, false, &f->err));
        OK(tuf_publisher_prepare(p, "targets", &prepared, &len, &f->err));
        OK(tuf_prepared_sign(prepared, len, signer, &signed_text, &signed_len, &f->err));
        OK(tuf_prepared_sign(prepared, len, wrong, &forged, &forged_len, &f->err));
        FAILS(tuf_publisher_submit(p, "targets", forged, forged_len, &new, &f->err), EKEYREJECTED);
        FAILS(tuf_publisher_submit(p, "targets", old, old_len, &new, &f->err), ESTALE);
        OK(tuf_publisher_submit(p, "targets", signed_text, signed_len, &new, &f->err));
        assert_int_equal(new, 1);
        OK(tuf_publisher_submit(p, "targets", signed_text, signed_len, &new, &f->err));
        assert_int_equal(new, 0);
        OK(tuf_publisher_publish(p, NULL, &f->err));
        assert_int_equal(verify(f).files, 1);

        /* The bytes alone, one signature back. */
        _cleanup_(x_freep) char *bytes = NULL, *hex = NULL;
        OK(tuf_publisher_renew(p, "targets", &f->err));
        OK(tuf_publisher_prepare_bytes(p, "targets", &bytes, &len, &f->err));
        OK(tuf_sign(signer, bytes, len, &hex, &f->err));
        FAILS(tuf_publisher_submit_signature(p, "targets", "root-1", hex, &f->err), EKEYREJECTED);
        OK(tuf_publisher_submit_signature(p, "targets", "targets-1", hex, &f->err));
        OK(tuf_publisher_publish(p, NULL, &f->err));
        assert_int_equal(verify(f).targets, 2);
        tuf_publisher_free(p);
}

static int refuse_passphrase(void *arg, const char *name, char **ret, struct err **err) {
        ++*(int *)arg;
        return -ENOKEY;
}

static int give_passphrase(void *arg, const char *name, char **ret, struct err **err) {
        ++*(int *)arg;
        *ret = str_dup("correct horse");
        return 0;
}

static void test_passphrase(void **state) {
        struct fixture *f = *state;
        int asked = 0;
        const struct tuf_publisher_init init = {.scheme = SIGNING_ED25519, .passphrase = "correct horse"};
        OK(tuf_publisher_init(f->dir, &init, &f->options, &f->err));
        f->options.passphrase = refuse_passphrase;
        f->options.passphrase_arg = &asked;
        struct tuf_publisher *p = open_it(f);
        OK(tuf_publisher_publish(p, NULL, &f->err)); /* was signed when it was made */
        assert_int_equal(asked, 0);
        OK(tuf_publisher_add_target(p, "a", f->file, NULL, NULL, false, &f->err));
        FAILS(tuf_publisher_publish(p, NULL, &f->err), ENOKEY);
        assert_int_equal(asked, 1);
        tuf_publisher_free(p);
        f->options.passphrase = give_passphrase;
        p = open_it(f);
        OK(tuf_publisher_publish(p, NULL, &f->err));
        assert_int_equal(asked, 2);
        assert_int_equal(verify(f).files, 1);
        tuf_publisher_free(p);
}

static void test_damage(void **state) {
        struct fixture *f = *state;
        struct tuf_target t;
        struct tuf_verify_result result;
        struct tuf_verify_options o = {.now_s = NOW_S};
        make(f);
        struct tuf_publisher *p = open_it(f);
        OK(tuf_publisher_add_target(p, "b/a", f->file, NULL, NULL, false, &f->err));
        OK(tuf_publisher_publish(p, NULL, &f->err));
        OK(tuf_publisher_find(p, "b/a", NULL, &t, &f->err));
        _cleanup_(x_freep) char *name = repository_target_file("b/a", t.sha256);
        _cleanup_(x_freep) char *path = path_join(f->public_dir, name);
        OK(file_write_atomic(path, "payload two\n", 12, 0644, &f->err));
        FAILS(tuf_verify_folder(f->public_dir, &o, &result, &f->err), EBADMSG);
        for (int link = 0; link < 2; link++) { /* adding it again makes it good */
                OK(file_write_atomic(path, "payload two\n", 12, 0644, &f->err));
                OK(tuf_publisher_add_target(p, "b/a", f->file, NULL, NULL, link, &f->err));
                OK(tuf_verify_folder(f->public_dir, &o, &result, &f->err));
        }
        o.metadata_only = true;
        OK(tuf_verify_folder(f->public_dir, &o, &result, &f->err));
        assert_int_equal(unlink(path), 0);
        FAILS(tuf_verify_folder(f->public_dir, &o, &result, &f->err), ENOENT);
        o.now_s += 8 * 86400;
        FAILS(tuf_verify_folder(f->public_dir, &o, &result, &f->err), ETIMEDOUT);
        tuf_publisher_free(p);
}

/* ---- Killed at every change on the disk */

static int die_at(void *arg, const char *what) {
        int *left = arg;
        if (--*left == 0)
                (void)kill(getpid(), SIGKILL);
        return 0;
}

/* Adds a target, delegates, rotates the timestamp key and the root key, and publishes: everything moves. */
static int change_much(struct fixture *f, int round) {
        struct tuf_publisher *p = NULL;
        _cleanup_(x_freep) char *path = str_format("a/%d", round),
                                *name = str_format("timestamp-%d", round + 2);
        _cleanup_(x_freep) char *old = str_format("timestamp-%d", round + 1),
                                *role = str_format("team%d", round);
        const char *add[] = {name}, *remove[] = {old}, *keys[] = {"targets-1"}, *paths[] = {"a/*"};
        const struct tuf_publisher_delegation d = {
                .name = role, .keys = keys, .n_keys = 1, .paths = paths, .n_paths = 1};
        int r = tuf_publisher_open(f->dir, &f->options, &p, &f->err);
        if (r < 0)
                return r;
        r = tuf_publisher_add_target(p, path, f->file, NULL, NULL, false, &f->err);
        if (r >= 0)
                r = tuf_publisher_delegate(p, "targets", &d, &f->err);
        if (r >= 0)
                r = tuf_publisher_generate_key(p, name, SIGNING_ED25519, NULL, &f->err);
        if (r >= 0)
                r = tuf_publisher_rotate(p, "timestamp", add, 1, remove, 1, 0, &f->err);
        if (r >= 0)
                r = tuf_publisher_publish(p, NULL, &f->err);
        tuf_publisher_free(p);
        return r;
}

static void copy_folder(const char *from, const char *to) {
        _cleanup_(x_freep) char *command = str_format("cp -a '%s' '%s'", from, to);
        assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): names of our own */
}

static void test_killed_anywhere(void **state) {
        struct fixture *f = *state;
        make(f);
        struct tuf_publisher *p = open_it(f);
        OK(tuf_publisher_add_target(p, "first", f->file, NULL, NULL, false, &f->err));
        OK(tuf_publisher_publish(p, NULL, &f->err));
        tuf_publisher_free(p);
        _cleanup_(x_freep) char *kept = path_join(f->top, "kept");
        copy_folder(f->dir, kept);
        bool finished = false;
        int step = 1;
        for (; !finished && step < 200; step++) {
                OK(path_remove(f->dir, &f->err));
                copy_folder(kept, f->dir);
                pid_t child = fork();
                assert_true(child >= 0);
                if (child == 0) {
                        int left = step;
                        f->options.before_change = die_at;
                        f->options.before_change_arg = &left;
                        _exit(change_much(f, 0) < 0 ? 1 : 0);
                }
                int status = 0;
                assert_int_equal(waitpid(child, &status, 0), child);
                finished = WIFEXITED(status);
                assert_true(finished ? WEXITSTATUS(status) == 0 : WTERMSIG(status) == SIGKILL);
                /* A reader sees the old or the new, whole; the owner goes on. */
                struct tuf_verify_result seen = verify(f);
                assert_true(seen.files == 1 || seen.files == 2);
                p = open_it(f);
                struct tuf_target t;
                OK(tuf_publisher_find(p, "first", NULL, &t, &f->err));
                OK(tuf_publisher_add_target(p, "after", f->file, NULL, NULL, false, &f->err));
                OK(tuf_publisher_publish(p, NULL, &f->err));
                tuf_publisher_free(p);
                struct tuf_verify_result after = verify(f);
                assert_true(after.files >= seen.files + 1);
                assert_true(after.timestamp > seen.timestamp);
        }
        assert_true(finished && step > 15);
}

/* The same where the moment is any: seeds, not steps. */
static void test_killed_any_time(void **state) {
        struct fixture *f = *state;
        struct prng random;
        prng_seed(&random, 20261120);
        make(f);
        struct tuf_publisher *p = open_it(f);
        OK(tuf_publisher_publish(p, NULL, &f->err));
        tuf_publisher_free(p);
        for (int round = 0; round < 12; round++) {
                pid_t child = fork();
                assert_true(child >= 0);
                if (child == 0) {
                        p = NULL;
                        for (int i = 0; tuf_publisher_open(f->dir, &f->options, &p, NULL) >= 0; i++) {
                                _cleanup_(x_freep) char *path = str_format("t/%d/%d", round, i);
                                (void)tuf_publisher_add_target(p, path, f->file, NULL, NULL, false, NULL);
                                (void)tuf_publisher_publish(p, NULL, NULL);
                                p = tuf_publisher_free(p);
                        }
                        _exit(1);
                }
                (void)usleep((useconds_t)prng_below(&random, 30000));
                (void)kill(child, SIGKILL);
                int status = 0;
                assert_int_equal(waitpid(child, &status, 0), child);
                assert_true(WIFSIGNALED(status));
                (void)verify(f);
                p = open_it(f);
                OK(tuf_publisher_publish(p, NULL, &f->err));
                tuf_publisher_free(p);
                (void)verify(f);
        }
}

/* A disk that refuses: an error, nothing half done, and later it goes on. */
static int refuse_at(void *arg, const char *what) {
        int *left = arg;
        return --*left == 0 ? -ENOSPC : 0;
}

static void test_disk_full(void **state) {
        struct fixture *f = *state;
        make(f);
        struct tuf_publisher *p = open_it(f);
        OK(tuf_publisher_publish(p, NULL, &f->err));
        tuf_publisher_free(p);
        int left = 0, refusals = 0;
        f->options.before_change = refuse_at;
        f->options.before_change_arg = &left;
        for (int step = 1; step < 40; step++) {
                left = step;
                p = open_it(f);
                _cleanup_(x_freep) char *path = str_format("t/%d", step);
                int r = tuf_publisher_add_target(p, path, f->file, NULL, NULL, false, &f->err);
                if (r >= 0)
                        r = tuf_publisher_publish(p, NULL, &f->err);
                if (r < 0) {
                        assert_int_equal(r, -ENOSPC);
                        f->err = err_free(f->err);
                        refusals++;
                }
                (void)verify(f);
                left = 0;
                if (r < 0)
                        OK(tuf_publisher_publish(p, NULL, &f->err));
                tuf_publisher_free(p);
                (void)verify(f);
        }
        assert_true(refusals > 8);
}

struct seen_roles {
        size_t n, staged, ready;
};
static int see_role(void *arg, const struct tuf_publisher_role *r) {
        struct seen_roles *seen = arg;
        seen->n++;
        seen->staged += r->staged > 0;
        seen->ready += r->ready;
        return 0;
}

static void test_status_and_discard(void **state) {
        struct fixture *f = *state;
        struct seen_roles seen = {0};
        make(f);
        struct tuf_publisher *p = open_it(f);
        OK(tuf_publisher_each_role(p, see_role, &seen));
        assert_int_equal(seen.n, 4);
        assert_int_equal(seen.staged, 2);
        assert_int_equal(seen.ready, 2);
        FAILS(tuf_publisher_discard(p, "root", &f->err), EINVAL);
        OK(tuf_publisher_publish(p, NULL, &f->err));
        OK(tuf_publisher_set_expiry(p, "targets", 3600, &f->err));
        OK(tuf_publisher_renew(p, "targets", &f->err));
        seen = (struct seen_roles){0};
        OK(tuf_publisher_each_role(p, see_role, &seen));
        assert_int_equal(seen.staged, 1);
        assert_int_equal(seen.ready, 3);
        OK(tuf_publisher_discard(p, "targets", &f->err));
        FAILS(tuf_publisher_discard(p, "targets", &f->err), ENOENT);
        OK(tuf_publisher_renew(p, "targets", &f->err));
        OK(tuf_publisher_publish(p, NULL, &f->err));
        virtual_clock_advance(&f->clock, 3601 * 1000);
        FAILS(tuf_publisher_publish(p, NULL, &f->err), ETIMEDOUT);
        OK(tuf_publisher_renew(p, "targets", &f->err));
        OK(tuf_publisher_publish(p, NULL, &f->err));
        (void)verify(f);
        tuf_publisher_free(p);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(test_publish),
                TEST(test_two_publishers),
                TEST(test_delegate),
                TEST(test_rotate),
                TEST(test_offline),
                TEST(test_passphrase),
                TEST(test_damage),
                TEST(test_killed_anywhere),
                TEST(test_killed_any_time),
                TEST(test_disk_full),
                TEST(test_status_and_discard),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
