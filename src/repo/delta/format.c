/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/format.h"

#include <errno.h>
#include <string.h>

/* magic 8, version 4, zero 4, seed length 8, target length 8, seed SHA-256 32, target SHA-256 32, lengths of
 * columns 8 each, zeros, SHA-256 of all that 32. Numbers are little endian. */
#define AT_VERSION 8
#define AT_SEED_LENGTH 16
#define AT_TARGET_LENGTH 24
#define AT_SEED_SHA256 32
#define AT_TARGET_SHA256 64
#define AT_COLUMNS 96
#define AT_CHECK 224

static void put64(uint8_t *p, uint64_t v) {
        for (int i = 0; i < 8; i++)
                p[i] = (uint8_t)(v >> 8 * i);
}
static uint64_t get64(const uint8_t *p) {
        uint64_t v = 0;
        for (int i = 7; i >= 0; i--)
                v = v << 8 | p[i];
        return v;
}

void delta_head_encode(const struct delta_head *h, uint8_t out[DELTA_HEAD_SIZE]) {
        memset(out, 0, DELTA_HEAD_SIZE);
        memcpy(out, DELTA_MAGIC, 8);
        out[AT_VERSION] = DELTA_VERSION;
        put64(out + AT_SEED_LENGTH, (uint64_t)h->seed_length);
        put64(out + AT_TARGET_LENGTH, (uint64_t)h->target_length);
        memcpy(out + AT_SEED_SHA256, h->seed_sha256, SHA256_SIZE);
        memcpy(out + AT_TARGET_SHA256, h->target_sha256, SHA256_SIZE);
        for (unsigned i = 0; i < DELTA_COLUMNS; i++)
                put64(out + AT_COLUMNS + 8 * i, (uint64_t)h->lengths[i]);
        sha256_of(out, AT_CHECK, out + AT_CHECK);
}

static int length_at(const uint8_t *p, int64_t max, int64_t *ret) {
        uint64_t v = get64(p);
        if (v > (uint64_t)max)
                return -EBADMSG;
        *ret = (int64_t)v;
        return 0;
}

int delta_head_decode(const uint8_t in[DELTA_HEAD_SIZE], int64_t file_length, struct delta_head *ret,
                      struct err **err) {
        uint8_t check[SHA256_SIZE];
        struct delta_head h = {0};
        if (memcmp(in, DELTA_MAGIC, 8) != 0)
                return err_set(err, EBADMSG, "this is no delta file");
        if (in[AT_VERSION] != DELTA_VERSION || in[AT_VERSION + 1] || in[AT_VERSION + 2] || in[AT_VERSION + 3])
                return err_set(err, EBADMSG, "the delta has format version %u; this program knows %u",
                               in[AT_VERSION], DELTA_VERSION);
        sha256_of(in, AT_CHECK, check);
        if (memcmp(check, in + AT_CHECK, SHA256_SIZE) != 0 ||
            length_at(in + AT_SEED_LENGTH, DELTA_LENGTH_MAX, &h.seed_length) < 0 ||
            length_at(in + AT_TARGET_LENGTH, DELTA_LENGTH_MAX, &h.target_length) < 0)
                return err_set(err, EBADMSG, "the delta's head is damaged");
        int64_t whole = DELTA_HEAD_SIZE;
        for (unsigned i = 0; i < DELTA_COLUMNS; i++) {
                if (length_at(in + AT_COLUMNS + 8 * i, DELTA_LENGTH_MAX, &h.lengths[i]) < 0)
                        return err_set(err, EBADMSG, "the delta's head is damaged");
                whole += h.lengths[i];
        }
        if (whole != file_length)
                return err_set(err, EBADMSG, "the delta has %lld bytes where its head says %lld",
                               (long long)file_length, (long long)whole);
        memcpy(h.seed_sha256, in + AT_SEED_SHA256, SHA256_SIZE);
        memcpy(h.target_sha256, in + AT_TARGET_SHA256, SHA256_SIZE);
        *ret = h;
        return 0;
}

int delta_read_at(int fd, void *p, size_t n, int64_t offset) {
        while (n > 0) {
                ssize_t k = pread(fd, p, n, (off_t)offset);
                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        return -ENODATA;
                p = (char *)p + k;
                n -= (size_t)k;
                offset += k;
        }
        return 0;
}

int delta_write_at(int fd, const void *p, size_t n, int64_t offset) {
        while (n > 0) {
                ssize_t k = pwrite(fd, p, n, (off_t)offset);
                if (k < 0 && errno == EINTR)
                        continue;
                if (k <= 0)
                        return k < 0 ? -errno : -EIO;
                p = (const char *)p + k;
                n -= (size_t)k;
                offset += k;
        }
        return 0;
}
