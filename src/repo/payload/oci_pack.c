/* SPDX-License-Identifier: Apache-2.0 */
/* Container images, from an OCI image layout (a folder, or an archive of it) or what `docker save` writes, to
 * the one form payloads have: layers uncompressed and named by their diff_id, the config as it is (its digest
 * is the image's id), manifest and index written anew. So the same image gives the same bytes however it was
 * saved. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/str.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "repo/payload/archive.h"
#include "repo/payload/oci.h"
#include "repo/payload/pack.h"

#define LINKS_MAX 8 /* old archives hold repeated layers as symbolic links */
#define REFERENCE_MAX 255

/* ---- where files are read from: a folder, or an archive that was unpacked into one temporary file */

struct spooled {
        int64_t at, length;
        char *link; /* else NULL */
};

static void spooled_free(void *value) {
        struct spooled *s = value;
        free(s->link);
        free(s);
}

struct source {
        const char *name; /* for errors */
        struct root_dir *root;
        struct table *files;
        int spool_fd;
};

struct region { /* bytes of a file */
        int fd;
        bool own;
        int64_t at, length;
};

static void region_done(struct region *x) {
        if (x->own)
                (void)close(x->fd);
        x->own = false;
}

static void source_done(struct source *s) {
        root_dir_free(s->root);
        table_free(s->files);
        if (s->spool_fd >= 0)
                (void)close(s->spool_fd);
}

static int spool_entry(struct source *s, struct archive_reader *a, struct archive_entry *entry,
                       const char *path, int64_t *at, struct err **err) {
        struct spooled *f = calloc(1, sizeof(*f));
        const char *hard = archive_entry_hardlink(entry), *soft = archive_entry_symlink(entry);
        int r = 0;
        if (!f)
                return err_set_errno(err, ENOMEM, "read %s", s->name);
        f->at = *at;
        if (hard)
                r = archive_reader_path(hard, &f->link, err);
        else if (soft) {
                /* Relative to the folder that the link is in. */
                const char *slash = strrchr(path, '/');
                int folder = slash ? (int)(slash - path) : 0;
                _cleanup_(x_freep) char *text = str_dup(soft), *up = str_dup_n(path, (size_t)folder);
                const char *rest = text;
                while (rest && up && str_has_prefix(rest, "../")) {
                        char *last = strrchr(up, '/');
                        *(last ? last : up) = '\0';
                        rest += 3;
                }
                _cleanup_(x_freep) char *full =
                        rest && up ? str_format("%s%s%s", up, *up ? "/" : "", rest) : NULL;
                r = full ? archive_reader_path(full, &f->link, err) : err_set_errno(err, ENOMEM, "read it");
        } else {
                r = archive_reader_spool(a, entry, s->spool_fd, *at, &f->length, err);
                *at = (*at + f->length + 4095) / 4096 * 4096;
        }
        if (r == 0 && table_get(s->files, path))
                r = err_set(err, EINVAL, "it is there twice");
        if (r == 0 && table_set(s->files, path, f) < 0)
                r = err_set_errno(err, ENOMEM, "read %s", s->name);
        if (r < 0)
                spooled_free(f);
        return r;
}

static int spool_all(struct source *s, struct archive_reader *a, struct err **err) {
        int64_t at = 0;
        for (;;) {
                struct archive_entry *entry = NULL;
                _cleanup_(x_freep) char *path = NULL;
                char shown[256];
                int r = archive_reader_next(a, &entry, err);
                if (r <= 0)
                        return r;
                r = archive_reader_path(archive_entry_pathname(entry), &path, err);
                if (r < 0)
                        return r;
                mode_t type = archive_entry_filetype(entry);
                if (!path || (type == AE_IFDIR && !archive_entry_hardlink(entry)))
                        continue;
                if (type != AE_IFREG && type != AE_IFLNK && !archive_entry_hardlink(entry))
                        return err_set(err, EINVAL, "the entry '%s' is no file", pax_shown(path, shown));
                if (table_len(s->files) >= OCI_INDEX_MAX * OCI_LAYERS_MAX)
                        return err_set(err, EFBIG, "it has more files than an image has");
                r = spool_entry(s, a, entry, path, &at, err);
                if (r < 0)
                        return err_wrap_code(err, r, "the entry '%s'", pax_shown(path, shown));
        }
}

static int source_init(struct source *s, const char *path, const struct payload_progress *p,
                       struct err **err) {
        struct stat st;
        *s = (struct source){.name = path, .spool_fd = -1};
        if (stat(path, &st) < 0)
                return err_set_errno(err, errno, "read %s", path);
        if (S_ISDIR(st.st_mode))
                return root_dir_open(path, &s->root, err);
        struct archive_reader a = {0};
        s->files = table_new(spooled_free);
        if (!s->files)
                return err_set_errno(err, ENOMEM, "read %s", path);
        if ((s->spool_fd = spool_open(err)) < 0)
                return s->spool_fd;
        int r = archive_reader_init(&a, path, p, err);
        if (r == 0)
                r = spool_all(s, &a, err);
        archive_reader_done(&a);
        return r;
}

/* -ENOENT where there is no such file. */
static int source_open(struct source *s, const char *path, struct region *ret, struct err **err) {
        if (s->root) {
                struct stat st;
                int fd = root_dir_openat(s->root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
                if (fd < 0)
                        return err_set_errno(err, -fd, "open %s", path);
                if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
                        (void)close(fd);
                        return err_set(err, EINVAL, "%s is no file", path);
                }
                *ret = (struct region){.fd = fd, .own = true, .length = st.st_size};
                return 0;
        }
        const struct spooled *f = table_get(s->files, path);
        for (int i = 0; f && f->link && i < LINKS_MAX; i++)
                f = table_get(s->files, f->link);
        if (!f || f->link)
                return err_set(err, ENOENT, "%s is not in it", path);
        *ret = (struct region){.fd = s->spool_fd, .at = f->at, .length = f->length};
        return 0;
}

/* A whole small file; sha256 (may be NULL): what its digest must be. */
static int source_read(struct source *s, const char *path, const char *sha256, struct buf *ret,
                       struct err **err) {
        struct region x = {0};
        int r = source_open(s, path, &x, err);
        if (r < 0)
                return r;
        if (x.length > (int64_t)OCI_JSON_MAX)
                r = err_set(err, EFBIG, "%s is larger than %u bytes", path, OCI_JSON_MAX);
        else if (buf_reserve(ret, (size_t)x.length + 1) < 0)
                r = err_set_errno(err, ENOMEM, "read %s", path);
        while (r == 0 && ret->len < (size_t)x.length) {
                ssize_t n = pread(x.fd, ret->data + ret->len, (size_t)x.length - ret->len,
                                  x.at + (int64_t)ret->len);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        r = err_set_errno(err, n < 0 ? errno : EINVAL, "read %s", path);
                else
                        ret->len += (size_t)n;
        }
        region_done(&x);
        if (r < 0)
                return r;
        char is[SHA256_HEX_SIZE];
        sha256_hex(buf_str(ret), ret->len, is);
        return sha256 && !str_eq(is, sha256)
                       ? err_set(err, EINVAL, "%s is damaged: its digest is %s", path, is)
                       : 0;
}

static int source_json(struct source *s, const char *path, const char *sha256, json_t **ret,
                       struct err **err) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        int r = source_read(s, path, sha256, &text, err);
        if (r < 0)
                return r;
        r = json_decode(buf_str(&text), text.len, ret, err);
        return r < 0 ? err_wrap_code(err, r, "%s", path) : 0;
}

static char *blob_path(const char *sha256) {
        return str_format("blobs/sha256/%s", sha256);
}

static int source_json_blob(struct source *s, const char *sha256, json_t **ret, struct err **err) {
        _cleanup_(x_freep) char *path = blob_path(sha256);
        return path ? source_json(s, path, sha256, ret, err) : err_set_errno(err, ENOMEM, "read %s", s->name);
}

/* ---- the images that are in it */

struct image {
        char *config;     /* path */
        char *config_sha; /* or NULL: not said */
        char **layers;    /* paths */
        char reference[REFERENCE_MAX + 1];
        char platform[PLATFORM_MAX];
};
struct images {
        struct image all[OCI_INDEX_MAX];
        size_t n;
        struct buf others; /* platforms that were passed over, for people */
};

static void image_done(struct image *i) {
        free(i->config);
        free(i->config_sha);
        strv_free(i->layers);
}

static struct images *images_free(struct images *i) {
        if (!i)
                return NULL;
        for (size_t k = 0; k < i->n; k++)
                image_done(&i->all[k]);
        buf_done(&i->others);
        free(i);
        return NULL;
}
DEFINE_CLEANUP(struct images, images_free)

static void set_reference(struct image *i, const char *text) {
        if (text && strlen(text) <= REFERENCE_MAX && utf8_is_valid(text, strlen(text)))
                memcpy(i->reference, text, strlen(text) + 1);
}

static const char *annotation(const json_t *descriptor, const char *key) {
        return json_string_value(json_object_get(json_object_get(descriptor, "annotations"), key));
}

static const char *reference_of(const json_t *descriptor) {
        const char *full = annotation(descriptor, "io.containerd.image.name");
        return full ? full : annotation(descriptor, OCI_ANNOTATION_NAME);
}

static int set_platform(struct source *s, struct image *i, struct err **err) {
        _cleanup_json_ json_t *config = NULL;
        int r = source_json(s, i->config, i->config_sha, &config, err);
        if (r == 0)
                r = oci_config_platform(config, i->platform, err);
        return r < 0 ? err_wrap_code(err, r, "config %s", i->config) : 0;
}

static int read_manifest(struct source *s, const char *sha256, struct image *i, struct err **err) {
        _cleanup_json_ json_t *manifest = NULL;
        int r = source_json_blob(s, sha256, &manifest, err);
        if (r < 0)
                return r;
        const json_t *described = json_object_get(manifest, "config");
        const char *media = json_string_value(json_object_get(described, "mediaType"));
        if (media && !str_eq(media, OCI_MEDIA_CONFIG) &&
            !str_eq(media, "application/vnd.docker.container.image.v1+json"))
                return -ENOPKG; /* a signature, a chart: no image */
        const char *config = oci_digest(json_object_get(described, "digest"));
        const json_t *layers = json_object_get(manifest, "layers");
        if (!config || !json_is_array(layers) || json_array_size(layers) > OCI_LAYERS_MAX)
                return err_set(err, EINVAL,
                               "the manifest sha256:%s has no config, or no layers, or more than %d", sha256,
                               OCI_LAYERS_MAX);
        i->config = blob_path(config);
        i->config_sha = str_dup(config);
        size_t k;
        json_t *layer;
        json_array_foreach (layers, k, layer) {
                const char *digest = oci_digest(json_object_get(layer, "digest"));
                if (!digest)
                        return err_set(err, EINVAL, "layer %zu of the manifest sha256:%s has no SHA-256",
                                       k + 1, sha256);
                _cleanup_(x_freep) char *path = blob_path(digest);
                if (!path || strv_push(&i->layers, path) < 0)
                        return err_set_errno(err, ENOMEM, "read %s", s->name);
        }
        return i->config && i->config_sha ? set_platform(s, i, err)
                                          : err_set_errno(err, ENOMEM, "read %s", s->name);
}

static bool is_index(const char *media) {
        return str_eq(media, OCI_MEDIA_INDEX) ||
               str_eq(media, "application/vnd.docker.distribution.manifest.list.v2+json");
}

/* Does the index itself say that this is no image (a signature, an attestation), or none for the platform? */
static bool is_skipped(struct images *all, const json_t *descriptor, const char *platform) {
        const json_t *said = json_object_get(descriptor, "platform");
        const char *system = json_string_value(json_object_get(said, "os"));
        const char *architecture = json_string_value(json_object_get(said, "architecture"));
        const char *variant = json_string_value(json_object_get(said, "variant"));
        if (annotation(descriptor, "vnd.docker.reference.type") || str_eq(system, "unknown"))
                return true;
        if (!system || !architecture || !platform || str_eq(platform, "any"))
                return false;
        _cleanup_(x_freep) char *text =
                str_format("%s/%s%s%s", system, architecture, variant ? "/" : "", variant ? variant : "");
        char is[PLATFORM_MAX];
        if (!text || platform_parse(text, is, NULL) < 0 || platform_match(platform, is) > 0)
                return false;
        if (all->others.len < 256)
                buf_printf(&all->others, "%s%s", all->others.len ? ", " : "", is);
        return true;
}

static int read_index(struct source *s, const json_t *index, const char *reference, const char *platform,
                      unsigned depth, struct images *all, struct err **err) {
        const json_t *manifests = json_object_get(index, "manifests");
        size_t i;
        json_t *d;
        if (!json_is_array(manifests))
                return err_set(err, EINVAL, "an index lists no manifests");
        if (depth >= OCI_INDEX_DEPTH)
                return err_set(err, ELOOP, "indexes lie within indexes more than %d deep", OCI_INDEX_DEPTH);
        json_array_foreach (manifests, i, d) {
                const char *digest = oci_digest(json_object_get(d, "digest"));
                const char *name = reference_of(d);
                if (!digest)
                        return err_set(err, EINVAL, "entry %zu of an index has no SHA-256", i + 1);
                if (is_skipped(all, d, platform))
                        continue;
                name = name ? name : reference;
                int r;
                if (is_index(json_string_value(json_object_get(d, "mediaType")))) {
                        _cleanup_json_ json_t *inner = NULL;
                        r = source_json_blob(s, digest, &inner, err);
                        if (r == 0)
                                r = read_index(s, inner, name, platform, depth + 1, all, err);
                } else {
                        if (all->n >= OCI_INDEX_MAX)
                                return err_set(err, EFBIG, "it holds more than %d images", OCI_INDEX_MAX);
                        struct image *image = &all->all[all->n++];
                        set_reference(image, name);
                        r = read_manifest(s, digest, image, err);
                        if (r == -ENOPKG) {
                                image_done(image);
                                *image = (struct image){0};
                                all->n--;
                                r = 0;
                        }
                }
                if (r < 0)
                        return r;
        }
        return 0;
}

static int read_docker(struct source *s, const json_t *list, struct images *all, struct err **err) {
        size_t i, k;
        json_t *o, *layer;
        if (!json_is_array(list) || json_array_size(list) > OCI_INDEX_MAX)
                return err_set(err, EINVAL,
                               "manifest.json is not the list of images that 'docker save' writes");
        json_array_foreach (list, i, o) {
                const char *config = json_string_value(json_object_get(o, "Config"));
                const json_t *layers = json_object_get(o, "Layers");
                struct image *image = &all->all[all->n++];
                if (!config || !json_is_array(layers) || json_array_size(layers) > OCI_LAYERS_MAX)
                        return err_set(
                                err, EINVAL,
                                "image %zu in manifest.json has no Config, or no Layers, or more than %d",
                                i + 1, OCI_LAYERS_MAX);
                set_reference(image, json_string_value(json_array_get(json_object_get(o, "RepoTags"), 0)));
                int r = archive_reader_path(config, &image->config, err);
                json_array_foreach (layers, k, layer) {
                        _cleanup_(x_freep) char *path = NULL;
                        if (r == 0)
                                r = archive_reader_path(json_string_value(layer), &path, err);
                        if (r == 0 && (!path || strv_push(&image->layers, path) < 0))
                                r = err_set(err, EINVAL, "a layer in manifest.json has no path");
                }
                if (r == 0 && !image->config)
                        r = err_set(err, EINVAL, "image %zu in manifest.json has no path of a config", i + 1);
                if (r == 0)
                        r = set_platform(s, image, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Two names of one image are one. */
static bool is_same(const struct image *a, const struct image *b) {
        return str_eq(a->config, b->config);
}

static void list_images(const struct images *all, struct buf *out) {
        for (size_t i = 0; i < all->n && i < 8; i++)
                buf_printf(out, "%s%s%s%s", i ? ", " : "", all->all[i].reference,
                           *all->all[i].reference ? " " : "", all->all[i].platform);
        if (all->n > 8)
                buf_printf(out, " and %zu more", all->n - 8);
}

static int choose(const struct images *all, const char *platform, const struct image **ret,
                  struct err **err) {
        _cleanup_(buf_done) struct buf there = BUF_INIT;
        const struct image *best = NULL;
        int best_match = 0;
        bool again = false;
        bool open = !platform || str_eq(platform, "any");
        for (size_t i = 0; i < all->n; i++) {
                const struct image *image = &all->all[i];
                int match = open ? 1 : platform_match(platform, image->platform);
                if (match == 0 || match < best_match)
                        continue;
                if (match > best_match)
                        again = false;
                else if (!is_same(image, best))
                        again = true;
                if (match > best_match)
                        best = image;
                best_match = match;
        }
        list_images(all, &there);
        if (!best)
                return err_set(err, EINVAL, "it holds no image for %s, but %s%s%s",
                               open ? "any platform" : platform,
                               all->n + all->others.len ? buf_str(&there) : "none at all",
                               all->n && all->others.len ? ", " : "", buf_str(&all->others));
        if (again)
                return err_set(err, EINVAL, "it holds several images that would do (%s); save the one alone",
                               buf_str(&there));
        *ret = best;
        return 0;
}

/* ---- writing */

struct packed { /* a blob of the result */
        struct oci_blob blob;
        const char *bytes; /* or NULL: in the file */
        int fd;
};

static int by_digest(const void *a, const void *b) {
        return strcmp(((const struct packed *)a)->blob.sha256, ((const struct packed *)b)->blob.sha256);
}

static int put_json(json_t *o, struct buf *out, char sha256[SHA256_HEX_SIZE], struct err **err) {
        int r = o ? json_encode_canonical(o, out, err) : err_set_errno(err, ENOMEM, "write the image");
        json_decref(o);
        if (r == 0)
                sha256_hex(buf_str(out), out->len, sha256);
        return r;
}

static json_t *descriptor(const char *media, const char *sha256, int64_t length) {
        _cleanup_(x_freep) char *digest = str_format("sha256:%s", sha256);
        return digest ? json_pack("{s:s,s:s,s:I}", "mediaType", media, "digest", digest, "size",
                                  (json_int_t)length)
                      : NULL;
}

static int make_manifest(const struct packed *config, const struct packed *layers, size_t n, struct buf *out,
                         char sha256[SHA256_HEX_SIZE], struct err **err) {
        json_t *list = json_array();
        for (size_t i = 0; i < n; i++)
                if (json_array_append_new(list, descriptor(OCI_MEDIA_LAYER, layers[i].blob.sha256,
                                                           layers[i].blob.length)) < 0) {
                        json_decref(list);
                        return err_set_errno(err, ENOMEM, "write the image");
                }
        return put_json(json_pack("{s:i,s:s,s:o,s:o}", "schemaVersion", 2, "mediaType", OCI_MEDIA_MANIFEST,
                                  "config",
                                  descriptor(OCI_MEDIA_CONFIG, config->blob.sha256, config->blob.length),
                                  "layers", list),
                        out, sha256, err);
}

static int make_index(const struct image *image, const struct packed *manifest, struct buf *out,
                      struct err **err) {
        char parts[3][PLATFORM_MAX] = {0}, digest[SHA256_HEX_SIZE];
        const char *p = image->platform;
        for (size_t i = 0; i < 3 && *p; i++) {
                size_t n = strcspn(p, "/");
                memcpy(parts[i], p, n);
                p += n + (p[n] == '/');
        }
        json_t *platform = json_pack("{s:s,s:s}", "os", parts[0], "architecture", parts[1]);
        if (*parts[2])
                (void)json_object_set_new(platform, "variant", json_string(parts[2]));
        json_t *d = descriptor(OCI_MEDIA_MANIFEST, manifest->blob.sha256, manifest->blob.length);
        (void)json_object_set_new(d, "platform", platform);
        if (*image->reference)
                (void)json_object_set_new(d, "annotations",
                                          json_pack("{s:s}", OCI_ANNOTATION_NAME, image->reference));
        return put_json(json_pack("{s:i,s:s,s:[o]}", "schemaVersion", 2, "mediaType", OCI_MEDIA_INDEX,
                                  "manifests", d),
                        out, digest, err);
}

static int write_file(struct pax_writer *w, const char *path, int64_t time, const struct packed *p,
                      struct err **err) {
        _cleanup_(x_freep) char *copy = str_dup(path);
        struct pax_extent whole = {0, p->blob.length};
        const struct pax_entry e = {.kind = PAX_FILE,
                                    .path = copy,
                                    .mode = 0644,
                                    .time = time,
                                    .size = p->blob.length,
                                    .extents = &whole,
                                    .n_extents = p->blob.length > 0};
        int r = copy ? pax_write_entry(w, &e, err) : err_set_errno(err, ENOMEM, "write the image");
        if (r < 0 || p->blob.length == 0)
                return r;
        return p->bytes ? pax_write_data(w, p->bytes, (size_t)p->blob.length, err)
                        : pax_write_from(w, p->fd, p->blob.at, p->blob.length, err);
}

static int write_folder(struct pax_writer *w, const char *path, int64_t time, struct err **err) {
        _cleanup_(x_freep) char *copy = str_dup(path);
        const struct pax_entry e = {.kind = PAX_FOLDER, .path = copy, .mode = 0755, .time = time};
        return copy ? pax_write_entry(w, &e, err) : err_set_errno(err, ENOMEM, "write the image");
}

static int write_layout(struct pax_writer *w, struct packed *blobs, size_t n, const struct buf *index,
                        int64_t time, struct err **err) {
        static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
        int r = write_folder(w, "blobs", time, err);
        if (r == 0)
                r = write_folder(w, "blobs/sha256", time, err);
        qsort(blobs, n, sizeof(*blobs), by_digest);
        for (size_t i = 0; r == 0 && i < n; i++) {
                /* A layer may come twice, and a layer may be what a config is, in theory. */
                if (i > 0 && str_eq(blobs[i].blob.sha256, blobs[i - 1].blob.sha256))
                        continue;
                _cleanup_(x_freep) char *path = blob_path(blobs[i].blob.sha256);
                r = path ? write_file(w, path, time, &blobs[i], err)
                         : err_set_errno(err, ENOMEM, "write the image");
        }
        const struct packed x = {.bytes = buf_str(index), .blob.length = (int64_t)index->len};
        const struct packed y = {.bytes = layout, .blob.length = (int64_t)strlen(layout)};
        if (r == 0)
                r = write_file(w, "index.json", time, &x, err);
        if (r == 0)
                r = write_file(w, "oci-layout", time, &y, err);
        return r == 0 ? pax_write_end(w, err) : r;
}

/* Undoes the compression of every layer into out_fd, and checks it against the config. */
static int unpack_layers(struct source *s, const struct image *image, const json_t *config, int out_fd,
                         struct packed *layers, size_t n, const struct payload_progress *p,
                         struct err **err) {
        const json_t *ids = json_object_get(json_object_get(config, "rootfs"), "diff_ids");
        int64_t at = 0;
        if (json_array_size(ids) != n)
                return err_set(err, EINVAL, "its config names %zu layers, its manifest %zu",
                               json_array_size(ids), n);
        for (size_t i = 0; i < n; i++) {
                const char *id = oci_digest(json_array_get(ids, i));
                struct region x = {0};
                if (!id)
                        return err_set(err, EINVAL, "its config has no SHA-256 for layer %zu", i + 1);
                int r = source_open(s, image->layers[i], &x, err);
                if (r == 0)
                        r = archive_decompress(x.fd, x.at, x.length, out_fd, at, &layers[i].blob.length,
                                               layers[i].blob.sha256, err);
                region_done(&x);
                if (r < 0)
                        return err_wrap_code(err, r, "layer %zu (%s)", i + 1, image->layers[i]);
                if (!str_eq(layers[i].blob.sha256, id))
                        return err_set(err, EINVAL,
                                       "layer %zu (%s) is damaged: uncompressed its digest is %s, the config "
                                       "says %s",
                                       i + 1, image->layers[i], layers[i].blob.sha256, id);
                layers[i].blob.at = at;
                layers[i].fd = out_fd;
                at = (at + layers[i].blob.length + 4095) / 4096 * 4096;
                if (p && p->progress)
                        p->progress(p->arg, (int64_t)i + 1, (int64_t)n);
        }
        return 0;
}

struct telling {
        const struct payload_progress *p;
        int64_t total;
};

static void tell(void *arg, int64_t written) {
        const struct telling *x = arg;
        x->p->progress(x->p->arg, MIN(written, x->total), x->total);
}

static int pack_image(struct source *s, const struct image *image, int64_t time, int fd,
                      const struct payload_progress *p, struct err **err) {
        _cleanup_(buf_done) struct buf config_text = BUF_INIT, manifest_text = BUF_INIT, index = BUF_INIT;
        _cleanup_json_ json_t *config = NULL;
        size_t n = strv_len(image->layers);
        _cleanup_(x_freep) struct packed *blobs = calloc(n + 2, sizeof(*blobs));
        if (!blobs)
                return err_set_errno(err, ENOMEM, "write the image");
        int r = source_read(s, image->config, image->config_sha, &config_text, err);
        if (r == 0)
                r = json_decode(buf_str(&config_text), config_text.len, &config, err);
        if (r < 0)
                return r;
        _cleanup_(x_closep) int out_fd = spool_open(err);
        if (out_fd < 0)
                return out_fd;
        r = unpack_layers(s, image, config, out_fd, blobs, n, p, err);
        if (r < 0)
                return r;
        struct packed *c = &blobs[n], *m = &blobs[n + 1];
        c->bytes = buf_str(&config_text);
        c->blob.length = (int64_t)config_text.len;
        sha256_hex(c->bytes, config_text.len, c->blob.sha256);
        r = make_manifest(c, blobs, n, &manifest_text, m->blob.sha256, err);
        m->bytes = buf_str(&manifest_text);
        m->blob.length = (int64_t)manifest_text.len;
        if (r == 0)
                r = make_index(image, m, &index, err);
        if (r < 0)
                return r;
        struct telling telling = {.p = p};
        for (size_t i = 0; i < n + 2; i++)
                telling.total += blobs[i].blob.length + 1024;
        struct pax_writer w;
        if (pax_writer_init(&w, fd) < 0)
                return err_set_errno(err, ENOMEM, "write the image");
        if (p && p->progress) {
                w.progress = tell;
                w.progress_arg = &telling;
        }
        r = write_layout(&w, blobs, n + 2, &index, time, err);
        pax_writer_done(&w);
        return r;
}

int payload_pack_oci(const char *path, const char *platform, int64_t time, int fd,
                     const struct payload_progress *p, struct err **err) {
        struct source s;
        _cleanup_(images_freep) struct images *all = calloc(1, sizeof(*all));
        _cleanup_json_ json_t *top = NULL;
        _cleanup_(err_freep) struct err *why = NULL;
        const struct image *image = NULL;
        int r = all ? source_init(&s, path, p, err) : -ENOMEM;
        if (!all)
                return err_set_errno(err, ENOMEM, "read %s", path);
        if (r == 0) {
                r = source_json(&s, "index.json", NULL, &top, &why);
                if (r == 0)
                        r = read_index(&s, top, NULL, platform, 0, all, err);
                else if (r == -ENOENT && (r = source_json(&s, "manifest.json", NULL, &top, NULL)) == 0)
                        r = read_docker(&s, top, all, err);
                else if (r == -ENOENT)
                        r = err_set(err, EINVAL,
                                    "it has neither an index.json (an OCI image layout) nor a manifest.json "
                                    "(what 'docker "
                                    "save' writes)");
                else
                        r = err_move(err, TAKE_PTR(why));
        }
        if (r == 0)
                r = choose(all, platform, &image, err);
        if (r == 0)
                r = pack_image(&s, image, time, fd, p, err);
        source_done(&s);
        return r < 0 ? err_wrap_code(err, r, "%s", path) : 0;
}
