/* SPDX-License-Identifier: Apache-2.0 */
#include "server/repository_ahead.h"

#include <errno.h>
#include <string.h>

#include "base/table.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "relay/repository_documents.h"
#include "repo/artifact.h"
#include "server/memory.h"
#include "server/repository.h"

#define DELTAS_MAX 32 /* of one artifact that are fetched ahead */

struct ahead {
        struct control *control;
        char *target; /* its path in the metadata */
        char sha256[SHA256_HEX_SIZE];
        int64_t length;
};

static void ahead_free(struct ahead *a) {
        free(a->target);
        free(a);
}

static int read_list(int fd, char **ret, size_t *ret_len) {
        _cleanup_(x_freep) char *text = must(malloc(DOCUMENT_LIST_MAX + 1));
        size_t len = 0;
        while (len < DOCUMENT_LIST_MAX) {
                ssize_t n = pread(fd, text + len, DOCUMENT_LIST_MAX - len, (off_t)len);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        break;
                len += (size_t)n;
        }
        *ret = TAKE_PTR(text);
        *ret_len = len;
        return 0;
}

/* The list itself and its deltas, but for those that save little. false: there is none worth it. */
static bool say_deltas(const struct ahead *a, int fd) {
        _cleanup_(x_freep) char *text = NULL, *list = must(repository_delta_list(a->sha256));
        _cleanup_json_ json_t *j = NULL;
        struct repository_path named;
        char *paths[DELTAS_MAX + 1] = {0};
        size_t len = 0, n = 0;
        int64_t version;
        if (read_list(fd, &text, &len) < 0 || repository_path_parse(list, &named) < 0 ||
            repository_document_check(&named, text, len, &version, NULL) < 0 ||
            json_decode(text, len, &j, NULL) < 0)
                return false;
        const json_t *deltas = json_object_get(j, "deltas");
        paths[n++] = list;
        for (size_t i = 0; i < json_array_size(deltas) && n <= DELTAS_MAX; i++) {
                const json_t *one = json_array_get(deltas, i);
                if (json_integer_value(json_object_get(one, "length")) < a->length / 2)
                        paths[n++] = must(
                                repository_delta(a->sha256, json_string_value(json_object_get(one, "from"))));
        }
        if (n > 1)
                repository_prefetch(a->control, (const char *const *)paths, n);
        for (size_t i = 1; i < n; i++)
                free(paths[i]);
        return n > 1;
}

static void on_index(void *arg, int fd) {
        struct ahead *a = arg;
        _cleanup_(x_closep) _unused_ int owned = fd;
        _cleanup_(x_freep) char *index = must(repository_chunk_index(a->sha256)),
                                *whole = must(repository_target_file(a->target, a->sha256));
        const char *path = fd >= 0 ? index : whole;
        if (fd >= 0 || fd == -ENOENT)
                repository_prefetch(a->control, &path, 1);
        ahead_free(a);
}

static void on_list(void *arg, int fd) {
        struct ahead *a = arg;
        _cleanup_(x_closep) _unused_ int owned = fd;
        if ((fd < 0 && fd != -ENOENT) || (fd >= 0 && say_deltas(a, fd))) {
                ahead_free(a);
                return;
        }
        _cleanup_(x_freep) char *index = must(repository_chunk_index(a->sha256));
        repository_read(a->control, index, false, on_index, a);
}

void repository_ahead(struct control *c, const json_t *artifacts) {
        for (size_t i = 0; repository_is_there(c) && i < json_array_size(artifacts); i++) {
                const json_t *one = json_array_get(artifacts, i);
                const char *sha256 = json_string_value(json_object_get(one, "sha256"));
                const char *target = json_string_value(json_object_get(one, "target"));
                if (!sha256 || !target || !sha256_hex_is_valid(sha256) || !repository_say_once(c, sha256))
                        continue;
                struct ahead *a = NEW(struct ahead);
                a->control = c;
                a->target = copy_text(target);
                a->length = json_integer_value(json_object_get(one, "length"));
                memcpy(a->sha256, sha256, sizeof(a->sha256));
                _cleanup_(x_freep) char *list = must(repository_delta_list(sha256));
                repository_read(c, list, true, on_list, a);
        }
}
