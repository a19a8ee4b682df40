/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/beneath.h"
#include "base/random.h"
#include "base/str.h"

#define TEMPORARY_MARK ".skerry-"
#define TEMPORARY_RANDOM 8  /* hex digits after the mark */
#define TEMPORARY_KEEP 200  /* bytes of the real name kept in a temporary one: NAME_MAX is 255 */
#define PATH_LIMIT 4096     /* bytes */
#define REMOVE_MAX_DEPTH 64 /* deeper folders are first moved up, so that descriptors do not run out */

/* ---- small pieces */

static int read_all(int fd, size_t limit, char **ret_data, size_t *ret_len) {
        struct stat st;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (S_ISDIR(st.st_mode))
                return -EISDIR;
        if (!S_ISREG(st.st_mode))
                return -EINVAL;
        if (st.st_size > 0 && (uint64_t)st.st_size > limit)
                return -EFBIG;

        /* Files of /proc and /sys say that they are empty, so the size is a hint only. */
        size_t cap = st.st_size > 0 ? (size_t)st.st_size + 1 : 4096, len = 0;
        _cleanup_(x_freep) char *data = malloc(cap + 1);
        if (!data)
                return -ENOMEM;
        for (;;) {
                ssize_t n = read(fd, data + len, cap - len);
                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (n == 0)
                        break;
                len += (size_t)n;
                if (len > limit)
                        return -EFBIG;
                if (len == cap) {
                        char *more = realloc(data, cap * 2 + 1);
                        if (!more)
                                return -ENOMEM;
                        data = more;
                        cap *= 2;
                }
        }
        data[len] = '\0';
        *ret_data = TAKE_PTR(data);
        *ret_len = len;
        return 0;
}

static int write_all(int fd, const void *data, size_t len) {
        const char *p = data;
        while (len > 0) {
                ssize_t n = write(fd, p, len);
                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                p += n;
                len -= (size_t)n;
        }
        return 0;
}

static int sync_folder(int fd) {
        /* Some file systems cannot sync a folder and say EINVAL; they order renames by themselves. */
        return fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
}

static void temporary_name(const char *name, char out[NAME_MAX + 1]) {
        uint32_t random;
        random_bytes(&random, sizeof(random));
        (void)snprintf(out, NAME_MAX + 1, ".%.*s" TEMPORARY_MARK "%08x", TEMPORARY_KEEP, name, random);
}

/* The heart of every atomic write: name is one component in the folder dirfd. */
static int write_at(int dirfd, const char *name, const void *data, size_t len,
                    const struct file_attributes *attributes) {
        char temporary[NAME_MAX + 1];
        _cleanup_(x_closep) int fd = -1;
        int r;

        if (strlen(name) > NAME_MAX)
                return -ENAMETOOLONG;
        for (int i = 0; i < 16; i++) {
                temporary_name(name, temporary);
                fd = openat(dirfd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
                if (fd >= 0 || errno != EEXIST)
                        break;
        }
        if (fd < 0)
                return -errno;

        r = write_all(fd, data, len);
        /* Owner first: changing it takes set-user-id bits away. */
        if (r == 0 && (attributes->uid != (uid_t)-1 || attributes->gid != (gid_t)-1) &&
            fchown(fd, attributes->uid, attributes->gid) < 0)
                r = -errno;
        if (r == 0 && fchmod(fd, attributes->mode & 07777) < 0)
                r = -errno;
        if (r == 0 && fsync(fd) < 0)
                r = -errno;
        if (r == 0 && renameat(dirfd, temporary, dirfd, name) < 0)
                r = -errno;
        if (r < 0) {
                (void)unlinkat(dirfd, temporary, 0);
                return r;
        }
        return sync_folder(dirfd);
}

/* Splits "a/b/c" into the folder "a/b" and the name "c"; trailing slashes are dropped. The folder of a
 * plain name is `otherwise`. -EINVAL when there is no name. */
static int split_path(const char *path, const char *otherwise, char **ret_folder, char **ret_name) {
        size_t len = strlen(path);
        while (len > 0 && path[len - 1] == '/')
                len--;
        size_t start = len;
        while (start > 0 && path[start - 1] != '/')
                start--;
        if (start == len)
                return -EINVAL;
        _cleanup_(x_freep) char *name = str_dup_n(path + start, len - start);
        size_t folder_len = start;
        while (folder_len > 1 && path[folder_len - 1] == '/')
                folder_len--;
        char *folder = folder_len ? str_dup_n(path, folder_len) : str_dup(otherwise);
        if (!name || !folder) {
                free(folder);
                return -ENOMEM;
        }
        if (str_eq(name, ".") || str_eq(name, "..")) {
                free(folder);
                return -EINVAL;
        }
        *ret_folder = folder;
        *ret_name = TAKE_PTR(name);
        return 0;
}

/* ---- plain paths */

int file_read(const char *path, size_t limit, char **ret_data, size_t *ret_len, struct err **err) {
        /* O_NONBLOCK so that a FIFO in the way does not hang us before we see that it is none of ours. */
        _cleanup_(x_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return err_set_errno(err, errno, "read %s", path);
        int r = read_all(fd, limit, ret_data, ret_len);
        if (r == -EFBIG)
                return err_set(err, EFBIG, "read %s: the file is larger than %zu bytes", path, limit);
        if (r == -EINVAL)
                return err_set(err, EINVAL, "read %s: not a regular file", path);
        if (r < 0)
                return err_set_errno(err, -r, "read %s", path);
        return 0;
}

int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode, struct err **err) {
        _cleanup_(x_freep) char *folder = NULL, *name = NULL;
        int r = split_path(path, ".", &folder, &name);
        if (r == -EINVAL)
                return err_set(err, EINVAL, "write %s: not the name of a file", path);
        if (r < 0)
                return err_set_errno(err, -r, "write %s", path);
        _cleanup_(x_closep) int dirfd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dirfd < 0)
                return err_set_errno(err, errno, "write %s: open the folder %s", path, folder);
        r = write_at(dirfd, name, data, len,
                     &(struct file_attributes){.mode = mode, .uid = (uid_t)-1, .gid = (gid_t)-1});
        return r < 0 ? err_set_errno(err, -r, "write %s", path) : 0;
}

bool file_name_is_temporary(const char *name) {
        if (name[0] != '.')
                return false;
        const char *mark = NULL;
        for (const char *p = name; (p = strstr(p, TEMPORARY_MARK)); p++)
                mark = p;
        if (!mark || mark == name)
                return false;
        const char *tail = mark + strlen(TEMPORARY_MARK);
        return strlen(tail) == TEMPORARY_RANDOM && strspn(tail, "0123456789abcdef") == TEMPORARY_RANDOM;
}

int dir_make(const char *path, mode_t mode, struct err **err) {
        _cleanup_(x_freep) char *copy = str_dup(path);
        if (!copy)
                return err_set_errno(err, ENOMEM, "make the folder %s", path);
        if (!*copy)
                return err_set(err, EINVAL, "make a folder: the path is empty");
        for (char *p = copy;;) {
                p += strspn(p, "/");
                p += strcspn(p, "/");
                char end = *p;
                *p = '\0';
                struct stat st;
                if (mkdir(copy, mode) < 0 && errno != EEXIST) {
                        int e = errno;
                        /* A read-only or forbidden parent that is there already is no obstacle. */
                        if (stat(copy, &st) < 0)
                                return err_set_errno(err, e, "make the folder %s", copy);
                }
                if (end == '\0' || p[1 + strspn(p + 1, "/")] == '\0') {
                        if (stat(copy, &st) < 0)
                                return err_set_errno(err, errno, "make the folder %s", path);
                        if (!S_ISDIR(st.st_mode))
                                return err_set_errno(err, ENOTDIR, "make the folder %s", path);
                        return 0;
                }
                *p = end;
        }
}

/* Unlinks one entry of a folder; when the folder's own mode forbids it and the folder is ours, opens it up.
 */
static int unlink_in(int dirfd, const char *name, int flags) {
        if (unlinkat(dirfd, name, flags) == 0 || errno == ENOENT)
                return 0;
        if (errno == EACCES && fchmod(dirfd, 0700) == 0 &&
            (unlinkat(dirfd, name, flags) == 0 || errno == ENOENT))
                return 0;
        return -errno;
}

static int remove_contents(int top, int dirfd, unsigned depth);

static int remove_entry(int top, int dirfd, const char *name, unsigned depth) {
        int r = unlink_in(dirfd, name, 0);
        if (r != -EISDIR && r != -EPERM)
                return r;
        /* RESOLVE_NO_XDEV also sees bind mounts of the same file system, which st_dev would not. */
        _cleanup_(x_closep) int fd = open_beneath(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0,
                                                  RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS);
        if (fd == -ENOENT)
                return 0;
        if (fd == -EXDEV)
                return -EBUSY;
        if (fd == -ENOTDIR || fd == -ELOOP)
                return r; /* not a folder after all: the first answer stands */
        if (fd < 0)
                return fd;
        if (depth >= REMOVE_MAX_DEPTH) {
                char moved[NAME_MAX + 1];
                temporary_name("removing", moved);
                if (renameat(dirfd, name, top, moved) < 0)
                        return -errno;
                return 0; /* the loop at the top finds it there */
        }
        r = remove_contents(top, fd, depth + 1);
        return r < 0 ? r : unlink_in(dirfd, name, AT_REMOVEDIR);
}

/* Empties the folder dirfd. Rewinds until nothing is left, since deep folders are moved to the top. */
static int remove_contents(int top, int dirfd, unsigned depth) {
        int copy = fcntl(dirfd, F_DUPFD_CLOEXEC, 3);
        if (copy < 0)
                return -errno;
        DIR *dir = fdopendir(copy);
        if (!dir) {
                int e = errno;
                (void)close(copy);
                return -e;
        }
        int r = 0;
        bool found = true;
        while (r == 0 && found) {
                found = false;
                rewinddir(dir);
                for (struct dirent *e; r == 0 && (e = readdir(dir));) {
                        if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
                                continue;
                        found = true;
                        r = remove_entry(top, dirfd, e->d_name, depth);
                }
        }
        (void)closedir(dir);
        return r;
}

/* name in the folder dirfd, with everything below it. */
static int remove_tree(int dirfd, const char *name) {
        int r = unlink_in(dirfd, name, 0);
        if (r != -EISDIR && r != -EPERM)
                return r;
        _cleanup_(x_closep) int top = open_beneath(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0,
                                                   RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS);
        if (top == -ENOENT)
                return 0;
        if (top == -EXDEV)
                return -EBUSY;
        if (top == -ENOTDIR || top == -ELOOP)
                return r;
        if (top < 0)
                return top;
        r = remove_contents(top, top, 0);
        return r < 0 ? r : unlink_in(dirfd, name, AT_REMOVEDIR);
}

static int remove_error(int r, const char *path, struct err **err) {
        if (r == -EBUSY)
                return err_set(err, EBUSY,
                               "remove %s: a file system is mounted there or below; unmount it first", path);
        return err_set_errno(err, -r, "remove %s", path);
}

int path_remove(const char *path, struct err **err) {
        _cleanup_(x_freep) char *folder = NULL, *name = NULL;
        int r = split_path(path, ".", &folder, &name);
        if (r == -EINVAL)
                return err_set(err, EINVAL, "remove '%s': not the name of a file or folder", path);
        if (r < 0)
                return err_set_errno(err, -r, "remove %s", path);
        _cleanup_(x_closep) int dirfd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dirfd < 0)
                return errno == ENOENT ? 0 : err_set_errno(err, errno, "remove %s", path);
        r = remove_tree(dirfd, name);
        return r < 0 ? remove_error(r, path, err) : 0;
}

char *path_join(const char *a, const char *b) {
        size_t len = strlen(a);
        while (len > 0 && a[len - 1] == '/')
                len--;
        b += strspn(b, "/");
        if (len == 0 && a[0] != '/')
                return str_dup(b);
        return str_format("%.*s/%s", (int)len, a, b);
}

bool path_is_beneath(const char *s) {
        size_t len = strlen(s);
        if (len == 0 || len > PATH_LIMIT)
                return false;
        for (size_t i = 0; i < len; i++)
                if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
                        return false;
        for (const char *p = s;;) {
                size_t n = strcspn(p, "/");
                if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
                        return false;
                p += n;
                if (!*p)
                        return true;
                p++;
        }
}

/* ---- root folders */

struct root_dir {
        int fd;
        char *path;
};

int root_dir_open(const char *path, struct root_dir **ret, struct err **err) {
        _cleanup_(x_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return err_set_errno(err, errno, "open the folder %s", path);
        /* A folder that may not be searched is better named here, once, than by every later call. */
        _cleanup_(x_closep) int probe = open_beneath(fd, ".", O_PATH | O_DIRECTORY, 0, 0);
        if (probe < 0)
                return err_set_errno(err, -probe, "open the folder %s", path);
        struct root_dir *r = calloc(1, sizeof(*r));
        char *copy = str_dup(path);
        if (!r || !copy) {
                free(r);
                free(copy);
                return err_set_errno(err, ENOMEM, "open the folder %s", path);
        }
        r->fd = TAKE_FD(fd);
        r->path = copy;
        *ret = r;
        return 0;
}

struct root_dir *root_dir_free(struct root_dir *r) {
        if (!r)
                return NULL;
        (void)close(r->fd);
        free(r->path);
        free(r);
        return NULL;
}

const char *root_dir_path(const struct root_dir *r) {
        return r->path;
}

static const char *from_root(const char *path) {
        path += strspn(path, "/");
        return *path ? path : ".";
}

int root_dir_openat(struct root_dir *r, const char *path, int flags, mode_t mode) {
        return open_beneath(r->fd, from_root(path), flags, mode, 0);
}

int root_dir_make_parents(struct root_dir *r, const char *path) {
        if (strlen(path) > PATH_LIMIT)
                return -ENAMETOOLONG;
        _cleanup_(x_freep) char *copy = str_dup(path + strspn(path, "/"));
        if (!copy)
                return -ENOMEM;

        _cleanup_(x_closep) int parent = -1;
        char *component = copy;
        for (char *slash; (slash = strchr(component, '/')); component = slash + 1 + strspn(slash + 1, "/")) {
                if (slash[1 + strspn(slash + 1, "/")] == '\0')
                        break; /* a trailing slash: what stands before it is the path itself */
                *slash = '\0';
                if (!*component || str_eq(component, ".") || str_eq(component, ".."))
                        return -EINVAL;
                /* From the root each time, so that a symlink on the way may lead up but not out. */
                int fd = open_beneath(r->fd, copy, O_RDONLY | O_DIRECTORY, 0, 0);
                if (fd == -ENOENT) {
                        int at = parent >= 0 ? parent : r->fd;
                        if (mkdirat(at, component, 0755) < 0 && errno != EEXIST)
                                return -errno;
                        int s = sync_folder(at);
                        if (s < 0)
                                return s;
                        fd = open_beneath(r->fd, copy, O_RDONLY | O_DIRECTORY, 0, 0);
                }
                if (fd < 0)
                        return fd;
                x_closep(&parent);
                parent = fd;
                *slash = '/';
        }
        return 0;
}

/* Opens the folder that holds path's last component. */
static int open_parent(struct root_dir *r, const char *path, int *ret_fd, char **ret_name) {
        _cleanup_(x_freep) char *folder = NULL, *name = NULL;
        int e = split_path(from_root(path), ".", &folder, &name);
        if (e < 0)
                return e;
        int fd = open_beneath(r->fd, folder, O_RDONLY | O_DIRECTORY, 0, 0);
        if (fd < 0)
                return fd;
        *ret_fd = fd;
        *ret_name = TAKE_PTR(name);
        return 0;
}

/* Words for a failed call on path beneath the root. */
static int beneath_error(struct root_dir *r, const char *doing, const char *path, int e, struct err **err) {
        _cleanup_(x_freep) char *full = path_join(r->path, path);
        const char *shown = full ? full : path;
        if (e == -EXDEV)
                return err_set(err, EXDEV, "%s %s: the path leads out of %s, by a symlink or '..'", doing,
                               shown, r->path);
        if (e == -ELOOP)
                return err_set(err, ELOOP, "%s %s: it is a symlink, which is not followed here", doing,
                               shown);
        return err_set_errno(err, -e, "%s %s", doing, shown);
}

int root_dir_write(struct root_dir *r, const char *path, const void *data, size_t len,
                   const struct file_attributes *attributes, struct err **err) {
        _cleanup_(x_closep) int dirfd = -1;
        _cleanup_(x_freep) char *name = NULL;
        int e = root_dir_make_parents(r, path);
        if (e == 0)
                e = open_parent(r, path, &dirfd, &name);
        if (e == 0)
                e = write_at(dirfd, name, data, len, attributes);
        return e < 0 ? beneath_error(r, "write", path, e, err) : 0;
}

int root_dir_read(struct root_dir *r, const char *path, size_t limit, char **ret_data, size_t *ret_len,
                  struct stat *ret_stat, struct err **err) {
        struct stat st;
        _cleanup_(x_closep) int fd =
                root_dir_openat(r, path, O_RDONLY | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0);
        if (fd < 0)
                return beneath_error(r, "read", path, fd, err);
        if (fstat(fd, &st) < 0)
                return beneath_error(r, "read", path, -errno, err);
        int e = read_all(fd, limit, ret_data, ret_len);
        if (e == -EFBIG)
                return err_set(err, EFBIG, "read %s beneath %s: the file is larger than %zu bytes", path,
                               r->path, limit);
        if (e < 0)
                return beneath_error(r, "read", path, e, err);
        if (ret_stat)
                *ret_stat = st;
        return 0;
}

int root_dir_unlink(struct root_dir *r, const char *path, struct err **err) {
        _cleanup_(x_closep) int dirfd = -1;
        _cleanup_(x_freep) char *name = NULL;
        int e = open_parent(r, path, &dirfd, &name);
        if (e == -ENOENT)
                return 0;
        if (e == 0 && unlinkat(dirfd, name, 0) < 0) {
                if (errno == ENOENT)
                        return 0;
                e = -errno;
        }
        if (e == 0)
                e = sync_folder(dirfd);
        return e < 0 ? beneath_error(r, "remove", path, e, err) : 0;
}

int root_dir_remove(struct root_dir *r, const char *path, struct err **err) {
        _cleanup_(x_closep) int dirfd = -1;
        _cleanup_(x_freep) char *name = NULL;
        int e = open_parent(r, path, &dirfd, &name);
        if (e == -ENOENT)
                return 0;
        if (e == 0)
                e = remove_tree(dirfd, name);
        if (e == -EBUSY)
                return remove_error(e, path, err);
        if (e == 0)
                e = sync_folder(dirfd);
        return e < 0 ? beneath_error(r, "remove", path, e, err) : 0;
}

/* ---- walking */

struct walk {
        struct root_dir *root;
        int (*visit)(void *arg, const char *path, const struct stat *st);
        void *arg;
        struct err **err;
};

static int compare_names(const void *a, const void *b) {
        return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in a folder, sorted. Takes the descriptor. */
static int list_folder(int fd, char ***ret) {
        DIR *dir = fdopendir(fd);
        if (!dir) {
                int e = errno;
                (void)close(fd);
                return -e;
        }
        char **names = NULL;
        size_t n = 0, cap = 0;
        int r = 0;
        for (struct dirent *e; r == 0 && (e = readdir(dir));) {
                if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
                        continue;
                if (n + 2 > cap) {
                        size_t more = cap ? cap * 2 : 16;
                        char **grown = realloc(names, more * sizeof(*names));
                        if (!grown) {
                                r = -ENOMEM;
                                break;
                        }
                        names = grown;
                        cap = more;
                }
                names[n] = str_dup(e->d_name);
                if (!names[n])
                        r = -ENOMEM;
                else
                        names[++n] = NULL;
        }
        (void)closedir(dir);
        if (r < 0) {
                strv_free(names);
                return r;
        }
        if (n > 1)
                qsort(names, n, sizeof(*names), compare_names);
        *ret = names;
        return 0;
}

static int walk_folder(struct walk *w, const char *path, unsigned depth) {
        if (depth > ROOT_DIR_MAX_DEPTH)
                return err_set(w->err, ELOOP, "read the folder %s beneath %s: nested deeper than %d folders",
                               path, w->root->path, ROOT_DIR_MAX_DEPTH);
        int fd = root_dir_openat(w->root, path, O_RDONLY | O_DIRECTORY | (depth ? O_NOFOLLOW : 0), 0);
        if (fd < 0)
                return beneath_error(w->root, "read the folder", path, fd, w->err);
        _cleanup_(strv_freep) char **names = NULL;
        _cleanup_(x_closep) int dirfd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (dirfd < 0) {
                int e = -errno;
                (void)close(fd);
                return beneath_error(w->root, "read the folder", path, e, w->err);
        }
        int r = list_folder(fd, &names);
        if (r < 0)
                return beneath_error(w->root, "read the folder", path, r, w->err);
        for (char **name = names; name && *name; name++) {
                struct stat st;
                _cleanup_(x_freep) char *full = path_join(path, *name);
                if (!full)
                        return beneath_error(w->root, "read the folder", path, -ENOMEM, w->err);
                if (fstatat(dirfd, *name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
                        if (errno == ENOENT)
                                continue; /* gone since it was listed */
                        return beneath_error(w->root, "read", full, -errno, w->err);
                }
                r = w->visit(w->arg, full, &st);
                if (r == ROOT_DIR_SKIP && S_ISDIR(st.st_mode))
                        continue;
                if (r != 0)
                        return r;
                if (S_ISDIR(st.st_mode)) {
                        r = walk_folder(w, full, depth + 1);
                        if (r != 0)
                                return r;
                }
        }
        return 0;
}

int root_dir_walk(struct root_dir *r, const char *path,
                  int (*visit)(void *arg, const char *path, const struct stat *st), void *arg,
                  struct err **err) {
        struct walk w = {.root = r, .visit = visit, .arg = arg, .err = err};
        return walk_folder(&w, path + strspn(path, "/"), 0);
}
