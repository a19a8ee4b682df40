/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_router.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

static bool pattern_matches(const char *pattern, const char *path, struct http_match *m) {
        m->count = 0;
        while (*pattern) {
                if (*pattern == '*' && pattern[1] == '\0') {
                        if (m->count == HTTP_PARAMETERS_MAX)
                                return false;
                        m->values[m->count].start = path;
                        m->values[m->count++].len = strlen(path);
                        return true;
                }
                if (*pattern == ':') {
                        size_t len = strcspn(path, "/");
                        if (len == 0 || m->count == HTTP_PARAMETERS_MAX)
                                return false;
                        m->values[m->count].start = path;
                        m->values[m->count++].len = len;
                        path += len;
                        pattern += strcspn(pattern, "/");
                        continue;
                }
                if (*pattern++ != *path++)
                        return false;
        }
        return *path == '\0';
}

static const char *served_as(const char *method) {
        return str_eq(method, "HEAD") ? "GET" : method;
}

int http_router_find(const struct http_route *routes, const char *method, const char *path,
                     struct http_match *ret) {
        bool known = false;
        for (const struct http_route *r = routes; r && r->method; r++) {
                struct http_match m = {.route = r};
                if (!pattern_matches(r->pattern, path, &m))
                        continue;
                known = true;
                if (str_eq(r->method, method) || str_eq(r->method, served_as(method))) {
                        *ret = m;
                        return 0;
                }
        }
        return known ? -EPERM : -ENOENT;
}

const char *http_router_methods(const struct http_route *routes, const char *path, char *out, size_t size) {
        size_t len = 0;
        out[0] = '\0';
        for (const struct http_route *r = routes; r && r->method; r++) {
                struct http_match m;
                if (!pattern_matches(r->pattern, path, &m))
                        continue;
                const char *name = str_eq(r->method, "GET") ? "GET, HEAD" : r->method;
                if (strstr(out, name))
                        continue;
                int n = snprintf(out + len, size - len, "%s%s", len ? ", " : "", name);
                if (n < 0 || (size_t)n >= size - len) {
                        out[len] = '\0';
                        break;
                }
                len += (size_t)n;
        }
        return out;
}

int http_router_parameter(const char *pattern, const char *name) {
        int index = 0;
        for (const char *p = pattern; *p; p++) {
                if (*p != ':' && !(*p == '*' && p[1] == '\0'))
                        continue;
                const char *start = *p == ':' ? p + 1 : p;
                size_t len = strcspn(start, "/");
                if (strncmp(start, name, len) == 0 && name[len] == '\0')
                        return index;
                index++;
                p = start + len - 1;
        }
        return -1;
}
