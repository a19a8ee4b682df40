/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the payload modules: container images, as others write them and as payloads hold them. */
#pragma once

#include <jansson.h>

#include "repo/payload.h"
#include "repo/payload/pax.h"

#define OCI_JSON_MAX (4u << 20) /* bytes of an index, manifest or config */
#define OCI_LAYERS_MAX 256
#define OCI_INDEX_MAX 1024 /* manifests */
#define OCI_INDEX_DEPTH 4

#define OCI_MEDIA_INDEX "application/vnd.oci.image.index.v1+json"
#define OCI_MEDIA_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define OCI_MEDIA_CONFIG "application/vnd.oci.image.config.v1+json"
#define OCI_MEDIA_LAYER "application/vnd.oci.image.layer.v1.tar"
#define OCI_ANNOTATION_NAME "org.opencontainers.image.ref.name"

/* "sha256:<hex>" -> the digits; NULL: no such digest. */
const char *oci_digest(const json_t *text);
/* What an image's config says it runs on. */
int oci_config_platform(const json_t *config, char ret[PLATFORM_MAX], struct err **err);

/* Where a blob lies. */
struct oci_blob {
        char sha256[65];
        int64_t at, length;
};
/* What payload_oci_open() found: manifest, config, and the layers in the order of the manifest. */
struct oci_payload {
        struct oci_summary summary;
        struct oci_blob config;
        struct oci_blob *layers;
};
int payload_oci_open(int payload_fd, struct oci_payload *ret, struct err **err);
void payload_oci_done(struct oci_payload *o);
