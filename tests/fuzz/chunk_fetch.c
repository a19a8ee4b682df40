/* SPDX-License-Identifier: Apache-2.0 */
/* A pack and an index of somebody's making, a seed, and answers in odd pieces. The input is a list of chunks,
 * told by five bytes each (kind and flags, length, packed), and after a 0xff the bytes of pack and seed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fs.h"
#include "crypto/digest.h"
#include "repo/chunk/fetch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHUNKS_MAX 64

static void check(bool holds) {
        if (!holds)
                abort();
}

static char *folder;

static void remove_folder(void) {
        path_remove(folder, NULL);
        free(folder);
}

static const char *journal_path(void) {
        static char path[64];
        if (!folder) {
                char template[] = "/tmp/skerry-fuzz-chunks-XXXXXX";
                check(mkdtemp(template) != NULL);
                folder = strdup(template);
                atexit(remove_folder);
                snprintf(path, sizeof(path), "%s/journal", folder);
        }
        return path;
}

/* Honest digests for some, so that the fuzzer gets further than the first frame. */
static void read_chunks(const uint8_t **p, size_t *left, struct chunk_index *i, bool honest[CHUNKS_MAX]) {
        while (*left >= 5 && **p != 0xff && i->n_chunks < CHUNKS_MAX) {
                const uint8_t *in = *p;
                struct chunk *c = &i->chunks[i->n_chunks];
                size_t last = i->n_chunks;
                c->kind = (unsigned)(in[0] % 3) & 3u;
                c->length = (uint32_t)in[1] | (uint32_t)in[2] << 8 | (uint32_t)(in[0] & 0x40) << 10;
                honest[i->n_chunks] = in[0] & 0x80;
                c->packed = (uint32_t)in[3] | (uint32_t)in[4] << 8;
                if (in[0] & 0x20)
                        c->packed = c->length & 0xffffff;
                memset(c->digest, in[0], sizeof(c->digest));
                if (c->kind == CHUNK_FRAME) {
                        c->offset = i->pack_length;
                        i->pack_length += c->packed;
                } else if (c->kind == CHUNK_REPEAT) {
                        while (last > 0 && i->chunks[last - 1].kind != CHUNK_FRAME)
                                last--;
                        if (last == 0)
                                c->kind = CHUNK_ZERO;
                        else
                                *c = i->chunks[last - 1];
                        c->kind = last == 0 ? CHUNK_ZERO : CHUNK_REPEAT;
                }
                i->target_length += c->length;
                i->n_chunks++;
                *p += 5;
                *left -= 5;
        }
}

static int memory_file(const void *p, size_t n) {
        int fd = memfd_create("fuzz", MFD_CLOEXEC);
        check(fd >= 0 && write(fd, p, n) == (ssize_t)n);
        return fd;
}

/* The pack goes on with its own beginning when the input has too little of it. */
static void pack_bytes(const uint8_t *p, size_t n, int64_t offset, uint8_t *out, size_t length) {
        for (size_t k = 0; k < length; k++)
                out[k] = n > 0 ? p[((size_t)offset + k) % n] : 0;
}

static void fetch(struct chunk_fetch *f, const uint8_t *p, size_t n) {
        _cleanup_(x_freep) uint8_t *answer = malloc(1u << 20);
        int64_t offset, length;
        check(answer != NULL);
        for (unsigned round = 0; round < 2 * CHUNKS_MAX; round++) {
                unsigned asked = 0;
                size_t got = 0;
                int64_t before = chunk_fetch_missing(f);
                while (asked < 3 && chunk_fetch_ahead(f, (int64_t)round * 100, &offset, &length)) {
                        check(offset >= 0 && length > 0);
                        if (got + (size_t)length > 1u << 20)
                                break;
                        pack_bytes(p, n, offset, answer + got, (size_t)length);
                        got += (size_t)length;
                        asked++;
                }
                if (asked == 0)
                        break;
                for (size_t at = 0, k; at < got; at += k) {
                        k = MIN(got - at, (size_t)1 + round * 37);
                        if (chunk_fetch_feed(f, answer + at, k, NULL) < 0)
                                return;
                }
                check(chunk_fetch_missing(f) < before);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct chunk chunks[CHUNKS_MAX] = {0};
        bool honest[CHUNKS_MAX] = {false};
        struct chunk_index i = {.average_log = 11, .window_log = 10, .segment_log = 12, .chunks = chunks};
        read_chunks(&data, &size, &i, honest);
        memset(i.target_sha256, 'a', 64);
        _cleanup_(x_freep) uint8_t *plain = malloc(CHUNK_MAX);
        check(plain != NULL);
        for (size_t k = 0; k < i.n_chunks; k++)
                if (honest[k] && chunks[k].kind == CHUNK_FRAME && chunks[k].length <= CHUNK_MAX) {
                        uint8_t digest[SHA256_SIZE];
                        pack_bytes(data, size, chunks[k].offset, plain, chunks[k].length);
                        sha256_of(plain, chunks[k].length, digest);
                        memcpy(chunks[k].digest, digest, sizeof(chunks[k].digest));
                }
        _cleanup_(x_freep) void *bytes = NULL;
        size_t length;
        _cleanup_(chunk_index_freep) struct chunk_index *index = NULL;
        if (chunk_index_encode(&i, &bytes, &length) < 0 || chunk_index_parse(bytes, length, &index, NULL) < 0)
                return 0;
        _cleanup_(x_closep) int seed = memory_file(data, size), target = memory_file("", 0);
        for (unsigned times = 0; times < 2; times++) { /* and again with what is there now */
                _cleanup_(chunk_fetch_freep) struct chunk_fetch *f = NULL;
                check(chunk_fetch_open(index, &seed, 1, target, journal_path(), &f, NULL) == 0);
                fetch(f, data, size);
                int r = chunk_fetch_finish(f, NULL);
                check(r == -EAGAIN || r == -EBADMSG);
        }
        return 0;
}
