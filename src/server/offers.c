/* SPDX-License-Identifier: Apache-2.0 */
#include "server/offers.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "codec/json.h"
#include "crypto/digest.h"
#include "repo/artifact.h"
#include "repo/chunk/fetch.h"
#include "server/memory.h"
#include "server/repository.h"

#define DELTA_LIST_MAX ((size_t)256 << 10)
#define DELTAS_MAX 256
#define SEED_INDEX_MAX ((size_t)8 << 20) /* some 100,000 chunks; several are held at a time */

struct reading {
        struct control *control;
        char sha256[65];
        int list_fd, index_fd; /* -1: there is none */
        char seeds[OFFER_SEEDS_MAX][65];
        int seed_fds[OFFER_SEEDS_MAX];
        size_t n_seeds, at; /* at: the seed whose index is being read */
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

static struct chunk_index *read_index(int fd, const char *sha256, size_t limit, size_t *ret_len) {
        struct chunk_index *index = NULL;
        _cleanup_(x_freep) char *text = read_fd(fd, limit, ret_len);
        if (text && chunk_index_parse(text, *ret_len, &index, NULL) == 0 &&
            !str_eq(index->target_sha256, sha256))
                index = chunk_index_free(index);
        return index;
}

/* What nodes that have the seeds would still ask the pack for. */
static void predict_missing(struct reading *r, const struct chunk_index *index) {
        struct chunk_index *seeds[OFFER_SEEDS_MAX] = {0};
        int64_t missing = 0;
        size_t n = 0, len = 0;
        for (size_t i = 0; i < r->n_seeds; i++) {
                seeds[n] = read_index(r->seed_fds[i], r->seeds[i], SEED_INDEX_MAX, &len);
                if (seeds[n])
                        n++;
        }
        if (n > 0 && chunk_fetch_predict_indexes(index, (const struct chunk_index *const *)seeds, n, &missing,
                                                 NULL) == 0)
                json_put(r->offer, "chunksMissing", json_number(missing));
        while (n > 0)
                chunk_index_free(seeds[--n]);
}

static void close_all(struct reading *r) {
        x_closep(&r->list_fd);
        x_closep(&r->index_fd);
        for (size_t i = 0; i < r->n_seeds; i++)
                x_closep(&r->seed_fds[i]);
}

/* On a worker. */
static void look(void *arg) {
        struct reading *r = arg;
        size_t len = 0;
        r->offer = json_object_new();
        json_put(r->offer, "deltas", read_deltas(r->list_fd, r->sha256));
        _cleanup_(chunk_index_freep) struct chunk_index *index =
                read_index(r->index_fd, r->sha256, CHUNK_INDEX_MAX, &len);
        if (index) {
                json_put(r->offer, "chunkIndexLength", json_number((int64_t)len));
                json_put(r->offer, "chunkPackLength", json_number(index->pack_length));
                predict_missing(r, index);
        }
        close_all(r);
}

static void finish(struct reading *r) {
        r->done(r->arg, r->offer);
        json_decref(r->offer);
        free(r);
}

static void looked(void *arg) {
        finish(arg);
}

static void seed_there(void *arg, int fd);

static void next_seed(struct reading *r) {
        if (r->index_fd < 0 || r->at == r->n_seeds) {
                must_do(loop_work(r->control->loop, look, looked, r));
                return;
        }
        _cleanup_(x_freep) char *path = must(repository_chunk_index(r->seeds[r->at]));
        repository_read(r->control, path, false, seed_there, r);
}

static void seed_there(void *arg, int fd) {
        struct reading *r = arg;
        r->seed_fds[r->at++] = fd >= 0 ? fd : -1;
        next_seed(r);
}

static void index_there(void *arg, int fd) {
        struct reading *r = arg;
        r->index_fd = fd >= 0 ? fd : -1;
        next_seed(r);
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

static void take_seeds(struct reading *r, const char *seeds) {
        for (const char *p = seeds; p && *p && r->n_seeds < OFFER_SEEDS_MAX;) {
                size_t len = strcspn(p, ",");
                char *seed = r->seeds[r->n_seeds];
                if (len == 64) {
                        memcpy(seed, p, 64);
                        seed[64] = '\0';
                        if (sha256_hex_is_valid(seed) && !str_eq(seed, r->sha256))
                                r->seed_fds[r->n_seeds++] = -1;
                }
                p += len + (p[len] == ',');
        }
}

void offers_read(struct control *c, const char *sha256, const char *seeds,
                 void (*done)(void *arg, const json_t *offer), void *arg) {
        struct reading *r = NEW(struct reading);
        *r = (struct reading){.control = c, .list_fd = -1, .index_fd = -1, .done = done, .arg = arg};
        if (!repository_is_there(c) || !sha256_hex_is_valid(sha256)) {
                finish(r);
                return;
        }
        memcpy(r->sha256, sha256, sizeof(r->sha256));
        take_seeds(r, seeds);
        _cleanup_(x_freep) char *path = must(repository_delta_list(sha256));
        repository_read(c, path, true, list_there, r);
}
