/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/drift.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>

#include "base/list.h"
#include "base/str.h"

#define DRIFT_GATHER_MS 50
#define DRIFT_MASK                                                                                           \
        (IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_CREATE |      \
         IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

struct drift {
        struct loop *loop;
        struct root_dir *root;
        int fd;
        uv_poll_t *poll;
        struct loop_timer *gather;
        struct list watches;
};

struct drift_watch {
        struct drift *drift;
        struct list link;
        char *path;
        const char *name; /* last component, inside path */
        int wd;           /* of its folder, shared with other files there; -1: not watched now */
        bool changed;
        void (*on_change)(void *arg);
        void *arg;
};

static void mark(struct drift *d, struct drift_watch *w) {
        w->changed = true;
        if (!loop_timer_is_set(d->gather))
                loop_timer_set(d->gather, DRIFT_GATHER_MS);
}

static void take_event(struct drift *d, const struct inotify_event *e) {
        bool all = e->mask & (IN_Q_OVERFLOW | IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT);
        LIST_FOREACH (it, &d->watches) {
                struct drift_watch *w = LIST_ENTRY(it, struct drift_watch, link);
                if (!(e->mask & IN_Q_OVERFLOW) && w->wd != e->wd)
                        continue;
                if (e->mask & (IN_IGNORED | IN_MOVE_SELF | IN_DELETE_SELF))
                        w->wd = -1;
                if (all || (e->len > 0 && str_eq(e->name, w->name)))
                        mark(d, w);
        }
        /* A folder that moved away is watched where it went: not ours any more. */
        if (e->mask & IN_MOVE_SELF)
                (void)inotify_rm_watch(d->fd, e->wd);
}

static void readable(uv_poll_t *poll, int status, int events) {
        struct drift *d = poll->data;
        char data[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

        (void)status;
        (void)events;
        for (;;) {
                ssize_t n = read(d->fd, data, sizeof(data));
                if (n <= 0)
                        return;
                for (ssize_t at = 0; at + (ssize_t)sizeof(struct inotify_event) <= n;) {
                        const struct inotify_event *e = (const void *)(data + at);
                        take_event(d, e);
                        at += (ssize_t)(sizeof(*e) + e->len);
                }
        }
}

static void tell(void *arg) {
        struct drift *d = arg;
        /* What is called may free any watch: begin again after each. */
        for (bool again = true; again;) {
                again = false;
                LIST_FOREACH (it, &d->watches) {
                        struct drift_watch *w = LIST_ENTRY(it, struct drift_watch, link);
                        if (!w->changed)
                                continue;
                        w->changed = false;
                        again = true;
                        w->on_change(w->arg);
                        break;
                }
        }
}

static void closed(uv_handle_t *h) {
        free(h);
}

int drift_new(struct loop *l, struct root_dir *root, struct drift **ret, struct err **err) {
        _cleanup_(drift_freep) struct drift *d = calloc(1, sizeof(*d));
        if (!d)
                return err_set_errno(err, ENOMEM, "watch files");
        d->loop = l;
        d->root = root;
        list_init(&d->watches);
        d->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        if (d->fd < 0)
                return err_set_errno(err, errno, "watch files: inotify");
        d->gather = loop_timer_new(l, tell, d);
        uv_poll_t *poll = calloc(1, sizeof(*poll));
        if (!d->gather || !poll || uv_poll_init(loop_uv(l), poll, d->fd) < 0) {
                free(poll);
                return err_set_errno(err, ENOMEM, "watch files");
        }
        poll->data = d;
        d->poll = poll;
        (void)uv_poll_start(poll, UV_READABLE, readable);
        *ret = TAKE_PTR(d);
        return 0;
}

struct drift *drift_free(struct drift *d) {
        if (!d)
                return NULL;
        if (d->poll) {
                (void)uv_poll_stop(d->poll);
                uv_close((uv_handle_t *)d->poll, closed);
        }
        if (d->fd >= 0)
                (void)close(d->fd);
        loop_timer_free(d->gather);
        free(d);
        return NULL;
}

/* inotify takes a path: the folder is opened beneath the root first, and named by its descriptor. */
static void watch_folder(struct drift_watch *w) {
        struct drift *d = w->drift;
        size_t len = (size_t)(w->name - w->path);
        _cleanup_(x_freep) char *folder = str_dup_n(w->path, len);
        if (!folder)
                return;
        _cleanup_(x_closep) int fd =
                root_dir_openat(d->root, len <= 1 ? "." : folder, O_PATH | O_DIRECTORY, 0);
        if (fd < 0)
                return;
        char by_descriptor[40];
        (void)snprintf(by_descriptor, sizeof(by_descriptor), "/proc/self/fd/%d", fd);
        w->wd = inotify_add_watch(d->fd, by_descriptor, DRIFT_MASK);
}

struct drift_watch *drift_watch_new(struct drift *d, const char *path, void (*changed)(void *arg),
                                    void *arg) {
        struct drift_watch *w = calloc(1, sizeof(*w));
        if (!w || !(w->path = str_dup(path))) {
                free(w);
                return NULL;
        }
        const char *slash = strrchr(w->path, '/');
        w->name = slash ? slash + 1 : w->path;
        w->drift = d;
        w->wd = -1;
        w->on_change = changed;
        w->arg = arg;
        list_append(&d->watches, &w->link);
        watch_folder(w);
        return w;
}

void drift_watch_refresh(struct drift_watch *w) {
        if (w->wd < 0)
                watch_folder(w);
}

static bool folder_is_watched(const struct drift *d, int wd) {
        LIST_FOREACH (it, (struct list *)&d->watches)
                if (LIST_ENTRY(it, struct drift_watch, link)->wd == wd)
                        return true;
        return false;
}

struct drift_watch *drift_watch_free(struct drift_watch *w) {
        if (!w)
                return NULL;
        list_remove(&w->link);
        if (w->wd >= 0 && !folder_is_watched(w->drift, w->wd))
                (void)inotify_rm_watch(w->drift->fd, w->wd);
        free(w->path);
        free(w);
        return NULL;
}
