/* SPDX-License-Identifier: Apache-2.0 */
/* Notices at once when a managed file is edited, replaced or deleted: inotify on the folders that hold
 * them. It only says "look again"; whether anything drifted is for the full check to find, which also runs
 * slowly by itself, since watches can be exhausted and events overflow.
 *
 * Changes are gathered for a moment before they are told, so that an editor's save is one change. */
#pragma once

#include "base/fs.h"
#include "net/loop.h"

struct drift;
struct drift_watch;

/* -ENOSYS and friends where there is no inotify: the caller goes on with the slow check alone. */
int drift_new(struct loop *l, struct root_dir *root, struct drift **ret, struct err **err);
struct drift *drift_free(struct drift *d); /* every watch must be gone */
DEFINE_CLEANUP(struct drift, drift_free)

/* Watches the file at path (beneath the root); its folder should exist. changed(arg) may be called any
 * time after, never from within this call. NULL when memory is out. */
struct drift_watch *drift_watch_new(struct drift *d, const char *path, void (*changed)(void *arg), void *arg)
        _must_use_;
struct drift_watch *drift_watch_free(struct drift_watch *w);
/* Watches again when the folder had gone and is back; cheap when nothing is to be done. */
void drift_watch_refresh(struct drift_watch *w);
