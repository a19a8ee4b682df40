/* SPDX-License-Identifier: Apache-2.0 */
/* For development: how well the delta's predictors do over many pairs of files.
 *
 *   predict_tool OLD NEW [--every N] [--match TEXT] [--rename FROM=TO] [--skip TEXT] [--threads N] [--files]
 *
 * Files of the same path below the two folders (FROM replaced by TO in the new one's) that differ are
 * matched, predicted and compared byte by byte. Per kind of content it prints: bytes, bytes not predicted,
 * literal bytes, and what differences, literals and pieces of the kind come to in one xz stream each. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <lzma.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "repo/delta/predict.h"
#include "repo/delta/predict_internal.h"

struct entry {
        char *old_path, *new_path;
        struct delta_match match;
        bool matched;
};
struct kind {
        char name[64];
        uint64_t bytes, wrong, literal, pieces;
        struct buf gaps, values, literals, shape;
        uint64_t quiet; /* bytes predicted right since the last gap */
};
static struct {
        const char *old_root, *new_root, *rename_from, *rename_to, *match, *skip;
        unsigned every, threads;
        bool files;
        struct entry *entries;
        size_t n, capacity, next;
        struct kind kinds[512];
        size_t n_kinds;
        pthread_mutex_t lock;
} tool = {.every = 1, .threads = 2, .lock = PTHREAD_MUTEX_INITIALIZER};

static void check(int r, const char *what) {
        if (r >= 0)
                return;
        fprintf(stderr, "predict_tool: %s: %s\n", what, strerror(-r));
        exit(1);
}

struct view {
        uint8_t *data;
        int64_t length;
};

static struct view open_view(const char *path) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct stat st;
        check(fd < 0 || fstat(fd, &st) < 0 ? -errno : 0, path);
        struct view v = {.length = st.st_size};
        if (st.st_size > 0) {
                v.data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
                check(v.data == MAP_FAILED ? -errno : 0, path);
        }
        close(fd);
        return v;
}

static void close_view(struct view *v) {
        if (v->length > 0)
                munmap(v->data, (size_t)v->length);
}

static int view_read(void *arg, int64_t offset, void *p, size_t n) {
        struct view *v = arg;
        if (offset < 0 || offset > v->length - (int64_t)n)
                return -EIO;
        memcpy(p, v->data + offset, n);
        return 0;
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw) {
        if (type != FTW_F || st->st_size == 0)
                return 0;
        const char *rest = path + strlen(tool.old_root);
        if ((tool.match && !strstr(rest, tool.match)) || (tool.skip && strstr(rest, tool.skip)))
                return 0;
        char other[4096];
        const char *at = tool.rename_from ? strstr(rest, tool.rename_from) : NULL;
        if (at)
                snprintf(other, sizeof(other), "%s%.*s%s%s", tool.new_root, (int)(at - rest), rest,
                         tool.rename_to, at + strlen(tool.rename_from));
        else
                snprintf(other, sizeof(other), "%s%s", tool.new_root, rest);
        struct stat other_st;
        if (lstat(other, &other_st) < 0 || !S_ISREG(other_st.st_mode) || other_st.st_size == 0)
                return 0;
        if (tool.n == tool.capacity) {
                tool.capacity = tool.capacity > 0 ? 2 * tool.capacity : 64;
                tool.entries = reallocarray(tool.entries, tool.capacity, sizeof(*tool.entries));
                check(tool.entries ? 0 : -ENOMEM, "list");
        }
        tool.entries[tool.n++] = (struct entry){.old_path = strdup(path), .new_path = strdup(other)};
        return 0;
}

static int compare_entries(const void *a, const void *b) {
        return strcmp(((const struct entry *)a)->old_path, ((const struct entry *)b)->old_path);
}

static void *match_some(void *arg) {
        for (;;) {
                pthread_mutex_lock(&tool.lock);
                size_t i = tool.next++;
                pthread_mutex_unlock(&tool.lock);
                if (i >= tool.n)
                        return NULL;
                struct entry *e = &tool.entries[i];
                struct view o = open_view(e->old_path), n = open_view(e->new_path);
                if (o.length != n.length || memcmp(o.data, n.data, (size_t)o.length) != 0) {
                        struct delta_pair pair = {o.data, n.data, o.length, n.length};
                        _cleanup_(err_freep) struct err *err = NULL;
                        int r = delta_match_pair(&pair, &e->match, &err);
                        check(r, e->old_path);
                        e->matched = true;
                }
                close_view(&o);
                close_view(&n);
        }
}

static struct kind *kind_named(const char *name) {
        for (size_t i = 0; i < tool.n_kinds; i++)
                if (strcmp(tool.kinds[i].name, name) == 0)
                        return &tool.kinds[i];
        if (tool.n_kinds == ARRAY_SIZE(tool.kinds))
                return &tool.kinds[tool.n_kinds - 1];
        struct kind *k = &tool.kinds[tool.n_kinds++];
        snprintf(k->name, sizeof(k->name), "%s", name);
        return k;
}

static void put_difference(struct kind *k, const uint8_t *predicted, const uint8_t *real, size_t n) {
        k->bytes += n;
        for (size_t i = 0; i < n;) {
                if (predicted[i] == real[i]) {
                        k->quiet++;
                        i++;
                        continue;
                }
                size_t from = i;
                while (i < n && predicted[i] != real[i])
                        i++;
                k->wrong += i - from;
                delta_put_number(&k->gaps, k->quiet);
                delta_put_number(&k->gaps, i - from);
                k->quiet = 0;
                for (size_t j = from; j < i; j++)
                        buf_putc(&k->values, (char)(real[j] - predicted[j]));
        }
}

static size_t squeezed(const struct buf *b) {
        if (b->len == 0)
                return 0;
        size_t capacity = lzma_stream_buffer_bound(b->len), n = 0;
        uint8_t *out = malloc(capacity);
        check(out ? 0 : -ENOMEM, "xz");
        if (lzma_easy_buffer_encode(9 | LZMA_PRESET_EXTREME, LZMA_CHECK_NONE, NULL, (uint8_t *)b->data,
                                    b->len, out, &n, capacity) != LZMA_OK)
                n = b->len;
        free(out);
        return n;
}

static const struct delta_piece *sort_pieces;
static int compare_old(const void *a, const void *b) {
        int64_t x = sort_pieces[*(const uint32_t *)a].old_offset,
                y = sort_pieces[*(const uint32_t *)b].old_offset;
        return x < y ? -1 : x > y;
}

static void measure(struct entry *e, const struct delta_shared *shared, struct buf *sides) {
        struct view o = open_view(e->old_path), n = open_view(e->new_path);
        size_t wrong_before = 0, wrong_after = 0;
        for (size_t i = 0; i < tool.n_kinds; i++)
                wrong_before += tool.kinds[i].wrong + tool.kinds[i].literal;
        struct delta_file old_file = {o.length, view_read, &o};
        uint32_t *by_old = reallocarray(NULL, e->match.n_pieces + 1, sizeof(*by_old));
        check(by_old ? 0 : -ENOMEM, "order");
        for (size_t i = 0; i < e->match.n_pieces; i++)
                by_old[i] = (uint32_t)i;
        sort_pieces = e->match.pieces;
        if (e->match.n_pieces > 0)
                qsort(by_old, e->match.n_pieces, sizeof(*by_old), compare_old);
        struct delta_map map = {e->match.pieces, by_old, e->match.n_pieces};
        struct delta_predictor *p = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        check(delta_predictor_new(e->match.kind, &old_file, n.length, &map, e->match.side.data,
                                  e->match.side.len, shared, &p, &err),
              e->old_path);
        buf_append(sides, e->match.side.data, e->match.side.len);
        int64_t at = 0, old_end = 0;
        static uint8_t predicted[4096];
        for (size_t i = 0; i <= e->match.n_pieces; i++) {
                int64_t begin = i < e->match.n_pieces ? e->match.pieces[i].new_offset : n.length;
                check(begin < at ? -EBADMSG : 0, "pieces overlap");
                for (int64_t from = at; from < begin;) {
                        struct kind *k = kind_named(delta_predictor_kind_at(p, from));
                        int64_t to = from + 1;
                        while (to < begin &&
                               (to % 64 || strcmp(delta_predictor_kind_at(p, to), k->name) == 0))
                                to++;
                        buf_append(&k->literals, n.data + from, (size_t)(to - from));
                        k->literal += (uint64_t)(to - from);
                        k->bytes += (uint64_t)(to - from);
                        from = to;
                }
                if (i == e->match.n_pieces)
                        break;
                struct delta_piece piece = e->match.pieces[i];
                struct kind *k = kind_named(delta_predictor_kind_at(p, piece.new_offset));
                delta_put_number(&k->shape, (uint64_t)(piece.new_offset - at));
                delta_put_signed(&k->shape, piece.old_offset - old_end);
                delta_put_number(&k->shape, (uint64_t)piece.length);
                k->pieces++;
                for (int64_t done = 0; done < piece.length;) {
                        size_t want = (size_t)MIN((int64_t)sizeof(predicted), piece.length - done);
                        check(delta_predictor_predict(p, piece.old_offset + done, piece.new_offset + done,
                                                      want, predicted),
                              "predict");
                        for (size_t j = 0; j < want;) {
                                k = kind_named(
                                        delta_predictor_kind_at(p, piece.new_offset + done + (int64_t)j));
                                size_t to = MIN(want,
                                                j + 64 - (size_t)(piece.new_offset + done + (int64_t)j) % 64);
                                put_difference(k, predicted + j, n.data + piece.new_offset + done + j,
                                               to - j);
                                j = to;
                        }
                        done += (int64_t)want;
                }
                at = piece.new_offset + piece.length;
                old_end = piece.old_offset + piece.length;
        }
        delta_predictor_free(p);
        free(by_old);
        close_view(&o);
        close_view(&n);
        for (size_t i = 0; i < tool.n_kinds; i++)
                wrong_after += tool.kinds[i].wrong + tool.kinds[i].literal;
        if (tool.files)
                printf("%10zu wrong %6zu pieces %10lld %s\n", wrong_after - wrong_before, e->match.n_pieces,
                       (long long)n.length, e->new_path);
}

static int compare_kinds(const void *a, const void *b) {
        const struct kind *x = a, *y = b;
        uint64_t p = x->wrong + x->literal, q = y->wrong + y->literal;
        return p > q ? -1 : p < q;
}

static double seconds(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
        for (int i = 3; i < argc; i++) {
                if (strcmp(argv[i], "--files") == 0)
                        tool.files = true;
                else if (i + 1 == argc)
                        break;
                else if (strcmp(argv[i], "--every") == 0)
                        tool.every = (unsigned)atoi(argv[++i]);
                else if (strcmp(argv[i], "--threads") == 0)
                        tool.threads = (unsigned)atoi(argv[++i]);
                else if (strcmp(argv[i], "--match") == 0)
                        tool.match = argv[++i];
                else if (strcmp(argv[i], "--skip") == 0)
                        tool.skip = argv[++i];
                else if (strcmp(argv[i], "--rename") == 0) {
                        char *text = argv[++i], *equals = strchr(text, '=');
                        if (equals) {
                                *equals = '\0';
                                tool.rename_from = text;
                                tool.rename_to = equals + 1;
                        }
                }
        }
        if (argc < 3) {
                fprintf(stderr, "usage: predict_tool OLD NEW [--every N] [--match TEXT] [--rename FROM=TO]"
                                " [--skip TEXT] [--threads N] [--files]\n");
                return 2;
        }
        tool.old_root = argv[1];
        tool.new_root = argv[2];
        check(nftw(tool.old_root, visit, 32, FTW_PHYS) < 0 ? -errno : 0, tool.old_root);
        qsort(tool.entries, tool.n, sizeof(*tool.entries), compare_entries);
        if (tool.every > 1) {
                size_t kept = 0;
                for (size_t i = 0; i < tool.n; i += tool.every)
                        tool.entries[kept++] = tool.entries[i];
                tool.n = kept;
        }
        double start = seconds();
        pthread_t threads[16];
        tool.threads = MIN(tool.threads, 16u);
        for (unsigned i = 0; i < tool.threads; i++)
                check(-pthread_create(&threads[i], NULL, match_some, NULL), "thread");
        for (unsigned i = 0; i < tool.threads; i++)
                pthread_join(threads[i], NULL);
        double matched = seconds();
        struct delta_shared_maker *maker = NULL;
        struct delta_shared *shared = NULL;
        _cleanup_(buf_done) struct buf shared_bytes = BUF_INIT, sides = BUF_INIT;
        check(delta_shared_maker_new(&maker), "shared tables");
        for (size_t i = 0; i < tool.n; i++) {
                if (!tool.entries[i].matched)
                        continue;
                struct view o = open_view(tool.entries[i].old_path), n = open_view(tool.entries[i].new_path);
                struct delta_pair pair = {o.data, n.data, o.length, n.length};
                check(delta_shared_maker_add(maker, &pair, &tool.entries[i].match), "shared tables");
                close_view(&o);
                close_view(&n);
        }
        check(delta_shared_maker_encode(maker, &shared_bytes), "shared tables");
        delta_shared_maker_free(maker);
        check(delta_shared_parse(shared_bytes.data, shared_bytes.len, &shared, NULL), "shared tables");
        double gathered = seconds();
        size_t pairs = 0;
        for (size_t i = 0; i < tool.n; i++)
                if (tool.entries[i].matched) {
                        measure(&tool.entries[i], shared, &sides);
                        pairs++;
                }
        double predicted = seconds();
        qsort(tool.kinds, tool.n_kinds, sizeof(tool.kinds[0]), compare_kinds);
        printf("%-34s %11s %9s %9s %7s %8s %8s %8s %8s %9s\n", "kind", "bytes", "wrong", "literal", "pieces",
               "z-gaps", "z-values", "z-liter", "z-piece", "z-all");
        size_t all[5] = {0};
        uint64_t sums[4] = {0};
        for (size_t i = 0; i < tool.n_kinds; i++) {
                struct kind *k = &tool.kinds[i];
                size_t z[4] = {squeezed(&k->gaps), squeezed(&k->values), squeezed(&k->literals),
                               squeezed(&k->shape)};
                size_t sum = z[0] + z[1] + z[2] + z[3];
                for (size_t j = 0; j < 4; j++)
                        all[j] += z[j];
                all[4] += sum;
                sums[0] += k->bytes;
                sums[1] += k->wrong;
                sums[2] += k->literal;
                sums[3] += k->pieces;
                if (sum > 100)
                        printf("%-34.34s %11lu %9lu %9lu %7lu %8zu %8zu %8zu %8zu %9zu\n", k->name, k->bytes,
                               k->wrong, k->literal, k->pieces, z[0], z[1], z[2], z[3], sum);
        }
        printf("%-34s %11lu %9lu %9lu %7lu %8zu %8zu %8zu %8zu %9zu\n", "sum", sums[0], sums[1], sums[2],
               sums[3], all[0], all[1], all[2], all[3], all[4]);
        size_t z_side = squeezed(&sides), z_shared = squeezed(&shared_bytes);
        printf("%zu pairs; side %zu -> %zu, shared %zu -> %zu; total %zu\n", pairs, sides.len, z_side,
               shared_bytes.len, z_shared, all[4] + z_side + z_shared);
        printf("matched in %.1f s (%u threads), shared tables %.1f s, predicted and compared %.1f s\n",
               matched - start, tool.threads, gathered - matched, predicted - gathered);
        delta_shared_free(shared);
        return 0;
}
