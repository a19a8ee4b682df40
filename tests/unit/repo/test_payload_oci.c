/* SPDX-License-Identifier: Apache-2.0 */
/* Container images as a node reads them: whole, and with one thing wrong at a time. (How they are made from
 * what others write is tested end to end, with podman.) */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/str.h"
#include "crypto/digest.h"
#include "repo/payload.h"
#include "repo/payload/pax.h"

#define FILES_MAX 16

struct file {
        char path[128];
        const char *data;
        size_t len;
};
struct image {
        struct file files[FILES_MAX];
        size_t n;
        char layer[2][SHA256_HEX_SIZE], config_sha[SHA256_HEX_SIZE], manifest_sha[SHA256_HEX_SIZE];
        char *config, *manifest, *index;
        const char *os, *annotation; /* what may be varied */
        const char *manifest_layer;  /* digest that the manifest says for the second layer */
        int64_t layer_size;
};

static void put_blob(struct image *i, const char *data, size_t len, char sha256[SHA256_HEX_SIZE]) {
        struct file *f = &i->files[i->n++];
        sha256_hex(data, len, sha256);
        (void)snprintf(f->path, sizeof(f->path), "blobs/sha256/%s", sha256);
        f->data = data;
        f->len = len;
}

static void put_file(struct image *i, const char *path, const char *data) {
        struct file *f = &i->files[i->n++];
        (void)snprintf(f->path, sizeof(f->path), "%s", path);
        f->data = data;
        f->len = strlen(data);
}

static void make(struct image *i) {
        put_blob(i, "first layer", 11, i->layer[0]);
        put_blob(i, "second layer", 12, i->layer[1]);
        i->config = str_format(
                "{\"architecture\":\"arm64\",\"os\":\"%s\",\"rootfs\":{\"diff_ids\":[\"sha256:%s\",\"sha256:"
                "%s\"],\"type\":\"layers\"}}",
                i->os ? i->os : "linux", i->layer[0], i->layer[1]);
        put_blob(i, i->config, strlen(i->config), i->config_sha);
        i->manifest = str_format(
                "{\"config\":{\"digest\":\"sha256:%s\",\"size\":%zu},\"layers\":[{\"digest\":\"sha256:%s\","
                "\"size\":11},{\"digest\":\"sha256:%s\",\"size\":%lld}],\"schemaVersion\":2}",
                i->config_sha, strlen(i->config), i->layer[0],
                i->manifest_layer ? i->manifest_layer : i->layer[1],
                (long long)(i->layer_size ? i->layer_size : 12));
        put_blob(i, i->manifest, strlen(i->manifest), i->manifest_sha);
        i->index = str_format(
                "{\"manifests\":[{\"annotations\":{\"org.opencontainers.image.ref.name\":\"%s\"},\"digest\":"
                "\"sha256:%s\",\"size\":%zu}],\"schemaVersion\":2}",
                i->annotation ? i->annotation : "localhost/tool:1", i->manifest_sha, strlen(i->manifest));
        put_file(i, "index.json", i->index);
        put_file(i, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
}

static void image_done(struct image *i) {
        free(i->config);
        free(i->manifest);
        free(i->index);
}

static int by_path(const void *a, const void *b) {
        return strcmp(((const struct file *)a)->path, ((const struct file *)b)->path);
}

static struct file *find(struct image *i, const char *path) {
        for (size_t k = 0; k < i->n; k++)
                if (strstr(i->files[k].path, path))
                        return &i->files[k];
        fail_msg("no %s", path);
        return NULL;
}

static void put_folder(struct pax_writer *w, const char *path) {
        struct pax_entry e = {.kind = PAX_FOLDER, .path = (char *)(uintptr_t)path, .mode = 0755};
        assert_int_equal(pax_write_entry(w, &e, NULL), 0);
}

static int write_image(struct image *i) {
        struct pax_writer w;
        int fd = memfd_create("image", MFD_CLOEXEC);
        assert_int_equal(pax_writer_init(&w, fd), 0);
        put_folder(&w, "blobs");
        put_folder(&w, "blobs/sha256");
        qsort(i->files, i->n, sizeof(i->files[0]), by_path);
        for (size_t k = 0; k < i->n; k++) {
                struct pax_extent whole = {0, (int64_t)i->files[k].len};
                struct pax_entry e = {.kind = PAX_FILE,
                                      .path = i->files[k].path,
                                      .mode = 0644,
                                      .size = whole.length,
                                      .extents = &whole,
                                      .n_extents = whole.length > 0};
                assert_int_equal(pax_write_entry(&w, &e, NULL), 0);
                if (whole.length > 0)
                        assert_int_equal(pax_write_data(&w, i->files[k].data, i->files[k].len, NULL), 0);
        }
        assert_int_equal(pax_write_end(&w, NULL), 0);
        pax_writer_done(&w);
        return fd;
}

static int summarise(struct image *i, struct oci_summary *ret, struct err **err) {
        int fd = write_image(i);
        int r = payload_oci_summary(fd, ret, err);
        close(fd);
        image_done(i);
        return r;
}

static void test_a_whole_image(void **state) {
        struct image i = {0};
        struct oci_summary s = {0};
        make(&i);
        assert_int_equal(summarise(&i, &s, NULL), 0);
        assert_string_equal(s.platform, "linux/arm64/v8");
        assert_string_equal(s.config_sha256, i.config_sha);
        assert_string_equal(s.manifest_sha256, i.manifest_sha);
        assert_string_equal(s.reference, "localhost/tool:1");
        assert_int_equal(s.n_layers, 2);
}

static void assert_refused(struct image *i, const char *says) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct oci_summary s = {.n_layers = 77};
        int r = summarise(i, &s, &err);
        assert_true(r == -EINVAL || r == -EFBIG);
        if (!strstr(err_message(err), says))
                fail_msg("'%s' does not say '%s'", err_message(err), says);
        assert_int_equal(s.n_layers, 77);
}

static void drop(struct image *i, const char *path) {
        struct file *f = find(i, path);
        *f = i->files[--i->n];
}

static void test_images_with_one_thing_wrong(void **state) {
        struct image i = {0};
        make(&i);
        drop(&i, i.layer[0]);
        assert_refused(&i, "layer 1 is missing");

        i = (struct image){0};
        make(&i);
        drop(&i, i.config_sha);
        assert_refused(&i, "no config");

        i = (struct image){0};
        make(&i);
        drop(&i, i.manifest_sha);
        assert_refused(&i, "no manifest");

        i = (struct image){0};
        make(&i);
        drop(&i, "index.json");
        assert_refused(&i, "no index.json");

        i = (struct image){0};
        make(&i);
        drop(&i, "oci-layout");
        assert_refused(&i, "index does not list one manifest");

        /* The config is another one of the same length: another entry point, under the image's name. */
        i = (struct image){0};
        make(&i);
        _cleanup_(x_freep) char *forged = str_dup(i.config);
        forged[strlen(forged) - 3] = '?';
        find(&i, i.config_sha)->data = forged;
        assert_refused(&i, "config is damaged");

        i = (struct image){.layer_size = 13};
        make(&i);
        assert_refused(&i, "layer 2 is missing");

        /* Manifest and config that name other layers. */
        char first[SHA256_HEX_SIZE];
        sha256_hex("first layer", 11, first);
        i = (struct image){.manifest_layer = first, .layer_size = 11};
        make(&i);
        assert_refused(&i, "not named by its diff_id");

        i = (struct image){.os = ""};
        make(&i);
        assert_refused(&i, "which os");

        i = (struct image){0};
        make(&i);
        put_file(&i, "extra", "x");
        assert_refused(&i, "'extra' has no place");

        i = (struct image){0};
        make(&i);
        find(&i, "index.json")->data =
                "{\"manifests\":[{\"digest\":\"sha256:../../../../etc/passwd\",\"size\":1}]}";
        find(&i, "index.json")->len = strlen(find(&i, "index.json")->data);
        assert_refused(&i, "no manifest");

        i = (struct image){0};
        make(&i);
        _cleanup_(x_freep) char *big = malloc(5 << 20);
        memset(big, ' ', 5 << 20);
        find(&i, "index.json")->data = big;
        find(&i, "index.json")->len = 5 << 20;
        assert_refused(&i, "larger than");
}

static void test_a_reference_that_is_too_long_is_left_out(void **state) {
        char name[400];
        struct image i = {.annotation = name};
        struct oci_summary s = {0};
        memset(name, 'n', sizeof(name) - 1);
        name[sizeof(name) - 1] = '\0';
        make(&i);
        assert_int_equal(summarise(&i, &s, NULL), 0);
        assert_string_equal(s.reference, "");
}

static void test_what_is_no_image(void **state) {
        struct oci_summary s;
        int fd = memfd_create("image", MFD_CLOEXEC);
        assert_int_equal(payload_oci_summary(fd, &s, NULL), -EINVAL);
        assert_int_equal(write(fd, (char[1024]){0}, 1024), 1024);
        assert_int_equal(payload_oci_summary(fd, &s, NULL), -EINVAL);
        close(fd);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_whole_image),
                cmocka_unit_test(test_images_with_one_thing_wrong),
                cmocka_unit_test(test_a_reference_that_is_too_long_is_left_out),
                cmocka_unit_test(test_what_is_no_image),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
