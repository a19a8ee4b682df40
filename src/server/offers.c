/* SPDX-License-Identifier: Apache-2.0 */
#include "server/offers.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "codec/json.h"
#include "crypto/digest.h"
#include "repo/artifact.h"
#include "repo/chunk/index.h"
#include "server/memory.h"
#include "server/repository.h"

#define DELTA_LIST_MAX ((size_t)256 << 10)
#define DELTAS_MAX 256

struct reading {
        struct control *control;
        char sha256[65];
        int list_fd, index_fd; /* -1: there is none */
        json_t *offer;
        void (*done)(void *arg, const json_t *offer);
        void *arg;
};

static char *read_fd(int fd, size_t limit, size_t *ret_len) {
        struct stat st;
        if (fd < 0 || fstat(fd, &st) < 0 || st.st_size < 0 || (size_t)st.st_size > limit)
                return NULL;
        char *data = must(malloc((size_t)st.st_size + 1));
        size_t len = 0;
        while (len < (size_t)st.st_size) {
                ssize_t n = pread(fd, data + len, (size_t)st.st_size - len, (off_t)len);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0) {
                        free(data);
                        return NULL;
                }
                len += (size_t)n;
        }
        *ret_len = len;
        return data;
}

static json_t *read_deltas(int fd, const char *sha256) {
        size_t len = 0, i;
        _cleanup_(x_freep) char *text = read_fd(fd, DELTA_LIST_MAX, &len);
        json_t *list = json_array_new(), *j = NULL, *one;
        if (!text || json_decode(text, len, &j, NULL) < 0)
                return list;
        const char *target = json_string_value(json_object_get(j, "target"));
        json_array_foreach (json_object_get(j, "deltas"), i, one) {
                const char *from = json_string_value(json_object_get(one, "from"));
                int64_t length = json_integer_value(json_object_get(one, "length"));
                if (!target || !str_eq(target, sha256) || i >= DELTAS_MAX || !from ||
                    !sha256_hex_is_valid(from) || length < 1)
                        continue;
                json_t *delta = json_object_new();
                json_put(delta, "from", json_text(from));
                json_put(delta, "length", json_number(length));
                json_add(list, delta);
        }
        json_decref(j);
        return list;
}

/* On a worker. */
static void look(void *arg) {
        struct reading *r = arg;
        size_t len = 0;
        r->offer = json_object_new();
        json_put(r->offer, "deltas", read_deltas(r->list_fd, r->sha256));
        _cleanup_(x_freep) char *text = read_fd(r->index_fd, CHUNK_INDEX_MAX, &len);
        _cleanup_(chunk_index_freep) struct chunk_index *index = NULL;
        if (text && chunk_index_parse(text, len, &index, NULL) == 0 &&
            str_eq(index->target_sha256, r->sha256)) {
                json_put(r->offer, "chunkIndexLength", json_number((int64_t)len));
                json_put(r->offer, "chunkPackLength", json_number(index->pack_length));
        }
        if (r->list_fd >= 0)
                close(r->list_fd);
        if (r->index_fd >= 0)
                close(r->index_fd);
}

static void finish(struct reading *r) {
        r->done(r->arg, r->offer);
        json_decref(r->offer);
        free(r);
}

static void looked(void *arg) {
        finish(arg);
}

static void index_there(void *arg, int fd) {
        struct reading *r = arg;
        r->index_fd = fd >= 0 ? fd : -1;
        must_do(loop_work(r->control->loop, look, looked, r));
}

static void list_there(void *arg, int fd) {
        struct reading *r = arg;
        if (fd < 0 && fd != -ENOENT) {
                finish(r);
                return;
        }
        r->list_fd = fd >= 0 ? fd : -1;
        _cleanup_(x_freep) char *path = must(repository_chunk_index(r->sha256));
        repository_read(r->control, path, false, index_there, r);
}

void offers_read(struct control *c, const char *sha256, void (*done)(void *arg, const json_t *offer),
                 void *arg) {
        struct reading *r = NEW(struct reading);
        *r = (struct reading){.control = c, .list_fd = -1, .index_fd = -1, .done = done, .arg = arg};
        if (!repository_is_there(c) || !sha256_hex_is_valid(sha256)) {
                finish(r);
                return;
        }
        memcpy(r->sha256, sha256, sizeof(r->sha256));
        _cleanup_(x_freep) char *path = must(repository_delta_list(sha256));
        repository_read(c, path, true, list_there, r);
}
