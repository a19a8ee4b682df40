/* SPDX-License-Identifier: Apache-2.0 */
/* A folder as the store of a TUF client: one file a role, each replaced whole. */
#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "repo/tuf/client.h"

struct tuf_folder {
        struct root_dir *root;
};

int tuf_folder_open(const char *path, struct tuf_folder **ret, struct err **err) {
        struct tuf_folder *f = NULL;
        int r = dir_make(path, 0755, err);
        if (r < 0)
                return r;
        f = calloc(1, sizeof(*f));
        if (!f)
                return err_set_errno(err, ENOMEM, "open %s", path);
        r = root_dir_open(path, &f->root, err);
        if (r < 0) {
                free(f);
                return r;
        }
        *ret = f;
        return 0;
}

struct tuf_folder *tuf_folder_free(struct tuf_folder *f) {
        if (f) {
                root_dir_free(f->root);
                free(f);
        }
        return NULL;
}

static int folder_load(void *arg, const char *name, char **ret, size_t *ret_len) {
        struct tuf_folder *f = arg;
        return root_dir_read(f->root, name, TUF_TARGETS_MAX, ret, ret_len, NULL, NULL);
}

static int folder_save(void *arg, const char *name, const char *data, size_t len, struct err **err) {
        static const struct file_attributes attributes = {.mode = 0644, .uid = (uid_t)-1, .gid = (gid_t)-1};
        struct tuf_folder *f = arg;
        return root_dir_write(f->root, name, data, len, &attributes, err);
}

static int folder_remove(void *arg, const char *name) {
        struct tuf_folder *f = arg;
        return root_dir_unlink(f->root, name, NULL);
}

struct tuf_store tuf_folder_store(struct tuf_folder *f) {
        return (struct tuf_store){
                .arg = f, .load = folder_load, .save = folder_save, .remove = folder_remove};
}
