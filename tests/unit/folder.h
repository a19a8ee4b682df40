/* SPDX-License-Identifier: Apache-2.0 */
/* A folder of a test program's own: made by make_folder() and removed by remove_folder(), for a group or for
 * each test. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "base/fs.h"

static char *folder;

static inline int make_folder(void **state) {
        char path[] = "/tmp/skerry-test-XXXXXX";
        folder = mkdtemp(path) ? strdup(path) : NULL;
        return folder ? 0 : -1;
}

static inline int remove_folder(void **state) {
        int r = path_remove(folder, NULL);
        free(folder);
        folder = NULL;
        return r;
}
