/* SPDX-License-Identifier: Apache-2.0 */
/* Lengths of instructions and where their displacements stand, against what an assembler says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "repo/delta/x86.h"

#define NO DELTA_X86_NO_FIELD
#define B8 DELTA_X86_BRANCH8
#define B32 DELTA_X86_BRANCH32
#define DATA DELTA_X86_DATA32

static const struct {
        const char *text;
        uint8_t bytes[DELTA_X86_INSTRUCTION_MAX];
        uint8_t length, field, field_at, absolute_at, immediate_at;
} instructions[] = {
        {"ret", {0xc3}, 1, NO, 0, 0, 0},
        {"push %rbp", {0x55}, 1, NO, 0, 0, 0},
        {"endbr64", {0xf3, 0x0f, 0x1e, 0xfa}, 4, NO, 0, 0, 0},
        {"call rel32", {0xe8, 1, 2, 3, 4}, 5, B32, 1, 0, 0},
        {"jmp rel8", {0xeb, 5}, 2, B8, 1, 0, 0},
        {"jne rel8", {0x75, 5}, 2, B8, 1, 0, 0},
        {"jne rel32", {0x0f, 0x85, 1, 2, 3, 4}, 6, B32, 2, 0, 0},
        {"lea x(%rip),%rdi", {0x48, 0x8d, 0x3d, 1, 2, 3, 4}, 7, DATA, 3, 0, 0},
        {"cmpb $0,x(%rip)", {0x80, 0x3d, 1, 2, 3, 4, 0}, 7, DATA, 2, 0, 0},
        {"movl $5,x(%rip)", {0xc7, 0x05, 1, 2, 3, 4, 5, 0, 0, 0}, 10, DATA, 2, 0, 6},
        {"testb $1,(%rdi)", {0xf6, 0x07, 1}, 3, NO, 0, 0, 0},
        {"neg (%rdi)", {0xf6, 0x1f}, 2, NO, 0, 0, 0},
        {"testl $1,(%rdi)", {0xf7, 0x07, 1, 0, 0, 0}, 6, NO, 0, 0, 2},
        {"mov $x,%edi", {0xbf, 1, 2, 3, 4}, 5, NO, 0, 0, 1},
        {"movabs $x,%rax", {0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8}, 10, NO, 0, 0, 0},
        {"mov $x,%ax", {0x66, 0xb8, 1, 2}, 4, NO, 0, 0, 0},
        {"mov x(,%rax,8),%rax", {0x48, 0x8b, 0x04, 0xc5, 1, 2, 3, 4}, 8, NO, 0, 4, 0},
        {"mov x(%rax),%rax", {0x48, 0x8b, 0x80, 1, 2, 3, 4}, 7, NO, 0, 3, 0},
        {"mov 8(%rsp),%rax", {0x48, 0x8b, 0x44, 0x24, 8}, 5, NO, 0, 0, 0},
        {"nopw", {0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0}, 10, NO, 0, 6, 0},
        {"enter", {0xc8, 1, 2, 3}, 4, NO, 0, 0, 0},
        {"pshufd $1,%xmm0,%xmm1", {0x66, 0x0f, 0x70, 0xc8, 1}, 5, NO, 0, 0, 0},
        {"palignr (0f 3a)", {0x66, 0x0f, 0x3a, 0x0f, 0xc8, 4}, 6, NO, 0, 0, 0},
        {"pshufb (0f 38)", {0x66, 0x0f, 0x38, 0x00, 0xc8}, 5, NO, 0, 0, 0},
        {"vzeroupper", {0xc5, 0xf8, 0x77}, 3, NO, 0, 0, 0},
        {"vpshufd x(%rip)", {0xc5, 0xf9, 0x70, 0x0d, 1, 2, 3, 4, 9}, 9, DATA, 4, 0, 0},
        {"vperm2i128", {0xc4, 0xe3, 0x75, 0x46, 0xc2, 0x31}, 6, NO, 0, 0, 0},
        {"EVEX vpternlog", {0x62, 0xf3, 0x75, 0x48, 0x25, 0xc2, 0x96}, 7, NO, 0, 0, 0},
};

static void test_instructions(void **state) {
        for (size_t i = 0; i < ARRAY_SIZE(instructions); i++) {
                struct delta_x86_instruction x;
                delta_x86_decode(instructions[i].bytes, DELTA_X86_INSTRUCTION_MAX, &x);
                if (x.length != instructions[i].length || x.field != instructions[i].field ||
                    x.field_at != instructions[i].field_at || x.absolute_at != instructions[i].absolute_at ||
                    x.immediate_at != instructions[i].immediate_at)
                        fail_msg("%s: length %u, field %u at %u, absolute at %u, immediate at %u",
                                 instructions[i].text, x.length, x.field, x.field_at, x.absolute_at,
                                 x.immediate_at);
                /* Cut short it is no instruction, and nothing behind the end is looked at. */
                for (size_t n = 1; n < instructions[i].length; n++) {
                        uint8_t *part = malloc(n);
                        assert_non_null(part);
                        memcpy(part, instructions[i].bytes, n);
                        delta_x86_decode(part, n, &x);
                        assert_in_range(x.length, 1, n);
                        free(part);
                }
        }
}

/* Whatever stands there: a length that goes on, fields within it. */
static void test_any_bytes(void **state) {
        uint64_t random = 88172645463325252u;
        for (unsigned i = 0; i < 200000; i++) {
                uint8_t bytes[DELTA_X86_INSTRUCTION_MAX];
                for (size_t k = 0; k < sizeof(bytes); k++) {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        bytes[k] = (uint8_t)(random >> 32);
                }
                struct delta_x86_instruction x;
                size_t n = 1 + i % sizeof(bytes);
                delta_x86_decode(bytes, n, &x);
                assert_in_range(x.length, 1, n);
                if (x.field != NO)
                        assert_in_range(x.field_at + (x.field == B8 ? 1 : 4), 2, x.length);
                if (x.absolute_at > 0)
                        assert_in_range(x.absolute_at + 4, 5, x.length);
                if (x.immediate_at > 0)
                        assert_in_range(x.immediate_at + 4, 5, x.length);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_instructions),
                cmocka_unit_test(test_any_bytes),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
