/* SPDX-License-Identifier: Apache-2.0 */
/* arm64 code (Arm Architecture Reference Manual, C4.1): branches, and addresses put together from a page and
 * twelve bits by two instructions that stand near each other. */
#include <errno.h>

#include "repo/delta/elf_predict.h"

#define NEAR 8u /* instructions between the two halves of an address, at most */

static int64_t sign_extend(uint64_t v, unsigned bits) {
        uint64_t sign = (uint64_t)1 << (bits - 1);
        return (int64_t)((v ^ sign) - sign);
}

/* A branch, or a load of what stands near: bits of its displacement, counted in words, and their place. */
static unsigned displacement_bits(uint32_t i, unsigned *ret_at) {
        *ret_at = 5;
        if ((i & 0x7c000000) == 0x14000000) { /* B, BL */
                *ret_at = 0;
                return 26;
        }
        if ((i & 0xff000010) == 0x54000000 || (i & 0x7e000000) == 0x34000000 || /* B.cond, CBZ, CBNZ */
            (i & 0x3b000000) == 0x18000000)                                     /* LDR (literal) */
                return 19;
        return (i & 0x7e000000) == 0x36000000 ? 14 : 0; /* TBZ, TBNZ */
}

static bool is_page(uint32_t i) { /* ADRP */
        return (i & 0x9f000000) == 0x90000000;
}

/* ADD (immediate), or a load or store with an unsigned offset: how far its twelve bits are shifted; -1: it is
 * neither. */
static int low_shift(uint32_t i) {
        if ((i & 0xffc00000) == 0x91000000)
                return 0;
        if ((i & 0x3b000000) != 0x39000000)
                return -1;
        return i >> 26 & 1 && i >> 23 & 1 ? 4 : (int)(i >> 30);
}

static uint64_t page_of(uint32_t i, uint64_t address) {
        uint64_t v = (uint64_t)(i >> 5 & 0x7ffff) << 2 | (i >> 29 & 3);
        return (address & ~(uint64_t)0xfff) + ((uint64_t)sign_extend(v, 21) << 12);
}

struct around { /* instructions near one of the old code */
        const uint8_t *bytes;
        unsigned n, here;
};

static uint32_t instruction(const struct around *a, unsigned index) {
        return delta_get32(a->bytes + 4 * (size_t)index);
}

/* The whole address that an instruction has a part in. */
static bool whole_address(const struct around *a, uint64_t address, uint64_t *ret) {
        uint32_t i = instruction(a, a->here);
        if (is_page(i)) {
                unsigned target = i & 31;
                *ret = page_of(i, address);
                for (unsigned k = a->here + 1; k < a->n && k <= a->here + NEAR; k++) {
                        uint32_t other = instruction(a, k);
                        if (is_page(other) && (other & 31) == target)
                                break;
                        if (low_shift(other) >= 0 && (other >> 5 & 31) == target) {
                                *ret += (uint64_t)(other >> 10 & 0xfff) << low_shift(other);
                                break;
                        }
                }
                return true;
        }
        for (unsigned k = a->here; k-- > 0 && a->here - k <= NEAR;) {
                uint32_t other = instruction(a, k);
                if (is_page(other) && (other & 31) == (i >> 5 & 31)) {
                        *ret = page_of(other, address - 4 * (uint64_t)(a->here - k)) +
                               ((uint64_t)(i >> 10 & 0xfff) << low_shift(i));
                        return true;
                }
        }
        return false;
}

static void rule_instruction(struct delta_elf_predictor *p, unsigned section, uint64_t old_at,
                             uint64_t new_at, uint8_t *record) {
        struct delta_elf_frame *f = &p->frame;
        const struct delta_elf_section *s = &f->old.sections[section];
        bool relocatable = f->old.type == DELTA_ELF_RELOCATABLE;
        uint64_t address = relocatable ? old_at : s->address + old_at;
        uint64_t new_address = relocatable ? new_at : f->places[f->new_of_old[section]].address + new_at;
        uint32_t i = delta_get32(record);
        unsigned at, bits = displacement_bits(i, &at);
        if (bits > 0) {
                uint32_t mask = (((uint32_t)1 << bits) - 1) << at;
                int64_t displacement = sign_extend((i & mask) >> at, bits) * 4;
                uint64_t target = address + (uint64_t)displacement;
                if (relocatable && (displacement == 0 || target > s->size))
                        return;
                uint64_t to = relocatable ? delta_elf_project(f, section, target, NULL)
                                          : delta_elf_project_address(f, target);
                delta_put32(record, (i & ~mask) | ((uint32_t)((to - new_address) >> 2) << at & mask));
                return;
        }
        if (relocatable || (!is_page(i) && low_shift(i) < 0))
                return;
        uint64_t first = old_at > (uint64_t)4 * NEAR ? old_at - (uint64_t)4 * NEAR : 0, target;
        const uint8_t *bytes;
        size_t n;
        int r = delta_elf_window(p, (int64_t)(s->offset + first), (size_t)8 * NEAR + 8,
                                 (int64_t)(s->offset + s->size), &bytes, &n);
        struct around a = {bytes, (unsigned)(n / 4), (unsigned)((old_at - first) / 4)};
        if (r < 0) {
                p->failed = r;
                return;
        }
        if (a.here >= a.n || !whole_address(&a, address, &target))
                return;
        uint64_t to = delta_elf_project_address(f, target);
        if (is_page(i)) {
                uint64_t pages = ((to & ~(uint64_t)0xfff) - (new_address & ~(uint64_t)0xfff)) >> 12;
                i = (i & 0x9f00001f) | (uint32_t)(pages & 3) << 29 | (uint32_t)(pages >> 2 & 0x7ffff) << 5;
        } else if ((to & 0xfff & ((1u << low_shift(i)) - 1)) == 0) {
                i = (i & ~(uint32_t)0x3ffc00) | (uint32_t)((to & 0xfff) >> low_shift(i)) << 10;
        }
        delta_put32(record, i);
}

int delta_elf_predict_arm64(struct delta_elf_predictor *p, const struct stretch *s) {
        p->failed = 0;
        int r = delta_elf_predict_records(p, s, 4, rule_instruction);
        return r < 0 ? r : p->failed;
}

uint32_t delta_arm64_hide(uint32_t i) {
        unsigned at, bits = displacement_bits(i, &at);
        if (bits > 0)
                return i & ~((((uint32_t)1 << bits) - 1) << at);
        return is_page(i) ? i & 0x9f00001f : low_shift(i) >= 0 ? i & ~(uint32_t)0x3ffc00 : i;
}
