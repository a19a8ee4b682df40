/* SPDX-License-Identifier: Apache-2.0 */
/* Lengths of x86-64 instructions, and where in them displacements relative to the next instruction stand
 * (Intel 64 Software Developer's Manual, volume 2, appendix A). */
#pragma once

#include "base/macros.h"

#define DELTA_X86_INSTRUCTION_MAX 15u

enum delta_x86_field {
        DELTA_X86_NO_FIELD,
        DELTA_X86_BRANCH8,  /* jcc, jmp, loop: one byte */
        DELTA_X86_BRANCH32, /* call, jmp, jcc: four bytes */
        DELTA_X86_DATA32,   /* operand at rip + four bytes */
};
struct delta_x86_instruction {
        uint8_t length;       /* at least 1; what is no instruction counts as one byte */
        uint8_t field_at;     /* of the displacement */
        uint8_t field;        /* enum delta_x86_field */
        uint8_t opcode_at;    /* after prefixes */
        uint8_t operands_at;  /* after opcode (and ModRM): what follows is displacement and immediate */
        uint8_t absolute_at;  /* of a displacement of four bytes that counts from no instruction; 0: none */
        uint8_t immediate_at; /* of an immediate of four bytes; 0: none */
};
/* n: readable bytes at p, at least 1. An instruction that goes past them counts as one byte. */
void delta_x86_decode(const uint8_t *p, size_t n, struct delta_x86_instruction *ret);
