/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "agent/driver/driver.h"

static int podman_new(const struct driver_host *host, const struct driver_app *app,
                      const struct driver_listener *listener, struct driver_part **ret, struct err **err) {
        return err_set(err, ENOTSUP, "app %s: podman apps cannot be run yet", app->name);
}
const struct driver podman_driver = {.name = "podman", .kind = APP_DRIVER_PODMAN, .part_new = podman_new};
