/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/git_remote.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/str.h"
#include "cli/kinds.h"

#define CONFIG_MAX ((size_t)1 << 20) /* bytes of a .git/config */
#define REMOTES_MAX 64
#define SOURCES_NAMED 8 /* in an error */

/* ---- Remotes */

/* The part of a line between blanks. */
static char *trimmed(const char *line, size_t len) {
        while (len > 0 && strchr(" \t\r", line[len - 1]))
                len--;
        while (len > 0 && strchr(" \t", *line)) {
                line++;
                len--;
        }
        return str_dup_n(line, len);
}

/* The value of "url = VALUE", in its quotes or without; NULL for other lines. */
static const char *url_of(char *line) {
        char *value = line + strcspn(line, " \t=");
        if ((size_t)(value - line) != 3 || strncasecmp(line, "url", 3) != 0)
                return NULL;
        value += strspn(value, " \t");
        if (*value != '=')
                return NULL;
        value += 1 + strspn(value + 1, " \t");
        size_t len = strlen(value);
        if (len >= 2 && value[0] == '"' && value[len - 1] == '"') {
                value[len - 1] = '\0';
                value++;
        }
        return *value ? value : NULL;
}

static int parse_config(const char *text, char ***ret) {
        _cleanup_(strv_freep) char **urls = NULL;
        bool in_remote = false;
        while (*text) {
                size_t len = strcspn(text, "\n");
                _cleanup_(x_freep) char *line = trimmed(text, len);
                if (!line)
                        return -ENOMEM;
                if (*line == '[')
                        in_remote = strncasecmp(line, "[remote ", 8) == 0;
                const char *url = in_remote ? url_of(line) : NULL;
                if (url && strv_len(urls) < REMOTES_MAX && strv_push(&urls, url) < 0)
                        return -ENOMEM;
                text += len + (text[len] == '\n');
        }
        *ret = TAKE_PTR(urls);
        return 0;
}

int git_remote_urls(const char *dir, char ***ret, struct err **err) {
        _cleanup_(x_freep) char *path = realpath(dir, NULL), *text = NULL;
        if (!path)
                return err_set_errno(err, errno, "%s", dir);
        for (;;) {
                _cleanup_(x_freep) char *config = path_join(path, ".git/config");
                size_t len = 0;
                if (!config)
                        return err_set_errno(err, ENOMEM, "look for the clone's remotes");
                if (file_read(config, CONFIG_MAX, &text, &len, NULL) == 0)
                        break;
                char *slash = strrchr(path, '/');
                if (!slash || str_eq(path, "/")) {
                        *ret = NULL;
                        return 0;
                }
                slash[slash == path] = '\0';
        }
        return parse_config(text, ret) < 0 ? err_set_errno(err, ENOMEM, "look for the clone's remotes") : 0;
}

/* ---- Comparing */

/* "host/path" of a URL, or "/path" of a local one, without what may differ between two names of one place. */
static char *place_of(const char *url) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        const char *rest = str_after_prefix(url, "file://");
        if (!rest) {
                const char *scheme = strstr(url, "://");
                const char *colon = strchr(url, ':'), *slash = strchr(url, '/');
                bool remote = scheme || (colon && (!slash || colon < slash)); /* user@host:path */
                rest = scheme ? scheme + 3 : url;
                if (remote) {
                        size_t host = strcspn(rest, scheme ? "/" : ":");
                        const char *path = rest + host + (rest[host] != '\0');
                        const char *at = memrchr(rest, '@', host);
                        if (at) {
                                host -= (size_t)(at + 1 - rest);
                                rest = at + 1;
                        }
                        const char *port = memchr(rest, ':', host);
                        for (const char *p = rest; p < (port ? port : rest + host); p++)
                                buf_putc(&out, *p >= 'A' && *p <= 'Z' ? (char)(*p | 0x20) : *p);
                        buf_putc(&out, '/');
                        rest = path + strspn(path, "/");
                }
        }
        size_t len = strlen(rest);
        while (len > 1 && rest[len - 1] == '/')
                len--;
        if (len > 4 && memcmp(rest + len - 4, ".git", 4) == 0)
                len -= 4;
        while (len > 1 && rest[len - 1] == '/') /* a clone that is no bare one: "/srv/fleet/.git" */
                len--;
        buf_append(&out, rest, len);
        return buf_take(&out, NULL);
}

bool git_same_repository(const char *a, const char *b) {
        _cleanup_(x_freep) char *x = place_of(a), *y = place_of(b);
        return x && str_eq(x, y);
}

/* ---- Choosing */

static bool is_remote(char *const *urls, const char *url) {
        for (; urls && *urls; urls++)
                if (git_same_repository(*urls, url))
                        return true;
        return false;
}

static void put_name(struct buf *out, size_t *n, const char *name) {
        if ((*n)++ < SOURCES_NAMED)
                buf_printf(out, "%s%s", *n > 1 ? ", " : "", name);
        else if (*n == SOURCES_NAMED + 1)
                buf_puts(out, ", ...");
}

static int find_wanted(const json_t *items, const char *wanted, const char **ret, struct err **err) {
        _cleanup_(buf_done) struct buf names = BUF_INIT;
        size_t i, n = 0;
        json_t *o;
        json_array_foreach ((json_t *)items, i, o) {
                if (str_eq(object_name(o), wanted)) {
                        *ret = object_name(o);
                        return 0;
                }
                put_name(&names, &n, object_name(o));
        }
        if (n == 0)
                return err_set(err, ENOENT, "there is no source '%s': the server follows no repository yet",
                               wanted);
        return err_set(err, ENOENT, "there is no source '%s'; there %s %s", wanted, n == 1 ? "is" : "are",
                       buf_str(&names));
}

int git_choose_source(const json_t *sources, const char *wanted, const char *dir, const char **ret,
                      struct err **err) {
        const json_t *items = field(sources, "items");
        _cleanup_(strv_freep) char **urls = NULL;
        _cleanup_(buf_done) struct buf all = BUF_INIT, same = BUF_INIT;
        size_t i, n_all = 0, n_same = 0;
        const char *found = NULL;
        json_t *o;
        if (wanted)
                return find_wanted(items, wanted, ret, err);
        if (json_array_size(items) <= 1) {
                *ret = json_array_size(items) ? object_name(json_array_get(items, 0)) : NULL;
                return 0;
        }
        int r = git_remote_urls(dir, &urls, err);
        if (r < 0)
                return r;
        json_array_foreach ((json_t *)items, i, o) {
                put_name(&all, &n_all, object_name(o));
                if (!is_remote(urls, field_text(o, "spec.url")))
                        continue;
                found = object_name(o);
                put_name(&same, &n_same, found);
        }
        if (n_same == 1) {
                *ret = found;
                return 0;
        }
        if (n_same > 1)
                return err_set(
                        err, EINVAL,
                        "%s is a clone of what several sources follow (%s): say which one with --source", dir,
                        buf_str(&same));
        return err_set(err, EINVAL,
                       "%s is no clone of a repository that the server follows (%s): say which source it "
                       "stands for with --source",
                       dir, buf_str(&all));
}
