/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "crypto/digest.h"
#include "repo/chunk/cut.h"
#include "repo/chunk/index.h"

#define READ_SIZE (4u << 20)
#define NORMALISATION 2 /* bits by which the masks are stricter and more lenient than the average asks */

/* The first eight bytes, big endian, of SHA-256("skerry chunk gear N"): fixed by their derivation. */
static void gear_init(uint64_t gear[256]) {
        for (unsigned i = 0; i < 256; i++) {
                char label[32];
                uint8_t digest[SHA256_SIZE];
                int n = snprintf(label, sizeof(label), "skerry chunk gear %u", i);
                sha256_of(label, (size_t)n, digest);
                gear[i] = 0;
                for (unsigned j = 0; j < 8; j++)
                        gear[i] = gear[i] << 8 | digest[j];
        }
}

void chunk_cutter_init(struct chunk_cutter *c, unsigned average_log) {
        c->average = (size_t)1 << average_log;
        c->least = c->average / 4;
        c->most = MIN(c->average * 8, (size_t)CHUNK_MAX);
        /* The topmost bits: they depend on the most bytes. */
        c->mask_before = UINT64_MAX << (64 - (average_log + NORMALISATION));
        c->mask_after = UINT64_MAX << (64 - (average_log - NORMALISATION));
        gear_init(c->gear);
}

size_t zero_prefix(const uint8_t *p, size_t n) {
        size_t i = 0;
        uint64_t word;
        for (; i + 64 <= n; i += 64) {
                uint64_t any = 0;
                for (size_t j = 0; j < 64; j += 8) {
                        memcpy(&word, p + i + j, 8);
                        any |= word;
                }
                if (any)
                        break;
        }
        while (i < n && p[i] == 0)
                i++;
        return i;
}

size_t chunk_cut(const struct chunk_cutter *c, const uint8_t *p, size_t n, bool *ret_zero) {
        *ret_zero = false;
        if (n > 0 && p[0] == 0) {
                size_t zeros = zero_prefix(p, n);
                if (zeros >= c->least || zeros == n) {
                        *ret_zero = true;
                        return zeros;
                }
        }
        if (n <= c->least)
                return n;
        n = MIN(n, c->most);
        const size_t average = MIN(c->average, n);
        const uint64_t before = c->mask_before, after = c->mask_after;
        uint64_t hash = 0;
        size_t i = c->least;
        for (; i < average; i++) {
                hash = (hash << 1) + c->gear[p[i]];
                if (!(hash & before))
                        return i + 1;
        }
        for (; i < n; i++) {
                hash = (hash << 1) + c->gear[p[i]];
                if (!(hash & after))
                        return i + 1;
        }
        return n;
}

int chunk_cut_file(const struct chunk_cutter *c, int fd, int (*fn)(void *arg, const struct cut_chunk *chunk),
                   void *arg) {
        _cleanup_(x_freep) uint8_t *buffer = malloc(READ_SIZE);
        if (!buffer)
                return -ENOMEM;
        size_t have = 0, used = 0;
        int64_t base = 0; /* of buffer[0] in the file */
        bool ended = false, in_zeros = false;
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
        while (!ended || used < have) {
                if (!ended && have - used < c->most) {
                        memmove(buffer, buffer + used, have - used);
                        base += (int64_t)used;
                        have -= used;
                        used = 0;
                        while (have < READ_SIZE && !ended) {
                                ssize_t r = pread(fd, buffer + have, READ_SIZE - have, base + (int64_t)have);
                                if (r < 0 && errno == EINTR)
                                        continue;
                                if (r < 0)
                                        return -errno;
                                ended = r == 0;
                                have += (size_t)r;
                        }
                        continue;
                }
                struct cut_chunk chunk = {.data = buffer + used, .offset = base + (int64_t)used};
                size_t zeros = in_zeros ? zero_prefix(chunk.data, have - used) : 0;
                chunk.zero = zeros > 0;
                chunk.length =
                        (uint32_t)(chunk.zero ? zeros : chunk_cut(c, chunk.data, have - used, &chunk.zero));
                /* Where a run of zeros ends is not for the buffer to decide. */
                in_zeros = chunk.zero && used + chunk.length == have;
                if (!chunk.zero) {
                        uint8_t digest[SHA256_SIZE];
                        sha256_of(chunk.data, chunk.length, digest);
                        memcpy(chunk.digest, digest, sizeof(chunk.digest));
                }
                used += chunk.length;
                int r = fn(arg, &chunk);
                if (r != 0)
                        return r;
        }
        return 0;
}
