/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/encode.h"
#include "base/fs.h"
#include "base/random.h"
#include "base/str.h"
#include "crypto/digest.h"
#include "repo/chunk/cut.h"
#include "repo/chunk/fetch.h"
#include "repo/chunk/frame.h"

#define NONE UINT32_MAX
#define SCAN_SIZE (4u << 20)
#define WINDOW_ROOM (2u << 20) /* that the window's buffer is longer than the window */

struct range {
        int64_t offset, length;
};

struct chunk_fetch {
        const struct chunk_index *index;
        int target_fd;
        bool is_file; /* not a block device: it has holes, and any length */
        char *journal;
        struct chunk_cutter cutter;

        bool *have;             /* of each entry: its bytes stand, verified, in the target */
        int64_t *places;        /* of each entry in the target */
        uint32_t *frames;       /* entries of kind CHUNK_FRAME, in the order of the pack */
        size_t n_frames, first; /* the first frame that is missing */
        /* Digest -> the first entry that has it; then by `same` to the others. The hash is keyed: digests in
         * an index can be anything. */
        uint32_t *table, *same;
        size_t table_mask;
        uint64_t keys[4];
        size_t sought; /* entries with a digest that are missing yet; frames missing of them */
        size_t frames_missing;
        int store_error; /* that ended the reading of a seed */

        int64_t gap;
        struct range asked[CHUNK_FETCH_AHEAD]; /* the first of them is coming in */
        size_t n_asked;
        int64_t came;    /* of it */
        size_t at;       /* the frame that the next byte belongs to */
        int64_t filled;  /* of that frame */
        uint8_t *packed; /* CHUNK_FRAME_ROOM, then the frame as it comes */
        uint8_t *unpacked;
        struct chunk_unpacker *unpacker;
        /* The target's bytes [window_base, window_end), one byte of room before them. */
        uint8_t *window;
        size_t window_room;
        int64_t window_base, window_end;
        int64_t unsynced;
};

static int read_at(int fd, void *p, size_t n, int64_t offset, size_t *ret_read) {
        size_t got = 0;
        while (got < n) {
                ssize_t r = pread(fd, (uint8_t *)p + got, n - got, offset + (int64_t)got);
                if (r < 0 && errno == EINTR)
                        continue;
                if (r < 0)
                        return -errno;
                if (r == 0)
                        break;
                got += (size_t)r;
        }
        *ret_read = got;
        return 0;
}

static int write_at(int fd, const void *p, size_t n, int64_t offset) {
        for (size_t put = 0; put < n;) {
                ssize_t r = pwrite(fd, (const uint8_t *)p + put, n - put, offset + (int64_t)put);
                if (r < 0 && errno == EINTR)
                        continue;
                if (r < 0)
                        return -errno;
                put += (size_t)r;
        }
        return 0;
}

/* ---- What is sought */

static size_t hash(const struct chunk_fetch *f, const uint8_t digest[16]) {
        uint64_t a, b;
        memcpy(&a, digest, 8);
        memcpy(&b, digest + 8, 8);
        uint64_t h = (a + f->keys[0]) * (f->keys[1] | 1) + (b + f->keys[2]) * (f->keys[3] | 1);
        return (size_t)(h >> 32) & f->table_mask;
}

/* The slot of a digest: its first entry, or NONE. */
static uint32_t *slot_of(const struct chunk_fetch *f, const uint8_t digest[16]) {
        for (size_t i = hash(f, digest);; i = (i + 1) & f->table_mask) {
                uint32_t entry = f->table[i];
                if (entry == NONE || memcmp(f->index->chunks[entry].digest, digest, 16) == 0)
                        return &f->table[i];
        }
}

static void set_have(struct chunk_fetch *f, uint32_t entry) {
        if (f->have[entry])
                return;
        f->have[entry] = true;
        if (f->index->chunks[entry].kind != CHUNK_ZERO)
                f->sought--;
        if (f->index->chunks[entry].kind == CHUNK_FRAME)
                f->frames_missing--;
}

/* Writes a verified chunk to every place that has it. */
static int store(struct chunk_fetch *f, uint32_t entry, const uint8_t *data, uint32_t length) {
        for (; entry != NONE; entry = f->same[entry]) {
                if (f->have[entry] || f->index->chunks[entry].length != length)
                        continue;
                if (f->target_fd >= 0) {
                        int r = write_at(f->target_fd, data, length, f->places[entry]);
                        if (r < 0)
                                return r;
                        f->unsynced += length;
                }
                set_have(f, entry);
        }
        return 0;
}

static int build_table(struct chunk_fetch *f) {
        const struct chunk_index *index = f->index;
        size_t n = index->n_chunks, size = 1024;
        while (size < n * 2)
                size *= 2;
        f->have = calloc(MAX(n, (size_t)1), sizeof(*f->have));
        f->places = calloc(MAX(n, (size_t)1), sizeof(*f->places));
        f->frames = calloc(MAX(n, (size_t)1), sizeof(*f->frames));
        f->same = calloc(MAX(n, (size_t)1), sizeof(*f->same));
        f->table = malloc(size * sizeof(*f->table));
        if (!f->have || !f->places || !f->frames || !f->same || !f->table)
                return -ENOMEM;
        memset(f->table, 0xff, size * sizeof(*f->table));
        f->table_mask = size - 1;
        random_bytes(f->keys, sizeof(f->keys));
        int64_t place = 0;
        for (uint32_t i = 0; i < n; i++) {
                const struct chunk *c = &index->chunks[i];
                f->places[i] = place;
                place += c->length;
                f->same[i] = NONE;
                if (c->kind == CHUNK_ZERO)
                        continue;
                f->sought++;
                if (c->kind == CHUNK_FRAME)
                        f->frames[f->n_frames++] = i;
                uint32_t *slot = slot_of(f, c->digest);
                if (*slot == NONE)
                        *slot = i;
                else { /* behind the first, whatever their order: all are written at once */
                        f->same[i] = f->same[*slot];
                        f->same[*slot] = i;
                }
        }
        f->frames_missing = f->n_frames;
        return 0;
}

/* ---- Seeds */

static int on_seed_chunk(void *arg, const struct cut_chunk *chunk) {
        struct chunk_fetch *f = arg;
        if (chunk->zero)
                return 0;
        uint32_t entry = *slot_of(f, chunk->digest);
        if (entry == NONE)
                return 0;
        f->store_error = store(f, entry, chunk->data, chunk->length);
        return f->store_error < 0 ? f->store_error : f->sought == 0;
}

/* A seed that cannot be read to its end gives what it can; what it does not give is fetched. */
static int scan_seeds(struct chunk_fetch *f, const int *seeds, size_t n_seeds) {
        for (size_t i = 0; i < n_seeds && f->sought > 0; i++) {
                int r = chunk_cut_file(&f->cutter, seeds[i], on_seed_chunk, f);
                if (f->store_error < 0)
                        return f->store_error;
                if (r == -ENOMEM)
                        return r;
        }
        return 0;
}

/* ---- The target and its journal */

/* A part of the target's file that is a hole, or is none. */
struct region {
        int64_t end;
        bool hole;
};

static struct region region_at(const struct chunk_fetch *f, int64_t place) {
        struct region all = {INT64_MAX, false};
        if (!f->is_file)
                return all;
        off_t data = lseek(f->target_fd, place, SEEK_DATA);
        if (data < 0)
                return errno == ENXIO ? (struct region){INT64_MAX, true} : all;
        if (data > place)
                return (struct region){data, true};
        off_t hole = lseek(f->target_fd, place, SEEK_HOLE);
        return hole > place ? (struct region){hole, false} : all;
}

struct window { /* of the target, as it is read through */
        uint8_t *buffer;
        int64_t base;
        size_t filled;
};

/* Does the target hold this chunk? Only zeros are longer than the buffer. 1, 0 or -Exxx. */
static int target_holds(const struct chunk_fetch *f, struct window *w, uint32_t entry) {
        const struct chunk *c = &f->index->chunks[entry];
        const int64_t place = f->places[entry], end = place + c->length;
        for (int64_t at = place; at < end;) {
                if (at < w->base || MIN(end, at + (int64_t)CHUNK_MAX) > w->base + (int64_t)w->filled) {
                        w->base = at;
                        int r = read_at(f->target_fd, w->buffer, SCAN_SIZE, at, &w->filled);
                        if (r < 0)
                                return r;
                        if (w->filled == 0)
                                return 0; /* it is shorter than it should be */
                }
                size_t n = (size_t)MIN(end - at, w->base + (int64_t)w->filled - at);
                const uint8_t *p = w->buffer + (at - w->base);
                if (c->kind != CHUNK_ZERO) {
                        uint8_t digest[SHA256_SIZE];
                        if (n < c->length)
                                return 0;
                        sha256_of(p, n, digest);
                        return memcmp(digest, c->digest, sizeof(c->digest)) == 0;
                }
                if (zero_prefix(p, n) < n)
                        return 0;
                at += (int64_t)n;
        }
        return 1;
}

/* Which of the chunks stand in the target already. Holes are not read. */
static int verify_target(struct chunk_fetch *f) {
        _cleanup_(x_freep) uint8_t *buffer = malloc(SCAN_SIZE);
        if (!buffer)
                return -ENOMEM;
        struct window w = {buffer, 0, 0};
        struct region region = {0, false};
        for (uint32_t i = 0; i < f->index->n_chunks; i++) {
                const struct chunk *c = &f->index->chunks[i];
                if (f->places[i] >= region.end)
                        region = region_at(f, f->places[i]);
                bool hole = region.hole && f->places[i] + c->length <= region.end;
                int r = hole ? c->kind == CHUNK_ZERO : target_holds(f, &w, i);
                if (r < 0)
                        return r;
                if (r > 0)
                        set_have(f, i);
        }
        return 0;
}

/* A kill between two places of one chunk leaves the others without: they are copied from the one that is
 * there. */
static int complete_repeats(struct chunk_fetch *f) {
        for (uint32_t i = 0; i < f->index->n_chunks; i++) {
                const struct chunk *c = &f->index->chunks[i];
                if (c->kind == CHUNK_ZERO || *slot_of(f, c->digest) != i)
                        continue;
                uint32_t known = NONE, missing = NONE;
                for (uint32_t e = i; e != NONE; e = f->same[e])
                        *(f->have[e] ? &known : &missing) = e;
                if (known == NONE || missing == NONE)
                        continue;
                uint32_t length = f->index->chunks[known].length;
                size_t got = 0;
                uint8_t digest[SHA256_SIZE];
                int r = read_at(f->target_fd, f->unpacked, length, f->places[known], &got);
                if (r < 0)
                        return r;
                sha256_of(f->unpacked, got, digest);
                if (got < length || memcmp(digest, c->digest, sizeof(c->digest)) != 0)
                        return -EIO;
                r = store(f, i, f->unpacked, length);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* A file that was made anew reads as zeros where nothing was written; anything else is written over. */
static int write_zeros(struct chunk_fetch *f) {
        _cleanup_(x_freep) uint8_t *zeros = NULL;
        for (uint32_t i = 0; i < f->index->n_chunks; i++) {
                const struct chunk *c = &f->index->chunks[i];
                if (c->kind != CHUNK_ZERO || f->have[i])
                        continue;
                if (!zeros && !(zeros = calloc(1, SCAN_SIZE)))
                        return -ENOMEM;
                for (uint32_t done = 0; done < c->length;) {
                        uint32_t n = MIN(c->length - done, SCAN_SIZE);
                        int r = write_at(f->target_fd, zeros, n, f->places[i] + done);
                        if (r < 0)
                                return r;
                        done += n;
                }
                set_have(f, i);
        }
        return 0;
}

/* What stands in the target tells by itself which chunks are there; the journal, that the seeds need not be
 * read again: "skerry chunk journal 1\n<target> <digest of the index's chunks> <frames missing after the
 * seeds>\n". */
#define JOURNAL_MAX 256

static int identity(const struct chunk_index *index, char out[SHA256_HEX_SIZE]) {
        _cleanup_(sha256_freep) struct sha256 *s = sha256_new();
        if (!s)
                return -ENOMEM;
        uint8_t digest[SHA256_SIZE];
        for (size_t i = 0; i < index->n_chunks; i++) {
                const struct chunk *c = &index->chunks[i];
                uint32_t words[2] = {c->length, c->kind};
                sha256_update(s, c->digest, sizeof(c->digest));
                sha256_update(s, words, sizeof(words));
        }
        sha256_final(s, digest);
        hex_encode(digest, sizeof(digest), out);
        return 0;
}

static int write_journal(struct chunk_fetch *f, const char *identity_hex, struct err **err) {
        char text[JOURNAL_MAX];
        int n = snprintf(text, sizeof(text), "skerry chunk journal 1\n%s %s %zu\n", f->index->target_sha256,
                         identity_hex, f->frames_missing);
        return file_write_atomic(f->journal, text, (size_t)n, 0600, err);
}

/* How many frames the seeds had not given; -1: they were not read through yet, for this index. */
static int64_t read_journal(struct chunk_fetch *f, const char *identity_hex) {
        _cleanup_(x_freep) char *text = NULL;
        size_t n;
        int64_t missing;
        if (file_read(f->journal, JOURNAL_MAX, &text, &n, NULL) < 0)
                return -1;
        _cleanup_(x_freep) char *head =
                str_format("skerry chunk journal 1\n%s %s ", f->index->target_sha256, identity_hex);
        const char *rest = head ? str_after_prefix(text, head) : NULL;
        if (!rest || !str_has_suffix(rest, "\n"))
                return -1;
        _cleanup_(x_freep) char *number = str_dup_n(rest, strlen(rest) - 1);
        return number && str_to_i64(number, &missing) == 0 ? missing : -1;
}

static int prepare_target(struct chunk_fetch *f) {
        struct stat st;
        if (fstat(f->target_fd, &st) < 0)
                return -errno;
        f->is_file = S_ISREG(st.st_mode);
        if (!f->is_file) {
                if (!S_ISBLK(st.st_mode))
                        return -EINVAL;
                off_t size = lseek(f->target_fd, 0, SEEK_END);
                if (size < 0)
                        return -errno;
                if (size < f->index->target_length)
                        return -ENOSPC;
                return 0;
        }
        return ftruncate(f->target_fd, f->index->target_length) < 0 ? -errno : 0;
}

static int sync_target(struct chunk_fetch *f) {
        if (fdatasync(f->target_fd) < 0)
                return -errno;
        f->unsynced = 0;
        return 0;
}

static int failed(struct err **err, int r, const char *what) {
        if (r == -ENOSPC)
                return err_set(err, ENOSPC, "%s: the disk is full: make room, it goes on where it was", what);
        return err_set_errno(err, -r, "%s", what);
}

static int open_with(struct chunk_fetch *f, const int *seeds, size_t n_seeds, struct err **err) {
        char id[SHA256_HEX_SIZE];
        int r = identity(f->index, id);
        if (r < 0)
                return failed(err, r, "rebuild a target from chunks");
        const int64_t missing_after_seeds = read_journal(f, id);
        r = prepare_target(f);
        if (r == 0)
                r = verify_target(f);
        if (r == 0)
                r = complete_repeats(f);
        if (r == 0)
                r = write_zeros(f);
        if (r < 0)
                return failed(err, r, "write the target");
        if (missing_after_seeds >= 0 && (int64_t)f->frames_missing <= missing_after_seeds)
                return 0; /* the seeds gave what they have */
        r = scan_seeds(f, seeds, n_seeds);
        if (r == 0)
                r = sync_target(f);
        if (r < 0)
                return failed(err, r, "write the target");
        return write_journal(f, id, err);
}

static int new_common(const struct chunk_index *index, int target_fd, struct chunk_fetch **ret) {
        _cleanup_(chunk_fetch_freep) struct chunk_fetch *f = calloc(1, sizeof(*f));
        if (!f)
                return -ENOMEM;
        f->index = index;
        f->target_fd = target_fd;
        f->gap = CHUNK_FETCH_GAP;
        chunk_cutter_init(&f->cutter, index->average_log);
        int r = build_table(f);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(f);
        return 0;
}

int chunk_fetch_open(const struct chunk_index *index, const int *seeds, size_t n_seeds, int target_fd,
                     const char *journal, struct chunk_fetch **ret, struct err **err) {
        _cleanup_(chunk_fetch_freep) struct chunk_fetch *f = NULL;
        int r = new_common(index, target_fd, &f);
        if (r < 0)
                return failed(err, r, "rebuild a target from chunks");
        f->journal = str_dup(journal);
        f->packed = malloc(CHUNK_FRAME_ROOM + CHUNK_MAX);
        f->unpacked = malloc(CHUNK_MAX);
        f->window_room = ((size_t)1 << index->window_log) + WINDOW_ROOM;
        f->window = calloc(1, 1 + f->window_room);
        if (!f->journal || !f->packed || !f->unpacked || !f->window || chunk_unpacker_new(&f->unpacker) < 0)
                return failed(err, -ENOMEM, "rebuild a target from chunks");
        r = open_with(f, seeds, n_seeds, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(f);
        return 0;
}

struct chunk_fetch *chunk_fetch_free(struct chunk_fetch *f) {
        if (f) {
                chunk_unpacker_free(f->unpacker);
                free(f->have);
                free(f->places);
                free(f->frames);
                free(f->same);
                free(f->table);
                free(f->packed);
                free(f->unpacked);
                free(f->window);
                free(f->journal);
                free(f);
        }
        return NULL;
}

/* ---- Ranges */

static const struct chunk *frame(const struct chunk_fetch *f, size_t i) {
        return &f->index->chunks[f->frames[i]];
}

/* The joined range that begins with the first missing frame not before `from`; at most max_bytes, but one
 * frame. Returns the frame behind it, 0 for none. */
static size_t range_from(const struct chunk_fetch *f, size_t from, int64_t max_bytes, struct range *ret) {
        while (from < f->n_frames && f->have[f->frames[from]])
                from++;
        if (from == f->n_frames)
                return 0;
        int64_t begin = frame(f, from)->offset, end = begin + frame(f, from)->packed;
        size_t behind = from + 1;
        for (size_t i = behind; i < f->n_frames; i++) {
                const struct chunk *c = frame(f, i);
                if (c->offset - end > f->gap)
                        break;
                if (f->have[f->frames[i]])
                        continue;
                if (c->offset + c->packed - begin > max_bytes)
                        break;
                end = c->offset + c->packed;
                behind = i + 1;
        }
        *ret = (struct range){begin, end - begin};
        return behind;
}

void chunk_fetch_set_gap(struct chunk_fetch *f, int64_t bytes) {
        f->gap = MAX((int64_t)0, MIN(bytes, (int64_t)CHUNK_FETCH_GAP_MAX));
}

int64_t chunk_fetch_missing(const struct chunk_fetch *f) {
        int64_t total = 0;
        struct range range;
        for (size_t at = f->first; (at = range_from(f, at, INT64_MAX, &range)) > 0;)
                total += range.length;
        return total;
}

/* The frame at this offset of the pack, or the first behind it. */
static size_t frame_at(const struct chunk_fetch *f, int64_t offset) {
        size_t low = 0, high = f->n_frames;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (frame(f, middle)->offset < offset)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

static void give_up_ranges(struct chunk_fetch *f) {
        f->n_asked = 0;
        f->came = f->filled = 0;
}

bool chunk_fetch_ahead(struct chunk_fetch *f, int64_t max_bytes, int64_t *ret_offset, int64_t *ret_length) {
        if (f->n_asked == CHUNK_FETCH_AHEAD)
                return false;
        size_t from = f->first;
        if (f->n_asked > 0) {
                const struct range *last = &f->asked[f->n_asked - 1];
                from = frame_at(f, last->offset + last->length);
        }
        struct range range;
        if (range_from(f, from, max_bytes, &range) == 0)
                return false;
        if (f->n_asked == 0) {
                f->came = f->filled = 0;
                f->at = frame_at(f, range.offset);
        }
        f->asked[f->n_asked++] = range;
        *ret_offset = range.offset;
        *ret_length = range.length;
        return true;
}

bool chunk_fetch_next(struct chunk_fetch *f, int64_t max_bytes, int64_t *ret_offset, int64_t *ret_length) {
        give_up_ranges(f);
        return chunk_fetch_ahead(f, max_bytes, ret_offset, ret_length);
}

/* ---- Frames that come */

/* Makes the window's bytes [begin, end) stand in the buffer, which slides along the target. */
static int load_window(struct chunk_fetch *f, int64_t begin, int64_t end) {
        if (begin < f->window_base || begin > f->window_end)
                f->window_base = f->window_end = begin;
        if (end - f->window_base > (int64_t)f->window_room) {
                memmove(f->window + 1, f->window + 1 + (begin - f->window_base),
                        (size_t)(f->window_end - begin));
                f->window_base = begin;
        }
        if (end <= f->window_end)
                return 0;
        size_t got = 0, want = (size_t)(end - f->window_end);
        int r = read_at(f->target_fd, f->window + 1 + (f->window_end - f->window_base), want, f->window_end,
                        &got);
        if (r < 0)
                return r;
        if (got < want)
                return -EIO;
        f->window_end = end;
        return 0;
}

static int take_frame(struct chunk_fetch *f, uint32_t entry, struct err **err) {
        const struct chunk *c = &f->index->chunks[entry];
        const unsigned window_log = f->index->window_log, segment_log = f->index->segment_log;
        int64_t begin, end;
        int r;
        chunk_window(f->places[entry], window_log, segment_log, &begin, &end);
        r = load_window(f, begin, end);
        if (r < 0)
                return failed(err, r, "read the target");
        uint8_t *before = f->window + (begin - f->window_base), kept = *before;
        *before = 0;
        r = chunk_unpack(f->unpacker, before, (size_t)(end - begin) + 1, f->packed + CHUNK_FRAME_ROOM,
                         c->packed, f->unpacked, c->length);
        *before = kept;
        uint8_t digest[SHA256_SIZE] = {0};
        if (r == 0)
                sha256_of(f->unpacked, c->length, digest);
        if (r < 0 || memcmp(digest, c->digest, sizeof(c->digest)) != 0)
                return err_set(err, EBADMSG,
                               "chunk %u at %lld of the pack is not what the index says: ask another mirror",
                               (unsigned)entry, (long long)c->offset);
        /* All that have this digest, by way of the first of them. */
        r = store(f, *slot_of(f, c->digest), f->unpacked, c->length);
        if (r == 0 && f->unsynced >= (int64_t)CHUNK_FETCH_SYNC)
                r = sync_target(f);
        if (r < 0)
                return failed(err, r, "write the target");
        while (f->first < f->n_frames && f->have[f->frames[f->first]])
                f->first++;
        return 0;
}

static int feed(struct chunk_fetch *f, const uint8_t *p, size_t n, struct err **err) {
        while (n > 0) {
                if (f->n_asked == 0)
                        return err_set(err, EBADMSG, "more bytes of the pack came than were asked for");
                const struct range *range = &f->asked[0];
                uint32_t entry = f->frames[f->at];
                const struct chunk *c = &f->index->chunks[entry];
                size_t take = (size_t)MIN((int64_t)n, (int64_t)c->packed - f->filled);
                if (!f->have[entry])
                        memcpy(f->packed + CHUNK_FRAME_ROOM + f->filled, p, take);
                p += take;
                n -= take;
                f->filled += (int64_t)take;
                f->came += (int64_t)take;
                if (f->filled < c->packed)
                        break;
                f->filled = 0;
                f->at++;
                if (!f->have[entry]) {
                        int r = take_frame(f, entry, err);
                        if (r < 0)
                                return r;
                }
                if (f->came < range->length)
                        continue;
                f->n_asked--;
                memmove(f->asked, f->asked + 1, f->n_asked * sizeof(f->asked[0]));
                f->came = 0;
                if (f->n_asked > 0)
                        f->at = frame_at(f, f->asked[0].offset);
        }
        return 0;
}

int chunk_fetch_feed(struct chunk_fetch *f, const void *p, size_t n, struct err **err) {
        int r = feed(f, p, n, err);
        if (r < 0)
                give_up_ranges(f);
        return r;
}

int chunk_fetch_finish(struct chunk_fetch *f, struct err **err) {
        if (f->frames_missing > 0)
                return err_set(err, EAGAIN, "%zu chunks are missing yet", f->frames_missing);
        _cleanup_(sha256_freep) struct sha256 *s = sha256_new();
        _cleanup_(x_freep) uint8_t *buffer = malloc(SCAN_SIZE);
        if (!s || !buffer)
                return failed(err, -ENOMEM, "check the target");
        for (int64_t at = 0; at < f->index->target_length;) {
                size_t got = 0, want = (size_t)MIN(f->index->target_length - at, (int64_t)SCAN_SIZE);
                int r = read_at(f->target_fd, buffer, want, at, &got);
                if (r < 0 || got == 0)
                        return failed(err, r < 0 ? r : -EIO, "check the target");
                sha256_update(s, buffer, got);
                at += (int64_t)got;
        }
        uint8_t digest[SHA256_SIZE];
        char hex[SHA256_HEX_SIZE];
        sha256_final(s, digest);
        hex_encode(digest, sizeof(digest), hex);
        if (!str_eq(hex, f->index->target_sha256)) {
                (void)path_remove(f->journal, NULL);
                return err_set(
                        err, EBADMSG,
                        "the chunks of the index do not make the target %.12s: get it another way, and "
                        "make its chunks anew",
                        f->index->target_sha256);
        }
        int r = sync_target(f);
        if (r == 0 && f->is_file && fsync(f->target_fd) < 0)
                r = -errno;
        if (r < 0)
                return failed(err, r, "write the target");
        return path_remove(f->journal, err);
}

int chunk_fetch_predict(const struct chunk_index *index, const int *seeds, size_t n_seeds,
                        int64_t *ret_missing, struct err **err) {
        _cleanup_(chunk_fetch_freep) struct chunk_fetch *f = NULL;
        int r = new_common(index, -1, &f);
        if (r < 0)
                return failed(err, r, "look for chunks that are here already");
        r = scan_seeds(f, seeds, n_seeds);
        if (r < 0)
                return failed(err, r, "look for chunks that are here already");
        *ret_missing = chunk_fetch_missing(f);
        return 0;
}

int chunk_fetch_predict_indexes(const struct chunk_index *index, const struct chunk_index *const *seeds,
                                size_t n_seeds, int64_t *ret_missing, struct err **err) {
        _cleanup_(chunk_fetch_freep) struct chunk_fetch *f = NULL;
        int r = new_common(index, -1, &f);
        if (r < 0)
                return failed(err, r, "look for chunks that are here already");
        for (size_t i = 0; i < n_seeds; i++)
                for (size_t k = 0; k < seeds[i]->n_chunks && f->sought > 0; k++) {
                        const struct chunk *c = &seeds[i]->chunks[k];
                        uint32_t entry = c->kind == CHUNK_FRAME ? *slot_of(f, c->digest) : NONE;
                        if (entry != NONE)
                                (void)store(f, entry, NULL, c->length); /* writes nothing without a target */
                }
        *ret_missing = chunk_fetch_missing(f);
        return 0;
}
