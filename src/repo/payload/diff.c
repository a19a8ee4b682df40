/* SPDX-License-Identifier: Apache-2.0 */
/* What differs between two payloads, for people. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/table.h"
#include "crypto/digest.h"
#include "repo/payload/archive.h"
#include "repo/payload/oci.h"

#define PIECE (128u << 10)

struct diff {
        void (*change)(void *arg, const struct payload_change *c);
        void *arg;
        char *a, *b; /* PIECE bytes each */
};

static void tell(const struct diff *d, int what, const char *path, int64_t old_size, int64_t new_size,
                 const char *note) {
        struct payload_change c = {.path = path, .old_size = old_size, .new_size = new_size, .note = note};
        c.what = what < 0 ? PAYLOAD_REMOVED : what > 0 ? PAYLOAD_ADDED : PAYLOAD_CHANGED;
        d->change(d->arg, &c);
}

/* ---- trees */

/* 1: the same bytes; 0: not. Both have the same length and extents. */
static int same_content(const struct diff *d, struct pax_reader *ra, const struct pax_entry *a,
                        struct pax_reader *rb, const struct pax_entry *b, struct err **err) {
        for (int64_t at = 0; at < a->packed;) {
                size_t n = (size_t)MIN(a->packed - at, (int64_t)PIECE);
                int r = pax_read_at(ra, a->data + at, d->a, n, err);
                if (r == 0)
                        r = pax_read_at(rb, b->data + at, d->b, n, err);
                if (r < 0)
                        return r;
                if (memcmp(d->a, d->b, n) != 0)
                        return 0;
                at += (int64_t)n;
        }
        return 1;
}

static bool same_attributes(const struct pax_entry *a, const struct pax_entry *b) {
        if (a->n_attributes != b->n_attributes)
                return false;
        for (size_t i = 0; i < a->n_attributes; i++) {
                const struct pax_attribute *x = &a->attributes[i], *y = &b->attributes[i];
                if (!str_eq(x->name, y->name) || x->len != y->len || memcmp(x->value, y->value, x->len) != 0)
                        return false;
        }
        return true;
}

static bool same_extents(const struct pax_entry *a, const struct pax_entry *b) {
        return a->size == b->size && a->n_extents == b->n_extents &&
               (a->n_extents == 0 || memcmp(a->extents, b->extents, a->n_extents * sizeof(*a->extents)) == 0);
}

static int compare_entries(const struct diff *d, struct pax_reader *ra, const struct pax_entry *a,
                           struct pax_reader *rb, const struct pax_entry *b, struct err **err) {
        _cleanup_(buf_done) struct buf note = BUF_INIT;
        char shown[256], other[256];
        bool content = true;
        if (a->kind != b->kind) {
                buf_printf(&note, "%s -> %s", pax_kind_name(a->kind), pax_kind_name(b->kind));
        } else {
                int r = a->kind != PAX_FILE   ? 1
                        : !same_extents(a, b) ? 0
                                              : same_content(d, ra, a, rb, b, err);
                if (r < 0)
                        return r;
                content = r > 0;
                if (!str_eq(a->link, b->link))
                        buf_printf(&note, "link %s -> %s", pax_shown(a->link, shown),
                                   pax_shown(b->link, other));
                if (a->major != b->major || a->minor != b->minor)
                        buf_printf(&note, "device %u:%u -> %u:%u", a->major, a->minor, b->major, b->minor);
        }
        if (a->mode != b->mode)
                buf_printf(&note, "%smode %04o -> %04o", note.len ? ", " : "", a->mode, b->mode);
        if (a->uid != b->uid || a->gid != b->gid)
                buf_printf(&note, "%sowner %lld:%lld -> %lld:%lld", note.len ? ", " : "", (long long)a->uid,
                           (long long)a->gid, (long long)b->uid, (long long)b->gid);
        if (!same_attributes(a, b))
                buf_printf(&note, "%sextended attributes", note.len ? ", " : "");
        if (!content || note.len > 0)
                tell(d, 0, a->path, a->size, b->size, buf_str(&note));
        return 0;
}

static int diff_trees(const struct diff *d, int old_fd, int new_fd, struct err **err) {
        struct pax_reader old = {.fd = -1}, new = {.fd = -1};
        struct pax_entry a = {0}, b = {0};
        int r = pax_reader_init(&old, old_fd, err), has_a = 0, has_b = 0;
        if (r == 0)
                r = pax_reader_init(&new, new_fd, err);
        if (r == 0)
                r = has_a = pax_read_entry(&old, &a, err);
        if (r >= 0)
                r = has_b = pax_read_entry(&new, &b, err);
        /* Both are in order. */
        while (r >= 0 && (has_a > 0 || has_b > 0)) {
                int order = has_a <= 0 ? 1 : has_b <= 0 ? -1 : strcmp(a.path, b.path);
                if (order < 0)
                        tell(d, -1, a.path, a.size, -1, a.kind == PAX_FILE ? "" : pax_kind_name(a.kind));
                else if (order > 0)
                        tell(d, 1, b.path, -1, b.size, b.kind == PAX_FILE ? "" : pax_kind_name(b.kind));
                else
                        r = compare_entries(d, &old, &a, &new, &b, err);
                if (r >= 0 && order <= 0) {
                        pax_entry_done(&a);
                        r = has_a = pax_read_entry(&old, &a, err);
                }
                if (r >= 0 && order >= 0) {
                        pax_entry_done(&b);
                        r = has_b = pax_read_entry(&new, &b, err);
                }
        }
        pax_entry_done(&a);
        pax_entry_done(&b);
        pax_reader_done(&old);
        pax_reader_done(&new);
        return r < 0 ? r : 0;
}

/* ---- container images: what lies in the layers that only one of them has */

struct file { /* in an image, the newest layer's */
        int64_t size;
        uint8_t digest[SHA256_SIZE]; /* of content and what it is */
        char note[32];
};

static int read_layer(struct archive_reader *a, struct table *files, struct err **err) {
        for (;;) {
                struct archive_entry *entry = NULL;
                _cleanup_(x_freep) char *path = NULL;
                int r = archive_reader_next(a, &entry, err);
                if (r <= 0)
                        return r;
                r = archive_reader_path(archive_entry_pathname(entry), &path, err);
                if (r < 0)
                        return r;
                if (!path || archive_entry_filetype(entry) == AE_IFDIR)
                        continue;
                _cleanup_(sha256_freep) struct sha256 *digest = sha256_new();
                _cleanup_(x_freep) struct file *f = calloc(1, sizeof(*f));
                if (!digest || !f)
                        return err_set_errno(err, ENOMEM, "read the layer");
                const char *link = archive_entry_hardlink(entry) ? archive_entry_hardlink(entry)
                                                                 : archive_entry_symlink(entry);
                char head[64];
                int n = snprintf(head, sizeof(head), "%o %lld %lld", archive_entry_mode(entry),
                                 (long long)archive_entry_uid(entry), (long long)archive_entry_gid(entry));
                sha256_update(digest, head, (size_t)n + 1);
                if (link)
                        sha256_update(digest, link, strlen(link));
                f->size = MAX(archive_entry_size(entry), (la_int64_t)0);
                if (link || archive_entry_filetype(entry) != AE_IFREG)
                        (void)snprintf(f->note, sizeof(f->note), "%s", link ? "link" : "device");
                for (;;) {
                        const void *block = NULL;
                        size_t len = 0;
                        la_int64_t offset = 0;
                        int b = archive_read_data_block(a->archive, &block, &len, &offset);
                        if (b == ARCHIVE_EOF)
                                break;
                        if (b != ARCHIVE_OK)
                                return err_set(err, EINVAL, "the layer is damaged");
                        sha256_update(digest, &offset, sizeof(offset));
                        sha256_update(digest, block, len);
                }
                sha256_final(digest, f->digest);
                if (table_set(files, path, f) < 0)
                        return err_set_errno(err, ENOMEM, "read the layer");
                TAKE_PTR(f);
        }
}

static bool has_layer(const struct oci_payload *o, const char *sha256) {
        for (size_t i = 0; i < o->summary.n_layers; i++)
                if (str_eq(o->layers[i].sha256, sha256))
                        return true;
        return false;
}

static int read_layers(int fd, const struct oci_payload *o, const struct oci_payload *other,
                       struct table *files, struct err **err) {
        for (size_t i = 0; i < o->summary.n_layers; i++) {
                if (has_layer(other, o->layers[i].sha256))
                        continue;
                struct archive_reader a = {0};
                int r = archive_reader_init_range(&a, fd, o->layers[i].at, o->layers[i].length, err);
                if (r == 0)
                        r = read_layer(&a, files, err);
                archive_reader_done(&a);
                if (r < 0)
                        return err_wrap_code(err, r, "layer sha256:%s", o->layers[i].sha256);
        }
        return 0;
}

static void tell_layers(const struct diff *d, const struct oci_payload *o, const struct oci_payload *other,
                        int what) {
        for (size_t i = 0; i < o->summary.n_layers; i++) {
                char path[80];
                int64_t size = o->layers[i].length;
                if (has_layer(other, o->layers[i].sha256))
                        continue;
                (void)snprintf(path, sizeof(path), "layer sha256:%.64s", o->layers[i].sha256);
                tell(d, what, path, what < 0 ? size : -1, what < 0 ? -1 : size, "layer");
        }
}

struct named {
        const char *path;
        const struct file *old, *new;
};

static int by_name(const void *a, const void *b) {
        return strcmp(((const struct named *)a)->path, ((const struct named *)b)->path);
}

static int tell_files(const struct diff *d, struct table *old, struct table *new, struct err **err) {
        size_t n = 0, at = 0;
        _cleanup_(x_freep) struct named *all = calloc(table_len(old) + table_len(new) + 1, sizeof(*all));
        const char *path;
        void *value;
        if (!all)
                return err_set_errno(err, ENOMEM, "compare the layers");
        for (at = 0; table_next(old, &at, &path, &value);)
                all[n++] = (struct named){path, value, table_get(new, path)};
        for (at = 0; table_next(new, &at, &path, &value);)
                if (!table_get(old, path))
                        all[n++] = (struct named){path, NULL, value};
        qsort(all, n, sizeof(*all), by_name);
        for (size_t i = 0; i < n; i++) {
                const struct file *x = all[i].old, *y = all[i].new;
                if (!y)
                        tell(d, -1, all[i].path, x->size, -1, x->note);
                else if (!x)
                        tell(d, 1, all[i].path, -1, y->size, y->note);
                else if (memcmp(x->digest, y->digest, sizeof(x->digest)) != 0)
                        tell(d, 0, all[i].path, x->size, y->size, y->note);
        }
        return 0;
}

static int diff_images(const struct diff *d, int old_fd, int new_fd, struct err **err) {
        _cleanup_(table_freep) struct table *old_files = table_new(free), *new_files = table_new(free);
        struct oci_payload old = {0}, new = {0};
        int r = old_files && new_files ? payload_oci_open(old_fd, &old, err)
                                       : err_set_errno(err, ENOMEM, "compare the images");
        if (r == 0)
                r = payload_oci_open(new_fd, &new, err);
        if (r == 0 && !str_eq(old.config.sha256, new.config.sha256))
                tell(d, 0, "config", old.config.length, new.config.length, "");
        if (r == 0) {
                tell_layers(d, &old, &new, -1);
                tell_layers(d, &new, &old, 1);
                r = read_layers(old_fd, &old, &new, old_files, err);
        }
        if (r == 0)
                r = read_layers(new_fd, &new, &old, new_files, err);
        if (r == 0)
                r = tell_files(d, old_files, new_files, err);
        payload_oci_done(&old);
        payload_oci_done(&new);
        return r;
}

/* ---- files and disk images */

static int diff_bytes(const struct diff *d, int old_fd, int new_fd, struct err **err) {
        char a[SHA256_HEX_SIZE], b[SHA256_HEX_SIZE];
        off_t old_size = lseek(old_fd, 0, SEEK_END), new_size = lseek(new_fd, 0, SEEK_END);
        if (old_size < 0 || new_size < 0 || lseek(old_fd, 0, SEEK_SET) < 0 || lseek(new_fd, 0, SEEK_SET) < 0)
                return err_set_errno(err, errno, "read the payloads");
        int r = sha256_file_hex(old_fd, a);
        if (r == 0)
                r = sha256_file_hex(new_fd, b);
        if (r < 0)
                return err_set_errno(err, -r, "read the payloads");
        if (!str_eq(a, b))
                tell(d, 0, "", old_size, new_size, "");
        return 0;
}

int payload_diff(enum artifact_type type, int old_fd, int new_fd,
                 void (*change)(void *arg, const struct payload_change *c), void *arg, struct err **err) {
        struct diff d = {.change = change, .arg = arg};
        if (type == ARTIFACT_FILE || type == ARTIFACT_IMAGE)
                return diff_bytes(&d, old_fd, new_fd, err);
        if (type == ARTIFACT_OCI)
                return diff_images(&d, old_fd, new_fd, err);
        _cleanup_(x_freep) char *a = malloc(PIECE), *b = malloc(PIECE);
        if (!a || !b)
                return err_set_errno(err, ENOMEM, "compare the payloads");
        d.a = a;
        d.b = b;
        return diff_trees(&d, old_fd, new_fd, err);
}
