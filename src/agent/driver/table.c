/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/driver/driver.h"
#include "base/str.h"

static const struct driver *const drivers[] = {
        &files_driver,
        &process_driver,
        &podman_driver,
};

const struct driver *driver_for(enum app_driver kind) {
        for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
                if (drivers[i]->kind == kind)
                        return drivers[i];
        return NULL;
}

char *driver_state_path(const struct driver_host *host, const char *folder, const char *app,
                        const char *suffix) {
        return str_format("%s/%s/%s%s", host->state, folder, app, suffix);
}
