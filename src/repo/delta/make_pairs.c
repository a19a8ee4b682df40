/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/make_pairs.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

int delta_image_file_bytes(const struct delta_image *image, uint32_t file, const uint8_t **ret,
                           uint8_t **ret_own) {
        const struct delta_image_file *f = &image->extents.files[file];
        const struct delta_span *spans = image->extents.spans + f->first_span;
        if (f->n_spans == 1) {
                *ret = image->bytes + spans[0].offset;
                *ret_own = NULL;
                return 0;
        }
        uint8_t *own = malloc((size_t)f->length + 1);
        if (!own)
                return -ENOMEM;
        int64_t done = 0;
        for (uint32_t i = 0; i < f->n_spans; i++) {
                memcpy(own + done, image->bytes + spans[i].offset, (size_t)spans[i].length);
                done += spans[i].length;
        }
        *ret = *ret_own = own;
        return 0;
}

static uint64_t hash_more(uint64_t h, const uint8_t *p, size_t n) {
        for (; n >= 8; p += 8, n -= 8) {
                uint64_t v;
                memcpy(&v, p, 8);
                h = (h ^ v) * 0x9e3779b97f4a7c15u;
                h ^= h >> 32;
        }
        for (; n > 0; n--)
                h = (h ^ *p++) * 0x9e3779b97f4a7c15u;
        return h ^ h >> 29;
}

/* Names are compared in three forms, the later ones looser. */
enum form { FORM_CONTENT, FORM_PATH, FORM_VERSIONLESS, FORM_NAME, FORM_STEM, FORMS };

/* Each run of digits, with the dots, dashes and pluses between such runs, counts as one mark. */
static uint64_t hash_versionless(const char *s, bool stem) {
        uint64_t h = 7;
        while (*s) {
                uint8_t c = (uint8_t)*s;
                if (isdigit(c)) {
                        while (isdigit((uint8_t)*s) || (strchr(".-+~_", *s) && *s && isdigit((uint8_t)s[1])))
                                s++;
                        c = '#';
                } else {
                        if (stem && c == '.')
                                break;
                        s++;
                }
                h = hash_more(h, &c, 1);
        }
        return h;
}

static uint64_t hash_content(const struct delta_image *image, const struct delta_image_file *f) {
        /* Spans may be cut differently in two images: hash in an order that does not know them. */
        uint64_t h = (uint64_t)f->length;
        uint8_t block[4096];
        size_t filled = 0;
        for (uint32_t i = 0; i < f->n_spans; i++) {
                const struct delta_span *s = &image->extents.spans[f->first_span + i];
                for (int64_t done = 0; done < s->length;) {
                        size_t n = (size_t)MIN(s->length - done, (int64_t)(sizeof(block) - filled));
                        if (filled == 0 && n == sizeof(block))
                                h = hash_more(h, image->bytes + s->offset + done, n);
                        else {
                                memcpy(block + filled, image->bytes + s->offset + done, n);
                                filled += n;
                                if (filled == sizeof(block)) {
                                        h = hash_more(h, block, filled);
                                        filled = 0;
                                }
                        }
                        done += (int64_t)n;
                }
        }
        return hash_more(h, block, filled);
}

static const char *base_name(const char *path) {
        const char *slash = strrchr(path, '/');
        return slash ? slash + 1 : path;
}

static uint64_t key_of(const struct delta_image *image, uint32_t file, enum form form) {
        const struct delta_image_file *f = &image->extents.files[file];
        const char *path = f->path;
        while (*path == '/' || (*path == '.' && path[1] == '/'))
                path++;
        switch (form) {
        case FORM_CONTENT: return hash_content(image, f);
        case FORM_PATH: return hash_more(1, (const uint8_t *)path, strlen(path));
        case FORM_VERSIONLESS: return hash_versionless(path, false);
        case FORM_NAME: return hash_versionless(base_name(path), false);
        default: return hash_versionless(base_name(path), true);
        }
}

struct entry {
        uint64_t key;
        uint32_t file;
};

static int by_key(const void *a, const void *b) {
        const struct entry *x = a, *y = b;
        return x->key != y->key ? (x->key < y->key ? -1 : 1) : x->file < y->file ? -1 : x->file > y->file;
}

static struct entry *sorted_entries(const struct delta_image *image, enum form form) {
        size_t n = image->extents.n_files;
        struct entry *entries = calloc(n + 1, sizeof(*entries));
        if (!entries)
                return NULL;
        for (size_t i = 0; i < n; i++)
                entries[i] = (struct entry){key_of(image, (uint32_t)i, form), (uint32_t)i};
        qsort(entries, n, sizeof(*entries), by_key);
        return entries;
}

static size_t first_of(const struct entry *entries, size_t n, uint64_t key) {
        size_t low = 0;
        while (low < n) {
                size_t middle = (low + n) / 2;
                if (entries[middle].key < key)
                        low = middle + 1;
                else
                        n = middle;
        }
        return low;
}

static bool same_content(const struct delta_image *a, uint32_t x, const struct delta_image *b, uint32_t y) {
        const uint8_t *p, *q;
        _cleanup_(x_freep) uint8_t *own_p = NULL;
        _cleanup_(x_freep) uint8_t *own_q = NULL;
        int64_t n = a->extents.files[x].length;
        return n == b->extents.files[y].length && delta_image_file_bytes(a, x, &p, &own_p) == 0 &&
               delta_image_file_bytes(b, y, &q, &own_q) == 0 && memcmp(p, q, (size_t)n) == 0;
}

/* Sizes too far apart say that only the name is alike. */
static bool sizes_fit(int64_t a, int64_t b) {
        return a / 8 <= b && b / 8 <= a;
}

static int pair_by(const struct delta_image *old_image, const struct delta_image *new_image, enum form form,
                   struct delta_file_pair *pairs) {
        size_t n_old = old_image->extents.n_files, n_new = new_image->extents.n_files;
        _cleanup_(x_freep) struct entry *entries = sorted_entries(old_image, form);
        if (!entries)
                return -ENOMEM;
        for (size_t i = 0; i < n_new; i++) {
                if (pairs[i].how != DELTA_PAIR_NEW)
                        continue;
                const struct delta_image_file *f = &new_image->extents.files[i];
                uint64_t key = key_of(new_image, (uint32_t)i, form);
                int64_t nearest = INT64_MAX;
                size_t seen = 0;
                for (size_t k = first_of(entries, n_old, key);
                     k < n_old && entries[k].key == key && seen < 256; k++, seen++) {
                        uint32_t old = entries[k].file;
                        int64_t length = old_image->extents.files[old].length;
                        if (form == FORM_CONTENT) {
                                if (!same_content(old_image, old, new_image, (uint32_t)i))
                                        continue;
                                pairs[i] = (struct delta_file_pair){DELTA_PAIR_SAME, old};
                                /* Of equal ones the one of the same name: places then go on from each other.
                                 */
                                if (strcmp(f->path, old_image->extents.files[old].path) == 0)
                                        break;
                                continue;
                        }
                        int64_t distance = length > f->length ? length - f->length : f->length - length;
                        if (distance >= nearest || (form > FORM_PATH && !sizes_fit(length, f->length)))
                                continue;
                        nearest = distance;
                        pairs[i] = (struct delta_file_pair){DELTA_PAIR_CHANGED, old};
                }
        }
        return 0;
}

int delta_make_pairs(const struct delta_image *old_image, const struct delta_image *new_image,
                     struct delta_file_pair **ret) {
        _cleanup_(x_freep) struct delta_file_pair *pairs =
                calloc(new_image->extents.n_files + 1, sizeof(*pairs));
        if (!pairs)
                return -ENOMEM;
        for (enum form form = FORM_CONTENT; form < FORMS; form++) {
                int r = pair_by(old_image, new_image, form, pairs);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(pairs);
        return 0;
}
