/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"

static void memory_is_zeroed_aligned_and_apart(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        unsigned char *blocks[2000];
        for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
                size_t size = 1 + i * 7 % 500;
                blocks[i] = arena_alloc(a, size);
                assert_non_null(blocks[i]);
                assert_int_equal((uintptr_t)blocks[i] % _Alignof(max_align_t), 0);
                for (size_t j = 0; j < size; j++)
                        assert_int_equal(blocks[i][j], 0);
                memset(blocks[i], (int)(i % 255 + 1), size);
        }
        for (size_t i = 0; i < ARRAY_SIZE(blocks); i++)
                for (size_t j = 0; j < 1 + i * 7 % 500; j++)
                        assert_int_equal(blocks[i][j], i % 255 + 1);
}

static void large_blocks_do_not_waste_the_chunk_in_use(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        char *before = arena_alloc(a, 16);
        char *large = arena_alloc(a, 5 << 20);
        char *after = arena_alloc(a, 16);
        assert_non_null(large);
        memset(large, 1, 5 << 20);
        assert_ptr_equal(after, before + 16);
        assert_int_equal(arena_used(a), (5 << 20) + 32);
}

static void nothing_is_something(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        void *first = arena_alloc(a, 0), *second = arena_calloc(a, 0, 8);
        assert_non_null(first);
        assert_non_null(second);
        assert_ptr_not_equal(first, second);
        assert_non_null(arena_memdup(a, NULL, 0));
        assert_null(arena_free(NULL));
}

static void limit_holds(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(100);
        assert_non_null(arena_alloc(a, 60));
        assert_null(arena_alloc(a, 41));
        assert_non_null(arena_alloc(a, 40));
        assert_null(arena_alloc(a, 1));
        assert_null(arena_strdup(a, ""));
        assert_int_equal(arena_used(a), 100);
}

static void absurd_sizes_are_refused(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        assert_null(arena_alloc(a, SIZE_MAX));
        assert_null(arena_calloc(a, SIZE_MAX / 2, 3));
        assert_null(arena_calloc(a, SIZE_MAX, SIZE_MAX));
        assert_non_null(arena_alloc(a, 1));
}

static void copies(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        assert_string_equal(arena_strdup(a, "abc"), "abc");
        assert_string_equal(arena_strndup(a, "abcdef", 3), "abc");
        assert_string_equal(arena_strndup(a, "abc", 100), "abc");
        assert_memory_equal(arena_memdup(a, "a\0b", 3), "a\0b", 3);
        assert_string_equal(arena_printf(a, "%s-%d", "x", 7), "x-7");
        char long_text[2000];
        memset(long_text, 'y', sizeof(long_text) - 1);
        long_text[sizeof(long_text) - 1] = '\0';
        for (size_t n = 250; n < 260; n++) { /* around what fits the small buffer of arena_printf() */
                const char *printed = arena_printf(a, "%.*s", (int)n, long_text);
                assert_int_equal(strlen(printed), n);
        }
        assert_string_equal(arena_printf(a, "%s", long_text), long_text);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(memory_is_zeroed_aligned_and_apart),
                cmocka_unit_test(large_blocks_do_not_waste_the_chunk_in_use),
                cmocka_unit_test(nothing_is_something),
                cmocka_unit_test(limit_holds),
                cmocka_unit_test(absurd_sizes_are_refused),
                cmocka_unit_test(copies),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
