/* SPDX-License-Identifier: Apache-2.0 */
/* Matching of bytes and tokens: what comes out is in bounds, in order and worth something. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "delta_pairs.h"
#include "repo/delta/match.h"

#define SEEDS 60u

struct random { /* xorshift: the same on every machine */
        uint64_t state;
};

static uint32_t draw(struct random *r, uint32_t below) {
        r->state ^= r->state << 13;
        r->state ^= r->state >> 7;
        r->state ^= r->state << 17;
        return (uint32_t)(r->state >> 20) % below;
}

/* Every piece within both sequences, rising in the new one; returns how much of the new one they cover. */
static int64_t assert_runs(const struct delta_pieces *p, int64_t n_old, int64_t n_new) {
        int64_t end = 0, covered = 0;
        for (size_t i = 0; i < p->n; i++) {
                assert_true(p->items[i].length > 0);
                assert_true(p->items[i].new_offset >= end);
                assert_in_range(p->items[i].old_offset + p->items[i].length, 1, n_old);
                end = p->items[i].new_offset + p->items[i].length;
                assert_in_range(end, 1, n_new);
                covered += p->items[i].length;
        }
        return covered;
}

static void test_pieces(void **state) {
        struct delta_pieces p = {0};
        assert_int_equal(delta_pieces_add(&p, 10, 0, 5), 0);
        assert_int_equal(delta_pieces_add(&p, 15, 5, 5), 0);
        assert_int_equal(p.n, 1); /* goes on where the first one ends */
        assert_int_equal(delta_pieces_add(&p, 0, 30, 0), 0);
        assert_int_equal(p.n, 1); /* nothing to say */
        assert_int_equal(delta_pieces_add(&p, 100, 40, 4), 0);
        assert_int_equal(delta_pieces_add(&p, 200, 8, 10), 0); /* overlaps [0, 10) */
        delta_pieces_sort(&p);
        assert_int_equal(p.n, 3);
        assert_int_equal(p.items[1].new_offset, 10);
        assert_int_equal(p.items[1].old_offset, 202);
        assert_int_equal(p.items[1].length, 8);
        delta_pieces_done(&p);
}

static void test_map(void **state) {
        const struct delta_piece pieces[] = {{100, 0, 10}, {0, 10, 50}};
        const uint32_t by_old[] = {1, 0};
        const struct delta_map map = {pieces, by_old, 2};
        assert_int_equal(delta_map_new(&map, 0), 10);
        assert_int_equal(delta_map_new(&map, 49), 59);
        assert_int_equal(delta_map_new(&map, 50), -1);
        assert_int_equal(delta_map_new(&map, 109), 9);
        assert_int_equal(delta_map_new(&map, 110), -1);
}

/* Edited bytes: most of the new ones are found again, differences within pieces allowed. */
static void test_bytes(void **state) {
        enum { SIZE = 6000 };
        static uint8_t old_data[SIZE], new_data[2 * SIZE];
        for (unsigned seed = 1; seed <= SEEDS; seed++) {
                struct random random = {seed * 0x9e3779b97f4a7c15u};
                size_t n = 0, inserted = 0;
                for (size_t i = 0; i < SIZE; i++)
                        old_data[i] = (uint8_t)draw(&random, 256);
                for (size_t i = 0; i < SIZE;) {
                        uint32_t what = draw(&random, 400);
                        if (what == 0) { /* left out */
                                i += draw(&random, 60);
                        } else if (what == 1) {
                                for (uint32_t k = draw(&random, 60); k > 0; k--, inserted++)
                                        new_data[n++] = (uint8_t)draw(&random, 256);
                        } else {
                                new_data[n++] = (uint8_t)(old_data[i++] + (what == 2));
                        }
                }
                struct predicted_pair p;
                assert_int_equal(predicted_pair_init(&p, old_data, SIZE, new_data, n), 0);
                assert_int_equal(p.match.kind, DELTA_PREDICT_NONE);
                assert_true(pieces_hold(&p));
                int64_t wrong = wrong_bytes(&p, 0, (int64_t)n, 33);
                assert_in_range(wrong, 0, inserted + 200);
                predicted_pair_done(&p);
        }
}

static void test_bytes_at_the_edges(void **state) {
        static const struct {
                const char *old_text, *new_text;
                int64_t wrong_most;
        } pairs[] = {
                {"", "", 0},
                {"", "something", 9},
                {"something", "", 0},
                {"the same text", "the same text", 0},
                {"a text that stays, and its end", "a text that stays", 0},
                {"a text that stays", "before a text that stays", 7},
                {"one block of text; another block of words; ", "another block of words; one block of text; ",
                 0},
        };
        for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
                struct predicted_pair p;
                size_t n = strlen(pairs[i].new_text);
                assert_int_equal(predicted_pair_init(&p, pairs[i].old_text, strlen(pairs[i].old_text),
                                                     pairs[i].new_text, n),
                                 0);
                assert_true(pieces_hold(&p));
                assert_in_range(wrong_bytes(&p, 0, (int64_t)n, 3), 0, pairs[i].wrong_most);
                predicted_pair_done(&p);
        }
}

static uint64_t alike(uint32_t class, uint32_t exact) {
        return (uint64_t) class << 32 | exact;
}

static void test_tokens(void **state) {
        /* One token left out, one put in, one that is merely alike. */
        const uint64_t old_tokens[] = {alike(1, 1), alike(2, 2), alike(3, 3),
                                       alike(4, 4), alike(5, 5), alike(6, 6)};
        const uint64_t new_tokens[] = {alike(1, 1), alike(3, 3), alike(4, 9),
                                       alike(8, 8), alike(5, 5), alike(6, 6)};
        struct delta_pieces runs = {0};
        assert_int_equal(delta_match_tokens(old_tokens, 6, new_tokens, 6, &runs), 0);
        assert_int_equal(assert_runs(&runs, 6, 6), 5);
        assert_int_equal(runs.n, 3);
        assert_int_equal(runs.items[1].old_offset, 2);
        assert_int_equal(runs.items[1].new_offset, 1);
        assert_int_equal(runs.items[1].length, 2);
        delta_pieces_done(&runs);
}

static void test_tokens_of_any_edit(void **state) {
        enum { SIZE = 5000 };
        static uint64_t old_tokens[SIZE], new_tokens[2 * SIZE];
        for (unsigned seed = 1; seed <= SEEDS; seed++) {
                struct random random = {seed * 0x9e3779b97f4a7c15u};
                size_t n = 0, kept = 0;
                uint32_t kinds = 1 + draw(&random, 2000); /* few kinds: much is ambiguous */
                for (size_t i = 0; i < SIZE; i++)
                        old_tokens[i] = alike(draw(&random, kinds), 0);
                for (size_t i = 0; i < SIZE; i++) {
                        uint32_t what = draw(&random, 50);
                        if (what == 0)
                                continue;
                        if (what == 1)
                                new_tokens[n++] = alike(kinds + 1, 0);
                        new_tokens[n++] = old_tokens[i];
                        kept++;
                }
                struct delta_pieces runs = {0};
                assert_int_equal(delta_match_tokens(old_tokens, SIZE, new_tokens, n, &runs), 0);
                int64_t covered = assert_runs(&runs, SIZE, (int64_t)n);
                for (size_t i = 0; i < runs.n; i++)
                        for (int64_t k = 0; k < runs.items[i].length; k++)
                                assert_int_equal(old_tokens[runs.items[i].old_offset + k] >> 32,
                                                 new_tokens[runs.items[i].new_offset + k] >> 32);
                assert_in_range(covered, kept * 9 / 10, n);
                delta_pieces_done(&runs);
        }
}

/* Blocks in another order are found, each old token once. */
static void test_tokens_that_moved(void **state) {
        enum { BLOCKS = 20, BLOCK = 30 };
        uint64_t old_tokens[BLOCKS * BLOCK], new_tokens[BLOCKS * BLOCK];
        for (unsigned i = 0; i < BLOCKS * BLOCK; i++)
                old_tokens[i] = alike(i + 1, i);
        for (unsigned i = 0; i < BLOCKS; i++) /* 7 and 20 have no common divisor: every block once */
                memcpy(new_tokens + i * BLOCK, old_tokens + i * 7 % BLOCKS * BLOCK, BLOCK * sizeof(uint64_t));
        struct delta_pieces runs = {0};
        assert_int_equal(
                delta_match_moved_tokens(old_tokens, BLOCKS * BLOCK, new_tokens, BLOCKS * BLOCK, 3, &runs),
                0);
        assert_int_equal(assert_runs(&runs, BLOCKS * BLOCK, BLOCKS * BLOCK), BLOCKS * BLOCK);
        assert_in_range(runs.n, 2, BLOCKS);
        new_tokens[BLOCK + 4] = alike((uint32_t)(new_tokens[BLOCK + 4] >> 32), 77777);
        delta_pieces_done(&runs);
        assert_int_equal(
                delta_match_moved_tokens(old_tokens, BLOCKS * BLOCK, new_tokens, BLOCKS * BLOCK, 3, &runs),
                0);
        assert_int_equal(assert_runs(&runs, BLOCKS * BLOCK, BLOCKS * BLOCK), BLOCKS * BLOCK - 1);
        assert_int_equal(
                delta_match_gap_tokens(old_tokens, BLOCKS * BLOCK, new_tokens, BLOCKS * BLOCK, &runs), 0);
        assert_int_equal(assert_runs(&runs, BLOCKS * BLOCK, BLOCKS * BLOCK), BLOCKS * BLOCK);
        delta_pieces_done(&runs);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_pieces),
                cmocka_unit_test(test_map),
                cmocka_unit_test(test_bytes),
                cmocka_unit_test(test_bytes_at_the_edges),
                cmocka_unit_test(test_tokens),
                cmocka_unit_test(test_tokens_of_any_edit),
                cmocka_unit_test(test_tokens_that_moved),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
