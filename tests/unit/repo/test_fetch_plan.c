/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "repo/fetch_plan.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

static const char *const seeds_ab[] = {A, B};
static const struct fetch_delta deltas[] = {{C, 10}, {B, 2000}, {A, 3000}};

static struct fetch_offer offer(void) {
        return (struct fetch_offer){.length = 100000,
                                    .whole_wire = 40000,
                                    .has_chunks = true,
                                    .chunk_index_length = 500,
                                    .chunk_pack_length = 42000,
                                    .deltas = deltas,
                                    .n_deltas = 3};
}

static struct fetch_situation situation(void) {
        return (struct fetch_situation){
                .seeds = seeds_ab, .n_seeds = 2, .chunks_missing = 7000, .budget_left = -1};
}

static void assert_plan(const struct fetch_offer *o, const struct fetch_situation *s, enum fetch_way way,
                        int64_t bytes, const char *said) {
        struct fetch_plan p;
        memset(&p, 0xee, sizeof(p));
        fetch_plan_make(o, s, &p);
        if (p.way != way || p.bytes != bytes)
                print_error("%s, %lld: %s\n", fetch_way_name(p.way), (long long)p.bytes, p.reason);
        assert_int_equal(p.way, way);
        assert_int_equal(p.bytes, bytes);
        assert_non_null(memchr(p.reason, 0, sizeof(p.reason)));
        if (!strstr(p.reason, said))
                print_error("%s\n", p.reason);
        assert_non_null(strstr(p.reason, said));
        assert_int_equal(strlen(p.from), way == FETCH_DELTA ? 64 : 0);
}

static void test_present_wins_over_all(void **state) {
        struct fetch_offer o = offer();
        struct fetch_situation s = situation();
        s.present = true;
        s.budget_left = 0;
        s.failed_ways = ~0u;
        s.never_full = true;
        assert_plan(&o, &s, FETCH_NOTHING, 0, "there already");
}

static void test_the_fewest_bytes_win(void **state) {
        struct fetch_offer o = offer();
        struct fetch_situation s = situation();
        assert_plan(&o, &s, FETCH_DELTA, 2000,
                    "2.0 kB by delta from bbbbbbbbbbbb; else 7.5 kB by chunks, 40.0 kB whole");
        struct fetch_plan p;
        fetch_plan_make(&o, &s, &p);
        assert_string_equal(p.from, B);
        assert_int_equal(p.bytes_delta, 2000);
        assert_int_equal(p.bytes_chunks, 7500);
        assert_int_equal(p.bytes_whole, 40000);
        assert_false(p.wants_chunk_index);

        s.chunks_missing = 1000;
        assert_plan(&o, &s, FETCH_CHUNKS, 1500, "1.5 kB by chunks; else 2.0 kB by delta");
        o.whole_wire = 1200;
        assert_plan(&o, &s, FETCH_WHOLE, 1200, "1.2 kB whole");
        o.whole_wire = 0; /* the length itself */
        o.length = 900;
        assert_plan(&o, &s, FETCH_WHOLE, 900, "900 B whole");
}

static void test_a_delta_needs_its_seed(void **state) {
        struct fetch_offer o = offer();
        struct fetch_situation s = situation();
        s.n_seeds = 1; /* A alone: the shorter ones are for others */
        assert_plan(&o, &s, FETCH_DELTA, 3000, "from aaaaaaaaaaaa");
        s.seeds = (const char *const[]){"dddd", ""};
        s.n_seeds = 2;
        assert_plan(&o, &s, FETCH_CHUNKS, 7500, "by chunks");
        struct fetch_plan p;
        fetch_plan_make(&o, &s, &p);
        assert_int_equal(p.bytes_delta, -1);
        o.n_deltas = 0;
        o.deltas = NULL;
        assert_plan(&o, &s, FETCH_CHUNKS, 7500, "by chunks");
}

static void test_chunks_need_their_index(void **state) {
        struct fetch_offer o = offer();
        struct fetch_situation s = situation();
        s.chunks_missing = 1900; /* fewer than the delta, but not with the index */
        assert_plan(&o, &s, FETCH_DELTA, 2000, "else 2.4 kB by chunks");
        o.chunk_index_length = 0; /* it is here already */
        assert_plan(&o, &s, FETCH_CHUNKS, 1900, "1.9 kB by chunks");
        o.has_chunks = false;
        assert_plan(&o, &s, FETCH_DELTA, 2000, "by delta");
        s.n_seeds = 0;
        assert_plan(&o, &s, FETCH_WHOLE, 40000, "whole");
}

static void test_missing_chunks_not_known_yet(void **state) {
        struct fetch_offer o = offer();
        struct fetch_situation s = situation();
        struct fetch_plan p;
        s.chunks_missing = -1;
        fetch_plan_make(&o, &s, &p);
        assert_int_equal(p.way, FETCH_DELTA);
        assert_int_equal(p.bytes_chunks, 42500);
        assert_true(p.wants_chunk_index); /* 500 bytes may save up to 1,500 */
        o.chunk_index_length = 2000;
        fetch_plan_make(&o, &s, &p);
        assert_false(p.wants_chunk_index); /* no way to be better than the delta */
        o.chunk_index_length = 500;

        s.n_seeds = 0; /* nothing to look into; what is missing is the pack, whatever is claimed */
        s.chunks_missing = 0;
        fetch_plan_make(&o, &s, &p);
        assert_int_equal(p.bytes_chunks, 42500);
        assert_int_equal(p.way, FETCH_WHOLE);
        s.chunks_missing = -1;
        fetch_plan_make(&o, &s, &p);
        assert_false(p.wants_chunk_index);

        /* Metered: refused until somebody has looked; then it may be little. */
        s = situation();
        s.chunks_missing = -1;
        s.never_full = true;
        o.n_deltas = 0;
        fetch_plan_make(&o, &s, &p);
        assert_int_equal(p.way, FETCH_REFUSED);
        assert_true(p.wants_chunk_index);
        assert_non_null(strstr(p.reason, "index must be read first"));
        s.budget_left = 499;
        fetch_plan_make(&o, &s, &p);
        assert_false(p.wants_chunk_index);
        s.budget_left = 500;
        s.failed_ways = 1u << FETCH_CHUNKS;
        fetch_plan_make(&o, &s, &p);
        assert_false(p.wants_chunk_index);
}

static void test_never_full(void **state) {
        struct fetch_offer o = offer();
        struct fetch_situation s = situation();
        s.never_full = true;
        assert_plan(&o, &s, FETCH_DELTA, 2000, "by delta");
        o.n_deltas = 0;
        assert_plan(&o, &s, FETCH_CHUNKS, 7500, "by chunks");
        s.chunks_missing = 39500; /* comes to as much as the whole */
        assert_plan(&o, &s, FETCH_REFUSED, 40000, "neverFull forbids");
        s.chunks_missing = 39499;
        assert_plan(&o, &s, FETCH_CHUNKS, 39999, "by chunks");
        o.whole_wire = 0; /* a pack that the seeds give nothing of is the whole, though it is compressed */
        s.chunks_missing = 42000;
        assert_plan(&o, &s, FETCH_REFUSED, 42500, "publish a delta");
        s.n_seeds = 0;
        assert_plan(&o, &s, FETCH_REFUSED, 42500, "skerry-agent import");
        o.has_chunks = false;
        assert_plan(&o, &s, FETCH_REFUSED, 100000, "100.0 kB");
        o.length = 0; /* nothing goes over the wire */
        assert_plan(&o, &s, FETCH_WHOLE, 0, "0 B whole");

        /* A delta as large as the whole is no saving either. */
        static const struct fetch_delta big[] = {{A, 100000}};
        o = offer();
        o.has_chunks = false;
        o.whole_wire = 0;
        o.deltas = big;
        o.n_deltas = 1;
        s.n_seeds = 2;
        assert_plan(&o, &s, FETCH_REFUSED, 100000, "neverFull");
}

static void test_budget(void **state) {
        struct fetch_offer o = offer();
        struct fetch_situation s = situation();
        s.budget_left = 2000;
        assert_plan(&o, &s, FETCH_DELTA, 2000, "by delta");
        s.budget_left = 1999;
        assert_plan(&o, &s, FETCH_REFUSED, 2000, "needs 2.0 kB, today's budget has 2.0 kB left");
        s.budget_left = 0;
        assert_plan(&o, &s, FETCH_REFUSED, 2000, "has 0 B left: waits for the next day");
        s.failed_ways = 1u << FETCH_DELTA;
        s.budget_left = 7500;
        assert_plan(&o, &s, FETCH_CHUNKS, 7500, "by chunks");
        s.budget_left = 7499; /* what the next day must have, not what failed */
        assert_plan(&o, &s, FETCH_REFUSED, 2000, "needs 7.5 kB");
        /* Budget and neverFull: the day changes nothing for what is never allowed. */
        s = situation();
        s.never_full = true;
        s.budget_left = 10;
        o.n_deltas = 0;
        o.has_chunks = false;
        assert_plan(&o, &s, FETCH_REFUSED, 40000, "neverFull forbids");
}

static void test_what_failed_is_not_tried_again(void **state) {
        struct fetch_offer o = offer();
        struct fetch_situation s = situation();
        s.failed_ways = 1u << FETCH_DELTA;
        assert_plan(&o, &s, FETCH_CHUNKS, 7500, "by chunks");
        s.failed_ways |= 1u << FETCH_CHUNKS;
        assert_plan(&o, &s, FETCH_WHOLE, 40000, "whole");
        s.failed_ways |= 1u << FETCH_WHOLE;
        assert_plan(&o, &s, FETCH_REFUSED, 2000, "every way was tried and failed");
}

static void test_equals_are_decided_the_same_everywhere(void **state) {
        struct fetch_offer o = offer();
        struct fetch_situation s = situation();
        static const struct fetch_delta one[] = {{B, 500}, {A, 500}}, other[] = {{A, 500}, {B, 500}};
        struct fetch_plan p, q;
        o.deltas = one;
        o.n_deltas = 2;
        fetch_plan_make(&o, &s, &p);
        o.deltas = other;
        fetch_plan_make(&o, &s, &q);
        assert_string_equal(p.from, A);
        assert_string_equal(q.from, A);
        assert_int_equal(p.bytes, q.bytes);
        assert_string_equal(p.reason, q.reason);
        s.chunks_missing = 0; /* as much as the delta: the simpler way */
        assert_plan(&o, &s, FETCH_CHUNKS, 500, "by chunks");
        o.whole_wire = 500;
        assert_plan(&o, &s, FETCH_WHOLE, 500, "whole");
}

static void test_an_offer_of_nothing(void **state) {
        struct fetch_offer o = {.length = -1};
        struct fetch_situation s = {.chunks_missing = -1, .budget_left = -1};
        assert_plan(&o, &s, FETCH_REFUSED, 0, "offers no way");
        o = (struct fetch_offer){0};
        assert_plan(&o, &s, FETCH_WHOLE, 0, "whole");
}

/* Whatever is claimed: a plan that keeps the rules, the same twice, words that end. */
static void test_any_values(void **state) {
        static const int64_t values[] = {INT64_MIN, -2,     -1,      0,    1,      500,
                                         40000,     100000, 1 << 30, 1e15, 999950, INT64_MAX};
        struct prng r;
        prng_seed(&r, 7);
        for (int i = 0; i < 200000; i++) {
#define ANY() values[prng_below(&r, ARRAY_SIZE(values))]
                struct fetch_delta d[3] = {{A, ANY()}, {B, ANY()}, {C, ANY()}};
                struct fetch_offer o = {.length = ANY(),
                                        .whole_wire = ANY(),
                                        .has_chunks = prng_below(&r, 2) == 0,
                                        .chunk_index_length = ANY(),
                                        .chunk_pack_length = ANY(),
                                        .deltas = d,
                                        .n_deltas = prng_below(&r, 4)};
                struct fetch_situation s = {.present = prng_below(&r, 16) == 0,
                                            .seeds = seeds_ab,
                                            .n_seeds = prng_below(&r, 3),
                                            .chunks_missing = ANY(),
                                            .never_full = prng_below(&r, 2) == 0,
                                            .budget_left = ANY(),
                                            .failed_ways = (unsigned)prng_below(&r, 32)};
                struct fetch_plan p, q;
                memset(&p, 0, sizeof(p));
                memset(&q, 0xff, sizeof(q));
                fetch_plan_make(&o, &s, &p);
                fetch_plan_make(&o, &s, &q);
                assert_string_equal(p.reason, q.reason);
                assert_true(p.way == q.way && p.bytes == q.bytes);
                assert_non_null(memchr(p.reason, 0, sizeof(p.reason)));
                assert_true(strlen(p.reason) > 0 && strlen(p.reason) < sizeof(p.reason) - 1);
                assert_true(p.bytes >= 0);
                if (s.present) {
                        assert_int_equal(p.way, FETCH_NOTHING);
                        continue;
                }
                if (p.way == FETCH_REFUSED)
                        continue;
                assert_false(s.failed_ways & 1u << p.way);
                if (s.budget_left >= 0)
                        assert_true(p.bytes <= s.budget_left);
                if (s.never_full && p.bytes > 0)
                        assert_true(p.way != FETCH_WHOLE);
        }
}

static void test_names(void **state) {
        assert_string_equal(fetch_way_name(FETCH_NOTHING), "present");
        assert_string_equal(fetch_way_name(FETCH_DELTA), "delta");
        assert_string_equal(fetch_way_name(FETCH_CHUNKS), "chunks");
        assert_string_equal(fetch_way_name(FETCH_WHOLE), "whole");
        assert_string_equal(fetch_way_name(FETCH_REFUSED), "refused");
        assert_string_equal(fetch_way_name((enum fetch_way)99), "unknown");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_present_wins_over_all),
                cmocka_unit_test(test_the_fewest_bytes_win),
                cmocka_unit_test(test_a_delta_needs_its_seed),
                cmocka_unit_test(test_chunks_need_their_index),
                cmocka_unit_test(test_missing_chunks_not_known_yet),
                cmocka_unit_test(test_never_full),
                cmocka_unit_test(test_budget),
                cmocka_unit_test(test_what_failed_is_not_tried_again),
                cmocka_unit_test(test_equals_are_decided_the_same_everywhere),
                cmocka_unit_test(test_an_offer_of_nothing),
                cmocka_unit_test(test_any_values),
                cmocka_unit_test(test_names),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
