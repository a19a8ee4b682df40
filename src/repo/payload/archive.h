/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign archives, read by libarchive for the publisher: tar in its dialects, compressed or not. What comes
 * out is checked like anything foreign: names stay below the folder, nothing comes twice, all is bounded. */
#pragma once

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>

#include "repo/payload/tree.h"

struct archive_reader {
        struct archive *archive;
        int64_t bytes; /* that came out of it so far */
        int64_t input; /* length of the archive's file */
        locale_t utf8, before;
        struct archive_range *range; /* what is read, where it is a part of an open file */
        const struct payload_progress *progress;
};
int archive_reader_init(struct archive_reader *a, const char *path, const struct payload_progress *p,
                        struct err **err);
/* A plain tar that is a part of an open file. */
int archive_reader_init_range(struct archive_reader *a, int fd, int64_t at, int64_t length, struct err **err);
void archive_reader_done(struct archive_reader *a);
/* 1: an entry; 0: the end. */
int archive_reader_next(struct archive_reader *a, struct archive_entry **ret, struct err **err);
/* The entry's path, made plain ("./a//b/" is "a/b"); NULL in *ret for the root folder itself. */
int archive_reader_path(const char *text, char **ret, struct err **err);
/* Writes the entry's content to spool_fd at an offset; *ret_size: how long it is, holes included. */
int archive_reader_spool(struct archive_reader *a, struct archive_entry *entry, int spool_fd, int64_t at,
                         int64_t *ret_size, struct err **err);

/* Undoes gzip, zstd, xz or bzip2, if that is what the bytes at an offset of fd begin with: copies to out_fd
 * at out_at, tells length and SHA-256 of what came out. */
int archive_decompress(int fd, int64_t at, int64_t length, int out_fd, int64_t out_at, int64_t *ret_length,
                       char ret_sha256[65], struct err **err);
