/* SPDX-License-Identifier: Apache-2.0 */
/* The TUF client as a program, for tests that play the repository: the command line that the project
 * "tuf-conformance" asks of a client.
 *
 *   tuf_client --metadata-dir DIR init ROOT
 *   tuf_client --metadata-dir DIR --metadata-url URL refresh
 *   tuf_client ... --target-name PATH... --target-base-url URL --target-dir DIR download
 *
 * Exit code 0: all of it succeeded; 1: not. */
#include <curl/curl.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/fs.h"
#include "base/str.h"
#include "crypto/digest.h"
#include "repo/tuf/client.h"

#define TARGET_MAX ((size_t)64 << 20)

struct settings {
        const char *metadata_dir, *metadata_url, *target_dir, *target_url;
        char **targets;
};

static size_t take(char *p, size_t size, size_t n, void *arg) {
        return buf_append(arg, p, size * n) < 0 ? 0 : size * n;
}

/* HTTP status, or -Exxx. */
static int get(const char *url, size_t limit, struct buf *ret) {
        CURL *curl = curl_easy_init();
        long status = 0;
        ret->limit = limit;
        if (!curl)
                return -ENOMEM;
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L); /* names like "..%2Frole" are names */
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, ret);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT, 30L);
        curl_easy_setopt(curl, CURLOPT_USERAGENT, "skerry-tuf-client");
        CURLcode code = curl_easy_perform(curl);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_cleanup(curl);
        if (status != 0 && status != 200)
                return (int)status;
        if (code != CURLE_OK)
                return buf_failed(ret) ? -EFBIG : -EIO;
        return 200;
}

static char *join_url(const char *base, const char *path) {
        return str_format("%s%s%s", base, str_has_suffix(base, "/") ? "" : "/", path);
}

/* Brings what the client needs until it has ended. */
static int run(struct tuf_client *c, const struct settings *s, struct err **err) {
        const struct tuf_need *need;
        while ((need = tuf_client_need(c))) {
                const char *name = str_after_prefix(need->path, "metadata/");
                _cleanup_(x_freep) char *url = join_url(s->metadata_url, name ? name : need->path);
                _cleanup_(buf_done) struct buf data = BUF_INIT;
                int status = url ? get(url, need->max_bytes, &data) : -ENOMEM;
                if (status == 200)
                        tuf_client_give(c, buf_str(&data), data.len);
                else if (status == 404 || status == 403)
                        tuf_client_missing(c);
                else
                        tuf_client_abandon(c, status < 0 ? status : -EIO,
                                           status < 0 ? "cannot be had" : "unexpected HTTP status");
        }
        return tuf_client_result(c, err);
}

static bool fits(const struct tuf_target *t, const void *p, size_t n) {
        char sha256[SHA256_HEX_SIZE], sha512[SHA512_HEX_SIZE];
        if ((int64_t)n != t->length || (!t->sha256[0] && !t->sha512))
                return false;
        sha256_hex(p, n, sha256);
        sha512_hex(p, n, sha512);
        return (!t->sha256[0] || str_eq(t->sha256, sha256)) && (!t->sha512 || str_eq(t->sha512, sha512));
}

/* A path with its slashes, all else quoted. */
static char *quote_path(const char *path) {
        _cleanup_(strv_freep) char **parts = strv_split(path, "/");
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        for (char **part = parts; part && *part; part++) {
                _cleanup_(x_freep) char *quoted = tuf_role_quote(*part);
                buf_printf(&out, "%s%s", part == parts ? "" : "/", quoted ? quoted : "");
        }
        return buf_take(&out, NULL);
}

static int download(struct tuf_client *c, const struct settings *s, const char *path, struct err **err) {
        tuf_client_find(c, path);
        int r = run(c, s, err);
        if (r < 0)
                return r;
        const struct tuf_target *t = tuf_client_found(c);
        _cleanup_(x_freep) char *place = tuf_client_target_file(c, t), *name = tuf_role_quote(path);
        if (!place)
                return err_set(err, EBADMSG, "target %s has no digest of a kind we know", path);
        _cleanup_(x_freep) char *file = name ? path_join(s->target_dir, name) : NULL;
        _cleanup_(x_freep) char *quoted = quote_path(place + strlen("targets/"));
        _cleanup_(x_freep) char *url = quoted ? join_url(s->target_url, quoted) : NULL;
        _cleanup_(x_freep) char *kept = NULL;
        size_t kept_len = 0;
        if (!file || !url)
                return err_set_errno(err, ENOMEM, "download %s", path);
        if (file_read(file, TARGET_MAX, &kept, &kept_len, NULL) >= 0 && fits(t, kept, kept_len))
                return 0;
        _cleanup_(buf_done) struct buf data = BUF_INIT;
        int status = get(url, (size_t)MIN(t->length, (int64_t)TARGET_MAX) + 1, &data);
        if (status != 200)
                return err_set(err, EIO, "get %s: status %d", url, status);
        if (!fits(t, buf_str(&data), data.len))
                return err_set(err, EBADMSG, "%s is not what the metadata says", url);
        return file_write_atomic(file, buf_str(&data), data.len, 0644, err);
}

static int start(const struct settings *s, struct err **err) {
        struct tuf_folder *folder = NULL;
        struct tuf_client *c = NULL;
        int r = tuf_folder_open(s->metadata_dir, &folder, err);
        if (r < 0)
                return r;
        struct tuf_store store = tuf_folder_store(folder);
        r = tuf_client_new(&store, NULL, 0, &c, err);
        if (r >= 0) {
                tuf_client_refresh(c, time(NULL));
                r = run(c, s, err);
        }
        for (char **t = s->targets; r >= 0 && t && *t; t++)
                r = download(c, s, *t, err);
        tuf_client_free(c);
        tuf_folder_free(folder);
        return r;
}

static int init(const struct settings *s, const char *root, struct err **err) {
        _cleanup_(x_freep) char *data = NULL, *path = path_join(s->metadata_dir, "root.json");
        size_t len = 0;
        int r = path ? file_read(root, TUF_ROOT_MAX, &data, &len, err) : -ENOMEM;
        return r < 0 ? r : file_write_atomic(path, data, len, 0644, err);
}

int main(int argc, char **argv) {
        static const struct option options[] = {
                {"metadata-dir", required_argument, NULL, 'm'},
                {"metadata-url", required_argument, NULL, 'u'},
                {"target-name", required_argument, NULL, 'n'},
                {"target-dir", required_argument, NULL, 'd'},
                {"target-base-url", required_argument, NULL, 'b'},
                {NULL, 0, NULL, 0},
        };
        struct settings s = {0};
        _cleanup_(err_freep) struct err *err = NULL;
        int option, r = 0;
        while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (option) {
                case 'm': s.metadata_dir = optarg; break;
                case 'u': s.metadata_url = optarg; break;
                case 'n': r = strv_push(&s.targets, optarg); break;
                case 'd': s.target_dir = optarg; break;
                case 'b': s.target_url = optarg; break;
                default: return 1;
                }
        const char *command = optind < argc ? argv[optind] : "";
        bool is_init = str_eq(command, "init") && optind + 1 < argc;
        bool is_refresh = str_eq(command, "refresh") && s.metadata_url && !s.targets;
        bool is_download =
                str_eq(command, "download") && s.metadata_url && s.target_url && s.target_dir && s.targets;
        if (r < 0 || !s.metadata_dir || (!is_init && !is_refresh && !is_download)) {
                fputs("tuf_client: the comment on top of tests/tuf_client/main.c says how\n", stderr);
                strv_free(s.targets);
                return 1;
        }
        curl_global_init(CURL_GLOBAL_DEFAULT);
        r = is_init ? init(&s, argv[optind + 1], &err) : start(&s, &err);
        curl_global_cleanup();
        strv_free(s.targets);
        if (r < 0)
                fprintf(stderr, "tuf_client: %s (%s)\n", err_message(err), strerror(-r));
        return r < 0 ? 1 : 0;
}
