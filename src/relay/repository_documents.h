/* SPDX-License-Identifier: Apache-2.0 */
/* The small files of a repository: metadata, chunk indexes, lists of deltas. Fetched whole, checked for being
 * what their name says, kept in the object store under a name of their own. Belongs to repository_cache.c.
 *
 * What can change is asked for anew when it was read longer than its lifetime ago, by its entity tag; while
 * no source answers, what is kept is handed out. Metadata that would lead back to an older version is not
 * taken: a mirror may lag. Whether metadata is signed is for nodes to judge. */
#pragma once

#include "relay/repository_context.h"

#define DOCUMENT_METADATA_MAX ((size_t)32 << 20)
#define DOCUMENT_INDEX_MAX ((size_t)64 << 20)
#define DOCUMENT_LIST_MAX ((size_t)128 << 10)
#define DOCUMENTS_MAX 65536 /* names that are kept; the oldest go */

struct repository_documents;
int repository_documents_new(struct repository_context *context, msec_t lifetime_ms,
                             struct repository_documents **ret, struct err **err);
struct repository_documents *repository_documents_free(struct repository_documents *d);

/* done: error, fd, etag. */
void repository_documents_get(struct repository_documents *d, const struct edge_repository_request *q,
                              void (*done)(void *arg, const struct edge_repository_file *f), void *arg);
void repository_documents_expire(struct repository_documents *d);

/* Is this what the name says? Pure; -EBADMSG says why not. *ret_version: of metadata. */
int repository_document_check(const struct repository_path *named, const char *text, size_t len,
                              int64_t *ret_version, struct err **err);
/* The delta from `from` in a list: -ENOENT, -EBADMSG. Pure. */
int repository_delta_find(const char *text, size_t len, const char *target, const char *from,
                          char ret_sha256[SHA256_HEX_SIZE], int64_t *ret_length, struct err **err);
