/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/btf.h"

#include <errno.h>

int delta_btf_parse(const uint8_t *head, size_t n, struct delta_btf *ret) {
        if (n < DELTA_BTF_HEADER_SIZE || delta_get16(head) != 0xeb9f ||
            delta_get32(head + 4) != DELTA_BTF_HEADER_SIZE)
                return -EBADMSG;
        uint64_t types_at = (uint64_t)delta_get32(head + 8) + DELTA_BTF_HEADER_SIZE;
        uint64_t strings_at = (uint64_t)delta_get32(head + 16) + DELTA_BTF_HEADER_SIZE;
        uint32_t types_length = delta_get32(head + 12), strings_length = delta_get32(head + 20);
        if (types_at > n || types_length > n - types_at || strings_at > n ||
            strings_length > n - strings_at || types_length > DELTA_BTF_TYPES_MAX || types_at % 4 != 0)
                return -EBADMSG;
        *ret = (struct delta_btf){(uint32_t)types_at, types_length, (uint32_t)strings_at, strings_length};
        return 0;
}

/* By kind of type: whether its third word is a type; size of one member, whether there are as many as the
 * type says (else one), and its words' kinds. */
static const struct {
        bool refers;
        uint8_t member_size;
        bool counted;
        uint8_t words[3];
} kinds[] = {
        [1] = {false, 4, false, {DELTA_BTF_PLAIN}},                                   /* INT */
        [2] = {true, 0, false, {0}},                                                  /* PTR */
        [3] = {false, 12, false, {DELTA_BTF_TYPE, DELTA_BTF_TYPE, DELTA_BTF_PLAIN}},  /* ARRAY */
        [4] = {false, 12, true, {DELTA_BTF_NAME, DELTA_BTF_TYPE, DELTA_BTF_PLAIN}},   /* STRUCT */
        [5] = {false, 12, true, {DELTA_BTF_NAME, DELTA_BTF_TYPE, DELTA_BTF_PLAIN}},   /* UNION */
        [6] = {false, 8, true, {DELTA_BTF_NAME, DELTA_BTF_PLAIN}},                    /* ENUM */
        [7] = {false, 0, false, {0}},                                                 /* FWD */
        [8] = {true, 0, false, {0}},                                                  /* TYPEDEF */
        [9] = {true, 0, false, {0}},                                                  /* VOLATILE */
        [10] = {true, 0, false, {0}},                                                 /* CONST */
        [11] = {true, 0, false, {0}},                                                 /* RESTRICT */
        [12] = {true, 0, false, {0}},                                                 /* FUNC */
        [13] = {true, 8, true, {DELTA_BTF_NAME, DELTA_BTF_TYPE}},                     /* FUNC_PROTO */
        [14] = {true, 4, false, {DELTA_BTF_PLAIN}},                                   /* VAR */
        [15] = {false, 12, true, {DELTA_BTF_TYPE, DELTA_BTF_PLAIN, DELTA_BTF_PLAIN}}, /* DATASEC */
        [16] = {false, 0, false, {0}},                                                /* FLOAT */
        [17] = {true, 4, false, {DELTA_BTF_PLAIN}},                                   /* DECL_TAG */
        [18] = {true, 0, false, {0}},                                                 /* TYPE_TAG */
        [19] = {false, 12, true, {DELTA_BTF_NAME, DELTA_BTF_PLAIN, DELTA_BTF_PLAIN}}, /* ENUM64 */
};

bool delta_btf_next(struct delta_btf_walk *w, struct delta_btf_record *ret) {
        if (w->members > 0) {
                if (w->n - w->at < w->member_size)
                        return false;
                *ret = (struct delta_btf_record){.at = w->at, .length = w->member_size};
                for (unsigned i = 0; i < 3; i++)
                        ret->words[i] = kinds[w->member_kind].words[i];
                w->members--;
                w->at += w->member_size;
                return true;
        }
        if (w->n - w->at < 12)
                return false;
        uint32_t info = delta_get32(w->types + w->at + 4);
        uint8_t kind = info >> 24 & 31;
        if (kind == 0 || kind >= ARRAY_SIZE(kinds))
                return false;
        *ret = (struct delta_btf_record){.at = w->at, .length = 12, .is_type = true};
        ret->words[0] = DELTA_BTF_NAME;
        ret->words[2] = kinds[kind].refers ? DELTA_BTF_TYPE : DELTA_BTF_PLAIN;
        w->member_kind = kind;
        w->member_size = kinds[kind].member_size;
        w->members = w->member_size == 0 ? 0 : kinds[kind].counted ? info & 0xffff : 1;
        w->at += 12;
        return true;
}
