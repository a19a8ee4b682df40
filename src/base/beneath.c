/* SPDX-License-Identifier: Apache-2.0 */
#include "base/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "base/macros.h"
#include "base/str.h"

#define RETRIES 32      /* a rename elsewhere that raced the walk is -EAGAIN: the walk begins anew so often */
#define SYMLINKS_MAX 40 /* followed in one walk; the kernel's number */
#define NOSYMFOLLOW 0x2000 /* a mount's flag as statfs(2) shows it; C libraries do not name it yet */

int open_beneath_by_kernel(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve) {
        struct open_how how = {
                .flags = (uint64_t)(flags | O_CLOEXEC),
                .mode = (flags & (O_CREAT | O_TMPFILE) & ~O_DIRECTORY) ? mode : 0,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | resolve,
        };
        for (int i = 0;; i++) {
                long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
                if (fd >= 0)
                        return (int)fd;
                if (errno == EINTR || (errno == EAGAIN && i < RETRIES))
                        continue;
                return -errno;
        }
}

/* ---- by hand
 *
 * Every component is opened by itself as O_PATH | O_NOFOLLOW, so that no symlink is ever followed but by us,
 * who read it and put its target in front of what is left of the path. ".." is opened too, and must be the
 * folder that the walk came through: one that was moved meanwhile has another parent, perhaps outside. */

struct folder {
        dev_t device;
        ino_t inode;
};

struct walk {
        int at; /* the folder that the walk has come to */
        struct folder *folders;
        size_t n_folders, capacity; /* from the root to `at`, both included; the text bounds them */
        char *text;                 /* the path, with targets of symlinks put in: at most 41 paths long */
        const char *next;           /* the component in it that is next */
        unsigned symlinks;          /* followed so far */
        uint64_t resolve;
        uint64_t mount; /* of the root, where RESOLVE_NO_XDEV is asked for */
};

static void walk_done(struct walk *w) {
        x_closep(&w->at);
        free(w->folders);
        free(w->text);
}

/* The mount that fd is on. statx(2) tells since Linux 5.8 (and emulators that pass its answer on in part
 * leave a zero), fdinfo of /proc since 3.15. */
static int mount_of(int fd, uint64_t *ret) {
        struct statx stx;
        if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx) == 0 && (stx.stx_mask & STATX_MNT_ID) &&
            stx.stx_mnt_id != 0) {
                *ret = stx.stx_mnt_id;
                return 0;
        }
        char path[64], text[1024];
        (void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
        _cleanup_(x_closep) int info = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = info < 0 ? -1 : read(info, text, sizeof(text) - 1);
        if (n < 0)
                return -errno;
        text[n] = '\0';
        const char *found = strstr(text, "mnt_id:");
        if (!found)
                return -ENOSYS;
        *ret = strtoull(found + strlen("mnt_id:"), NULL, 10);
        return 0;
}

static int check_mount(const struct walk *w, int fd) {
        if (!(w->resolve & RESOLVE_NO_XDEV))
                return 0;
        uint64_t mount;
        int r = mount_of(fd, &mount);
        return r < 0 ? r : mount == w->mount ? 0 : -EXDEV;
}

static int push(struct walk *w, const struct stat *st) {
        if (w->n_folders == w->capacity) {
                size_t capacity = w->capacity ? w->capacity * 2 : 16;
                struct folder *folders = realloc(w->folders, capacity * sizeof(*folders));
                if (!folders)
                        return -ENOMEM;
                w->folders = folders;
                w->capacity = capacity;
        }
        w->folders[w->n_folders++] = (struct folder){st->st_dev, st->st_ino};
        return 0;
}

/* Goes on in fd, which it takes. */
static void move_to(struct walk *w, int fd) {
        x_closep(&w->at);
        w->at = fd;
}

/* "." needs no step but the right to search the folder, which a component is looked up with. */
static int step_here(struct walk *w) {
        int fd = openat(w->at, ".", O_PATH | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        move_to(w, fd);
        return 0;
}

static int step_up(struct walk *w) {
        if (w->n_folders == 1)
                return -EXDEV;
        _cleanup_(x_closep) int fd = openat(w->at, "..", O_PATH | O_CLOEXEC);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        const struct folder *parent = &w->folders[w->n_folders - 2];
        if (st.st_dev != parent->device || st.st_ino != parent->inode)
                return -EAGAIN;
        int r = check_mount(w, fd);
        if (r < 0)
                return r;
        w->n_folders--;
        move_to(w, TAKE_FD(fd));
        return 0;
}

/* May the symlink st, in the folder `at`, be followed as the last component? The rule of
 * fs.protected_symlinks: in a folder like /tmp only one's own and the folder owner's. */
static int check_owner(const struct walk *w, const struct stat *st) {
        struct stat folder;
        if (fstat(w->at, &folder) < 0)
                return -errno;
        bool shared = (folder.st_mode & S_ISVTX) && (folder.st_mode & S_IWOTH);
        return shared && st->st_uid != geteuid() && st->st_uid != folder.st_uid ? -EACCES : 0;
}

/* Puts the target of the symlink fd in front of what comes after it. */
static int follow(struct walk *w, int fd, const struct stat *st, const char *after) {
        struct statfs fs;
        char target[PATH_MAX];
        if (w->resolve & RESOLVE_NO_SYMLINKS || w->symlinks++ >= SYMLINKS_MAX)
                return -ELOOP;
        if (after[strspn(after, "/")] == '\0') {
                int r = check_owner(w, st);
                if (r < 0)
                        return r;
        }
        if (fstatfs(fd, &fs) < 0)
                return -errno;
        /* Not all links of /proc are magic, but none is known to be needed, and which are cannot be seen. */
        if (fs.f_type == PROC_SUPER_MAGIC || (fs.f_flags & NOSYMFOLLOW))
                return -ELOOP;
        ssize_t n = readlinkat(fd, "", target, sizeof(target) - 1);
        if (n < 0)
                return -errno;
        if (n == 0)
                return -ENOENT;
        target[n] = '\0';
        if (target[0] == '/')
                return -EXDEV;
        char *text = str_format("%s%s", target, after);
        if (!text)
                return -ENOMEM;
        free(w->text);
        w->text = text;
        w->next = text;
        return 0;
}

/* Goes into the folder called name, or on to the target of the symlink there; after is what follows it. */
static int step_down(struct walk *w, const char *name, const char *after) {
        _cleanup_(x_closep) int fd = openat(w->at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (S_ISLNK(st.st_mode))
                return follow(w, fd, &st, after);
        if (!S_ISDIR(st.st_mode))
                return -ENOTDIR;
        int r = check_mount(w, fd);
        if (r == 0)
                r = push(w, &st);
        if (r < 0)
                return r;
        move_to(w, TAKE_FD(fd));
        w->next = after;
        return 0;
}

/* Opens name in the folder that the walk has come to, not following it. */
static int open_there(struct walk *w, const char *name, int flags, mode_t mode) {
        _cleanup_(x_closep) int fd = openat(w->at, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
        if (fd < 0)
                return -errno;
        int r = check_mount(w, fd);
        return r < 0 ? r : TAKE_FD(fd);
}

/* The last component: as open(2), but a symlink that is to be followed goes into the text. A descriptor, or
 * FOLLOWED, or -Exxx. */
#define FOLLOWED INT_MAX
static int open_last(struct walk *w, const char *name, const char *after, int flags, mode_t mode) {
        if (*after == '/') {
                if (flags & O_CREAT)
                        return -EISDIR;
                flags = (flags & ~O_NOFOLLOW) | O_DIRECTORY; /* a slash asks for the folder, whatever it is */
        }
        if (flags & O_NOFOLLOW)
                return open_there(w, name, flags, mode);
        _cleanup_(x_closep) int fd = openat(w->at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        struct stat st = {0};
        if (fd < 0 && !(flags & O_CREAT && errno == ENOENT))
                return -errno;
        if (fd >= 0) {
                if (fstat(fd, &st) < 0)
                        return -errno;
                if (S_ISLNK(st.st_mode)) {
                        int r = follow(w, fd, &st, after);
                        return r < 0 ? r : FOLLOWED;
                }
                int r = check_mount(w, fd); /* before anything is made or cut there */
                if (r < 0)
                        return r;
                if (flags & O_PATH)
                        return (flags & O_DIRECTORY) && !S_ISDIR(st.st_mode) ? -ENOTDIR : TAKE_FD(fd);
        }
        /* There was no symlink a moment ago: who put one there meanwhile may have it followed the next time.
         */
        int r = open_there(w, name, flags, mode);
        return r == -ELOOP || (r == -ENOTDIR && S_ISDIR(st.st_mode)) ? -EAGAIN : r;
}

static int walk_once(struct walk *w, const char *path, int flags, mode_t mode) {
        struct stat st;
        int r;

        w->next = w->text = str_dup(path);
        if (!w->text)
                return -ENOMEM;
        if (fstat(w->at, &st) < 0)
                return -errno;
        r = push(w, &st);
        if (r == 0 && (w->resolve & RESOLVE_NO_XDEV))
                r = mount_of(w->at, &w->mount);
        while (r == 0) {
                char name[NAME_MAX + 1];
                w->next += strspn(w->next, "/");
                size_t len = strcspn(w->next, "/");
                if (len > NAME_MAX)
                        return -ENAMETOOLONG;
                memcpy(name, w->next, len);
                name[len] = '\0';
                const char *after = w->next + len;
                bool last = after[strspn(after, "/")] == '\0';

                if (str_eq(name, ".") || str_eq(name, "..")) {
                        r = name[1] == '.' ? step_up(w) : step_here(w);
                        if (r == 0 && last)
                                return open_there(w, ".", flags, mode);
                        w->next = after;
                } else if (!last) {
                        r = step_down(w, name, after);
                } else {
                        r = open_last(w, name, after, flags, mode);
                        if (r != FOLLOWED)
                                return r;
                        r = 0;
                }
        }
        return r;
}

int open_beneath_by_hand(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve) {
        if ((flags & O_PATH) && (flags & ~(O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)))
                return -EINVAL;
        if (!*path)
                return -ENOENT;
        if (strlen(path) >= PATH_MAX)
                return -ENAMETOOLONG;
        if (*path == '/')
                return -EXDEV;
        if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
                flags |= O_NOFOLLOW;
        for (int i = 0;; i++) {
                _cleanup_(walk_done) struct walk w = {.at = -1, .resolve = resolve};
                w.at = openat(dirfd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
                if (w.at < 0)
                        return -errno;
                int r = walk_once(&w, path, flags, mode);
                if (r != -EINTR && (r != -EAGAIN || i >= RETRIES))
                        return r;
        }
}

int open_beneath(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve) {
        /* Asked each time: -EPERM may be the file's own, and then the second way says it too. */
        int r = open_beneath_by_kernel(dirfd, path, flags, mode, resolve);
        return r == -ENOSYS || r == -EPERM ? open_beneath_by_hand(dirfd, path, flags, mode, resolve) : r;
}
