/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/driver/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/str.h"
#include "fixture.h"

/* A folder with the kernel's files stands in for the hierarchy: what is written is what is asked of it. */
struct hierarchy {
        char mount[100];
        char base[400]; /* our own group in it */
};

static void put(const char *folder, const char *file, const char *text) {
        _cleanup_(x_freep) char *path = path_join(folder, file);
        assert_int_equal(dir_make(folder, 0755, NULL), 0);
        assert_int_equal(file_write_atomic(path, text, strlen(text), 0644, NULL), 0);
}

static void expect(const char *folder, const char *file, const char *text) {
        _cleanup_(x_freep) char *path = path_join(folder, file), *is = NULL;
        size_t len;
        assert_int_equal(file_read(path, 1000, &is, &len, NULL), 0);
        assert_string_equal(is, text);
}

/* False where the test itself runs outside of any version 2 hierarchy. */
static bool make(struct fixture *f, struct hierarchy *h) {
        char line[300];
        bool found = false;
        FILE *file = fopen("/proc/self/cgroup", "re");
        (void)snprintf(h->mount, sizeof(h->mount), "%s/cgroup", f->folder);
        while (file && fgets(line, sizeof(line), file))
                if (str_has_prefix(line, "0::/")) {
                        line[strcspn(line, "\n")] = '\0';
                        (void)snprintf(h->base, sizeof(h->base), "%s%s", h->mount,
                                       str_eq(line + 3, "/") ? "" : line + 3);
                        found = true;
                }
        if (file)
                (void)fclose(file);
        return found;
}

static void limits_are_written(void **state) {
        struct fixture *f = *state;
        struct hierarchy h;
        struct cgroup *c;
        if (!make(f, &h))
                skip();
        put(h.base, "cgroup.controllers", "cpuset cpu io memory pids\n");
        put(h.base, "cgroup.subtree_control", "");
        _cleanup_(x_freep) char *app = str_format("%s/skerry-tag-web", h.base);
        static const char *const files[] = {"memory.max", "cpu.max", "pids.max", "cgroup.procs",
                                            "cgroup.kill"};
        for (size_t i = 0; i < ARRAY_SIZE(files); i++)
                put(app, files[i], "");
        assert_int_equal(cgroup_open(h.mount, "tag", &c, NULL), 0);
        struct cgroup_limits limits = {.memory_max_bytes = 67108864, .cpu_max_millis = 500};
        assert_int_equal(cgroup_make(c, "web", &limits, NULL), 0);
        expect(h.base, "cgroup.subtree_control", "+memory +cpu +pids");
        expect(app, "memory.max", "67108864");
        expect(app, "cpu.max", "50000 100000");
        expect(app, "pids.max", "max");
        assert_int_equal(cgroup_enter(c, "web", 4711, NULL), 0);
        expect(app, "cgroup.procs", "4711");
        cgroup_kill(c, "web");
        expect(app, "cgroup.kill", "1");
        cgroup_free(c);
}

static void without_the_controllers_it_says_so(void **state) {
        struct fixture *f = *state;
        struct hierarchy h;
        struct cgroup *c;
        struct err *err = NULL;
        if (!make(f, &h))
                skip();
        put(h.base, "cgroup.controllers", "\n");
        assert_int_equal(cgroup_open(h.mount, "tag", &c, NULL), 0);
        assert_int_equal(cgroup_make(c, "web", &(struct cgroup_limits){.pids_max = 5}, &err), -ENOTSUP);
        assert_non_null(strstr(err_message(err), "memory, cpu and pids"));
        err_free(err);
        cgroup_free(c);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(limits_are_written, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(without_the_controllers_it_says_so, fixture_setup,
                                                fixture_teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
