/* SPDX-License-Identifier: Apache-2.0 */
/* A fleet repository in one text: a line "=== path" begins a file, which goes to the next such line. The
 * section
 * "=== expect" is not a file: it holds what the compiler is to say. */
#pragma once

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "fleet/compile.h"

#define MEMORY_FILES_MAX 64

struct memory_tree {
        struct fleet_tree tree;
        struct fleet_tree_entry entries[MEMORY_FILES_MAX];
        const char *texts[MEMORY_FILES_MAX];
        char *paths[MEMORY_FILES_MAX];
        const char *expect;
        size_t reads; /* how often a file was read */
};

static inline int memory_tree_read(void *arg, const struct fleet_tree_entry *e, size_t limit, char **ret_data,
                                   size_t *ret_len, struct err **err) {
        struct memory_tree *t = arg;
        size_t len = (size_t)e->size;

        t->reads++;
        if (len > limit)
                return err_set(err, EFBIG, "%s is too large", e->path);
        *ret_data = malloc(len + 1);
        if (!*ret_data)
                return err_set_errno(err, ENOMEM, "read %s", e->path);
        memcpy(*ret_data, t->texts[e - t->entries], len);
        (*ret_data)[len] = '\0';
        *ret_len = len;
        return 0;
}

/* Where the next "=== " line begins, or the text's end. */
static inline const char *memory_tree_next(const char *p) {
        while (*p && strncmp(p, "=== ", 4) != 0) {
                const char *end = strchr(p, '\n');
                p = end ? end + 1 : p + strlen(p);
        }
        return p;
}

/* The text must outlive the tree. */
static inline void memory_tree_init(struct memory_tree *t, const char *text) {
        memset(t, 0, sizeof *t);
        for (const char *p = memory_tree_next(text); *p;) {
                const char *path = p + 4, *body = strchr(path, '\n'), *end;
                if (!body)
                        break;
                end = memory_tree_next(++body);
                if (str_has_prefix(path, "expect\n")) {
                        t->expect = body;
                } else if (t->tree.n < MEMORY_FILES_MAX) {
                        size_t i = t->tree.n++;
                        t->paths[i] = str_dup_n(path, (size_t)(body - path - 1));
                        t->texts[i] = body;
                        t->entries[i] = (struct fleet_tree_entry){.path = t->paths[i], .size = end - body};
                }
                p = end;
        }
        t->tree.entries = t->entries;
        t->tree.read = memory_tree_read;
        t->tree.arg = t;
}

static inline void memory_tree_done(struct memory_tree *t) {
        for (size_t i = 0; i < t->tree.n; i++)
                free(t->paths[i]);
}
