/* SPDX-License-Identifier: Apache-2.0 */
/* A delta from anybody: applied to a small seed, nothing but an error or the target it names comes of it. The
 * head is made to fit, so that what follows it is reached. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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

/* Input: 2 bytes each: length of target, raw bytes, tables; then program, tables and raw bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size < 6)
                return 0;
        size_t body = size - 6, raw = MIN((size_t)(data[2] | data[3] << 8), body),
               tables = MIN((size_t)(data[4] | data[5] << 8), body - raw);
        struct delta_head head = {.seed_length = SEED_LENGTH,
                                  .target_length = data[0] | data[1] << 8,
                                  .program_length = (int64_t)(body - raw - tables),
                                  .tables_length = (int64_t)tables,
                                  .raw_length = (int64_t)raw};
        uint8_t bytes[DELTA_HEAD_SIZE];
        char hex[SHA256_HEX_SIZE];
        delta_head_encode(&head, bytes);
        _cleanup_(x_closep) int delta = memory_file(bytes, sizeof(bytes));
        _cleanup_(x_closep) int seed = make_seed();
        if (delta < 0 || seed < 0 || (body > 0 && write(delta, data + 6, body) != (ssize_t)body))
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
