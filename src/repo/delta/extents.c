/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/extents.h"

#include <errno.h>
#include <string.h>

void delta_extents_done(struct delta_extents *e) {
        for (size_t i = 0; i < e->n_files; i++)
                free(e->files[i].path);
        free(e->files);
        free(e->spans);
        memset(e, 0, sizeof(*e));
}

static int grow(void *array, size_t *room, size_t n, size_t size) {
        if (n < *room)
                return 0;
        size_t wanted = *room ? *room * 2 : 256;
        void *p = reallocarray(*(void **)array, wanted, size);
        if (!p)
                return -ENOMEM;
        *(void **)array = p;
        *room = wanted;
        return 0;
}

int delta_extents_file(struct delta_extents *e, const char *path, size_t path_length) {
        if (e->n_files >= DELTA_EXTENTS_FILES_MAX)
                return -E2BIG;
        int r = grow(&e->files, &e->files_room, e->n_files, sizeof(*e->files));
        if (r < 0)
                return r;
        char *copy = strndup(path, path_length);
        if (!copy)
                return -ENOMEM;
        e->files[e->n_files++] = (struct delta_image_file){copy, 0, (uint32_t)e->n_spans, 0};
        return 0;
}

int delta_extents_span(struct delta_extents *e, int64_t offset, int64_t length) {
        if (length <= 0)
                return 0;
        struct delta_image_file *f = &e->files[e->n_files - 1];
        struct delta_span *last = f->n_spans > 0 ? &e->spans[e->n_spans - 1] : NULL;
        f->length += length;
        if (last && last->offset + last->length == offset) {
                last->length += length;
                return 0;
        }
        int r = grow(&e->spans, &e->spans_room, e->n_spans, sizeof(*e->spans));
        if (r < 0 || !e->spans)
                return r < 0 ? r : -ENOMEM;
        e->spans[e->n_spans++] = (struct delta_span){offset, length};
        e->files[e->n_files - 1].n_spans++;
        return 0;
}

static int by_offset(const void *a, const void *b, void *arg) {
        const struct delta_span *spans = arg;
        int64_t x = spans[*(const uint32_t *)a].offset, y = spans[*(const uint32_t *)b].offset;
        return x < y ? -1 : x > y;
}

/* Files that share blocks (deduplicated, or a damaged image) would be made twice: the later one is let go. */
static int drop_overlaps(struct delta_extents *e, int64_t length) {
        _cleanup_(x_freep) uint32_t *order = calloc(e->n_spans + 1, sizeof(*order));
        _cleanup_(x_freep) uint32_t *owner = calloc(e->n_spans + 1, sizeof(*owner));
        _cleanup_(x_freep) bool *bad = calloc(e->n_files + 1, sizeof(*bad));
        if (!order || !owner || !bad)
                return -ENOMEM;
        for (size_t i = 0; i < e->n_files; i++)
                for (uint32_t k = 0; k < e->files[i].n_spans; k++)
                        owner[e->files[i].first_span + k] = (uint32_t)i;
        for (size_t i = 0; i < e->n_spans; i++)
                order[i] = (uint32_t)i;
        qsort_r(order, e->n_spans, sizeof(*order), by_offset, e->spans);
        int64_t end = 0;
        for (size_t i = 0; i < e->n_spans; i++) {
                const struct delta_span *s = &e->spans[order[i]];
                if (s->offset < end || s->offset > length || s->length > length - s->offset)
                        bad[owner[order[i]]] = true;
                else
                        end = s->offset + s->length;
        }
        size_t kept = 0;
        for (size_t i = 0; i < e->n_files; i++) {
                if (bad[i] || e->files[i].length == 0)
                        free(e->files[i].path);
                else
                        e->files[kept++] = e->files[i];
        }
        e->n_files = kept;
        return 0;
}

int delta_extents_find(const uint8_t *image, int64_t length, struct delta_extents *ret) {
        struct delta_extents e = {0};
        int r = delta_extents_erofs(&e, image, length);
        if (r == -ENOENT)
                r = delta_extents_ext4(&e, image, length);
        if (r == -ENOENT)
                r = delta_extents_tar(&e, image, length, 0, 0);
        if (r == -ENOENT)
                r = delta_extents_cpio(&e, image, length, 0);
        if (r != -ENOMEM)
                r = drop_overlaps(&e, length);
        if (r < 0) {
                delta_extents_done(&e);
                return r;
        }
        *ret = e;
        return 0;
}
