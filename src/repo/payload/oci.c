/* SPDX-License-Identifier: Apache-2.0 */
/* The reading half of container images: what is in a payload, which may be hostile. */
#include "repo/payload/oci.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "base/table.h"
#include "codec/json.h"
#include "crypto/digest.h"

const char *oci_digest(const json_t *text) {
        const char *digits = str_after_prefix(json_string_value(text), "sha256:");
        return digits && sha256_hex_is_valid(digits) ? digits : NULL;
}

int oci_config_platform(const json_t *config, char ret[PLATFORM_MAX], struct err **err) {
        const char *system = json_string_value(json_object_get(config, "os"));
        const char *architecture = json_string_value(json_object_get(config, "architecture"));
        const char *variant = json_string_value(json_object_get(config, "variant"));
        if (str_is_empty(system) || str_is_empty(architecture))
                return err_set(err, EINVAL, "it does not say which os and architecture the image is for");
        bool more = !str_is_empty(variant);
        _cleanup_(x_freep) char *text =
                str_format("%s/%s%s%s", system, architecture, more ? "/" : "", more ? variant : "");
        return text ? platform_parse(text, ret, err) : err_set_errno(err, ENOMEM, "read the config");
}

void payload_oci_done(struct oci_payload *o) {
        free(o->layers);
        *o = (struct oci_payload){0};
}

struct files { /* of the archive, by path */
        struct pax_reader reader;
        struct table *blobs;
};

static int read_files(struct files *f, struct err **err) {
        for (;;) {
                struct pax_entry e = {0};
                int r = pax_read_entry(&f->reader, &e, err);
                if (r <= 0)
                        return r;
                char shown[256];
                if (e.kind == PAX_FOLDER && (str_eq(e.path, "blobs") || str_eq(e.path, "blobs/sha256"))) {
                        pax_entry_done(&e);
                        continue;
                }
                const char *digest = str_after_prefix(e.path, "blobs/sha256/");
                bool known = (digest && sha256_hex_is_valid(digest)) || str_eq(e.path, "index.json") ||
                             str_eq(e.path, "oci-layout");
                if (e.kind != PAX_FILE || !known || e.packed != e.size ||
                    table_len(f->blobs) > OCI_LAYERS_MAX + 8)
                        r = err_set(err, EINVAL, "the entry '%s' has no place in an image",
                                    pax_shown(e.path, shown));
                struct oci_blob *blob = r > 0 ? calloc(1, sizeof(*blob)) : NULL;
                if (blob) {
                        blob->at = e.data;
                        blob->length = e.size;
                        if (digest)
                                memcpy(blob->sha256, digest, sizeof(blob->sha256));
                        if (table_set(f->blobs, e.path, blob) < 0) {
                                free(blob);
                                blob = NULL;
                        }
                }
                pax_entry_done(&e);
                if (r < 0)
                        return r;
                if (!blob)
                        return err_set_errno(err, ENOMEM, "read the image");
        }
}

static const struct oci_blob *find_blob(const struct files *f, const json_t *descriptor) {
        char path[128] = "blobs/sha256/";
        const char *digest = oci_digest(json_object_get(descriptor, "digest"));
        if (!digest)
                return NULL;
        memcpy(path + strlen(path), digest, 65);
        const struct oci_blob *blob = table_get(f->blobs, path);
        const json_t *size = json_object_get(descriptor, "size");
        return blob && json_is_integer(size) && json_integer_value(size) == blob->length ? blob : NULL;
}

static int read_json(struct files *f, const struct oci_blob *blob, const char *what, json_t **ret,
                     struct err **err) {
        if (!blob)
                return err_set(err, EINVAL, "the image has no %s, or it has another length", what);
        if (blob->length > (int64_t)OCI_JSON_MAX)
                return err_set(err, EFBIG, "the image's %s is larger than %u bytes", what, OCI_JSON_MAX);
        _cleanup_(x_freep) char *text = malloc((size_t)blob->length + 1);
        char is[SHA256_HEX_SIZE];
        if (!text)
                return err_set_errno(err, ENOMEM, "read the image's %s", what);
        int r = pax_read_at(&f->reader, blob->at, text, (size_t)blob->length, err);
        if (r < 0)
                return r;
        text[blob->length] = '\0';
        sha256_hex(text, (size_t)blob->length, is);
        if (*blob->sha256 && !str_eq(is, blob->sha256))
                return err_set(err, EINVAL, "the image's %s is damaged: its digest is %s", what, is);
        r = json_decode(text, (size_t)blob->length, ret, err);
        return r < 0 ? err_wrap_code(err, r, "the image's %s", what) : 0;
}

static int check_layers(struct files *f, const json_t *manifest, const json_t *config, struct oci_payload *o,
                        struct err **err) {
        const json_t *layers = json_object_get(manifest, "layers");
        const json_t *ids = json_object_get(json_object_get(config, "rootfs"), "diff_ids");
        size_t n = json_array_size(layers);
        if (!json_is_array(layers) || n > OCI_LAYERS_MAX || json_array_size(ids) != n)
                return err_set(err, EINVAL,
                               "the image's manifest and config name other layers, or more than %d",
                               OCI_LAYERS_MAX);
        o->layers = calloc(n + 1, sizeof(*o->layers));
        if (!o->layers)
                return err_set_errno(err, ENOMEM, "read the image");
        for (size_t i = 0; i < n; i++) {
                const struct oci_blob *blob = find_blob(f, json_array_get(layers, i));
                const char *id = oci_digest(json_array_get(ids, i));
                if (!blob || !id || !str_eq(blob->sha256, id))
                        return err_set(err, EINVAL,
                                       "the image's layer %zu is missing, or is not named by its diff_id",
                                       i + 1);
                o->layers[i] = *blob;
        }
        o->summary.n_layers = n;
        return 0;
}

static int read_image(struct files *f, struct oci_payload *o, struct err **err) {
        _cleanup_json_ json_t *index = NULL, *manifest = NULL, *config = NULL;
        int r = read_json(f, table_get(f->blobs, "index.json"), "index.json", &index, err);
        if (r < 0)
                return r;
        const json_t *manifests = json_object_get(index, "manifests");
        if (!table_get(f->blobs, "oci-layout") || json_array_size(manifests) != 1)
                return err_set(err, EINVAL, "the image's index does not list one manifest");
        const json_t *d = json_array_get(manifests, 0);
        const struct oci_blob *m = find_blob(f, d);
        if ((r = read_json(f, m, "manifest", &manifest, err)) < 0)
                return r;
        const struct oci_blob *c = find_blob(f, json_object_get(manifest, "config"));
        if ((r = read_json(f, c, "config", &config, err)) < 0 ||
            (r = check_layers(f, manifest, config, o, err)) < 0 ||
            (r = oci_config_platform(config, o->summary.platform, err)) < 0)
                return r;
        if (!m || !c) /* read_json() has said so already */
                return -EINVAL;
        o->config = *c;
        memcpy(o->summary.config_sha256, c->sha256, sizeof(c->sha256));
        memcpy(o->summary.manifest_sha256, m->sha256, sizeof(m->sha256));
        const char *reference =
                json_string_value(json_object_get(json_object_get(d, "annotations"), OCI_ANNOTATION_NAME));
        if (reference && strlen(reference) < sizeof(o->summary.reference))
                memcpy(o->summary.reference, reference, strlen(reference) + 1);
        return 0;
}

int payload_oci_open(int payload_fd, struct oci_payload *ret, struct err **err) {
        struct files f = {.blobs = table_new(free)};
        struct oci_payload o = {0};
        int r = f.blobs ? pax_reader_init(&f.reader, payload_fd, err)
                        : err_set_errno(err, ENOMEM, "read the image");
        if (r == 0)
                r = read_files(&f, err);
        if (r == 0)
                r = read_image(&f, &o, err);
        pax_reader_done(&f.reader);
        table_free(f.blobs);
        if (r < 0) {
                payload_oci_done(&o);
                return r;
        }
        *ret = o;
        return 0;
}

int payload_oci_summary(int payload_fd, struct oci_summary *ret, struct err **err) {
        struct oci_payload o;
        int r = payload_oci_open(payload_fd, &o, err);
        if (r < 0)
                return r;
        *ret = o.summary;
        payload_oci_done(&o);
        return 0;
}
