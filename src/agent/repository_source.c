/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/repository_source.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"

#define MIRROR_URL_MAX 2048
#define MIRROR_STALL_MS 30000

struct repository_sources {
        struct loop *loop;
        struct repository_edge edge;
        char **mirrors; /* of the command line */
        char **bundle_mirrors;
        struct http_client *client; /* for mirrors */
        struct root_dir *folder;
};

static bool is_mirror(const char *url) {
        return (str_has_prefix(url, "https://") || str_has_prefix(url, "http://")) &&
               strlen(url) <= MIRROR_URL_MAX && !strpbrk(url, " \t\r\n?#");
}

int repository_sources_new(struct loop *l, const struct repository_edge *edge, char *const *mirrors,
                           struct repository_sources **ret, struct err **err) {
        _cleanup_(repository_sources_freep) struct repository_sources *s = calloc(1, sizeof(*s));
        if (!s)
                return err_set_errno(err, ENOMEM, "mirrors");
        s->loop = l;
        s->edge = *edge;
        for (size_t i = 0; mirrors && mirrors[i]; i++) {
                if (!is_mirror(mirrors[i]) || i >= REPOSITORY_MIRRORS_MAX)
                        return err_set(err, EINVAL,
                                       "mirror '%.200s': expected https://HOST/PATH, at most %d of them",
                                       mirrors[i], REPOSITORY_MIRRORS_MAX);
                if (strv_push(&s->mirrors, mirrors[i]) < 0)
                        return err_set_errno(err, ENOMEM, "mirrors");
        }
        *ret = TAKE_PTR(s);
        return 0;
}

int repository_sources_new_folder(struct loop *l, const char *folder, struct repository_sources **ret,
                                  struct err **err) {
        _cleanup_(repository_sources_freep) struct repository_sources *s = calloc(1, sizeof(*s));
        if (!s)
                return err_set_errno(err, ENOMEM, "%s", folder);
        s->loop = l;
        int r = root_dir_open(folder, &s->folder, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

struct repository_sources *repository_sources_free(struct repository_sources *s) {
        if (!s)
                return NULL;
        http_client_free(s->client);
        root_dir_free(s->folder);
        strv_free(s->mirrors);
        strv_free(s->bundle_mirrors);
        free(s);
        return NULL;
}

void repository_sources_set_bundle(struct repository_sources *s, const json_t *mirrors) {
        const json_t *url;
        size_t i;
        s->bundle_mirrors = strv_free(s->bundle_mirrors);
        json_array_foreach (mirrors, i, url)
                if (i < REPOSITORY_MIRRORS_MAX && json_is_string(url) && is_mirror(json_string_value(url)))
                        (void)strv_push(&s->bundle_mirrors, json_string_value(url));
}

void repository_sources_rest(struct repository_sources *s) {
        s->client = http_client_free(s->client);
}

void repository_place_done(struct repository_place *p) {
        free(p->url);
        free(p->name);
        *p = (struct repository_place){0};
}

size_t repository_sources_count(const struct repository_sources *s) {
        return s->folder ? 1 : (s->edge.find ? 1 : 0) + strv_len(s->mirrors) + strv_len(s->bundle_mirrors);
}

struct loop *repository_sources_loop(const struct repository_sources *s) {
        return s->loop;
}

static int place_folder(struct repository_sources *s, const char *path, struct repository_place *ret,
                        struct err **err) {
        char *name = str_format("%s/%s", root_dir_path(s->folder), path);
        if (!name)
                return err_set_errno(err, ENOMEM, "%s", path);
        *ret = (struct repository_place){.folder = s->folder, .name = name};
        return 0;
}

static int place_edge(struct repository_sources *s, const char *path, struct repository_place *ret,
                      struct err **err) {
        _cleanup_(x_freep) char *full = str_format("/edge/v1/repository/%s", path), *url = NULL, *name = NULL;
        struct http_client *client;
        if (!full)
                return err_set_errno(err, ENOMEM, "%s", path);
        if (!s->edge.find(s->edge.arg, full, &client, &url))
                return err_set(err, EHOSTUNREACH, "not connected to the edge");
        if (!(name = str_dup(url)))
                return err_set_errno(err, ENOMEM, "%s", path);
        *ret = (struct repository_place){
                .client = client, .url = TAKE_PTR(url), .name = TAKE_PTR(name), .is_edge = true};
        return 0;
}

static int place_mirror(struct repository_sources *s, const char *base, const char *path,
                        struct repository_place *ret, struct err **err) {
        bool slash = str_has_suffix(base, "/");
        _cleanup_(x_freep) char *url = str_format("%s%s%s", base, slash ? "" : "/", path), *name = NULL;
        struct http_client_options options = {.stall_ms = MIRROR_STALL_MS};
        if (!url || !(name = str_dup(url)))
                return err_set_errno(err, ENOMEM, "%s", path);
        int r = s->client ? 0 : http_client_new(s->loop, &options, &s->client, err);
        if (r < 0)
                return r;
        *ret = (struct repository_place){.client = s->client, .url = TAKE_PTR(url), .name = TAKE_PTR(name)};
        return 0;
}

int repository_sources_place(struct repository_sources *s, size_t i, const char *path,
                             struct repository_place *ret, struct err **err) {
        size_t own = strv_len(s->mirrors);
        if (s->folder)
                return place_folder(s, path, ret, err);
        if (s->edge.find) {
                if (i == 0)
                        return place_edge(s, path, ret, err);
                i--;
        }
        if (i < own)
                return place_mirror(s, s->mirrors[i], path, ret, err);
        if (i - own < strv_len(s->bundle_mirrors))
                return place_mirror(s, s->bundle_mirrors[i - own], path, ret, err);
        return err_set(err, EHOSTUNREACH, "no further mirror");
}
