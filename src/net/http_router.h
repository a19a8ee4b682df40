/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the route of a path. The first that fits in table order wins, so "/nodes/all" goes before
 * "/nodes/:name". A parameter takes one segment that is not empty; "*" at the end takes the rest, empty or
 * not. */
#pragma once

#include "net/http_server.h"

#define HTTP_PARAMETERS_MAX 8

struct http_match {
        const struct http_route *route;
        size_t count;
        struct {
                const char *start; /* in the path */
                size_t len;
        } values[HTTP_PARAMETERS_MAX];
};

/* 0; -ENOENT: no such path; -EPERM: the path exists under other methods. HEAD is served by GET. */
int http_router_find(const struct http_route *routes, const char *method, const char *path,
                     struct http_match *ret);
/* "GET, HEAD, POST": the methods of a path, for Allow. */
const char *http_router_methods(const struct http_route *routes, const char *path, char *out, size_t size);
/* Which of the pattern's parameters has this name (without the colon; "*" for the rest); -1: none. */
int http_router_parameter(const char *pattern, const char *name);
