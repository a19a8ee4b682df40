/* SPDX-License-Identifier: Apache-2.0 */
/* Files: whole-file reads with a limit, atomic durable writes, and folders one cannot walk out of. */
#pragma once

#include <sys/stat.h>

#include "base/err.h"

/* Reads a whole regular file, at most limit bytes (-EFBIG past that). Malloc'ed and NUL-terminated. */
int file_read(const char *path, size_t limit, char **ret_data, size_t *ret_len, struct err **err);

/* Replaces path so that a reader, and a machine that loses power, sees the old or the new whole:
 * temporary file beside it, write, fchmod, fsync, rename, fsync of the folder. */
int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode, struct err **err);

/* Is this the name of a temporary file that an interrupted write left behind (".NAME.skerry-XXXXXXXX")? */
bool file_name_is_temporary(const char *name) _pure_;

/* mkdir -p; existing folders are fine, their mode is left alone. */
int dir_make(const char *path, mode_t mode, struct err **err);

/* Removes a file, or a folder with all below it, never following a symlink and never crossing into a
 * mounted file system (-EBUSY). Absent is success. */
int path_remove(const char *path, struct err **err);

/* Joins with one slash; NULL when memory is out. */
char *path_join(const char *a, const char *b) _must_use_;

/* Is s a relative path that stays beneath its start: not empty, not absolute, no "", "." or ".."
 * component, no NUL or control byte, at most 4,096 bytes? (Fleet files name things this way.) */
bool path_is_beneath(const char *s) _pure_;

/* ---- A root folder: every name is resolved beneath it (base/beneath.h); a symlink that leads
 * outside fails with -EXDEV. Leading slashes are taken as
 * "from the root". */
struct root_dir;

int root_dir_open(const char *path, struct root_dir **ret, struct err **err);
struct root_dir *root_dir_free(struct root_dir *r);
DEFINE_CLEANUP(struct root_dir, root_dir_free)
const char *root_dir_path(const struct root_dir *r);

/* open_beneath() the root; returns a descriptor or -Exxx. flags as open(2), O_CLOEXEC is added. */
int root_dir_openat(struct root_dir *r, const char *path, int flags, mode_t mode);
/* Creates the folders that lead to path (not path itself), mode 0755. */
int root_dir_make_parents(struct root_dir *r, const char *path);

struct file_attributes {
        mode_t mode; /* permission bits */
        uid_t uid;   /* (uid_t)-1: leave */
        gid_t gid;   /* (gid_t)-1: leave */
};

/* As file_write_atomic(), beneath the root; parents are made. A symlink at path is replaced, never
 * followed; a folder there is -EISDIR. */
int root_dir_write(struct root_dir *r, const char *path, const void *data, size_t len,
                   const struct file_attributes *attributes, struct err **err);
/* -EFBIG past limit, -ELOOP when path is a symlink, -EISDIR. ret_stat may be NULL. */
int root_dir_read(struct root_dir *r, const char *path, size_t limit, char **ret_data, size_t *ret_len,
                  struct stat *ret_stat, struct err **err);
/* Unlinks a file or symlink; absent is success. */
int root_dir_unlink(struct root_dir *r, const char *path, struct err **err);
/* As path_remove(), beneath the root; the root itself cannot be removed (-EINVAL). */
int root_dir_remove(struct root_dir *r, const char *path, struct err **err);

/* Calls visit for everything beneath path ("" or "/": the root), folders before what is in them, names in
 * byte order, symlinks as themselves. Paths are relative to the root. A non-zero return of visit ends the
 * walk and is returned, except ROOT_DIR_SKIP for a folder: its contents are left out. Folders nested deeper
 * than ROOT_DIR_MAX_DEPTH are -ELOOP. */
#define ROOT_DIR_SKIP 1
#define ROOT_DIR_MAX_DEPTH 64
int root_dir_walk(struct root_dir *r, const char *path,
                  int (*visit)(void *arg, const char *path, const struct stat *st), void *arg,
                  struct err **err);
