/* SPDX-License-Identifier: Apache-2.0 */
/* The artifacts that lie on this node:
 *   <state>/artifacts/<sha256>            payloads, read only, whole and verified
 *   <state>/files/<sha256>/<file name>    type file: the payload by the name that it had (a hard link)
 *   <state>/trees/<sha256>/               type tree: unpacked
 *   <state>/partial/<sha256>.delta, ...   what is being fetched
 *   <state>/artifacts.json                what they are: the image role's word for each, when it was used
 *
 * A description (artifact_store_describe()) is made only from what the image role vouched for, before a byte
 * of the payload is fetched; so a payload that is present and described needs no metadata to be used again.
 * What is wanted now and what was wanted before ("previous") is never removed; the rest goes, least recently
 * used first, when the budget is passed or the disk is full.
 *
 * Format of artifacts.json: {"format":1,"artifacts":[{"target","sha256","length","custom","lastUse"}],
 * "running":["<sha256> <target>"],"previous":[...],"lost":false}, kept twice (agent/kept_state.h). When both
 * copies are damaged, every payload that lies here counts as one that may run: the store is `lost`, says so
 * (artifact_store_problem()), and removes nothing until set_running() tells what runs; what may have been the
 * previous one stays after that, too, until something else takes its place, or the disk is full.
 *
 * The index belongs to the loop's thread; functions marked "any thread" only touch files that are named by
 * their digest. Other users' processes may run what is in trees and files: the state folder is made passable
 * (0711), its other folders are private. */
#pragma once

#include "base/clock.h"
#include "repo/artifact.h"

struct artifact_store;

/* What may lie there beyond what is needed. */
struct artifact_budget {
        int64_t bytes;    /* -1: by percent */
        unsigned percent; /* of the file system */
};
#define ARTIFACT_BUDGET_DEFAULT "20%"
/* "20%", "2G", "500M", "1000000"; -EINVAL. */
int artifact_budget_parse(const char *text, struct artifact_budget *ret, struct err **err);

/* Makes the folders and removes what a crash left half made. */
int artifact_store_open(const char *state, const struct artifact_budget *budget, const struct clock *clock,
                        struct artifact_store **ret, struct err **err);
struct artifact_store *artifact_store_free(struct artifact_store *s);
DEFINE_CLEANUP(struct artifact_store, artifact_store_free)

/* ---- descriptions */

/* Remembers what the image role says; takes a copy. Durable. */
int artifact_store_describe(struct artifact_store *s, const char *target, const struct artifact *a,
                            struct err **err);
/* NULL: not described. Valid until the next describe or sweep. */
const struct artifact *artifact_store_find(const struct artifact_store *s, const char *target,
                                           const char *sha256);

/* Goes into `running`; what was there and is not any more becomes `previous`. names: "<sha256> <target>",
 * NULL-terminated. */
int artifact_store_set_running(struct artifact_store *s, char *const *names, struct err **err);
/* Is it running or previous, by that list? */
bool artifact_store_is_held(const struct artifact_store *s, const char *target, const char *sha256);
bool artifact_store_is_running(const struct artifact_store *s, const char *target, const char *sha256);

/* The highest releaseCounter of what is running by this name; 0: nothing is. */
int64_t artifact_store_counter(const struct artifact_store *s, const char *name);
/* Is the index on the disk the one in memory? While it is not, what is described would not outlive a restart.
 */
bool artifact_store_is_saved(const struct artifact_store *s);
/* What is wrong with the store itself, for people; NULL: nothing. */
const char *artifact_store_problem(const struct artifact_store *s);

/* Is "localhost/<name>:<version>" of one that is running or previous, or may it be? */
bool artifact_store_holds_image(const struct artifact_store *s, const char *reference);

/* ---- payloads (any thread, but for seeds) */

/* The payload is there with this length. */
bool artifact_store_has(const struct artifact_store *s, const char *sha256, int64_t length);
/* Descriptor or -Exxx. */
int artifact_store_open_payload(const struct artifact_store *s, const char *sha256);
/* malloc'ed, NULL when memory is out. */
char *artifact_store_payload(const struct artifact_store *s, const char *sha256) _must_use_;
/* Where an artifact of type tree, or file, shows to its app; malloc'ed. For a file the file itself. */
char *artifact_store_place(const struct artifact_store *s, const struct artifact *a) _must_use_;
/* The folder that relative names of an app are found in: that of its tree or file; malloc'ed. */
char *artifact_store_folder(const struct artifact_store *s, const struct artifact *a) _must_use_;
/* "<state>/partial/<sha256><suffix>"; malloc'ed. */
char *artifact_store_partial(const struct artifact_store *s, const char *sha256, const char *suffix)
        _must_use_;
/* Digests of all payloads that are there, those of artifacts of this name first. strv; loop's thread. */
int artifact_store_seeds(const struct artifact_store *s, const char *name, char ***ret, struct err **err);

/* The finished partial/<sha256><suffix> becomes the payload, and all partial files of it go. verify: its
 * digest is checked first (-EBADMSG, and the file is gone). Durable. Blocking. */
int artifact_store_commit(const struct artifact_store *s, const struct artifact *a, const char *suffix,
                          bool verify, struct err **err);
/* Makes tree or file ready to be used, from the payload; nothing to do for other types or when it is ready.
 * again: anew, whatever is there (the old one is exchanged for the new in one step). A payload that is found
 * damaged is removed: -EBADMSG. Blocking. */
int artifact_store_prepare(const struct artifact_store *s, const struct artifact *a, bool again,
                           struct err **err);
bool artifact_store_is_ready(const struct artifact_store *s, const struct artifact *a);
/* Compares what shows with the payload: how many entries differ. Sizes and modes each time; contents at the
 * first time in this process, once a day, and of a file whenever it was touched. Blocking. */
int artifact_store_check(struct artifact_store *s, const struct artifact *a, unsigned *ret_differ,
                         char *first, size_t first_size, struct err **err);
/* All partial files of it. */
void artifact_store_drop_partial(const struct artifact_store *s, const char *sha256);

/* One worker at a time has a target's partial files in hand; -EBUSY: another has. Loop's thread. */
int artifact_store_claim(struct artifact_store *s, const char *sha256);
void artifact_store_release(struct artifact_store *s, const char *sha256);

/* ---- room */

/* Removes what is neither wanted nor held until the budget is kept; all: all of that, the disk is full.
 * Partial files of what is not wanted go in either case. keep: the digest is needed. Images that drivers made
 * elsewhere are theirs. How many payloads went, in *ret_removed (may be NULL). */
int artifact_store_sweep(struct artifact_store *s, bool (*keep)(void *arg, const char *sha256), void *arg,
                         bool all, size_t *ret_removed, struct err **err);
/* Bytes of all payloads and trees, about. */
int64_t artifact_store_bytes(const struct artifact_store *s);
