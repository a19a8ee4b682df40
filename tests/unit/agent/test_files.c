/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "fixture.h"

struct outcome {
        int error;
        char message[256];
        unsigned corrected, calls, changes;
};

static void done(void *arg, const struct driver_outcome *o) {
        struct outcome *out = arg;
        out->error = o->error;
        out->corrected = o->corrected;
        out->calls++;
        (void)snprintf(out->message, sizeof(out->message), "%s", o->message ? o->message : "");
}

static void event(void *arg, const struct driver_event *e) {
        struct outcome *out = arg;
        assert_int_equal(e->type, DRIVER_CHANGED);
        out->changes++;
}

static struct driver_part *new_part(struct fixture *f, struct desired *d, struct outcome *out) {
        struct driver_listener listener = {.event = event, .arg = out};
        struct driver_app app = {.name = d->units[0].spec->name, .desired = d, .unit = &d->units[0]};
        struct driver_part *p;
        assert_int_equal(files_driver.part_new(&f->host, &app, &listener, &p, NULL), 0);
        return p;
}

static void intend(struct fixture *f, struct desired *d) {
        assert_int_equal(ledger_intend_apply(f->ledger, d->source, &d->units[0], 0), 0);
}

/* Applies a revision whose only app has these files, as the reconciler does. */
static struct driver_part *apply(struct fixture *f, const char *files, struct outcome *out) {
        _cleanup_(x_freep) char *apps = str_format("[{'name':'conf','driver':'files','files':[%s]}]", files);
        _cleanup_(desired_freep) struct desired *d = fixture_desired(f, apps);
        intend(f, d);
        struct driver_part *p = new_part(f, d, out);
        p->driver->apply(p, done, out);
        if (out->error == 0)
                assert_int_equal(ledger_done_apply(f->ledger, &d->units[0]), 0);
        return p;
}

static const char *file(struct fixture *f, const char *path, const char *content, const char *more) {
        static char text[4][512];
        static unsigned at;
        char *out = text[at++ % 4];
        (void)snprintf(out, sizeof(text[0]), "{'path':'%s','sha256':'%s','size':%zu,'mode':420%s}", path,
                       fixture_object(f, content), strlen(content), more);
        return out;
}

static void expect_content(struct fixture *f, const char *path, const char *content) {
        _cleanup_(x_freep) char *is = fixture_read(f, path);
        if (!content)
                assert_null(is);
        else {
                assert_non_null(is);
                assert_string_equal(is, content);
        }
}

static void path_in_root(const struct fixture *f, const char *path, char out[256]) {
        (void)snprintf(out, 256, "%s%s", f->sysroot, path);
}

static void puts_files_in_place(void **state) {
        struct fixture *f = *state;
        struct outcome out = {0};
        struct stat st;
        char path[256], files[1200];
        (void)snprintf(files, sizeof(files), "%s,%s",
                       file(f, "/etc/shop/a.ini", "site=${labels.site}\n", ",'expand':true"),
                       file(f, "/srv/deep/er/b", "plain ${labels.site}\n", ""));
        struct driver_part *p = apply(f, files, &out);
        assert_int_equal(out.error, 0);
        expect_content(f, "/etc/shop/a.ini", "site=kiel\n");
        expect_content(f, "/srv/deep/er/b", "plain ${labels.site}\n");
        path_in_root(f, "/etc/shop/a.ini", path);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0644);
        driver_part_free(p);
}

static void a_right_file_is_left_alone(void **state) {
        struct fixture *f = *state;
        struct outcome out = {0};
        struct stat before, after;
        char path[256];
        driver_part_free(apply(f, file(f, "/etc/a", "one", ""), &out));
        path_in_root(f, "/etc/a", path);
        assert_int_equal(stat(path, &before), 0);
        driver_part_free(apply(f, file(f, "/etc/a", "one", ""), &out));
        assert_int_equal(stat(path, &after), 0);
        assert_int_equal(before.st_ino, after.st_ino);
}

static void a_new_version_takes_the_old_files_away(void **state) {
        struct fixture *f = *state;
        struct outcome out = {0};
        char files[1200];
        (void)snprintf(files, sizeof(files), "%s,%s", file(f, "/etc/a", "one", ""),
                       file(f, "/etc/b", "two", ""));
        driver_part_free(apply(f, files, &out));
        driver_part_free(apply(f, file(f, "/etc/b", "three", ""), &out));
        assert_int_equal(out.error, 0);
        expect_content(f, "/etc/a", NULL);
        expect_content(f, "/etc/b", "three");
}

static void a_file_that_another_app_took_over_stays(void **state) {
        struct fixture *f = *state;
        struct outcome out = {0};
        char apps[700];
        driver_part_free(apply(f, file(f, "/etc/a", "one", ""), &out));
        (void)snprintf(apps, sizeof(apps), "[{'name':'other','driver':'files','files':[%s]}]",
                       file(f, "/etc/a", "other", ""));
        _cleanup_(desired_freep) struct desired *d = fixture_desired(f, apps);
        intend(f, d);
        struct driver_part *p = new_part(f, d, &out);
        p->driver->apply(p, done, &out);
        driver_part_free(p);
        driver_part_free(apply(f, file(f, "/etc/b", "two", ""), &out));
        expect_content(f, "/etc/a", "other");
        expect_content(f, "/etc/b", "two");
}

static void drift_is_found_and_put_back(void **state) {
        struct fixture *f = *state;
        struct outcome out = {0};
        char path[256], other[256];
        struct driver_part *p = apply(f, file(f, "/etc/shop/a", "one", ""), &out);
        path_in_root(f, "/etc/shop/a", path);
        path_in_root(f, "/etc/shop", other);

        p->driver->check(p, done, &out);
        assert_int_equal(out.corrected, 0);
        fixture_write(f, "/etc/shop/a", "1234");
        p->driver->check(p, done, &out);
        assert_int_equal(out.corrected, 1);
        expect_content(f, "/etc/shop/a", "one");
        assert_int_equal(chmod(path, 0666), 0);
        p->driver->check(p, done, &out);
        assert_int_equal(out.corrected, 1);
        assert_int_equal(unlink(path), 0);
        p->driver->check(p, done, &out);
        assert_int_equal(out.corrected, 1);
        assert_int_equal(path_remove(other, NULL), 0);
        p->driver->check(p, done, &out);
        assert_int_equal(out.corrected, 1);
        expect_content(f, "/etc/shop/a", "one");
        /* same size, same times: the inode's change time gives it away */
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        assert_int_equal(write(fd, "uno", 3), 3);
        struct timespec times[2] = {st.st_atim, st.st_mtim};
        assert_int_equal(futimens(fd, times), 0);
        (void)close(fd);
        p->driver->check(p, done, &out);
        assert_int_equal(out.corrected, 1);
        expect_content(f, "/etc/shop/a", "one");
        p->driver->check(p, done, &out);
        assert_int_equal(out.corrected, 0);
        driver_part_free(p);
}

static bool has_changes(void *arg) {
        return ((struct outcome *)arg)->changes > 0;
}

static void changes_are_noticed_at_once(void **state) {
        struct fixture *f = *state;
        struct outcome out = {0};
        char path[256], moved[256];
        struct driver_part *p = apply(f, file(f, "/etc/shop/a", "one", ""), &out);
        fixture_turn(f);
        p->driver->check(p, done, &out);
        fixture_turn(f);
        out.changes = 0;
        fixture_write(f, "/etc/shop/other", "x");
        fixture_turn(f);
        fixture_turn(f);
        fixture_turn(f);
        assert_int_equal(out.changes, 0); /* a neighbour is none of ours */
        fixture_write(f, "/etc/shop/a", "two");
        fixture_run(f, has_changes, &out);
        p->driver->check(p, done, &out);
        assert_int_equal(out.corrected, 1);

        /* The folder is moved away and made anew: watched again after the check. */
        fixture_turn(f);
        path_in_root(f, "/etc/shop", path);
        path_in_root(f, "/etc/gone", moved);
        assert_int_equal(rename(path, moved), 0);
        out.changes = 0;
        fixture_run(f, has_changes, &out);
        p->driver->check(p, done, &out);
        assert_int_equal(out.corrected, 1);
        fixture_turn(f);
        out.changes = 0;
        fixture_write(f, "/etc/shop/a", "three");
        fixture_run(f, has_changes, &out);
        driver_part_free(p);
}

static void symlinks_do_not_lead_out(void **state) {
        struct fixture *f = *state;
        struct outcome out = {0};
        char outside[128], link[256], victim[256];
        (void)snprintf(outside, sizeof(outside), "%s/outside", f->folder);
        assert_int_equal(dir_make(outside, 0755, NULL), 0);
        path_in_root(f, "/etc/evil", link);
        (void)snprintf(victim, sizeof(victim), "%s/passwd", outside);

        /* a folder that is a link out, absolute and relative */
        const char *const targets[] = {outside, "../../outside", "/proc/self/root"};
        for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
                assert_int_equal(symlink(targets[i], link), 0);
                driver_part_free(apply(f, file(f, "/etc/evil/passwd", "owned", ""), &out));
                assert_true(out.error < 0);
                assert_non_null(strstr(out.message, "/etc/evil/passwd"));
                assert_false(fixture_exists(victim));
                assert_int_equal(unlink(link), 0);
        }

        /* the file itself is a link: it is replaced, what it leads to is not touched */
        assert_int_equal(file_write_atomic(victim, "mine", 4, 0644, NULL), 0);
        assert_int_equal(symlink(victim, link), 0);
        out = (struct outcome){0};
        struct driver_part *p = apply(f, file(f, "/etc/evil", "ours", ""), &out);
        assert_int_equal(out.error, 0);
        expect_content(f, "/etc/evil", "ours");
        _cleanup_(x_freep) char *text = NULL;
        size_t len;
        assert_int_equal(file_read(victim, 100, &text, &len, NULL), 0);
        assert_string_equal(text, "mine");

        /* while it is managed, too; and a removal does not follow it */
        assert_int_equal(unlink(link), 0);
        assert_int_equal(symlink(victim, link), 0);
        p->driver->check(p, done, &out);
        assert_int_equal(out.corrected, 1);
        assert_int_equal(unlink(link), 0);
        assert_int_equal(symlink(victim, link), 0);
        p->driver->remove(p, done, &out);
        assert_int_equal(out.error, 0);
        assert_false(fixture_exists(link));
        assert_true(fixture_exists(victim));
        driver_part_free(p);
}

static void a_folder_turned_link_keeps_removal_inside(void **state) {
        struct fixture *f = *state;
        struct outcome out = {0};
        char outside[128], folder[256], victim[256];
        struct driver_part *p = apply(f, file(f, "/etc/shop/a", "one", ""), &out);
        (void)snprintf(outside, sizeof(outside), "%s/outside", f->folder);
        (void)snprintf(victim, sizeof(victim), "%s/a", outside);
        path_in_root(f, "/etc/shop", folder);
        assert_int_equal(dir_make(outside, 0755, NULL), 0);
        assert_int_equal(file_write_atomic(victim, "mine", 4, 0644, NULL), 0);
        assert_int_equal(path_remove(folder, NULL), 0);
        assert_int_equal(symlink(outside, folder), 0);
        p->driver->remove(p, done, &out);
        assert_int_equal(out.error, 0);
        assert_true(fixture_exists(victim));
        driver_part_free(p);
}

static void owners_come_from_the_sysroot(void **state) {
        struct fixture *f = *state;
        struct outcome out = {0};
        struct stat st;
        char path[256];
        fixture_write(f, "/etc/passwd",
                      "root:x:0:0::/:/bin/sh\ntill:x:4711:4712:Till:/srv:/bin/false\nbroken\n");
        fixture_write(f, "/etc/group", "root:x:0:\nshop:x:4713:till\n");
        driver_part_free(apply(f, file(f, "/etc/a", "one", ",'owner':'nobody-here'"), &out));
        assert_int_equal(out.error, -ENOENT);
        assert_non_null(strstr(out.message, "nobody-here"));
        assert_non_null(strstr(out.message, "/etc/passwd"));

        driver_part_free(apply(f, file(f, "/etc/a", "one", ",'owner':'till','group':'shop'"), &out));
        if (geteuid() != 0) {
                assert_int_equal(out.error, -EPERM);
                assert_non_null(strstr(out.message, "runs as root"));
                return;
        }
        assert_int_equal(out.error, 0);
        path_in_root(f, "/etc/a", path);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_uid, 4711);
        assert_int_equal(st.st_gid, 4713);
        driver_part_free(apply(f, file(f, "/etc/a", "one", ",'owner':'12','group':'34'"), &out));
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_uid, 12);
        assert_int_equal(st.st_gid, 34);
}

static void a_folder_in_the_way_is_an_error(void **state) {
        struct fixture *f = *state;
        struct outcome out = {0};
        char path[256];
        path_in_root(f, "/etc/shop/a", path);
        assert_int_equal(dir_make(path, 0755, NULL), 0);
        driver_part_free(apply(f, file(f, "/etc/shop/a", "one", ""), &out));
        assert_true(out.error < 0);
        assert_non_null(strstr(out.message, "/etc/shop/a"));
}

static void removal_needs_the_record_only(void **state) {
        struct fixture *f = *state;
        struct outcome out = {0};
        struct driver_part *p;
        struct driver_listener listener = {.event = event, .arg = &out};
        driver_part_free(apply(f, file(f, "/etc/a", "one", ""), &out));
        assert_int_equal(
                files_driver.part_new(&f->host, &(struct driver_app){.name = "conf"}, &listener, &p, NULL),
                0);
        p->driver->remove(p, done, &out);
        assert_int_equal(out.error, 0);
        expect_content(f, "/etc/a", NULL);
        p->driver->remove(p, done, &out);
        assert_int_equal(out.error, 0);
        driver_part_free(p);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
        const struct CMUnitTest tests[] = {
                T(puts_files_in_place),
                T(a_right_file_is_left_alone),
                T(a_new_version_takes_the_old_files_away),
                T(a_file_that_another_app_took_over_stays),
                T(drift_is_found_and_put_back),
                T(changes_are_noticed_at_once),
                T(symlinks_do_not_lead_out),
                T(a_folder_turned_link_keeps_removal_inside),
                T(owners_come_from_the_sysroot),
                T(a_folder_in_the_way_is_an_error),
                T(removal_needs_the_record_only),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
