/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over the files of a folder: its corpus as a regression test. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *data = NULL;
        size_t len = 0;
        if (file_read(path, 64u << 20, &data, &len, &err) < 0) {
                fprintf(stderr, "%s\n", err_message(err));
                return -1;
        }
        LLVMFuzzerTestOneInput((const uint8_t *)data, len);
        return 0;
}

int main(int argc, char **argv) {
        size_t n = 0;
        if (argc != 2) {
                fprintf(stderr, "usage: %s CORPUS-FOLDER\n", argv[0]);
                return 64;
        }
        DIR *dir = opendir(argv[1]);
        if (!dir) {
                fprintf(stderr, "open %s: %s\n", argv[1], strerror(errno));
                return 1;
        }
        for (struct dirent *e; (e = readdir(dir));) {
                if (e->d_name[0] == '.')
                        continue;
                _cleanup_(x_freep) char *path = path_join(argv[1], e->d_name);
                if (!path || run_file(path) < 0) {
                        closedir(dir);
                        return 1;
                }
                n++;
        }
        closedir(dir);
        printf("%zu inputs\n", n);
        if (n == 0) {
                fprintf(stderr, "%s holds no inputs\n", argv[1]);
                return 1;
        }
        return 0;
}
