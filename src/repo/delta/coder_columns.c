/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/coder_columns.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#define LEVEL 22
#define IN_SIZE 16384u
#define OUT_SIZE 32768u

/* A node holds all windows at once. */
static const uint8_t window_bits[DELTA_COLUMNS] = {
        [DELTA_OPERATIONS] = 18, [DELTA_LENGTHS] = 18,     [DELTA_JUMPS] = 18,         [DELTA_FILES] = 18,
        [DELTA_PIECE_GAPS] = 19, [DELTA_PIECE_JUMPS] = 19, [DELTA_PIECE_LENGTHS] = 19, [DELTA_SIDE] = 19,
        [DELTA_GAPS] = 19,       [DELTA_RUNS] = 18,        [DELTA_DIFFERENCES] = 19,   [DELTA_NEW] = 21,
        [DELTA_RAW] = 0, /* stored */
};

struct column {
        uint8_t *in, *out;
        size_t in_at, in_n;   /* reading: compressed bytes that wait */
        size_t out_at, out_n; /* reading: plain bytes that wait; writing: out_n to be compressed */
        int64_t offset;       /* reading: of what is read next */
        ZSTD_DStream *unpack;
        ZSTD_CStream *pack;
        FILE *file; /* writing */
        int64_t length;
        bool used;
};

struct delta_columns {
        bool reading;
        int failed;
        struct delta_columns_source source;
        delta_column_counts *counts;
        struct column columns[DELTA_COLUMNS];
};

struct delta_columns *delta_columns_free(struct delta_columns *c) {
        if (!c)
                return NULL;
        for (unsigned i = 0; i < DELTA_COLUMNS; i++) {
                struct column *x = &c->columns[i];
                free(x->in);
                free(x->out);
                ZSTD_freeDStream(x->unpack);
                ZSTD_freeCStream(x->pack);
                if (x->file)
                        fclose(x->file);
        }
        free(c);
        return NULL;
}

static int prepare(struct delta_columns *c, unsigned i) {
        struct column *x = &c->columns[i];
        x->in = malloc(IN_SIZE);
        x->out = malloc(OUT_SIZE);
        if (!x->in || !x->out)
                return -ENOMEM;
        if (!c->reading) {
                x->file = tmpfile();
                if (!x->file)
                        return -errno;
        }
        if (window_bits[i] == 0)
                return 0;
        if (c->reading)
                x->unpack = ZSTD_createDStream();
        else
                x->pack = ZSTD_createCStream();
        if (!x->unpack && !x->pack)
                return -ENOMEM;
        if (c->reading)
                return ZSTD_isError(ZSTD_DCtx_setParameter(x->unpack, ZSTD_d_windowLogMax, window_bits[i]))
                               ? -EINVAL
                               : 0;
        /* Left alone, the tables of this level take half a GiB, whatever the window. */
        const struct {
                ZSTD_cParameter parameter;
                int value;
        } parameters[] = {{ZSTD_c_compressionLevel, LEVEL},
                          {ZSTD_c_windowLog, window_bits[i]},
                          {ZSTD_c_hashLog, window_bits[i] + 1},
                          {ZSTD_c_chainLog, window_bits[i] + 1}};
        for (unsigned k = 0; k < ARRAY_SIZE(parameters); k++)
                if (ZSTD_isError(
                            ZSTD_CCtx_setParameter(x->pack, parameters[k].parameter, parameters[k].value)))
                        return -EINVAL;
        return 0;
}

static int new (bool reading, const struct delta_columns_source *source, struct delta_columns **ret) {
        _cleanup_(delta_columns_freep) struct delta_columns *c = calloc(1, sizeof(*c));
        if (!c)
                return -ENOMEM;
        c->reading = reading;
        if (source)
                c->source = *source;
        for (unsigned i = 0; i < DELTA_COLUMNS; i++) {
                int r = prepare(c, i);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(c);
        return 0;
}

int delta_columns_new_read(const struct delta_columns_source *source, struct delta_columns **ret) {
        return new (true, source, ret);
}

int delta_columns_new_write(struct delta_columns **ret) {
        return new (false, NULL, ret);
}

bool delta_columns_reading(const struct delta_columns *c) {
        return c->reading;
}

int delta_columns_failed(const struct delta_columns *c) {
        return c->failed;
}

/* ---- Writing */

static void fail(struct delta_columns *c, int r) {
        if (!c->failed)
                c->failed = r;
}

/* Compresses what waits. */
static void flush(struct delta_columns *c, struct column *x, ZSTD_EndDirective how) {
        if (!x->pack) {
                if (fwrite(x->out, 1, x->out_n, x->file) != x->out_n)
                        fail(c, -EIO);
                x->length += (int64_t)x->out_n;
                x->out_n = 0;
                return;
        }
        ZSTD_inBuffer in = {x->out, x->out_n, 0};
        size_t left;
        do {
                ZSTD_outBuffer out = {x->in, IN_SIZE, 0};
                left = ZSTD_compressStream2(x->pack, &out, &in, how);
                if (ZSTD_isError(left)) {
                        fail(c, -ENOMEM);
                        break;
                }
                if (fwrite(x->in, 1, out.pos, x->file) != out.pos)
                        fail(c, -EIO);
                x->length += (int64_t)out.pos;
        } while (!c->failed && (in.pos < in.size || (how == ZSTD_e_end && left > 0)));
        x->out_n = 0;
}

static void put(struct delta_columns *c, enum delta_column column, const uint8_t *p, size_t n) {
        struct column *x = &c->columns[column];
        for (size_t i = 0; c->counts && i < n; i++)
                (*c->counts)[column][p[i]]++;
        x->used = x->used || n > 0;
        while (n > 0 && !c->failed) {
                size_t k = MIN(n, OUT_SIZE - x->out_n);
                memcpy(x->out + x->out_n, p, k);
                x->out_n += k;
                p += k;
                n -= k;
                if (x->out_n == OUT_SIZE)
                        flush(c, x, ZSTD_e_continue);
        }
}

void delta_columns_count_in(struct delta_columns *c, delta_column_counts *counts) {
        c->counts = counts;
}

int delta_columns_finish(struct delta_columns *c, int64_t ret_lengths[DELTA_COLUMNS]) {
        for (unsigned i = 0; i < DELTA_COLUMNS && !c->failed; i++) {
                struct column *x = &c->columns[i];
                /* A column that nothing was put into has no bytes at all. */
                if (x->used)
                        flush(c, x, ZSTD_e_end);
                if (fflush(x->file) != 0)
                        fail(c, -errno);
                ret_lengths[i] = x->length;
        }
        return c->failed;
}

int delta_columns_each(struct delta_columns *c, enum delta_column column,
                       int (*take)(void *arg, const uint8_t *p, size_t n), void *arg) {
        struct column *x = &c->columns[column];
        rewind(x->file);
        for (int64_t done = 0; done < x->length;) {
                size_t n = fread(x->in, 1, IN_SIZE, x->file);
                if (n == 0)
                        return -EIO;
                int r = take(arg, x->in, n);
                if (r < 0)
                        return r;
                done += (int64_t)n;
        }
        return 0;
}

/* ---- Reading */

/* Reads on when all that was there has been used; false at the end. */
static bool read_more(struct delta_columns *c, enum delta_column column, struct column *x) {
        ssize_t n = c->source.read(c->source.arg, column, x->offset, x->unpack ? x->in : x->out,
                                   x->unpack ? IN_SIZE : OUT_SIZE);
        if (n <= 0) {
                fail(c, n < 0 ? (int)n : -EBADMSG);
                return false;
        }
        x->offset += n;
        if (x->unpack) {
                x->in_at = 0;
                x->in_n = (size_t)n;
        } else {
                x->out_at = 0;
                x->out_n = (size_t)n;
        }
        return true;
}

static bool fill(struct delta_columns *c, enum delta_column column) {
        struct column *x = &c->columns[column];
        if (c->failed)
                return false;
        if (!x->unpack)
                return read_more(c, column, x);
        ZSTD_outBuffer out = {x->out, OUT_SIZE, 0};
        while (out.pos == 0) {
                ZSTD_inBuffer in = {x->in, x->in_n, x->in_at};
                size_t r = ZSTD_decompressStream(x->unpack, &out, &in);
                x->in_at = in.pos;
                if (ZSTD_isError(r)) {
                        fail(c, ZSTD_getErrorCode(r) == ZSTD_error_memory_allocation ? -ENOMEM : -EBADMSG);
                        return false;
                }
                if (out.pos == 0 && x->in_at == x->in_n && !read_more(c, column, x))
                        return false;
        }
        x->out_at = 0;
        x->out_n = out.pos;
        return true;
}

static void get(struct delta_columns *c, enum delta_column column, uint8_t *p, size_t n) {
        struct column *x = &c->columns[column];
        while (n > 0) {
                if (x->out_at == x->out_n && !fill(c, column)) {
                        memset(p, 0, n);
                        return;
                }
                size_t k = MIN(n, x->out_n - x->out_at);
                memcpy(p, x->out + x->out_at, k);
                x->out_at += k;
                p += k;
                n -= k;
        }
}

static uint64_t get_number(struct delta_columns *c, enum delta_column column) {
        struct column *x = &c->columns[column];
        uint64_t v = 0;
        for (unsigned shift = 0; shift < 64; shift += 7) {
                if (x->out_at == x->out_n && !fill(c, column))
                        return 0;
                uint8_t byte = x->out[x->out_at++];
                v |= (uint64_t)(byte & 0x7f) << shift;
                if (!(byte & 0x80))
                        return v;
        }
        fail(c, -EBADMSG);
        return 0;
}

/* ---- Both */

void delta_columns_bytes(struct delta_columns *c, enum delta_column column, uint8_t *p, size_t n) {
        if (c->reading)
                get(c, column, p, n);
        else
                put(c, column, p, n);
}

uint64_t delta_columns_number(struct delta_columns *c, enum delta_column column, uint64_t v) {
        if (c->reading)
                return get_number(c, column);
        uint8_t bytes[10];
        size_t n = 0;
        for (uint64_t rest = v;; rest >>= 7) {
                bytes[n++] = (uint8_t)(rest >= 0x80 ? rest | 0x80 : rest);
                if (rest < 0x80)
                        break;
        }
        put(c, column, bytes, n);
        return v;
}

static uint64_t zigzag(int64_t v) {
        return (uint64_t)v << 1 ^ (v < 0 ? ~(uint64_t)0 : 0);
}
static int64_t unzigzag(uint64_t v) {
        return (int64_t)(v >> 1 ^ (0 - (v & 1)));
}

int64_t delta_columns_signed(struct delta_columns *c, enum delta_column column, int64_t v) {
        return unzigzag(delta_columns_number(c, column, zigzag(v)));
}

/* The lowest bit says that bytes are meant, not blocks. */
#define BLOCK 4096

uint64_t delta_columns_place(struct delta_columns *c, enum delta_column column, uint64_t v) {
        v = delta_columns_number(c, column, v % BLOCK == 0 ? v / BLOCK << 1 : v << 1 | 1);
        return v & 1 ? v >> 1 : (v >> 1) * BLOCK;
}

int64_t delta_columns_jump(struct delta_columns *c, enum delta_column column, int64_t v) {
        bool blocks = v % BLOCK == 0;
        uint64_t size = zigzag(blocks ? v / BLOCK : v) << 1 | !blocks;
        size = delta_columns_number(c, column, size);
        uint64_t jump = (uint64_t)unzigzag(size >> 1);
        return (int64_t)(size & 1 ? jump : jump * BLOCK);
}
