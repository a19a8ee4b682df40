/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile payload: read, unpacked, compared with what was unpacked, taken for a container image. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "repo/payload.h"

#define BLOCK 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Sums of headers are made right, so that what is behind them is reached. */
static void put_sums(char *p, size_t n) {
        for (size_t at = 0; at + BLOCK <= n; at += BLOCK) {
                unsigned sum = 0;
                char text[8];
                if (memcmp(p + at + 257, "ustar", 5) != 0)
                        continue;
                memset(p + at + 148, ' ', 8);
                for (size_t i = 0; i < BLOCK; i++)
                        sum += (unsigned char)p[at + i];
                (void)snprintf(text, sizeof(text), "%06o", sum & 0777777);
                memcpy(p + at + 148, text, 7);
        }
}

static int open_copy(const uint8_t *data, size_t size) {
        int fd = memfd_create("payload", MFD_CLOEXEC);
        char *copy = malloc(size + 1);
        if (fd < 0 || !copy)
                abort();
        if (size > 0)
                memcpy(copy, data, size);
        put_sums(copy, size);
        if (write(fd, copy, size) != (ssize_t)size)
                abort();
        free(copy);
        return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const struct payload_unpack_options o = {.max_bytes = 1 << 20, .max_entries = 64};
        _cleanup_(x_closep) int fd = open_copy(data, size);
        char outer[] = "/dev/shm/skerry-fuzz-XXXXXX", inner[sizeof(outer) + 8];
        struct root_dir *root = NULL;
        struct oci_summary image;
        struct stat st;
        char first[256];
        unsigned differ = 0;

        if (!mkdtemp(outer))
                abort();
        (void)snprintf(inner, sizeof(inner), "%s/in", outer);
        if (mkdir(inner, 0755) < 0 || root_dir_open(inner, &root, NULL) < 0)
                abort();
        if (payload_unpack_tree(fd, root, &o, NULL) == 0 &&
            (payload_check_tree(fd, root, false, &differ, first, sizeof(first), NULL) < 0 || differ > 0))
                abort(); /* what was unpacked is what the payload says */
        root_dir_free(root);
        /* Nothing came to lie beside the folder. */
        if (path_remove(inner, NULL) < 0 || stat(outer, &st) < 0 || rmdir(outer) < 0)
                abort();
        (void)payload_oci_summary(fd, &image, NULL);
        return 0;
}
