/* SPDX-License-Identifier: Apache-2.0 */
/* tar (POSIX ustar and pax, GNU long names; IEEE 1003.1 "pax") and cpio (newc). A container image in an
 * archive is tar within tar: blobs are named by digests that change, so what is in them goes by its inner
 * path. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "repo/delta/extents.h"

#define BLOCK 512
#define PATH_ROOM 4096

static bool is_tar_header(const uint8_t *p) {
        if (memcmp(p + 257, "ustar", 5) != 0)
                return false;
        unsigned sum = 0, want = 0;
        for (int i = 0; i < BLOCK; i++)
                sum += i >= 148 && i < 156 ? ' ' : p[i];
        for (int i = 148; i < 156; i++)
                if (p[i] >= '0' && p[i] <= '7')
                        want = want * 8 + (p[i] - '0');
                else if (want > 0)
                        break;
        return sum == want;
}

static int64_t tar_number(const uint8_t *p, size_t n) {
        int64_t v = 0;
        if (*p & 0x80) { /* GNU's base 256 */
                for (size_t i = 1; i < n; i++) {
                        if (v >= (int64_t)1 << 48)
                                return -1;
                        v = v << 8 | p[i];
                }
                return v;
        }
        for (size_t i = 0; i < n; i++)
                if (p[i] >= '0' && p[i] <= '7')
                        v = v * 8 + (p[i] - '0');
                else if (p[i] != ' ')
                        break;
        return v;
}

/* Records are "length key=value\n". */
static void pax_records(const uint8_t *p, size_t n, char path[PATH_ROOM], int64_t *size) {
        while (n > 0) {
                size_t length = 0, i = 0;
                while (i < n && i < 8 && p[i] >= '0' && p[i] <= '9')
                        length = length * 10 + (size_t)(p[i++] - '0');
                if (i == 0 || i >= n || p[i] != ' ' || length <= i + 1 || length > n)
                        return;
                const char *record = (const char *)p + i + 1;
                size_t room = length - i - 2;
                if (room > 5 && memcmp(record, "path=", 5) == 0 && room - 5 < PATH_ROOM) {
                        memcpy(path, record + 5, room - 5);
                        path[room - 5] = 0;
                } else if (room > 5 && room < 5 + 18 && memcmp(record, "size=", 5) == 0) {
                        char number[20] = "";
                        memcpy(number, record + 5, room - 5);
                        *size = strtoll(number, NULL, 10);
                }
                p += length;
                n -= length;
        }
}

static void header_path(const uint8_t *header, char path[PATH_ROOM]) {
        const char *name = (const char *)header, *prefix = (const char *)header + 345;
        if (*prefix && memcmp(header + 257, "ustar\0", 6) == 0)
                snprintf(path, PATH_ROOM, "%.155s/%.100s", prefix, name);
        else
                snprintf(path, PATH_ROOM, "%.100s", name);
}

static int add_member(struct delta_extents *e, const char *path, const uint8_t *data, int64_t length,
                      int64_t offset, unsigned depth) {
        int r = -ENOENT;
        if (depth < 3)
                r = delta_extents_tar(e, data, length, offset, depth + 1);
        if (r == -ENOENT && depth < 3)
                r = delta_extents_cpio(e, data, length, offset);
        if (r != -ENOENT)
                return r;
        r = delta_extents_file(e, path, strlen(path));
        return r < 0 ? r : delta_extents_span(e, offset, length);
}

int delta_extents_tar(struct delta_extents *e, const uint8_t *image, int64_t length, int64_t base,
                      unsigned depth) {
        if (length < 2 * BLOCK || !is_tar_header(image))
                return -ENOENT;
        char path[PATH_ROOM] = "";
        int64_t size = -1;
        for (int64_t at = 0; length - at >= BLOCK;) {
                const uint8_t *header = image + at;
                if (!is_tar_header(header))
                        break;
                int64_t n = tar_number(header + 124, 12);
                char type = (char)header[156];
                at += BLOCK;
                if (size >= 0 && type != 'x' && type != 'L' && type != 'K' && type != 'g')
                        n = size;
                if (n < 0 || n > length - at)
                        break;
                if (type == 'x')
                        pax_records(image + at, (size_t)n, path, &size);
                else if (type == 'L' && n < PATH_ROOM) {
                        memcpy(path, image + at, (size_t)n);
                        path[n] = 0;
                } else if (type != 'K' && type != 'g' && type != 'L') {
                        if (!*path)
                                header_path(header, path);
                        if ((type == '0' || type == 0) && n > 0) {
                                int r = add_member(e, path, image + at, n, base + at, depth);
                                if (r < 0)
                                        return r == -E2BIG ? 0 : r;
                        }
                        *path = 0;
                        size = -1;
                        if (type >= '1' && type <= '6')
                                n = 0;
                }
                at += (n + BLOCK - 1) / BLOCK * BLOCK;
        }
        return 0;
}

static int64_t cpio_number(const uint8_t *p) {
        int64_t v = 0;
        for (int i = 0; i < 8; i++) {
                int digit = p[i] >= '0' && p[i] <= '9'   ? p[i] - '0'
                            : p[i] >= 'a' && p[i] <= 'f' ? p[i] - 'a' + 10
                            : p[i] >= 'A' && p[i] <= 'F' ? p[i] - 'A' + 10
                                                         : -1;
                if (digit < 0)
                        return -1;
                v = v * 16 + digit;
        }
        return v;
}

int delta_extents_cpio(struct delta_extents *e, const uint8_t *image, int64_t length, int64_t base) {
        if (length < 110 || memcmp(image, "07070", 5) != 0 || (image[5] != '1' && image[5] != '2'))
                return -ENOENT;
        for (int64_t at = 0; length - at >= 110;) {
                const uint8_t *header = image + at;
                if (memcmp(header, "07070", 5) != 0)
                        break;
                int64_t mode = cpio_number(header + 14), n = cpio_number(header + 54),
                        name = cpio_number(header + 94), name_at = at + 110;
                if (mode < 0 || n < 0 || name <= 0 || name > PATH_ROOM || name > length - name_at)
                        break;
                int64_t data = (name_at + name + 3) / 4 * 4;
                if (data > length || n > length - data)
                        break;
                const char *path = (const char *)image + name_at;
                if (name == 11 && memcmp(path, "TRAILER!!!", 10) == 0)
                        break;
                if ((mode & 0170000) == 0100000 && n > 0) {
                        int r = delta_extents_file(e, path, strnlen(path, (size_t)name));
                        if (r == 0)
                                r = delta_extents_span(e, base + data, n);
                        if (r < 0)
                                return r == -E2BIG ? 0 : r;
                }
                at = MIN((data + n + 3) / 4 * 4, length);
        }
        return 0;
}
