/* SPDX-License-Identifier: Apache-2.0 */
/* A folder on disk as a tree of fleet files. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "fleet/compile.h"

#define DEPTH_MAX 64

struct folder {
        struct fleet_tree tree;
        struct root_dir *root;
        struct fleet_tree_entry *entries;
        size_t cap;
        struct arena *arena;
};

static int read_entry(void *arg, const struct fleet_tree_entry *e, size_t limit, char **ret_data,
                      size_t *ret_len, struct err **err) {
        struct folder *f = arg;
        return root_dir_read(f->root, e->path, limit, ret_data, ret_len, NULL, err);
}

static int add_entry(struct folder *f, const char *path, int64_t size, struct err **err) {
        if (f->tree.n == FLEET_FILES_MAX)
                return err_set(err, EFBIG, "%s holds more than %d files: name the sub-folder of the fleet",
                               root_dir_path(f->root), FLEET_FILES_MAX);
        if (f->tree.n == f->cap) {
                size_t cap = f->cap ? f->cap * 2 : 256;
                struct fleet_tree_entry *grown = reallocarray(f->entries, cap, sizeof *grown);
                if (!grown)
                        return err_set_errno(err, ENOMEM, "read %s", path);
                f->entries = grown;
                f->cap = cap;
        }
        f->entries[f->tree.n++] = (struct fleet_tree_entry){.path = path, .size = size};
        return 0;
}

static int walk(struct folder *f, const char *folder, size_t depth, struct err **err);

static int visit(struct folder *f, int fd, const char *folder, const char *name, size_t depth,
                 struct err **err) {
        struct stat st;
        char *path;

        if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : err_set_errno(err, errno, "read %s/%s", folder, name);
        if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
                return 0; /* symlinks are not followed */
        if (S_ISDIR(st.st_mode) && name[0] == '.')
                return 0;
        path = *folder ? arena_printf(f->arena, "%s/%s", folder, name) : arena_strdup(f->arena, name);
        if (!path)
                return err_set_errno(err, ENOMEM, "read %s", name);
        if (!path_is_beneath(path))
                return 0; /* a name with control characters: no document can name it */
        return S_ISDIR(st.st_mode) ? walk(f, path, depth + 1, err) : add_entry(f, path, st.st_size, err);
}

static int walk(struct folder *f, const char *folder, size_t depth, struct err **err) {
        DIR *dir;
        int fd, r = 0;

        if (depth > DEPTH_MAX)
                return err_set(err, ELOOP, "%s: folders are nested deeper than %d", folder, DEPTH_MAX);
        fd = root_dir_openat(f->root, *folder ? folder : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
        if (fd < 0)
                return err_set_errno(err, -fd, "open %s", *folder ? folder : root_dir_path(f->root));
        dir = fdopendir(fd);
        if (!dir) {
                r = err_set_errno(err, errno, "open %s", folder);
                (void)close(fd);
                return r;
        }
        for (struct dirent *e; r == 0 && (e = readdir(dir));)
                if (!str_eq(e->d_name, ".") && !str_eq(e->d_name, ".."))
                        r = visit(f, fd, folder, e->d_name, depth, err);
        closedir(dir);
        return r;
}

static int compare_entries(const void *a, const void *b) {
        return strcmp(((const struct fleet_tree_entry *)a)->path, ((const struct fleet_tree_entry *)b)->path);
}

struct fleet_tree *fleet_tree_close_folder(struct fleet_tree *t) {
        struct folder *f;

        if (!t)
                return NULL;
        f = CONTAINER_OF(t, struct folder, tree);
        root_dir_free(f->root);
        arena_free(f->arena);
        free(f->entries);
        free(f);
        return NULL;
}

DEFINE_CLEANUP(struct fleet_tree, fleet_tree_close_folder)

int fleet_tree_open_folder(const char *path, struct fleet_tree **ret, struct err **err) {
        _cleanup_(fleet_tree_close_folderp) struct fleet_tree *tree = NULL;
        struct folder *f = calloc(1, sizeof *f);
        int r;

        if (!f)
                return err_set_errno(err, ENOMEM, "open %s", path);
        tree = &f->tree;
        f->arena = arena_new(0);
        if (!f->arena)
                return err_set_errno(err, ENOMEM, "open %s", path);
        r = root_dir_open(path, &f->root, err);
        if (r == 0)
                r = walk(f, "", 0, err);
        if (r < 0)
                return r;
        if (tree->n > 1)
                qsort(f->entries, tree->n, sizeof *f->entries, compare_entries);
        tree->entries = f->entries;
        tree->read = read_entry;
        tree->arg = f;
        *ret = TAKE_PTR(tree);
        return 0;
}
