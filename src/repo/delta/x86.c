/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/x86.h"

/* What follows an opcode: M a ModRM byte, then immediates: b one byte, w two, z four (two with the operand
 * size prefix), v as z but eight with REX.W, o an address of eight bytes, r branch of one byte, R branch of
 * four, e three (enter). In the tables one letter stands for a combination. */
enum {
        NONE = 0,
        MODRM = 1 << 0,
        IMM8 = 1 << 1,
        IMM16 = 1 << 2,
        IMMZ = 1 << 3,
        IMMV = 1 << 4,
        ADDRESS = 1 << 5,
        REL8 = 1 << 6,
        REL32 = 1 << 7,
};

/* One letter an opcode: . nothing, m ModRM, b imm8, B ModRM + imm8, z immz, Z ModRM + immz, w imm16,
 * v immv, o address, r rel8, R rel32, e imm16 + imm8, g group three (ModRM, then by its reg field). */
static const char one_byte[257] = "mmmmbz..mmmmbz.."  /* 00 */
                                  "mmmmbz..mmmmbz.."  /* 10 */
                                  "mmmmbz..mmmmbz.."  /* 20 */
                                  "mmmmbz..mmmmbz.."  /* 30 */
                                  "................"  /* 40 */
                                  "................"  /* 50 */
                                  "...m....zZbB...."  /* 60 */
                                  "rrrrrrrrrrrrrrrr"  /* 70 */
                                  "BZBBmmmmmmmmmmmm"  /* 80 */
                                  "................"  /* 90 */
                                  "oooo....bz......"  /* a0 */
                                  "bbbbbbbbvvvvvvvv"  /* b0 */
                                  "BBw...BZe.w..b.."  /* c0 */
                                  "mmmmbb..mmmmmmmm"  /* d0 */
                                  "rrrrbbbbRR.r...."  /* e0 */
                                  "......gg......mm"; /* f0 */
static const char two_byte[257] = "mmmm.........m.B"  /* 00 */
                                  "mmmmmmmmmmmmmmmm"  /* 10 */
                                  "mmmm....mmmmmmmm"  /* 20 */
                                  "................"  /* 30 */
                                  "mmmmmmmmmmmmmmmm"  /* 40 */
                                  "mmmmmmmmmmmmmmmm"  /* 50 */
                                  "mmmmmmmmmmmmmmmm"  /* 60 */
                                  "BBBBmmm.mmmmmmmm"  /* 70 */
                                  "RRRRRRRRRRRRRRRR"  /* 80 */
                                  "mmmmmmmmmmmmmmmm"  /* 90 */
                                  "...mBm.....mBmmm"  /* a0 */
                                  "mmmmmmmmmmBmmmmm"  /* b0 */
                                  "mmBmBBBm........"  /* c0 */
                                  "mmmmmmmmmmmmmmmm"  /* d0 */
                                  "mmmmmmmmmmmmmmmm"  /* e0 */
                                  "mmmmmmmmmmmmmmmm"; /* f0 */

static inline unsigned shape_of(char letter) {
        static const uint8_t shapes[128] = {
                ['m'] = MODRM,        ['b'] = IMM8,  ['B'] = MODRM | IMM8, ['z'] = IMMZ,
                ['Z'] = MODRM | IMMZ, ['w'] = IMM16, ['v'] = IMMV,         ['o'] = ADDRESS,
                ['r'] = REL8,         ['R'] = REL32, ['e'] = IMM16 | IMM8, ['g'] = MODRM,
        };
        return shapes[letter & 127];
}

void delta_x86_decode(const uint8_t *p, size_t n, struct delta_x86_instruction *ret) {
        *ret = (struct delta_x86_instruction){.length = 1, .operands_at = 1};
        size_t at = 0;
        bool wide = false, narrow = false;
        n = n < DELTA_X86_INSTRUCTION_MAX ? n : DELTA_X86_INSTRUCTION_MAX;
        for (; at < n; at++) { /* legacy prefixes */
                uint8_t c = p[at];
                if (c == 0x66)
                        narrow = true;
                else if (c != 0x67 && c != 0xf0 && c != 0xf2 && c != 0xf3 && c != 0x2e && c != 0x36 &&
                         c != 0x3e && c != 0x26 && c != 0x64 && c != 0x65)
                        break;
        }
        if (at < n && (p[at] & 0xf0) == 0x40)
                wide = p[at++] & 8;
        if (at >= n)
                return;
        size_t opcode_at = at;
        uint8_t opcode = p[at++];
        unsigned shape;
        if ((opcode == 0xc4 || opcode == 0xc5 || opcode == 0x62) && at < n) { /* VEX and EVEX */
                unsigned payload = opcode == 0xc5 ? 1 : opcode == 0xc4 ? 2 : 3;
                unsigned opcode_map = opcode == 0xc5 ? 1 : p[at] & (opcode == 0x62 ? 7 : 0x1f);
                at += payload;
                if (at >= n)
                        return;
                opcode = p[at++];
                shape = opcode_map == 3 ? MODRM | IMM8 : MODRM;
                if (opcode_map == 1)
                        shape = opcode == 0x77 ? NONE : shape_of(two_byte[opcode]) | MODRM;
                shape &= MODRM | IMM8;
        } else if (opcode == 0x0f && at < n) {
                opcode = p[at++];
                if (opcode == 0x38 || opcode == 0x3a) {
                        shape = opcode == 0x3a ? MODRM | IMM8 : MODRM;
                        at++;
                        opcode = 0;
                } else {
                        shape = shape_of(two_byte[opcode]);
                        opcode = 0;
                }
        } else {
                shape = shape_of(one_byte[opcode]);
        }
        size_t field_at = 0;
        unsigned field = DELTA_X86_NO_FIELD;
        size_t operands_at = at, absolute_at = 0, immediate_at = 0;
        if (shape & MODRM) {
                if (at >= n)
                        return;
                uint8_t modrm = p[at++], mod = modrm >> 6, rm = modrm & 7;
                operands_at = at;
                if (opcode == 0xf6 && opcode_at + 1 == at - 1 && (modrm >> 3 & 7) < 2)
                        shape |= IMM8;
                if (opcode == 0xf7 && opcode_at + 1 == at - 1 && (modrm >> 3 & 7) < 2)
                        shape |= IMMZ;
                if (mod != 3 && rm == 4) {
                        if (at >= n)
                                return;
                        if (mod == 0 && (p[at] & 7) == 5) {
                                absolute_at = at + 1;
                                at += 4;
                        }
                        at++;
                        operands_at++;
                } else if (mod == 0 && rm == 5) {
                        field = DELTA_X86_DATA32;
                        field_at = at;
                        at += 4;
                }
                if (mod == 2)
                        absolute_at = at;
                at += mod == 1 ? 1 : mod == 2 ? 4 : 0;
        }
        if (shape & (REL8 | REL32)) {
                field = shape & REL8 ? DELTA_X86_BRANCH8 : DELTA_X86_BRANCH32;
                field_at = at;
                at += shape & REL8 ? 1 : 4;
        }
        at += (shape & IMM8 ? 1u : 0) + (shape & IMM16 ? 2u : 0) + (shape & ADDRESS ? 8u : 0);
        size_t wide_immediate = (shape & IMMZ && !narrow) || (shape & IMMV && !narrow && !wide) ? 4 : 0;
        if (wide_immediate > 0)
                immediate_at = at;
        if (shape & IMMZ)
                at += narrow ? 2 : 4;
        if (shape & IMMV)
                at += wide ? 8 : narrow ? 2 : 4;
        if (at > n)
                return;
        *ret = (struct delta_x86_instruction){.length = (uint8_t)at,
                                              .field_at = (uint8_t)field_at,
                                              .field = (uint8_t)field,
                                              .opcode_at = (uint8_t)opcode_at,
                                              .operands_at = (uint8_t)operands_at,
                                              .absolute_at = (uint8_t)absolute_at,
                                              .immediate_at = (uint8_t)immediate_at};
}
