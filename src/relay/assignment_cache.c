/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/assignment_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/str.h"
#include "base/table.h"
#include "codec/json.h"

#define ASSIGNMENT_BYTES_MAX ((size_t)1 << 20)
#define FILE_NAME_SIZE 80 /* a DNS label and ".json" */

struct assignment_cache {
        char *folder;
        int fd;
        struct table *versions; /* node -> struct known; filled as nodes are asked for */
};

struct known {
        int64_t version;
};

static void file_name(const char *node, const char *suffix, char out[FILE_NAME_SIZE]) {
        snprintf(out, FILE_NAME_SIZE, "%s%s", node, suffix);
}

/* The version of an assignment that is well formed and for this node. */
static int version_of(const json_t *event, const char *node, int64_t *ret, struct err **err) {
        const json_t *body = NULL, *signatures = NULL;
        const char *named = NULL;
        int64_t version = 0;
        int r = json_read_object(event, "signed", &body, err);
        if (r >= 0)
                r = json_read_array(event, "signatures", &signatures, err);
        if (r >= 0)
                r = json_read_string(body, "node", &named, err);
        if (r >= 0)
                r = json_read_int(body, "version", &version, err);
        if (r < 0)
                return r;
        if (!str_eq(named, node))
                return err_set(err, EINVAL, "assignment is for node %s, not %s", named, node);
        if (version <= 0)
                return err_set(err, EINVAL, "assignment has version %lld", (long long)version);
        *ret = version;
        return 0;
}

static int remember(struct assignment_cache *c, const char *node, int64_t version) {
        struct known *known = table_get(c->versions, node);
        if (known) {
                known->version = version;
                return 0;
        }
        known = malloc(sizeof(*known));
        if (!known)
                return -ENOMEM;
        known->version = version;
        if (table_set(c->versions, node, known) < 0) {
                free(known);
                return -ENOMEM;
        }
        return 0;
}

static json_t *read_file(struct assignment_cache *c, const char *node, int64_t *ret_version) {
        char name[FILE_NAME_SIZE];
        file_name(node, ".json", name);
        _cleanup_(x_freep) char *path = path_join(c->folder, name), *text = NULL;
        _cleanup_json_ json_t *event = NULL;
        size_t len = 0;
        if (!path || file_read(path, ASSIGNMENT_BYTES_MAX, &text, &len, NULL) < 0 ||
            json_decode(text, len, &event, NULL) < 0 || version_of(event, node, ret_version, NULL) < 0)
                return NULL;
        return TAKE_PTR(event);
}

int64_t assignment_cache_version(struct assignment_cache *c, const char *node) {
        if (!name_is_dns_label(node))
                return 0;
        const struct known *known = table_get(c->versions, node);
        if (known)
                return known->version;
        int64_t version = 0;
        _cleanup_json_ json_t *event = read_file(c, node, &version);
        (void)remember(c, node, event ? version : 0);
        return event ? version : 0;
}

json_t *assignment_cache_get(struct assignment_cache *c, const char *node) {
        int64_t version = 0;
        return name_is_dns_label(node) ? read_file(c, node, &version) : NULL;
}

static int write_file(struct assignment_cache *c, const char *node, const char *text) {
        char temporary[FILE_NAME_SIZE], name[FILE_NAME_SIZE];
        file_name(node, ".new", temporary);
        file_name(node, ".json", name);
        _cleanup_(x_closep) int fd =
                openat(c->fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        size_t len = strlen(text);
        for (size_t done = 0; done < len;) {
                ssize_t n = write(fd, text + done, len - done);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                done += (size_t)n;
        }
        return renameat(c->fd, temporary, c->fd, name) < 0 ? -errno : 0;
}

int assignment_cache_put(struct assignment_cache *c, const char *node, const json_t *event,
                         struct err **err) {
        int64_t version = 0;
        if (!name_is_dns_label(node))
                return err_set(err, EINVAL, "\"%.80s\" is no node name", node);
        int r = version_of(event, node, &version, err);
        if (r < 0)
                return r;
        if (version <= assignment_cache_version(c, node))
                return err_set(err, ESTALE, "node %s has assignment %lld already", node,
                               (long long)assignment_cache_version(c, node));
        _cleanup_json_ json_t *kept = json_pack("{s:O, s:O}", "signed", json_object_get(event, "signed"),
                                                "signatures", json_object_get(event, "signatures"));
        _cleanup_(x_freep) char *text = kept ? json_encode_compact(kept) : NULL;
        if (!text)
                return err_set(err, ENOMEM, "out of memory");
        if (strlen(text) > ASSIGNMENT_BYTES_MAX)
                return err_set(err, EINVAL, "assignment of node %s is over %zu bytes", node,
                               ASSIGNMENT_BYTES_MAX);
        r = write_file(c, node, text);
        if (r < 0)
                return err_set_errno(err, -r, "write assignment of node %s in %s", node, c->folder);
        return remember(c, node, version);
}

void assignment_cache_remove(struct assignment_cache *c, const char *node) {
        char name[FILE_NAME_SIZE];
        if (!name_is_dns_label(node))
                return;
        file_name(node, ".json", name);
        (void)unlinkat(c->fd, name, 0);
        (void)table_remove(c->versions, node);
}

int assignment_cache_open(const char *folder, struct assignment_cache **ret, struct err **err) {
        int r = dir_make(folder, 0700, err);
        if (r < 0)
                return r;
        _cleanup_(assignment_cache_freep) struct assignment_cache *c = calloc(1, sizeof(*c));
        if (!c)
                return err_set(err, ENOMEM, "out of memory");
        c->fd = -EBADF;
        c->folder = str_dup(folder);
        c->versions = table_new(free);
        if (!c->folder || !c->versions)
                return err_set(err, ENOMEM, "out of memory");
        c->fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (c->fd < 0)
                return err_set_errno(err, errno, "open %s", folder);
        *ret = TAKE_PTR(c);
        return 0;
}

struct assignment_cache *assignment_cache_free(struct assignment_cache *c) {
        if (!c)
                return NULL;
        x_closep(&c->fd);
        table_free(c->versions);
        free(c->folder);
        free(c);
        return NULL;
}
