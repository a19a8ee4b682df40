/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/driver/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/str.h"

#define OUTPUT_TAIL 4096

int output_open(const char *path, int *ret_fd, off_t *ret_size, struct err **err) {
        struct stat st;
        const char *slash = strrchr(path, '/');
        _cleanup_(x_freep) char *folder = slash ? str_dup_n(path, (size_t)(slash - path)) : str_dup(".");
        if (!folder)
                return err_set_errno(err, ENOMEM, "open %s", path);
        int r = dir_make(folder, 0700, err);
        if (r < 0)
                return r;
        _cleanup_(x_closep) int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0 || fstat(fd, &st) < 0)
                return err_set_errno(err, errno, "open %s", path);
        *ret_size = st.st_size;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* The last OUTPUT_FILE_MAX bytes of `from` into a new file. */
static int copy_tail(int from, off_t size, const char *to) {
        char block[16384];
        off_t at = size > OUTPUT_FILE_MAX ? size - OUTPUT_FILE_MAX : 0;
        _cleanup_(x_closep) int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        while (at < size) {
                ssize_t n = pread(from, block, sizeof(block), at);
                if (n <= 0)
                        return n < 0 ? -errno : 0;
                if (write(fd, block, (size_t)n) != n)
                        return errno ? -errno : -EIO;
                at += n;
        }
        return 0;
}

int output_trim(const char *path, off_t *ret_size) {
        struct stat st;
        _cleanup_(x_closep) int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (st.st_size <= OUTPUT_FILE_MAX) {
                *ret_size = st.st_size;
                return 0;
        }
        _cleanup_(x_freep) char *older = str_format("%s.1", path);
        if (!older)
                return -ENOMEM;
        errno = 0;
        int r = copy_tail(fd, st.st_size, older);
        /* A full disk is the very case in which it must still be cut. */
        if (ftruncate(fd, 0) < 0)
                return -errno;
        *ret_size = 0;
        return r;
}

void text_last_line(const char *text, size_t len, char *out, size_t size) {
        if (size == 0)
                return;
        out[0] = '\0';
        while (len > 0 && (unsigned char)text[len - 1] <= ' ')
                len--;
        size_t start = len;
        while (start > 0 && text[start - 1] != '\n')
                start--;
        while (start < len && (unsigned char)text[start] <= ' ')
                start++;
        size_t n = MIN(len - start, size - 1);
        for (size_t i = 0; i < n; i++) {
                unsigned char c = (unsigned char)text[start + i];
                out[i] = c < ' ' || c == 0x7f ? ' ' : (char)c;
        }
        /* A cut through a UTF-8 sequence would spoil the whole message. */
        while (n > 0 && !utf8_is_valid(out, n))
                n--;
        out[n] = '\0';
}

void output_last_line(const char *path, off_t since, char *out, size_t size) {
        char tail[OUTPUT_TAIL];
        struct stat st;

        if (size)
                out[0] = '\0';
        _cleanup_(x_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 || fstat(fd, &st) < 0)
                return;
        off_t at = since <= st.st_size ? since : 0;
        if (st.st_size - at > OUTPUT_TAIL)
                at = st.st_size - OUTPUT_TAIL;
        ssize_t n = pread(fd, tail, sizeof(tail), at);
        if (n > 0)
                text_last_line(tail, (size_t)n, out, size);
}
