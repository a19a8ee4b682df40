/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the shortest program that rebuilds a target from a seed (docs/formats/delta.md). Blocking, for the
 * publisher; memory in proportion to a window, not to the images. */
#pragma once

#include <stdatomic.h>

#include "base/err.h"

struct delta_make_options {
        int seed_fd, target_fd; /* whole files */
        int delta_fd;           /* written from its beginning */
        unsigned threads;       /* 0: as many as there are processors */
        int64_t memory_max;     /* 0: 3 GiB */
        void (*progress)(void *arg, const char *stage, int64_t done,
                         int64_t total); /* may be NULL; any thread */
        void *progress_arg;
        const atomic_bool *cancel;
};
/* Where the delta's bytes go, so that the next gain is known. */
#define DELTA_REPORT_MAX 64
struct delta_report {
        struct delta_report_row {
                char kind[48];        /* "elf .text", "module signature", "literal", ... */
                int64_t target_bytes; /* that this kind rebuilds */
                int64_t delta_bytes; /* that it costs, after compression; estimated where kinds share a stream
                                      */
        } rows[DELTA_REPORT_MAX];
        size_t n;
        int64_t length; /* of the delta */
};
/* The result was applied once in memory-bound fashion and compared before 0 is returned. report may be NULL.
 */
int delta_make(const struct delta_make_options *o, struct delta_report *report, struct err **err);
