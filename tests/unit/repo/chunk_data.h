/* SPDX-License-Identifier: Apache-2.0 */
/* Content for the tests of chunks: what programs and texts are like, from a seed; two versions of it. */
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "repo/chunk/index.h"

/* Words from a small language: packs, and repeats itself in small, not in large. */
static inline void fill_words(uint8_t *p, size_t n, struct prng *r) {
        static const char *const syllables[] = {"sker",         "ry ", "a",      "ti", "on\n", "lo",
                                                "\x48\x89\xe5", "mi",  "\0\0\1", "ne", "u ",   "fle",
                                                "et",           "{",   "}",      "0x"};
        for (size_t at = 0; at < n;) {
                uint64_t v = prng_next(r);
                for (unsigned i = 0; i < 8 && at < n; i++, v >>= 4) {
                        const char *s = syllables[v & 15];
                        size_t k = MIN(MAX(strlen(s), (size_t)1), n - at);
                        memcpy(p + at, s, k);
                        at += k;
                }
        }
}

/* Words, noise, 200 kB of zeros, and a part that comes twice. n at least 1 MiB. */
static inline uint8_t *make_content(size_t n, uint64_t seed) {
        uint8_t *p = malloc(n);
        struct prng r;
        if (!p)
                abort();
        prng_seed(&r, seed);
        fill_words(p, n, &r);
        for (size_t i = n / 4; i < n / 4 + 50000; i++)
                p[i] = (uint8_t)prng_next(&r);
        memset(p + n / 2, 0, 200000);
        memcpy(p + n - 150000, p + 10000, 100000);
        return p;
}

/* A later version: places changed, bytes put in and taken out. The length stays. */
static inline uint8_t *make_changed(const uint8_t *old, size_t n, unsigned changes, uint64_t seed) {
        uint8_t *p = malloc(n);
        struct prng r;
        if (!p)
                abort();
        prng_seed(&r, seed);
        memcpy(p, old, n);
        for (unsigned i = 0; i < changes; i++) {
                size_t at = prng_below(&r, n - 4000), by = 1 + prng_below(&r, 2000);
                switch (prng_below(&r, 3)) {
                case 0: fill_words(p + at, by, &r); break;
                case 1: memmove(p + at + by, p + at, n - at - by); break;
                default: memmove(p + at, p + at + by, n - at - by);
                }
        }
        return p;
}

/* A file without a name. */
static inline int file_of(const void *p, size_t n) {
        char path[] = "/tmp/skerry-test-chunks-XXXXXX";
        int fd = mkstemp(path);
        if (fd < 0 || unlink(path) < 0)
                abort();
        for (size_t at = 0; at < n;) {
                ssize_t r = write(fd, (const uint8_t *)p + at, n - at);
                if (r <= 0)
                        abort();
                at += (size_t)r;
        }
        return fd;
}

static inline uint8_t *bytes_of(int fd, size_t *ret_n) {
        off_t n = lseek(fd, 0, SEEK_END);
        uint8_t *p = malloc((size_t)n + 1);
        if (!p || pread(fd, p, (size_t)n, 0) != n)
                abort();
        *ret_n = (size_t)n;
        return p;
}

/* The index and the pack of some bytes, as bytes. */
struct made {
        uint8_t *index, *pack;
        size_t index_length, pack_length;
        struct chunk_index *parsed;
};

static inline void made_done(struct made *m) {
        free(m->index);
        free(m->pack);
        chunk_index_free(m->parsed);
}

static inline void make_chunks(const void *p, size_t n, unsigned threads, struct made *ret) {
        int target = file_of(p, n), index = file_of("", 0), pack = file_of("", 0);
        struct err *err = NULL;
        int r = chunk_index_make(target, index, pack, threads, NULL, NULL, &err);
        if (r == 0) {
                ret->index = bytes_of(index, &ret->index_length);
                ret->pack = bytes_of(pack, &ret->pack_length);
                r = chunk_index_parse(ret->index, ret->index_length, &ret->parsed, &err);
        }
        if (r < 0) {
                fprintf(stderr, "%s\n", err_message(err));
                abort();
        }
        close(target);
        close(index);
        close(pack);
}
