/* SPDX-License-Identifier: Apache-2.0 */
/* The archive that tree and oci payloads are: POSIX.1-2017 pax interchange format, in the one way of writing
 * it that docs/formats/payload.md allows. The writer's bytes depend on nothing but its input; the reader
 * takes hostile input, and refuses whatever the writer would not say. */
#pragma once

#include "base/err.h"

#define PAX_PATH_MAX 4096         /* bytes of a path or link */
#define PAX_DEPTH_MAX 64          /* folders above one another */
#define PAX_HEADER_MAX (1u << 20) /* bytes of one extended header */
#define PAX_ATTRIBUTES_MAX 64     /* of one entry */
#define PAX_EXTENTS_MAX 16384     /* of one sparse file */
#define PAX_SIZE_MAX ((int64_t)1 << 50)

enum pax_kind {
        PAX_FILE,
        PAX_HARD_LINK,
        PAX_SYMBOLIC_LINK,
        PAX_CHARACTER_DEVICE,
        PAX_BLOCK_DEVICE,
        PAX_FOLDER,
        PAX_FIFO,
};
const char *pax_kind_name(enum pax_kind k); /* "file", "hard link", ... */

struct pax_attribute { /* an extended attribute */
        char *name, *value;
        size_t len;
};
struct pax_extent { /* of a file: what is not in one is a hole */
        int64_t offset, length;
};
struct pax_entry {
        enum pax_kind kind;
        char *path;    /* "a/b"; no slash at the end */
        char *link;    /* symbolic link: its text; hard link: a path before this one; else NULL */
        unsigned mode; /* permission bits, 07777 */
        int64_t uid, gid, time;
        int64_t size; /* of the file as it is read, holes too; 0 for all else */
        unsigned major, minor;
        struct pax_attribute *attributes; /* sorted by name */
        size_t n_attributes;
        struct pax_extent *extents; /* ascending, apart from one another; an empty file has none */
        size_t n_extents;
        /* Set by the reader: */
        int64_t data;   /* where the bytes of the first extent are, the others follow */
        int64_t packed; /* the extents' lengths together */
};
void pax_entry_done(struct pax_entry *e); /* frees what it points to and zeroes it */
int pax_entry_add_attribute(struct pax_entry *e, const char *name, const void *value, size_t len);
/* Does the type of the attribute travel? (user.*, capabilities, ACLs, IMA; not what belongs to one machine.)
 */
bool pax_attribute_travels(const char *name);
/* Relative, at most PAX_PATH_MAX bytes, PAX_DEPTH_MAX components of 255 bytes, none of them empty, "." or
 * ".." */
bool pax_path_is_valid(const char *path);
/* A path for an error message: cut, control characters as '?'. */
const char *pax_shown(const char *path, char out[256]);

/* ---- writing */

struct pax_writer {
        int fd;
        int64_t written; /* bytes of the archive so far */
        int64_t left;    /* of the entry's data */
        char *buffer;
        size_t len;
        /* Called after each piece; may be NULL. */
        void (*progress)(void *arg, int64_t written);
        void *progress_arg;
};
int pax_writer_init(struct pax_writer *w, int fd);
void pax_writer_done(struct pax_writer *w);
/* The entry's header. Where e->extents are not the whole of e->size the file is written as sparse; then
 * e->packed bytes, the extents' lengths together, follow by pax_write_data(). Paths must come in ascending
 * order of bytes. */
int pax_write_entry(struct pax_writer *w, const struct pax_entry *e, struct err **err);
int pax_write_data(struct pax_writer *w, const void *p, size_t n, struct err **err);
int pax_write_end(struct pax_writer *w, struct err **err);

/* ---- reading */

struct pax_reader {
        int fd;
        int64_t at, end;
        char *last; /* path before: they ascend, so none comes twice */
        char *buffer;
        int64_t buffer_at;
        size_t buffer_len;
        size_t n; /* entries read */
};
int pax_reader_init(struct pax_reader *r, int fd, struct err **err);
void pax_reader_done(struct pax_reader *r);
/* 1: an entry is there (*e was done before or zeroed; the caller's after); 0: the archive has ended; -EINVAL:
 * not well-formed, or not in order; the message names entry and fault. */
int pax_read_entry(struct pax_reader *r, struct pax_entry *e, struct err **err);
/* Goes back to an entry whose header began at `at` (r->at before pax_read_entry()). Order is not checked
 * there. */
void pax_reader_seek(struct pax_reader *r, int64_t at);
/* Exactly n bytes at an offset of the archive. */
int pax_read_at(struct pax_reader *r, int64_t at, void *p, size_t n, struct err **err);
