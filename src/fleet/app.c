/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/app.h"

#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"

static const char *const driver_names[] = {
        [APP_DRIVER_FILES] = "files",
        [APP_DRIVER_PROCESS] = "process",
        [APP_DRIVER_PODMAN] = "podman",
};

const char *app_driver_name(enum app_driver d) {
        return (size_t)d < ARRAY_SIZE(driver_names) ? driver_names[d] : "unknown";
}

int app_driver_from_name(const char *name, enum app_driver *ret) {
        for (size_t i = 0; name && i < ARRAY_SIZE(driver_names); i++)
                if (strcmp(driver_names[i], name) == 0) {
                        *ret = (enum app_driver)i;
                        return 0;
                }
        return -EINVAL;
}

/* Of each part, whatever stands in place of references: what they bring is looked at once they are replaced.
 */
static bool parts_are_safe(const char *path) {
        for (const char *p = path; *p; p++)
                if ((unsigned char)*p < 0x20 || *p == 0x7f)
                        return false;
        for (const char *p = path; *p; p += strspn(p, "/")) {
                size_t n = strcspn(p, "/");
                if (n == 2 && p[0] == '.' && p[1] == '.')
                        return false;
                p += n;
        }
        return true;
}

bool app_path_is_safe(const char *path, bool expanded) {
        if (expanded || !strstr(path, "${"))
                return path[0] == '/' && path_is_beneath(path + 1);
        return (path[0] == '/' || str_has_prefix(path, "${")) && parts_are_safe(path);
}

bool app_path_is_safe_below(const char *path) {
        if (!strstr(path, "${"))
                return path_is_beneath(path);
        return path[0] != '/' && parts_are_safe(path);
}
