/* SPDX-License-Identifier: Apache-2.0 */
/* Content-addressed objects in a folder: <root>/sha256/ab/cdef...; immutable, written atomically.
 *
 * Used by server (all revisions and files), relay (cache with a size bound) and agent. Calls block;
 * big ones belong on the worker pool. A store may be used from any thread, a writer from one at a time; two
 * writers of the same object do no harm. What a crash left half written lies in <root>/tmp and goes at the
 * next open; so a folder belongs to one process. In a bounded store a file's mtime is its last use. */
#pragma once

#include "base/err.h"

struct object_store;

/* max_bytes 0: unbounded. Otherwise object_store_trim() removes the least recently used. */
int object_store_open(const char *root, int64_t max_bytes, struct object_store **ret, struct err **err);
struct object_store *object_store_free(struct object_store *s);
DEFINE_CLEANUP(struct object_store, object_store_free)

bool object_store_has(struct object_store *s, const char *sha256);
/* Descriptor or -Exxx (-ENOENT, -EINVAL for what is no digest). */
int object_store_open_object(struct object_store *s, const char *sha256);
/* Whole content, verified against its digest: a damaged object is removed and gives -EBADMSG. */
int object_store_read(struct object_store *s, const char *sha256, size_t limit, char **ret_data,
                      size_t *ret_len, struct err **err);
/* Stores bytes that must have this digest (-EBADMSG otherwise). Present already: success. */
int object_store_put(struct object_store *s, const char *sha256, const void *data, size_t len,
                     struct err **err);

/* Streamed: temporary file, verified at commit. */
struct object_writer;
int object_writer_new(struct object_store *s, const char *sha256, size_t limit, struct object_writer **ret,
                      struct err **err);
int object_writer_append(struct object_writer *w, const void *p, size_t n, struct err **err); /* -EFBIG */
int object_writer_commit(struct object_writer *w, struct err **err); /* -EBADMSG: not that digest */
struct object_writer *object_writer_free(struct object_writer *w);   /* abandons what is not committed */
DEFINE_CLEANUP(struct object_writer, object_writer_free)

/* Takes a file that lies on the same file system into the store, by renaming it once its digest is known to
 * be right (-EBADMSG otherwise: the file stays) and it is on the disk. */
int object_store_adopt(struct object_store *s, const char *sha256, const char *path, struct err **err);

/* Bytes that lie beside the store and count against its bound: what is left of that is what trimming goes by.
 */
void object_store_set_beside(struct object_store *s, int64_t bytes);
int64_t object_store_max(const struct object_store *s); /* 0: unbounded */
/* Bytes in the store, counted once and kept up since. */
int64_t object_store_bytes(struct object_store *s);
/* Reads an object through and removes it when it is damaged: 0, -ENOENT or -EBADMSG. */
int object_store_check(struct object_store *s, const char *sha256, struct err **err);

/* Removes every object for which keep() is false; how many went. */
int object_store_sweep(struct object_store *s, bool (*keep)(void *arg, const char *sha256), void *arg,
                       size_t *ret_removed, struct err **err);
/* Removes the least recently used until `bytes` are free that were not, or none are left (the disk is full,
 * whatever the bound says); only in a bounded store, -ENOSPC in another. */
int object_store_make_room(struct object_store *s, int64_t bytes, struct err **err);
/* Removes the least recently used until nine tenths of max_bytes are left; nothing while the store is within
 * its bound, or has none. */
int object_store_trim(struct object_store *s, struct err **err);
