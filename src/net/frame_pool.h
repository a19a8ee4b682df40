/* SPDX-License-Identifier: Apache-2.0 */
/* Frame buffers of HTTP/2 sessions. nghttp2 keeps one of 16 KB for each session, although it holds something
 * only while a frame is being sent. These lie on pages of their own, which go back to the kernel while
 * the connection is quiet: an idle connection pays for its address space alone. */
#pragma once

#include "base/macros.h"

#define FRAME_BUFFER_BYTES (5 * 4096) /* 16 KB of payload, a header and the padding byte, in whole pages */

struct frame_pool;

struct frame_pool *frame_pool_new(void) _must_use_;       /* NULL: no memory */
struct frame_pool *frame_pool_free(struct frame_pool *p); /* all buffers were put back */

/* Whether a request for so many bytes is one for a frame buffer. */
bool frame_pool_serves(size_t size) _const_;
void *frame_pool_take(struct frame_pool *p); /* NULL: no memory */
void frame_pool_put(struct frame_pool *p, void *buffer);
/* Gives the pages of a buffer that is in use back to the kernel; its contents are zeros then. */
void frame_pool_release(void *buffer);
