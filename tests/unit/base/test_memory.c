/* SPDX-License-Identifier: Apache-2.0 */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/str.h"

static char writable[] = "as it was";
static const char *const relocated[] = {"one", "two", "three"};

static void test_everything_still_works(void **state) {
        char *heap = malloc(1 << 20);
        assert_non_null(heap);
        memset(heap, 'x', 1 << 20);
        strcpy(writable, "changed");
        for (int i = 0; i < 3; i++) {
                memory_give_back();
                assert_string_equal(writable, "changed");
                assert_string_equal(relocated[i], i == 0 ? "one" : i == 1 ? "two" : "three");
                assert_int_equal(heap[(1 << 20) - 1], 'x');
                _cleanup_(x_freep) char *text = str_format("%d %.1f %s", 42, 1.5, relocated[2]);
                assert_string_equal(text, "42 1.5 three");
                assert_true(dlsym(RTLD_DEFAULT, "qsort") != NULL);
        }
        free(heap);
}

static long resident_file_kb(void) {
        long kb = -1;
        char line[256];
        FILE *f = fopen("/proc/self/status", "r");
        while (f && fgets(line, sizeof(line), f))
                (void)sscanf(line, "RssFile: %ld", &kb);
        if (f)
                fclose(f);
        return kb;
}

static void test_less_is_resident(void **state) {
        long before = resident_file_kb();
        memory_give_back();
        long after = resident_file_kb();
        assert_true(before < 0 || after < before);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_everything_still_works),
                cmocka_unit_test(test_less_is_resident),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
