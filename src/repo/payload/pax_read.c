/* SPDX-License-Identifier: Apache-2.0 */
/* The reading half. Every number is bounded before it is used, every name before it is believed. */
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "repo/payload/pax.h"

#define BLOCK 512
#define BUFFER (64u << 10)
#define TRAILER_MAX (1 << 20)           /* zeros after the end that tools fill up with */
#define VALUE_MAX (64u << 10)           /* of an extended attribute (XATTR_SIZE_MAX) */
#define MAP_MAX (PAX_EXTENTS_MAX * 34u) /* two numbers of 15 digits each, and their newlines */

int pax_reader_init(struct pax_reader *r, int fd, struct err **err) {
        off_t end = lseek(fd, 0, SEEK_END);
        if (end < 0)
                return err_set_errno(err, errno, "read the payload");
        *r = (struct pax_reader){.fd = fd, .end = end, .buffer = malloc(BUFFER)};
        return r->buffer ? 0 : err_set_errno(err, ENOMEM, "read the payload");
}

void pax_reader_done(struct pax_reader *r) {
        free(r->buffer);
        free(r->last);
        *r = (struct pax_reader){.fd = -1};
}

void pax_reader_seek(struct pax_reader *r, int64_t at) {
        r->at = at;
        free(r->last);
        r->last = NULL;
}

int pax_read_at(struct pax_reader *r, int64_t at, void *p, size_t n, struct err **err) {
        char *to = p;
        if (at < 0 || at > r->end || (uint64_t)n > (uint64_t)(r->end - at))
                return err_set(err, EINVAL, "the payload ends too early, at byte %lld", (long long)r->end);
        while (n > 0) {
                if (at >= r->buffer_at && at < r->buffer_at + (int64_t)r->buffer_len) {
                        size_t skip = (size_t)(at - r->buffer_at), piece = MIN(n, r->buffer_len - skip);
                        memcpy(to, r->buffer + skip, piece);
                        to += piece;
                        at += (int64_t)piece;
                        n -= piece;
                        continue;
                }
                bool direct = n >= BUFFER;
                ssize_t got = pread(r->fd, direct ? to : r->buffer, direct ? n : BUFFER, at);
                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        return err_set_errno(err, errno, "read the payload");
                if (got == 0)
                        return err_set(err, EINVAL, "the payload became shorter while it was read");
                if (direct) {
                        to += got;
                        at += got;
                        n -= (size_t)got;
                } else {
                        r->buffer_at = at;
                        r->buffer_len = (size_t)got;
                }
        }
        return 0;
}

/* ---- one header block */

/* Octal digits, then blanks or NULs. The form with the highest bit set, for giant and negative numbers, is
 * not written by us and not taken: pax records say them. */
static int read_octal(const char *field, size_t size, int64_t *ret) {
        int64_t value = 0;
        size_t i = 0;
        for (; i < size && field[i] >= '0' && field[i] <= '7'; i++)
                value = value * 8 + (field[i] - '0');
        for (size_t k = i; k < size; k++)
                if (field[k] != ' ' && field[k] != '\0')
                        return -EINVAL;
        if (i == 0 || i > 12)
                return -EINVAL;
        *ret = value;
        return 0;
}

static bool checksum_fits(const char *block) {
        int64_t said = 0;
        unsigned sum = 0;
        if (read_octal(block + 148, 8, &said) < 0)
                return false;
        for (size_t i = 0; i < BLOCK; i++)
                sum += i >= 148 && i < 156 ? ' ' : (unsigned char)block[i];
        return said == (int64_t)sum;
}

struct records { /* what an extended header says; -1 and NULL: nothing */
        char *path, *link, *sparse_name;
        int64_t uid, gid, time, size, real_size, sparse_major, sparse_minor;
        bool has_time;
};

static void records_done(struct records *x) {
        free(x->path);
        free(x->link);
        free(x->sparse_name);
}

static int take_text(char **to, const char *value, size_t len) {
        if (*to || len > PAX_PATH_MAX + 1 || memchr(value, '\0', len))
                return -EINVAL;
        *to = str_dup_n(value, len);
        return *to ? 0 : -ENOMEM;
}

static int take_number(int64_t *to, const char *value, size_t len) {
        char text[24];
        if (*to >= 0 || len >= sizeof(text) || memchr(value, '\0', len))
                return -EINVAL;
        memcpy(text, value, len);
        text[len] = '\0';
        int64_t number = 0;
        if (text[0] == '-' || str_to_i64(text, &number) < 0)
                return -EINVAL;
        *to = number;
        return 0;
}

static int take_record(struct records *x, struct pax_entry *e, const char *key, const char *value,
                       size_t len) {
        const struct {
                const char *key;
                int64_t *number;
        } numbers[] = {
                {"uid", &x->uid},
                {"gid", &x->gid},
                {"size", &x->size},
                {"GNU.sparse.realsize", &x->real_size},
                {"GNU.sparse.major", &x->sparse_major},
                {"GNU.sparse.minor", &x->sparse_minor},
        };
        for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
                if (str_eq(key, numbers[i].key))
                        return take_number(numbers[i].number, value, len);
        if (str_eq(key, "path"))
                return take_text(&x->path, value, len);
        if (str_eq(key, "linkpath"))
                return take_text(&x->link, value, len);
        if (str_eq(key, "GNU.sparse.name"))
                return take_text(&x->sparse_name, value, len);
        if (str_eq(key, "mtime")) {
                char text[24];
                size_t whole = 0; /* a fraction of a second is of no use to us */
                while (whole < len && value[whole] != '.')
                        whole++;
                if (x->has_time || whole >= sizeof(text))
                        return -EINVAL;
                memcpy(text, value, whole);
                text[whole] = '\0';
                x->has_time = true;
                return str_to_i64(text, &x->time) < 0 ? -EINVAL : 0;
        }
        const char *attribute = str_after_prefix(key, "SCHILY.xattr.");
        if (attribute) {
                if (!pax_attribute_travels(attribute) || len > VALUE_MAX)
                        return -EINVAL;
                return pax_entry_add_attribute(e, attribute, value, len);
        }
        /* Names of owners and times of access say nothing here; anything else could mean something that
         * another reader would heed. */
        static const char *const ignored[] = {"atime", "ctime", "uname", "gname", "comment"};
        for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
                if (str_eq(key, ignored[i]))
                        return 0;
        return -EINVAL;
}

/* "LENGTH KEY=VALUE\n" after one another. */
static int read_records(const char *p, size_t n, struct records *x, struct pax_entry *e, struct err **err) {
        while (n > 0) {
                size_t digits = 0, length = 0;
                while (digits < n && digits < 8 && p[digits] >= '0' && p[digits] <= '9')
                        length = length * 10 + (size_t)(p[digits++] - '0');
                if (digits == 0 || digits == n || p[digits] != ' ' || length <= digits + 2 || length > n ||
                    p[length - 1] != '\n')
                        return err_set(err, EINVAL,
                                       "an extended header is not made of 'LENGTH KEY=VALUE' lines");
                const char *key = p + digits + 1, *end = p + length - 1;
                const char *equals = memchr(key, '=', (size_t)(end - key));
                if (!equals || equals == key || equals - key > 255 + 16 ||
                    memchr(key, '\0', (size_t)(equals - key)))
                        return err_set(err, EINVAL, "an extended header has a line without a key");
                _cleanup_(x_freep) char *name = str_dup_n(key, (size_t)(equals - key));
                if (!name)
                        return err_set_errno(err, ENOMEM, "read the payload");
                int r = take_record(x, e, name, equals + 1, (size_t)(end - equals - 1));
                if (r < 0) {
                        char shown[256];
                        return err_set(err, r == -ENOMEM ? ENOMEM : EINVAL,
                                       "an extended header's '%s' is not known, said twice or out of range",
                                       pax_shown(name, shown));
                }
                p += length;
                n -= length;
        }
        return 0;
}

static int kind_from_flag(char flag, enum pax_kind *ret) {
        if (flag < '0' || flag > '6')
                return -EINVAL;
        static const enum pax_kind kinds[] = {
                PAX_FILE,         PAX_HARD_LINK, PAX_SYMBOLIC_LINK, PAX_CHARACTER_DEVICE,
                PAX_BLOCK_DEVICE, PAX_FOLDER,    PAX_FIFO};
        *ret = kinds[flag - '0'];
        return 0;
}

static int read_fields(const char *block, struct records *x, struct pax_entry *e, int64_t *ret_stored,
                       struct err **err) {
        int64_t mode = 0, uid = 0, gid = 0, time = 0, size = 0, major = 0, minor = 0;
        bool empty_devices = block[329] == '\0' && block[337] == '\0'; /* as some tools leave them */
        if (read_octal(block + 100, 8, &mode) < 0 || read_octal(block + 108, 8, &uid) < 0 ||
            read_octal(block + 116, 8, &gid) < 0 || read_octal(block + 124, 12, &size) < 0 ||
            read_octal(block + 136, 12, &time) < 0 ||
            (!empty_devices &&
             (read_octal(block + 329, 8, &major) < 0 || read_octal(block + 337, 8, &minor) < 0)))
                return err_set(err, EINVAL, "a header has a number that is none");
        if (kind_from_flag(block[156], &e->kind) < 0)
                return err_set(err, EINVAL, "a header is of a type that payloads do not have (%d)",
                               (unsigned char)block[156]);
        if (block[345] != '\0')
                return err_set(err, EINVAL, "a header has a path in two parts, which payloads do not have");
        e->mode = (unsigned)mode & 07777;
        e->uid = x->uid >= 0 ? x->uid : uid;
        e->gid = x->gid >= 0 ? x->gid : gid;
        e->time = x->has_time ? x->time : time;
        e->major = (unsigned)major;
        e->minor = (unsigned)minor;
        if (e->uid >= UINT32_MAX || e->gid >= UINT32_MAX)
                return err_set(err, EINVAL, "a header has an owner that no system has");
        *ret_stored = x->size >= 0 ? x->size : size;
        if (*ret_stored > PAX_SIZE_MAX)
                return err_set(err, EINVAL, "a header has a length of more than %lld bytes",
                               (long long)PAX_SIZE_MAX);
        if (!x->path && !(x->path = str_dup_n(block, strnlen(block, 100))))
                return err_set_errno(err, ENOMEM, "read the payload");
        if (!x->link && !(x->link = str_dup_n(block + 157, strnlen(block + 157, 100))))
                return err_set_errno(err, ENOMEM, "read the payload");
        return 0;
}

/* ---- sparse files */

static int read_line_number(struct pax_reader *r, int64_t end, int64_t *at, int64_t *ret, struct err **err) {
        int64_t value = 0;
        for (int digits = 0;; digits++) {
                char c = 0;
                if (*at >= end || digits > 16)
                        return err_set(err, EINVAL, "its map of holes is not made of numbers in lines");
                int s = pax_read_at(r, (*at)++, &c, 1, err);
                if (s < 0)
                        return s;
                if (c == '\n' && digits > 0)
                        break;
                if (c < '0' || c > '9')
                        return err_set(err, EINVAL, "its map of holes is not made of numbers in lines");
                value = value * 10 + (c - '0');
        }
        *ret = value;
        return 0;
}

static int read_map(struct pax_reader *r, struct pax_entry *e, int64_t stored, struct err **err) {
        int64_t at = e->data, end = e->data + MIN(stored, (int64_t)MAP_MAX), n = 0, before = 0;
        int s = read_line_number(r, end, &at, &n, err);
        if (s < 0)
                return s;
        if (n > PAX_EXTENTS_MAX)
                return err_set(err, EINVAL, "its map of holes has more than %d pieces", PAX_EXTENTS_MAX);
        e->extents = calloc((size_t)n + 1, sizeof(*e->extents));
        if (!e->extents)
                return err_set_errno(err, ENOMEM, "read the payload");
        for (int64_t i = 0; i < n; i++) {
                struct pax_extent x = {0};
                if ((s = read_line_number(r, end, &at, &x.offset, err)) < 0 ||
                    (s = read_line_number(r, end, &at, &x.length, err)) < 0)
                        return s;
                if (x.offset < before || x.offset > e->size || x.length > e->size - x.offset)
                        return err_set(err, EINVAL,
                                       "its map of holes has pieces that overlap, or lie outside the file");
                before = x.offset + x.length;
                if (x.length > 0)
                        e->extents[e->n_extents++] = x;
                e->packed += x.length;
        }
        int64_t map = (at - e->data + BLOCK - 1) / BLOCK * BLOCK;
        if (map > stored || e->packed != stored - map)
                return err_set(err, EINVAL, "its map of holes says other than its length");
        e->data += map;
        return 0;
}

/* ---- entries */

static int check_names(struct pax_reader *r, struct pax_entry *e, struct err **err) {
        char shown[256], other[256];
        if (!pax_path_is_valid(e->path))
                return err_set(err, EINVAL,
                               "the entry '%s' is not a path below the folder (absolute, climbing, too long "
                               "or empty)",
                               pax_shown(e->path, shown));
        if (r->last) {
                int order = strcmp(r->last, e->path);
                if (order == 0)
                        return err_set(err, EINVAL, "the entry '%s' is there twice",
                                       pax_shown(e->path, shown));
                if (order > 0)
                        return err_set(err, EINVAL,
                                       "the entry '%s' comes after '%s': entries are not in order",
                                       pax_shown(e->path, shown), pax_shown(r->last, other));
        }
        switch (e->kind) {
        case PAX_SYMBOLIC_LINK:
                if (!*e->link || strlen(e->link) >= PAX_PATH_MAX)
                        return err_set(err, EINVAL,
                                       "the symbolic link '%s' leads to nothing, or its text is too long",
                                       pax_shown(e->path, shown));
                break;
        case PAX_HARD_LINK:
                if (!pax_path_is_valid(e->link) || strcmp(e->link, e->path) >= 0)
                        return err_set(err, EINVAL,
                                       "the hard link '%s' leads to '%s', which is no entry before it",
                                       pax_shown(e->path, shown), pax_shown(e->link, other));
                break;
        default:
                if (*e->link)
                        return err_set(err, EINVAL, "the %s '%s' has a link's target", pax_kind_name(e->kind),
                                       pax_shown(e->path, shown));
                free(e->link);
                e->link = NULL;
        }
        return 0;
}

static int set_content(struct pax_reader *r, struct records *x, struct pax_entry *e, int64_t stored,
                       struct err **err) {
        char shown[256];
        e->data = r->at;
        if (e->kind != PAX_FILE && stored != 0)
                return err_set(err, EINVAL, "the %s '%s' has data", pax_kind_name(e->kind),
                               pax_shown(e->path, shown));
        if (stored > r->end - r->at)
                return err_set(err, EINVAL,
                               "the entry '%s' is said to have %lld bytes, more than the payload has left",
                               pax_shown(e->path, shown), (long long)stored);
        if (x->sparse_major >= 0) {
                if (e->kind != PAX_FILE || x->sparse_major != 1 || x->sparse_minor != 0 || x->real_size < 0 ||
                    x->real_size > PAX_SIZE_MAX)
                        return err_set(err, EINVAL,
                                       "the entry '%s' has holes said in a way that payloads do not have",
                                       pax_shown(e->path, shown));
                e->size = x->real_size;
                int s = read_map(r, e, stored, err);
                if (s < 0)
                        return err_wrap_code(err, s, "the entry '%s'", pax_shown(e->path, shown));
        } else if (stored > 0) {
                e->size = e->packed = stored;
                e->extents = malloc(sizeof(*e->extents));
                if (!e->extents)
                        return err_set_errno(err, ENOMEM, "read the payload");
                e->extents[0] = (struct pax_extent){0, stored};
                e->n_extents = 1;
        }
        int64_t padded = (stored + BLOCK - 1) / BLOCK * BLOCK;
        if (padded > r->end - r->at)
                return err_set(err, EINVAL, "the payload ends within the entry '%s'",
                               pax_shown(e->path, shown));
        r->at += padded;
        return 0;
}

/* After the first block of zeros: another one, then nothing else than zeros. */
static int read_end(struct pax_reader *r, struct err **err) {
        if (r->end - r->at < BLOCK || r->end - r->at > TRAILER_MAX)
                return err_set(err, EINVAL, "the payload's end is cut off, or followed by something else");
        while (r->at < r->end) {
                char block[BLOCK] = {0};
                size_t n = (size_t)MIN(r->end - r->at, BLOCK);
                int s = pax_read_at(r, r->at, block, n, err);
                if (s < 0)
                        return s;
                for (size_t i = 0; i < n; i++)
                        if (block[i])
                                return err_set(err, EINVAL,
                                               "the payload's end is followed by something else");
                r->at += (int64_t)n;
        }
        return 0;
}

static bool is_zero(const char *block) {
        return block[0] == '\0' && memcmp(block, block + 1, BLOCK - 1) == 0;
}

static int read_block(struct pax_reader *r, char block[BLOCK], struct err **err) {
        int s = pax_read_at(r, r->at, block, BLOCK, err);
        if (s < 0)
                return s;
        r->at += BLOCK;
        if (is_zero(block))
                return 0;
        if (!checksum_fits(block) || memcmp(block + 257, "ustar\00000", 8) != 0)
                return err_set(err, EINVAL, "there is no pax header at byte %lld",
                               (long long)(r->at - BLOCK));
        return 1;
}

static int read_extended(struct pax_reader *r, const char *block, struct records *x, struct pax_entry *e,
                         struct err **err) {
        int64_t size = 0;
        if (read_octal(block + 124, 12, &size) < 0 || size <= 0 || size > (int64_t)PAX_HEADER_MAX)
                return err_set(err, EINVAL,
                               "the extended header at byte %lld is empty or longer than %u bytes",
                               (long long)(r->at - BLOCK), PAX_HEADER_MAX);
        _cleanup_(x_freep) char *text = malloc((size_t)size);
        if (!text)
                return err_set_errno(err, ENOMEM, "read the payload");
        int s = pax_read_at(r, r->at, text, (size_t)size, err);
        if (s < 0)
                return s;
        r->at += (size + BLOCK - 1) / BLOCK * BLOCK;
        return read_records(text, (size_t)size, x, e, err);
}

static int read_one(struct pax_reader *r, struct pax_entry *e, struct records *x, struct err **err) {
        char block[BLOCK];
        int64_t stored = 0;
        int s = read_block(r, block, err);
        if (s < 0)
                return s;
        if (s == 0) {
                s = read_end(r, err);
                return s < 0 ? s : 0;
        }
        if (block[156] == 'x') {
                if ((s = read_extended(r, block, x, e, err)) < 0 || (s = read_block(r, block, err)) < 0)
                        return s;
                if (s == 0)
                        return err_set(err, EINVAL, "an extended header is followed by no entry");
        }
        if ((s = read_fields(block, x, e, &stored, err)) < 0)
                return s;
        e->path = x->sparse_major >= 0 && x->sparse_name ? TAKE_PTR(x->sparse_name) : TAKE_PTR(x->path);
        e->link = TAKE_PTR(x->link);
        size_t len = strlen(e->path);
        if (e->kind == PAX_FOLDER && len > 1 && e->path[len - 1] == '/')
                e->path[len - 1] = '\0';
        if ((s = check_names(r, e, err)) < 0 || (s = set_content(r, x, e, stored, err)) < 0)
                return s;
        if (e->kind != PAX_FILE && e->kind != PAX_FOLDER && e->n_attributes > 0)
                return err_set(err, EINVAL, "a %s has extended attributes", pax_kind_name(e->kind));
        char *last = str_dup(e->path);
        if (!last)
                return err_set_errno(err, ENOMEM, "read the payload");
        free(r->last);
        r->last = last;
        r->n++;
        return 1;
}

int pax_read_entry(struct pax_reader *r, struct pax_entry *e, struct err **err) {
        struct records x = {
                .uid = -1, .gid = -1, .size = -1, .real_size = -1, .sparse_major = -1, .sparse_minor = -1};
        int s = read_one(r, e, &x, err);
        records_done(&x);
        if (s <= 0)
                pax_entry_done(e);
        return s;
}
