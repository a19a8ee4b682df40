/* SPDX-License-Identifier: Apache-2.0 */
/* Payloads: what stands on a disk as the one stream of bytes that a target is, and back
 * (docs/formats/repository.md). The same input gives the same bytes everywhere. Blocking. */
#pragma once

#include "base/err.h"
#include "base/fs.h"
#include "repo/artifact.h"

struct payload_progress {
        void (*progress)(void *arg, int64_t done, int64_t total);
        void *arg;
};

/* Writes the payload of `path` into fd.
 *   file, image: the file itself.
 *   tree: a folder (or a tar archive, plain or compressed, that is read and written anew in order).
 *   oci: an OCI image layout (folder or archive) or what `docker save` writes; platform picks from an index.
 * time: seconds given to every entry of a tree. -EINVAL names the entry that cannot be carried (sockets,
 * devices in an unprivileged push, names that leave the folder). */
int payload_pack(enum artifact_type type, const char *path, const char *platform, int64_t time, int fd,
                 const struct payload_progress *p, struct err **err);

struct payload_unpack_options {
        bool keep_owner;     /* as root: owners, set-user-id bits, capabilities, ACLs as in the archive; else
                                the caller's, and only user.* attributes */
        bool devices;        /* as root: device nodes are made; else they are -EINVAL */
        int64_t max_bytes;   /* of all files together, holes too; 0: 64 GiB */
        int64_t max_entries; /* 0: 4 Mi */
};
/* Unpacks a tree payload into an empty folder (-ENOTEMPTY): nothing leaves it, whatever the archive says
 * (paths that climb, links outward then written through, bombs, giant lengths): -EINVAL names the entry.
 * Symbolic links are made as they are, and never followed here. Durable before it returns. What a failure
 * leaves behind is the caller's to remove. */
int payload_unpack_tree(int payload_fd, struct root_dir *into, const struct payload_unpack_options *o,
                        struct err **err);
/* Compares an unpacked folder with its payload: how many entries differ (content, mode, link, missing, more).
 * quick: sizes, modes, links only. Owners, times and bits that an unpacking without keep_owner leaves out are
 * not compared. first: what the first of them is, in words ("bin/web: its content differs"); "" where none
 * does. */
int payload_check_tree(int payload_fd, struct root_dir *folder, bool quick, unsigned *ret_differ, char *first,
                       size_t first_size, struct err **err);
/* What an oci payload holds. */
struct oci_summary {
        char config_sha256[65], manifest_sha256[65];
        char platform[PLATFORM_MAX];
        size_t n_layers;
        char reference[256]; /* of its annotation; "" */
};
int payload_oci_summary(int payload_fd, struct oci_summary *ret, struct err **err);

/* One entry that differs between two payloads of the same type, for `skerry artifact diff`. */
struct payload_change {
        enum { PAYLOAD_ADDED, PAYLOAD_REMOVED, PAYLOAD_CHANGED } what;
        const char *path;
        int64_t old_size, new_size; /* -1: not there */
        const char *note;           /* "mode 0755 -> 0644", "layer", ...; "" */
};
/* tree: entry by entry, in order. oci: "config", the layers that only one of them has ("layer sha256:..."),
 * then the files in those layers, a later layer over an earlier one. file, image: one change, of path "". 0
 * changes: the same. The strings last for the call. */
int payload_diff(enum artifact_type type, int old_fd, int new_fd,
                 void (*change)(void *arg, const struct payload_change *c), void *arg, struct err **err);
