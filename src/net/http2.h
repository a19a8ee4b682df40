/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 (RFC 9113) by nghttp2: see http_connection.h. */
#pragma once

#include "net/http_server.h"

/* What all HTTP/2 connections of a server have in common: nghttp2's callbacks, options, first SETTINGS. */
struct http2_shared;
struct http2_shared *http2_shared_new(const struct http_limits *limits);
struct http2_shared *http2_shared_free(struct http2_shared *s);
