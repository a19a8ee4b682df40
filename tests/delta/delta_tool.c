/* SPDX-License-Identifier: Apache-2.0 */
/* For development: makes and applies deltas of two files, and says where their bytes go.
 *   delta_tool make OLD NEW DELTA | apply OLD DELTA NEW [JOURNAL] | files IMAGE */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "repo/delta/apply.h"
#include "repo/delta/extents.h"
#include "repo/delta/make.h"

static double now(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int open_or_say(const char *path, int flags) {
        int fd = open(path, flags | O_CLOEXEC, 0644);
        if (fd < 0)
                fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return fd;
}

static void say_cost(double since) {
        struct rusage usage;
        getrusage(RUSAGE_SELF, &usage);
        printf("%.2f s, user %ld.%02ld s, system %ld.%02ld s, peak %ld MB\n", now() - since,
               (long)usage.ru_utime.tv_sec, (long)usage.ru_utime.tv_usec / 10000, (long)usage.ru_stime.tv_sec,
               (long)usage.ru_stime.tv_usec / 10000, usage.ru_maxrss / 1024);
}

static void stage(void *arg, const char *name, int64_t done, int64_t total) {
        static const char *last;
        if (last != name) {
                fprintf(stderr, "%7.2f s  %s\n", now() - *(double *)arg, name);
                last = name;
        }
}

static int make(char **argv) {
        double since = now();
        struct delta_make_options o = {.seed_fd = open_or_say(argv[0], O_RDONLY),
                                       .target_fd = open_or_say(argv[1], O_RDONLY),
                                       .delta_fd = open_or_say(argv[2], O_RDWR | O_CREAT | O_TRUNC),
                                       .progress = stage,
                                       .progress_arg = &since};
        _cleanup_(x_freep) struct delta_report *report = calloc(1, sizeof(*report));
        _cleanup_(err_freep) struct err *err = NULL;
        if (o.seed_fd < 0 || o.target_fd < 0 || o.delta_fd < 0 || !report)
                return 1;
        if (delta_make(&o, report, &err) < 0) {
                fprintf(stderr, "%s\n", err_message(err));
                return 1;
        }
        for (size_t i = 0; i < report->n; i++)
                printf("%-48s %12lld %10lld\n", report->rows[i].kind, (long long)report->rows[i].target_bytes,
                       (long long)report->rows[i].delta_bytes);
        printf("%-48s %12s %10lld\n", "whole", "", (long long)report->length);
        say_cost(since);
        return 0;
}

static int apply(char **argv) {
        double since = now();
        struct delta_header header;
        struct delta_apply_options o = {.seed_fd = open_or_say(argv[0], O_RDONLY),
                                        .delta_fd = open_or_say(argv[1], O_RDONLY),
                                        .target_fd = open_or_say(argv[2], O_RDWR | O_CREAT),
                                        .journal = argv[3]};
        _cleanup_(err_freep) struct err *err = NULL;
        if (o.seed_fd < 0 || o.target_fd < 0 || o.delta_fd < 0)
                return 1;
        int r = delta_read_header(o.delta_fd, &header, &err);
        o.target_length = header.target_length;
        o.target_sha256 = header.target_sha256;
        if (r == 0)
                r = delta_apply(&o, &err);
        if (r < 0) {
                fprintf(stderr, "%s\n", err_message(err));
                return 1;
        }
        say_cost(since);
        return 0;
}

static int files(char **argv) {
        struct delta_extents e = {0};
        struct stat st;
        int fd = open_or_say(argv[0], O_RDONLY);
        if (fd < 0 || fstat(fd, &st) < 0 || st.st_size == 0)
                return 1;
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED || delta_extents_find(p, st.st_size, &e) < 0)
                return 1;
        for (size_t i = 0; i < e.n_files; i++) {
                printf("%s", e.files[i].path);
                for (uint32_t k = 0; k < e.files[i].n_spans; k++)
                        printf(" %lld+%lld", (long long)e.spans[e.files[i].first_span + k].offset,
                               (long long)e.spans[e.files[i].first_span + k].length);
                printf("\n");
        }
        delta_extents_done(&e);
        return 0;
}

int main(int argc, char **argv) {
        if (argc == 5 && strcmp(argv[1], "make") == 0)
                return make(argv + 2);
        if ((argc == 5 || argc == 6) && strcmp(argv[1], "apply") == 0)
                return apply(argv + 2);
        if (argc == 3 && strcmp(argv[1], "files") == 0)
                return files(argv + 2);
        fprintf(stderr,
                "usage: delta_tool make OLD NEW DELTA | apply OLD DELTA NEW [JOURNAL] | files IMAGE\n");
        return 64;
}
