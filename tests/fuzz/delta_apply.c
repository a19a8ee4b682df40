/* SPDX-License-Identifier: Apache-2.0 */
/* A delta from anybody: applied to a small seed, nothing but an error or the target it names comes of it. The
 * head is made to fit, so that what follows it is reached. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "base/encode.h"
#include "repo/delta/apply.h"
#include "repo/delta/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEED_LENGTH 6000

static int memory_file(const void *p, size_t n) {
        int fd = memfd_create("fuzz", MFD_CLOEXEC);
        if (fd >= 0 && n > 0 && write(fd, p, n) != (ssize_t)n)
                abort();
        return fd;
}

static int make_seed(void) {
        uint8_t bytes[SEED_LENGTH];
        uint32_t x = 1;
        for (size_t i = 0; i < sizeof(bytes); i++) {
                x = x * 1664525 + 1013904223;
                bytes[i] = i % 700 < 300 ? (uint8_t)(x >> 24) : (uint8_t)(i / 7);
        }
        return memory_file(bytes, sizeof(bytes));
}

/* A column as it stands in a delta: wrapped up as zstd would, so that what a fuzzer changes is what it says.
 */
static int append_column(int fd, bool wrap, const uint8_t *p, size_t n, int64_t *ret_length) {
        uint8_t packed[ZSTD_COMPRESSBOUND(65535)];
        if (wrap && n > 0) {
                n = ZSTD_compress(packed, sizeof(packed), p, n, 1);
                if (ZSTD_isError(n))
                        abort();
                p = packed;
        }
        *ret_length = (int64_t)n;
        return n == 0 || write(fd, p, n) == (ssize_t)n ? 0 : -EIO;
}

#define INPUT_HEAD (3 + 2 * DELTA_COLUMNS)

/* Input: 1: columns are plain, else compressed already; 2 bytes each: length of target, lengths of columns;
 * then these. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size < INPUT_HEAD)
                return 0;
        struct delta_head head = {.seed_length = SEED_LENGTH, .target_length = data[1] | data[2] << 8};
        uint8_t bytes[DELTA_HEAD_SIZE];
        char hex[SHA256_HEX_SIZE];
        _cleanup_(x_closep) int delta = memory_file(NULL, 0);
        _cleanup_(x_closep) int seed = make_seed();
        if (delta < 0 || seed < 0 || lseek(delta, DELTA_HEAD_SIZE, SEEK_SET) < 0)
                return 0;
        const uint8_t *at = data + INPUT_HEAD, *end = data + size;
        for (unsigned i = 0; i < DELTA_COLUMNS; i++) {
                size_t n = MIN((size_t)(data[3 + 2 * i] | data[4 + 2 * i] << 8), (size_t)(end - at));
                if (append_column(delta, data[0] & 1 && i != DELTA_RAW, at, n, &head.lengths[i]) < 0)
                        return 0;
                at += n;
        }
        delta_head_encode(&head, bytes);
        if (pwrite(delta, bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
                return 0;
        hex_encode(head.target_sha256, SHA256_SIZE, hex);
        const struct delta_apply_options o = {.delta_fd = delta,
                                              .seed_fd = seed,
                                              .target_fd = -1,
                                              .target_length = head.target_length,
                                              .target_sha256 = hex};
        if (delta_apply(&o, NULL) == 0)
                abort(); /* nobody has bytes whose SHA-256 is zero */
        return 0;
}
