/* SPDX-License-Identifier: Apache-2.0 */
/* Inside payload_pack(): what shall become an archive, gathered in any order, written in the one order. */
#pragma once

#include "base/fs.h"
#include "base/table.h"
#include "repo/payload.h"
#include "repo/payload/pax.h"

#define TREE_ENTRIES_MAX ((size_t)4 << 20)
#define TREE_BYTES_MAX ((int64_t)1 << 40) /* of all files together */

struct tree_item {
        struct pax_entry entry; /* without extents: they are found when it is written */
        /* Which content: files with the same two numbers are one (hard links); 0, 0: alone. */
        uint64_t device, inode;
        int64_t spool; /* where in spool_fd its content begins; -1: it is a file of the folder */
};
struct tree {
        struct tree_item *items;
        size_t n, cap;
        int64_t bytes;
        struct root_dir *root; /* what the files are in, or NULL */
        int spool_fd;          /* or -1 */
};
void tree_init(struct tree *t);
void tree_done(struct tree *t);
/* Takes over what e points to, also on failure. -EFBIG past the limits above. */
int tree_add(struct tree *t, struct pax_entry *e, struct tree_item **ret, struct err **err);
/* Gathers a folder. */
int tree_read_folder(struct tree *t, const char *path, struct err **err);
/* Gathers a tar archive, plain or compressed; contents go to spool_fd. */
int tree_read_archive(struct tree *t, const char *path, const struct payload_progress *p, struct err **err);
/* Sorts, and writes all of it; time is every entry's. */
int tree_write(struct tree *t, int64_t time, int fd, const struct payload_progress *p, struct err **err);

/* An unnamed file to gather contents in: below $TMPDIR, else /var/tmp. Descriptor or -Exxx. */
int spool_open(struct err **err);
/* Copies length bytes at an offset of fd into the archive. -EINVAL: it has fewer by now. */
int pax_write_from(struct pax_writer *w, int fd, int64_t offset, int64_t length, struct err **err);
