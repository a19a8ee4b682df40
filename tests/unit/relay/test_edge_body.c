/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "relay/edge_body.h"

typedef int (*reader)(const char *text, size_t len, json_t **ret, struct err **err);

static int read_text(reader read, const char *text) {
        json_t *j = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        int r = read(text, strlen(text), &j, &err);
        assert_int_equal(r == 0, j != NULL);
        assert_int_equal(r < 0, err != NULL);
        json_decref(j);
        return r;
}

static void test_enrol(void **state) {
        assert_int_equal(read_text(edge_body_enrol, "{\"token\":\"t\",\"csr\":\"c\"}"), 0);
        assert_int_equal(read_text(edge_body_enrol,
                                   "{\"token\":\"t\",\"csr\":\"c\",\"name\":null,\"facts\":{},\"new\":1}"),
                         0);
        static const char *const bad[] = {
                "",
                "null",
                "[]",
                "{}",
                "{\"token\":\"t\"}",
                "{\"token\":1,\"csr\":\"c\"}",
                "{\"token\":\"t\",\"csr\":\"c\",\"name\":7}",
                "{\"token\":\"t\",\"csr\":\"c\",\"facts\":[]}",
                "{\"token\":\"t\",\"token\":\"u\",\"csr\":\"c\"}",
                "{\"token\":\"t\",\"csr\":\"c\"} trailing",
        };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(read_text(edge_body_enrol, bad[i]), -EINVAL);
}

static void test_renew(void **state) {
        assert_int_equal(read_text(edge_body_renew, "{\"csr\":\"c\",\"certificate\":\"p\",\"proof\":\"s\"}"),
                         0);
        assert_int_equal(read_text(edge_body_renew, "{\"csr\":\"c\",\"certificate\":\"p\"}"), -EINVAL);
        assert_int_equal(read_text(edge_body_renew, "{\"csr\":\"c\",\"certificate\":\"p\",\"proof\":[]}"),
                         -EINVAL);
}

#define REPORT(status) "{\"signed\":" status ",\"signature\":{\"serial\":\"0a\",\"sig\":\"x\"}}"

static void test_status(void **state) {
        static const char *const bad[] = {
                "{\"seq\":1}",
                "{\"signed\":{\"seq\":1}}",
                "{\"signed\":7,\"signature\":{\"serial\":\"0a\",\"sig\":\"x\"}}",
                "{\"signed\":{},\"signature\":{\"serial\":\"../a\",\"sig\":\"x\"}}",
                "{\"signed\":{},\"signature\":{\"serial\":\"\",\"sig\":\"x\"}}",
                "{\"signed\":{},\"signature\":{\"serial\":\"0a\",\"sig\":7}}",
                "{\"signed\":{},\"signature\":[]}",
        };
        assert_int_equal(read_text(edge_body_status, REPORT("{\"seq\":1}")), 0);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(read_text(edge_body_status, bad[i]), -EINVAL);
        char signature[2 * EDGE_SIGNATURE_MAX];
        for (int n = EDGE_SIGNATURE_MAX; n <= EDGE_SIGNATURE_MAX + 1; n++) {
                (void)snprintf(signature, sizeof(signature),
                               "{\"signed\":{},\"signature\":{\"serial\":\"0a\",\"sig\":\"%0*d\"}}", n, 0);
                assert_int_equal(read_text(edge_body_status, signature),
                                 n <= EDGE_SIGNATURE_MAX ? 0 : -EINVAL);
        }
        assert_int_equal(read_text(edge_body_status, "7"), -EINVAL);
        char deep[2 * EDGE_STATUS_DEPTH_MAX + 96], many[4 * EDGE_STATUS_APPS_MAX + 96];
        for (int levels = EDGE_STATUS_DEPTH_MAX - 1; levels <= EDGE_STATUS_DEPTH_MAX; levels++) {
                (void)snprintf(deep, sizeof(deep), REPORT("{\"facts\":%.*s%.*s}"), levels, "[[[[[[[[[[[[[[[[",
                               levels, "]]]]]]]]]]]]]]]]");
                assert_int_equal(read_text(edge_body_status, deep),
                                 levels < EDGE_STATUS_DEPTH_MAX ? 0 : -EINVAL);
        }
        for (int apps = EDGE_STATUS_APPS_MAX; apps <= EDGE_STATUS_APPS_MAX + 1; apps++) {
                int len = snprintf(many, sizeof(many), "{\"signed\":{\"apps\":[{}");
                for (int i = 1; i < apps; i++)
                        len += snprintf(many + len, sizeof(many) - (size_t)len, ",{}");
                (void)snprintf(many + len, sizeof(many) - (size_t)len,
                               "]},\"signature\":{\"serial\":\"0a\",\"sig\":\"x\"}}");
                assert_int_equal(read_text(edge_body_status, many),
                                 apps <= EDGE_STATUS_APPS_MAX ? 0 : -EINVAL);
        }
        char *huge = malloc(EDGE_STATUS_MAX + 2);
        assert_non_null(huge);
        memset(huge, ' ', EDGE_STATUS_MAX + 1);
        huge[EDGE_STATUS_MAX + 1] = '\0';
        assert_int_equal(read_text(edge_body_status, huge), -EMSGSIZE);
        free(huge);
}

static void test_batch(void **state) {
        static const char *const good[] = {
                "{\"items\":[]}",
                "{\"reset\":true,\"items\":[{\"node\":\"a\",\"connected\":true,\"address\":\"::1\","
                "\"assignment\":7}]}",
                "{\"items\":[{\"node\":\"a\",\"connected\":false},{\"node\":\"a\",\"status\":{}}]}",
        };
        static const char *const bad[] = {
                "{}",
                "{\"items\":{}}",
                "{\"reset\":1,\"items\":[]}",
                "{\"items\":[7]}",
                "{\"items\":[{}]}",
                "{\"items\":[{\"node\":\"a\"}]}",
                "{\"items\":[{\"connected\":true}]}",
                "{\"items\":[{\"node\":\"A b\",\"connected\":true}]}",
                "{\"items\":[{\"node\":\"../a\",\"connected\":true}]}",
                "{\"items\":[{\"node\":\"a\",\"connected\":\"yes\"}]}",
                "{\"items\":[{\"node\":\"a\",\"connected\":true,\"assignment\":-1}]}",
                "{\"items\":[{\"node\":\"a\",\"connected\":true,\"assignment\":1.5}]}",
                "{\"items\":[{\"node\":\"a\",\"connected\":true,\"address\":7}]}",
                "{\"items\":[{\"node\":\"a\",\"status\":[]}]}",
                "{\"items\":[{\"node\":\"a\",\"status\":{},\"connected\":true}]}",
        };
        for (size_t i = 0; i < ARRAY_SIZE(good); i++)
                assert_int_equal(read_text(edge_body_batch, good[i]), 0);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(read_text(edge_body_batch, bad[i]), -EINVAL);
        _cleanup_(err_freep) struct err *err = NULL;
        json_t *j = NULL;
        const char *third =
                "{\"items\":[{\"node\":\"a\",\"status\":{}},{\"node\":\"b\",\"status\":{}},{\"node\":7}]}";
        assert_int_equal(edge_body_batch(third, strlen(third), &j, &err), -EINVAL);
        assert_true(str_has_prefix(err_message(err), "item 2: "));

        /* Every report costs the server the check of a signature. */
        for (int n = EDGE_BATCH_STATUS_MAX; n <= EDGE_BATCH_STATUS_MAX + 1; n++) {
                _cleanup_(buf_done) struct buf text = BUF_INIT;
                buf_printf(&text, "{\"items\":[{\"node\":\"a\",\"connected\":true}");
                for (int i = 0; i < n; i++)
                        buf_printf(&text, ",{\"node\":\"a\",\"status\":{}}");
                buf_printf(&text, "]}");
                assert_int_equal(read_text(edge_body_batch, text.data),
                                 n <= EDGE_BATCH_STATUS_MAX ? 0 : -EMSGSIZE);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_enrol),
                cmocka_unit_test(test_renew),
                cmocka_unit_test(test_status),
                cmocka_unit_test(test_batch),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
