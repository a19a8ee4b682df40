/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/payload/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/encode.h"
#include "base/str.h"
#include "crypto/digest.h"

#define PIECE (256u << 10)
/* A bomb is what gives very much more than it takes; honest zeros stay below it for a while. */
#define BOMB_FROM ((int64_t)1 << 30)
#define BOMB_RATIO 500

static int archive_error(struct archive *a, struct err **err, const char *what) {
        const char *why = archive_error_string(a);
        int code = archive_errno(a);
        return err_set(err, code == ENOMEM || code == EIO || code == ENOSPC ? code : EINVAL, "%s: %s", what,
                       why ? why : "it is damaged");
}

static bool is_bomb(int64_t out, int64_t in) {
        return out > BOMB_FROM && out / BOMB_RATIO > in;
}

static int refuse_bomb(struct err **err) {
        return err_set(err, EFBIG, "it unpacks to more than %d times its size, or more than %lld GiB",
                       BOMB_RATIO, (long long)(TREE_BYTES_MAX >> 30));
}

struct archive_range { /* what libarchive reads from */
        int fd;
        int64_t at, end;
        char buffer[PIECE];
};

static la_ssize_t range_read(struct archive *a, void *data, const void **ret) {
        struct archive_range *s = data;
        size_t n = (size_t)MIN(s->end - s->at, (int64_t)sizeof(s->buffer));
        ssize_t got;
        do
                got = n > 0 ? pread(s->fd, s->buffer, n, s->at) : 0;
        while (got < 0 && errno == EINTR);
        if (got < 0) {
                archive_set_error(a, errno, "%s", strerror(errno));
                return -1;
        }
        s->at += got;
        *ret = s->buffer;
        return got;
}

/* Only filters that are libraries: some others would run programs. */
static void add_filters(struct archive *a) {
        (void)archive_read_support_filter_gzip(a);
        (void)archive_read_support_filter_bzip2(a);
        (void)archive_read_support_filter_xz(a);
        (void)archive_read_support_filter_lzma(a);
        (void)archive_read_support_filter_zstd(a);
}

static int begin(struct archive_reader *a) {
        a->archive = archive_read_new();
        if (!a->archive)
                return -ENOMEM;
        /* Names are bytes, in UTF-8 by custom: under another locale libarchive would rewrite them. */
        a->utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
        if (a->utf8)
                a->before = uselocale(a->utf8);
        (void)archive_read_support_format_tar(a->archive);
        return 0;
}

int archive_reader_init(struct archive_reader *a, const char *path, const struct payload_progress *p,
                        struct err **err) {
        struct stat st;
        if (stat(path, &st) < 0)
                return err_set_errno(err, errno, "read it");
        *a = (struct archive_reader){.input = st.st_size, .progress = p};
        if (begin(a) < 0)
                return err_set_errno(err, ENOMEM, "read it");
        add_filters(a->archive);
        if (archive_read_open_filename(a->archive, path, PIECE) != ARCHIVE_OK)
                return archive_error(a->archive, err, "it is no tar archive");
        return 0;
}

int archive_reader_init_range(struct archive_reader *a, int fd, int64_t at, int64_t length,
                              struct err **err) {
        *a = (struct archive_reader){.input = length, .range = calloc(1, sizeof(*a->range))};
        if (!a->range || begin(a) < 0)
                return err_set_errno(err, ENOMEM, "read it");
        *a->range = (struct archive_range){.fd = fd, .at = at, .end = at + length};
        (void)archive_read_support_format_empty(a->archive);
        if (archive_read_open(a->archive, a->range, NULL, range_read, NULL) != ARCHIVE_OK)
                return archive_error(a->archive, err, "it is no tar archive");
        return 0;
}

void archive_reader_done(struct archive_reader *a) {
        (void)archive_read_free(a->archive);
        if (a->utf8) {
                (void)uselocale(a->before);
                freelocale(a->utf8);
        }
        free(a->range);
        *a = (struct archive_reader){0};
}

int archive_reader_next(struct archive_reader *a, struct archive_entry **ret, struct err **err) {
        int r = archive_read_next_header(a->archive, ret);
        if (r == ARCHIVE_EOF)
                return 0;
        /* A warning is about something that libarchive had to guess: we do not ship guesses. */
        if (r == ARCHIVE_WARN && archive_error_string(a->archive) &&
            strstr(archive_error_string(a->archive), "can't be converted")) {
                char shown[256];
                const char *name = archive_entry_pathname(*ret);
                return err_set(err, EINVAL,
                               "the entry '%s' has a name or link that is not UTF-8; push the folder that it "
                               "came from",
                               pax_shown(name ? name : "", shown));
        }
        if (r != ARCHIVE_OK) {
                const char *name = r == ARCHIVE_WARN ? archive_entry_pathname(*ret) : NULL;
                char shown[256];
                return archive_error(a->archive, err, name ? pax_shown(name, shown) : "read the archive");
        }
        return 1;
}

int archive_reader_path(const char *text, char **ret, struct err **err) {
        char shown[256];
        if (!text)
                return err_set(err, EINVAL, "an entry has a name that is not UTF-8");
        if (*text == '/')
                return err_set(err, EINVAL, "the entry '%s' has an absolute path", pax_shown(text, shown));
        _cleanup_(x_freep) char *path = malloc(strlen(text) + 1);
        if (!path)
                return err_set_errno(err, ENOMEM, "read the archive");
        char *out = path;
        for (const char *p = text; *p;) {
                size_t n = strcspn(p, "/");
                if (n > 0 && !(n == 1 && p[0] == '.')) {
                        if (out > path)
                                *out++ = '/';
                        memcpy(out, p, n);
                        out += n;
                }
                p += n;
                p += strspn(p, "/");
        }
        *out = '\0';
        if (out == path) {
                *ret = NULL;
                return 0;
        }
        if (!pax_path_is_valid(path))
                return err_set(err, EINVAL, "the entry '%s' leads out of the folder, or its path is too long",
                               pax_shown(text, shown));
        *ret = TAKE_PTR(path);
        return 0;
}

static int write_at(int fd, const void *data, size_t n, int64_t at, struct err **err) {
        const char *p = data;
        while (n > 0) {
                ssize_t done = pwrite(fd, p, n, at);
                if (done < 0 && errno == EINTR)
                        continue;
                if (done < 0)
                        return err_set_errno(err, errno,
                                             "write a temporary file (TMPDIR names another folder)");
                p += done;
                n -= (size_t)done;
                at += done;
        }
        return 0;
}

int archive_reader_spool(struct archive_reader *a, struct archive_entry *entry, int spool_fd, int64_t at,
                         int64_t *ret_size, struct err **err) {
        int64_t size = archive_entry_size(entry), from = a->bytes, before = 0;
        if (size < 0 || size > TREE_BYTES_MAX - at)
                return err_set(err, EFBIG, "it is said to have %lld bytes", (long long)size);
        for (;;) {
                const void *block = NULL;
                size_t n = 0;
                la_int64_t offset = 0;
                int r = archive_read_data_block(a->archive, &block, &n, &offset);
                if (r == ARCHIVE_EOF)
                        break;
                if (r != ARCHIVE_OK)
                        return archive_error(a->archive, err, "read it");
                if (offset < before || offset > size || (int64_t)n > size - offset)
                        return err_set(err, EINVAL,
                                       "it has data outside of its length, or pieces that overlap");
                before = offset + (int64_t)n;
                a->bytes += (int64_t)n;
                if (is_bomb(a->bytes, archive_filter_bytes(a->archive, -1)) || a->bytes - from > size)
                        return refuse_bomb(err);
                const char *bytes = block;
                bool zero = n == 0 || (bytes[0] == '\0' && memcmp(bytes, bytes + 1, n - 1) == 0);
                r = zero ? 0 : write_at(spool_fd, block, n, at + offset, err);
                if (r < 0)
                        return r;
                if (a->progress && a->progress->progress)
                        a->progress->progress(a->progress->arg, archive_filter_bytes(a->archive, -1),
                                              a->input);
        }
        /* What ends in a hole ends there too. */
        struct stat st;
        if (fstat(spool_fd, &st) < 0 || (st.st_size < at + size && ftruncate(spool_fd, at + size) < 0))
                return err_set_errno(err, errno, "write a temporary file");
        *ret_size = size;
        return 0;
}

/* ---- a tree from an archive */

struct gathering {
        struct tree *tree;
        struct table *places; /* path -> index + 1 of its item */
        int64_t spooled;
        uint64_t contents;
};

static int place_of(const struct gathering *g, const char *path, size_t *ret) {
        const void *at = table_get(g->places, path);
        if (!at)
                return -ENOENT;
        *ret = (size_t)(uintptr_t)at - 1;
        return 0;
}

static int add(struct gathering *g, struct pax_entry *e, struct tree_item **ret, struct err **err) {
        char shown[256];
        size_t at = 0;
        if (place_of(g, e->path, &at) == 0) {
                struct tree_item *item = &g->tree->items[at];
                /* Tools name a folder again when they add to it; anything else would be two things at one
                 * place. */
                bool again = item->entry.kind == PAX_FOLDER && e->kind == PAX_FOLDER;
                int r = again ? 0
                              : err_set(err, EINVAL, "the entry '%s' is there twice",
                                        pax_shown(e->path, shown));
                if (again) {
                        struct pax_entry before = item->entry;
                        item->entry = *e;
                        *e = before;
                        *ret = item;
                }
                pax_entry_done(e);
                return r;
        }
        _cleanup_(x_freep) char *path = str_dup(e->path);
        int r = tree_add(g->tree, e, ret, err);
        if (r < 0)
                return r;
        if (!path || table_set(g->places, path, (void *)(uintptr_t)g->tree->n) < 0)
                return err_set_errno(err, ENOMEM, "read the archive");
        return 0;
}

static int kind_of(struct archive_entry *entry, enum pax_kind *ret, struct err **err) {
        if (archive_entry_hardlink(entry)) {
                *ret = PAX_HARD_LINK;
                return 0;
        }
        switch (archive_entry_filetype(entry)) {
        case AE_IFREG: *ret = PAX_FILE; return 0;
        case AE_IFDIR: *ret = PAX_FOLDER; return 0;
        case AE_IFLNK: *ret = PAX_SYMBOLIC_LINK; return 0;
        case AE_IFIFO: *ret = PAX_FIFO; return 0;
        case AE_IFCHR:
        case AE_IFBLK:
                if (geteuid() != 0)
                        return err_set(err, EINVAL, "it is a device; only root can push one");
                *ret = archive_entry_filetype(entry) == AE_IFCHR ? PAX_CHARACTER_DEVICE : PAX_BLOCK_DEVICE;
                return 0;
        default: return err_set(err, EINVAL, "it is of a kind that payloads do not carry");
        }
}

static int read_attributes(struct archive_entry *entry, struct pax_entry *e, struct err **err) {
        const char *name = NULL;
        const void *value = NULL;
        size_t len = 0;
        (void)archive_entry_xattr_reset(entry);
        while (archive_entry_xattr_next(entry, &name, &value, &len) == ARCHIVE_OK) {
                if (!name || !pax_attribute_travels(name))
                        continue;
                int r = len <= 65536 ? pax_entry_add_attribute(e, name, value, len) : -E2BIG;
                if (r < 0)
                        return err_set_errno(err, -r, "extended attribute %s", name);
        }
        return 0;
}

static int read_owner(struct archive_entry *entry, struct pax_entry *e, struct err **err) {
        e->mode = e->kind == PAX_SYMBOLIC_LINK ? 0777 : archive_entry_perm(entry) & 07777;
        e->uid = archive_entry_uid(entry);
        e->gid = archive_entry_gid(entry);
        if (e->uid < 0 || e->uid >= UINT32_MAX || e->gid < 0 || e->gid >= UINT32_MAX)
                return err_set(err, EINVAL, "its owner is none that a system has");
        if (e->kind == PAX_CHARACTER_DEVICE || e->kind == PAX_BLOCK_DEVICE) {
                e->major = (unsigned)archive_entry_rdevmajor(entry);
                e->minor = (unsigned)archive_entry_rdevminor(entry);
                if (e->major > 07777777 || e->minor > 07777777)
                        return err_set(err, EINVAL, "its device number is none that a payload carries");
        }
        return 0;
}

/* A hard link becomes a file with the content of what it links to, which must have come before. */
static int resolve_link(struct gathering *g, struct archive_entry *entry, struct pax_entry *e,
                        struct tree_item *ret, struct err **err) {
        _cleanup_(x_freep) char *path = NULL;
        char shown[256];
        size_t at = 0;
        int r = archive_reader_path(archive_entry_hardlink(entry), &path, err);
        if (r < 0)
                return err_wrap_code(err, r, "hard link");
        if (!path || place_of(g, path, &at) < 0 || g->tree->items[at].entry.kind != PAX_FILE)
                return err_set(err, EINVAL,
                               "it is a hard link to '%s', which is no file before it in the archive",
                               pax_shown(path ? path : ".", shown));
        const struct tree_item *to = &g->tree->items[at];
        *ret = *to;
        e->kind = PAX_FILE;
        e->mode = to->entry.mode;
        e->uid = to->entry.uid;
        e->gid = to->entry.gid;
        for (size_t i = 0; i < to->entry.n_attributes; i++) {
                const struct pax_attribute *x = &to->entry.attributes[i];
                if ((r = pax_entry_add_attribute(e, x->name, x->value, x->len)) < 0)
                        return err_set_errno(err, -r, "extended attribute %s", x->name);
        }
        return 0;
}

static int read_entry(struct gathering *g, struct archive_reader *a, struct archive_entry *entry, char *path,
                      struct err **err) {
        struct pax_entry e = {.path = path};
        struct tree_item same = {.spool = -1};
        int64_t spool = -1;
        int r = kind_of(entry, &e.kind, err);
        if (r == 0)
                r = read_owner(entry, &e, err);
        if (r == 0 && e.kind == PAX_SYMBOLIC_LINK) {
                const char *text = archive_entry_symlink(entry);
                if (str_is_empty(text) || strlen(text) >= PAX_PATH_MAX)
                        r = err_set(err, EINVAL,
                                    "it is a symbolic link without a text, or with too long a one");
                else if (!(e.link = str_dup(text)))
                        r = err_set_errno(err, ENOMEM, "read it");
        }
        if (r == 0 && (e.kind == PAX_FILE || e.kind == PAX_FOLDER))
                r = read_attributes(entry, &e, err);
        bool is_link = e.kind == PAX_HARD_LINK;
        int64_t size = 0;
        if (r == 0 && is_link) {
                r = resolve_link(g, entry, &e, &same, err);
                size = same.entry.size;
        } else if (r == 0 && e.kind == PAX_FILE) {
                spool = g->spooled;
                r = archive_reader_spool(a, entry, g->tree->spool_fd, spool, &size, err);
                /* At blocks of its own, so that holes stay holes. */
                g->spooled = (spool + size + 4095) / 4096 * 4096;
        }
        if (r < 0) {
                pax_entry_done(&e);
                return r;
        }
        if (e.kind == PAX_FILE)
                e.size = size;
        bool file = e.kind == PAX_FILE;
        struct tree_item *item = NULL;
        if ((r = add(g, &e, &item, err)) < 0)
                return r;
        if (file) {
                item->spool = is_link ? same.spool : spool;
                item->device = 1;
                item->inode = is_link ? same.inode : ++g->contents;
        }
        return 0;
}

/* Folders that are only implied get the usual mode; what is in the way of a folder is a mistake, or an attack
 * (a link that is then written through). */
static int add_parents(struct gathering *g, struct err **err) {
        size_t n = g->tree->n;
        for (size_t i = 0; i < n; i++) {
                _cleanup_(x_freep) char *path = str_dup(g->tree->items[i].entry.path);
                if (!path)
                        return err_set_errno(err, ENOMEM, "read the archive");
                for (char *slash = strrchr(path, '/'); slash; slash = strrchr(path, '/')) {
                        char shown[256], other[256];
                        size_t at = 0;
                        *slash = '\0';
                        if (place_of(g, path, &at) == 0) {
                                const struct pax_entry *in = &g->tree->items[at].entry;
                                if (in->kind != PAX_FOLDER)
                                        return err_set(err, EINVAL,
                                                       "the entry '%s' would lie in '%s', which is a %s",
                                                       pax_shown(g->tree->items[i].entry.path, shown),
                                                       pax_shown(path, other), pax_kind_name(in->kind));
                                break; /* its own parents are looked at with it */
                        }
                        struct pax_entry e = {.path = str_dup(path), .kind = PAX_FOLDER, .mode = 0755};
                        struct tree_item *item = NULL;
                        int r = e.path ? add(g, &e, &item, err)
                                       : err_set_errno(err, ENOMEM, "read the archive");
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

static int read_all(struct gathering *g, struct archive_reader *a, struct err **err) {
        for (;;) {
                struct archive_entry *entry = NULL;
                char *path = NULL;
                char shown[256];
                int r = archive_reader_next(a, &entry, err);
                if (r <= 0)
                        return r < 0 ? r : add_parents(g, err);
                r = archive_reader_path(archive_entry_pathname(entry), &path, err);
                if (r < 0)
                        return r;
                if (!path)
                        continue; /* the root folder itself */
                (void)pax_shown(path, shown);
                r = read_entry(g, a, entry, path, err);
                if (r < 0)
                        return err_wrap_code(err, r, "the entry '%s'", shown);
        }
}

int tree_read_archive(struct tree *t, const char *path, const struct payload_progress *p, struct err **err) {
        _cleanup_(table_freep) struct table *places = table_new(NULL);
        struct gathering g = {.tree = t, .places = places};
        struct archive_reader a = {0};
        if (!places)
                return err_set_errno(err, ENOMEM, "read %s", path);
        t->spool_fd = spool_open(err);
        if (t->spool_fd < 0)
                return t->spool_fd;
        int r = archive_reader_init(&a, path, p, err);
        if (r == 0)
                r = read_all(&g, &a, err);
        archive_reader_done(&a);
        return r < 0 ? err_wrap_code(err, r, "%s", path) : 0;
}

/* ---- one compressed stream */

struct decompression {
        int out_fd;
        int64_t length;
        struct sha256 *digest;
};

static int take(struct decompression *d, const void *p, size_t n, int64_t out_at, struct err **err) {
        if ((int64_t)n > TREE_BYTES_MAX - d->length)
                return refuse_bomb(err);
        int r = write_at(d->out_fd, p, n, out_at + d->length, err);
        if (r < 0)
                return r;
        sha256_update(d->digest, p, n);
        d->length += (int64_t)n;
        return 0;
}

static int copy_plain(struct decompression *d, struct archive_range *s, int64_t out_at, struct err **err) {
        while (s->at < s->end) {
                const void *p = NULL;
                la_ssize_t n = pread(s->fd, s->buffer, (size_t)MIN(s->end - s->at, (int64_t)PIECE), s->at);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? err_set_errno(err, errno, "read it")
                                     : err_set(err, EINVAL, "it became shorter while it was read");
                p = s->buffer;
                s->at += n;
                int r = take(d, p, (size_t)n, out_at, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int copy_decompressed(struct decompression *d, struct archive_range *s, int64_t out_at,
                             struct err **err) {
        struct archive *a = archive_read_new();
        struct archive_entry *entry = NULL;
        int64_t input = s->end - s->at;
        int r = 0;
        if (!a)
                return err_set_errno(err, ENOMEM, "decompress it");
        add_filters(a);
        (void)archive_read_support_format_raw(a);
        (void)archive_read_support_format_empty(a);
        if (archive_read_open(a, s, NULL, range_read, NULL) != ARCHIVE_OK)
                r = archive_error(a, err, "decompress it");
        int h = r == 0 ? archive_read_next_header(a, &entry) : ARCHIVE_EOF;
        if (r == 0 && h != ARCHIVE_OK && h != ARCHIVE_EOF)
                r = archive_error(a, err, "decompress it");
        while (r == 0 && h == ARCHIVE_OK) {
                const void *block = NULL;
                size_t n = 0;
                la_int64_t offset = 0;
                int b = archive_read_data_block(a, &block, &n, &offset);
                if (b == ARCHIVE_EOF)
                        break;
                if (b != ARCHIVE_OK)
                        r = archive_error(a, err, "decompress it");
                else if (is_bomb(d->length, input))
                        r = refuse_bomb(err);
                else
                        r = take(d, block, n, out_at, err);
        }
        (void)archive_read_free(a);
        return r;
}

static bool is_compressed(const char *p, size_t n) {
        static const struct {
                const char *magic;
                size_t len;
        } all[] = {{"\x1f\x8b\x08", 3}, {"\x28\xb5\x2f\xfd", 4}, {"\xfd\x37zXZ\0", 6}, {"BZh", 3}};
        for (size_t i = 0; i < ARRAY_SIZE(all); i++)
                if (n >= all[i].len && memcmp(p, all[i].magic, all[i].len) == 0)
                        return true;
        return false;
}

int archive_decompress(int fd, int64_t at, int64_t length, int out_fd, int64_t out_at, int64_t *ret_length,
                       char ret_sha256[65], struct err **err) {
        _cleanup_(sha256_freep) struct sha256 *digest = sha256_new();
        _cleanup_(x_freep) struct archive_range *s = calloc(1, sizeof(*s));
        struct decompression d = {.out_fd = out_fd, .digest = digest};
        uint8_t binary[SHA256_SIZE];
        char head[512] = {0};
        if (!digest || !s)
                return err_set_errno(err, ENOMEM, "decompress it");
        *s = (struct archive_range){.fd = fd, .at = at, .end = at + length};
        ssize_t n = pread(fd, head, (size_t)MIN(length, (int64_t)sizeof(head)), at);
        if (n < 0)
                return err_set_errno(err, errno, "read it");
        /* A tar whose first name begins like that is no compressed one. */
        bool tar = n == (ssize_t)sizeof(head) && memcmp(head + 257, "ustar", 5) == 0;
        int r = is_compressed(head, (size_t)n) && !tar ? copy_decompressed(&d, s, out_at, err)
                                                       : copy_plain(&d, s, out_at, err);
        if (r < 0)
                return r;
        sha256_final(digest, binary);
        hex_encode(binary, sizeof(binary), ret_sha256);
        *ret_length = d.length;
        return 0;
}
