/* SPDX-License-Identifier: Apache-2.0 */
/* The writing half: ustar headers, and pax records only where ustar cannot say it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "repo/payload/pax.h"

#define BLOCK 512
#define BUFFER (256u << 10)
#define OCTAL_7 ((int64_t)07777777)      /* what the fields of 8 bytes hold */
#define OCTAL_11 ((int64_t)077777777777) /* what those of 12 hold */

int pax_writer_init(struct pax_writer *w, int fd) {
        *w = (struct pax_writer){.fd = fd, .buffer = malloc(BUFFER)};
        return w->buffer ? 0 : -ENOMEM;
}

void pax_writer_done(struct pax_writer *w) {
        free(w->buffer);
        *w = (struct pax_writer){.fd = -1};
}

static int flush(struct pax_writer *w, struct err **err) {
        for (size_t done = 0; done < w->len;) {
                ssize_t n = write(w->fd, w->buffer + done, w->len - done);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return err_set_errno(err, errno, "write the payload");
                done += (size_t)n;
        }
        w->len = 0;
        if (w->progress)
                w->progress(w->progress_arg, w->written);
        return 0;
}

static int put(struct pax_writer *w, const void *p, size_t n, struct err **err) {
        const char *from = p;
        while (n > 0) {
                size_t piece = MIN(n, BUFFER - w->len);
                memcpy(w->buffer + w->len, from, piece);
                w->len += piece;
                w->written += (int64_t)piece;
                from += piece;
                n -= piece;
                if (w->len == BUFFER) {
                        int r = flush(w, err);
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

static int pad(struct pax_writer *w, struct err **err) {
        static const char zeros[BLOCK];
        size_t over = (size_t)(w->written % BLOCK);
        return over ? put(w, zeros, BLOCK - over, err) : 0;
}

/* ---- headers */

static void put_octal(char *field, size_t size, int64_t value) {
        field[size - 1] = '\0';
        for (size_t i = size - 1; i-- > 0; value >>= 3)
                field[i] = (char)('0' + (value & 7));
}

/* Text of exactly the field's length needs no NUL (POSIX). */
static void put_text(char *field, size_t size, const char *text) {
        memcpy(field, text, MIN(strlen(text), size));
}

struct fields {
        const char *name, *link;
        char type;
        unsigned mode;
        int64_t uid, gid, size, time;
        unsigned major, minor;
};

static int put_header(struct pax_writer *w, const struct fields *f, struct err **err) {
        char block[BLOCK] = {0};
        unsigned sum = 0;
        put_text(block, 100, f->name);
        put_octal(block + 100, 8, f->mode);
        put_octal(block + 108, 8, f->uid > OCTAL_7 ? 0 : f->uid);
        put_octal(block + 116, 8, f->gid > OCTAL_7 ? 0 : f->gid);
        put_octal(block + 124, 12, f->size > OCTAL_11 ? 0 : f->size);
        put_octal(block + 136, 12, f->time < 0 || f->time > OCTAL_11 ? 0 : f->time);
        memset(block + 148, ' ', 8);
        block[156] = f->type;
        put_text(block + 157, 100, f->link ? f->link : "");
        memcpy(block + 257, "ustar\00000", 8);
        put_octal(block + 329, 8, f->major);
        put_octal(block + 337, 8, f->minor);
        for (size_t i = 0; i < BLOCK; i++)
                sum += (unsigned char)block[i];
        put_octal(block + 148, 7, sum);
        block[155] = ' ';
        return put(w, block, BLOCK, err);
}

/* "LENGTH KEY=VALUE\n", where the length counts itself. */
static void put_record(struct buf *b, const char *key, const void *value, size_t len) {
        size_t rest = strlen(key) + len + 3, total = rest + 1;
        for (;;) {
                char digits[24];
                size_t n = (size_t)snprintf(digits, sizeof(digits), "%zu", total);
                if (rest + n == total)
                        break;
                total = rest + n;
        }
        buf_printf(b, "%zu %s=", total, key);
        buf_append(b, value, len);
        buf_putc(b, '\n');
}

static void put_number_record(struct buf *b, const char *key, int64_t value) {
        char digits[24];
        int n = snprintf(digits, sizeof(digits), "%lld", (long long)value);
        put_record(b, key, digits, (size_t)n);
}

static int put_extended(struct pax_writer *w, const struct buf *records, struct err **err) {
        int r = buf_failed(records);
        if (r < 0)
                return err_set_errno(err, -r, "write the payload");
        if (records->len == 0)
                return 0;
        if (records->len > PAX_HEADER_MAX)
                return err_set(err, EINVAL, "its extended attributes take more than %u bytes",
                               PAX_HEADER_MAX);
        r = put_header(
                w,
                &(struct fields){
                        .name = "././@PaxHeader", .type = 'x', .mode = 0644, .size = (int64_t)records->len},
                err);
        if (r == 0)
                r = put(w, records->data, records->len, err);
        return r < 0 ? r : pad(w, err);
}

static bool is_sparse(const struct pax_entry *e) {
        if (e->kind != PAX_FILE || e->size == 0)
                return false;
        return e->n_extents != 1 || e->extents[0].offset != 0 || e->extents[0].length != e->size;
}

/* GNU.sparse 1.0: numbers in lines, filled up to a block, ahead of the data. */
static void put_map(struct buf *map, const struct pax_entry *e) {
        /* A file that ends in a hole says so by an empty extent at its end. */
        const struct pax_extent *last = e->n_extents ? &e->extents[e->n_extents - 1] : NULL;
        bool end = !last || last->offset + last->length < e->size;
        buf_printf(map, "%zu\n", e->n_extents + end);
        for (size_t i = 0; i < e->n_extents; i++)
                buf_printf(map, "%lld\n%lld\n", (long long)e->extents[i].offset,
                           (long long)e->extents[i].length);
        if (end)
                buf_printf(map, "%lld\n0\n", (long long)e->size);
        while (map->len % BLOCK && !buf_failed(map))
                buf_putc(map, '\0');
}

static const char type_flags[] = {
        [PAX_FILE] = '0',          [PAX_HARD_LINK] = '1',
        [PAX_SYMBOLIC_LINK] = '2', [PAX_CHARACTER_DEVICE] = '3',
        [PAX_BLOCK_DEVICE] = '4',  [PAX_FOLDER] = '5',
        [PAX_FIFO] = '6',
};

int pax_write_entry(struct pax_writer *w, const struct pax_entry *e, struct err **err) {
        _cleanup_(buf_done) struct buf records = BUF_INIT, map = BUF_INIT;
        _cleanup_(x_freep) char *name = str_format("%s%s", e->path, e->kind == PAX_FOLDER ? "/" : "");
        bool sparse = is_sparse(e);
        int64_t packed = 0;
        if (!name)
                return err_set_errno(err, ENOMEM, "write the payload");
        for (size_t i = 0; i < e->n_extents; i++)
                packed += e->extents[i].length;
        struct fields f = {.name = name,
                           .link = e->link,
                           .type = type_flags[e->kind],
                           .mode = e->mode,
                           .uid = e->uid,
                           .gid = e->gid,
                           .time = e->time,
                           .major = e->major,
                           .minor = e->minor,
                           .size = packed};
        if (sparse) {
                put_map(&map, e);
                f.size += (int64_t)map.len;
                put_record(&records, "GNU.sparse.major", "1", 1);
                put_record(&records, "GNU.sparse.minor", "0", 1);
                put_record(&records, "GNU.sparse.name", e->path, strlen(e->path));
                put_number_record(&records, "GNU.sparse.realsize", e->size);
                f.name = "GNUSparseFile.0"; /* what an old tar would call the map and its data */
        }
        for (size_t i = 0; i < e->n_attributes; i++) {
                _cleanup_(x_freep) char *key = str_format("SCHILY.xattr.%s", e->attributes[i].name);
                if (!key)
                        return err_set_errno(err, ENOMEM, "write the payload");
                put_record(&records, key, e->attributes[i].value, e->attributes[i].len);
        }
        if (f.gid > OCTAL_7)
                put_number_record(&records, "gid", f.gid);
        if (f.link && strlen(f.link) > 100)
                put_record(&records, "linkpath", f.link, strlen(f.link));
        if (f.time < 0 || f.time > OCTAL_11)
                put_number_record(&records, "mtime", f.time);
        if (strlen(f.name) > 100)
                put_record(&records, "path", f.name, strlen(f.name));
        if (f.size > OCTAL_11)
                put_number_record(&records, "size", f.size);
        if (f.uid > OCTAL_7)
                put_number_record(&records, "uid", f.uid);
        if (buf_failed(&map))
                return err_set_errno(err, ENOMEM, "write the payload");

        int r = put_extended(w, &records, err);
        if (r == 0)
                r = put_header(w, &f, err);
        if (r == 0)
                r = put(w, map.data, map.len, err);
        if (r < 0)
                return r;
        w->left = packed;
        return 0;
}

int pax_write_data(struct pax_writer *w, const void *p, size_t n, struct err **err) {
        if ((uint64_t)n > (uint64_t)w->left)
                return err_set(err, EINVAL, "more data than the entry was said to have");
        int r = put(w, p, n, err);
        if (r < 0)
                return r;
        w->left -= (int64_t)n;
        return w->left == 0 ? pad(w, err) : 0;
}

int pax_write_end(struct pax_writer *w, struct err **err) {
        static const char zeros[2 * BLOCK];
        if (w->left > 0)
                return err_set(err, EINVAL, "less data than the entry was said to have");
        int r = put(w, zeros, sizeof(zeros), err);
        return r < 0 ? r : flush(w, err);
}
