/* SPDX-License-Identifier: Apache-2.0 */
/* BTF, the kernel's type information (Documentation/bpf/btf.rst), as kernel modules hold it: types and names
 * of their own stand on the kernel's, so that numbers of types and offsets of names below a base mean the
 * kernel's and all others the module's. */
#pragma once

#include "repo/delta/predict_internal.h"

#define DELTA_BTF_HEADER_SIZE 24u
#define DELTA_BTF_TYPES_MAX ((size_t)4 << 20) /* bytes of types; larger ones are not understood */

struct delta_btf { /* a section; offsets within it */
        uint32_t types_at, types_length, strings_at, strings_length;
};
/* Reads the header; n: bytes of the section, `head` its first 24. -EBADMSG: damaged or not understood. */
int delta_btf_parse(const uint8_t *head, size_t n, struct delta_btf *ret);

enum delta_btf_word { /* what a word of the types is */
                      DELTA_BTF_PLAIN,
                      DELTA_BTF_NAME,
                      DELTA_BTF_TYPE,
};
/* Walks the types: for each record (a type, or a member of the type before) its words' kinds. Stops quietly
 * at what is no type. */
struct delta_btf_walk {
        const uint8_t *types;
        size_t n, at;
        uint32_t members, member_size; /* left to come */
        uint8_t member_kind;
};
struct delta_btf_record {
        size_t at, length;
        bool is_type;     /* false: a member */
        uint8_t words[4]; /* enum delta_btf_word */
};
bool delta_btf_next(struct delta_btf_walk *w, struct delta_btf_record *ret);
