/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/app.h"

#include <errno.h>
#include <string.h>

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
