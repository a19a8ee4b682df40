/* SPDX-License-Identifier: Apache-2.0 */
/* The ELF predictor: two versions of a file, the new one with a function more and an instruction more; all
 * that refers across them is predicted, and only what was put in is not. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "delta_pairs.h"
#include "elf_image.h"

#define FUNCTIONS 40u
#define ADDED 10u  /* before this one the new version has one more */
#define LONGER 20u /* this one has an instruction more there */

struct plan { /* functions in their order: number, or FUNCTIONS for the one that was added */
        unsigned n, order[FUNCTIONS + 1];
        uint64_t begin[FUNCTIONS + 2]; /* by place */
        uint64_t of[FUNCTIONS + 1];    /* by number */
};

static struct plan plan_functions(bool is_new, unsigned size, unsigned longer) {
        struct plan p = {0};
        for (unsigned i = 0; i < FUNCTIONS; i++) {
                if (is_new && i == ADDED)
                        p.order[p.n++] = FUNCTIONS;
                p.order[p.n++] = i;
        }
        for (unsigned i = 0; i < p.n; i++) {
                p.of[p.order[i]] = p.begin[i];
                p.begin[i + 1] = p.begin[i] + size + (is_new && p.order[i] == LONGER ? longer : 0);
        }
        return p;
}

/* Where a section of the new file lies. */
static void find(const struct buf *file, const char *name, int64_t *ret_from, int64_t *ret_to) {
        struct delta_pair pair = {.old_data = (const uint8_t *)file->data, .old_length = (int64_t)file->len};
        struct delta_file f = {(int64_t)file->len, pair_read, &pair};
        struct delta_elf e;
        assert_int_equal(delta_elf_parse(&f, &e), 0);
        *ret_from = -1;
        for (unsigned i = 0; i < e.n; i++)
                if (strcmp(delta_elf_name(&e, i), name) == 0) {
                        *ret_from = (int64_t)e.sections[i].offset;
                        *ret_to = *ret_from + (int64_t)e.sections[i].size;
                }
        delta_elf_done(&e);
        assert_true(*ret_from >= 0);
}

static void assert_wrong(struct predicted_pair *p, const struct buf *file, const char *name, int64_t most) {
        int64_t from, to;
        find(file, name, &from, &to);
        for (size_t step = 1; step <= 64; step = step * 3 + 1) {
                int64_t wrong = wrong_bytes(p, from, to, step);
                if (wrong < 0 || wrong > most)
                        fail_msg("%s: %lld of %lld bytes wrong, expected %lld", name, (long long)wrong,
                                 (long long)(to - from), (long long)most);
        }
}

/* ---- A kernel module */

enum { TEXT = 1, RELA_TEXT, STRINGS, INDEX, RELA_INDEX, VERSIONS, CHECKSUMS, BTF, SYMBOLS, NAMES };

static void put_btf(struct image *m, bool is_new) {
        struct buf types = BUF_INIT, strings = BUF_INIT;
        uint32_t base = is_new ? 1010 : 1000, base_strings = is_new ? 5100 : 5000, next = base;
        for (unsigned i = 0; i < FUNCTIONS + (is_new ? 1 : 0); i++) {
                unsigned number = is_new && i == ADDED ? FUNCTIONS : is_new && i > ADDED ? i - 1 : i;
                uint32_t kernel_type = 100 + 17 * number, kernel_name = 200 + 31 * number;
                uint32_t words[] = {0,
                                    13u << 24 | 1,
                                    kernel_type + (is_new && kernel_type >= 300 ? 10 : 0),
                                    kernel_name + (is_new && kernel_name >= 700 ? 100 : 0),
                                    next - (i > 0 ? 1 : 0),
                                    base_strings + (uint32_t)strings.len,
                                    12u << 24,
                                    next};
                if (i == 0)
                        words[4] = 5;
                for (size_t k = 0; k < ARRAY_SIZE(words); k++) {
                        uint8_t p[4];
                        delta_put32(p, words[k]);
                        buf_append(&types, p, 4);
                }
                next += 2;
                buf_printf(&strings, "function_%u", number);
                buf_putc(&strings, 0);
        }
        image_put32(m, BTF, 0x0001eb9f);
        image_put32(m, BTF, 24);
        image_put32(m, BTF, 0);
        image_put32(m, BTF, (uint32_t)types.len);
        image_put32(m, BTF, (uint32_t)types.len);
        image_put32(m, BTF, (uint32_t)strings.len);
        image_put(m, BTF, types.data, types.len);
        image_put(m, BTF, strings.data, strings.len);
        buf_done(&types);
        buf_done(&strings);
}

static struct buf make_module(bool is_new) {
        struct image m;
        image_init(&m, DELTA_ELF_RELOCATABLE, DELTA_ELF_X86_64);
        image_add(&m, ".text", 1, DELTA_ELF_ALLOC | DELTA_ELF_EXEC, 0, 0);
        image_add(&m, ".rela.text", DELTA_ELF_RELA, 0, 0, 24);
        image_add(&m, ".rodata.str1.1", 1, 0x32, 0, 1);
        image_add(&m, "__mcount_loc", 1, DELTA_ELF_ALLOC, 0, 0);
        image_add(&m, ".rela__mcount_loc", DELTA_ELF_RELA, 0, 0, 24);
        image_add(&m, "__versions", 1, DELTA_ELF_ALLOC, 0, 0);
        image_add(&m, "__kcrctab", 1, DELTA_ELF_ALLOC, 0, 0);
        image_add(&m, ".BTF", 1, 0, 0, 0);
        image_add(&m, ".symtab", DELTA_ELF_SYMTAB, 0, 0, 24);
        image_add(&m, ".strtab", DELTA_ELF_STRTAB, 0, 0, 0);
        m.sections[RELA_TEXT].link = m.sections[RELA_INDEX].link = SYMBOLS;
        m.sections[RELA_TEXT].info = TEXT;
        m.sections[RELA_INDEX].info = INDEX;
        m.sections[SYMBOLS].link = NAMES;
        image_put(&m, NAMES, "", 1);
        image_symbol(&m, SYMBOLS, NAMES, "", 0, 0, 0, 0);
        image_symbol(&m, SYMBOLS, NAMES, "", 3, TEXT, 0, 0);
        image_symbol(&m, SYMBOLS, NAMES, "", 3, STRINGS, 0, 0);
        struct plan p = plan_functions(is_new, 25, 3);
        for (unsigned i = 0; i < p.n; i++) {
                unsigned number = p.order[i];
                uint64_t at = p.begin[i];
                char name[32];
                snprintf(name, sizeof(name), "function_%u", number);
                image_symbol(&m, SYMBOLS, NAMES, name, 2, TEXT, at, p.begin[i + 1] - at);
                image_put(&m, TEXT, "\xe8\0\0\0\0\x48\x8d\x3d\0\0\0\0\xb8", 13);
                image_put32(&m, TEXT, number * 1111);
                bool longer = is_new && number == LONGER;
                image_put(&m, TEXT, longer ? "\x74\x08\x0f\x1f\x00\xe9" : "\x74\x05\xe9", longer ? 6 : 3);
                uint64_t next = at + (longer ? 27 : 24);
                image_put32(&m, TEXT, (uint32_t)(p.of[number * 7 % FUNCTIONS] - next));
                image_put(&m, TEXT, "\xc3", 1);
                image_rela(&m, RELA_TEXT, at + 1, 4, 3 + p.n, -4);
                image_rela(&m, RELA_TEXT, at + 8, 2, 2, (int64_t)m.sections[STRINGS].bytes.len - 4);
                char text[40];
                snprintf(text, sizeof(text), "message number %u", number);
                image_put(&m, STRINGS, text, strlen(text) + 1);
                image_rela(&m, RELA_INDEX, m.sections[INDEX].bytes.len, 1, 1, (int64_t)at);
                image_put64(&m, INDEX, 0);
        }
        image_symbol(&m, SYMBOLS, NAMES, "printk", 0x10, 0, 0, 0);
        for (unsigned i = 0; i < 3; i++) {
                uint8_t entry[64] = {0};
                delta_put32(entry, 0x1000000u * (i + 1) + (is_new && i != 1 ? 0xabcdef : 0x123456));
                snprintf((char *)entry + 8, 56, "symbol_%u", i);
                image_put(&m, VERSIONS, entry, sizeof(entry));
                image_put(&m, CHECKSUMS, entry, 4);
        }
        put_btf(&m, is_new);
        return image_finish(&m);
}

static void test_module(void **state) {
        _cleanup_(buf_done) struct buf o = make_module(false), w = make_module(true);
        struct predicted_pair p;
        assert_int_equal(predicted_pair_init(&p, o.data, o.len, w.data, w.len), 0);
        assert_int_equal(p.match.kind, DELTA_PREDICT_ELF);
        assert_true(pieces_hold(&p));
        assert_wrong(&p, &w, ".text", 25 + 3);
        assert_wrong(&p, &w, ".rela.text", 2 * 24);
        assert_wrong(&p, &w, ".rodata.str1.1", 18);
        assert_wrong(&p, &w, ".rela__mcount_loc", 24);
        assert_wrong(&p, &w, "__versions", 0);
        assert_wrong(&p, &w, "__kcrctab", 0);
        assert_wrong(&p, &w, ".symtab", 24);
        assert_wrong(&p, &w, ".strtab", 12);
        assert_wrong(&p, &w, ".BTF", 32 + 12 + 4);
        assert_int_equal(wrong_bytes(&p, 0, 64, 7), 0);
        int64_t headers = (int64_t)w.len - 12 * DELTA_ELF_SECTION_SIZE;
        assert_int_equal(wrong_bytes(&p, headers, (int64_t)w.len, 7), 0);
        int64_t from, to;
        find(&w, ".rela.text", &from, &to);
        assert_string_equal(delta_predictor_kind_at(p.predictor, from), "elf .rela.text");
        assert_string_equal(delta_predictor_kind_at(p.predictor, 0), "elf header");
        assert_string_equal(delta_predictor_kind_at(p.predictor, headers), "elf section headers");
        predicted_pair_done(&p);
}

/* ---- A shared library */

enum { CODE = 1, TABLES, UNWIND, UNWIND_INDEX, DATA, RELA_DATA };
#define CODE_AT 0x10000u
#define TABLES_AT 0x18000u
#define UNWIND_AT 0x19000u
#define UNWIND_INDEX_AT 0x1a000u
#define DATA_AT 0x20000u

static struct buf make_library(bool is_new, uint16_t type) {
        struct image m;
        image_init(&m, type, DELTA_ELF_X86_64);
        image_add(&m, ".text", 1, DELTA_ELF_ALLOC | DELTA_ELF_EXEC, CODE_AT, 0);
        image_add(&m, ".rodata", 1, DELTA_ELF_ALLOC, TABLES_AT, 0);
        image_add(&m, ".eh_frame", 1, DELTA_ELF_ALLOC, UNWIND_AT, 0);
        image_add(&m, ".eh_frame_hdr", 1, DELTA_ELF_ALLOC, UNWIND_INDEX_AT, 0);
        image_add(&m, ".data", 1, DELTA_ELF_ALLOC | 1, DATA_AT, 0);
        image_add(&m, ".rela.dyn", DELTA_ELF_RELA, DELTA_ELF_ALLOC, 0x400, 24);
        struct plan p = plan_functions(is_new, 32, 16);
        image_put(&m, UNWIND, "\x14\0\0\0\0\0\0\0\x01zR\0\x01\x78\x10\x01\x1b\x0c\x07\x08\x90\x01\0\0", 24);
        image_put(&m, UNWIND_INDEX, "\x01\x1b\x03\x3b", 4);
        image_put32(&m, UNWIND_INDEX, UNWIND_AT - UNWIND_INDEX_AT - 4);
        image_put32(&m, UNWIND_INDEX, p.n);
        for (unsigned i = 0; i < p.n; i++) {
                unsigned number = p.order[i];
                uint64_t at = CODE_AT + p.begin[i];
                bool longer = is_new && number == LONGER;
                image_put(&m, CODE, "\xe8", 1); /* call */
                image_put32(&m, CODE, (uint32_t)(CODE_AT + p.of[number * 7 % FUNCTIONS] - (at + 5)));
                if (longer)
                        image_put(&m, CODE, "\x0f\x1f\x84\0\0\0\0\0\x0f\x1f\x84\0\0\0\0\0", 16);
                uint64_t shift = longer ? 16 : 0;
                image_put(&m, CODE, "\x48\x8d\x05", 3); /* lea table(%rip),%rax */
                image_put32(&m, CODE, (uint32_t)(TABLES_AT + 16 * (i / 4) - (at + 12 + shift)));
                image_put(&m, CODE, "\xb8", 1); /* mov $number,%eax, so that functions differ */
                if (type == DELTA_ELF_EXECUTABLE && number % 2)
                        image_put32(&m, CODE, (uint32_t)(CODE_AT + p.of[number]));
                else
                        image_put32(&m, CODE, number * 1111);
                image_put(&m, CODE, "\x0f\x1f\x40", 3);
                uint8_t last[12] = {(uint8_t)number, 0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0, 0x90, 0xc3};
                image_put(&m, CODE, last, sizeof(last));
                /* a word of the jump table that goes with the function's four */
                image_put32(&m, TABLES, (uint32_t)(at + 1 - (TABLES_AT + 16 * (i / 4))));
                uint64_t here = UNWIND_AT + m.sections[UNWIND].bytes.len;
                image_put32(&m, UNWIND_INDEX, (uint32_t)(at - UNWIND_INDEX_AT));
                image_put32(&m, UNWIND_INDEX, (uint32_t)(here - UNWIND_INDEX_AT));
                image_put32(&m, UNWIND, 16);
                image_put32(&m, UNWIND, (uint32_t)(here + 4 - UNWIND_AT));
                image_put32(&m, UNWIND, (uint32_t)(at - (here + 8)));
                image_put32(&m, UNWIND, (uint32_t)(p.begin[i + 1] - p.begin[i]));
                image_put32(&m, UNWIND, 0);
                if (number < FUNCTIONS) {
                        image_rela(&m, RELA_DATA, DATA_AT + m.sections[DATA].bytes.len, 8, 0, (int64_t)at);
                        image_put64(&m, DATA, at);
                        image_put64(&m, DATA, number * 1000003);
                }
        }
        return image_finish(&m);
}

static void test_linked(void **state) {
        static const uint16_t types[] = {DELTA_ELF_SHARED, DELTA_ELF_EXECUTABLE};
        for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
                _cleanup_(buf_done) struct buf o = make_library(false, types[i]),
                                               w = make_library(true, types[i]);
                struct predicted_pair p;
                assert_int_equal(predicted_pair_init(&p, o.data, o.len, w.data, w.len), 0);
                assert_int_equal(p.match.kind, DELTA_PREDICT_ELF);
                assert_true(pieces_hold(&p));
                /* Tables are counted by place here, so that the one put in moves all that follow. */
                assert_wrong(&p, &w, ".text", 32 + 16 + 2 * FUNCTIONS);
                assert_wrong(&p, &w, ".eh_frame", 20);
                assert_wrong(&p, &w, ".eh_frame_hdr", 8);
                /* One reference may follow bytes that look the same into the function that was added. */
                assert_wrong(&p, &w, ".data", 2);
                assert_wrong(&p, &w, ".rela.dyn", 2);
                predicted_pair_done(&p);
        }
}

/* ---- Hostile bytes */

static void test_side_information(void **state) {
        _cleanup_(buf_done) struct buf o = make_module(false), w = make_module(true);
        struct predicted_pair p;
        assert_int_equal(predicted_pair_init(&p, o.data, o.len, w.data, w.len), 0);
        struct delta_predictor *predictor = NULL;
        for (size_t n = 0; n < p.match.side.len; n++) { /* cut short it is refused, in words */
                _cleanup_(err_freep) struct err *err = NULL;
                uint8_t *part = malloc(n + 1);
                assert_non_null(part);
                memcpy(part, p.match.side.data, n);
                assert_int_equal(delta_predictor_new(DELTA_PREDICT_ELF, &p.old_file, p.pair.new_length,
                                                     &p.map, part, n, p.shared, &predictor, &err),
                                 -EBADMSG);
                assert_non_null(err);
                assert_non_null(strstr(err_message(err), "ELF"));
                free(part);
        }
        assert_int_equal(delta_predictor_new(7, &p.old_file, 1, &p.map, NULL, 0, NULL, &predictor, NULL),
                         -EBADMSG);
        assert_int_equal(delta_predictor_new(99, &p.old_file, 1, &p.map, NULL, 0, NULL, &predictor, NULL),
                         -EBADMSG);
        assert_null(predictor);
        uint8_t byte;
        assert_int_equal(delta_predictor_predict(p.predictor, p.pair.old_length, 0, 1, &byte), -EBADMSG);
        assert_int_equal(delta_predictor_predict(p.predictor, 0, p.pair.new_length, 1, &byte), -EBADMSG);
        assert_int_equal(delta_predictor_predict(p.predictor, -1, 0, 1, &byte), -EBADMSG);
        predicted_pair_done(&p);
}

/* Bits flipped anywhere in either file: it still goes through, and parts still make the whole. */
static void test_flipped_bits(void **state) {
        for (unsigned seed = 1; seed <= 150; seed++) {
                _cleanup_(buf_done) struct buf o = seed % 2 ? make_module(false) : make_library(false, 3);
                _cleanup_(buf_done) struct buf w = seed % 2 ? make_module(true) : make_library(true, 3);
                uint64_t random = seed * 0x9e3779b97f4a7c15u;
                for (unsigned k = 0; k < 1 + seed % 8; k++) {
                        random = random * 6364136223846793005u + 1442695040888963407u;
                        struct buf *b = random >> 60 & 1 ? &o : &w;
                        /* mostly where files describe themselves */
                        size_t at = random >> 61 & 1 ? (size_t)(random >> 20) % 64
                                                     : b->len - 1 - (size_t)(random >> 20) % 900;
                        b->data[at] = (char)(b->data[at] ^ 1 << (random >> 10 & 7));
                }
                struct predicted_pair p;
                assert_int_equal(predicted_pair_init(&p, o.data, o.len, w.data, w.len), 0);
                assert_true(pieces_hold(&p));
                assert_true(wrong_bytes(&p, 0, (int64_t)w.len, 1 + seed % 50) >= 0);
                predicted_pair_done(&p);
        }
}

static void test_shared_tables(void **state) {
        _cleanup_(buf_done) struct buf o = make_module(false), w = make_module(true), bytes = BUF_INIT;
        struct predicted_pair p;
        assert_int_equal(predicted_pair_init(&p, o.data, o.len, w.data, w.len), 0);
        assert_int_equal(p.shared->n_checksums, 2);
        assert_int_equal(p.shared->old_types, 1000);
        assert_int_equal(p.shared->new_types, 1010);
        assert_int_equal(p.shared->old_strings, 5000);
        assert_int_equal(p.shared->new_strings, 5100);
        const struct delta_checksum *c = delta_shared_checksum(p.shared, 0x1123456);
        assert_non_null(c);
        assert_int_equal(c->new_value, 0x1abcdef);
        assert_null(delta_shared_checksum(p.shared, 0x2123456)); /* stayed the same */
        assert_int_equal(delta_shared_step(p.shared->types, p.shared->n_types, 117), 117);
        assert_int_equal(delta_shared_step(p.shared->types, p.shared->n_types, 321), 331);
        struct delta_shared_maker *maker = NULL;
        assert_int_equal(delta_shared_maker_new(&maker), 0);
        assert_int_equal(delta_shared_maker_add(maker, &p.pair, &p.match), 0);
        assert_int_equal(delta_shared_maker_encode(maker, &bytes), 0);
        delta_shared_maker_free(maker);
        for (size_t n = 1; n < bytes.len; n++) {
                struct delta_shared *shared = NULL;
                _cleanup_(err_freep) struct err *err = NULL;
                assert_int_equal(delta_shared_parse(bytes.data, n, &shared, &err), -EBADMSG);
                assert_non_null(err);
                assert_null(shared);
        }
        predicted_pair_done(&p);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_module),           cmocka_unit_test(test_linked),
                cmocka_unit_test(test_side_information), cmocka_unit_test(test_flipped_bits),
                cmocka_unit_test(test_shared_tables),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
