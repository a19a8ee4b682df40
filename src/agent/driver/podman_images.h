/* SPDX-License-Identifier: Apache-2.0 */
/* Artifacts of type oci in podman's store: loaded from their payload when the image is not there, tagged
 * localhost/<name>:<version>, taken away when no source of the ledger names them any more. What was loaded is
 * written down in <state>/podman/images.json ({"format":1,"images":["localhost/web:1.2.0"]}); nothing else is
 * ever removed. */
#pragma once

#include "agent/driver/driver.h"

struct podman_images;
typedef void (*podman_images_done)(void *arg, int error, const char *message);

/* Brings every oci artifact of the unit. done() once, never from within. */
int podman_images_load(const struct driver_host *host, const struct unit *unit, podman_images_done done,
                       void *arg, struct podman_images **ret, struct err **err);
/* Removes what nothing names. NULL in *ret, and 0, where nothing is to be done. */
int podman_images_tidy(const struct driver_host *host, podman_images_done done, void *arg,
                       struct podman_images **ret, struct err **err);
/* Ends it without done(). */
struct podman_images *podman_images_free(struct podman_images *p);
